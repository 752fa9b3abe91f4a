//! Two workers of one Envoy: what one of them does while the other calls.

use super::super::super::shared::Shared;
use super::super::super::shared::testing::Values;
use super::*;

/// A worker of those that share `values`.
fn worker(values: &Values, seed: u64, exchanges: Vec<Exchange>) -> Engine<u32> {
    let policy = CachePolicy::default();
    let shared = Shared::open(Box::new(values.clone()), &policy, [7; 16]).unwrap();
    let mut engine = Engine::new(exchanges, policy, seed);
    engine.share(shared);
    engine
}

fn two() -> (Values, Engine<u32>, Engine<u32>) {
    let values = Values::default();
    let [one, other] = [1, 2].map(|seed| worker(&values, seed, vec![exchange("a", "sts")]));
    (values, one, other)
}

/// Nothing has become of what is waited for.
#[track_caller]
fn assert_waits(engine: &mut Engine<u32>, millis: u64) {
    let polled = engine.poll(&at(millis));
    assert!(polled.done.is_empty() && polled.calls.is_empty());
}

/// What has become of it.
#[track_caller]
fn told(engine: &mut Engine<u32>, millis: u64) -> Completion<u32> {
    let mut polled = engine.poll(&at(millis));
    assert!(polled.calls.is_empty(), "a call of its own");
    polled.done.pop().expect("nothing is told")
}

#[test]
fn who_waits_for_another_workers_call_need_not_be_let_to_one_of_its_own() {
    let (_, mut one, mut other) = two();
    break_off(&mut other, 0, 0);
    called(acquire(&mut one, 0, "alice", 1, at(100)));
    let waits = acquire(&mut other, 0, "alice", 1, at(100));
    assert!(matches!(waits, Acquired::Join(_)), "{waits:?}");
    let stopped = acquire(&mut other, 0, "bob", 1, at(100));
    assert!(matches!(stopped, Acquired::Refuse(Stop::BreakerOpen(1))));
}

#[test]
fn a_call_that_ends_before_anybody_looks_after_it_is_told_to_those_who_waited() {
    let (_, mut one, mut other) = two();
    let key = called(acquire(&mut one, 0, "alice", 1, at(0)));
    let waits = acquire(&mut other, 0, "alice", 7, at(1));
    assert!(matches!(waits, Acquired::Join(_)), "{waits:?}");
    let answer = Answer::Http(400, Some(br#"{"error":"invalid_client"}"#));
    completed(&mut one, key, answer, &at(2));
    let completion = told(&mut other, 3);
    assert_eq!(completion.waiting, [7]);
    let refusal = completion.result.unwrap_err().refusal;
    assert_eq!(refusal, Refusal::ExchangeMisconfigured);
}

/// Each configuration that comes makes the call anew.
#[test]
fn who_has_waited_for_two_calls_of_others_waits_no_longer() {
    let (values, mut one, mut other) = two();
    called(acquire(&mut one, 0, "alice", 1, at(0)));
    acquire(&mut other, 0, "alice", 7, at(0));
    for (seed, millis) in [(3, 6000), (4, 12_000)] {
        assert_waits(&mut other, millis - 1);
        one.retire();
        one = worker(&values, seed, vec![exchange("a", "sts")]);
        called(acquire(&mut one, 0, "alice", 1, at(millis)));
        assert_waits(&mut other, millis);
    }
    assert_waits(&mut other, 13_999);
    let completion = told(&mut other, 14_000);
    assert_eq!(completion.waiting, [7]);
    let refusal = completion.result.unwrap_err().refusal;
    assert_eq!(refusal, Refusal::ExchangeTimeout);
}

#[test]
fn a_probe_that_another_workers_renewal_makes_needless_is_left_to_the_next() {
    let (_, mut one, mut other) = two();
    let key = called(acquire(&mut one, 0, "alice", 1, at(0)));
    let body = issued("tok", 100);
    completed(&mut one, key, Answer::Http(200, Some(&body)), &at(0));
    assert!(renewal(&mut other, "alice", 1).is_none());
    break_off(&mut other, 0, 73_000);
    assert!(renewal(&mut one, "alice", 75_000).is_some());
    assert!(renewal(&mut other, "alice", 75_000).is_none());
    called(acquire(&mut other, 0, "bob", 1, at(75_000)));
}

#[test]
fn a_backends_own_terms_hold_for_what_another_worker_has_obtained() {
    let values = Values::default();
    let mut brief = exchange("a", "sts");
    brief.terms.max_age = Some(Duration::from_secs(20));
    let [mut one, mut early, mut late] =
        [1, 2, 3].map(|seed| worker(&values, seed, vec![brief.clone()]));
    let key = called(acquire(&mut one, 0, "alice", 1, at(0)));
    let body = issued("tok", 300);
    completed(&mut one, key, Answer::Http(200, Some(&body)), &at(0));
    // A fifth of the twenty seconds stays unused.
    assert!(renewal(&mut early, "alice", 12_000).is_none());
    let last = acquire(&mut early, 0, "alice", 1, at(15_999));
    assert!(matches!(last, Acquired::Token { .. }), "{last:?}");
    for worker in [&mut early, &mut late] {
        let over = acquire(worker, 0, "alice", 1, at(16_000));
        assert!(!matches!(over, Acquired::Token { .. }), "{over:?}");
    }
}

#[test]
fn what_is_overdue_is_looked_for_twenty_times_a_second_while_others_are_waited_for() {
    let (_, mut one, mut other) = two();
    called(acquire(&mut one, 0, "alice", 1, at(0)));
    acquire(&mut other, 0, "alice", 7, at(0));
    called(acquire(&mut other, 0, "bob", 8, at(0)));
    called(acquire(&mut other, 0, "carol", 9, at(40)));
    for (millis, ended) in [
        (6000, None),
        (6950, None),
        (6999, None),
        (7000, Some(8)),
        (7049, None),
        (7050, Some(9)),
    ] {
        let over = other.tick(&at(millis));
        let waiting = over.into_iter().flat_map(|completion| completion.waiting);
        assert_eq!(
            waiting.collect::<Vec<_>>(),
            Vec::from_iter(ended),
            "{millis}"
        );
    }
}

#[test]
fn a_401_within_ten_seconds_of_the_last_takes_the_new_token_from_nobody() {
    let (_, mut one, mut other) = two();
    let mut refused_at = |millis: u64, token: &str| {
        let key = called(acquire(&mut one, 0, "alice", 1, at(millis)));
        let issued = issued(token, 3600);
        completed(&mut one, key, Answer::Http(200, Some(&issued)), &at(millis));
        let Acquired::Token { used, .. } = acquire(&mut one, 0, "alice", 1, at(millis)) else {
            panic!("not held");
        };
        one.unauthorized(&used, &at(millis + 100))
    };
    assert!(refused_at(0, "first"));
    assert!(!refused_at(1000, "second"));
    let served = acquire(&mut other, 0, "alice", 2, at(2000));
    assert!(matches!(served, Acquired::Token { .. }), "{served:?}");
}
