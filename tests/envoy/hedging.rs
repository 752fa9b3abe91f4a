//! Two attempts of one request under way at once, both waiting for the same exchange.

use std::time::Duration;

use bed::{Answer, Bed, Placement, Request, canary};
use serde_json::{Value, json};

use crate::exchange_lane::{Lane, assert_refused, lanes, patient_lanes};
use crate::trial::trials;

trials!("hedging":
    in_the_router_a_refusal_of_both_leaves_envoy_alive,
    in_clusters_a_refusal_of_both_leaves_envoy_alive,
    in_the_router_both_carry_the_same_credential,
    in_clusters_both_carry_the_same_credential,
    a_client_that_brings_its_own_hedging_leaves_envoy_alive,
);

async fn start(placement: Placement) -> Bed {
    let hedged = json!({
        "match": {"prefix": "/hedged/"},
        "route": {
            "cluster": "hedged",
            "timeout": "0s",
            "retry_policy": {"retry_on": "5xx", "num_retries": 3, "per_try_timeout": "0.1s"},
            "hedge_policy": {"hedge_on_per_try_timeout": true},
        },
    });
    lanes("hedging", &patient_lanes(["hedged", "internal"]), json!({}))
        .placed(placement)
        .route(hedged)
        .manager(&json!({
            "use_remote_address": true,
            "internal_address_config": {
                "cidr_ranges": [{"address_prefix": "127.0.0.0", "prefix_len": 8}],
            },
        }))
        .start()
        .await
}

/// Waits until Envoy has started further attempts of the requests to this backend.
async fn hedged(bed: &Bed, backend: &str, attempts: u64) {
    let name = format!("cluster.{backend}.upstream_rq_retry");
    bed::eventually("attempts side by side", || async {
        (bed.envoy.stat(&name).await >= attempts).then_some(())
    })
    .await;
}

/// Envoy lives if it has never been another process, and serves.
async fn assert_alive(lane: Lane<'_>, pid: u32) {
    lane.sts().behave().expect("the STS's port");
    lane.get_ok(&lane.login("afterwards"), "alive").await;
    assert_eq!(lane.bed.envoy.pid(), pid);
    let state = lane.bed.envoy.admin_json("/server_info").await["state"].clone();
    assert_eq!(state, json!("LIVE"));
}

async fn refused(placement: Placement) {
    let bed = start(placement).await;
    let lane = Lane::of(&bed, "hedged");
    let pid = bed.envoy.pid();
    for round in 0..5u64 {
        lane.sts()
            .set_script(|_| Answer::error(400, "invalid_grant"));
        lane.sts().hold();
        let before = bed.envoy.stat("cluster.hedged.upstream_rq_retry").await;
        let jwt = lane.login(&format!("refused-{round}"));
        let request = lane.request(&jwt, "refused");
        let client = bed.http1();
        let sent = tokio::spawn(async move { client.try_send(request).await.ok() });
        hedged(&bed, "hedged", before + 2).await;
        lane.sts().release();
        let reply = sent
            .await
            .expect("no panic")
            .expect("an answer, from a living Envoy");
        assert_refused(&reply, 401, "token_exchange_rejected");
    }
    assert!(lane.backend().requests().is_empty());
    assert_alive(lane, pid).await;
}

async fn in_the_router_a_refusal_of_both_leaves_envoy_alive() {
    refused(Placement::Router).await;
}

async fn in_clusters_a_refusal_of_both_leaves_envoy_alive() {
    refused(Placement::Clusters).await;
}

async fn served(placement: Placement) {
    let bed = start(placement).await;
    let lane = Lane::of(&bed, "hedged");
    lane.sts().hold();
    let jwt = lane.login("served");
    let request = lane.request(&jwt, "served");
    let client = bed.http1();
    let sent = tokio::spawn(async move { client.try_send(request).await.ok() });
    hedged(&bed, "hedged", 2).await;
    lane.sts().release();
    let reply = sent.await.expect("no panic").expect("an answer");
    let token = crate::exchange_lane::exchanged(&reply);
    for attempt in lane.backend().requests() {
        assert_eq!(attempt.values("authorization"), [format!("Bearer {token}")]);
    }
    assert_eq!(lane.sts().calls(), 1, "one exchange for all attempts");
}

async fn in_the_router_both_carry_the_same_credential() {
    served(Placement::Router).await;
}

async fn in_clusters_both_carry_the_same_credential() {
    served(Placement::Clusters).await;
}

/// Who counts as internal for Envoy may ask for hedging by headers, without any policy of the
/// operator's.
async fn a_client_that_brings_its_own_hedging_leaves_envoy_alive() {
    let bed = start(Placement::Router).await;
    let lane = Lane::of(&bed, "internal");
    let pid = bed.envoy.pid();
    lane.sts()
        .set_script(|_| Answer::error(400, "invalid_grant"));
    lane.sts().hold();
    let subject = canary::token("corp_", "internal-hedger");
    let request = asking_for_hedging(lane.request(&lane.login_with(&subject), "x"));
    let client = bed.http1();
    let sent = tokio::spawn(async move { client.try_send(request).await.ok() });
    hedged(&bed, "internal", 1).await;
    lane.sts().release();
    let reply = sent
        .await
        .expect("no panic")
        .expect("an answer, from a living Envoy");
    assert_refused(&reply, 401, "token_exchange_rejected");
    assert_alive(lane, pid).await;
}

fn asking_for_hedging(request: Request) -> Request {
    let per_try = Duration::from_millis(100).as_millis().to_string();
    request
        .header("x-envoy-retry-on", "5xx")
        .header("x-envoy-max-retries", "3")
        .header("x-envoy-hedge-on-per-try-timeout", "true")
        .header("x-envoy-upstream-rq-per-try-timeout-ms", per_try)
        .header(
            "x-envoy-upstream-rq-timeout-ms",
            Value::from(60_000).to_string(),
        )
}
