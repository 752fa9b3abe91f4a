//! The breaker: an STS that does not answer is left alone for a while, and requests learn at once
//! that they have to come back later.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bed::{Answer, Bed, Reply, canary, eventually};
use serde_json::{Value, json};

use crate::exchange_lane::{Lane, assert_refused, lanes, patient};
use crate::trial::{SharedBed, trials};

trials!(
    "exchange_breaker":
    five_failures_in_a_row_open_it_and_one_success_closes_it,
    a_failed_probe_doubles_the_pause,
    every_kind_of_silence_counts,
    answers_do_not_count_whatever_they_say,
    it_belongs_to_one_endpoint,
    a_token_in_hand_serves_while_it_is_open,
    a_user_whom_the_sts_never_serves_stops_nobody_else,
);

static BED: SharedBed = SharedBed::new();

/// Failures in a row that open the breaker.
const THRESHOLD: usize = 5;
/// How long it stays open at first.
const FIRST_PAUSE: Duration = Duration::from_secs(1);

async fn bed() -> &'static Bed {
    BED.get(|| {
        let at = |url: &str| json!({"cluster": "sts-endpoint", "tokenUrl": url, "timeout": "60s"});
        let mut with_audience = at("http://localhost/one");
        with_audience["audience"] = json!("another");
        let patient = patient();
        // An endpoint that is reached with two timeouts.
        let at_kinds = |timeout: &str| json!({"cluster": "sts-kinds", "tokenUrl": "http://localhost/kinds", "timeout": timeout});
        let all: Vec<(&str, Value)> = vec![
            ("opens", patient.clone()),
            ("doubles", patient.clone()),
            ("kinds", at_kinds("60s")),
            ("kinds-impatient", at_kinds("200ms")),
            ("answers", patient.clone()),
            ("endpoint", at("http://localhost/one")),
            ("same-endpoint", with_audience),
            ("other-endpoint", at("http://localhost/two")),
            ("in-hand", patient.clone()),
            ("one-user", patient),
        ];
        lanes(
            "exchange-breaker",
            &all,
            json!({"tokenCache": {"negativeTtl": "0"}}),
        )
        .start()
    })
    .await
}

/// When the STS of a lane was called, in order.
#[derive(Clone)]
struct Calls(Arc<Mutex<Vec<Instant>>>);

impl Calls {
    /// Lets the lane's STS give this answer, and notes when it is called.
    fn answered(lane: Lane<'_>, answer: Answer) -> Self {
        let calls = Self(Arc::default());
        calls.answer(lane, answer);
        calls
    }

    /// Goes on with another answer.
    fn answer(&self, lane: Lane<'_>, answer: Answer) {
        let noted = self.clone();
        lane.sts().set_script(move |_| {
            noted
                .0
                .lock()
                .expect("no panic in here")
                .push(Instant::now());
            answer.clone()
        });
    }

    fn at(&self, number: usize) -> Instant {
        self.0.lock().expect("no panic in here")[number]
    }

    fn count(&self) -> usize {
        self.0.lock().expect("no panic in here").len()
    }
}

