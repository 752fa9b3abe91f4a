//! Refreshes: what is asked of providers, what is written, what becomes of failures.

use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::bed::check::{Check, Verdict, check, client};
use crate::bed::provider::Script;
use crate::bed::service::Bed;
use crate::bed::session::{PREFIX, exists, expired, get, index_key, now, put, row, row_key, run};
use crate::bed::signer::unsigned;

const SESSION: &str = "7CT2ISRQ3VG3FPS2O5Q6EHXSIS";
const ID_TOKEN: (&str, &str) = (
    "requested_token_type",
    "urn:ietf:params:oauth:token-type:id_token",
);

fn json_answer(status: u16, body: &str) -> Script {
    Script::Answer(status, "application/json", body.to_owned())
}

#[tokio::test]
async fn an_expired_token_is_refreshed_and_written_as_toolhive_writes() {
    let bed = Bed::new().await;
    let mut redis = bed.redis.connect().await;
    let mut old = expired("corp", "rt<1>");
    old["later"] = json!({"kept": true});
    put(&mut redis, SESSION, "corp", &old).await;
    run(&mut redis, &["EXPIRE", &index_key(SESSION), "100"]).await;
    let id = json!({"sub": "alice", "exp": now() + 600});
    bed.provider
        .script("rt<1>", [Script::Issue(3600, true, Some(id.clone()))]);
    let service = bed.service(&[]).await;

    let answer = service.ask(&bed.token(SESSION), "corp", &[]).await;
    assert_eq!(answer.token(), "issued-at-1");
    let left = answer.body["expires_in"].as_i64().unwrap();
    assert!((3595..=3600).contains(&left), "{left}");

    let redemptions = bed.provider.redemptions();
    assert_eq!(redemptions.len(), 1);
    let sent = &redemptions[0];
    assert_eq!(sent.path, "/token", "found by discovery");
    for (name, value) in [
        ("grant_type", "refresh_token"),
        ("refresh_token", "rt<1>"),
        ("scope", "openid profile"),
        ("client_id", "thv-corp"),
        ("client_secret", "corp secret"),
    ] {
        assert_eq!(sent.form[name], value);
    }
    assert_eq!(sent.form.len(), 5, "{:?}", sent.form);
    assert_eq!(sent.headers["accept"], "application/json");
    assert!(sent.headers["user-agent"].starts_with("upstream-inject-identity/"));
    assert!(!sent.headers.contains_key("authorization"));

    let text: String = redis::cmd("GET")
        .arg(row_key(SESSION, "corp"))
        .query_async(&mut redis)
        .await
        .unwrap();
    let written: Value = serde_json::from_str(&text).unwrap();
    let expires_at = written["expires_at"].as_i64().unwrap();
    assert_eq!(
        text,
        format!(
            "{{\"provider_id\":\"corp\",\"access_token\":\"issued-at-1\",\"refresh_token\":\"issued-rt-1\",\
             \"id_token\":\"{}\",\"expires_at\":{expires_at},\"session_expires_at\":{},\
             \"user_id\":\"user-1\",\"upstream_subject\":\"alice\",\"client_id\":\"mcp-client\",\
             \"later\":{{\"kept\":true}}}}",
            unsigned(&id),
            old["session_expires_at"],
        )
    );
    let ttl = |key: String| {
        let mut redis = redis.clone();
        async move {
            let ttl: i64 = redis::cmd("TTL")
                .arg(key)
                .query_async(&mut redis)
                .await
                .unwrap();
            ttl
        }
    };
    let row_ttl = ttl(row_key(SESSION, "corp")).await;
    assert!(
        (30 * 86_400 + 3590..=30 * 86_400 + 3600).contains(&row_ttl),
        "{row_ttl}"
    );
    assert!(
        ttl(index_key(SESSION)).await >= row_ttl - 1,
        "the index outlives it"
    );
    let keys: Vec<String> = redis::cmd("KEYS")
        .arg("*")
        .query_async(&mut redis)
        .await
        .unwrap();
    for key in &keys {
        let ours = key.starts_with(&format!("{PREFIX}lock:"));
        let theirs = [
            row_key(SESSION, "corp"),
            index_key(SESSION),
            format!("{PREFIX}user:upstream:user-1"),
        ]
        .contains(key);
        assert!(ours || theirs, "{key}");
        assert!(!key.contains("rt<1>"));
    }
    assert_eq!(
        service.ask(&bed.token(SESSION), "corp", &[]).await.token(),
        "issued-at-1"
    );
    assert_eq!(bed.provider.redemptions().len(), 1);
    let log = service.log();
    assert!(!log.contains("issued-") && !log.contains("rt<1>"), "{log}");
}

