//! Refusals, one test per row: what the client gets, what operators see, that nothing reached the
//! backend, and that the next request is served.

use std::sync::LazyLock;

use bed::{Bed, PluginConfig, Reply, Request, canary, eventually};
use libtest_mimic::Trial;
use serde_json::{Value, json};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;

use crate::plugin;
use crate::trial::{SharedBed, trial};

/// One way in which an identity has no usable token.
struct Case {
    /// Name of the test and of the backend.
    name: &'static str,
    /// What the embedded AS says of the session.
    metadata: Value,
    /// Whether the client sends a TH-JWT; without one it is the session of nobody in particular.
    bearer: bool,
    expected: Expected,
}

#[derive(Clone, Copy)]
enum Expected {
    /// 401 with this challenge's `error`, if it has one.
    NotFound(Option<&'static str>),
    Malformed,
}

static CASES: LazyLock<Vec<Case>> = LazyLock::new(|| {
    use Expected::{Malformed, NotFound};
    let with = |name, token: Value, expected| Case {
        name,
        metadata: json!({"upstream_tokens": {"github": token, "other": "o"}}),
        bearer: true,
        expected,
    };
    let missing = NotFound(Some("invalid_token"));
    let mut cases = vec![
        with("empty", json!(""), missing),
        with("null", Value::Null, missing),
        with("true", json!(true), Malformed),
        with("zero", json!(0), Malformed),
        with("number", json!(42.5), Malformed),
        // The eight bytes of this number are visible ASCII.
        with(
            "number-that-looks-like-text",
            json!(2_261_634.509_803_921_4),
            Malformed,
        ),
        with("list", json!(["gho_list"]), Malformed),
        with("empty-list", json!([]), Malformed),
        with("map", json!({"token": "gho_map"}), Malformed),
        with("empty-map", json!({}), Malformed),
        with("map-with-null", json!({"token": null}), Malformed),
        with(
            "20-kib",
            json!(canary::token(&"x".repeat(20 * 1024), "big")),
            Malformed,
        ),
        with("one-over-the-limit", json!("x".repeat(16_385)), Malformed),
        with(
            "line-feed",
            json!(canary::token("a\nx-evil: 1\n", "lf")),
            Malformed,
        ),
        with(
            "carriage-return",
            json!(canary::token("a\r\n\r\n", "cr")),
            Malformed,
        ),
        with("nul", json!(canary::token("a\u{0}", "nul")), Malformed),
        with("delete", json!(canary::token("a\u{7f}", "del")), Malformed),
        with("space", json!(canary::token("a ", "space")), Malformed),
        with("non-ascii", json!(canary::token("ä", "umlaut")), Malformed),
        with("quote", json!(canary::token("a\"", "quote")), Malformed),
        with("comma", json!(canary::token("a,", "comma")), Malformed),
        with(
            "semicolon",
            json!(canary::token("a;", "semicolon")),
            Malformed,
        ),
        with(
            "backslash",
            json!(canary::token("a\\", "backslash")),
            Malformed,
        ),
    ];
    let session = |name, metadata, expected| Case {
        name,
        metadata,
        bearer: true,
        expected,
    };
    cases.extend([
        session(
            "other-provider-only",
            json!({"upstream_tokens": {"other": "o"}}),
            missing,
        ),
        session(
            "other-case",
            json!({"upstream_tokens": {"GitHub": "o"}}),
            missing,
        ),
        session("no-tokens", json!({"upstream_tokens": {}}), missing),
        session("no-map", json!({}), missing),
        session("tokens-are-null", json!({"upstream_tokens": null}), missing),
        session(
            "tokens-are-a-string",
            json!({"upstream_tokens": "github"}),
            missing,
        ),
        session(
            "tokens-are-a-number",
            json!({"upstream_tokens": 1}),
            missing,
        ),
        session(
            "tokens-are-a-list",
            json!({"upstream_tokens": ["github", "t"]}),
            missing,
        ),
        session("tokens-are-true", json!({"upstream_tokens": true}), missing),
        Case {
            name: "nobody",
            metadata: json!({}),
            bearer: false,
            expected: NotFound(None),
        },
    ]);
    cases
});

/// All rows, then the refusals that need a test of their own.
pub fn trials() -> Vec<Trial> {
    let mut trials: Vec<Trial> = CASES
        .iter()
        .map(|case| trial("refusals", case.name, move || Box::pin(refused(case))))
        .collect();
    trials.push(trial("refusals", "a_null_spoils_no_neighbour", || {
        Box::pin(a_null_spoils_no_neighbour())
    }));
    trials.push(trial("refusals", "the_longest_token_is_sent", || {
        Box::pin(the_longest_token_is_sent())
    }));
    trials.push(trial("refusals", "an_unlisted_backend_is_refused", || {
        Box::pin(an_unlisted_backend_is_refused())
    }));
    trials.push(trial(
        "refusals",
        "a_grpc_call_gets_the_description_alone",
        || Box::pin(a_grpc_call_gets_the_description_alone()),
    ));
    trials.push(trial(
        "refusals",
        "an_absent_identity_and_a_nested_token_are_told_from_a_missing_login",
        || Box::pin(an_absent_identity_and_a_nested_token_are_told_from_a_missing_login()),
    ));
    trials.push(trial("refusals", "log_lines_are_rate_limited", || {
        Box::pin(log_lines_are_rate_limited())
    }));
    trials
}

static BED: SharedBed = SharedBed::new();

async fn bed() -> &'static Bed {
    BED.get(|| {
        let mut backends =
            json!({"grpc": plugin::inject("github"), "often": plugin::inject("github")});
        for case in CASES.iter() {
            backends[case.name] = plugin::inject("github");
        }
        let mut config = plugin::config(&["github", "other"], backends);
        config["challenge"] = json!({
            "realm": "mcp",
            "resourceMetadata": "https://mcp.example.com/.well-known/oauth-protected-resource",
            "scope": "mcp:tools",
        });
        let mut plan = Bed::with("refusals", PluginConfig::Json(config))
            .backend("unlisted")
            .http2_backend("grpc")
            .backend("often")
            .route(json!({
                "match": {"prefix": "/grpc.health.v1.Health/"},
                "route": {"cluster": "grpc"},
            }));
        for case in CASES.iter() {
            plan = plan.backend(case.name);
        }
        plan.start()
    })
    .await
}

