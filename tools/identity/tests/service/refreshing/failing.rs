//! Refreshes that bring nothing: what is answered, and who is asked again when.

use std::time::{Duration, Instant};

use serde_json::json;

use super::json_answer;
use crate::bed::check::{Check, Verdict, check, client};
use crate::bed::provider::Script;
use crate::bed::service::Bed;
use crate::bed::session::{expired, get, now, put, row, run};

#[tokio::test]
async fn a_dead_refresh_token_is_missing_and_asked_about_once() {
    let bed = Bed::new().await;
    let mut redis = bed.redis.connect().await;
    let service = bed.service(&[]).await;
    for (number, script) in [
        json_answer(400, r#"{"error":"invalid_grant"}"#),
        json_answer(200, r#"{"error":"bad_refresh_token"}"#),
        json_answer(403, r#"{"error":"unauthorized_client"}"#),
        json_answer(400, r#"{"status":"BAD_REFRESH_TOKEN"}"#),
    ]
    .into_iter()
    .enumerate()
    {
        let (session, token) = (format!("D{number}"), format!("dead-{number}"));
        put(&mut redis, &session, "github", &expired("github", &token)).await;
        put(&mut redis, &session, "corp", &row("corp", |_| {})).await;
        bed.provider.script(&token, [script]);
        for _ in 0..3 {
            let answer = service.ask(&bed.token(&session), "github", &[]).await;
            assert_eq!(
                (answer.status, answer.error()),
                (400, "upstream_token_not_found")
            );
        }
        assert_eq!(bed.provider.times(&token), 1);
        assert_eq!(
            service.ask(&bed.token(&session), "corp", &[]).await.token(),
            "corp-at"
        );
        assert!(
            get(&mut redis, &session, "github").await.is_some(),
            "ToolHive's row stays"
        );
    }
    // The token in hand is good until it ends.
    put(
        &mut redis,
        "GOOD",
        "github",
        &row("github", |row| {
            row["expires_at"] = json!(now() + 25);
            row["refresh_token"] = json!("dead-0");
        }),
    )
    .await;
    assert_eq!(
        service.ask(&bed.token("GOOD"), "github", &[]).await.token(),
        "github-at"
    );
}

#[tokio::test]
async fn a_provider_that_brings_nothing_is_unavailable_and_left_alone() {
    let bed = Bed::new().await;
    let mut redis = bed.redis.connect().await;
    let service = bed.service(&[]).await;
    let mut client = client(service.check_port).await;
    for (number, script) in [
        Script::Answer(200, "text/html", "<html>log in</html>".to_owned()),
        Script::Redirect(bed.provider.url("/elsewhere")),
        json_answer(500, ""),
        json_answer(429, "{}"),
        json_answer(401, r#"{"error":"invalid_client"}"#),
        json_answer(200, r#"{"access_token":""}"#),
        json_answer(400, r#"{"error":"something_else"}"#),
    ]
    .into_iter()
    .enumerate()
    {
        let (session, token) = (format!("N{number}"), format!("nothing-{number}"));
        put(&mut redis, &session, "corp", &expired("corp", &token)).await;
        put(&mut redis, &session, "github", &row("github", |_| {})).await;
        bed.provider.script(&token, [script]);
        let began = Instant::now();
        let verdict = check(&mut client, &Check::of(bed.claims(&session, 600))).await;
        assert_eq!(
            verdict,
            Verdict::Goes(json!({
                "upstream_tokens": {"github": "github-at"},
                "upstream_unavailable": {"corp": true},
            })),
            "{number}"
        );
        let answer = service.ask(&bed.token(&session), "corp", &[]).await;
        assert_eq!(
            (answer.status, answer.error()),
            (503, "upstream_token_unavailable")
        );
        assert!(answer.headers.contains_key("retry-after"));
        // After a second it may be asked again, which is a long time unless the machine stands still.
        let most = 1 + began.elapsed().as_secs() as usize;
        let times = bed.provider.times(&token);
        assert!((1..=most).contains(&times), "{number}: asked {times} times");
    }
    let log = service.log();
    assert!(
        !log.contains("something_else") && log.contains("invalid_client"),
        "{log}"
    );
}

#[tokio::test]
async fn nobody_waits_longer_than_they_should_and_the_refresh_goes_on() {
    let bed = Bed::new().await;
    let mut redis = bed.redis.connect().await;
    put(&mut redis, "SLOW", "corp", &expired("corp", "slow")).await;
    put(&mut redis, "SLOW", "github", &row("github", |_| {})).await;
    put(
        &mut redis,
        "GOOD",
        "corp",
        &row("corp", |row| {
            row["expires_at"] = json!(now() + 28);
            row["refresh_token"] = json!("hangs");
        }),
    )
    .await;
    bed.provider.script("slow", [Script::Held(3600, true)]);
    bed.provider.script("hangs", [Script::Hang]);
    let service = bed.service(&["--refresh-wait", "300ms"]).await;
    // What takes longer for once, the machine has slowed down.
    let mut fastest = Duration::MAX;
    for _ in 0..5 {
        let began = Instant::now();
        let answer = service.ask(&bed.token("SLOW"), "corp", &[]).await;
        assert_eq!(
            (answer.status, answer.error()),
            (503, "upstream_token_unavailable")
        );
        fastest = fastest.min(began.elapsed());
        if fastest < Duration::from_millis(1200) {
            break;
        }
    }
    assert!(fastest < Duration::from_millis(1200), "{fastest:?}");
    assert_eq!(
        service.ask(&bed.token("SLOW"), "github", &[]).await.token(),
        "github-at"
    );
    for _ in 0..3 {
        assert_eq!(
            service.ask(&bed.token("GOOD"), "corp", &[]).await.token(),
            "corp-at"
        );
    }
    assert_eq!(bed.provider.times("hangs"), 1);
    bed.provider.release();
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        let answer = service.ask(&bed.token("SLOW"), "corp", &[]).await;
        if answer.status == 200 {
            assert_eq!(answer.token(), "issued-at-1");
            break;
        }
        assert!(Instant::now() < deadline);
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(bed.provider.times("slow"), 1);
}

#[tokio::test]
async fn a_rotated_token_that_the_store_refuses_to_keep_costs_the_row() {
    let bed = Bed::new().await;
    let mut redis = bed.redis.connect().await;
    put(
        &mut redis,
        "ROTATES",
        "github",
        &expired("github", "rotates"),
    )
    .await;
    put(&mut redis, "KEEPS", "github", &expired("github", "keeps")).await;
    bed.provider.script("rotates", [Script::Held(3600, true)]);
    bed.provider.script("keeps", [Script::Held(3600, false)]);
    let service = bed.service(&["--end-dead-sessions", "off"]).await;
    let fill = async {
        bed.provider.until_asked("rotates").await;
        bed.provider.until_asked("keeps").await;
        // From now on it has no memory for anything new.
        run(&mut redis, &["CONFIG", "SET", "maxmemory", "1"]).await;
        bed.provider.release();
    };
    let (rotates, keeps) = (bed.token("ROTATES"), bed.token("KEEPS"));
    let (rotated, kept, ()) = tokio::join!(
        service.ask(&rotates, "github", &[]),
        service.ask(&keeps, "github", &[]),
        fill
    );
    assert_eq!(rotated.error(), "upstream_token_not_found");
    assert_eq!(kept.token().split_at(10).0, "issued-at-");
    assert_eq!(get(&mut redis, "ROTATES", "github").await, None);
    assert!(get(&mut redis, "KEEPS", "github").await.is_some());
}

#[tokio::test]
async fn a_provider_that_asks_one_user_to_wait_is_asked_by_the_others() {
    let bed = Bed::new().await;
    let mut redis = bed.redis.connect().await;
    for session in ["BUSY", "OTHER"] {
        put(&mut redis, session, "github", &expired("github", session)).await;
    }
    bed.provider.script("BUSY", [Script::Later(429, "60")]);
    let service = bed.service(&[]).await;
    for _ in 0..3 {
        let answer = service.ask(&bed.token("BUSY"), "github", &[]).await;
        assert_eq!(answer.error(), "upstream_token_unavailable");
        tokio::time::sleep(Duration::from_millis(700)).await;
    }
    assert_eq!(
        bed.provider.times("BUSY"),
        1,
        "left alone for longer than a second"
    );
    let answer = service.ask(&bed.token("OTHER"), "github", &[]).await;
    assert_eq!(answer.status, 200, "{answer:?}");
}