#[tokio::test]
async fn a_token_that_ends_soon_is_refreshed_and_a_good_one_is_not() {
    let bed = Bed::new().await;
    let mut redis = bed.redis.connect().await;
    let ends_in = |seconds: i64| row("github", |row| row["expires_at"] = json!(now() + seconds));
    put(&mut redis, "SOON", "github", &ends_in(20)).await;
    put(&mut redis, "LATER", "github", &ends_in(60)).await;
    put(
        &mut redis,
        "NEVER",
        "github",
        &row("github", |row| row["expires_at"] = json!(0)),
    )
    .await;
    let service = bed.service(&[]).await;
    assert_eq!(
        service
            .ask(&bed.token("LATER"), "github", &[])
            .await
            .token(),
        "github-at"
    );
    let answer = service.ask(&bed.token("NEVER"), "github", &[]).await;
    assert_eq!(answer.token(), "github-at");
    assert_eq!(answer.body.get("expires_in"), None);
    assert!(bed.provider.redemptions().is_empty());
    assert_eq!(
        service.ask(&bed.token("SOON"), "github", &[]).await.token(),
        "issued-at-1"
    );
}

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
        assert_eq!(bed.provider.times(&token), 1, "not for each request");
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
            row["expires_at"] = json!(now() + 20);
            row["refresh_token"] = json!("hangs");
        }),
    )
    .await;
    bed.provider.script(
        "slow",
        [Script::Slow(Duration::from_millis(1500), 3600, true)],
    );
    bed.provider.script("hangs", [Script::Hang]);
    let service = bed.service(&["--refresh-wait", "300ms"]).await;
    let began = Instant::now();
    let answer = service.ask(&bed.token("SLOW"), "corp", &[]).await;
    assert_eq!(
        (answer.status, answer.error()),
        (503, "upstream_token_unavailable")
    );
    assert!(
        began.elapsed() < Duration::from_millis(1200),
        "{:?}",
        began.elapsed()
    );
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
    let deadline = Instant::now() + Duration::from_secs(20);
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

#[tokio::test]
async fn id_tokens_belong_to_whoever_logged_in() {
    let bed = Bed::new().await;
    let mut redis = bed.redis.connect().await;
    let service = bed.service(&["--end-dead-sessions", "off"]).await;
    let mallory = Some(json!({"sub": "mallory", "exp": now() + 600}));
    put(&mut redis, "KEEPS", "corp", &expired("corp", "keeps")).await;
    put(&mut redis, "ROTATES", "corp", &expired("corp", "rotates")).await;
    bed.provider
        .script("keeps", [Script::Issue(3600, false, mallory.clone())]);
    bed.provider
        .script("rotates", [Script::Issue(3600, true, mallory)]);
    let answer = service.ask(&bed.token("KEEPS"), "corp", &[]).await;
    assert_eq!(answer.error(), "upstream_token_unavailable");
    let row = get(&mut redis, "KEEPS", "corp").await.unwrap();
    assert_eq!(row["access_token"], "corp-at", "nothing of it is used");
    let answer = service.ask(&bed.token("ROTATES"), "corp", &[]).await;
    assert_eq!(answer.error(), "upstream_token_not_found");
    assert_eq!(get(&mut redis, "ROTATES", "corp").await, None);
}

