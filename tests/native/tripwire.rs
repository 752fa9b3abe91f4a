//! The tripwire: downstream, Envoy may route a request anew after the filter has chosen its credential.

use crate::host::{Answer, Envoy, Level, Outcome, Plugin, Request, Stream, worker};
use serde_json::{Value, json};
use std::time::Duration;

const MISROUTED: &str = "upstream_inject.misrouted";

fn configuration() -> Value {
    json!({
        "authServer": {"runConfig": {"upstreams": [{"name": "corp"}]}},
        "outgoingAuth": {"backends": {
            "one": {"type": "upstream_inject", "upstreamInject": {"providerName": "corp"}},
            "open": {"type": "unauthenticated"},
            "exchange": {
                "type": "token_exchange",
                "tokenExchange": {
                    "tokenUrl": "https://sts.example.com/token",
                    "subjectProviderName": "corp",
                },
            },
        }},
    })
}

fn downstream(envoy: &Envoy) -> Plugin {
    envoy.downstream();
    let plugin = envoy.plugin(&configuration());
    envoy.log();
    plugin
}

fn served(envoy: &Envoy, plugin: Plugin, request: Request) -> Stream {
    let stream = plugin.request(&request.tokens(&json!({"corp": "CANARY-corp"})));
    for call in envoy.calls() {
        call.answer(&Answer::token("CANARY-exchanged", 300));
    }
    assert_eq!(stream.outcome(), Outcome::WentOn);
    stream
}

#[test]
fn a_request_that_went_elsewhere_is_counted_and_told_with_both_names() {
    worker(|envoy| {
        let plugin = downstream(envoy);
        for (n, (request, chosen)) in [
            (Request::to("one"), "one"),
            (Request::to("open"), "open"),
            (Request::to("exchange"), "exchange"),
            // A direct response at first.
            (Request::nowhere(), ""),
        ]
        .into_iter()
        .enumerate()
        {
            let stream = served(envoy, plugin, request);
            stream.reroute(Some("two\nCANARY".trim_end_matches("CANARY")));
            stream.end();
            let counted = i64::try_from(n).unwrap() + 1;
            assert_eq!(envoy.metric(MISROUTED), counted, "{chosen}");
            let lines = envoy.log_from(Level::Error);
            assert_eq!(lines.len(), 1, "{lines:?}");
            let names = format!("cluster \"two\\n\" with what was chosen for cluster \"{chosen}\"");
            for part in [&*names, "upstream_http_filters"] {
                assert!(lines[0].contains(part), "{part} in {}", lines[0]);
            }
            envoy.advance(Duration::from_secs(1));
        }
    });
}

#[test]
fn it_is_one_line_a_second_and_a_count_for_each() {
    worker(|envoy| {
        let plugin = downstream(envoy);
        let misroute = |times| {
            for _ in 0..times {
                let stream = served(envoy, plugin, Request::to("one"));
                stream.reroute(Some("two"));
                stream.end();
            }
        };
        misroute(10);
        let lines = envoy.log_from(Level::Error);
        assert_eq!(lines.len(), 1, "{lines:?}");
        envoy.advance(Duration::from_secs(1));
        misroute(1);
        let lines = envoy.log_from(Level::Error);
        assert!(
            lines[0].contains("(9 more since the last such line)"),
            "{lines:?}"
        );
        assert_eq!(envoy.metric(MISROUTED), 11);
    });
}

#[test]
fn a_request_that_went_where_it_should_or_nowhere_is_not() {
    worker(|envoy| {
        let plugin = downstream(envoy);
        served(envoy, plugin, Request::to("one")).end();
        // Its route is gone by the time it ends.
        let stream = served(envoy, plugin, Request::to("one"));
        stream.reroute(None);
        stream.end();
        // Nothing of a request that was refused went anywhere.
        let refused = plugin.request(&Request::to("one"));
        refused.reply();
        refused.reroute(Some("two"));
        refused.end();
        let waiting = plugin.request(&Request::to("exchange").tokens(&json!({"corp": "CANARY-x"})));
        envoy.call().answer(&Answer::error(400, "invalid_grant"));
        waiting.reply();
        waiting.reroute(Some("two"));
        waiting.end();
        let mut unknown = Request::to("one");
        unknown.attributes.failing = vec!["xds.cluster_name".to_owned()];
        plugin.request(&unknown).reply();
        assert_eq!(envoy.metric(MISROUTED), 0);
        assert_eq!(envoy.log_from(Level::Error), [""; 0]);
    });
}

#[test]
fn upstream_where_the_cluster_is_fixed_it_costs_nothing() {
    worker(|envoy| {
        let plugin = envoy.plugin(&configuration());
        let stream = served(envoy, plugin, Request::to("one"));
        stream.reroute(Some("two"));
        envoy.host_calls();
        stream.end();
        assert!(envoy.host_calls().is_empty());
        assert_eq!(envoy.metric(MISROUTED), 0);
    });
}
