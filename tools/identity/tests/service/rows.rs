//! What is served of what stands in the store.

use serde_json::{Value, json};

use crate::bed::check::{Check, Verdict, check, client};
use crate::bed::service::Bed;
use crate::bed::session::{PREFIX, expired, index_key, now, put, put_raw, row, row_key, run};

const SESSION: &str = "7CT2ISRQ3VG3FPS2O5Q6EHXSIS";

/// As a real ToolHive left it in Redis after a login; tokens made up, times set anew.
fn toolhives(provider: &str, id_token: &str) -> String {
    format!(
        "{{\"provider_id\":\"{provider}\",\"access_token\":\"made-up-access-token-{provider}\",\
         \"refresh_token\":\"made-up-refresh-token\",\"id_token\":\"{id_token}\",\
         \"expires_at\":{},\"session_expires_at\":{},\"user_id\":\"f989a391-5966-4936-8ee3-1312bb2861fa\",\
         \"upstream_subject\":\"alice\",\"client_id\":\"cbd44c5d-d36c-4da9-a0a7-3a123fd59b55\"}}",
        now() + 600,
        now() + 3600,
    )
}

#[tokio::test]
async fn rows_as_toolhive_writes_them_are_served_at_both_doors() {
    let bed = Bed::new().await;
    let mut redis = bed.redis.connect().await;
    let before = now();
    put_raw(
        &mut redis,
        SESSION,
        "corp",
        &toolhives("corp", "made.up.id"),
    )
    .await;
    put_raw(&mut redis, SESSION, "github", &toolhives("github", "")).await;
    let service = bed.service(&[]).await;

    let answer = service.ask(&bed.token(SESSION), "github", &[]).await;
    assert_eq!(answer.token(), "made-up-access-token-github");
    assert_eq!(answer.body["token_type"], "Bearer");
    assert_eq!(
        answer.body["issued_token_type"],
        "urn:ietf:params:oauth:token-type:access_token"
    );
    let left = answer.body["expires_in"].as_i64().unwrap();
    let least = 590 - (now() - before);
    assert!((least..=600).contains(&left), "{left}");
    assert_eq!(answer.headers["cache-control"], "no-store");

    let id_token = (
        "requested_token_type",
        "urn:ietf:params:oauth:token-type:id_token",
    );
    let answer = service.ask(&bed.token(SESSION), "corp", &[id_token]).await;
    assert_eq!(answer.token(), "made.up.id");
    assert_eq!(answer.body["token_type"], "N_A");
    assert_eq!(
        answer.body.get("expires_in"),
        None,
        "a life that nobody knows"
    );

    let mut client = client(service.check_port).await;
    let verdict = check(&mut client, &Check::of(bed.claims(SESSION, 600))).await;
    assert_eq!(
        verdict,
        Verdict::Goes(json!({
            "upstream_tokens": {
                "corp": "made-up-access-token-corp",
                "github": "made-up-access-token-github",
            },
            "upstream_id_tokens": {"corp": "made.up.id"},
        }))
    );
    assert!(service.metric("upstream_inject_identity_store_up").await > 0.0);
}

#[tokio::test]
async fn one_bad_row_is_one_bad_row() {
    let bed = Bed::new().await;
    let mut redis = bed.redis.connect().await;
    let service = bed.service(&[]).await;
    let mut client = client(service.check_port).await;
    let bad = [
        json!("not a row").to_string(),
        "{".to_owned(),
        "\u{feff}{}".to_owned(),
        "[]".to_owned(),
        row("github", |row| row["expires_at"] = json!("1795644635")).to_string(),
        row("github", |_| {})
            .to_string()
            .replace(&format!("{}", now() + 3600), "1.8e9"),
        row("github", |row| row["access_token"] = json!(5)).to_string(),
        row("github", |row| row["refresh_token"] = json!({})).to_string(),
        row("github", |row| row["client_id"] = json!([])).to_string(),
    ];
    for (number, text) in bad.iter().enumerate() {
        let session = format!("SESSION{number}");
        put(&mut redis, &session, "corp", &row("corp", |_| {})).await;
        put_raw(&mut redis, &session, "github", text).await;
        let verdict = check(&mut client, &Check::of(bed.claims(&session, 600))).await;
        let Verdict::Goes(metadata) = verdict else {
            panic!("{verdict:?}");
        };
        assert_eq!(
            metadata["upstream_tokens"],
            json!({"corp": "corp-at"}),
            "{text}"
        );
        assert_eq!(
            metadata["upstream_unavailable"],
            json!({"github": true}),
            "{text}"
        );
        let answer = service.ask(&bed.token(&session), "github", &[]).await;
        assert_eq!(
            (answer.status, answer.error()),
            (503, "upstream_token_unavailable")
        );
        assert!(answer.headers.contains_key("retry-after"));
    }
    let counted = service
        .metric("upstream_inject_identity_unreadable_rows_total{provider=\"github\"}")
        .await;
    assert!(counted >= bad.len() as f64);
    assert!(bed.provider.redemptions().is_empty());
}