async fn refused(case: &'static Case) {
    let bed = bed().await;
    let path = format!("/{}/refused", case.name);
    let mut request = Request::post(&path, "a body that nobody reads");
    if case.bearer {
        request = request.bearer(&bed.embedded_as.login("alice", case.metadata.clone()));
    } else {
        bed.embedded_as.set_session("", case.metadata.clone());
    }
    let reply = bed.http1().send(request).await;
    let code = match case.expected {
        Expected::NotFound(error) => {
            assert_eq!(reply.status, 401, "{}", reply.text());
            assert_challenge(&reply, error);
            "upstream_token_not_found"
        }
        Expected::Malformed => {
            assert_eq!(reply.status, 502, "{}", reply.text());
            assert_eq!(reply.header("www-authenticate"), "");
            "upstream_token_malformed"
        }
    };
    assert_refusal(&reply, code, case.name);
    assert_eq!(reply.json()["provider"], "github");
    assert!(
        reply.json()["error_description"]
            .as_str()
            .is_some_and(|text| text.contains("github"))
    );
    let line = bed.access_log_of(&path).await;
    assert_eq!(
        (&line["outcome"], &line["backend"]),
        (&json!(code), &json!(case.name))
    );
    assert!(
        bed.backend(case.name).requests().is_empty(),
        "something reached the backend"
    );

    let good = bed.login("alice", json!({"github": canary::token("gho_", "good")}));
    let reply = bed
        .http1()
        .send(Request::get(&format!("/{}/good", case.name)).bearer(&good))
        .await;
    assert_eq!(
        reply.seen("authorization"),
        [format!("Bearer {}", canary::token("gho_", "good"))]
    );
    bed.expect_outcome(case.name, code, 1).await;
    bed.expect_outcome(case.name, "injected", 1).await;
    eventually("a WARN line", || async {
        warned(bed, code, case.name, "github")
    })
    .await;
}

