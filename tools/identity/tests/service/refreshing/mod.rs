//! Refreshes: when, what is asked of providers, and what is written.

mod failing;
mod id_tokens;
mod interrupted;
mod replicas;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::bed::provider::Script;
use crate::bed::service::Bed;
use crate::bed::session::{PREFIX, expired, index_key, now, put, row, row_key, run};
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

    let before = now();
    let answer = service.ask(&bed.token(SESSION), "corp", &[]).await;
    assert_eq!(answer.token(), "issued-at-1");
    let left = answer.body["expires_in"].as_i64().unwrap();
    let least = 3595 - (now() - before);
    assert!((least..=3600).contains(&left), "{left}");

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
    // Both at one moment.
    let (row_ttl, index_ttl): (i64, i64) = redis::pipe()
        .atomic()
        .cmd("TTL")
        .arg(row_key(SESSION, "corp"))
        .cmd("TTL")
        .arg(index_key(SESSION))
        .query_async(&mut redis)
        .await
        .unwrap();
    let most = 30 * 86_400 + 3600;
    let least = most - 10 - (now() - before);
    assert!((least..=most).contains(&row_ttl), "{row_ttl}");
    assert!(index_ttl >= row_ttl - 1, "the index outlives it");
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
