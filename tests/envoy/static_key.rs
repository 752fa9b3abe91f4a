//! A static key needs somebody: who asks must have been identified, by whatever check is in front.

use bed::{Bed, PluginConfig, Reply, Request, canary};
use serde_json::{Value, json};

use crate::plugin;
use crate::trial::trials;

trials!("static_key":
    it_goes_to_nobody_who_was_not_identified,
    what_jwt_authn_says_of_a_failure_is_nobody,
    a_payload_of_another_issuer_is_nobody,
    a_route_without_its_check_gives_the_key_to_nobody,
    where_nobody_has_to_be_identified_it_goes_to_everyone,
);

fn config() -> Value {
    let key = plugin::header("X-API-Key", &canary::token("key-", "static"));
    let mut config = plugin::config(&["github"], json!({"key": key, "open": plugin::open()}));
    config["challenge"] = json!({"realm": "mcp"});
    config
}

fn plan(config: Value) -> bed::Plan {
    Bed::with("static-key", PluginConfig::Json(config))
        .backend("key")
        .backend("open")
}

/// Sends a request for the key without a token.
async fn anonymous(bed: &Bed) -> Reply {
    bed.http1().send(Request::get("/key/a")).await
}

fn assert_key(reply: &Reply, what: &str) {
    assert_eq!(reply.status, 200, "{what}: {}", reply.text());
    let key = canary::token("key-", "static");
    assert_eq!(reply.seen("x-api-key"), [key], "{what}");
}

fn assert_missing(reply: &Reply, what: &str) {
    assert_eq!(reply.status, 401, "{what}: {}", reply.text());
    assert_eq!(reply.json()["error"], "identity_missing", "{what}");
    assert_eq!(reply.json()["backend"], "key", "{what}");
    // Nobody has shown a token: no error (RFC 6750 §3.1).
    assert_eq!(
        reply.header("www-authenticate"),
        "Bearer realm=\"mcp\"",
        "{what}"
    );
}

/// What `ext_authz` leaves, for a request without a token.
async fn it_goes_to_nobody_who_was_not_identified() {
    let bed = plan(config()).start().await;
    let nobody = [
        ("nothing", json!({})),
        ("no tokens", json!({"upstream_tokens": {}})),
        (
            "tokens that are a text",
            json!({"upstream_tokens": "github"}),
        ),
        (
            "tokens that are a list",
            json!({"upstream_tokens": ["github"]}),
        ),
        ("tokens that are null", json!({"upstream_tokens": null})),
        (
            "another policy's findings",
            json!({"allowed": true, "user": "alice"}),
        ),
    ];
    for (what, metadata) in nobody {
        bed.embedded_as.set_session("", metadata);
        assert_missing(&anonymous(&bed).await, what);
    }
    assert!(bed.backend("key").requests().is_empty());
    bed.expect_outcome("key", "identity_missing", 6).await;
    // Whoever needs no key needs nobody.
    let reply = bed.http1().send(Request::get("/open/a")).await;
    assert_eq!(reply.status, 200, "{}", reply.text());

    let somebody = json!({"upstream_tokens": {"github": canary::token("gho_", "somebody")}});
    bed.embedded_as.set_session("", somebody);
    assert_key(&anonymous(&bed).await, "upstream tokens");
    let jwt = bed.login("alice", json!({}));
    let reply = bed.http1().send(Request::get("/key/a").bearer(&jwt)).await;
    assert_key(&reply, "a checked payload");

    // A prober is nobody, and gets through without the key.
    bed.embedded_as
        .set_session("", json!({"health_check": true}));
    let reply = anonymous(&bed).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    assert_eq!(reply.seen("x-api-key"), [""; 0]);
}

/// With `failed_status_in_metadata`, `jwt_authn` leaves a map in its namespace for a request without
/// a token: even under the payload's own key.
async fn what_jwt_authn_says_of_a_failure_is_nobody() {
    for key in ["th_jwt", "failure"] {
        let bed = plan(config())
            .provider(&json!({"failed_status_in_metadata": key}))
            .start()
            .await;
        bed.embedded_as.set_session("", json!({}));
        assert_missing(&anonymous(&bed).await, key);
        let expired = bed.embedded_as.issuer().sign(&json!({
            "iss": "https://vmcp.example.com", "aud": "https://mcp.example.com", "exp": 1,
        }));
        let request = Request::get("/key/a").bearer(&expired);
        assert_missing(&bed.http2().send(request).await, key);
        assert!(bed.backend("key").requests().is_empty());
    }
}

async fn a_payload_of_another_issuer_is_nobody() {
    let mut config = config();
    config["authServer"]["runConfig"]["issuer"] = json!("https://other.example.com");
    let bed = plan(config).start().await;
    let jwt = bed.login("alice", json!({}));
    let reply = bed.http1().send(Request::get("/key/a").bearer(&jwt)).await;
    assert_missing(&reply, "another issuer");
    assert!(bed.backend("key").requests().is_empty());
}

/// Somebody's policy for one route has taken the place of the gateway's checks.
async fn a_route_without_its_check_gives_the_key_to_nobody() {
    let bed = plan(config())
        .route(json!({
            "match": {"prefix": "/key/unchecked"},
            "route": {"cluster": "key"},
            "typed_per_filter_config": {
                "envoy.filters.http.jwt_authn": {
                    "@type": "type.googleapis.com/envoy.extensions.filters.http.jwt_authn.v3.PerRouteConfig",
                    "disabled": true,
                },
                "envoy.filters.http.ext_authz": {
                    "@type": "type.googleapis.com/envoy.extensions.filters.http.ext_authz.v3.ExtAuthzPerRoute",
                    "disabled": true,
                },
            },
        }))
        .start()
        .await;
    let jwt = bed.login("alice", json!({}));
    for request in [
        Request::get("/key/unchecked"),
        Request::get("/key/unchecked").bearer(&jwt),
        Request::get("/key/unchecked").bearer("made.up.token"),
    ] {
        let reply = bed.http2().send(request).await;
        assert_eq!(reply.status, 401, "{}", reply.text());
        assert_eq!(reply.json()["error"], "identity_missing");
    }
    assert!(bed.backend("key").requests().is_empty());
}

async fn where_nobody_has_to_be_identified_it_goes_to_everyone() {
    let mut relaxed = config();
    relaxed["identity"]["required"] = json!(false);
    let mut without = config();
    without
        .as_object_mut()
        .expect("an object")
        .remove("authServer");
    without["identity"] = json!({});
    for config in [relaxed, without] {
        let bed = plan(config).start().await;
        bed.embedded_as.set_session("", json!({}));
        assert_key(&anonymous(&bed).await, "not required");
    }
}
