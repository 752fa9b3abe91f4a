//! How providers are asked, and what they answer: dialects, scopes, clients.

use std::time::Duration;

use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::bed::provider::Script;
use crate::bed::service::{Bed, ISSUER, Service, run_config, standalone};
use crate::bed::session::{PREFIX, expired, get, now, put, run};

const SESSION: &str = "7CT2ISRQ3VG3FPS2O5Q6EHXSIS";

fn json_answer(status: u16, body: &str) -> Script {
    Script::Answer(status, "application/json", body.to_owned())
}

/// A service whose second upstream is this one.
async fn service_with(bed: &Bed, upstream: Value) -> Service {
    let mut config = run_config(&bed.provider, &standalone(&bed.redis));
    config["upstreams"][1] = upstream;
    let config = bed
        .directory
        .write("authserver-config.yaml", &config.to_string());
    let jwks = bed.provider.url("/jwks.json");
    let config = config.display().to_string();
    Service::start(&["--config", &config, "--jwks-url", &jwks]).await
}

#[tokio::test]
async fn providers_have_dialects() {
    let bed = Bed::new().await;
    let mut redis = bed.redis.connect().await;
    let service = bed.service(&[]).await;
    let form =
        |body: &str| Script::Answer(200, "application/x-www-form-urlencoded", body.to_owned());
    for (number, (script, token, refresh_token, lives)) in [
        (
            form("access_token=a1&expires_in=60&refresh_token=r1"),
            "a1",
            "r1",
            true,
        ),
        (
            json_answer(200, r#"{"access_token":"a2","expires_in":"60"}"#),
            "a2",
            "dialect-1",
            true,
        ),
        (
            json_answer(200, r#"{"access_token":"a3"}"#),
            "a3",
            "dialect-2",
            false,
        ),
        (
            json_answer(
                201,
                r#"{"access_token":"a4","token_type":"BEARER","expires_in":60.5}"#,
            ),
            "a4",
            "dialect-3",
            true,
        ),
    ]
    .into_iter()
    .enumerate()
    {
        let (session, old) = (format!("S{number}"), format!("dialect-{number}"));
        put(&mut redis, &session, "github", &expired("github", &old)).await;
        bed.provider.script(&old, [script]);
        assert_eq!(
            service
                .ask(&bed.token(&session), "github", &[])
                .await
                .token(),
            token
        );
        let row = get(&mut redis, &session, "github").await.unwrap();
        assert_eq!(row["refresh_token"], refresh_token);
        assert_eq!(row["expires_at"].as_i64().unwrap() > now(), lives);
    }
}

#[tokio::test]
async fn what_a_provider_refuses_it_is_asked_otherwise() {
    let bed = Bed::new().await;
    let mut redis = bed.redis.connect().await;
    let service = bed.service(&[]).await;
    for (session, token) in [("A", "rt-a"), ("B", "rt-b"), ("C", "rt-c")] {
        put(&mut redis, session, "github", &expired("github", token)).await;
    }
    bed.provider.script(
        "rt-a",
        [
            json_answer(400, r#"{"error":"invalid_scope"}"#),
            Script::Issue(3600, true, None),
        ],
    );
    service.ask(&bed.token("A"), "github", &[]).await.token();
    service.ask(&bed.token("B"), "github", &[]).await.token();
    let sent = bed.provider.redemptions();
    assert_eq!(sent.len(), 3, "remembered for that upstream");
    assert_eq!(sent[0].form["scope"], "repo");
    assert!(!sent[1].form.contains_key("scope") && !sent[2].form.contains_key("scope"));

    bed.provider.script(
        "rt-c",
        [
            json_answer(401, r#"{"error":"invalid_client"}"#),
            Script::Issue(3600, true, None),
        ],
    );
    service.ask(&bed.token("C"), "github", &[]).await.token();
    let sent = bed.provider.redemptions();
    assert_eq!(sent.len(), 5);
    assert!(sent[3].form.contains_key("client_secret"));
    assert_eq!(
        sent[4].headers["authorization"],
        "Basic dGh2LWdpdGh1YjpnaXRodWIlMjBzZWNyZXQ="
    );
    assert!(!sent[4].form.contains_key("client_secret"));
}

/// Many users' tokens are refused at the same moment, before anybody has learnt why.
#[tokio::test]
async fn what_one_request_has_learnt_costs_no_other_its_second_try() {
    let bed = Bed::new().await;
    let mut redis = bed.redis.connect().await;
    let service = bed.service(&["--refresh-wait", "20s"]).await;
    for (error, status) in [("invalid_scope", 400), ("invalid_client", 401)] {
        let sessions: Vec<String> = (0..20).map(|number| format!("{error}-{number}")).collect();
        for session in &sessions {
            put(&mut redis, session, "github", &expired("github", session)).await;
            bed.provider.script(
                session,
                [
                    json_answer(status, &format!("{{\"error\":\"{error}\"}}")),
                    Script::Issue(3600, true, None),
                ],
            );
        }
        let tokens: Vec<String> = sessions.iter().map(|session| bed.token(session)).collect();
        let asked = tokens.iter().map(|token| service.ask(token, "github", &[]));
        for answer in futures_util::future::join_all(asked).await {
            answer.token();
        }
    }
}

/// Providers choose their texts without knowing of each other.
#[tokio::test]
async fn two_providers_may_have_issued_the_same_text() {
    let bed = Bed::new().await;
    let mut redis = bed.redis.connect().await;
    for provider in ["github", "corp"] {
        put(&mut redis, SESSION, provider, &expired(provider, "same")).await;
    }
    bed.provider.script(
        "same",
        [Script::Slow(Duration::from_millis(200), 3600, true)],
    );
    let service = bed.service(&[]).await;
    let token = bed.token(SESSION);
    let (github, corp) = tokio::join!(
        service.ask(&token, "github", &[]),
        service.ask(&token, "corp", &[])
    );
    assert_ne!(github.token(), corp.token());
    assert_eq!(bed.provider.times("same"), 2);
}

#[tokio::test]
async fn a_client_that_the_auth_server_registered_is_read_from_the_store() {
    let bed = Bed::new().await;
    let mut redis = bed.redis.connect().await;
    let redirect = "https://mcp.example.com/oauth/callback";
    let service = service_with(
        &bed,
        json!({"name": "linear", "type": "oauth2", "oauth2_config": {
            "authorization_endpoint": bed.provider.url("/auth"),
            "scopes": ["write", "read", "write"], "redirect_uri": redirect,
            "dcr_config": {
                "discovery_url": bed.provider.url("/.well-known/oauth-authorization-server"),
            },
        }}),
    )
    .await;
    let scopes: String = Sha256::digest(b"read\nwrite")
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    let upstream = bed.provider.url("");
    let key = format!(
        "{PREFIX}dcr:{}:{ISSUER}:{}:{upstream}:{}:{redirect}:{scopes}",
        ISSUER.len(),
        upstream.len(),
        redirect.len()
    );
    let register = |secret: &str, method: &str| {
        json!({
            "key_issuer": ISSUER, "client_id": "registered", "client_secret": secret,
            "token_endpoint_auth_method": method,
            "token_endpoint": bed.provider.url("/linear/token"), "client_secret_expires_at": 0,
        })
        .to_string()
    };
    for (session, token) in [(SESSION, "rt-1"), ("S2", "rt-2")] {
        put(&mut redis, session, "linear", &expired("linear", token)).await;
    }

    // Without a registration nobody knows who to be: no proof that the token is gone.
    let answer = service.ask(&bed.token(SESSION), "linear", &[]).await;
    assert_eq!(answer.error(), "upstream_token_unavailable");
    assert!(bed.provider.redemptions().is_empty());

    let first = register("first: %+&", "client_secret_basic");
    run(&mut redis, &["SET", &key, &first]).await;
    let deadline = std::time::Instant::now() + Duration::from_secs(20);
    loop {
        let answer = service.ask(&bed.token(SESSION), "linear", &[]).await;
        if answer.status == 200 {
            break;
        }
        assert!(std::time::Instant::now() < deadline, "{}", service.log());
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let sent = bed.provider.redemptions().pop().unwrap();
    assert_eq!(sent.path, "/linear/token");
    assert_eq!(
        sent.headers["authorization"],
        "Basic cmVnaXN0ZXJlZDpmaXJzdCUzQSUyMCUyNSUyQiUyNg=="
    );
    assert!(!sent.form.contains_key("client_secret") && !sent.form.contains_key("client_id"));

    // The auth server has registered anew.
    let second = register("second", "client_secret_post");
    run(&mut redis, &["SET", &key, &second]).await;
    bed.provider.script(
        "rt-2",
        [
            json_answer(401, r#"{"error":"invalid_client"}"#),
            Script::Issue(3600, true, None),
        ],
    );
    let answer = service.ask(&bed.token("S2"), "linear", &[]).await;
    answer.token();
    let sent = bed.provider.redemptions().pop().unwrap();
    assert_eq!(sent.form["client_secret"], "second");
    assert!(!sent.headers.contains_key("authorization"));
}

#[tokio::test]
async fn a_secret_may_be_in_a_file() {
    let bed = Bed::new().await;
    let file = bed.directory.write("secret", "from a file\n");
    let service = service_with(
        &bed,
        json!({"name": "github", "type": "oauth2", "oauth2_config": {
            "authorization_endpoint": bed.provider.url("/auth"),
            "token_endpoint": bed.provider.url("/token"), "client_id": "thv-github",
            "client_secret_file": file.display().to_string(),
            "client_secret_env_var": "NOT_SET_ANYWHERE",
            "redirect_uri": "https://mcp.example.com/oauth/callback",
        }}),
    )
    .await;
    let mut redis = bed.redis.connect().await;
    put(&mut redis, SESSION, "github", &expired("github", "rt")).await;
    service
        .ask(&bed.token(SESSION), "github", &[])
        .await
        .token();
    let sent = bed.provider.redemptions().pop().unwrap();
    assert_eq!(sent.form["client_secret"], "from a file");
    assert!(!service.log().contains("from a file"));
}
