//! One exchange for the whole Envoy, with four workers: what the STS sees of it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use bed::{Answer, Bed, Plan, PluginConfig, Reply, eventually};
use serde_json::{Value, json};

use crate::exchange_lane::{Lane, MARGIN, assert_refused, configuration, exchanged, lanes};
use crate::exchange_reload::{tripping, with_tripwire};
use crate::trial::{SharedBed, trials};

trials!(
    "sharing":
    a_thousand_requests_of_forty_users_cost_forty_calls,
    everybody_waits_for_one_slow_call,
    a_token_that_is_not_kept_serves_all_who_waited,
    a_refusal_is_told_to_all_who_waited_and_to_all_who_come,
    a_broken_call_is_told_to_all_who_waited,
    a_401_makes_all_workers_forget,
    an_endpoint_that_says_when_to_come_again_is_left_alone_by_all_workers,
    listener_updates_cost_no_call,
    a_vm_that_crashes_keeps_nobody_waiting_for_long,
    without_the_capabilities_each_worker_exchanges,
    who_does_not_want_to_share_does_not,
);

static BED: SharedBed = SharedBed::new();

const WORKERS: u32 = 4;
/// As many clients as come at once.
const CROWD: usize = 40;

fn plan(name: &str, all: &[(&str, Value)], rest: Value) -> Plan {
    lanes(name, all, rest).concurrency(WORKERS)
}

async fn bed() -> &'static Bed {
    BED.get(|| {
        // What is tested here takes as long as the machine is busy.
        let patient = json!({"timeout": "60s"});
        let all: Vec<_> = [
            "many", "slow", "once", "refused", "broken", "not-401", "later",
        ]
        .into_iter()
        .map(|name| (name, patient.clone()))
        .collect();
        // Refusals are remembered for longer than a test takes.
        let rest = json!({"tokenCache": {"negativeTtl": "5m"}});
        plan("sharing", &all, rest).start()
    })
    .await
}

/// A request of each of these users, all at once, each on a connection of its own.
async fn crowd(lane: Lane<'_>, jwts: &[String], path: &str) -> Vec<Reply> {
    let requests = jwts.iter().map(|jwt| {
        let (client, request) = (lane.bed.http1(), lane.request(jwt, path));
        tokio::spawn(async move { client.send(request).await })
    });
    let mut replies = Vec::new();
    for request in requests.collect::<Vec<_>>() {
        replies.push(request.await.expect("a client got its answer"));
    }
    replies
}

/// A crowd of one user, which the STS keeps waiting until everybody waits; with how many waited for
/// another worker.
async fn crowd_that_waits(lane: Lane<'_>, jwt: &str) -> (Vec<Reply>, u64) {
    lane.sts().hold();
    let jwts = vec![jwt.to_owned(); CROWD];
    let (replies, ()) = tokio::join!(crowd(lane, &jwts, "x"), async {
        eventually("everybody to wait", || async {
            let [joined, shared] = [lane.sts_count("joined"), lane.sts_count("shared")];
            (joined.await + shared.await == CROWD as u64 - 1).then_some(())
        })
        .await;
        lane.sts().release();
    });
    let shared = lane.sts_count("shared").await;
    assert!(shared > 0, "all {CROWD} connections came to one worker");
    (replies, shared)
}

async fn a_thousand_requests_of_forty_users_cost_forty_calls() {
    let lane = Lane::of(bed().await, "many");
    let users: Vec<String> = (0..40).map(|user| lane.login(&user.to_string())).collect();
    let mut tokens: BTreeMap<usize, BTreeSet<String>> = BTreeMap::new();
    for round in 0..25 {
        let replies = crowd(lane, &users, &round.to_string()).await;
        for (user, reply) in replies.iter().enumerate() {
            tokens.entry(user).or_default().insert(exchanged(reply));
        }
    }
    assert_eq!(lane.sts().calls(), 40);
    assert!(tokens.values().all(|of_user| of_user.len() == 1));
    let all: BTreeSet<_> = tokens.values().flatten().collect();
    assert_eq!(all.len(), 40, "each user has a token of their own");
    lane.expect_outcome("exchanged", 1000).await;
    lane.expect_sts("ok", 40).await;
    let mut without_a_call = 0;
    for result in ["joined", "cache_hit", "shared"] {
        without_a_call += lane.sts_count(result).await;
    }
    assert_eq!(without_a_call, 960);
    assert!(lane.sts_count("shared").await > 0);
}

