//! Features of Envoy that decide where a request goes, or send it twice: the credential is that of
//! the cluster that gets it. `docs/PLACEMENT.md` has the whole table.

use bed::{Bed, Client, Echo, PluginConfig, Request, bootstrap, canary, eventually, raw_exchange};
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use serde_json::{Value, json};

use crate::plugin;
use crate::trial::trials;

trials!("features":
    an_aggregate_is_the_backend_whatever_its_members_are,
    an_aggregate_that_is_not_listed_is_refused,
    a_subset_and_its_fallback_get_the_clusters_credential,
    a_retry_at_another_priority_carries_the_credential_once,
    a_mirror_that_is_not_listed_gets_nothing,
    a_mirror_that_wants_a_users_token_gets_nothing,
    a_mirror_of_an_open_backend_sees_no_credential,
    a_call_of_another_filter_carries_no_credential,
    a_health_check_of_envoys_own_carries_no_credential,
    an_upgrade_carries_the_credential,
    a_destination_that_the_client_chooses_is_refused,
    what_a_backend_reports_of_its_load_changes_nothing,
    a_backend_for_which_it_is_too_early_gets_the_credential_once_more,
    where_a_matcher_leaves_the_filter_out_nothing_is_sent,
    request_trailers_carry_no_credential,
);

struct Lab {
    bed: Bed,
    members: Vec<Echo>,
    /// A backend's members of one priority each.
    ranked: Vec<Echo>,
    mirrors: Vec<Echo>,
    checked: Echo,
}

static LAB: tokio::sync::OnceCell<Lab> = tokio::sync::OnceCell::const_new();

fn key(backend: &str) -> Value {
    plugin::header("x-key", &canary::token("key-", backend))
}

fn endpoint(echo: &Echo, set: &str, priority: u32) -> Value {
    let address = echo.address();
    json!({
        "priority": priority,
        "lb_endpoints": [{
            "endpoint": {"address": {"socket_address": {
                "address": address.ip().to_string(), "port_value": address.port(),
            }}},
            "metadata": {"filter_metadata": {"envoy.lb": {"set": set}}},
        }],
    })
}

async fn echoes(names: &[&str]) -> Vec<Echo> {
    let mut echoes = Vec::new();
    for name in names {
        echoes.push(Echo::start(name).await.expect("a free port"));
    }
    echoes
}

fn to(path: &str, mut route: Value) -> Value {
    route["timeout"] = json!("0s");
    json!({"match": {"prefix": format!("/{path}/")}, "route": route})
}

