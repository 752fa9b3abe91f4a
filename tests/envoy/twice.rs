//! The filter more than once on one request, by retries or by two places: the same subject is read
//! each time, and what the filter itself has set is never taken for it.

use bed::{Bed, Placement, PluginConfig, Request};
use serde_json::{Value, json};

use crate::plugin;
use crate::trial::trials;

trials!("twice":
    in_the_router_each_retry_carries_a_token_exchanged_from_the_identity_token,
    in_clusters_each_retry_carries_a_token_exchanged_from_the_identity_token,
    in_two_places_the_identity_token_is_exchanged_once,
    from_the_header_a_second_attempt_would_find_the_wrong_subject_and_is_refused,
);

fn config() -> Value {
    let exchange = |name: &str, more: Value| {
        let mut exchange =
            json!({"tokenUrl": format!("http://localhost/{name}"), "cluster": "sts"});
        bed::bootstrap::merge(&mut exchange, &more);
        json!({"type": "token_exchange", "tokenExchange": exchange})
    };
    plugin::config(
        &["corp"],
        json!({
            "plain": exchange("plain", json!({})),
            "external": exchange(
                "external",
                json!({"externalTokenHeaderName": "X-Upstream-Token"}),
            ),
            "provider": exchange("provider", json!({
                "externalTokenHeaderName": "X-Upstream-Token", "subjectProviderName": "corp",
            })),
        }),
    )
}

const BACKENDS: [(&str, &str); 3] = [
    ("plain", "authorization"),
    ("external", "x-upstream-token"),
    ("provider", "x-upstream-token"),
];

fn plan(config: Value) -> bed::Plan {
    let plan = Bed::with("twice", PluginConfig::Json(config));
    BACKENDS.iter().fold(plan, |plan, (name, _)| {
        plan.backend(name).route(json!({
            "match": {"prefix": format!("/retried/{name}/")},
            "route": {
                "cluster": name,
                "retry_policy": {
                    "retry_on": "5xx", "num_retries": 3,
                    "retry_back_off": {"base_interval": "0.001s", "max_interval": "0.01s"},
                },
            },
        }))
    })
}

/// Sends a request for each backend, of which the first attempts fail: every attempt carries one
/// exchanged token, and the STS has seen one subject once.
async fn once(bed: &Bed, failures: usize) {
    for (backend, header) in BACKENDS {
        let calls = bed.sts.calls();
        let jwt = bed.login("alice", json!({"corp": format!("corp-{backend}")}));
        bed.backend(backend).answer_next(vec![503; failures]);
        let request = Request::get(&format!("/retried/{backend}/a")).bearer(&jwt);
        let reply = bed.http1().send(request).await;
        assert_eq!(reply.status, 200, "{backend}: {}", reply.text());
        let attempts = bed.backend(backend).requests();
        assert_eq!(attempts.len(), failures + 1, "{backend}");
        let token = attempts[0].values(header);
        assert_eq!(token.len(), 1, "{backend}: {token:?}");
        assert!(token[0].starts_with("Bearer sts_"), "{backend}: {token:?}");
        for attempt in attempts {
            assert_eq!(attempt.values(header), token, "{backend}");
            if header != "authorization" {
                assert_eq!(attempt.values("authorization"), [""; 0], "{backend}");
            }
        }
        let requests = bed.sts.requests();
        let [call] = &requests[calls..] else {
            panic!("{backend}: {} calls", requests.len() - calls)
        };
        let subject = call.parameter("subject_token");
        let expected = if backend == "provider" {
            "corp-provider".to_owned()
        } else {
            jwt
        };
        assert_eq!(subject, expected, "{backend}");
    }
}

async fn in_the_router_each_retry_carries_a_token_exchanged_from_the_identity_token() {
    once(&plan(config()).start().await, 2).await;
}

async fn in_clusters_each_retry_carries_a_token_exchanged_from_the_identity_token() {
    once(&plan(config()).placed(Placement::Clusters).start().await, 2).await;
}

/// An old installation left beside the new one: before the router and in it.
async fn in_two_places_the_identity_token_is_exchanged_once() {
    once(&plan(config()).also_downstream().start().await, 0).await;
    once(&plan(config()).also_downstream().start().await, 2).await;
}

async fn from_the_header_a_second_attempt_would_find_the_wrong_subject_and_is_refused() {
    let mut config = config();
    config["identity"] = json!({"tokenFrom": "authorization"});
    for placement in [Placement::Router, Placement::Clusters] {
        let bed = plan(config.clone())
            .placed(placement)
            .without_the_door()
            .start()
            .await;
        let jwt = bed.login("alice", json!({}));
        bed.backend("plain").answer_next([503, 503, 503]);
        let request = Request::get("/retried/plain/a").bearer(&jwt);
        // Whatever becomes of this one.
        bed.http1().send(request).await;
        for call in bed.sts.requests() {
            assert_eq!(call.parameter("subject_token"), jwt, "{placement:?}");
        }
        // From then on the filter knows where it is, and says what to write.
        let jwt = bed.login("bob", json!({}));
        let request = Request::get("/plain/b").bearer(&jwt);
        let reply = bed.http1().send(request).await;
        assert_eq!(reply.status, 500, "{placement:?}: {}", reply.text());
        assert_eq!(reply.json()["error"], "identity_unreadable");
        assert!(
            bed.envoy.log().contains("tokenFrom: filter_state"),
            "{placement:?}"
        );
    }
}