async fn an_endpoint_that_says_when_to_come_again_is_left_alone_by_all_workers() {
    let lane = Lane::of(bed().await, "later");
    lane.sts()
        .set_script(|_| Answer::raw(429, "").header("retry-after", "60"));
    let reply = lane.get(&lane.login("first"), "x").await;
    assert_eq!(reply.status, 503);
    let users: Vec<String> = (0..CROWD)
        .map(|user| lane.login(&user.to_string()))
        .collect();
    for reply in crowd(lane, &users, "x").await {
        assert_eq!(reply.status, 503);
        let left: u64 = reply.header("retry-after").parse().expect("seconds");
        assert!((2..=60).contains(&left), "{left}");
    }
    assert_eq!(lane.sts().calls(), 1);
}

async fn everybody_waits_for_one_slow_call() {
    let lane = Lane::of(bed().await, "slow");
    let (replies, _) = crowd_that_waits(lane, &lane.login("alice")).await;
    let tokens: BTreeSet<_> = replies.iter().map(exchanged).collect();
    assert_eq!(tokens.len(), 1);
    assert_eq!(lane.sts().calls(), 1);
    lane.expect_sts("ok", 1).await;
}

async fn a_token_that_is_not_kept_serves_all_who_waited() {
    let lane = Lane::of(bed().await, "once");
    // Nobody says how long it lives.
    let token = json!({
        "access_token": bed::canary::token("sts_", "once"),
        "token_type": "Bearer",
        "issued_token_type": "urn:ietf:params:oauth:token-type:access_token",
    });
    lane.sts().set_script(move |_| Answer::json(200, &token));
    let jwt = lane.login("alice");
    let (replies, _) = crowd_that_waits(lane, &jwt).await;
    replies.iter().for_each(|reply| drop(exchanged(reply)));
    assert_eq!(lane.sts().calls(), 1);
    lane.get_ok(&jwt, "y").await;
    assert_eq!(lane.sts().calls(), 2);
}

async fn a_refusal_is_told_to_all_who_waited_and_to_all_who_come() {
    let lane = Lane::of(bed().await, "refused");
    lane.sts()
        .set_script(|_| Answer::error(400, "invalid_grant"));
    let jwt = lane.login("alice");
    let (replies, _) = crowd_that_waits(lane, &jwt).await;
    for reply in &replies {
        assert_refused(reply, 401, "token_exchange_rejected");
    }
    assert_eq!(lane.sts().calls(), 1);
    for reply in crowd(lane, &vec![jwt; CROWD], "y").await {
        assert_refused(&reply, 401, "token_exchange_rejected");
    }
    assert_eq!(lane.sts().calls(), 1, "within negativeTtl");
}

async fn a_broken_call_is_told_to_all_who_waited() {
    let lane = Lane::of(bed().await, "broken");
    lane.sts().set_script(|_| Answer::close_before_headers());
    let (replies, _) = crowd_that_waits(lane, &lane.login("alice")).await;
    for reply in &replies {
        assert_refused(reply, 503, "token_exchange_unavailable");
    }
    let calls = lane.sts().calls();
    assert!((1..=2).contains(&calls), "{calls} calls: once more at most");
}

