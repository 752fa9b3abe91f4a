//! When no call is made: breakers, pauses, and endpoints that want to be left alone.

use super::*;

#[test]
fn the_breaker_is_that_of_the_endpoint() {
    let mut engine = engine();
    for n in 0..5 {
        let key = called(acquire(&mut engine, n % 2, &format!("user-{n}"), 1, at(0)));
        completed(&mut engine, key, Answer::Reset, &at(0));
    }
    for exchange in [0, 1] {
        let stopped = acquire(&mut engine, exchange, "alice", 1, at(1));
        assert!(matches!(stopped, Acquired::Refuse(Stop::BreakerOpen(1))));
    }
    called(acquire(&mut engine, 2, "alice", 1, at(1)));
    assert_eq!(engine.crowd.all, 1, "who is refused does not wait");
}

/// Of eight calls five broke, so that the breaker opened, and its probe is under way: the other three, and
/// the probe.
fn probed() -> (Engine<u32>, Vec<Key>, Key) {
    let mut engine = engine();
    let mut early: Vec<Key> = (0..8)
        .map(|n| called(acquire(&mut engine, 0, &format!("user-{n}"), 1, at(0))))
        .collect();
    for key in early.drain(..5) {
        completed(&mut engine, key, Answer::Reset, &at(0));
    }
    let probe = called(acquire(&mut engine, 0, "alice", 1, at(1000)));
    (engine, early, probe)
}

#[test]
fn calls_from_before_the_breaker_opened_do_not_count_as_its_probe() {
    let (mut engine, early, probe) = probed();
    for key in early {
        completed(&mut engine, key, Answer::Reset, &at(1001));
    }
    let stopped = acquire(&mut engine, 0, "bob", 1, at(4000));
    assert!(matches!(stopped, Acquired::Refuse(Stop::BreakerOpen(1))));
    completed(&mut engine, probe, Answer::Reset, &at(4000));
    let stopped = acquire(&mut engine, 0, "bob", 1, at(4001));
    assert!(matches!(stopped, Acquired::Refuse(Stop::BreakerOpen(2))));
    called(acquire(&mut engine, 0, "bob", 1, at(6000)));
}

#[test]
fn an_early_answer_that_speaks_for_nobody_does_not_end_the_probe() {
    let (mut engine, early, probe) = probed();
    for key in early {
        completed(&mut engine, key, Answer::Http(408, None), &at(1001));
        let stopped = acquire(&mut engine, 0, "bob", 1, at(1001));
        assert!(matches!(stopped, Acquired::Refuse(Stop::BreakerOpen(1))));
    }
    completed(&mut engine, probe, Answer::Http(408, None), &at(1002));
    called(acquire(&mut engine, 0, "bob", 1, at(1002)));
}

#[test]
fn an_endpoint_that_wants_to_be_left_alone_is() {
    let mut engine = engine();
    let key = called(acquire(&mut engine, 0, "alice", 1, at(0)));
    let answer = Answer::HttpLater(429, None, Duration::from_secs(30));
    let completion = completed(&mut engine, key, answer, &at(0)).unwrap();
    let refusal = completion.result.unwrap_err().refusal;
    assert_eq!(refusal, Refusal::ExchangeUnavailable { retry_after: 30 });
    let stopped = acquire(&mut engine, 1, "bob", 1, at(10_000));
    assert!(matches!(stopped, Acquired::Refuse(Stop::BreakerOpen(20))));
    called(acquire(&mut engine, 2, "bob", 1, at(10_000)));
    called(acquire(&mut engine, 1, "bob", 1, at(30_000)));
}

