//! `token_exchange`, from the request to the STS to what each waiting request gets.

mod again;
mod attempts;
mod breaker;
mod cache;
mod clocks;
mod cross_app;
mod faults;
mod joining;
mod of_identity;
mod renewal;

use crate::host::{Answer, Call, Envoy, Outcome, Plugin, Request, Stream, worker};
use crate::scene::{assert_cached, assert_went_on_with, obtain, of, to, with};
use serde_json::{Value, json};

const CODES: &str = "upstream_inject.backend.api.";
const STS: &str = "upstream_inject.sts.api.";
const ENTRIES: &str = "upstream_inject.cache.entries";

/// One backend, `api`, whose tokens come from the STS at `corp-sts`.
fn configuration() -> Value {
    json!({
        "authServer": {"runConfig": {"upstreams": [{"name": "corp"}]}},
        "outgoingAuth": {"backends": {"api": strategy(&json!({}))}},
    })
}

/// The strategy, with other or more settings.
fn strategy(settings: &Value) -> Value {
    let block = json!({
        "tokenUrl": "https://sts.example.com/token",
        "cluster": "corp-sts",
        "subjectProviderName": "corp",
    });
    json!({"type": "token_exchange", "tokenExchange": with(block, settings)})
}

/// One backend, `tools`, whose users' tokens come from the identity service.
fn identity_by_exchange() -> Value {
    json!({
        "authServer": {"runConfig": {"upstreams": [{"name": "github"}]}},
        "outgoingAuth": {"backends": {"tools": {
            "type": "upstream_inject",
            "upstreamInject": {"providerName": "github"},
        }}},
        "identity": {"source": "exchange", "exchange": {
            "tokenUrl": "http://localhost:9193/token",
            "cluster": "identity",
            "maxAge": "1h",
        }},
    })
}

/// The configuration with other settings of the cache.
fn caching(policy: Value) -> Value {
    let mut configuration = configuration();
    configuration["tokenCache"] = policy;
    configuration
}

/// Asserts that `user` is not served from the cache, and leaves the call unanswered.
#[track_caller]
fn assert_exchanges(envoy: &Envoy, plugin: Plugin, user: &str) -> (Stream, Call) {
    let stream = plugin.request(&of(user));
    assert_eq!(stream.outcome(), Outcome::Waits);
    (stream, envoy.call())
}

#[test]
fn the_request_at_the_sts_byte_for_byte() {
    let settings = json!({
        "tokenUrl": "https://sts.example.com:8443/as/token?tenant=a%20b",
        "clientId": "envoy",
        "clientSecret": "CANARY s3cr3t:+",
        "audience": ["https://api.example.com", "second"],
        "resource": "https://api.example.com/v1",
        "scopes": ["read", "write"],
        "subjectTokenType": "id_token",
        "requestedTokenType": "jwt",
        "timeout": "1.5s",
    });
    let mut configuration = configuration();
    configuration["outgoingAuth"]["backends"]["api"] = strategy(&settings);
    worker(|envoy| {
        let plugin = envoy.plugin(&configuration);
        let id_tokens = json!({"upstream_id_tokens": {"corp": "CANARY-a/b+c="}});
        let request = of("alice").field("cookie", "the client's own");
        let stream = plugin.request(&request.identity(id_tokens));
        let sent = envoy.call().sent;
        assert_eq!(sent.cluster, "corp-sts");
        assert_eq!(sent.timeout_ms, 1500);
        let fields = [
            (":method", "POST"),
            (":path", "/as/token?tenant=a%20b"),
            (":authority", "sts.example.com:8443"),
            ("content-type", "application/x-www-form-urlencoded"),
            ("accept", "application/json"),
            (
                "user-agent",
                concat!("upstream-inject/", env!("CARGO_PKG_VERSION")),
            ),
            // envoy:CANARY%20s3cr3t%3A%2B
            (
                "authorization",
                "Basic ZW52b3k6Q0FOQVJZJTIwczNjcjN0JTNBJTJC",
            ),
        ];
        let fields = fields.map(|(name, value)| (name.to_owned(), value.to_owned()));
        assert_eq!(sent.headers, fields);
        assert_eq!(
            sent.body,
            "grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Atoken-exchange\
             &subject_token=CANARY-a%2Fb%2Bc%3D\
             &subject_token_type=urn%3Aietf%3Aparams%3Aoauth%3Atoken-type%3Aid_token\
             &requested_token_type=urn%3Aietf%3Aparams%3Aoauth%3Atoken-type%3Ajwt\
             &audience=https%3A%2F%2Fapi.example.com&audience=second\
             &resource=https%3A%2F%2Fapi.example.com%2Fv1\
             &scope=read%20write"
        );
        assert_eq!(stream.outcome(), Outcome::Waits);
    });
}

