//! A filter before this one changes what routes match on: still each backend gets its own
//! credential. Where the filter stands before the router, nothing can promise that, and the tripwire
//! tells instead.

use bed::{Bed, Placement, PluginConfig, Reply, Request, canary, eventually};
use serde_json::{Value, json};

use crate::plugin;
use crate::trial::{SharedBed, trials};

trials!("wrong_backend":
    in_the_router_each_backend_gets_its_own_credential,
    in_clusters_each_backend_gets_its_own_credential,
    downstream_a_credential_at_another_backend_trips_the_wire,
    downstream_what_has_been_routed_anew_before_the_filter_trips_nothing,
);

/// Ways in which a filter before this one changes what decides between `first` and `second`; each
/// is the first part of a path.
const CHANGES: [&str; 6] = [
    "tenant", "canary", "claims", "mutated", "direct", "disabled",
];

fn config() -> PluginConfig {
    PluginConfig::Json(plugin::config(
        &["first-idp", "second-idp"],
        json!({
            "first": plugin::inject("first-idp"),
            "second": plugin::inject("second-idp"),
        }),
    ))
}

/// A route for `/<change>/` and this header to `second`, or to `first`.
fn with_header(change: &str, header: &str, value: &str, cluster: &str) -> Value {
    json!({
        "match": {
            "prefix": format!("/{change}/"),
            "headers": [{"name": header, "string_match": {"exact": value}}],
        },
        "route": {"cluster": cluster},
    })
}

fn without(change: &str, cluster: &str) -> Value {
    json!({"match": {"prefix": format!("/{change}/")}, "route": {"cluster": cluster}})
}

fn routes() -> Vec<Value> {
    let mut disabled = without("disabled", "first");
    disabled["typed_per_filter_config"] = json!({"upstream_inject": {
        "@type": "type.googleapis.com/envoy.config.route.v3.FilterConfig",
        "disabled": true,
    }});
    vec![
        // ext_authz adds the tenant.
        with_header("tenant", "x-tenant", "second", "second"),
        without("tenant", "first"),
        // Lua takes off what the client has sent.
        with_header("canary", "x-canary", "yes", "first"),
        without("canary", "second"),
        // jwt_authn makes a header of a claim.
        with_header("claims", "x-user", "alice", "second"),
        without("claims", "first"),
        // header_mutation adds one.
        with_header("mutated", "x-mutated", "yes", "second"),
        without("mutated", "first"),
        // The first route has no backend, or no filter.
        with_header("direct", "x-tenant", "second", "second"),
        json!({"match": {"prefix": "/direct/"}, "direct_response": {"status": 204}}),
        with_header("disabled", "x-tenant", "second", "second"),
        disabled,
        // Lua adds a header and has Envoy route anew.
        with_header("cleared", "x-cleared", "yes", "second"),
        without("cleared", "first"),
        // The very header that the filter sets.
        json!({
            "match": {
                "prefix": "/treacherous/",
                "headers": [{"name": "authorization", "string_match": {"prefix": "Bearer ey"}}],
            },
            "route": {"cluster": "first"},
        }),
        without("treacherous", "second"),
    ]
}

async fn start(placement: Placement) -> Bed {
    let lua = json!({
        "name": "envoy.filters.http.lua",
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.filters.http.lua.v3.Lua",
            "default_source_code": {"inline_string": "
                function envoy_on_request(handle)
                  handle:headers():remove('x-canary')
                  if handle:headers():get(':path'):find('^/cleared/') then
                    handle:headers():add('x-cleared', 'yes')
                    handle:clearRouteCache()
                  end
                end"},
        },
    });
    let mutation = json!({
        "name": "envoy.filters.http.header_mutation",
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.filters.http.header_mutation.v3.HeaderMutation",
            "mutations": {"request_mutations": [
                {"append": {"header": {"key": "x-mutated", "value": "yes"}}},
            ]},
        },
    });
    let plan = Bed::with("wrong-backend", config())
        .placed(placement)
        .provider(&json!({
            "claim_to_headers": [{"header_name": "x-user", "claim_name": "sub"}],
        }))
        .filter(lua)
        .filter(mutation)
        .backend("first")
        .backend("second");
    let bed = routes()
        .into_iter()
        .fold(plan, bed::Plan::route)
        .start()
        .await;
    bed.embedded_as.add_header("x-tenant", "second");
    bed
}

