//! What a worker does with the store as a whole: what it hears of, and what it sweeps.

use super::testing::Values;
use super::*;
use crate::time::Clocks;
use crate::token::BearerToken;

fn at(seconds: u64) -> Clocks {
    Clocks::at(Duration::from_secs(1000 + seconds))
}

fn worker(values: &Values) -> Shared {
    Shared::open(Box::new(values.clone()), &CachePolicy::default(), [7; 16]).unwrap()
}

fn address(subject: &str) -> Address {
    Address {
        key: subject.as_bytes().into(),
        digest: sha256(subject.as_bytes()),
    }
}

/// The token of `user` is obtained, and ends then.
fn obtain(worker: &Shared, user: &str, ends: u64) {
    let token = Token {
        token: BearerToken::new(user.as_bytes().to_vec()).unwrap(),
        serial: 1,
        asked: at(0),
        expires: at(ends).wall,
        forgot_before: None,
    };
    let outcome = Outcome::Token(token);
    let settled = worker.settle(&address(user), ClaimId(1), &outcome, &at(0));
    assert_eq!(settled, Ok(Settled::default()));
}

fn has_token(worker: &Shared, user: &str) -> bool {
    let seen = worker.look(&address(user), None, &|_| true, at(0).steady);
    matches!(seen, Ok(Seen::Token(_)))
}

/// Sweeps all that there can be.
fn sweep(worker: &mut Shared, seconds: u64) {
    for _ in 0..MAX_BUCKETS / SWEPT_AT_ONCE {
        worker.sweep(&at(seconds)).unwrap();
    }
}

#[test]
fn each_worker_hears_once_of_what_is_dropped_while_it_is_there() {
    let values = Values::default();
    let (mut first, mut second) = (worker(&values), worker(&values));
    let now = at(0).steady;
    first.forget(&address("alice"), 1, false, now).unwrap();
    assert_eq!(second.news(), Ok(News::Dropped(vec![1])));
    assert_eq!(second.news(), Ok(News::None));
    second.forget(&address("bob"), 2, false, now).unwrap();
    assert_eq!(second.news(), Ok(News::Dropped(vec![2])));
    assert_eq!(first.news(), Ok(News::Dropped(vec![1, 2])));
    assert_eq!(first.news(), Ok(News::None));
    assert_eq!(worker(&values).news(), Ok(News::None), "who comes later");
}

#[test]
fn a_sweep_leaves_what_has_not_ended_and_nothing_of_what_has() {
    let values = Values::default();
    let mut worker = worker(&values);
    obtain(&worker, "alice", 100);
    obtain(&worker, "bob", 200);
    for (seconds, alice, bob) in [(99, true, true), (100, false, true), (200, false, false)] {
        sweep(&mut worker, seconds);
        assert_eq!(has_token(&worker, "alice"), alice, "{seconds}");
        assert_eq!(has_token(&worker, "bob"), bob, "{seconds}");
    }
    for (slot, (value, _)) in values.all() {
        assert!(slot == Slot::Seed || value.is_empty(), "{slot:?}");
    }
}

#[test]
fn what_another_build_has_left_is_swept_and_nothing_is_written_that_is_so_already() {
    let values = Values::default();
    let mut worker = worker(&values);
    obtain(&worker, "alice", 100);
    let of_another = Slot::Bucket(MAX_BUCKETS - 1);
    values.leave(of_another, b"a token of another build");
    sweep(&mut worker, 50);
    let swept = values.all();
    assert_eq!(swept[&of_another], (vec![], 2));
    assert!(has_token(&worker, "alice"));
    sweep(&mut worker, 50);
    assert_eq!(values.all(), swept);
}