#[test]
fn the_exchanged_token_goes_into_the_configured_header() {
    for (header, value) in [
        (None, "authorization"),
        (Some("Authorization"), "authorization"),
        (Some("X-Upstream-Token"), "x-upstream-token"),
    ] {
        let mut configuration = configuration();
        let settings = json!({"externalTokenHeaderName": header});
        configuration["outgoingAuth"]["backends"]["api"] = strategy(&settings);
        worker(|envoy| {
            let plugin = envoy.plugin(&configuration);
            let request = of("alice").field("x-upstream-token", "the client's own");
            for cached in [false, true] {
                let stream = plugin.request(&request);
                if !cached {
                    envoy.call().answer(&Answer::token("CANARY-exchanged", 300));
                }
                assert_eq!(stream.received(value), ["Bearer CANARY-exchanged"]);
                let expected = usize::from(value == "authorization");
                assert_eq!(stream.received("authorization").len(), expected);
            }
        });
    }
}

#[test]
fn a_missing_subject_costs_no_call() {
    worker(|envoy| {
        let mut configuration = configuration();
        let identity = strategy(&json!({"subjectProviderName": ""}));
        configuration["outgoingAuth"]["backends"]["identity-api"] = identity;
        configuration["identity"] = json!({"tokenFrom": "filter_state"});
        let plugin = envoy.plugin(&configuration);
        for (request, status, code) in [
            (
                Request::to("api").authenticated(),
                401,
                "upstream_token_not_found",
            ),
            (
                Request::to("api").tokens(&json!({"corp": ""})),
                401,
                "upstream_token_not_found",
            ),
            (
                Request::to("api").tokens(&json!({"corp": 7})),
                502,
                "upstream_token_malformed",
            ),
            (to("identity-api", "alice"), 401, "subject_token_missing"),
        ] {
            let refusal = plugin.request(&request).refusal();
            assert_eq!(refusal, (status, code.to_owned()));
        }
        assert!(envoy.calls().is_empty());
    });
}

#[test]
fn the_th_jwt_is_the_subject_only_without_a_provider() {
    worker(|envoy| {
        let mut configuration = configuration();
        let identity = strategy(&json!({"subjectProviderName": null}));
        configuration["outgoingAuth"]["backends"]["identity-api"] = identity;
        configuration["identity"] = json!({"tokenFrom": "filter_state"});
        let plugin = envoy.plugin(&configuration);
        plugin.request(&to("api", "alice").through_the_door());
        assert_eq!(
            envoy.call().parameter("subject_token"),
            Some("CANARY-alice")
        );
        plugin.request(&to("identity-api", "alice").through_the_door());
        assert_eq!(
            envoy.call().parameter("subject_token"),
            Some("CANARY-th-jwt")
        );
    });
}

#[test]
fn a_thousand_requests_of_ten_users_cost_ten_calls() {
    worker(|envoy| {
        let plugin = envoy.plugin(&configuration());
        for n in 0..1000 {
            let user = format!("user-{}", n % 10);
            let stream = plugin.request(&of(&user));
            for call in envoy.calls() {
                call.answer(&Answer::token(&format!("CANARY-for-{user}"), 300));
            }
            assert_went_on_with(stream, &format!("CANARY-for-{user}"));
            stream.end_with(200, "via_upstream");
        }
        plugin.tick();
        assert_eq!(envoy.metric(&format!("{STS}ok")), 10);
        assert_eq!(envoy.metric(&format!("{STS}cache_hit")), 990);
        assert_eq!(envoy.metric(&format!("{CODES}exchanged")), 1000);
        assert_eq!(envoy.metric(ENTRIES), 10);
        assert_eq!(envoy.histogram(&format!("{STS}duration_ms")).len(), 10);
    });
}