async fn lab() -> &'static Lab {
    LAB.get_or_init(|| async {
        let members = echoes(&["member-0", "member-1"]).await;
        let ranked = echoes(&["ranked-0", "ranked-1"]).await;
        let mirrors = echoes(&["unlisted-mirror", "injected-mirror", "open-mirror"]).await;
        let checked = Echo::start("checked").await.expect("a free port");
        let config = plugin::config(
            &["github"],
            json!({
                "aggregate": key("aggregate"),
                "member-0": key("member-0"),
                "subsets": key("subsets"),
                "priorities": plugin::inject("github"),
                "injected-mirror": plugin::inject("github"),
                "open-mirror": plugin::open(),
                "mirrored": plugin::inject("github"),
                "called": key("called"),
                "checked": key("checked"),
            }),
        );
        let address = |echo: &Echo| echo.address();
        let mut subsets = bootstrap::cluster("subsets", address(&members[0]), false, &[]);
        subsets["lb_subset_config"] = json!({
            "fallback_policy": "ANY_ENDPOINT", "subset_selectors": [{"keys": ["set"]}],
        });
        subsets["load_assignment"]["endpoints"] =
            json!([endpoint(&members[0], "a", 0), endpoint(&members[1], "b", 0)]);
        let mut priorities = bootstrap::cluster("priorities", address(&ranked[0]), false, &[]);
        priorities["load_assignment"]["endpoints"] =
            json!([endpoint(&ranked[0], "a", 0), endpoint(&ranked[1], "b", 1)]);
        let mut of_checked = bootstrap::cluster("checked", checked.address(), false, &[]);
        of_checked["health_checks"] = json!([{
            "timeout": "1s", "interval": "0.1s", "no_traffic_interval": "0.1s",
            "unhealthy_threshold": 1, "healthy_threshold": 1,
            "http_health_check": {"path": "/healthz"},
        }]);
        let calling = json!({
            "name": "envoy.filters.http.lua",
            "typed_config": {
                "@type": "type.googleapis.com/envoy.extensions.filters.http.lua.v3.Lua",
                "default_source_code": {"inline_string": "
                    function envoy_on_request(handle)
                      if handle:headers():get(':path'):find('^/mirrored/calls') then
                        handle:httpCall('called', {
                          [':method'] = 'GET', [':path'] = '/of-lua', [':authority'] = 'called',
                        }, '', 5000)
                      end
                    end"},
            },
        });
        let mut plan = Bed::with("features", PluginConfig::Json(config))
            .manager(&json!({"upgrade_configs": [{"upgrade_type": "websocket"}]}))
            .filter(calling)
            .backend("mirrored")
            .backend("called")
            .cluster(plugin::aggregate("aggregate", &["member-0", "member-1"]))
            .cluster(plugin::aggregate("unlisted-aggregate", &["member-0"]))
            .cluster(subsets)
            .cluster(priorities)
            .cluster(of_checked)
            .cluster(json!({
                "name": "anywhere",
                "connect_timeout": "5s",
                "type": "ORIGINAL_DST",
                "lb_policy": "CLUSTER_PROVIDED",
                "original_dst_lb_config": {"use_http_header": true},
            }))
            .route(to("aggregate", json!({"cluster": "aggregate"})))
            .route(to("unlisted", json!({"cluster": "unlisted-aggregate"})))
            .route(to("anywhere", json!({"cluster": "anywhere"})))
            .route(to(
                "priorities",
                json!({"cluster": "priorities", "retry_policy": {
                    "retry_on": "5xx",
                    "num_retries": 1,
                    "retry_priority": {
                        "name": "envoy.retry_priorities.previous_priorities",
                        "typed_config": {
                            "@type": "type.googleapis.com/envoy.extensions.retry.priority.previous_priorities.v3.PreviousPrioritiesConfig",
                            "update_frequency": 1,
                        },
                    },
                }}),
            ));
        for set in ["a", "b", "c"] {
            plan = plan.route(to(
                &format!("subset-{set}"),
                json!({
                    "cluster": "subsets",
                    "metadata_match": {"filter_metadata": {"envoy.lb": {"set": set}}},
                }),
            ));
        }
        for echo in members.iter().enumerate() {
            let name = format!("member-{}", echo.0);
            plan = plan.cluster(bootstrap::cluster(&name, echo.1.address(), false, &[]));
        }
        for (echo, name) in mirrors.iter().zip(["unlisted", "injected", "open"]) {
            let mirror = format!("{name}-mirror");
            plan = plan
                .cluster(bootstrap::cluster(&mirror, echo.address(), false, &[]))
                .route(to(
                    &format!("mirrored-{name}"),
                    json!({"cluster": "mirrored", "request_mirror_policies": [{"cluster": mirror}]}),
                ));
        }
        Lab {
            bed: plan.start().await,
            members,
            ranked,
            mirrors,
            checked,
        }
    })
    .await
}

fn github(user: &str) -> String {
    canary::token("gho_", user)
}

fn login(bed: &Bed) -> String {
    bed.login("alice", json!({"github": github("alice")}))
}

async fn an_aggregate_is_the_backend_whatever_its_members_are() {
    let Lab { bed, .. } = lab().await;
    let jwt = login(bed);
    for client in [bed.http1(), bed.http2()] {
        let reply = client.send(Request::get("/aggregate/a").bearer(&jwt)).await;
        assert_eq!(reply.status, 200, "{}", reply.text());
        assert_eq!(reply.json()["backend"], "member-0");
        assert_eq!(reply.seen("x-key"), [canary::token("key-", "aggregate")]);
    }
}

async fn an_aggregate_that_is_not_listed_is_refused() {
    let Lab { bed, members, .. } = lab().await;
    let jwt = login(bed);
    let reply = bed
        .http1()
        .send(Request::get("/unlisted/a").bearer(&jwt))
        .await;
    assert_eq!(reply.status, 500, "{}", reply.text());
    assert_eq!(reply.json()["error"], "backend_not_configured");
    assert_eq!(reply.json()["backend"], "unlisted-aggregate");
    assert!(members[0].requests_with("/unlisted/").is_empty());
}