#[tokio::test]
async fn an_id_token_that_a_refresh_does_not_renew_is_missing_once_it_has_ended() {
    let bed = Bed::new().await;
    let mut redis = bed.redis.connect().await;
    let with_id = |token: &str| {
        let old = unsigned(&json!({"sub": "alice", "exp": now() - 5, "jti": token}));
        row("corp", |row| {
            row["id_token"] = json!(old);
            row["refresh_token"] = json!(token);
        })
    };
    put(&mut redis, "KEPT", "corp", &with_id("kept")).await;
    put(&mut redis, "RENEWED", "corp", &with_id("renewed")).await;
    put(&mut redis, "DOWN", "corp", &with_id("down")).await;
    bed.provider
        .script("kept", [Script::Issue(3600, false, None)]);
    let fresh = json!({"sub": "alice", "exp": now() + 600});
    bed.provider
        .script("renewed", [Script::Issue(3600, true, Some(fresh.clone()))]);
    bed.provider.script("down", [json_answer(503, "")]);
    let service = bed.service(&["--end-dead-sessions", "off"]).await;

    let answer = service
        .ask(&bed.token("RENEWED"), "corp", &[ID_TOKEN])
        .await;
    assert_eq!(answer.token(), unsigned(&fresh));

    for _ in 0..3 {
        let answer = service.ask(&bed.token("KEPT"), "corp", &[ID_TOKEN]).await;
        assert_eq!(answer.error(), "upstream_token_not_found");
        assert_eq!(
            service.ask(&bed.token("KEPT"), "corp", &[]).await.status,
            200
        );
    }
    assert_eq!(bed.provider.times("kept"), 1, "no reason to refresh again");

    let answer = service.ask(&bed.token("DOWN"), "corp", &[ID_TOKEN]).await;
    assert_eq!(answer.error(), "upstream_token_unavailable");
    assert_eq!(
        service.ask(&bed.token("DOWN"), "corp", &[]).await.token(),
        "corp-at"
    );
    let mut client = client(service.check_port).await;
    assert_eq!(
        check(&mut client, &Check::of(bed.claims("DOWN", 600))).await,
        Verdict::Goes(json!({
            "upstream_tokens": {"corp": "corp-at"},
            "upstream_unavailable": {"corp": true},
        }))
    );
}

#[tokio::test]
async fn a_rejected_token_is_refreshed_or_missing() {
    let bed = Bed::new().await;
    let mut redis = bed.redis.connect().await;
    put(&mut redis, "CAN", "github", &row("github", |_| {})).await;
    put(
        &mut redis,
        "CANNOT",
        "github",
        &row("github", |row| row["refresh_token"] = json!("")),
    )
    .await;
    let service = bed.service(&["--end-dead-sessions", "off"]).await;
    let hash = URL_SAFE_NO_PAD.encode(Sha256::digest(b"github-at"));
    let rejected = [("rejected_token_hash", hash.as_str())];
    let answer = service.ask(&bed.token("CAN"), "github", &rejected).await;
    assert_eq!(answer.token(), "issued-at-1");
    let answer = service.ask(&bed.token("CAN"), "github", &rejected).await;
    assert_eq!(answer.token(), "issued-at-1", "the row no longer holds it");
    assert_eq!(bed.provider.redemptions().len(), 1);
    let answer = service.ask(&bed.token("CANNOT"), "github", &rejected).await;
    assert_eq!(answer.error(), "upstream_token_not_found");
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
    let slow = Duration::from_millis(300);
    bed.provider
        .script("rotates", [Script::Slow(slow, 3600, true)]);
    bed.provider
        .script("keeps", [Script::Slow(slow, 3600, false)]);
    let service = bed.service(&["--end-dead-sessions", "off"]).await;
    let fill = async {
        while bed.provider.redemptions().len() < 2 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        // From now on it has no memory for anything new.
        run(&mut redis, &["CONFIG", "SET", "maxmemory", "1"]).await;
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
