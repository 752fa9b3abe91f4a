//! Renewal ahead of expiry: nobody waits for it, and an STS that is away is no trouble as long as
//! the token in hand is good.

use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{Duration, Instant};

use bed::{Answer, Bed, canary};
use serde_json::json;

use crate::exchange_lane::{Lane, assert_refused, lanes, patient_lanes};
use crate::exchange_timeline::{Seen, Timeline};
use crate::trial::{SharedBed, trials};

trials!(
    "exchange_renewal":
    under_load_tokens_are_renewed_without_one_request_waiting,
    a_token_nobody_uses_is_not_renewed,
    while_the_sts_is_down_the_token_in_hand_serves_to_its_end_and_no_longer,
    a_refusal_at_renewal_ends_the_token,
    renewals_can_be_turned_off,
);

static BED: SharedBed = SharedBed::new();

const SKEW: Duration = Duration::from_secs(1);
/// `expires_in` of the tokens here.
const LIFE: u64 = 9;
/// How long such a token is used: its life but for the skew.
const USABLE: Duration = Duration::from_secs(8);
/// Renewals begin in the last fifth of it.
const UNTIL_RENEWAL: Duration = Duration::from_millis(6400);

async fn bed() -> &'static Bed {
    BED.get(|| {
        lanes(
            "exchange-renewal",
            &patient_lanes(["load", "idle", "down", "refused"]),
            json!({"tokenCache": {"expirySkew": "1s"}}),
        )
        .start()
    })
    .await
}

async fn under_load_tokens_are_renewed_without_one_request_waiting() {
    let lane = Lane::of(bed().await, "load");
    let jwt = lane.login("alice");
    // The STS is slow: whoever waited for it would be seen.
    let mut timeline = Timeline::with(lane, |number| {
        let token = canary::token("sts_", &format!("load-{number}"));
        Answer::json(200, &Answer::token_body(&token, json!(LIFE)))
            .after(Duration::from_millis(300))
    });
    let mut requests = 0;
    let mut longest_gap = Duration::ZERO;
    let mut last = Instant::now();
    while timeline.uses().last().is_none_or(|one| one.token < 2) {
        assert_eq!(
            timeline.send(lane, &jwt).await.status,
            200,
            "a request failed"
        );
        requests += 1;
        longest_gap = longest_gap.max(last.elapsed());
        last = Instant::now();
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    timeline.assert_never_used_after(USABLE);
    for token in [1, 2] {
        timeline.assert_not_renewed_before(token, UNTIL_RENEWAL);
    }
    if longest_gap > Duration::from_millis(400) {
        // The machine may have slept over a renewal, which has 1.2 s, and needs 0.3 s of them; the
        // next request then had to wait.
        return;
    }
    let renewed = lane.sts().calls() as u64 - 1;
    lane.expect_sts("refreshed", renewed).await;
    lane.expect_sts("ok", 1).await;
    lane.expect_sts("cache_hit", requests - 1).await;
    assert_eq!(lane.sts_count("joined").await, 0);
    lane.expect_outcome("exchanged", requests).await;
}

async fn a_token_nobody_uses_is_not_renewed() {
    let lane = Lane::of(bed().await, "idle");
    let mut timeline = Timeline::of(lane, json!(LIFE));
    let jwt = lane.login("alice");
    timeline.send(lane, &jwt).await;
    let end = timeline.first_use(0).answered.steady + USABLE;
    while Instant::now() < end {
        assert_eq!(timeline.calls(), 1, "renewed though nobody asked");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(timeline.send(lane, &jwt).await.status, 200);
    assert_eq!(timeline.calls(), 2);
    lane.expect_sts("ok", 2).await;
    assert_eq!(lane.sts_count("refreshed").await, 0);
}

async fn while_the_sts_is_down_the_token_in_hand_serves_to_its_end_and_no_longer() {
    let lane = Lane::of(bed().await, "down");
    let jwt = lane.login("alice");
    let status = Arc::new(AtomicU16::new(200));
    let (now, token) = (Arc::clone(&status), canary::token("sts_", "down-0"));
    let mut timeline = Timeline::with(lane, move |_| match now.load(Ordering::Relaxed) {
        200 => Answer::json(200, &Answer::token_body(&token, json!(LIFE))),
        status => Answer::raw(status, ""),
    });
    assert_eq!(timeline.send(lane, &jwt).await.status, 200);
    status.store(503, Ordering::Relaxed);
    let refused = loop {
        let reply = timeline.send(lane, &jwt).await;
        if reply.status != 200 {
            assert_refused(&reply, 503, "token_exchange_unavailable");
            break Seen::now();
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    assert!(
        refused.is_after(USABLE, timeline.first_use(0).sent),
        "refused with a good token in hand"
    );
    timeline.assert_never_used_after(USABLE);
    timeline.assert_not_renewed_before(1, UNTIL_RENEWAL);
    // One try a second: two in the last fifth, and the one that the refused request made.
    let calls = timeline.calls();
    assert!((2..=4).contains(&calls), "{calls} calls");

    status.store(200, Ordering::Relaxed);
    lane.get_ok(&jwt, "again").await;
}

async fn a_refusal_at_renewal_ends_the_token() {
    let lane = Lane::of(bed().await, "refused");
    let jwt = lane.login("alice");
    let token = canary::token("sts_", "refused-0");
    let mut timeline = Timeline::with(lane, move |number| match number {
        0 => Answer::json(200, &Answer::token_body(&token, json!(LIFE))),
        _ => Answer::error(400, "invalid_grant"),
    });
    let reply = loop {
        let reply = timeline.send(lane, &jwt).await;
        if reply.status != 200 {
            break reply;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    assert_refused(&reply, 401, "token_exchange_rejected");
    timeline.assert_not_renewed_before(1, UNTIL_RENEWAL);
    // The refusal is remembered, as that of any other call is.
    assert_refused(&lane.get(&jwt, "x").await, 401, "token_exchange_rejected");
    assert_eq!(timeline.calls(), 2);
    lane.expect_sts("rejected", 1).await;
}

async fn renewals_can_be_turned_off() {
    let cache = json!({"tokenCache": {"expirySkew": "1s", "refreshAhead": false}});
    let bed = lanes("exchange-no-renewal", &patient_lanes(["off"]), cache)
        .start()
        .await;
    let lane = Lane::of(&bed, "off");
    let jwt = lane.login("alice");
    let mut timeline = Timeline::of(lane, json!(4));
    while timeline.calls() < 2 {
        assert_eq!(timeline.send(lane, &jwt).await.status, 200);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    timeline.assert_not_called_before(1, Duration::from_secs(4) - SKEW);
    lane.expect_sts("ok", 2).await;
    assert_eq!(lane.sts_count("refreshed").await, 0);
}