async fn a_401_makes_all_workers_forget() {
    let lane = Lane::of(bed().await, "not-401");
    let calls = AtomicUsize::new(0);
    lane.sts().set_script(move |_| {
        let call = calls.fetch_add(1, Ordering::Relaxed);
        Answer::token(&bed::canary::token("sts_", &format!("call-{call}")))
    });
    let jwt = lane.login("alice");
    let jwts = vec![jwt.clone(); CROWD];
    let tokens: BTreeSet<_> = crowd(lane, &jwts, "x")
        .await
        .iter()
        .map(exchanged)
        .collect();
    assert_eq!(tokens.len(), 1);
    lane.backend().answer_next([401]);
    assert_eq!(lane.get(&jwt, "401").await.status, 401);
    // A tenth of a second, on a machine that is not busy.
    eventually("all workers to have dropped the token", || async {
        let now = crowd(lane, &jwts, "y").await;
        let now: BTreeSet<_> = now.iter().map(exchanged).collect();
        now.is_disjoint(&tokens).then_some(())
    })
    .await;
    assert_eq!(lane.sts().calls(), 2);
}

async fn listener_updates_cost_no_call() {
    let all = [("steady", json!({"timeout": "60s"}))];
    let bed = plan("sharing-updates", &all, json!({}))
        .reloadable()
        .start()
        .await;
    let lane = Lane::of(&bed, "steady");
    let jwts: Vec<_> = (0..CROWD)
        .map(|user| lane.login(&user.to_string()))
        .collect();
    for realm in ["first", "second", "third"] {
        let changed = configuration(&all, json!({"challenge": {"realm": realm}}));
        let (accepted, replies) = tokio::join!(
            bed.reconfigure(PluginConfig::Json(changed), &[]),
            crowd(lane, &jwts, realm)
        );
        assert!(accepted);
        replies.iter().for_each(|reply| drop(exchanged(reply)));
        let replies = crowd(lane, &jwts, realm).await;
        replies.iter().for_each(|reply| drop(exchanged(reply)));
    }
    // A listener that is replaced resets what it cannot drain: such a call is made again.
    assert_eq!(lane.sts().calls(), CROWD);
}

/// How long this machine has stood still: what was to come after that comes so much later.
struct Standstill {
    millis: Arc<AtomicU64>,
    watching: tokio::task::JoinHandle<()>,
}

impl Standstill {
    /// From now on.
    fn watched() -> Self {
        const LOOK: Duration = Duration::from_millis(50);
        let millis = Arc::new(AtomicU64::new(0));
        let sum = Arc::clone(&millis);
        let watching = tokio::spawn(async move {
            loop {
                let before = Instant::now();
                tokio::time::sleep(LOOK).await;
                let late = before.elapsed().saturating_sub(LOOK * 2).as_millis();
                sum.fetch_add(late as u64, Ordering::Relaxed);
            }
        });
        Self { millis, watching }
    }

    fn so_far(&self) -> Duration {
        Duration::from_millis(self.millis.load(Ordering::Relaxed))
    }
}

impl Drop for Standstill {
    fn drop(&mut self) {
        self.watching.abort();
    }
}

