//! Exactly which host calls each request costs: they are the dearest thing the filter does.

use crate::host::{Answer, Plugin, Request, worker};
use crate::strategies::configuration;
use serde_json::{Value, json};

const CLUSTER: &str = "get_property xds.cluster_name";
const ATTEMPTS: &str = "get_property upstream.request_attempt_count";
const HEALTH: &str =
    "get_property metadata.filter_metadata.envoy.filters.http.ext_authz.health_check";
const ISSUER: &str =
    "get_property metadata.filter_metadata.envoy.filters.http.jwt_authn.th_jwt.iss";
const GITHUB: &str =
    "get_property metadata.filter_metadata.envoy.filters.http.ext_authz.upstream_tokens.github";
const CORPORATE: &str = "get_property metadata.filter_metadata.envoy.filters.http.ext_authz.upstream_tokens.corporate-idp";
const METADATA: &str = "get_property metadata";
const BEARER: &str = "get_property request.headers.authorization";
const TOKEN: &str = "get_property filter_state.upstream_inject.identity_token";
const FIRST_TOKEN: &str = "get_property upstream_inject.first_token";
const SET_FIRST_TOKEN: &str = "set_property upstream_inject.first_token";
const STRIP: &str = "remove_header authorization";
const STRIP_KEY: &str = "remove_header x-api-key";
const KEYS_ALIASES: [&str; 8] = [
    "remove_header x-api_key",
    "remove_header x-api.key",
    "remove_header x_api-key",
    "remove_header x_api_key",
    "remove_header x_api.key",
    "remove_header x.api-key",
    "remove_header x.api_key",
    "remove_header x.api.key",
];
const REPLACE: &str = "replace_header authorization";
const CONNECTION: &str = "get_property request.headers.connection";
const WALL: &str = "get_current_time";
const STEADY: &str = "clock_time_get";
const STATUS: &str = "get_header :status";
const DETAILS: &str = "get_property response.code_details";
const CHALLENGED: &str = "get_header www-authenticate";
const STRIP_CHALLENGE: &str = "remove_header www-authenticate";
const CHALLENGE: &str = "replace_header www-authenticate";
const CONTENT_TYPE: &str = "get_header content-type";
const OUTCOME: &str = "set_property upstream_inject.outcome";
const BACKEND: &str = "set_property upstream_inject.backend";
const REPLY: &str = "send_local_response";

fn tokens() -> Value {
    json!({"github": "CANARY-gho", "corporate-idp": "CANARY-corp"})
}

fn to(backend: &str) -> Request {
    Request::to(backend).authenticated().tokens(&tokens())
}

/// A worker on its own; what sharing costs is in `sharing.rs`.
fn alone() -> Value {
    let mut configuration = configuration();
    configuration["tokenCache"] = json!({"share": false});
    configuration
}

/// A request once found out where the filter stands.
fn warm(plugin: Plugin) {
    plugin.request(&Request::nowhere()).end();
}

#[test]
fn where_the_filter_stands_is_asked_once() {
    worker(|envoy| {
        let plugin = envoy.plugin(&configuration());
        envoy.host_calls();
        for expected in [
            &[CLUSTER, ATTEMPTS, STRIP, STRIP_KEY][..],
            &[CLUSTER, STRIP, STRIP_KEY],
        ] {
            plugin.request(&Request::nowhere()).end();
            assert_eq!(envoy.host_calls(), expected);
        }
    });
}

