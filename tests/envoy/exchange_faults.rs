//! An STS that is broken in every way that could be thought of: the client gets the status for it
//! in time, and the next request, which the STS answers well, goes through.

use std::io::Write;
use std::time::{Duration, Instant};

use bed::{Answer, Bed, Envoy, EnvoyOptions, Reply, Sts, bootstrap, canary};
use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::{Value, json};
use tokio::sync::OnceCell;

use crate::exchange_lane::{Lane, MARGIN, assert_refused, exchanged, lanes, patient};
use crate::trial::{SharedBed, trials};

trials!(
    "exchange_faults":
    a_broken_answer_is_answered_in_time_and_the_next_one_counts,
    a_slow_answer_is_waited_for_until_the_timeout,
    a_slow_answer_within_the_timeout_counts,
    a_504_of_the_sts_is_none_of_envoy_however_late_it_comes,
    a_limit_of_the_clusters_own_that_is_over_is_no_answer,
    refused_connections_are_answered_at_once,
    a_stopped_process_is_not_waited_for_longer_than_the_timeout,
    a_cluster_that_envoy_does_not_know_is_named_to_the_operator,
    a_cluster_without_endpoints_is_no_way_to_an_sts,
    faults_of_one_sts_are_no_faults_of_another,
);

static BED: SharedBed = SharedBed::new();
/// An STS in a process of its own, which can be stopped as a whole.
static FREEZER: OnceCell<Envoy> = OnceCell::const_new();

/// An STS whose cluster has a limit of its own.
static LIMITED: OnceCell<Sts> = OnceCell::const_new();

const PATIENT: Duration = Duration::from_secs(30);
const IMPATIENT: Duration = Duration::from_secs(1);
/// What the cluster with a limit of its own allows a call.
const LIMIT: Duration = Duration::from_millis(500);
/// How long the lane waits whose STS says at the very end that it cannot answer.
const UNTIL_LATE: Duration = Duration::from_secs(10);

async fn bed() -> &'static Bed {
    let freezer = FREEZER
        .get_or_init(start_freezer)
        .await
        .listener("main")
        .await;
    let limited = LIMITED
        .get_or_init(|| async { Sts::start().await.expect("a port for an STS") })
        .await;
    BED.get(|| {
        let mut all: Vec<(&str, Value)> = broken()
            .into_iter()
            .map(|(lane, ..)| (lane, json!({"timeout": "30s"})))
            .collect();
        all.extend(
            slow()
                .into_iter()
                .map(|(lane, _)| (lane, json!({"timeout": "1s"}))),
        );
        all.extend([
            ("slow-enough", json!({"timeout": "30s"})),
            ("late-504", json!({"timeout": format!("{UNTIL_LATE:?}")})),
            (
                "limited",
                json!({"timeout": "30s", "cluster": "limited-sts"}),
            ),
            ("refusing", json!({"timeout": "30s"})),
            ("frozen", json!({"timeout": "1s", "cluster": "freezer"})),
            ("unknown", json!({"timeout": "30s", "cluster": "nowhere"})),
            (
                "no-endpoints",
                json!({"timeout": "30s", "cluster": "empty"}),
            ),
            ("healthy", patient()),
            ("sick", json!({"timeout": "30s"})),
        ]);
        lanes("exchange-faults", &all, json!({}))
            .cluster(bootstrap::cluster("freezer", freezer, false, &[]))
            .cluster(limited_cluster(limited))
            .cluster(json!({
                "name": "empty",
                "type": "STATIC",
                "load_assignment": {"cluster_name": "empty", "endpoints": []},
            }))
            .start()
    })
    .await
}

/// Envoy itself gives up what takes longer here, whatever the call's own timeout is.
fn limited_cluster(sts: &Sts) -> Value {
    let mut cluster = bootstrap::cluster("limited-sts", sts.address(), false, &[]);
    let options = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions";
    cluster["typed_extension_protocol_options"][options]["common_http_protocol_options"] =
        json!({"max_stream_duration": format!("{}s", LIMIT.as_secs_f64())});
    cluster
}

