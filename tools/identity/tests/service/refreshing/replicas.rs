//! Who refreshes: one of several replicas, and nobody in whose place something else has been written.

use std::time::{Duration, Instant};

use serde_json::json;
use sha2::{Digest as _, Sha256};

use super::SESSION;
use crate::bed::provider::Script;
use crate::bed::service::Bed;
use crate::bed::session::{PREFIX, exists, expired, get, put, row_key, run};

#[tokio::test]
async fn two_replicas_redeem_each_token_once() {
    let bed = Bed::new().await;
    let mut redis = bed.redis.connect().await;
    // A hundred sessions; ten of them share refresh tokens, two by two.
    let sessions: Vec<(String, String, String)> = (0..100)
        .map(|number| {
            let (token, user) = if number < 10 {
                (number / 2, number / 2)
            } else {
                (number, number)
            };
            (
                format!("S{number}"),
                format!("shared-{token}"),
                format!("user-{user}"),
            )
        })
        .collect();
    for (session, token, user) in &sessions {
        let mut row = expired("github", token);
        row["user_id"] = json!(user);
        put(&mut redis, session, "github", &row).await;
        bed.provider.script(
            token,
            [Script::Slow(Duration::from_millis(100), 3600, true)],
        );
    }
    let replicas = [
        bed.service(&["--refresh-wait", "20s"]).await,
        bed.service(&["--refresh-wait", "20s"]).await,
    ];
    let asked = sessions.iter().flat_map(|(session, ..)| {
        let token = bed.token(session);
        replicas.iter().map(move |replica| {
            let token = token.clone();
            async move { replica.ask(&token, "github", &[]).await }
        })
    });
    let answers = futures_util::future::join_all(asked).await;
    for (number, answers) in answers.chunks(2).enumerate() {
        assert_eq!(answers[0].token(), answers[1].token(), "session {number}");
    }
    for (session, token, _) in &sessions {
        assert_eq!(bed.provider.times(token), 1, "{token}");
        let row = get(&mut redis, session, "github").await.unwrap();
        assert!(
            row["refresh_token"]
                .as_str()
                .unwrap()
                .starts_with("issued-rt-")
        );
    }
    for pair in 0..5 {
        assert_eq!(answers[pair * 4].token(), answers[pair * 4 + 2].token());
    }
    assert_eq!(bed.provider.redemptions().len(), 95);
}

#[tokio::test]
async fn who_is_logged_out_during_a_refresh_stays_logged_out() {
    let bed = Bed::new().await;
    let mut redis = bed.redis.connect().await;
    put(&mut redis, SESSION, "github", &expired("github", "rt")).await;
    bed.provider.script("rt", [Script::Held(3600, true)]);
    let service = bed.service(&[]).await;
    let token = bed.token(SESSION);
    let asked = service.ask(&token, "github", &[]);
    let logout = async {
        bed.provider.until_asked("rt").await;
        run(&mut redis, &["DEL", &row_key(SESSION, "github")]).await;
        bed.provider.release();
    };
    let (answer, ()) = tokio::join!(asked, logout);
    assert_eq!(answer.error(), "upstream_token_not_found");
    assert_eq!(get(&mut redis, SESSION, "github").await, None);
}

