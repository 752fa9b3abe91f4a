//! A request that Envoy itself sends on to another backend: what the filter has set for the first
//! one must not go along. (`check` calls such a configuration an error all the same.)

use bed::{Bed, Placement, PluginConfig, Request, canary};
use serde_json::{Value, json};

use crate::plugin;
use crate::trial::trials;

trials!("redirects":
    in_the_router_an_internal_redirect_carries_no_key_to_the_next_backend,
    in_clusters_an_internal_redirect_carries_no_key_to_the_next_backend,
    an_internal_redirect_offers_no_exchanged_token_to_the_next_sts,
    an_error_page_of_another_backend_gets_no_key,
    a_retry_at_another_cluster_carries_no_key from 39,
    without_the_door_a_retry_at_another_cluster_carries_no_key from 39,
);

fn exchange(sts: &str) -> Value {
    json!({"type": "token_exchange", "tokenExchange": {
        "tokenUrl": format!("http://localhost/{sts}"),
        "cluster": sts,
    }})
}

fn plan(name: &str) -> bed::Plan {
    let config = plugin::config(
        &["github"],
        json!({
            "first": plugin::header("X-API-Key", &canary::token("key-", "first")),
            "second": plugin::open(),
            "first-sts": exchange("one"),
            "second-sts": exchange("two"),
        }),
    );
    Bed::with(name, PluginConfig::Json(config))
        .sts("one")
        .sts("two")
        .backend("first")
        .backend("second")
        .backend("first-sts")
        .backend("second-sts")
}

fn redirecting(path: &str, cluster: &str) -> Value {
    json!({
        "match": {"prefix": format!("/{path}/")},
        "route": {
            "cluster": cluster,
            "internal_redirect_policy": {
                "max_internal_redirects": 2, "redirect_response_codes": [302],
            },
        },
    })
}

async fn redirected(placement: Placement) {
    let bed = plan("redirects")
        .placed(placement)
        .route(redirecting("redirected", "first"))
        .start()
        .await;
    // On its second pass the request is nobody's: the door has taken the TH-JWT off.
    bed.embedded_as.set_session("", json!({}));
    let jwt = bed.login("alice", json!({}));
    let to = format!("http://{}/second/after", bed.address());
    bed.backend("first").answer_with(302, &[("location", &to)]);
    let request = Request::get("/redirected/a").bearer(&jwt);
    let host = bed.address().to_string();
    let reply = bed.http1().send(request.header("host", host)).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    assert_eq!(reply.json()["backend"], "second");
    for name in ["x-api-key", "authorization"] {
        assert_eq!(reply.seen(name), [""; 0], "{name}");
    }
    let first = bed.backend("first").requests();
    assert_eq!(
        first[0].values("x-api-key"),
        [canary::token("key-", "first")]
    );
}

async fn in_the_router_an_internal_redirect_carries_no_key_to_the_next_backend() {
    redirected(Placement::Router).await;
}

async fn in_clusters_an_internal_redirect_carries_no_key_to_the_next_backend() {
    redirected(Placement::Clusters).await;
}

/// On its second pass the request has the first one's token where the TH-JWT was. It is no TH-JWT,
/// which whoever checks who asks will notice.
async fn an_internal_redirect_offers_no_exchanged_token_to_the_next_sts() {
    for placement in [Placement::Router, Placement::Clusters] {
        let bed = plan("redirects-sts")
            .placed(placement)
            .identified_only()
            .route(redirecting("redirected", "first-sts"))
            .start()
            .await;
        bed.embedded_as.set_session("", json!({}));
        let jwt = bed.login("alice", json!({}));
        let to = format!("http://{}/second-sts/after", bed.address());
        bed.backend("first-sts")
            .answer_with(302, &[("location", &to)]);
        let request = Request::get("/redirected/a")
            .bearer(&jwt)
            .header("host", bed.address().to_string());
        let reply = bed.http1().send(request).await;
        assert_eq!(reply.status, 401, "{placement:?}: {}", reply.text());
        let subject = bed.sts_named("one").requests()[0].parameter("subject_token");
        assert_eq!(subject, jwt);
        assert_eq!(bed.sts_named("two").calls(), 0, "{placement:?}");
        assert!(bed.backend("second-sts").requests().is_empty());
    }
}

async fn an_error_page_of_another_backend_gets_no_key() {
    let page = json!({
        "name": "envoy.filters.http.custom_response",
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.filters.http.custom_response.v3.CustomResponse",
            "custom_response_matcher": {"matcher_list": {"matchers": [{
                "predicate": {"single_predicate": {
                    "input": {
                        "name": "status",
                        "typed_config": {
                            "@type": "type.googleapis.com/envoy.type.matcher.v3.HttpResponseStatusCodeMatchInput",
                        },
                    },
                    "value_match": {"exact": "503"},
                }},
                "on_match": {"action": {
                    "name": "page",
                    "typed_config": {
                        "@type": "type.googleapis.com/envoy.extensions.http.custom_response.redirect_policy.v3.RedirectPolicy",
                        "redirect_action": {"path_redirect": "/second/page"},
                    },
                }},
            }]}},
        },
    });
    let bed = plan("redirects-page").filter(page).start().await;
    bed.embedded_as.set_session("", json!({}));
    let jwt = bed.login("alice", json!({}));
    bed.backend("first").answer_next([503]);
    let reply = bed
        .http1()
        .send(Request::get("/first/a").bearer(&jwt))
        .await;
    assert!(reply.is_from_backend(), "{} {}", reply.status, reply.text());
    let pages = bed.backend("second").requests_with("/second/page");
    assert_eq!(pages.len(), 1, "no page was fetched");
    for page in pages {
        for name in ["x-api-key", "authorization"] {
            assert_eq!(page.values(name), [""; 0], "{name}");
        }
    }
}

async fn retried_elsewhere(door: bool) {
    let weighted = |weights: [u32; 2]| {
        json!([
            {"name": "first", "weight": weights[0]}, {"name": "second", "weight": weights[1]},
        ])
    };
    let mut plan = plan("redirects-retry").route(json!({
        "match": {"prefix": "/weighted/"},
        "route": {
            "weighted_clusters": {"clusters": weighted([100, 1])},
            "retry_policy": {
                "retry_on": "5xx", "num_retries": 3, "refresh_cluster_on_retry": true,
                "retry_back_off": {"base_interval": "0.001s", "max_interval": "0.01s"},
            },
        },
    }));
    if !door {
        plan = plan.without_the_door();
    }
    let bed = plan.start().await;
    let jwt = bed.login("alice", json!({}));
    for round in 0..5 {
        bed.backend("first").answer_next([503]);
        let path = format!("/weighted/{round}");
        let reply = bed.http1().send(Request::get(&path).bearer(&jwt)).await;
        assert_eq!(reply.status, 200, "{}", reply.text());
    }
    let second = bed.backend("second").requests();
    assert!(!second.is_empty(), "no retry went to the other cluster");
    for request in second {
        for name in ["x-api-key", "authorization"] {
            assert_eq!(request.values(name), [""; 0], "{name} at {}", request.path);
        }
    }
}

async fn a_retry_at_another_cluster_carries_no_key() {
    retried_elsewhere(true).await;
}

async fn without_the_door_a_retry_at_another_cluster_carries_no_key() {
    retried_elsewhere(false).await;
}