/// The challenge has the configured parameters, each in quotes, and this `error` or none.
fn assert_challenge(reply: &Reply, error: Option<&str>) {
    let challenge = reply.header("www-authenticate");
    let parameters = challenge
        .strip_prefix("Bearer ")
        .expect("a Bearer challenge");
    for expected in [
        r#"realm="mcp""#,
        r#"scope="mcp:tools""#,
        r#"resource_metadata="https://mcp.example.com/.well-known/oauth-protected-resource""#,
    ] {
        assert!(parameters.contains(expected), "{challenge}");
    }
    match error {
        Some(error) => {
            assert!(
                parameters.contains(&format!(r#"error="{error}""#)),
                "{challenge}"
            );
            assert!(parameters.contains("github"), "{challenge}");
        }
        None => assert!(!parameters.contains("error"), "{challenge}"),
    }
}

fn assert_refusal(reply: &Reply, code: &str, backend: &str) {
    assert_eq!(reply.json()["error"], code, "{}", reply.text());
    assert_eq!(reply.json()["backend"], backend);
    assert_eq!(reply.header("content-type"), "application/json");
    assert_eq!(reply.header("cache-control"), "no-store");
}

/// The log has a WARN line of the filter with all of these.
fn warned(bed: &Bed, code: &str, backend: &str, provider: &str) -> Option<()> {
    let log = bed.envoy.log();
    let found = log.lines().any(|line| {
        line.contains("[warning][wasm]")
            && line.contains(code)
            && line.contains(&format!("\"{backend}\""))
            && line.contains(provider)
    });
    found.then_some(())
}

async fn an_absent_identity_and_a_nested_token_are_told_from_a_missing_login() {
    let names = ["logged-out", "no-map", "nobody", "nested"];
    let mut config = plugin::config(&["github"], json!({}));
    for name in names {
        config["outgoingAuth"]["backends"][name] = plugin::inject("github");
    }
    let mut plan = Bed::with("absent", PluginConfig::Json(config));
    for name in names {
        plan = plan.backend(name);
    }
    let bed = plan.start().await;
    let token = canary::token("gho_", "nested");
    for (name, metadata, code, hint) in [
        (
            "logged-out",
            json!({"upstream_tokens": {"other": "o"}}),
            "upstream_token_not_found",
            "the identity holds no token of this provider",
        ),
        (
            "no-map",
            json!({"tokens": {"github": token}}),
            "upstream_token_not_found",
            "nobody has left any upstream tokens for this request",
        ),
        (
            "nobody",
            json!({}),
            "upstream_token_not_found",
            "nobody has left any upstream tokens for this request",
        ),
        (
            "nested",
            json!({"upstream_tokens": {"github": {"access_token": token}}}),
            "upstream_token_malformed",
            "must be a string, is a map",
        ),
    ] {
        let jwt = bed.embedded_as.login(name, metadata);
        let request = Request::get(&format!("/{name}/a")).bearer(&jwt);
        let reply = bed.http1().send(request).await;
        assert_eq!(reply.json()["error"], code, "{name}: {}", reply.text());
        bed.expect_outcome(name, code, 1).await;
        eventually("a WARN line that says which of them it is", || async {
            let log = bed.envoy.log();
            let mut lines = log.lines();
            let found =
                lines.any(|line| line.contains(&format!("\"{name}\"")) && line.contains(hint));
            found.then_some(())
        })
        .await;
    }
    let counter = "wasmcustom.upstream_inject.identity_absent";
    bed.envoy.expect_stat(counter, 2).await;
}

async fn a_null_spoils_no_neighbour() {
    let bed = bed().await;
    let token = canary::token("gho_", "neighbour");
    let metadata = json!({
        "upstream_tokens": {"other": null, "github": token, "map": {"in": null}},
        "health_check": null,
    });
    let jwt = bed.embedded_as.login("alice", metadata);
    let reply = bed
        .http1()
        .send(Request::get("/often/neighbour").bearer(&jwt))
        .await;
    assert_eq!(reply.seen("authorization"), [format!("Bearer {token}")]);
}

async fn the_longest_token_is_sent() {
    let bed = bed().await;
    let token = "x".repeat(16_384);
    let jwt = bed.login("alice", json!({"github": token}));
    let reply = bed
        .http1()
        .send(Request::get("/often/longest").bearer(&jwt))
        .await;
    assert_eq!(reply.seen("authorization"), [format!("Bearer {token}")]);
}

async fn an_unlisted_backend_is_refused() {
    let bed = bed().await;
    let jwt = bed.login("alice", json!({"github": canary::token("gho_", "alice")}));
    let reply = bed
        .http1()
        .send(Request::get("/unlisted/a").bearer(&jwt))
        .await;
    assert_eq!(reply.status, 500);
    assert_refusal(&reply, "backend_not_configured", "unlisted");
    assert_eq!(reply.json().get("provider"), None);
    assert_eq!(reply.header("www-authenticate"), "");
    let line = bed.access_log_of("/unlisted/a").await;
    assert_eq!(line["outcome"], "backend_not_configured");
    assert!(bed.backend("unlisted").requests().is_empty());
    eventually("a WARN line", || async {
        warned(bed, "backend_not_configured", "unlisted", "")
    })
    .await;
}

async fn a_grpc_call_gets_the_description_alone() {
    let bed = bed().await;
    bed.embedded_as.set_session("", json!({}));
    let origin = format!("http://{}/", bed.address()).parse().expect("a URI");
    let mut health = HealthClient::with_origin(bed.http2().grpc_transport(), origin);
    let status = health
        .check(HealthCheckRequest::default())
        .await
        .expect_err("a refusal");
    assert_eq!(status.code(), tonic::Code::Unauthenticated);
    assert!(status.message().contains("github"), "{status:?}");
    assert!(!status.message().contains('{'), "no JSON: {status:?}");
    assert!(bed.backend("grpc").requests().is_empty());
}

async fn log_lines_are_rate_limited() {
    let bed = bed().await;
    let jwt = bed.login("alice", json!({}));
    let client = bed.http2();
    let start = std::time::Instant::now();
    for _ in 0..200 {
        assert_eq!(
            client
                .send(Request::get("/often/refused").bearer(&jwt))
                .await
                .status,
            401
        );
    }
    let seconds = start.elapsed().as_secs() + 1;
    bed.expect_outcome("often", "upstream_token_not_found", 200)
        .await;
    let log = bed.envoy.log();
    let lines = log
        .lines()
        .filter(|l| l.contains("[warning][wasm]") && l.contains("\"often\""))
        .count();
    let limit = usize::try_from(seconds).expect("a small number") + 1;
    assert!((1..=limit).contains(&lines), "{lines} lines in {seconds} s");
}