/// An Envoy that issues one and the same token to everybody.
async fn start_freezer() -> Envoy {
    let token = Answer::token_body(&canary::token("sts_", "frozen"), json!(0));
    let route = json!({
        "match": {"prefix": "/"},
        "direct_response": {"status": 200, "body": {"inline_string": token.to_string()}},
    });
    let config = bootstrap::bootstrap(&[bootstrap::router()], &[route], &[]);
    Envoy::start(EnvoyOptions::new("exchange-freezer", config.to_string()))
        .await
        .unwrap_or_else(|error| panic!("{error}"))
}

fn good() -> Answer {
    Answer::token(&canary::token("sts_", "good"))
}

/// Answers that break at once, and what the client gets.
fn broken() -> Vec<(&'static str, Answer, u16, &'static str)> {
    let unavailable = "token_exchange_unavailable";
    let invalid = "token_exchange_invalid_response";
    vec![
        ("closed", Answer::close_before_headers(), 503, unavailable),
        ("reset", Answer::reset_before_headers(), 503, unavailable),
        (
            "reset-after-headers",
            good().reset_after_headers(),
            503,
            unavailable,
        ),
        ("truncated", good().truncated(), 503, unavailable),
        ("badly-chunked", good().badly_chunked(), 503, unavailable),
        ("not-http", Answer::garbage(), 503, unavailable),
        ("two-megabytes", good().repeated(2_000_000), 502, invalid),
        (
            "forty-megabytes",
            good().repeated(40_000_000),
            503,
            unavailable,
        ),
        ("gzip", gzipped(), 502, invalid),
        ("many-headers", many_headers(), 503, unavailable),
    ]
}

fn gzipped() -> Answer {
    let body = Answer::token_body(&canary::token("sts_", "gzip"), json!(60));
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder
        .write_all(body.to_string().as_bytes())
        .expect("memory");
    Answer::raw(200, encoder.finish().expect("memory"))
        .header("content-type", "application/json")
        .header("content-encoding", "gzip")
}

/// More header fields than Envoy takes.
fn many_headers() -> Answer {
    (0..500).fold(good(), |answer, n| answer.header(&format!("x-{n}"), "x"))
}

/// Answers that never end, or too late.
fn slow() -> Vec<(&'static str, Answer)> {
    vec![
        ("hanging", Answer::hang()),
        ("stalled", good().stalled()),
        ("dripping", good().dripping(Duration::from_millis(100))),
        ("late", good().after(Duration::from_secs(20))),
    ]
}

async fn a_broken_answer_is_answered_in_time_and_the_next_one_counts() {
    for (name, answer, status, code) in broken() {
        let lane = Lane::of(bed().await, name);
        lane.sts().set_script(move |_| answer.clone());
        let jwt = lane.login("alice");
        let reply = within(PATIENT, lane, &jwt).await;
        assert!(!reply.is_from_backend(), "{name}");
        assert_refused(&reply, status, code);
        assert!(lane.backend().requests().is_empty(), "{name}");
        lane.sts().set_script(Answer::token_for);
        lane.get_ok(&jwt, "next").await;
        lane.expect_outcome(code, 1).await;
        lane.expect_sts(code.trim_start_matches("token_exchange_"), 1)
            .await;
    }
}

async fn a_slow_answer_is_waited_for_until_the_timeout() {
    for (name, answer) in slow() {
        let lane = Lane::of(bed().await, name);
        lane.sts().set_script(move |_| answer.clone());
        let jwt = lane.login("alice");
        let (reply, elapsed) = soon(lane, &jwt).await;
        assert!(elapsed >= IMPATIENT.mul_f64(0.9), "{name}: {elapsed:?}");
        assert_refused(&reply, 504, "token_exchange_timeout");
        assert!(lane.backend().requests().is_empty(), "{name}");
        // On a busy machine the good answer may be late as well.
        lane.sts().set_script(Answer::token_for);
        eventually_served(lane, &jwt).await;
    }
}

