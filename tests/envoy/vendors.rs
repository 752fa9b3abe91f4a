//! What real token endpoints want and answer, as their documentation and bug reports show it: a table
//! of answers that grows by a line for each vendor's oddity, and what it takes not to be a burden to
//! them. `docs/providers.md` has the settings.

use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bed::{Answer, Bed, canary};
use serde_json::{Value, json};

use crate::exchange_lane::{Lane, lanes, refused};
use crate::trial::{SharedBed, trials};

trials!("vendors":
    each_answer_is_understood,
    an_endpoint_that_says_when_to_come_again_is_left_alone,
    a_token_whose_life_nobody_states_lives_as_long_as_configured,
    a_client_that_is_refused_is_not_locked_out,
    a_short_life_is_used,
);

const ACCESS_TOKEN: &str = "urn:ietf:params:oauth:token-type:access_token";
const ID_TOKEN: &str = "urn:ietf:params:oauth:token-type:id_token";
const JWT: &str = "urn:ietf:params:oauth:token-type:jwt";
const CLAIMS: &str = r#"{"access_token":{"acrs":{"essential":true,"value":"c1"}}}"#;

/// One answer of one vendor.
struct Row {
    /// Who answers so.
    who: &'static str,
    /// The name of its lane.
    lane: &'static str,
    /// Of the lane's `tokenExchange`.
    settings: Value,
    answer: Answer,
    expected: Expected,
}

