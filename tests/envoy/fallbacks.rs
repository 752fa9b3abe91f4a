//! Features of Envoy by which another attempt goes elsewhere, and what a slow token service does to a
//! backend's standing.

use bed::{Answer, Bed, Echo, PluginConfig, Request, bootstrap, canary, eventually, raw_exchange};
use serde_json::{Value, json};

use crate::exchange_lane::configuration;
use crate::plugin;
use crate::trial::trials;

trials!("fallbacks":
    every_attempt_at_a_composite_cluster_carries_the_credential_of_its_name from 38,
    a_group_of_clusters_that_a_retry_falls_back_to_gets_its_own_credential from 40,
    a_slow_sts_does_not_eject_the_backend,
    a_tunnel_that_nobody_configured_is_refused,
);

async fn echo(name: &str) -> Echo {
    Echo::start(name).await.expect("a free port")
}

fn retried(mut action: Value) -> Value {
    action["timeout"] = json!("0s");
    action["retry_policy"] = json!({
        "retry_on": "5xx", "num_retries": 1,
        "retry_back_off": {"base_interval": "0.001s", "max_interval": "0.01s"},
    });
    json!({"match": {"prefix": "/fallback/"}, "route": action})
}

fn retried_elsewhere(action: Value) -> Value {
    let mut route = retried(action);
    route["route"]["retry_policy"]["refresh_cluster_on_retry"] = json!(true);
    route
}

/// The filter asks for the name in the route; which of its clusters is behind it makes no difference.
async fn every_attempt_at_a_composite_cluster_carries_the_credential_of_its_name() {
    let (first, second) = (echo("first").await, echo("second").await);
    let key = |name: &str| plugin::header("x-key", &canary::token("key-", name));
    let config = plugin::config(
        &["github"],
        json!({"composite": key("composite"), "first": key("first"), "second": key("second")}),
    );
    let bed = Bed::with("composite", PluginConfig::Json(config))
        .cluster(bootstrap::cluster("first", first.address(), false, &[]))
        .cluster(bootstrap::cluster("second", second.address(), false, &[]))
        .cluster(json!({
            "name": "composite",
            "connect_timeout": "5s",
            "lb_policy": "CLUSTER_PROVIDED",
            "cluster_type": {
                "name": "envoy.clusters.composite",
                "typed_config": {
                    "@type": "type.googleapis.com/envoy.extensions.clusters.composite.v3.ClusterConfig",
                    "clusters": [{"name": "first"}, {"name": "second"}],
                },
            },
        }))
        .route(retried(json!({"cluster": "composite"})))
        .start()
        .await;
    let jwt = bed.login("alice", json!({}));
    first.answer_next([503]);
    let reply = bed
        .http1()
        .send(Request::get("/fallback/a").bearer(&jwt))
        .await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    for backend in [&first, &second] {
        let requests = backend.requests();
        assert_eq!(requests.len(), 1);
        let expected = [canary::token("key-", "composite")];
        assert_eq!(requests[0].values("x-key"), expected);
        assert_eq!(requests[0].values("authorization"), [""; 0]);
    }
}

async fn a_group_of_clusters_that_a_retry_falls_back_to_gets_its_own_credential() {
    let group =
        |name: &str| json!({"name": name, "clusters": [{"cluster_name": name, "weight": 1}]});
    let config = plugin::config(
        &["github"],
        json!({
            "first": plugin::header("x-key", &canary::token("key-", "first")),
            "second": plugin::inject("github"),
        }),
    );
    let bed = Bed::with("groups", PluginConfig::Json(config))
        .backend("first")
        .backend("second")
        .route(retried_elsewhere(json!({
            "inline_cluster_specifier_plugin": {"extension": {
                "name": "envoy.router.cluster_specifier_plugin.priority_group",
                "typed_config": {
                    "@type": PRIORITY_GROUP,
                    "priority_groups": [group("first"), group("second")],
                },
            }},
        })))
        .start()
        .await;
    let github = canary::token("gho_", "alice");
    let jwt = bed.login("alice", json!({"github": github}));
    bed.backend("first").answer_next([503]);
    let reply = bed
        .http1()
        .send(Request::get("/fallback/a").bearer(&jwt))
        .await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    let [first] = &bed.backend("first").requests()[..] else {
        panic!("not one attempt at the first")
    };
    assert_eq!(first.values("x-key"), [canary::token("key-", "first")]);
    let [second] = &bed.backend("second").requests()[..] else {
        panic!("not one attempt at the second")
    };
    assert_eq!(second.values("x-key"), [""; 0], "the first one's key");
    assert_eq!(second.values("authorization"), [format!("Bearer {github}")]);
}