async fn a_subset_and_its_fallback_get_the_clusters_credential() {
    let Lab { bed, .. } = lab().await;
    let jwt = login(bed);
    for (set, member) in [
        ("a", Some("member-0")),
        ("b", Some("member-1")),
        ("c", None),
    ] {
        let path = format!("/subset-{set}/a");
        let reply = bed.http1().send(Request::get(&path).bearer(&jwt)).await;
        assert_eq!(reply.seen("x-key"), [canary::token("key-", "subsets")]);
        if let Some(member) = member {
            assert_eq!(reply.json()["backend"], member);
        }
    }
}

async fn a_retry_at_another_priority_carries_the_credential_once() {
    let Lab { bed, ranked, .. } = lab().await;
    let jwt = login(bed);
    ranked[0].answer_next([503]);
    let reply = bed
        .http1()
        .send(Request::get("/priorities/a").bearer(&jwt))
        .await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    assert_eq!(reply.json()["backend"], "ranked-1");
    for member in ranked {
        let seen = member.requests_with("/priorities/");
        let [attempt] = seen.as_slice() else {
            panic!("not one attempt: {seen:?}")
        };
        assert_eq!(
            attempt.values("authorization"),
            [format!("Bearer {}", github("alice"))]
        );
    }
}

/// Sends a mirrored request and waits until the filter has decided on its mirror.
async fn mirrored(name: &str, outcome: &str) -> (&'static Lab, String) {
    let lab = lab().await;
    let jwt = login(&lab.bed);
    let path = format!("/mirrored-{name}/a");
    let reply = lab.bed.http1().send(Request::get(&path).bearer(&jwt)).await;
    assert_eq!(
        reply.seen("authorization"),
        [format!("Bearer {}", github("alice"))]
    );
    let mirror = format!("{name}-mirror");
    lab.bed.expect_outcome(&mirror, outcome, 1).await;
    (lab, path)
}

async fn a_mirror_that_is_not_listed_gets_nothing() {
    let (lab, path) = mirrored("unlisted", "backend_not_configured").await;
    assert!(lab.mirrors[0].requests_with(&path).is_empty());
}

/// A mirror carries neither metadata nor filter state: nobody can say whose request it is.
async fn a_mirror_that_wants_a_users_token_gets_nothing() {
    let (lab, path) = mirrored("injected", "upstream_token_not_found").await;
    assert!(lab.mirrors[1].requests_with(&path).is_empty());
}

async fn a_mirror_of_an_open_backend_sees_no_credential() {
    let (lab, path) = mirrored("open", "unauthenticated").await;
    let request = eventually("the mirror", || async {
        lab.mirrors[2].requests_with(&path).pop()
    })
    .await;
    assert_eq!(request.values("authorization"), [""; 0]);
}

async fn a_call_of_another_filter_carries_no_credential() {
    let Lab { bed, .. } = lab().await;
    let jwt = login(bed);
    let reply = bed
        .http1()
        .send(Request::get("/mirrored/calls").bearer(&jwt))
        .await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    let seen = bed.backend("called").requests_with("/of-lua");
    let [call] = seen.as_slice() else {
        panic!("not one call: {seen:?}")
    };
    for name in ["authorization", "x-key"] {
        assert_eq!(call.values(name), [""; 0], "{name}");
    }
}

async fn a_health_check_of_envoys_own_carries_no_credential() {
    let Lab { checked, .. } = lab().await;
    let check = eventually("a health check", || async {
        checked.requests_with("/healthz").pop()
    })
    .await;
    for name in ["authorization", "x-key"] {
        assert_eq!(check.values(name), [""; 0], "{name}");
    }
}