async fn a_slow_answer_within_the_timeout_counts() {
    let lane = Lane::of(bed().await, "slow-enough");
    let token = canary::token("sts_", "slow");
    let answer = Answer::token(&token).dripping(Duration::from_millis(2));
    lane.sts().set_script(move |_| answer.clone());
    assert_eq!(lane.get_ok(&lane.login("alice"), "x").await, token);
}

/// It says what Envoy says whose timer has run out, and so late that no clock would tell them apart.
async fn a_504_of_the_sts_is_none_of_envoy_however_late_it_comes() {
    let lane = Lane::of(bed().await, "late-504");
    let late = Answer::raw(504, "upstream request timeout")
        .header("x-envoy-upstream-service-time", "7")
        .after(Duration::from_millis(9550));
    lane.sts().set_script(move |_| late.clone());
    let jwt = lane.login("alice");
    let mut unavailable = 0;
    // A machine that sleeps over what is left shows Envoy's own: then once more.
    for _ in 0..4 {
        let start = Instant::now();
        let reply = within(PATIENT, lane, &jwt).await;
        unavailable += u64::from(reply.status == 503);
        if start.elapsed() < UNTIL_LATE {
            assert_refused(&reply, 503, "token_exchange_unavailable");
            return lane.expect_sts("unavailable", unavailable).await;
        }
    }
    panic!("no answer came before {UNTIL_LATE:?}");
}

/// Its `max_stream_duration`: Envoy says so with a 408 of its own before there is an answer, and breaks
/// off one that has begun.
async fn a_limit_of_the_clusters_own_that_is_over_is_no_answer() {
    let lane = Lane::of(bed().await, "limited");
    let sts = LIMITED.get().expect("started with the bed");
    let jwt = lane.login("alice");
    let mut failures = 0;
    // A machine that sleeps over the limit before the answer has begun makes it one that has not:
    // then once more.
    loop {
        sts.set_script(|_| good().stalled());
        let reply = within(PATIENT / 3, lane, &jwt).await;
        failures += 1;
        if reply.status == 504 && failures < 3 {
            assert_refused(&reply, 504, "token_exchange_timeout");
            continue;
        }
        assert_refused(&reply, 503, "token_exchange_unavailable");
        break;
    }
    sts.set_script(|_| Answer::hang());
    let mut last = Instant::now();
    while failures < 5 {
        last = Instant::now();
        let reply = within(PATIENT / 3, lane, &jwt).await;
        assert_refused(&reply, 504, "token_exchange_timeout");
        let elapsed = last.elapsed();
        assert!(elapsed >= LIMIT.mul_f64(0.9), "{elapsed:?}");
        failures += 1;
    }
    // Five in a row: the breaker is open, unless the machine has slept over its pause of a second,
    // which began when the last call had met its limit.
    let calls = sts.calls();
    assert!(calls <= 5, "{calls} calls");
    let reply = lane.get(&jwt, "x").await;
    if last.elapsed() < LIMIT + IMPATIENT / 2 {
        assert_refused(&reply, 503, "token_exchange_unavailable");
        assert_eq!(sts.calls(), calls, "the sixth request called");
        lane.expect_sts("breaker_open", 1).await;
    }
    sts.set_script(Answer::token_for);
    eventually_served(lane, &jwt).await;
}

async fn refused_connections_are_answered_at_once() {
    let lane = Lane::of(bed().await, "refusing");
    let jwt = lane.login("alice");
    lane.sts().refuse().await.expect("the port");
    for calls in 1..=3 {
        let reply = within(PATIENT, lane, &jwt).await;
        assert_refused(&reply, 503, "token_exchange_unavailable");
        lane.expect_sts("unavailable", calls).await;
    }
    lane.sts().accept().expect("the port");
    lane.get_ok(&jwt, "next").await;
}

/// Continues a stopped process, also when the test fails.
struct Stopped(libc::pid_t);

impl Stopped {
    fn process(envoy: &Envoy) -> Self {
        let pid = libc::pid_t::try_from(envoy.pid()).expect("a process id");
        // SAFETY: plain system call; the child has not been waited for, so the id is its own.
        assert_eq!(unsafe { libc::kill(pid, libc::SIGSTOP) }, 0);
        Self(pid)
    }
}