#[tokio::test]
async fn what_has_gone_is_missing_and_what_is_no_text_is_unavailable() {
    let bed = Bed::new().await;
    let mut redis = bed.redis.connect().await;
    let service = bed.service(&["--end-dead-sessions", "off"]).await;
    // Deleted by ToolHive; named by the index alone; a row that no index names; a list.
    put_raw(&mut redis, "DELETED", "github", "null").await;
    run(
        &mut redis,
        &[
            "SADD",
            &index_key("DANGLING"),
            &row_key("DANGLING", "github"),
        ],
    )
    .await;
    run(
        &mut redis,
        &[
            "SET",
            &row_key("UNNAMED", "github"),
            &row("github", |_| {}).to_string(),
        ],
    )
    .await;
    run(
        &mut redis,
        &["SADD", &index_key("LIST"), &row_key("LIST", "github")],
    )
    .await;
    run(&mut redis, &["RPUSH", &row_key("LIST", "github"), "x"]).await;
    put(
        &mut redis,
        "EMPTY",
        "github",
        &row("github", |row| {
            row["access_token"] = json!("");
            row["refresh_token"] = json!("");
        }),
    )
    .await;
    put(&mut redis, "OLD", "github", &expired("github", "")).await;
    for (session, status) in [
        ("DELETED", 400),
        ("DANGLING", 400),
        ("UNNAMED", 400),
        ("NOBODY", 400),
        ("EMPTY", 400),
        ("OLD", 400),
        ("LIST", 503),
    ] {
        let answer = service.ask(&bed.token(session), "github", &[]).await;
        assert_eq!(answer.status, status, "{session}: {}", answer.body);
        let word = if status == 400 {
            "upstream_token_not_found"
        } else {
            "upstream_token_unavailable"
        };
        assert_eq!(answer.error(), word, "{session}");
    }
}

#[tokio::test]
async fn no_session_sees_what_is_anothers() {
    let bed = Bed::new().await;
    let mut redis = bed.redis.connect().await;
    put(&mut redis, "VICTIM", "github", &row("github", |_| {})).await;
    // An index that names another session's row, and keys of no use.
    for member in [
        row_key("VICTIM", "github"),
        format!("{PREFIX}upstream:idx:VICTIM"),
        format!("{PREFIX}client:x"),
        "elsewhere".to_owned(),
        row_key("THIEF", ""),
    ] {
        run(&mut redis, &["SADD", &index_key("THIEF"), &member]).await;
    }
    let service = bed.service(&["--end-dead-sessions", "off"]).await;
    let mut client = client(service.check_port).await;
    for tsid in [
        json!("THIEF"),
        json!("VICTIM:github"),
        json!("idx:VICTIM"),
        json!("VICTI?"),
        json!("*"),
        json!("idx"),
        json!(""),
        json!("A".repeat(4096)),
        json!(["VICTIM"]),
        json!({"VICTIM": 1}),
        json!(7),
        Value::Null,
    ] {
        let mut claims = bed.claims("x", 600);
        claims["tsid"] = tsid.clone();
        let verdict = check(&mut client, &Check::of(claims.clone())).await;
        assert_eq!(verdict, Verdict::Goes(json!({})), "{tsid}");
        let answer = service.ask(&bed.signer.sign(&claims), "github", &[]).await;
        assert_eq!(answer.error(), "upstream_token_not_found", "{tsid}");
    }
    let mut without = bed.claims("x", 600);
    without.as_object_mut().unwrap().remove("tsid");
    let verdict = check(&mut client, &Check::of(without)).await;
    assert_eq!(verdict, Verdict::Goes(json!({})));
}

#[tokio::test]
async fn a_form_of_a_later_toolhive_is_no_empty_session() {
    let bed = Bed::new().await;
    let mut redis = bed.redis.connect().await;
    run(&mut redis, &["HSET", &index_key("LATER"), "github", "{}"]).await;
    let service = bed.service(&[]).await;
    let mut client = client(service.check_port).await;
    let verdict = check(&mut client, &Check::of(bed.claims("LATER", 600))).await;
    assert!(
        matches!(verdict, Verdict::Failed(tonic::Code::Unavailable, _)),
        "{verdict:?}"
    );
    let answer = service.ask(&bed.token("LATER"), "github", &[]).await;
    assert_eq!(
        (answer.status, answer.error()),
        (503, "temporarily_unavailable")
    );
    assert!(
        service
            .metric("upstream_inject_identity_unknown_index_form_total")
            .await
            >= 2.0
    );
    let log = service.log();
    assert!(log.contains(" ERROR ") && log.contains("hash"), "{log}");
    assert!(!log.contains("LATER"), "no session in a log: {log}");
}

#[tokio::test]
async fn a_provider_that_is_no_longer_in_the_file_serves_what_is_good() {
    let bed = Bed::new().await;
    let mut redis = bed.redis.connect().await;
    put(&mut redis, SESSION, "linear", &row("linear", |_| {})).await;
    put(&mut redis, SESSION, "jira", &expired("jira", "rt")).await;
    let service = bed.service(&[]).await;
    let mut client = client(service.check_port).await;
    let verdict = check(&mut client, &Check::of(bed.claims(SESSION, 600))).await;
    assert_eq!(
        verdict,
        Verdict::Goes(json!({
            "upstream_tokens": {"linear": "linear-at"},
            "upstream_unavailable": {"jira": true},
        }))
    );
    let answer = service.ask(&bed.token(SESSION), "linear", &[]).await;
    assert_eq!(answer.error(), "invalid_target");
}
