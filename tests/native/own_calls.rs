//! The filter's own calls, where the cluster of an STS has the filter too: Envoy runs them through it
//! before the host function returns.

use crate::host::{Answer, Outcome, Request, worker};
use serde_json::{Value, json};

/// The STS's cluster is a backend with a strategy of its own.
fn configuration(of_the_sts: &Value) -> Value {
    json!({
        "authServer": {"runConfig": {"upstreams": [{"name": "corp"}]}},
        "outgoingAuth": {"backends": {
            "api": {
                "type": "token_exchange",
                "tokenExchange": {
                    "tokenUrl": "https://sts.example.com/token",
                    "cluster": "sts",
                    "subjectProviderName": "corp",
                    "clientId": "envoy",
                    "clientSecret": "CANARY-secret",
                },
            },
            "sts": of_the_sts,
        }},
    })
}

fn api(user: &str) -> Request {
    Request::to("api").tokens(&json!({"corp": format!("CANARY-{user}")}))
}

#[test]
fn they_pass_untouched_whatever_the_strategy_of_their_cluster() {
    let inject = json!({"type": "upstream_inject", "upstreamInject": {"providerName": "corp"}});
    let key = json!({
        "type": "header_injection",
        "headerInjection": {"headerName": "Authorization", "headerValue": "Basic CANARY"},
    });
    for strategy in [json!({"type": "unauthenticated"}), inject, key, json!(null)] {
        worker(|envoy| {
            let plugin = envoy.plugin(&configuration(&strategy));
            envoy.calls_run_through(plugin);
            let stream = plugin.request(&api("alice"));
            let own = envoy.own_calls();
            assert_eq!(own.len(), 1, "{strategy}");
            assert_eq!(own[0].outcome(), Outcome::WentOn);
            assert_eq!(
                own[0].received("authorization").len(),
                1,
                "the client's secret"
            );
            // What comes back is no backend's response.
            let fields = [("www-authenticate", "Basic realm=\"sts\"")];
            let reached = own[0].respond(401, "via_upstream", &fields);
            assert!(reached.contains(&(fields[0].0.to_owned(), fields[0].1.to_owned())));
            own[0].end();
            envoy.call().answer(&Answer::token("CANARY-exchanged", 300));
            assert_eq!(
                stream.received("authorization"),
                ["Bearer CANARY-exchanged"]
            );
            plugin.tick();
            let counted = envoy.metrics();
            assert!(
                !counted.keys().any(|name| name.contains("backend.sts.")),
                "{counted:?}"
            );
        });
    }
}

/// Where the cluster has a retry policy of its own. What a client sends makes no request such an attempt.
#[test]
fn their_later_attempts_pass_untouched_too() {
    let key = json!({
        "type": "header_injection",
        "headerInjection": {"headerName": "Authorization", "headerValue": "Basic CANARY"},
    });
    for (strategy, status) in [
        (json!({"type": "unauthenticated"}), None),
        (key, Some(401)),
        (json!(null), Some(500)),
    ] {
        worker(|envoy| {
            let plugin = envoy.plugin(&configuration(&strategy));
            envoy.calls_run_through(plugin);
            let stream = plugin.request(&api("alice"));
            let first = envoy.own_calls().remove(0);
            let sent = first.received("authorization");
            first.respond(503, "via_upstream", &[]);
            let again = envoy.attempts_again(first);
            first.end();
            assert_eq!(again.outcome(), Outcome::WentOn, "{strategy}");
            assert_eq!(again.received("authorization"), sent, "{strategy}");
            again.respond(200, "via_upstream", &[]);
            again.end();
            envoy.call().answer(&Answer::token("CANARY-exchanged", 300));
            assert_eq!(
                stream.received("authorization"),
                ["Bearer CANARY-exchanged"]
            );
            plugin.tick();
            let counted = envoy.metrics();
            assert!(
                !counted.keys().any(|name| name.contains("backend.sts.")),
                "{counted:?}"
            );
            let name = "upstream_inject.own_call";
            let client = plugin.request(&Request::to("sts").authenticated().field(name, "1"));
            match status {
                Some(status) => assert_eq!(client.reply().status, status),
                None => assert_eq!(client.received("authorization"), [""; 0]),
            }
        });
    }
}

/// The filter of the STS's cluster may be another plugin of the VM.
#[test]
fn they_pass_through_the_filter_of_another_plugin_too() {
    worker(|envoy| {
        let plugin = envoy.plugin(&configuration(&json!(null)));
        let other = json!({"outgoingAuth": {"default": {"type": "unauthenticated"}}});
        let other = envoy.plugin(&other);
        envoy.calls_run_through(other);
        plugin.request(&api("alice"));
        assert_eq!(envoy.own_calls().len(), 1);
    });
}

/// Only what begins within the call is the call.
#[test]
fn requests_of_clients_to_that_cluster_are_served_as_ever() {
    worker(|envoy| {
        let plugin = envoy.plugin(&configuration(&json!({"type": "unauthenticated"})));
        envoy.calls_run_through(plugin);
        let before = plugin.arrive(&Request::to("sts").authenticated());
        let waiting = plugin.request(&api("alice"));
        before.headers();
        assert_eq!(before.received("authorization"), [""; 0]);
        let after = plugin.request(&Request::to("sts").authenticated());
        assert_eq!(after.received("authorization"), [""; 0]);
        assert_eq!(waiting.outcome(), Outcome::Waits);
        // A call that could not be made leaves nothing behind.
        envoy.next_call_returns(crate::host::status::INTERNAL_FAILURE);
        assert_eq!(plugin.request(&api("bob")).reply().status, 503);
        let after = plugin.request(&Request::to("sts").authenticated());
        assert_eq!(after.received("authorization"), [""; 0]);
    });
}
