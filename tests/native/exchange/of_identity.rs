//! What the identity service says of one user, and what is kept to of it.

use crate::host::{Answer, Request, worker};
use crate::scene::assert_went_on_with;
use serde_json::{Value, json};
use std::time::Duration;

fn configuration(settings: &Value) -> Value {
    let block = json!({"tokenUrl": "http://localhost:9193/token", "cluster": "identity"});
    json!({
        "authServer": {"runConfig": {"upstreams": [{"name": "github"}]}},
        "outgoingAuth": {"backends": {"tools": {
            "type": "upstream_inject",
            "upstreamInject": {"providerName": "github"},
        }}},
        "identity": {"source": "exchange", "exchange": crate::scene::with(block, settings)},
    })
}

fn of(user: &str) -> Request {
    to("tools", user)
}

fn to(backend: &str, user: &str) -> Request {
    let payload = json!({"th_jwt": {"iss": "https://as"}});
    Request::to(backend)
        .kept(&format!("Bearer CANARY-{user}"))
        .metadata(json!({"envoy.filters.http.jwt_authn": payload}))
}

fn unavailable(status: u16, retry_after: Option<&str>) -> Answer {
    let mut answer = Answer::error(status, "upstream_token_unavailable");
    let field = retry_after.map(|value| ("retry-after".to_owned(), value.into()));
    answer.headers.extend(field);
    answer
}

#[test]
fn it_is_kept_to_what_it_says_of_one_user_whatever_its_status() {
    for (status, retry_after, seconds) in [
        (503, Some("7"), 7),
        (400, Some("7"), 7),
        (404, Some("7"), 7),
        (400, None, 5),
    ] {
        worker(|envoy| {
            let plugin = envoy.plugin(&configuration(&json!({})));
            let stream = plugin.request(&of("alice"));
            envoy.call().answer(&unavailable(status, retry_after));
            let refusal = (503, "upstream_token_unavailable".to_owned());
            assert_eq!(stream.refusal(), refusal, "{status}");
            let told = stream.reply().headers["retry-after"].clone();
            assert_eq!(told, seconds.to_string(), "{status}");
            // Nobody else is.
            let bob = plugin.request(&of("bob"));
            envoy.call().answer(&Answer::token("CANARY-of-bob", 300));
            assert_went_on_with(bob, "CANARY-of-bob");
            envoy.advance(Duration::from_millis(seconds * 1000 - 1));
            assert_eq!(plugin.request(&of("alice")).refusal(), refusal, "{status}");
            assert!(envoy.calls().is_empty(), "{status}");
            envoy.advance(Duration::from_millis(1));
            let stream = plugin.request(&of("alice"));
            envoy.call().answer(&Answer::token("CANARY-of-alice", 300));
            assert_went_on_with(stream, "CANARY-of-alice");
        });
    }
}

#[test]
fn the_operator_says_what_its_word_for_one_user_means() {
    let not_found = json!({"stsErrors": {"upstream_token_unavailable": "not_found"}});
    for (status, refusal) in [
        (400, (401, "upstream_token_not_found")),
        (503, (503, "upstream_token_unavailable")),
    ] {
        worker(|envoy| {
            let plugin = envoy.plugin(&configuration(&not_found));
            let stream = plugin.request(&of("alice"));
            envoy.call().answer(&unavailable(status, Some("7")));
            assert_eq!(stream.refusal(), (refusal.0, refusal.1.to_owned()));
        });
    }
}

/// The STS has taken that token: what the backend does not accept is what was made of it.
#[test]
fn only_a_token_that_a_backend_has_seen_is_said_to_be_not_accepted() {
    let mut configuration = configuration(&json!({}));
    configuration["outgoingAuth"]["backends"]["api"] = json!({
        "type": "token_exchange",
        "tokenExchange": {
            "tokenUrl": "http://localhost:9192/token",
            "cluster": "sts",
            "subjectProviderName": "github",
        },
    });
    for (backend, says_so) in [("tools", true), ("api", false)] {
        worker(|envoy| {
            let plugin = envoy.plugin(&configuration);
            let request = to(backend, "alice");
            let obtain = |is_told: bool| {
                let stream = plugin.request(&request);
                let call = envoy.call();
                let says_so = call.parameter("rejected_token_hash").is_some();
                assert_eq!(says_so, is_told, "{backend}");
                call.answer(&Answer::token("CANARY-gho", 300));
                if backend == "api" {
                    envoy.call().answer(&Answer::token("CANARY-exchanged", 300));
                }
                stream
            };
            obtain(false).end_with(401, "via_upstream");
            // Both were forgotten.
            obtain(says_so);
        });
    }
}
