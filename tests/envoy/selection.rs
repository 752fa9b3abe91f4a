//! Which backend's strategy a request gets: by cluster, by route, by route metadata, by default, or
//! none at all.

use bed::{Bed, PluginConfig, Request, canary};
use serde_json::{Value, json};

use crate::plugin;
use crate::trial::{SharedBed, trials};

trials!("selection":
    by_route_name,
    by_route_metadata,
    the_default_serves_whatever_is_not_listed,
    weighted_clusters_get_their_own_credential,
    the_identity_may_be_elsewhere_in_the_metadata,
    what_envoy_answers_itself_has_no_backend,
    a_route_may_switch_the_filter_off,
);

fn key(backend: &str) -> Value {
    plugin::header("x-key", &canary::token("key-", backend))
}

/// Sends a request with a TH-JWT and returns what the backend saw in `x-key`.
async fn key_seen(bed: &Bed, path: &str) -> Vec<String> {
    let jwt = bed.login("alice", json!({}));
    let reply = bed.http1().send(Request::get(path).bearer(&jwt)).await;
    assert_eq!(reply.status, 200, "{path}: {}", reply.text());
    assert_eq!(reply.seen("authorization"), [""; 0], "{path}");
    reply.seen("x-key")
}

async fn by_route_name() {
    let mut config = plugin::config(
        &["github"],
        json!({"read": key("read"), "write": key("write")}),
    );
    config["backendFrom"] = json!("route_name");
    let route = |name: Option<&str>, path: &str| {
        let mut route = json!({"match": {"prefix": path}, "route": {"cluster": "one"}});
        if let Some(name) = name {
            route["name"] = json!(name);
        }
        route
    };
    let bed = Bed::with("route-name", PluginConfig::Json(config))
        .backend("one")
        .route(route(Some("read"), "/read"))
        .route(route(Some("write"), "/write"))
        .route(route(None, "/nameless"))
        .start()
        .await;
    assert_eq!(
        key_seen(&bed, "/read/a").await,
        [canary::token("key-", "read")]
    );
    assert_eq!(
        key_seen(&bed, "/write/a").await,
        [canary::token("key-", "write")]
    );
    for path in ["/nameless/a", "/one/other-name"] {
        let jwt = bed.login("alice", json!({}));
        let reply = bed.http1().send(Request::get(path).bearer(&jwt)).await;
        assert_eq!(reply.status, 500, "{path}: {}", reply.text());
        assert_eq!(reply.json()["error"], "backend_not_configured");
    }
    assert!(bed.backend("one").requests_with("name").is_empty());
}

async fn by_route_metadata() {
    let mut config = plugin::config(
        &["github"],
        json!({"read": key("read"), "write": key("write")}),
    );
    config["backendFrom"] = json!("route_metadata");
    let route = |path: &str, backend: Value| {
        json!({
            "match": {"prefix": path},
            "route": {"cluster": "one"},
            "metadata": {"filter_metadata": {"upstream_inject": {"backend": backend}}},
        })
    };
    let bed = Bed::with("route-metadata", PluginConfig::Json(config))
        .backend("one")
        .route(route("/read", json!("read")))
        .route(route("/write", json!("write")))
        .route(route("/odd/number", json!(1)))
        .route(route("/odd/list", json!(["read"])))
        .route(route("/odd/null", Value::Null))
        .route(route("/odd/empty", json!("")))
        .start()
        .await;
    assert_eq!(
        key_seen(&bed, "/read/a").await,
        [canary::token("key-", "read")]
    );
    assert_eq!(
        key_seen(&bed, "/write/a").await,
        [canary::token("key-", "write")]
    );
    for path in [
        "/odd/number",
        "/odd/list",
        "/odd/null",
        "/odd/empty",
        "/one/no-metadata",
    ] {
        let jwt = bed.login("alice", json!({}));
        let reply = bed.http1().send(Request::get(path).bearer(&jwt)).await;
        assert_eq!(reply.status, 500, "{path}: {}", reply.text());
    }
    assert!(bed.backend("one").requests_with("odd").is_empty());
}

async fn the_default_serves_whatever_is_not_listed() {
    let mut config = plugin::config(&["github"], json!({"listed": key("listed")}));
    config["outgoingAuth"]["default"] = plugin::inject("github");
    let bed = Bed::with("default", PluginConfig::Json(config))
        .backend("listed")
        .backend("other")
        .start()
        .await;
    assert_eq!(
        key_seen(&bed, "/listed/a").await,
        [canary::token("key-", "listed")]
    );
    let token = canary::token("gho_", "alice");
    let jwt = bed.login("alice", json!({"github": token}));
    let reply = bed
        .http1()
        .send(Request::get("/other/a").bearer(&jwt))
        .await;
    assert_eq!(reply.seen("authorization"), [format!("Bearer {token}")]);
    assert_eq!(reply.seen("x-key"), [""; 0]);
    let jwt = bed.login("bob", json!({}));
    let reply = bed
        .http1()
        .send(Request::get("/other/b").bearer(&jwt))
        .await;
    assert_eq!(
        (reply.status, reply.json()["backend"].as_str()),
        (401, Some("other"))
    );
}