/// Sends requests until the STS has been called so often; each is refused as unavailable.
async fn refuse_until(lane: Lane<'_>, calls: &Calls, count: usize) -> usize {
    let mut sent = 0;
    while calls.count() < count {
        assert_refused(
            &lane.get(&lane.login("x"), "x").await,
            503,
            "token_exchange_unavailable",
        );
        sent += 1;
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    sent
}

fn good() -> Answer {
    Answer::token(&canary::token("sts_", "good"))
}

fn retry_after(reply: &Reply) -> u64 {
    reply
        .header("retry-after")
        .parse()
        .expect("a number of seconds")
}

async fn five_failures_in_a_row_open_it_and_one_success_closes_it() {
    let lane = Lane::of(bed().await, "opens");
    let calls = Calls::answered(lane, Answer::raw(500, ""));
    // Four failures and a success: nothing happens, however often.
    for round in 1..=2 {
        assert_eq!(
            refuse_until(lane, &calls, round * 5 - 1).await,
            THRESHOLD - 1
        );
        calls.answer(lane, good());
        lane.get_ok(&lane.login(&format!("good-{round}")), "x")
            .await;
        calls.answer(lane, Answer::raw(500, ""));
    }
    let before = calls.count();
    assert_eq!(
        refuse_until(lane, &calls, before + THRESHOLD).await,
        THRESHOLD
    );

    // Open: no call until the pause is over, and then one.
    let mut stopped = 0;
    lane.sts().hold();
    let jwt = lane.login("x");
    let probe = loop {
        // One request after the other, so that the one that waits is the probe.
        let mut request = Box::pin(lane.get(&jwt, "x"));
        let reply = tokio::select! {
            reply = &mut request => Some(reply),
            () = lane.sts().reached(before + THRESHOLD + 1) => None,
        };
        match reply {
            Some(reply) => {
                assert_refused(&reply, 503, "token_exchange_unavailable");
                assert_eq!(retry_after(&reply), 1);
                stopped += 1;
            }
            None => {
                // While the probe is under way, everybody else is stopped.
                for _ in 0..5 {
                    let reply = lane.get(&lane.login("y"), "x").await;
                    assert_refused(&reply, 503, "token_exchange_unavailable");
                    stopped += 1;
                }
                assert_eq!(calls.count(), before + THRESHOLD + 1, "one probe at a time");
                calls.answer(lane, good());
                break request;
            }
        }
    };
    let pause = calls.at(before + THRESHOLD) - calls.at(before + THRESHOLD - 1);
    assert!(pause >= FIRST_PAUSE, "a probe after {pause:?}");
    lane.expect_sts("breaker_open", stopped).await;

    // The probe's answer was chosen when it arrived: a failure; the next probe brings a token.
    lane.sts().release();
    assert_refused(&probe.await, 503, "token_exchange_unavailable");
    bed::eventually("a probe to go through", || async {
        (lane.get(&lane.login("z"), "x").await.status == 200).then_some(())
    })
    .await;
    for user in 0..10 {
        lane.get_ok(&lane.login(&format!("closed-{user}")), "x")
            .await;
    }
}

async fn a_failed_probe_doubles_the_pause() {
    let lane = Lane::of(bed().await, "doubles");
    let calls = Calls::answered(lane, Answer::raw(503, ""));
    assert_eq!(refuse_until(lane, &calls, THRESHOLD).await, THRESHOLD);
    for (probe, pause) in [(THRESHOLD, 1), (THRESHOLD + 1, 2)] {
        refuse_until(lane, &calls, probe + 1).await;
        let waited = calls.at(probe) - calls.at(probe - 1);
        assert!(
            waited >= Duration::from_secs(pause),
            "probe after {waited:?}, not {pause} s"
        );
    }
    // Four seconds to go, rounded up: unless the machine has slept over them.
    let reply = lane.get(&lane.login("x"), "x").await;
    let since = calls.at(THRESHOLD + 1).elapsed();
    if calls.count() == THRESHOLD + 2 && since < Duration::from_millis(900) {
        assert_eq!(retry_after(&reply), 4);
    }
}

async fn every_kind_of_silence_counts() {
    let kinds = Lane::of(bed().await, "kinds");
    let impatient = Lane::of(bed().await, "kinds-impatient");
    let calls_of = |lane: Lane<'_>| {
        let user = canary::token("corp_", &format!("{}-x", lane.name));
        let mut calls = kinds.sts().requests();
        calls.retain(|call| call.parameter("subject_token") == user);
        calls.len()
    };
    let mut last = Instant::now();
    // What breaks off before any answer is tried once more; both together count once.
    for (kind, lane, answer, status, calls) in [
        ("429", kinds, Answer::raw(429, ""), 503, 1),
        ("closed", kinds, Answer::close_before_headers(), 503, 2),
        (
            "truncated",
            kinds,
            Answer::token("sts_cAnArYcAnArY").truncated(),
            503,
            1,
        ),
        ("hanging", impatient, Answer::hang(), 504, 1),
        ("502", kinds, Answer::raw(502, ""), 503, 1),
    ] {
        let before = calls_of(lane);
        kinds.sts().set_script(move |_| answer.clone());
        last = Instant::now();
        let reply = lane.get(&lane.login("x"), "x").await;
        assert_eq!(reply.status, status, "{kind}");
        // What was given up may never have arrived.
        let least = calls - usize::from(status == 504);
        let called = calls_of(lane) - before;
        assert!((least..=calls).contains(&called), "{kind}: {called} calls");
    }
    let calls = calls_of(kinds);
    let reply = kinds.get(&kinds.login("x"), "x").await;
    if last.elapsed() < FIRST_PAUSE / 2 {
        assert_refused(&reply, 503, "token_exchange_unavailable");
        assert_eq!(calls_of(kinds), calls, "the sixth request called");
        kinds.expect_sts("breaker_open", 1).await;
    }
}