enum Expected {
    Token,
    /// A status, a CODE, and what stands in the challenge, the body or the log line.
    Refusal(u16, &'static str, Vec<String>),
}

fn row(
    who: &'static str,
    lane: &'static str,
    settings: Value,
    answer: Answer,
    expected: Expected,
) -> Row {
    Row {
        who,
        lane,
        settings,
        answer,
        expected,
    }
}

fn token() -> String {
    canary::token("sts_", "vendor")
}

/// A good answer with other members; `null` takes one out.
fn issued(over: Value) -> Answer {
    Answer::json(200, &issued_body(over))
}

fn issued_body(over: Value) -> Value {
    let mut body = Answer::token_body(&token(), json!(3600));
    for (name, value) in over.as_object().into_iter().flatten() {
        match value {
            Value::Null => drop(body.as_object_mut().expect("an object").remove(name)),
            value => body[name] = value.clone(),
        }
    }
    body
}

fn refusal(status: u16, code: &'static str, shows: &[&str]) -> Expected {
    let shows = shows.iter().map(|text| (*text).to_owned());
    Expected::Refusal(status, code, shows.collect())
}

fn step_up(shows: &[&str]) -> Expected {
    let shows = [&["error=\"insufficient_claims\""], shows].concat();
    refusal(401, "step_up_required", &shows)
}

fn with_claims(body: Value) -> (Answer, Expected) {
    let claims = format!("claims=\"{}\"", STANDARD.encode(CLAIMS));
    let shows = [
        &*claims,
        "authorization_uri=\"https://login.example.com/authorize\"",
    ];
    (Answer::json(400, &body), step_up(&shows))
}

fn rows() -> Vec<Row> {
    [tokens(), logins(), operators(), outages()]
        .into_iter()
        .flatten()
        .collect()
}

/// What brings a token.
fn tokens() -> Vec<Row> {
    let untyped = json!({"issued_token_type": null, "expires_in": 3600});
    let any = json!({"requestedTokenType": ""});
    vec![
        row(
            "Keycloak up to 25",
            "keycloak-25",
            any.clone(),
            issued(untyped),
            Expected::Token,
        ),
        row(
            "Salesforce",
            "salesforce",
            any,
            issued(json!({"issued_token_type": null, "expires_in": null})),
            Expected::Token,
        ),
        row(
            "Keycloak, for an ID token",
            "keycloak-id-token",
            json!({"requestedTokenType": "id_token"}),
            issued(json!({"issued_token_type": ID_TOKEN, "token_type": "N_A"})),
            Expected::Token,
        ),
        row(
            "Zitadel, for a JWT",
            "zitadel-jwt",
            json!({"requestedTokenType": "jwt"}),
            issued(json!({"issued_token_type": JWT})),
            Expected::Token,
        ),
        row(
            "INDIGO IAM, Knox",
            "knox",
            json!({}),
            issued(json!({"issued_token_type": JWT})),
            Expected::Token,
        ),
        row(
            "a server that writes a byte order mark",
            "byte-order-mark",
            json!({}),
            Answer::raw(200, format!("\u{feff}{}", issued_body(json!({})))),
            Expected::Token,
        ),
        row(
            "Auth0's Token Vault",
            "auth0-vault",
            json!({
                "grantType": "urn:auth0:params:oauth:grant-type:token-exchange:federated-connection-access-token",
                "requestedTokenType": "http://auth0.com/oauth/token-type/federated-connection-access-token",
                "parameters": {"connection": "google-oauth2"},
            }),
            issued(json!({
                "issued_token_type": "http://auth0.com/oauth/token-type/federated-connection-access-token",
            })),
            Expected::Token,
        ),
        row(
            "Box",
            "box",
            json!({"requestedTokenType": ""}),
            issued(json!({"token_type": "bearer", "restricted_to": [{"scope": "item_preview"}]})),
            Expected::Token,
        ),
        row(
            "Entra, on behalf of",
            "entra",
            json!({"grantType": "jwt_bearer"}),
            issued(json!({"issued_token_type": null, "ext_expires_in": 3600})),
            Expected::Token,
        ),
    ]
}

/// What the user can do something about.
fn logins() -> Vec<Row> {
    let assertion = json!({"grantType": "jwt_bearer"});
    let (factor, wants_factor) = with_claims(json!({
        "error": "invalid_grant", "suberror": "basic_action", "claims": CLAIMS,
    }));
    let (access, wants_access) = with_claims(json!({
        "error": "interaction_required", "claims": CLAIMS,
    }));
    let okta = json!({
        "error": "interaction_required",
        "interaction_uri": "https://localhost/consent?request=7",
    });
    let elsewhere = json!({
        "error": "interaction_required", "interaction_uri": "https://evil.example.com/",
    });
    let rejected = |shows: &[&str]| refusal(401, "token_exchange_rejected", shows);
    vec![
        row(
            "Entra, a second factor",
            "entra-factor",
            assertion.clone(),
            factor,
            wants_factor,
        ),
        row(
            "Entra, conditional access",
            "entra-access",
            assertion.clone(),
            access,
            wants_access,
        ),
        row(
            "Entra, an assertion that has expired",
            "entra-expired",
            assertion,
            Answer::error(400, "invalid_grant"),
            rejected(&["invalid_grant"]),
        ),
        row(
            "Keycloak, an account that is not linked",
            "keycloak-not-linked",
            json!({"stsErrors": {"not_linked": "step_up"}}),
            Answer::error(400, "not_linked"),
            step_up(&[]),
        ),
        row(
            "Keycloak, an external token that has expired",
            "keycloak-expired",
            json!({"stsErrors": {"token_expired": "rejected"}}),
            Answer::error(400, "token_expired"),
            rejected(&[]),
        ),
        row(
            "Auth0, a factor is missing",
            "auth0-mfa",
            json!({}),
            Answer::error(403, "mfa_required"),
            step_up(&[]),
        ),
        row(
            "Auth0's Token Vault, an account that is not connected",
            "auth0-not-connected",
            json!({"stsErrors": {"federated_connection_refresh_token_flow_failed": "step_up"}}),
            Answer::error(401, "federated_connection_refresh_token_flow_failed"),
            step_up(&[]),
        ),
        row(
            "Okta, an agent that needs consent",
            "okta",
            json!({}),
            Answer::json(400, &okta),
            step_up(&["\"interaction_uri\":\"https://localhost/consent?request=7\""]),
        ),
        row(
            "the same with a link that leads elsewhere",
            "okta-elsewhere",
            json!({}),
            Answer::json(400, &elsewhere),
            step_up(&[]),
        ),
    ]
}

/// What the operator can do something about: the log line says what was answered.
fn operators() -> Vec<Row> {
    let misconfigured = |shows: &[&str]| refusal(502, "token_exchange_misconfigured", shows);
    let unusable = |shows: &[&str]| refusal(502, "token_exchange_invalid_response", shows);
    let page = |status| Answer::raw(status, "<html>Request blocked.</html>");
    vec![
        row(
            "Google, a wrong audience",
            "google-audience",
            json!({}),
            Answer::error(400, "invalid_request"),
            refusal(
                401,
                "token_exchange_rejected",
                &["invalid_request", "audience and the token types"],
            ),
        ),
        row(
            "Entra, a request that is not as it should be",
            "entra-request",
            json!({"grantType": "jwt_bearer"}),
            Answer::error(400, "invalid_request"),
            misconfigured(&["invalid_request"]),
        ),
        row(
            "a firewall's page",
            "firewall",
            json!({}),
            page(403),
            misconfigured(&["status 403"]),
        ),
        row(
            "a URL that is wrong",
            "not-found",
            json!({}),
            page(404),
            misconfigured(&["status 404"]),
        ),
        row(
            "a URL that has moved",
            "moved",
            json!({}),
            Answer::raw(302, "").header("location", "https://localhost/token"),
            misconfigured(&["status 302"]),
        ),
        row(
            "Keycloak up to 25, as it comes",
            "keycloak-25-untyped",
            json!({"requestedTokenType": "access_token"}),
            issued(json!({"issued_token_type": null})),
            unusable(&["what is wrong: issued_token_type"]),
        ),
        row(
            "a server that binds its tokens to a key",
            "dpop",
            json!({}),
            issued(json!({"token_type": "DPoP"})),
            unusable(&["what is wrong: token_type"]),
        ),
        row(
            "a login page with 200",
            "login-page",
            json!({}),
            page(200),
            unusable(&["what is wrong: no JSON object"]),
        ),
        row(
            "a word that is mapped, with 200",
            "mapped-success",
            json!({"stsErrors": {"not_linked": "step_up"}}),
            Answer::error(200, "not_linked"),
            unusable(&[]),
        ),
        row(
            "another type than the one asked for",
            "another-type",
            json!({"requestedTokenType": "id_token"}),
            issued(json!({"issued_token_type": ACCESS_TOKEN, "token_type": "N_A"})),
            unusable(&["what is wrong: "]),
        ),
    ]
}

/// What passes.
fn outages() -> Vec<Row> {
    let unavailable = |status: &str| refusal(503, "token_exchange_unavailable", &[status]);
    let said = |lane, status: u16, word| {
        let shows = format!("status {status}");
        row(
            "Entra, and whoever else is overloaded",
            lane,
            json!({}),
            Answer::error(status, word),
            unavailable(&shows),
        )
    };
    vec![
        said("entra-temporarily", 400, "temporarily_unavailable"),
        said("entra-error", 400, "server_error"),
        said("entra-slow-down", 400, "slow_down"),
        row(
            "Entra, 408",
            "entra-408",
            json!({}),
            Answer::raw(408, ""),
            unavailable("status 408"),
        ),
        row(
            "Auth0, too many attempts",
            "auth0-429",
            json!({}),
            Answer::error(429, "too_many_attempts"),
            unavailable("status 429"),
        ),
    ]
}

async fn bed() -> &'static Bed {
    static BED: SharedBed = SharedBed::new();
    BED.get(|| {
        let mut all: Vec<(&str, Value)> = rows()
            .into_iter()
            .map(|row| (row.lane, row.settings))
            .collect();
        all.extend([
            ("wants-a-user-agent", json!({})),
            ("comes-again", json!({})),
            ("assumed", json!({"assumedLifetime": "5m"})),
            (
                "wrong-secret",
                json!({"clientId": "envoy", "clientSecret": "wrong"}),
            ),
            ("short-lived", json!({"refreshAhead": false})),
        ]);
        let rest = json!({"challenge": {
            "authorizationUri": "https://login.example.com/authorize",
        }});
        lanes("vendors", &all, rest).start()
    })
    .await
}

