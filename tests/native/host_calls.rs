//! Exactly which host calls each request costs: they are the dearest thing the filter does.

use crate::host::{Answer, Request, worker};
use crate::strategies::configuration;
use serde_json::json;

const CLUSTER: &str = "get_property xds.cluster_name";
const HEALTH: &str =
    "get_property metadata.filter_metadata.envoy.filters.http.ext_authz.health_check";
const GITHUB: &str =
    "get_property metadata.filter_metadata.envoy.filters.http.ext_authz.upstream_tokens.github";
const CORPORATE: &str = "get_property metadata.filter_metadata.envoy.filters.http.ext_authz.upstream_tokens.corporate-idp";
const METADATA: &str = "get_property metadata";
const BEARER: &str = "get_property request.headers.authorization";
const STRIP: &str = "remove_header authorization";
const REPLACE: &str = "replace_header authorization";
const CLOCK: &str = "get_current_time";
const RESPONSE: &str = "get_property response.code";
const DETAILS: &str = "get_property response.code_details";
const CONTENT_TYPE: &str = "get_header content-type";
const OUTCOME: &str = "set_property upstream_inject.outcome";
const BACKEND: &str = "set_property upstream_inject.backend";
const REPLY: &str = "send_local_response";

#[test]
fn what_a_request_costs_from_its_first_callback_to_its_last() {
    let tokens = json!({"github": "CANARY-gho", "corporate-idp": "CANARY-corp"});
    let to = |backend| Request::to(backend).authenticated().tokens(&tokens);
    let health_check = to("github-tools").identity(json!({"health_check": true}));
    let as_long_as_a_number = to("github-tools").tokens(&json!({"github": "12345678"}));
    let missing = to("github-tools").tokens(&json!({}));
    let mut by_route = configuration();
    by_route["backendFrom"] = json!("route_name");
    let mut routed = to("any");
    routed.attributes.route_name = Some("open".to_owned());
    for (what, configuration, request, expected) in [
        (
            "no backend",
            configuration(),
            Request::nowhere(),
            vec![CLUSTER, STRIP],
        ),
        (
            "unauthenticated",
            configuration(),
            to("open"),
            vec![CLUSTER, HEALTH, STRIP],
        ),
        (
            "by route",
            by_route,
            routed,
            vec![CLUSTER, "get_property xds.route_name", HEALTH, STRIP],
        ),
        (
            "header_injection",
            configuration(),
            to("internal-api"),
            vec![CLUSTER, HEALTH, "replace_header x-api-key", STRIP],
        ),
        (
            "header_injection of authorization",
            configuration(),
            to("basic-api"),
            vec![CLUSTER, HEALTH, REPLACE],
        ),
        (
            "upstream_inject",
            configuration(),
            to("github-tools"),
            vec![CLUSTER, HEALTH, GITHUB, REPLACE],
        ),
        (
            "a token as long as a number",
            configuration(),
            as_long_as_a_number,
            vec![CLUSTER, HEALTH, GITHUB, METADATA, REPLACE],
        ),
        (
            "health check",
            configuration(),
            health_check,
            vec![CLUSTER, HEALTH, METADATA, STRIP],
        ),
        (
            "refused",
            configuration(),
            missing,
            vec![
                CLUSTER,
                HEALTH,
                GITHUB,
                BEARER,
                CONTENT_TYPE,
                CLOCK,
                OUTCOME,
                BACKEND,
                REPLY,
            ],
        ),
    ] {
        worker(|envoy| {
            let plugin = envoy.plugin(&configuration);
            envoy.host_calls();
            plugin.request(&request).end_with(200, "via_upstream");
            assert_eq!(envoy.host_calls(), expected, "{what}");
        });
    }
}

#[test]
fn what_an_exchange_costs() {
    worker(|envoy| {
        let plugin = envoy.plugin(&configuration());
        let request = Request::to("corporate-api").tokens(&json!({"corporate-idp": "CANARY"}));
        envoy.host_calls();
        let leader = plugin.request(&request);
        let read = [CLUSTER, HEALTH, CORPORATE, CLOCK];
        assert_eq!(
            envoy.host_calls(),
            [&read[..], &["http_call corp-sts"]].concat()
        );
        let joiner = plugin.request(&request);
        assert_eq!(envoy.host_calls(), read);
        envoy.call().answer(&Answer::token("CANARY-exchanged", 300));
        let waiter = ["set_effective_context", REPLACE, "continue_stream"];
        let histogram = "upstream_inject.sts.corporate-api.duration_ms";
        let (define, record) = (
            format!("define_metric {histogram}"),
            format!("record_metric {histogram}"),
        );
        let answer = ["get_header :status", "get_buffer", CLOCK, &define, &record];
        assert_eq!(envoy.host_calls(), [&answer[..], &waiter, &waiter].concat());
        leader.end_with(200, "via_upstream");
        joiner.end_with(401, "via_upstream");
        let unauthorized = [RESPONSE, DETAILS, CLOCK];
        assert_eq!(
            envoy.host_calls(),
            [&[RESPONSE][..], &unauthorized].concat()
        );
    });
}

#[test]
fn what_a_request_with_a_token_in_hand_costs() {
    worker(|envoy| {
        let plugin = envoy.plugin(&configuration());
        let request = Request::to("corporate-api").tokens(&json!({"corporate-idp": "CANARY"}));
        plugin.request(&request).end();
        envoy.call().answer(&Answer::token("CANARY-exchanged", 300));
        envoy.host_calls();
        let stream = plugin.request(&request);
        stream.end_with(200, "via_upstream");
        let expected = [CLUSTER, HEALTH, CORPORATE, CLOCK, REPLACE, RESPONSE];
        assert_eq!(envoy.host_calls(), expected);
    });
}

#[test]
fn a_tick_costs_one_call_for_each_counter_that_moved() {
    worker(|envoy| {
        let plugin = envoy.plugin(&configuration());
        envoy.host_calls();
        plugin.tick();
        let idle = ["get_log_level", CLOCK];
        assert_eq!(envoy.host_calls(), idle);
        let counter = "upstream_inject.backend.open.unauthenticated";
        for first in [true, false] {
            for _ in 0..1000 {
                plugin.request(&Request::to("open")).end();
            }
            envoy.host_calls();
            plugin.tick();
            let mut expected = idle.map(str::to_owned).to_vec();
            if first {
                expected.push(format!("define_metric {counter}"));
            }
            expected.push(format!("increment_metric {counter}"));
            assert_eq!(envoy.host_calls(), expected);
        }
    });
}