async fn a_vm_that_crashes_keeps_nobody_waiting_for_long() {
    let timeout = Duration::from_secs(10);
    let bed = plan(
        "sharing-crash",
        &[("crash", json!({"timeout": "10s"}))],
        json!({}),
    )
    .artifact(with_tripwire("sharing-crash"))
    .start()
    .await;
    let lane = Lane::of(&bed, "crash");
    let (alice, bob) = (lane.login("alice"), lane.login("bob"));
    let bobs = lane.get_ok(&bob, "before").await;
    lane.sts().hold();
    // Whatever comes over one connection comes to one worker.
    let connection = bed.http2();
    let leader = {
        let (client, request) = (connection.clone(), lane.request(&alice, "leader"));
        tokio::spawn(async move { client.try_send(request).await.map(|reply| reply.status) })
    };
    lane.sts().reached(2).await;
    let (started, standstill) = (Instant::now(), Standstill::watched());
    let mut others = tokio::task::JoinSet::new();
    for _ in 0..CROWD {
        let (client, request) = (bed.http1(), lane.request(&alice, "others"));
        others.spawn(async move { client.try_send(request).await });
    }
    eventually("everybody to wait", || async {
        let [joined, shared] = [lane.sts_count("joined"), lane.sts_count("shared")];
        (joined.await + shared.await == CROWD as u64).then_some(())
    })
    .await;
    let shared = lane.sts_count("shared").await;
    assert!(shared > 0, "all connections came to one worker");
    let tripped = connection
        .try_send(tripping(lane.request(&bob, "trip")))
        .await;
    if let Ok(reply) = tripped {
        assert!(!reply.is_from_backend());
    }
    lane.sts().release();
    let mut served = BTreeSet::new();
    let mut count = 0;
    loop {
        // Who waited in the VM that crashed may wait until Envoy's own timeout: nobody waits for them.
        let left = if count >= shared {
            Duration::from_millis(500)
        } else {
            let limit = timeout + Duration::from_secs(2) + MARGIN + standstill.so_far();
            limit.saturating_sub(started.elapsed())
        };
        let reply = match tokio::time::timeout(left, others.join_next()).await {
            Ok(Some(reply)) => reply.expect("no panic"),
            // The machine may have stood still meanwhile.
            Err(_) if count < shared && !left.is_zero() => continue,
            Ok(None) | Err(_) => break,
        };
        match reply {
            Ok(reply) if reply.status == 200 => {
                served.insert(exchanged(&reply));
                count += 1;
            }
            Ok(reply) => assert!(!reply.is_from_backend()),
            Err(_) => {}
        }
    }
    leader.abort();
    assert!(count >= shared, "{count} of {shared} served");
    assert_eq!(served.len(), 1);
    assert_eq!(lane.sts().calls(), 3, "bob's, and alice's twice");
    // The VM that took its place finds what the others have.
    for _ in 0..CROWD {
        eventually("the VM to be there again", || async {
            let reply = lane.get(&bob, "after").await;
            (reply.status == 200).then(|| assert_eq!(exchanged(&reply), bobs))
        })
        .await;
    }
    assert_eq!(lane.sts().calls(), 3);
}

/// As many calls as workers see one user, and each worker on its own.
async fn assert_on_their_own(lane: Lane<'_>) {
    let jwts = vec![lane.login("alice"); CROWD];
    let replies = crowd(lane, &jwts, "x").await;
    replies.iter().for_each(|reply| drop(exchanged(reply)));
    let calls = lane.sts().calls();
    assert!((2..=WORKERS as usize).contains(&calls), "{calls} calls");
    lane.expect_sts("ok", calls as u64).await;
    assert_eq!(lane.sts_count("shared").await, 0);
}

async fn without_the_capabilities_each_worker_exchanges() {
    let nothing = json!({"proxy_get_shared_data": null, "proxy_set_shared_data": null});
    let all = [("alone", json!({"timeout": "60s"}))];
    let bed = plan("sharing-without", &all, json!({}))
        .plugin_options(&json!({
            "capability_restriction_config": {"allowed_capabilities": nothing},
        }))
        .start()
        .await;
    assert_on_their_own(Lane::of(&bed, "alone")).await;
    let log = bed.envoy.log();
    let lines = log
        .lines()
        .filter(|line| line.contains("tokenCache.share:"));
    // Each VM says it of itself, that of the main thread and the one that tries the configuration too.
    let count = lines.count();
    assert!((1..=WORKERS as usize + 2).contains(&count), "{count} lines");
}

async fn who_does_not_want_to_share_does_not() {
    let all = [("alone", json!({"timeout": "60s"}))];
    let rest = json!({"tokenCache": {"share": false}});
    let bed = plan("sharing-off", &all, rest).start().await;
    assert_on_their_own(Lane::of(&bed, "alone")).await;
    assert!(!bed.envoy.log().contains("tokenCache.share:"));
}
