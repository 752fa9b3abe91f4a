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
    bed.provider
        .script("rt", [Script::Slow(Duration::from_millis(400), 3600, true)]);
    let service = bed.service(&[]).await;
    let token = bed.token(SESSION);
    let asked = service.ask(&token, "github", &[]);
    let logout = async {
        while bed.provider.times("rt") == 0 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        run(&mut redis, &["DEL", &row_key(SESSION, "github")]).await;
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
    let hex: String = Sha256::digest(b"6:github:rt")
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    let lock = format!("{PREFIX}lock:refresh:{hex}");
    run(&mut redis, &["SET", &lock, "somebody", "PX", "60000"]).await;
    let service = bed.service(&["--refresh-wait", "200ms"]).await;
    let answer = service.ask(&bed.token(SESSION), "github", &[]).await;
    assert_eq!(answer.error(), "upstream_token_unavailable");
    assert_eq!(bed.provider.times("rt"), 0);
    run(&mut redis, &["DEL", &lock]).await;
    let deadline = Instant::now() + Duration::from_secs(20);
    while service.ask(&bed.token(SESSION), "github", &[]).await.status != 200 {
        assert!(Instant::now() < deadline);
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(bed.provider.times("rt"), 1);
    assert!(!exists(&mut redis, &lock).await, "given back");

    // Taken by somebody while the provider is asked.
    put(&mut redis, "OTHER", "github", &expired("github", "rt2")).await;
    bed.provider.script(
        "rt2",
        [Script::Slow(Duration::from_millis(400), 3600, true)],
    );
    let hex: String = Sha256::digest(b"6:github:rt2")
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    let lock = format!("{PREFIX}lock:refresh:{hex}");
    let token = bed.token("OTHER");
    let asked = service.ask(&token, "github", &[]);
    let steal = async {
        while bed.provider.times("rt2") == 0 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        run(&mut redis, &["SET", &lock, "somebody", "PX", "60000"]).await;
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