async fn each_answer_is_understood() {
    let bed = bed().await;
    for row in rows() {
        let (who, lane) = (row.who, Lane::of(bed, row.lane));
        lane.sts().answer_next(row.answer);
        let reply = lane.get(&lane.login("alice"), "first").await;
        let (status, code, shows) = match row.expected {
            Expected::Token => {
                assert_eq!(reply.status, 200, "{who}: {}", reply.text());
                let expected = format!("Bearer {}", token());
                assert_eq!(reply.seen("authorization"), [expected], "{who}");
                continue;
            }
            Expected::Refusal(status, code, shows) => (status, code, shows),
        };
        let seen = refused(&reply);
        assert_eq!((seen.status, &*seen.code), (status, code), "{who}");
        assert!(lane.backend().requests().is_empty(), "{who}: forwarded");
        let warning = bed::eventually(&format!("a warning: {who}"), || async {
            let start = format!("{code}: backend \"{}\"", row.lane);
            let log = bed.envoy.log();
            let mut lines = log.lines();
            lines.find(|line| line.contains(&start)).map(str::to_owned)
        })
        .await;
        let said = [
            &*reply.header("www-authenticate"),
            &*reply.text(),
            &*warning,
        ]
        .join("\n");
        for text in shows {
            assert!(said.contains(&text), "{who}: no {text} in\n{said}");
        }
        assert!(!said.contains("evil.example.com"), "{who}: {said}");
    }
    // Firewalls of two clouds refuse whoever does not say what they are.
    let lane = Lane::of(bed, "wants-a-user-agent");
    lane.sts().set_script(|request| {
        if request.header("user-agent").starts_with("upstream-inject/") {
            return Answer::token_for(request);
        }
        Answer::raw(403, "<html>Request blocked.</html>")
    });
    lane.get_ok(&lane.login("alice"), "first").await;
}

