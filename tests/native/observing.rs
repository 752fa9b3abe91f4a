//! Counters, log lines, and what is lost of them: nothing.

use crate::host::{Answer, Level, Request, worker};
use crate::strategies::configuration;
use serde_json::json;
use std::collections::BTreeMap;
use std::time::Duration;

fn github() -> Request {
    Request::to("github-tools").tokens(&json!({"github": "CANARY-gho"}))
}

#[test]
fn counters_lag_by_less_than_a_second_and_add_up() {
    worker(|envoy| {
        let plugin = envoy.plugin(&configuration());
        let period = plugin.tick_period().unwrap();
        assert!(period <= Duration::from_secs(1), "{period:?}");
        for _ in 0..3 {
            plugin.request(&github());
            plugin.request(&Request::to("github-tools"));
        }
        plugin.request(&Request::to("open"));
        plugin.request(&Request::to("internal-api"));
        plugin.request(&Request::to("internal-api").tokens(&json!({"github": "CANARY-gho"})));
        plugin.request(&Request::to("a.b/c d"));
        assert!(envoy.metrics().is_empty(), "no host call for each request");
        for _ in 0..2 {
            plugin.tick();
            let expected = [
                ("backend.github-tools.injected", 3),
                ("backend.github-tools.upstream_token_not_found", 3),
                ("identity_absent", 3),
                ("backend.open.unauthenticated", 1),
                ("backend.internal-api.header_injected", 1),
                ("backend.internal-api.identity_missing", 1),
                ("backend.a_b_c_d.backend_not_configured", 1),
            ];
            let expected = expected.map(|(name, n)| (format!("upstream_inject.{name}"), n));
            assert_eq!(envoy.metrics(), BTreeMap::from(expected), "and each once");
        }
    });
}

/// A mistake of whoever set it up is told from a user who has not logged in, in the line and by a counter.
#[test]
fn an_identity_that_is_absent_is_told_from_a_user_who_has_not_logged_in() {
    worker(|envoy| {
        let mut configuration = configuration();
        let plugin = envoy.plugin(&configuration);
        envoy.log();
        let absent = || envoy.metric("upstream_inject.identity_absent");
        let warned = |expected: &str| {
            let lines = envoy.warnings();
            let [line] = lines.as_slice() else {
                panic!("{lines:#?}")
            };
            let code = "upstream_token_not_found: backend \"github-tools\", provider \"github\": ";
            assert!(line.starts_with(code) && line.contains(expected), "{line}");
            envoy.advance(Duration::from_secs(1));
        };
        // Logged in elsewhere, or nowhere yet.
        for tokens in [
            json!({"atlassian": "CANARY-atl"}),
            json!({"github": ""}),
            json!({}),
        ] {
            plugin.request(&Request::to("github-tools").tokens(&tokens));
            warned("the identity holds no token of this provider");
        }
        plugin.tick();
        assert_eq!(absent(), 0);
        // Nobody answered, or under another key.
        for (expected, identity) in [
            (1, json!({})),
            (2, json!({"tokens": {"github": "CANARY-gho"}})),
        ] {
            plugin.request(&Request::to("github-tools").identity(identity));
            warned("nobody has left any upstream tokens for this request");
            plugin.tick();
            assert_eq!(absent(), expected);
        }
        // A slip in the configuration.
        configuration["identity"] = json!({"metadataNamespace": "envoy.filters.http.ext_auth"});
        let plugin = envoy.plugin(&configuration);
        envoy.log();
        plugin.request(&Request::to("github-tools").tokens(&json!({"github": "CANARY-gho"})));
        warned("identity.metadataNamespace and identity.upstreamTokensKey");
        plugin.tick();
        assert_eq!(absent(), 3);
    });
}

#[test]
fn what_is_no_string_is_said_to_be_what_it_is() {
    worker(|envoy| {
        let plugin = envoy.plugin(&configuration());
        envoy.log();
        for (token, expected) in [
            (
                json!({"access_token": "CANARY-gho"}),
                "must be a string, is a map;",
            ),
            (json!({"access_token": null}), "must be a string, is a map;"),
            (json!(["CANARY-gho"]), "must be a string, is a list;"),
            (json!(7), "must be a string, is a number or a boolean;"),
            (json!(true), "must be a string, is a number or a boolean;"),
            (json!("two words"), "is no text that may stand in a header;"),
        ] {
            let request = Request::to("github-tools").tokens(&json!({"github": token}));
            assert_eq!(
                plugin.request(&request).refusal(),
                (502, "upstream_token_malformed".to_owned())
            );
            let lines = envoy.warnings();
            assert!(
                lines.len() == 1 && lines[0].contains(expected),
                "{expected}\n{lines:#?}"
            );
            envoy.advance(Duration::from_secs(1));
        }
    });
}