async fn an_upgrade_carries_the_credential() {
    let Lab { bed, .. } = lab().await;
    let jwt = login(bed);
    let request = format!(
        "GET /mirrored/upgraded HTTP/1.1\r\nhost: a\r\nconnection: Upgrade\r\n\
         upgrade: websocket\r\nauthorization: Bearer {jwt}\r\n\r\n"
    );
    let answered = |bytes: &[u8]| bytes.windows(4).any(|four| four == b"\r\n\r\n");
    let answer = raw_exchange(bed.address(), request.as_bytes(), answered)
        .await
        .expect("a connection");
    assert!(!answer.is_empty(), "no answer");
    let seen = bed.backend("mirrored").requests_with("/upgraded");
    let [request] = seen.as_slice() else {
        panic!("not one request: {seen:?}")
    };
    assert_eq!(
        request.values("authorization"),
        [format!("Bearer {}", github("alice"))]
    );
}

/// A cluster that leads wherever the client says must have no strategy; then it leads nowhere.
async fn a_destination_that_the_client_chooses_is_refused() {
    let Lab { bed, checked, .. } = lab().await;
    let jwt = login(bed);
    let request = Request::get("/anywhere/a")
        .bearer(&jwt)
        .header("x-envoy-original-dst-host", checked.address().to_string());
    let reply = bed.http1().send(request).await;
    assert_eq!(reply.status, 500, "{}", reply.text());
    assert_eq!(reply.json()["error"], "backend_not_configured");
    assert!(checked.requests_with("/anywhere/").is_empty());
}

/// Load reports (ORCA) of two endpoints that send them with each response: they decide which of the two
/// is next, and nothing else.
async fn what_a_backend_reports_of_its_load_changes_nothing() {
    let members = echoes(&["reporting-0", "reporting-1"]).await;
    let config = plugin::config(&["github"], json!({"reporting": key("reporting")}));
    let mut cluster = bootstrap::cluster("reporting", members[0].address(), false, &[]);
    cluster["load_assignment"]["endpoints"] =
        json!([endpoint(&members[0], "a", 0), endpoint(&members[1], "b", 0)]);
    cluster["load_balancing_policy"] = json!({"policies": [{"typed_extension_config": {
        "name": "envoy.load_balancing_policies.client_side_weighted_round_robin",
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.load_balancing_policies.client_side_weighted_round_robin.v3.ClientSideWeightedRoundRobin",
            "blackout_period": "0s", "weight_update_period": "0.1s",
        },
    }}]});
    let bed = Bed::with("load", PluginConfig::Json(config))
        .cluster(cluster)
        .route(to("reporting", json!({"cluster": "reporting"})))
        .start()
        .await;
    let jwt = login(&bed);
    let report = r#"JSON {"rps_fractional": 100.0, "cpu_utilization": 0.9, "named_metrics": {"authorization": 1}}"#;
    for member in &members {
        for _ in 0..20 {
            member.answer_with(200, &[("endpoint-load-metrics", report)]);
        }
    }
    for round in 0..20 {
        let path = format!("/reporting/{round}");
        let reply = bed.http1().send(Request::get(&path).bearer(&jwt)).await;
        assert_eq!(reply.status, 200, "{}", reply.text());
    }
    for member in &members {
        let requests = member.requests();
        assert!(!requests.is_empty(), "one endpoint was never asked");
        for request in requests {
            let expected = [canary::token("key-", "reporting")];
            assert_eq!(request.values("x-key"), expected);
            assert_eq!(request.values("authorization"), [""; 0]);
        }
    }
}

/// A route that lets requests go as early data. Over HTTP/1 and HTTP/2 there is none, but the answer
/// that may come of it, and what Envoy makes of that.
async fn a_backend_for_which_it_is_too_early_gets_the_credential_once_more() {
    let config = plugin::config(&["github"], json!({"early": plugin::inject("github")}));
    let mut route = to(
        "early",
        json!({
            "cluster": "early",
            "early_data_policy": {
                "name": "envoy.route.early_data_policy.default",
                "typed_config": {
                    "@type": "type.googleapis.com/envoy.extensions.early_data.v3.DefaultEarlyDataPolicy",
                },
            },
            "retry_policy": {
                "retry_on": "retriable-status-codes", "retriable_status_codes": [425], "num_retries": 1,
            },
        }),
    );
    route["route"]["timeout"] = json!("0s");
    let bed = Bed::with("early", PluginConfig::Json(config))
        .backend("early")
        .route(route)
        .start()
        .await;
    let jwt = login(&bed);
    bed.backend("early").answer_next([425]);
    let request = Request::get("/early/a").bearer(&jwt);
    let reply = bed.http1().send(request).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    let attempts = bed.backend("early").requests();
    assert_eq!(attempts.len(), 2, "{attempts:?}");
    for attempt in attempts {
        let expected = [format!("Bearer {}", github("alice"))];
        assert_eq!(attempt.values("authorization"), expected);
    }
}