#[tokio::test]
async fn a_lock_that_is_somebody_elses_is_waited_for_and_never_written_over() {
    let bed = Bed::new().await;
    let mut redis = bed.redis.connect().await;
    put(&mut redis, SESSION, "github", &expired("github", "rt")).await;
    let lock = lock_of("rt");
    run(&mut redis, &["SET", &lock, "somebody", "PX", "60000"]).await;
    let service = bed.service(&["--refresh-wait", "200ms"]).await;
    let answer = service.ask(&bed.token(SESSION), "github", &[]).await;
    assert_eq!(answer.error(), "upstream_token_unavailable");
    assert_eq!(bed.provider.times("rt"), 0);
    run(&mut redis, &["DEL", &lock]).await;
    let deadline = Instant::now() + Duration::from_secs(50);
    while service.ask(&bed.token(SESSION), "github", &[]).await.status != 200 {
        assert!(Instant::now() < deadline);
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(bed.provider.times("rt"), 1);
    while exists(&mut redis, &lock).await {
        assert!(Instant::now() < deadline, "not given back");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }

    // Taken by somebody while the provider is asked.
    put(&mut redis, "OTHER", "github", &expired("github", "rt2")).await;
    bed.provider.script("rt2", [Script::Held(3600, true)]);
    let lock = lock_of("rt2");
    let token = bed.token("OTHER");
    let asked = service.ask(&token, "github", &[]);
    let steal = async {
        bed.provider.until_asked("rt2").await;
        run(&mut redis, &["SET", &lock, "somebody", "PX", "60000"]).await;
        bed.provider.release();
    };
    tokio::join!(asked, steal);
    tokio::time::sleep(Duration::from_millis(600)).await;
    let row = get(&mut redis, "OTHER", "github").await.unwrap();
    assert_eq!(row["refresh_token"], "rt2", "not written without the lock");
    let owner: String = redis::cmd("GET")
        .arg(&lock)
        .query_async(&mut redis)
        .await
        .unwrap();
    assert_eq!(owner, "somebody");
}

#[tokio::test]
async fn a_store_that_refuses_the_lock_is_told_of_and_the_provider_is_unavailable() {
    let bed = Bed::new().await;
    let mut redis = bed.redis.connect().await;
    put(
        &mut redis,
        "SECRETSESSION",
        "github",
        &expired("github", "secret-rt"),
    )
    .await;
    let service = bed.service(&[]).await;
    let token = bed.token("SECRETSESSION");
    // It may read, but not run what takes a lock.
    run(&mut redis, &["ACL", "SETUSER", "default", "-eval"]).await;
    let answer = service.ask(&token, "github", &[]).await;
    assert_eq!(
        (answer.status, answer.error()),
        (503, "upstream_token_unavailable")
    );
    let log = service.log();
    let line = " ERROR a refresh token cannot be locked in the session store \
                error=\"the store refuses (NOPERM)\"";
    assert!(log.contains(line), "{log}");
    for secret in ["SECRETSESSION", "secret-rt", &token] {
        assert!(!log.contains(secret), "{log}");
    }
    assert_eq!(bed.provider.times("secret-rt"), 0, "never without the lock");

    run(&mut redis, &["ACL", "SETUSER", "default", "+eval"]).await;
    let deadline = Instant::now() + Duration::from_secs(20);
    while service.ask(&token, "github", &[]).await.status != 200 {
        assert!(Instant::now() < deadline, "{}", service.log());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(bed.provider.times("secret-rt"), 1);
}

#[tokio::test]
async fn a_lock_lives_ten_seconds_longer_than_a_call_may_take() {
    let bed = Bed::new().await;
    let mut redis = bed.redis.connect().await;
    put(&mut redis, SESSION, "github", &expired("github", "rt")).await;
    bed.provider.script("rt", [Script::Hang]);
    let service = bed
        .service(&["--refresh-timeout", "7s", "--refresh-wait", "100ms"])
        .await;
    let answer = service.ask(&bed.token(SESSION), "github", &[]).await;
    assert_eq!(answer.error(), "upstream_token_unavailable");
    let lock = lock_of("rt");
    let redis::Value::Int(left) = run(&mut redis, &["PTTL", &lock]).await else {
        panic!("no number");
    };
    // It was asked for a moment ago: 17 s less the wait, with time for a slow machine.
    assert!((12_000..=17_000).contains(&left), "{left} ms are left");
}

/// The key of the lock on a refresh token of GitHub's.
fn lock_of(refresh_token: &str) -> String {
    let hex: String = Sha256::digest(format!("6:github:{refresh_token}"))
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    format!("{PREFIX}lock:refresh:{hex}")
}