#[test]
fn what_a_request_costs() {
    let marked = json!({"health_check": true});
    let health_check = Request::to("github-tools").identity(marked);
    let as_long_as_a_number = to("github-tools").tokens(&json!({"github": "12345678"}));
    let missing = to("github-tools").tokens(&json!({}));
    let checked = to("internal-api").checked(&json!({"iss": "https://vmcp.example.com"}));
    let mut by_route = configuration();
    by_route["backendFrom"] = json!("route_name");
    let mut with_issuer = configuration();
    with_issuer["authServer"]["runConfig"]["issuer"] = json!("https://vmcp.example.com");
    let mut not_required = configuration();
    not_required["identity"] = json!({"required": false});
    let mut routed = to("any");
    routed.attributes.route_name = Some("open".to_owned());
    let key = [&[STRIP][..], &KEYS_ALIASES, &["replace_header x-api-key"]].concat();
    let after = |read: &[&'static str]| [read, &key].concat();
    for (what, configuration, request, expected) in [
        (
            "no backend",
            configuration(),
            Request::nowhere(),
            vec![CLUSTER, STRIP, STRIP_KEY],
        ),
        (
            "unauthenticated",
            configuration(),
            to("open"),
            vec![CLUSTER, STRIP, STRIP_KEY],
        ),
        (
            "by route",
            by_route,
            routed,
            vec![CLUSTER, "get_property xds.route_name", STRIP, STRIP_KEY],
        ),
        (
            "header_injection for whoever comes",
            not_required,
            to("internal-api"),
            after(&[CLUSTER]),
        ),
        (
            "header_injection for whom the issuer knows",
            with_issuer,
            checked.clone(),
            after(&[CLUSTER, ISSUER]),
        ),
        (
            "header_injection for whom any issuer knows",
            configuration(),
            checked,
            after(&[CLUSTER, ISSUER, METADATA]),
        ),
        (
            "header_injection for who has tokens",
            configuration(),
            to("internal-api"),
            after(&[CLUSTER, ISSUER, METADATA]),
        ),
        (
            "header_injection of authorization",
            configuration(),
            to("basic-api"),
            vec![CLUSTER, ISSUER, METADATA, STRIP_KEY, REPLACE],
        ),
        (
            "upstream_inject",
            configuration(),
            to("github-tools"),
            vec![CLUSTER, GITHUB, STRIP_KEY, REPLACE],
        ),
        (
            "upstream_inject of a request with a body",
            configuration(),
            to("github-tools").with_more(),
            vec![CLUSTER, GITHUB, STRIP_KEY, REPLACE, CONNECTION],
        ),
        (
            "a token as long as a number",
            configuration(),
            as_long_as_a_number,
            vec![CLUSTER, GITHUB, METADATA, STRIP_KEY, REPLACE],
        ),
        (
            "health check",
            configuration(),
            health_check,
            vec![
                CLUSTER, GITHUB, METADATA, BEARER, ISSUER, HEALTH, METADATA, STRIP, STRIP_KEY,
            ],
        ),
        (
            "refused",
            configuration(),
            missing,
            vec![
                CLUSTER,
                GITHUB,
                METADATA,
                BEARER,
                HEALTH,
                CONTENT_TYPE,
                STEADY,
                OUTCOME,
                BACKEND,
                REPLY,
            ],
        ),
    ] {
        worker(|envoy| {
            let plugin = envoy.plugin(&configuration);
            warm(plugin);
            envoy.host_calls();
            let stream = plugin.request(&request);
            assert_eq!(envoy.host_calls(), expected, "{what}");
            stream.end();
            assert!(envoy.host_calls().is_empty(), "{what}: its end");
        });
    }
}

#[test]
fn what_a_response_costs() {
    let keeping = || {
        let mut configuration = configuration();
        configuration["challenge"] = json!({"fromBackends": "keep"});
        configuration
    };
    for (backend, configuration, code, expected) in [
        ("open", configuration(), 200, vec![STATUS, CHALLENGED]),
        ("open", configuration(), 401, vec![STATUS, STRIP_CHALLENGE]),
        (
            "internal-api",
            configuration(),
            401,
            vec![STATUS, STRIP_CHALLENGE],
        ),
        (
            "github-tools",
            configuration(),
            200,
            vec![STATUS, CHALLENGED],
        ),
        (
            "github-tools",
            configuration(),
            401,
            vec![STATUS, CHALLENGE],
        ),
        ("github-tools", keeping(), 200, vec![STATUS]),
        ("github-tools", keeping(), 401, vec![STATUS]),
    ] {
        worker(|envoy| {
            let plugin = envoy.plugin(&configuration);
            let stream = plugin.request(&to(backend));
            envoy.host_calls();
            stream.end_with(code, "via_upstream");
            assert_eq!(envoy.host_calls(), expected, "{backend} {code}");
        });
    }
    // What the filter itself answers.
    worker(|envoy| {
        let plugin = envoy.plugin(&configuration());
        let stream = plugin.request(&Request::to("github-tools"));
        envoy.host_calls();
        stream.end_with(401, "upstream_inject:upstream_token_not_found");
        assert!(envoy.host_calls().is_empty());
    });
}

#[test]
fn downstream_the_tripwire_costs_a_look_and_a_401_says_whose_it_is() {
    worker(|envoy| {
        envoy.downstream();
        let plugin = envoy.plugin(&configuration());
        warm(plugin);
        envoy.host_calls();
        for (code, response) in [
            (200, vec![STATUS, CHALLENGED]),
            (401, vec![STATUS, DETAILS, CHALLENGE]),
        ] {
            let stream = plugin.request(&to("github-tools"));
            let request = [CLUSTER, GITHUB, STRIP_KEY, REPLACE];
            assert_eq!(envoy.host_calls(), request);
            stream.end_with(code, "via_upstream");
            assert_eq!(envoy.host_calls(), [&response[..], &[CLUSTER]].concat());
        }
    });
}

#[test]
fn what_an_exchange_costs() {
    worker(|envoy| {
        let plugin = envoy.plugin(&alone());
        warm(plugin);
        let request = Request::to("corporate-api").tokens(&json!({"corporate-idp": "CANARY"}));
        envoy.host_calls();
        let leader = plugin.request(&request);
        let read = [CLUSTER, CORPORATE, HEALTH];
        let which_request = ["get_property connection.id", "get_property request.time"];
        let bare = [STRIP, STRIP_KEY];
        let leads = [
            &read[..],
            &which_request,
            &bare,
            &[STEADY, WALL],
            &["http_call corp-sts"],
        ];
        assert_eq!(envoy.host_calls(), leads.concat());
        let joiner = plugin.request(&request);
        let joins = [&read[..], &which_request, &bare];
        assert_eq!(envoy.host_calls(), joins.concat());
        envoy.call().answer(&Answer::token("CANARY-exchanged", 300));
        let histogram = "upstream_inject.sts.corporate-api.duration_ms";
        let (define, record) = (
            format!("define_metric {histogram}"),
            format!("record_metric {histogram}"),
        );
        let answer = [STATUS, "get_buffer", STEADY, &define, &record];
        let one = [
            "set_effective_context",
            STRIP_KEY,
            REPLACE,
            "continue_stream",
        ];
        assert_eq!(envoy.host_calls(), [&answer[..], &one, &one].concat());
        leader.end_with(200, "via_upstream");
        assert_eq!(envoy.host_calls(), [STATUS, CHALLENGED]);
        joiner.end_with(401, "via_upstream");
        let unauthorized = [STATUS, STEADY, CHALLENGE];
        assert_eq!(envoy.host_calls(), unauthorized);
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
        let expected = [CLUSTER, CORPORATE, HEALTH, WALL, STRIP_KEY, REPLACE];
        assert_eq!(envoy.host_calls(), expected);
        stream.end_with(200, "via_upstream");
        assert_eq!(envoy.host_calls(), [STATUS, CHALLENGED]);
    });
}

#[test]
fn a_tick_costs_one_call_for_each_counter_that_moved() {
    worker(|envoy| {
        let plugin = envoy.plugin(&alone());
        envoy.host_calls();
        plugin.tick();
        // Both clocks to see which tokens are over, and one for calls that are overdue.
        let idle = ["get_log_level", WALL, STEADY, STEADY];
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

/// What tells a request that Envoy sends on: nothing where all is well.
#[test]
fn what_an_exchange_of_the_identity_token_costs_beyond_that() {
    let mut configuration = alone();
    configuration["identity"] = json!({"tokenFrom": "filter_state"});
    configuration["outgoingAuth"]["backends"]["own-api"] = json!({
        "type": "token_exchange",
        "tokenExchange": {"tokenUrl": "https://sts.example.com/token", "cluster": "corp-sts"},
    });
    worker(|envoy| {
        let plugin = envoy.plugin(&configuration);
        warm(plugin);
        let request = Request::to("own-api").through_the_door();
        envoy.host_calls();
        plugin.request(&request).end();
        let read = [CLUSTER, TOKEN, HEALTH];
        let obtains = [
            &read[..],
            &["get_property connection.id", "get_property request.time"],
            &[FIRST_TOKEN],
            &[STRIP, STRIP_KEY],
            &[STEADY, WALL, "http_call corp-sts"],
        ];
        assert_eq!(envoy.host_calls(), obtains.concat());
        envoy.call().answer(&Answer::token("CANARY-exchanged", 300));
        for (code, more) in [
            (200, &[CHALLENGED][..]),
            (204, &[CHALLENGED]),
            (302, &[TOKEN, SET_FIRST_TOKEN, CHALLENGED]),
            (503, &[TOKEN, SET_FIRST_TOKEN, CHALLENGED]),
        ] {
            envoy.host_calls();
            let stream = plugin.request(&request);
            let in_hand = [CLUSTER, TOKEN, HEALTH, WALL, STRIP_KEY, REPLACE];
            assert_eq!(envoy.host_calls(), in_hand, "{code}");
            stream.end_with(code, "via_upstream");
            assert_eq!(envoy.host_calls(), [&[STATUS], more].concat(), "{code}");
        }
        // One that got no response.
        let stream = plugin.request(&request);
        envoy.host_calls();
        stream.end();
        assert_eq!(envoy.host_calls(), [TOKEN, SET_FIRST_TOKEN]);
    });
}