/// A matcher around the filter decides when it runs; where it does not, the door has been there.
async fn where_a_matcher_leaves_the_filter_out_nothing_is_sent() {
    let config = plugin::config(
        &["github"],
        json!({"inject": plugin::inject("github"), "called": key("called")}),
    );
    let config = PluginConfig::Json(config);
    let mut filter = bootstrap::wasm_filter(&config, &[]);
    let inner = filter["typed_config"].take();
    filter["typed_config"] = json!({
        "@type": "type.googleapis.com/envoy.extensions.common.matching.v3.ExtensionWithMatcher",
        "extension_config": {"name": "upstream_inject", "typed_config": inner},
        "xds_matcher": {"matcher_tree": {
            "input": {
                "name": "header",
                "typed_config": {
                    "@type": "type.googleapis.com/envoy.type.matcher.v3.HttpRequestHeaderMatchInput",
                    "header_name": "x-leave-out",
                },
            },
            "exact_match_map": {"map": {"yes": {"action": {
                "name": "skip",
                "typed_config": {
                    "@type": "type.googleapis.com/envoy.extensions.filters.common.matcher.action.v3.SkipFilter",
                },
            }}}},
        }},
    });
    let bed = Bed::with("matcher", config)
        .backend("inject")
        .backend("called")
        .filter(bootstrap::router_with(&[filter]))
        .ending_with_its_filters()
        .start()
        .await;
    let jwt = login(&bed);
    for backend in ["inject", "called"] {
        for left_out in [false, true] {
            let mut request = Request::get(&format!("/{backend}/a"))
                .bearer(&jwt)
                .header("x-key", "the client's own");
            if left_out {
                request = request.header("x-leave-out", "yes");
            }
            let reply = bed.http1().send(request).await;
            assert_eq!(reply.status, 200, "{}", reply.text());
            let expected = match (backend, left_out) {
                (_, true) => (vec![], vec![]),
                ("inject", false) => (vec![format!("Bearer {}", github("alice"))], vec![]),
                (_, false) => (vec![], vec![canary::token("key-", "called")]),
            };
            let seen = (reply.seen("authorization"), reply.seen("x-key"));
            assert_eq!(seen, expected, "{backend}, left out: {left_out}");
        }
    }
}

/// Fields behind the body are the client's, and the door takes nothing off there.
async fn request_trailers_carry_no_credential() {
    for placement in bed::Placement::ALL {
        let config = plugin::config(
            &["github"],
            json!({"inject": plugin::inject("github"), "called": key("called")}),
        );
        let bed = Bed::with("trailers", PluginConfig::Json(config))
            .placed(placement)
            .http2_backend("inject")
            .http2_backend("called")
            .start()
            .await;
        let jwt = login(&bed);
        for backend in ["inject", "called"] {
            let mut trailers = http::HeaderMap::new();
            for (name, value) in [
                ("authorization", &*format!("Bearer {jwt}")),
                ("x-key", "the client's own"),
                ("x_key", "the client's own"),
                ("x-checksum", "stays"),
            ] {
                trailers.append(name, value.parse().expect("a value"));
            }
            let body = Full::new(Bytes::from("body"));
            let body = body.with_trailers(std::future::ready(Some(Ok(trailers))));
            let request = http::Request::post(format!("http://{}/{backend}/a", bed.address()))
                .header("authorization", format!("Bearer {jwt}"))
                .body(tonic::body::Body::new(body))
                .expect("a request");
            let client = Client::http2(bed.address()).grpc_transport();
            let response = client.request(request).await.expect("an answer");
            assert_eq!(response.status(), 200, "{placement:?}");
            let seen = eventually("the backend to get it", || async {
                bed.backend(backend).requests().pop()
            })
            .await;
            assert_eq!(seen.trailers, ["x-checksum"], "{backend}, {placement:?}");
        }
    }
}
