//! A request that Envoy itself sends on to another backend: what the filter has set for the first
//! one must not go along. (`check` calls such a configuration an error all the same.)

use bed::{Bed, Placement, PluginConfig, Reply, Request, bootstrap, canary};
use serde_json::{Value, json};
use std::net::SocketAddr;
use tokio::io::AsyncReadExt;
use tokio::net::TcpListener;

use crate::plugin;
use crate::trial::trials;

trials!("redirects":
    in_the_router_an_internal_redirect_carries_no_key_to_the_next_backend,
    in_clusters_an_internal_redirect_carries_no_key_to_the_next_backend,
    without_the_door_an_internal_redirect_carries_no_key_to_the_next_backend,
    an_internal_redirect_offers_no_exchanged_token_to_the_next_sts,
    behind_a_lenient_check_an_internal_redirect_offers_no_credential_to_the_next_sts,
    behind_a_lenient_check_an_error_page_offers_no_credential_to_the_next_sts,
    a_retry_after_an_error_may_exchange_the_identity_token_again,
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

fn config() -> PluginConfig {
    PluginConfig::Json(plugin::config(
        &["github"],
        json!({
            "first": plugin::header("X-API-Key", &canary::token("key-", "first")),
            "second": plugin::open(),
            "first-inject": plugin::inject("github"),
            "first-basic": plugin::header("authorization", &static_bearer()),
            "first-sts": exchange("one"),
            "second-sts": exchange("two"),
            "silent": exchange("one"),
        }),
    ))
}

fn plan(name: &str) -> bed::Plan {
    Bed::with(name, config())
        .sts("one")
        .sts("two")
        .backend("first")
        .backend("second")
        .backend("first-inject")
        .backend("first-basic")
        .backend("first-sts")
        .backend("second-sts")
}

/// A static key that looks like somebody's token.
fn static_bearer() -> String {
    format!("Bearer {}", canary::token("key-", "bearer"))
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

async fn redirected(placement: Placement, door: bool) {
    let mut plan = plan("redirects")
        .placed(placement)
        .route(redirecting("redirected", "first"));
    if !door {
        plan = plan.without_the_door();
    }
    let bed = plan.start().await;
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
    redirected(Placement::Router, true).await;
}

async fn in_clusters_an_internal_redirect_carries_no_key_to_the_next_backend() {
    redirected(Placement::Clusters, true).await;
}

/// The filter at the next backend takes off what it did not set itself.
async fn without_the_door_an_internal_redirect_carries_no_key_to_the_next_backend() {
    for placement in [Placement::Router, Placement::Clusters] {
        redirected(placement, false).await;
    }
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

/// Who checks lets whoever has no TH-JWT go on, and keeps what is in `authorization`: on the second pass
/// that is what the filter has set for the first backend. It is nobody's TH-JWT.
async fn behind_a_lenient_check_an_internal_redirect_offers_no_credential_to_the_next_sts() {
    for placement in Placement::ALL {
        let mut plan = plan("redirects-lenient").placed(placement);
        for first in FIRST {
            plan = plan.route(redirecting(&format!("to-{first}"), first));
        }
        let bed = plan.start().await;
        let jwt = asking_nobody_on_the_second_pass(&bed);
        for first in FIRST {
            let to = format!("http://{}/second-sts/after", bed.address());
            bed.backend(first).answer_with(302, &[("location", &to)]);
            let request = Request::get(&format!("/to-{first}/a"))
                .bearer(&jwt)
                .header("host", bed.address().to_string());
            let reply = bed.http1().send(request).await;
            assert_nothing_is_offered(&bed, placement, first, &reply);
        }
    }
}

/// The same for an error of the backend, and for one that Envoy reports because there is no answer.
async fn behind_a_lenient_check_an_error_page_offers_no_credential_to_the_next_sts() {
    let silent = closing().await;
    for placement in Placement::ALL {
        let filter = match placement {
            Placement::Clusters => vec![bootstrap::wasm_filter(&config(), &[])],
            _ => Vec::new(),
        };
        let bed = plan("redirects-lenient-page")
            .placed(placement)
            .cluster(bootstrap::cluster("silent", silent, false, &filter))
            .route(bootstrap::route_to("silent"))
            .filter(error_page("/second-sts/page"))
            .start()
            .await;
        let jwt = asking_nobody_on_the_second_pass(&bed);
        for first in FIRST.into_iter().chain(["silent"]) {
            if first != "silent" {
                bed.backend(first).answer_next([503]);
            }
            let request = Request::get(&format!("/{first}/a")).bearer(&jwt);
            let reply = bed.http1().send(request).await;
            assert_nothing_is_offered(&bed, placement, first, &reply);
        }
    }
}

/// Backends whose credential is in `authorization`: a user's, a user's exchanged, a static one.
const FIRST: [&str; 3] = ["first-inject", "first-sts", "first-basic"];

/// Somebody's TH-JWT; what is no TH-JWT is nobody's.
fn asking_nobody_on_the_second_pass(bed: &Bed) -> String {
    bed.embedded_as.set_session("", json!({}));
    bed.login("alice", json!({"github": canary::token("gho_", "alice")}))
}

#[track_caller]
fn assert_nothing_is_offered(bed: &Bed, placement: Placement, first: &str, reply: &Reply) {
    let what = format!("{placement:?}, {first}: {} {}", reply.status, reply.text());
    assert_eq!(bed.sts_named("two").calls(), 0, "offered, {what}");
    assert!(bed.backend("second-sts").requests().is_empty(), "{what}");
    // An error page keeps the status of the error.
    assert!([401, 503].contains(&reply.status), "{what}");
    assert_eq!(reply.json()["error"], "subject_token_missing", "{what}");
}

/// A backend that reads a request and closes.
async fn closing() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("an address");
    tokio::spawn(async move {
        loop {
            let mut stream = bed::accept(&listener).await;
            tokio::spawn(async move {
                let _ = stream.read(&mut [0; 4096]).await;
            });
        }
    });
    address
}

/// It is the same pass, and the TH-JWT the same.
async fn a_retry_after_an_error_may_exchange_the_identity_token_again() {
    for placement in [Placement::Router, Placement::Clusters] {
        let bed = plan("redirects-again")
            .placed(placement)
            .route(json!({
                "match": {"prefix": "/again/"},
                "route": {"cluster": "first-sts", "retry_policy": {
                    "retry_on": "retriable-status-codes", "retriable_status_codes": [401, 503],
                    "num_retries": 2,
                    "retry_back_off": {"base_interval": "0.001s", "max_interval": "0.01s"},
                }},
            }))
            .start()
            .await;
        let jwt = bed.login("alice", json!({}));
        bed.backend("first-sts").answer_next([503, 401]);
        let reply = bed
            .http1()
            .send(Request::get("/again/a").bearer(&jwt))
            .await;
        assert_eq!(reply.status, 200, "{placement:?}: {}", reply.text());
        let calls = bed.sts_named("one").requests();
        // The 401 has cost the token.
        assert_eq!(calls.len(), 2, "{placement:?}");
        for call in calls {
            assert_eq!(call.parameter("subject_token"), jwt, "{placement:?}");
        }
    }
}

/// Where a backend answers 503, the client gets the page at `path` instead.
fn error_page(path: &str) -> Value {
    json!({
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
                        "redirect_action": {"path_redirect": path},
                    },
                }},
            }]}},
        },
    })
}

async fn an_error_page_of_another_backend_gets_no_key() {
    let page = error_page("/second/page");
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