async fn weighted_clusters_get_their_own_credential() {
    let config = plugin::config(
        &["github"],
        json!({"blue": key("blue"), "green": key("green")}),
    );
    let bed = Bed::with("weighted", PluginConfig::Json(config))
        .backend("blue")
        .backend("green")
        .route(json!({
            "match": {"prefix": "/weighted"},
            "route": {"weighted_clusters": {"clusters": [
                {"name": "blue", "weight": 50},
                {"name": "green", "weight": 50},
            ]}},
        }))
        .route(json!({"match": {"prefix": "/named"}, "route": {"cluster_header": "x-cluster"}}))
        .start()
        .await;
    let jwt = bed.login("alice", json!({}));
    let client = bed.http1();
    for _ in 0..100 {
        let reply = client.send(Request::get("/weighted").bearer(&jwt)).await;
        let backend = reply.json()["backend"].as_str().expect("a name").to_owned();
        assert_eq!(reply.seen("x-key"), [canary::token("key-", &backend)]);
    }
    for name in ["blue", "green"] {
        assert!(
            !bed.backend(name).requests().is_empty(),
            "{name} got no request"
        );
        let request = Request::get("/named")
            .bearer(&jwt)
            .header("x-cluster", name);
        let reply = client.send(request).await;
        assert_eq!(reply.json()["backend"], name);
        assert_eq!(reply.seen("x-key"), [canary::token("key-", name)]);
    }
}

/// Another filter than `ext_authz` may be the one that knows the tokens: here it is `jwt_authn`,
/// with the claims of the TH-JWT as the map.
async fn the_identity_may_be_elsewhere_in_the_metadata() {
    let mut config = plugin::config(&["tsid"], json!({"one": plugin::inject("tsid")}));
    config["identity"] = json!({
        "metadataNamespace": "envoy.filters.http.jwt_authn",
        "upstreamTokensKey": "th_jwt",
        "healthCheckKey": "not-there",
    });
    let bed = Bed::with("identity", PluginConfig::Json(config))
        .backend("one")
        .start()
        .await;
    bed.embedded_as
        .set_session("the-session", json!({"health_check": true}));
    let jwt =
        bed.embedded_as
            .issuer()
            .mint("alice", "the-session", std::time::Duration::from_secs(600));
    let reply = bed.http1().send(Request::get("/one/a").bearer(&jwt)).await;
    assert_eq!(reply.seen("authorization"), ["Bearer the-session"]);
}

static ODD_ROUTES: SharedBed = SharedBed::new();

async fn odd_routes() -> &'static Bed {
    let config = plugin::config(&["github"], json!({"one": plugin::inject("github")}));
    ODD_ROUTES
        .get(|| {
            Bed::with("odd-routes", PluginConfig::Json(config))
                .backend("one")
                .route(json!({
                    "match": {"prefix": "/direct"},
                    "direct_response": {"status": 204},
                }))
                .route(json!({
                    "match": {"prefix": "/redirect"},
                    "redirect": {"path_redirect": "/elsewhere"},
                }))
                .route(json!({
                    "match": {"prefix": "/lost"},
                    "route": {"cluster_header": "x-no-such-header"},
                }))
                .route(json!({
                    "match": {"prefix": "/off"},
                    "route": {"cluster": "one"},
                    "typed_per_filter_config": {"upstream_inject": {
                        "@type": "type.googleapis.com/envoy.config.route.v3.FilterConfig",
                        "disabled": true,
                        "config": {},
                    }},
                }))
                .start()
        })
        .await
}

async fn what_envoy_answers_itself_has_no_backend() {
    let bed = odd_routes().await;
    let jwt = bed.login("alice", json!({}));
    for (path, status) in [("/direct/a", 204), ("/redirect/a", 301), ("/nowhere", 404)] {
        let reply = bed.http1().send(Request::get(path).bearer(&jwt)).await;
        assert_eq!(reply.status, status, "{path}: {}", reply.text());
        assert_eq!(
            bed.access_log_of(path).await["outcome"],
            Value::Null,
            "{path}"
        );
    }
    let reply = bed.http1().send(Request::get("/lost/a").bearer(&jwt)).await;
    assert!(!reply.is_from_backend());
    assert!(reply.status >= 400, "{}", reply.status);
}

async fn a_route_may_switch_the_filter_off() {
    let bed = odd_routes().await;
    // The filter would refuse a user without a token.
    let jwt = bed.login("alice", json!({}));
    let reply = bed.http1().send(Request::get("/one/a").bearer(&jwt)).await;
    assert_eq!(reply.status, 401, "{}", reply.text());
    let reply = bed.http1().send(Request::get("/off/a").bearer(&jwt)).await;
    assert_eq!(reply.seen("authorization"), [""; 0]);
}