fn token(backend: &str) -> String {
    canary::token(&format!("{backend}_"), "alice")
}

async fn send(bed: &Bed, change: &str) -> Reply {
    let tokens = json!({"first-idp": token("first"), "second-idp": token("second")});
    let jwt = bed.login("alice", tokens);
    let request = Request::get(&format!("/{change}/a"))
        .bearer(&jwt)
        .header("x-canary", "yes");
    bed.http1().send(request).await
}

/// The backend that answered, and the credentials that it saw.
fn seen(reply: &Reply) -> (String, Vec<String>) {
    let backend = reply.json()["backend"]
        .as_str()
        .unwrap_or_default()
        .to_owned();
    let tokens = reply.seen("authorization");
    let tokens = tokens.iter().map(|it| it.replace("Bearer ", "")).collect();
    (backend, tokens)
}

async fn each_gets_its_own(placement: Placement) {
    let bed = start(placement).await;
    let all = CHANGES.into_iter().chain(["cleared", "treacherous"]);
    for change in all {
        let reply = send(&bed, change).await;
        if change == "direct" && reply.status == 204 {
            continue;
        }
        assert_eq!(reply.status, 200, "{change}: {}", reply.text());
        let (backend, tokens) = seen(&reply);
        if change == "disabled" && backend == "first" {
            assert_eq!(tokens, [""; 0], "{change}");
        } else {
            assert_eq!(tokens, [token(&backend)], "{change}");
        }
    }
    // The changes did change something: what was routed anew went to the other backend.
    assert!(!bed.backend("second").requests_with("/cleared/").is_empty());
}

async fn in_the_router_each_backend_gets_its_own_credential() {
    each_gets_its_own(Placement::Router).await;
}

async fn in_clusters_each_backend_gets_its_own_credential() {
    each_gets_its_own(Placement::Clusters).await;
}

static DOWNSTREAM: SharedBed = SharedBed::new();

async fn downstream() -> &'static Bed {
    DOWNSTREAM.get(|| start(Placement::Downstream)).await
}

const MISROUTED: &str = "wasmcustom.upstream_inject.misrouted";

/// What Envoy does with the filter in this place, and no filter can prevent.
async fn downstream_a_credential_at_another_backend_trips_the_wire() {
    let bed = downstream().await;
    let mut misrouted = bed.envoy.stat(MISROUTED).await;
    let mut astray = 0;
    for change in CHANGES.into_iter().chain(["treacherous"]) {
        let reply = send(bed, change).await;
        assert_eq!(reply.status, 200, "{change}: {}", reply.text());
        let (backend, tokens) = seen(&reply);
        if change == "disabled" {
            // The filter was not asked: nothing is on the request.
            assert_eq!((&*backend, tokens), ("second", Vec::new()), "{change}");
            continue;
        }
        if !tokens.is_empty() && tokens != [token(&backend)] {
            astray += 1;
            misrouted += 1;
            bed.envoy.expect_stat(MISROUTED, misrouted).await;
        }
    }
    assert!(astray > 0, "nothing went astray");
    eventually("an ERROR line with both names", || async {
        bed.envoy
            .log()
            .lines()
            .any(|line| {
                line.contains("[error][wasm]")
                    && line.contains("\"first\"")
                    && line.contains("\"second\"")
            })
            .then_some(())
    })
    .await;
}

async fn downstream_what_has_been_routed_anew_before_the_filter_trips_nothing() {
    let bed = start(Placement::Downstream).await;
    for _ in 0..3 {
        let (backend, tokens) = seen(&send(&bed, "cleared").await);
        assert_eq!((&*backend, tokens), ("second", vec![token("second")]));
    }
    // Another counter of the same requests is there: this one would be, too.
    bed.expect_outcome("second", "injected", 3).await;
    assert_eq!(bed.envoy.stat(MISROUTED).await, 0);
}
