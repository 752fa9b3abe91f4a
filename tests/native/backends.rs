//! Which backend a request goes to.

use crate::host::{Request, Stream, worker};
use serde_json::{Value, json};

fn configuration(backend_from: &str, default: Value) -> Value {
    let header = |value: &str| {
        json!({
            "type": "header_injection",
            "headerInjection": {"headerName": "x-backend", "headerValue": value},
        })
    };
    json!({
        "outgoingAuth": {
            "default": default,
            "backends": {"one": header("one"), "two": header("two")},
        },
        "backendFrom": backend_from,
    })
}

fn default() -> Value {
    json!({
        "type": "header_injection",
        "headerInjection": {"headerName": "x-backend", "headerValue": "default"},
    })
}

fn routed(cluster: &str, route: Option<&str>, metadata: Value) -> Request {
    let mut request = Request::to(cluster).authenticated();
    request.attributes.route_name = route.map(str::to_owned);
    request.attributes.route_metadata = metadata;
    request
}

fn named(value: Value) -> Value {
    json!({"upstream_inject": {"backend": value}})
}

fn chosen(stream: Stream) -> String {
    stream.received("x-backend").join(" and ")
}

#[test]
fn the_operator_says_what_names_a_backend() {
    worker(|envoy| {
        for (from, request, expected) in [
            (
                "cluster_name",
                routed("one", Some("two"), named(json!("two"))),
                "one",
            ),
            ("cluster_name", routed("ONE", None, Value::Null), "default"),
            (
                "route_name",
                routed("one", Some("two"), named(json!("one"))),
                "two",
            ),
            (
                "route_name",
                routed("one", None, named(json!("one"))),
                "default",
            ),
            (
                "route_name",
                routed("one", Some(""), Value::Null),
                "default",
            ),
            (
                "route_metadata",
                routed("one", Some("one"), named(json!("two"))),
                "two",
            ),
            (
                "route_metadata",
                routed("one", Some("one"), Value::Null),
                "default",
            ),
            (
                "route_metadata",
                routed("one", None, named(json!(""))),
                "default",
            ),
            (
                "route_metadata",
                routed("one", None, named(json!(null))),
                "default",
            ),
            (
                "route_metadata",
                routed("one", None, named(json!({"two": 1}))),
                "default",
            ),
            (
                "route_metadata",
                routed("one", None, named(json!("é"))),
                "default",
            ),
        ] {
            let plugin = envoy.plugin(&configuration(from, default()));
            assert_eq!(chosen(plugin.request(&request)), expected, "{from}");
            plugin.end();
        }
    });
}

#[test]
fn without_a_default_what_is_not_listed_is_refused() {
    worker(|envoy| {
        for (from, request, name) in [
            (
                "cluster_name",
                routed("three", None, Value::Null),
                Some("three"),
            ),
            (
                "route_name",
                routed("one", Some("three"), Value::Null),
                Some("three"),
            ),
            ("route_name", routed("one", None, Value::Null), None),
            ("route_metadata", routed("one", None, Value::Null), None),
            ("route_metadata", routed("one", None, named(json!(7))), None),
        ] {
            let plugin = envoy.plugin(&configuration(from, Value::Null));
            let reply = plugin.request(&request).reply();
            assert_eq!(reply.status, 500, "{from}");
            let body = reply.json();
            assert_eq!(body["error"], "backend_not_configured");
            // The bytes of a number are no name.
            if name.is_some() {
                assert_eq!(body.get("backend").and_then(Value::as_str), name);
            }
            plugin.end();
        }
    });
}

#[test]
fn ten_thousand_backends_each_keep_their_own() {
    worker(|envoy| {
        let backends: serde_json::Map<String, Value> = (0..10_000)
            .map(|n| {
                let strategy = json!({
                    "type": "header_injection",
                    "headerInjection": {"headerName": "x-backend", "headerValue": n.to_string()},
                });
                (format!("backend-{n}"), strategy)
            })
            .collect();
        let plugin = envoy.plugin(&json!({"outgoingAuth": {"backends": backends}}));
        for n in [0, 1, 4999, 9999] {
            let stream = plugin.request(&Request::to(&format!("backend-{n}")));
            assert_eq!(chosen(stream), n.to_string());
        }
        assert_eq!(
            plugin.request(&Request::to("backend-10000")).reply().status,
            500
        );
    });
}

#[test]
fn unlisted_backends_are_counted_by_name_up_to_a_bound() {
    worker(|envoy| {
        let plugin = envoy.plugin(&configuration("cluster_name", default()));
        for n in 0..1500 {
            let stream = plugin.request(&Request::to(&format!("c{n}")));
            assert_eq!(chosen(stream), "default");
            stream.end();
        }
        plugin.tick();
        let metrics = envoy.metrics();
        assert_eq!(metrics.values().sum::<i64>(), 1500);
        assert_eq!(metrics["upstream_inject.backend.c0.header_injected"], 1);
        assert_eq!(
            metrics["upstream_inject.backend._.header_injected"],
            1500 - 1024
        );
    });
}