#[test]
fn a_client_that_is_refused_again_and_again_pauses_and_nobody_elses() {
    let mut engine = engine();
    let refuse = |engine: &mut Engine<u32>, user: &str, millis: u64| {
        let key = called(acquire(engine, 0, user, 1, at(millis)));
        let answer = Answer::Http(401, Some(br#"{"error":"invalid_client"}"#));
        completed(engine, key, answer, &at(millis)).unwrap()
    };
    for n in 0..5 {
        refuse(&mut engine, &format!("user-{n}"), 0);
    }
    let paused = acquire(&mut engine, 0, "alice", 1, at(999));
    assert!(matches!(
        paused,
        Acquired::Refuse(Stop::Paused(Step::First))
    ));
    called(acquire(&mut engine, 1, "alice", 1, at(999)));
    // One try, and then for twice as long.
    refuse(&mut engine, "alice", 1000);
    let paused = acquire(&mut engine, 0, "alice", 1, at(2999));
    assert!(matches!(
        paused,
        Acquired::Refuse(Stop::Paused(Step::First))
    ));
    let key = called(acquire(&mut engine, 0, "alice", 1, at(3000)));
    let body = issued("tok", 300);
    completed(&mut engine, key, Answer::Http(200, Some(&body)), &at(3000));
    called(acquire(&mut engine, 0, "bob", 1, at(3001)));
}

#[test]
fn who_waited_for_a_probe_that_failed_is_told_of_the_next_pause() {
    let mut engine = engine();
    break_off(&mut engine, 0, 0);
    for (millis, next) in [(1000, 2), (3000, 4), (7000, 8)] {
        let probe = called(acquire(&mut engine, 0, "alice", 1, at(millis)));
        let completion = completed(&mut engine, probe, Answer::Reset, &at(millis)).unwrap();
        let refusal = completion.result.unwrap_err().refusal;
        assert_eq!(refusal, Refusal::ExchangeUnavailable { retry_after: next });
    }
}

#[test]
fn a_probe_that_could_not_be_signed_says_nothing_of_its_endpoint() {
    let mut engine = engine();
    break_off(&mut engine, 0, 0);
    let probe = called(acquire(&mut engine, 0, "alice", 1, at(1000)));
    completed(&mut engine, probe, Answer::Unsigned, &at(1000));
    called(acquire(&mut engine, 0, "bob", 1, at(1001)));
    let stopped = acquire(&mut engine, 0, "carol", 1, at(1001));
    assert!(
        matches!(stopped, Acquired::Refuse(Stop::BreakerOpen(1))),
        "one probe at a time"
    );
}

/// The client of the first exchange is refused.
fn refuse_client(engine: &mut Engine<u32>, times: u32, millis: u64) {
    for n in 0..times {
        let key = called(acquire(engine, 0, &format!("user-{n}"), 1, at(millis)));
        let answer = Answer::Http(401, Some(br#"{"error":"invalid_client"}"#));
        completed(engine, key, answer, &at(millis));
    }
}

#[test]
fn what_says_nothing_of_the_client_counts_neither_for_nor_against_it() {
    let body = issued("tok", 300);
    for (answer, is_paused) in [
        (Answer::Http(503, None), true),
        (Answer::TimedOut, true),
        (Answer::UnknownCluster, true),
        (Answer::Http(200, Some(b"{}")), true),
        (Answer::Http(200, Some(&body)), false),
    ] {
        let mut engine = engine();
        refuse_client(&mut engine, 4, 0);
        let key = called(acquire(&mut engine, 0, "alice", 1, at(0)));
        completed(&mut engine, key, answer, &at(0));
        refuse_client(&mut engine, 1, 0);
        let next = acquire(&mut engine, 0, "bob", 1, at(1));
        let stops = matches!(next, Acquired::Refuse(Stop::Paused(_)));
        assert_eq!(stops, is_paused, "{answer:?}: {next:?}");
    }
}

#[test]
fn the_try_after_a_pause_is_still_to_come_where_the_endpoints_breaker_stops_it() {
    let mut engine = engine();
    refuse_client(&mut engine, 5, 0);
    // The second exchange is with the same endpoint.
    break_off(&mut engine, 1, 500);
    let stopped = acquire(&mut engine, 0, "alice", 1, at(1200));
    assert!(matches!(stopped, Acquired::Refuse(Stop::BreakerOpen(1))));
    called(acquire(&mut engine, 0, "alice", 1, at(1500)));
}
