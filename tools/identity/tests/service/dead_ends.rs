//! Where only a login helps, the client is made to log in; nowhere else.

use redis::aio::MultiplexedConnection;
use serde_json::{Value, json};

use crate::bed::check::{Check, check, client};
use crate::bed::provider::Script;
use crate::bed::service::Bed;
use crate::bed::session::{PREFIX, exists, expired, put, row, run};
use crate::bed::signer::unsigned;

const ID_TOKEN: (&str, &str) = (
    "requested_token_type",
    "urn:ietf:params:oauth:token-type:id_token",
);

fn record(session: &str) -> String {
    json!({
        "client_id": "mcp-client", "request_id": format!("req-{session}"),
        "session": {
            "JWTClaims": {"Extra": {"client_id": "mcp-client", "tsid": session}},
            "UpstreamSessionID": session,
        },
    })
    .to_string()
}

/// What ToolHive keeps of a client whose newest token is this one.
async fn client_of(redis: &mut MultiplexedConnection, session: &str, token: &str) {
    let signature = token.rsplit('.').next().unwrap();
    run(
        redis,
        &[
            "SET",
            &format!("{PREFIX}access:{signature}"),
            &record(session),
        ],
    )
    .await;
    let set = format!("{PREFIX}reqid:refresh:req-{session}");
    run(redis, &["SADD", &set, &format!("sig-{session}")]).await;
    run(redis, &["SET", &refresh_key(session), &record(session)]).await;
}

fn refresh_key(session: &str) -> String {
    format!("{PREFIX}refresh:sig-{session}")
}

#[tokio::test]
async fn a_missing_provider_ends_the_clients_refreshing_once() {
    let bed = Bed::new().await;
    let mut redis = bed.redis.connect().await;
    let token = bed.token("S");
    client_of(&mut redis, "S", &token).await;
    client_of(&mut redis, "OTHER", "x.y.other").await;
    put(&mut redis, "S", "corp", &row("corp", |_| {})).await;
    let service = bed.service(&[]).await;
    let answer = service.ask(&token, "github", &[]).await;
    assert_eq!(
        (answer.status, answer.error()),
        (400, "upstream_token_not_found")
    );
    assert!(!exists(&mut redis, &refresh_key("S")).await);
    assert!(exists(&mut redis, &refresh_key("OTHER")).await);
    assert_eq!(
        service
            .metric("upstream_inject_identity_ended_sessions_total")
            .await,
        1.0
    );
    let log = service.log();
    assert!(log.contains("refresh token was taken out"), "{log}");
    assert!(!log.contains(token.rsplit('.').next().unwrap()), "{log}");

    run(&mut redis, &["SET", &refresh_key("S"), &record("S")]).await;
    service.ask(&token, "github", &[]).await;
    assert!(
        exists(&mut redis, &refresh_key("S")).await,
        "once for each session"
    );
}

#[tokio::test]
async fn nothing_is_ended_where_a_login_would_not_help() {
    let bed = Bed::new().await;
    let mut redis = bed.redis.connect().await;
    let service = bed.service(&[]).await;
    let fresh = |session: &str| bed.signer.sign(&bed.claims(session, 60));
    put(&mut redis, "DOWN", "github", &expired("github", "down")).await;
    bed.provider
        .script("down", [Script::Answer(503, "text/plain", String::new())]);
    put(&mut redis, "NOID", "corp", &row("corp", |_| {})).await;
    put(&mut redis, "OAUTH", "github", &row("github", |_| {})).await;
    let id = [ID_TOKEN];
    for (what, session, token, provider, more) in [
        ("unavailable", "DOWN", bed.token("DOWN"), "github", &[][..]),
        ("just logged in", "FRESH", fresh("FRESH"), "github", &[][..]),
        (
            "no such upstream",
            "NONE",
            bed.token("NONE"),
            "gitlab",
            &[][..],
        ),
        (
            "a row without ID token",
            "NOID",
            bed.token("NOID"),
            "corp",
            &id[..],
        ),
        (
            "OAuth 2 has none",
            "OAUTH",
            bed.token("OAUTH"),
            "github",
            &id[..],
        ),
        (
            "OAuth 2, no row",
            "NOROW",
            bed.token("NOROW"),
            "github",
            &id[..],
        ),
    ] {
        client_of(&mut redis, session, &token).await;
        let answer = service.ask(&token, provider, more).await;
        assert_ne!(answer.status, 200, "{what}");
        assert!(exists(&mut redis, &refresh_key(session)).await, "{what}");
    }
    // Without iat nobody knows when the login was.
    let mut claims = bed.claims("NOIAT", 600);
    claims.as_object_mut().unwrap().remove("iat");
    let token = bed.signer.sign(&claims);
    client_of(&mut redis, "NOIAT", &token).await;
    service.ask(&token, "github", &[]).await;
    assert!(exists(&mut redis, &refresh_key("NOIAT")).await);

    let off = bed.service(&["--end-dead-sessions", "off"]).await;
    let token = bed.token("OFF");
    client_of(&mut redis, "OFF", &token).await;
    off.ask(&token, "github", &[]).await;
    assert!(exists(&mut redis, &refresh_key("OFF")).await);
}