#[test]
fn names_that_end_up_alike_share_a_counter() {
    worker(|envoy| {
        let plugin = envoy.plugin(&configuration());
        for name in ["x.y", "x/y", "x y"] {
            plugin.request(&Request::to(name));
        }
        plugin.tick();
        let counter = "upstream_inject.backend.x_y.backend_not_configured";
        assert_eq!(envoy.metric(counter), 3);
    });
}

#[test]
fn no_count_is_lost_when_a_plugin_ends_or_is_configured_anew() {
    worker(|envoy| {
        let injected = "upstream_inject.backend.github-tools.injected";
        let first = envoy.plugin(&configuration());
        first.request(&github()).end();
        let second = envoy.plugin(&configuration());
        second.request(&github()).end();
        first.request(&github()).end();
        first.end();
        assert_eq!(envoy.metric(injected), 2, "without a tick");
        second.tick();
        assert_eq!(envoy.metric(injected), 3);
        second.request(&github()).end();
        assert!(second.configure(configuration().to_string().as_bytes()));
        assert_eq!(envoy.metric(injected), 4);
        second.request(&github()).end();
        second.tick();
        assert_eq!(envoy.metric(injected), 5);
    });
}

#[test]
fn one_warning_a_second_for_each_backend_and_code() {
    worker(|envoy| {
        let plugin = envoy.plugin(&configuration());
        envoy.log();
        let (missing, malformed) = (
            Request::to("github-tools"),
            Request::to("github-tools").tokens(&json!({"github": 7})),
        );
        for _ in 0..10 {
            plugin.request(&missing);
            plugin.request(&malformed);
            plugin.request(&Request::to("other"));
            plugin.request(&Request::to("another"));
        }
        let lines = envoy.warnings();
        assert_eq!(lines.len(), 4, "{lines:#?}");
        assert!(!lines.concat().contains("since the last"), "{lines:#?}");
        envoy.advance(Duration::from_millis(999));
        plugin.request(&missing);
        assert!(envoy.warnings().is_empty());
        envoy.advance(Duration::from_millis(1));
        plugin.request(&missing);
        let lines = envoy.warnings();
        assert_eq!(lines.len(), 1);
        assert!(
            lines[0].contains("(10 more since the last such line)"),
            "{}",
            lines[0]
        );
        for _ in 0..2 {
            envoy.set_back(Duration::from_secs(3600));
            plugin.request(&missing);
            assert!(envoy.warnings().is_empty(), "no second has passed");
            envoy.advance(Duration::from_secs(1));
            plugin.request(&missing);
            let lines = envoy.warnings();
            assert_eq!(lines.len(), 1, "a clock set back silences nothing");
        }
        plugin.tick();
        let refused = "upstream_inject.backend.github-tools.upstream_token_not_found";
        assert_eq!(envoy.metric(refused), 16, "every one is counted");
    });
}

#[test]
fn a_refusal_is_the_only_thing_above_debug() {
    worker(|envoy| {
        let plugin = envoy.plugin(&configuration());
        envoy.log();
        plugin.request(&github()).end_with(200, "via_upstream");
        let corporate = Request::to("corporate-api").tokens(&json!({"corporate-idp": "CANARY"}));
        let stream = plugin.request(&corporate);
        envoy.call().answer(&Answer::token("CANARY-exchanged", 300));
        stream.end_with(401, "via_upstream");
        plugin.tick();
        assert_eq!(envoy.log_from(Level::Info), [""; 0]);
    });
}

#[test]
fn a_metric_that_envoy_refuses_stops_nothing() {
    worker(|envoy| {
        let plugin = envoy.plugin(&configuration());
        for function in ["define_metric", "increment_metric"] {
            envoy.fails(function, Some(crate::host::status::INTERNAL_FAILURE));
            let stream = plugin.request(&github());
            assert_eq!(stream.received("authorization"), ["Bearer CANARY-gho"]);
            plugin.tick();
            envoy.fails(function, None);
        }
        plugin.request(&github());
        plugin.tick();
        let injected = "upstream_inject.backend.github-tools.injected";
        assert!(envoy.metric(injected) >= 1);
    });
}

#[test]
fn a_reply_that_envoy_does_not_take_still_keeps_the_request_back() {
    worker(|envoy| {
        let plugin = envoy.plugin(&configuration());
        for function in ["send_local_response", "set_property"] {
            envoy.fails(function, Some(crate::host::status::INTERNAL_FAILURE));
            let stream = plugin.request(&Request::to("github-tools").authenticated());
            assert_ne!(stream.outcome(), crate::host::Outcome::WentOn);
            envoy.fails(function, None);
        }
    });
}