async fn answers_do_not_count_whatever_they_say() {
    let lane = Lane::of(bed().await, "answers");
    for answer in [
        Answer::error(400, "invalid_grant"),
        Answer::error(403, "access_denied"),
        Answer::raw(200, "nonsense"),
        Answer::error(400, "interaction_required"),
    ] {
        for _ in 0..THRESHOLD {
            lane.sts().answer_next(answer.clone());
            assert_ne!(lane.get(&lane.login("x"), "x").await.status, 200);
        }
    }
    lane.get_ok(&lane.login("x"), "x").await;
    assert_eq!(lane.sts().calls(), 4 * THRESHOLD + 1);
    assert_eq!(lane.sts_count("breaker_open").await, 0);
}

async fn it_belongs_to_one_endpoint() {
    let lane = Lane::of(bed().await, "endpoint");
    let same = Lane::of(bed().await, "same-endpoint");
    let other = Lane::of(bed().await, "other-endpoint");
    lane.sts().set_script(|request| match request.line() {
        "POST /one HTTP/1.1" => Answer::raw(503, ""),
        _ => Answer::token_for(request),
    });
    // Both backends of the endpoint fill the same breaker.
    let mut start = Instant::now();
    for n in 0..THRESHOLD {
        start = Instant::now();
        let lane = if n % 2 == 0 { lane } else { same };
        assert_refused(
            &lane.get(&lane.login("x"), "x").await,
            503,
            "token_exchange_unavailable",
        );
    }
    let calls = lane.sts().calls();
    let mut stopped = 0;
    for lane in [lane, same] {
        assert_refused(
            &lane.get(&lane.login("x"), "x").await,
            503,
            "token_exchange_unavailable",
        );
        stopped += 1;
    }
    if start.elapsed() < FIRST_PAUSE / 2 {
        assert_eq!(lane.sts().calls(), calls);
        lane.expect_sts("breaker_open", 1).await;
        same.expect_sts("breaker_open", stopped - 1).await;
    }
    // Another path at the same cluster has its own.
    other.get_ok(&other.login("x"), "x").await;
}

async fn a_token_in_hand_serves_while_it_is_open() {
    let lane = Lane::of(bed().await, "in-hand");
    let jwt = lane.login("alice");
    let token = lane.get_ok(&jwt, "x").await;
    let calls = Calls::answered(lane, Answer::raw(503, ""));
    refuse_until(lane, &calls, THRESHOLD).await;
    for _ in 0..5 {
        assert_eq!(lane.get_ok(&jwt, "x").await, token);
    }
    lane.expect_sts("cache_hit", 5).await;
}

/// Whoever fails alone is stopped alone, as soon as another's call has succeeded.
async fn a_user_whom_the_sts_never_serves_stops_nobody_else() {
    let lane = Lane::of(bed().await, "one-user");
    for (answer, status) in [
        (Answer::error(400, "unauthorized_client"), 502),
        (Answer::raw(500, ""), 503),
    ] {
        let mallory = canary::token("corp_", &format!("mallory-{status}"));
        let refused = mallory.clone();
        lane.sts().set_script(
            move |request| match request.parameter("subject_token") == refused {
                true => answer.clone(),
                false => Answer::token_for(request),
            },
        );
        let mallorys = lane.login_with(&mallory);
        for _ in 0..2 * THRESHOLD {
            assert_eq!(lane.get(&mallorys, "x").await.status, status);
        }
        // Somebody else is turned away until the pause is over, and then gets the probe, however
        // often Mallory asks.
        let turned_away = lane.login(&format!("first-{status}"));
        let served = eventually("somebody else to be served", || async {
            assert_eq!(lane.get(&mallorys, "x").await.status, status);
            let reply = lane.get(&turned_away, "x").await;
            (reply.status == 200).then_some(())
        });
        served.await;
        for n in 0..5 {
            assert_eq!(lane.get(&mallorys, "x").await.status, status);
            lane.get_ok(&lane.login(&format!("{status}-{n}")), "x")
                .await;
        }
    }
}