#[tokio::test]
async fn a_row_of_another_session_ends_nothing() {
    let bed = Bed::new().await;
    let mut redis = bed.redis.connect().await;
    let service = bed.service(&[]).await;
    // The access token's row names another session; so does the refresh token's.
    let token = bed.token("S1");
    client_of(&mut redis, "VICTIM", &token).await;
    service.ask(&token, "github", &[]).await;
    assert!(exists(&mut redis, &refresh_key("VICTIM")).await);

    let token = bed.token("S2");
    client_of(&mut redis, "S2", &token).await;
    run(&mut redis, &["SET", &refresh_key("S2"), &record("VICTIM")]).await;
    service.ask(&token, "github", &[]).await;
    assert!(exists(&mut redis, &refresh_key("S2")).await);

    for (session, garbage) in [
        ("G1", "null"),
        ("G2", "{"),
        ("G3", "[]"),
        ("G4", "{\"request_id\":5}"),
    ] {
        let token = bed.token(session);
        client_of(&mut redis, session, &token).await;
        let signature = token.rsplit('.').next().unwrap();
        run(
            &mut redis,
            &["SET", &format!("{PREFIX}access:{signature}"), garbage],
        )
        .await;
        let answer = service.ask(&token, "github", &[]).await;
        assert_eq!(answer.error(), "upstream_token_not_found", "{garbage}");
        assert!(exists(&mut redis, &refresh_key(session)).await, "{garbage}");
    }
}

#[tokio::test]
async fn at_the_ext_authz_door_the_token_must_be_the_one_that_was_checked() {
    let bed = Bed::new().await;
    let mut redis = bed.redis.connect().await;
    let service = bed.service(&[]).await;
    let mut client = client(service.check_port).await;
    let ask = |session: &str, authorization: Option<String>, providers: Option<&str>| Check {
        authorization,
        providers: providers.map(str::to_owned),
        ..Check::of(claims_of(&bed, session))
    };
    let bearer = |claims: &Value| {
        let token = unsigned(claims);
        (format!("Bearer {token}"), token)
    };
    let mut other = claims_of(&bed, "S1");
    other["jti"] = json!("another");
    for (what, session, authorization, providers, ends) in [
        (
            "not named",
            "S0",
            bearer(&claims_of(&bed, "S0")).0,
            None,
            false,
        ),
        (
            "another token",
            "S1",
            bearer(&other).0,
            Some("github"),
            false,
        ),
        ("no token", "S2", String::new(), Some("github"), false),
        (
            "not a bearer",
            "S3",
            bearer(&claims_of(&bed, "S3")).0.replace("Bearer", "Basic"),
            Some("github"),
            false,
        ),
        (
            "not missing",
            "S4",
            bearer(&claims_of(&bed, "S4")).0,
            Some("corp"),
            false,
        ),
        (
            "no upstream",
            "S5",
            bearer(&claims_of(&bed, "S5")).0,
            Some("gitlab"),
            false,
        ),
        (
            "the one",
            "S6",
            bearer(&claims_of(&bed, "S6")).0,
            Some("corp,github"),
            true,
        ),
    ] {
        put(&mut redis, session, "corp", &row("corp", |_| {})).await;
        // unsigned() signs all alike: "c2ln" is the signature of every token here.
        client_of(&mut redis, session, "x.y.c2ln").await;
        let authorization = (!authorization.is_empty()).then_some(authorization);
        check(&mut client, &ask(session, authorization, providers)).await;
        assert_eq!(
            !exists(&mut redis, &refresh_key(session)).await,
            ends,
            "{what}"
        );
    }
}

fn claims_of(bed: &Bed, session: &str) -> Value {
    let mut claims = bed.claims(session, 600);
    // The same at every call.
    claims["exp"] = json!(4_102_444_800_i64);
    claims["iat"] = json!(1_790_000_000);
    claims
}