impl Drop for Stopped {
    fn drop(&mut self) {
        // SAFETY: as above.
        unsafe { libc::kill(self.0, libc::SIGCONT) };
    }
}

async fn a_stopped_process_is_not_waited_for_longer_than_the_timeout() {
    let lane = Lane::of(bed().await, "frozen");
    let jwt = lane.login("alice");
    eventually_served(lane, &jwt).await;
    let stopped = Stopped::process(FREEZER.get().expect("started with the bed"));
    for _ in 0..2 {
        let (reply, _) = soon(lane, &jwt).await;
        assert_refused(&reply, 504, "token_exchange_timeout");
    }
    drop(stopped);
    eventually_served(lane, &jwt).await;
}

async fn a_cluster_that_envoy_does_not_know_is_named_to_the_operator() {
    let lane = Lane::of(bed().await, "unknown");
    let jwt = lane.login("alice");
    // It is no sign of a struggling STS, and opens no breaker.
    for _ in 0..8 {
        let reply = within(PATIENT, lane, &jwt).await;
        assert_refused(&reply, 503, "token_exchange_unavailable");
    }
    lane.expect_sts("unavailable", 8).await;
    lane.expect_outcome("token_exchange_unavailable", 8).await;
    assert_eq!(lane.sts_count("breaker_open").await, 0);
    let line = "token_exchange_unavailable: backend \"unknown\", provider \"corp\", STS cluster \
                \"nowhere\" (Envoy has no cluster of that name)";
    assert!(lane.bed.envoy.log().contains(line), "no such line");
    assert!(lane.backend().requests().is_empty());
}

async fn a_cluster_without_endpoints_is_no_way_to_an_sts() {
    let lane = Lane::of(bed().await, "no-endpoints");
    let jwt = lane.login("alice");
    let reply = within(PATIENT, lane, &jwt).await;
    assert_refused(&reply, 503, "token_exchange_unavailable");
    lane.expect_outcome("token_exchange_unavailable", 1).await;
    assert!(lane.backend().requests().is_empty());
}

async fn faults_of_one_sts_are_no_faults_of_another() {
    let sick = Lane::of(bed().await, "sick");
    let healthy = Lane::of(bed().await, "healthy");
    sick.sts().hold();
    let jwt = sick.login("alice");
    let waiting = (0..20)
        .map(|n| sick.request(&jwt, &n.to_string()))
        .collect();
    let (replies, ()) = tokio::join!(sick.all_at_once(waiting), async {
        sick.expect_sts("joined", 19).await;
        for user in 0..5 {
            healthy.get_ok(&healthy.login(&user.to_string()), "x").await;
        }
        sick.sts().release();
    });
    assert!(replies.iter().all(|reply| reply.status == 200));
}

/// Sends a request whose answer must be there when the timeout is over, give or take a busy machine.
async fn within(timeout: Duration, lane: Lane<'_>, jwt: &str) -> Reply {
    tokio::time::timeout(timeout + MARGIN, lane.get(jwt, "x"))
        .await
        .unwrap_or_else(|_| panic!("{}: no answer after {timeout:?}", lane.name))
}

/// Sends a request that is answered when a short timeout is over; how long that took is the other
/// answer. A machine that stops for seconds may be late once, but hardly each of three times.
async fn soon(lane: Lane<'_>, jwt: &str) -> (Reply, Duration) {
    for _ in 0..3 {
        let start = Instant::now();
        let sent = lane.get(jwt, "x");
        if let Ok(reply) = tokio::time::timeout(IMPATIENT + MARGIN, sent).await {
            return (reply, start.elapsed());
        }
    }
    panic!("{}: three times no answer after {IMPATIENT:?}", lane.name);
}

/// Where the timeout is short, a good answer may come too late now and then.
async fn eventually_served(lane: Lane<'_>, jwt: &str) {
    bed::eventually("a request to go through", || async {
        let reply = lane.get(jwt, "next").await;
        let served = reply.status == 200;
        if served {
            exchanged(&reply);
        } else {
            assert!([503, 504].contains(&reply.status), "{}", reply.status);
        }
        served.then_some(())
    })
    .await;
}