async fn an_endpoint_that_says_when_to_come_again_is_left_alone() {
    let lane = Lane::of(bed().await, "comes-again");
    lane.sts()
        .set_script(|_| Answer::raw(429, "").header("retry-after", "30"));
    for user in ["alice", "bob", "carol"] {
        let reply = lane.get(&lane.login(user), "x").await;
        assert_eq!(refused(&reply).code, "token_exchange_unavailable");
        let left: u32 = reply.header("retry-after").parse().expect("seconds");
        assert!((2..=30).contains(&left), "{left}");
    }
    assert_eq!(lane.sts().calls(), 1);
}

async fn a_token_whose_life_nobody_states_lives_as_long_as_configured() {
    let lane = Lane::of(bed().await, "assumed");
    lane.sts()
        .set_script(|_| issued(json!({"expires_in": null})));
    let jwt = lane.login("alice");
    for _ in 0..20 {
        lane.get_ok(&jwt, "x").await;
    }
    assert_eq!(lane.sts().calls(), 1);
}

/// How much the filter's clock, which is set now and then, may run ahead of this test's.
const CLOCKS: Duration = Duration::from_millis(100);

/// Every user gets the same answer; the endpoint, which may count wrong secrets, hears of few of them.
async fn a_client_that_is_refused_is_not_locked_out() {
    let lane = Lane::of(bed().await, "wrong-secret");
    lane.sts()
        .set_script(|_| Answer::error(401, "invalid_client"));
    let began = Instant::now();
    for request in 0..100 {
        let reply = lane.get(&lane.login(&format!("user-{request}")), "x").await;
        assert_eq!(refused(&reply).code, "token_exchange_misconfigured");
    }
    // Five, and then one in a second, in two, in four…
    let calls = lane.sts().calls();
    let most = 5 + (began.elapsed() + CLOCKS).as_secs() as usize;
    assert!((5..=most).contains(&calls), "{calls} calls");
}

/// Ten seconds are less than the skew: of so short a life a fifth is left out, not all.
async fn a_short_life_is_used() {
    let lane = Lane::of(bed().await, "short-lived");
    lane.sts().set_script(|_| issued(json!({"expires_in": 10})));
    let jwt = lane.login("alice");
    let began = Instant::now();
    for _ in 0..50 {
        lane.get_ok(&jwt, "x").await;
    }
    let calls = lane.sts().calls();
    let most = 1 + (began.elapsed() + CLOCKS).as_secs() as usize / 8;
    assert!((1..=most).contains(&calls), "{calls} calls");
}
