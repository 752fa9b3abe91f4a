//! The filter's own calls, where the cluster that they go to has the filter too: an API and its
//! token endpoint on one host, or the filter put into every cluster.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bed::{Answer, Bed, Placement, PluginConfig, Request, canary};
use serde_json::{Value, json};

use crate::exchange_lane::exchanged;
use crate::plugin;
use crate::trial::trials;

trials!("own_calls":
    in_clusters_they_pass_by_a_filter_that_has_no_strategy_for_the_sts,
    in_clusters_they_pass_by_a_filter_that_would_take_everything_off,
    in_clusters_they_pass_by_a_filter_that_would_set_a_key,
    in_clusters_they_pass_by_a_filter_that_would_exchange_itself,
    in_clusters_they_pass_by_it_once_more_where_the_sts_has_a_retry_policy from 40,
    in_the_router_they_pass_by_it,
);

fn exchange() -> Value {
    json!({"type": "token_exchange", "tokenExchange": {
        "tokenUrl": "http://localhost/token",
        "cluster": "sts",
        "clientId": "envoy",
        "clientSecretEnv": "STS_CLIENT_SECRET",
        "subjectProviderName": "corp",
    }})
}

/// The STS's cluster has the filter, and this strategy if any.
async fn untouched(placement: Placement, for_sts: Option<Value>) {
    let secret = canary::token("", "own-calls");
    let mut backends = json!({"api": exchange()});
    if let Some(strategy) = for_sts {
        backends["sts"] = strategy;
    }
    let bed = Bed::with(
        "own-calls",
        PluginConfig::Json(plugin::config(&["corp"], backends)),
    )
    .placed(placement)
    .filter_at_sts()
    .environment("STS_CLIENT_SECRET", &secret)
    .backend("api")
    .start()
    .await;
    for user in ["alice", "bob"] {
        let subject = canary::token("corp_", user);
        let jwt = bed.login(user, json!({"corp": subject}));
        let client = bed.http1();
        let sending = client.send(Request::get("/api/a").bearer(&jwt));
        // A worker that has met itself spins for ever.
        let reply = tokio::time::timeout(Duration::from_secs(30), sending)
            .await
            .expect("an answer, from a worker that is not frozen");
        exchanged(&reply);
        let calls = bed.sts.requests();
        let call = calls.last().expect("a call");
        assert_eq!(call.parameter("subject_token"), subject);
        let basic = STANDARD.encode(format!("envoy:{secret}"));
        assert_eq!(call.header("authorization"), format!("Basic {basic}"));
        assert_eq!(call.header("x-key"), "");
    }
    assert_eq!(bed.sts.calls(), 2);
}

async fn in_clusters_they_pass_by_a_filter_that_has_no_strategy_for_the_sts() {
    untouched(Placement::Clusters, None).await;
}

async fn in_clusters_they_pass_by_a_filter_that_would_take_everything_off() {
    untouched(Placement::Clusters, Some(plugin::open())).await;
}

async fn in_clusters_they_pass_by_a_filter_that_would_set_a_key() {
    let key = plugin::header("x-key", &canary::token("key-", "own-calls"));
    untouched(Placement::Clusters, Some(key)).await;
}

async fn in_clusters_they_pass_by_a_filter_that_would_exchange_itself() {
    untouched(Placement::Clusters, Some(exchange())).await;
}

async fn in_clusters_they_pass_by_it_once_more_where_the_sts_has_a_retry_policy() {
    let secret = canary::token("", "own-retries");
    let key = plugin::header("authorization", "Basic a2V5");
    for (number, for_sts) in [Some(key), None].into_iter().enumerate() {
        let mut backends = json!({"api": exchange()});
        if let Some(strategy) = for_sts {
            backends["sts"] = strategy;
        }
        let name = format!("own-retries-{number}");
        let bed = Bed::with(
            &name,
            PluginConfig::Json(plugin::config(&["corp"], backends)),
        )
        .placed(Placement::Clusters)
        .filter_at_sts()
        .retries_at_sts()
        .environment("STS_CLIENT_SECRET", &secret)
        .backend("api")
        .start()
        .await;
        bed.sts.answer_next(Answer::raw(503, ""));
        let jwt = bed.login("alice", json!({"corp": canary::token("corp_", "alice")}));
        exchanged(&bed.http1().send(Request::get("/api/a").bearer(&jwt)).await);
        let calls = bed.sts.requests();
        assert_eq!(calls.len(), 2, "the STS's cluster tries once more");
        let basic = STANDARD.encode(format!("envoy:{secret}"));
        for call in calls {
            assert_eq!(call.header("authorization"), format!("Basic {basic}"));
        }
    }
}

async fn in_the_router_they_pass_by_it() {
    untouched(Placement::Router, Some(plugin::open())).await;
}