const PRIORITY_GROUP: &str = "type.googleapis.com/envoy.extensions.router.cluster_specifiers.priority_group.v3.PriorityGroupClusterSpecifier";

/// It does not answer in time, so that the filter answers 504, again and again; the backend has nothing to
/// do with that, and serves whoever has a token.
async fn a_slow_sts_does_not_eject_the_backend() {
    let lanes = [("slow", json!({"timeout": "400ms"}))];
    let backend = echo("slow").await;
    let mut cluster = bootstrap::cluster("slow", backend.address(), false, &[]);
    cluster["outlier_detection"] = json!({
        "consecutive_5xx": 1, "consecutive_gateway_failure": 1,
        "enforcing_consecutive_gateway_failure": 100, "interval": "0.05s",
        "base_ejection_time": "600s", "max_ejection_percent": 100,
    });
    let bed = Bed::with(
        "ejected",
        PluginConfig::Json(configuration(&lanes, json!({}))),
    )
    .sts("sts-slow")
    .cluster(cluster)
    .route(json!({"match": {"prefix": "/slow/"}, "route": {"cluster": "slow", "timeout": "0s"}}))
    .start()
    .await;
    let get = async |jwt: &str| bed.http1().send(Request::get("/slow/a").bearer(jwt)).await;
    let good = bed.login("good", json!({"corp": "corp-good"}));
    // The timeout is short for a machine that stops.
    eventually("a token", || async {
        let reply = get(&good).await;
        if reply.status != 200 {
            let error = reply.json()["error"].to_string();
            assert!(error.starts_with("\"token_exchange_"), "{}", reply.text());
            return None;
        }
        Some(())
    })
    .await;
    bed.sts_named("sts-slow").set_script(|_| Answer::hang());
    for user in 0..4 {
        let jwt = bed.login(
            &format!("user-{user}"),
            json!({"corp": format!("corp-{user}")}),
        );
        let reply = get(&jwt).await;
        assert_eq!(reply.status, 504, "{}", reply.text());
        assert_eq!(reply.json()["error"], "token_exchange_timeout");
    }
    let reply = get(&good).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    let ejections = "cluster.slow.outlier_detection.ejections_enforced_total";
    assert_eq!(bed.envoy.stat(ejections).await, 0);
}

async fn a_tunnel_that_nobody_configured_is_refused() {
    let config = plugin::config(&["github"], json!({"one": plugin::inject("github")}));
    let bed = Bed::with("tunnel", PluginConfig::Json(config))
        .backend("one")
        .route(json!({"match": {"connect_matcher": {}}, "route": {"cluster": "one"}}))
        .start()
        .await;
    let jwt = bed.login("alice", json!({"github": canary::token("gho_", "alice")}));
    let request =
        format!("CONNECT one:443 HTTP/1.1\r\nhost: one:443\r\nauthorization: Bearer {jwt}\r\n\r\n");
    let answered = |bytes: &[u8]| bytes.windows(4).any(|four| four == b"\r\n\r\n");
    let answer = raw_exchange(bed.address(), request.as_bytes(), answered)
        .await
        .expect("a connection");
    let answer = String::from_utf8_lossy(&answer);
    assert!(answer.starts_with("HTTP/1.1 4"), "{answer}");
    assert!(bed.backend("one").requests().is_empty());
}
