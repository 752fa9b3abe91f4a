//! The protocol's transitions, one at a time.

mod ends;
mod room;

use super::*;
use crate::exchange::answer::{Check, Detail, FailureKind, StsError};
use crate::exchange::digest::{sha256, sha256_base64url};
use crate::exchange::settings::Step;
use crate::refusal::StepUp;
use crate::time::Clocks;
use std::rc::Rc;
use std::time::Duration;

const FORMAT: &[u8; 8] = b"a format";
const BOUNDS: Bounds = Bounds {
    entries: 4,
    refusals: 1,
    bytes: 4000,
    passing: 600,
};

fn address(subject: &str) -> Address {
    let digest = sha256(subject.as_bytes());
    let key = subject.as_bytes().into();
    Address { key, digest }
}

fn at(seconds: u64) -> Clocks {
    Clocks::at(Duration::from_secs(1000 + seconds))
}

fn bearer(text: &str) -> BearerToken {
    BearerToken::new(text.as_bytes().to_vec()).unwrap()
}

fn token(text: &str, serial: u64, asked: u64) -> Token {
    Token {
        token: bearer(text),
        serial,
        asked: at(asked),
        expires: at(asked + 100).wall,
        forgot_before: None,
    }
}

fn failure(kind: FailureKind) -> Failure {
    Failure::new(kind, Detail::None)
}

/// Nobody else is told.
fn failed(failure: Failure) -> Outcome {
    Outcome::Failed {
        failure,
        drops: false,
        until: None,
    }
}

fn look(bucket: &Bucket, subject: &str, waited_for: Option<u64>, seconds: u64) -> Seen {
    let usable = |token: &Token| at(seconds).wall < token.expires;
    bucket.look(
        &address(subject),
        waited_for.map(ClaimId),
        &usable,
        at(seconds).steady,
        Compares::Whole,
    )
}

fn settle(bucket: &mut Bucket, subject: &str, claim: u64, outcome: &Outcome, now: u64) -> Settled {
    let claim = ClaimId(claim);
    bucket.settle(&address(subject), claim, outcome, at(now), &BOUNDS)
}

fn claim(bucket: &mut Bucket, subject: &str, id: u64, now: u64) -> bool {
    let ends = at(now + 7).steady;
    bucket.claim(
        &address(subject),
        ClaimId(id),
        ends,
        at(now).steady,
        &BOUNDS,
    )
}

#[test]
fn a_claim_keeps_others_waiting_until_it_is_settled_or_runs_out() {
    let mut bucket = Bucket::default();
    assert_eq!(look(&bucket, "alice", None, 0), Seen::Nothing(None));
    assert!(claim(&mut bucket, "alice", 1, 0));
    assert_eq!(look(&bucket, "alice", None, 6), Seen::Claimed(ClaimId(1)));
    assert_eq!(look(&bucket, "bob", None, 6), Seen::Nothing(None));
    assert_eq!(look(&bucket, "alice", None, 7), Seen::Nothing(None));
    let outcome = Outcome::Token(token("t", 9, 0));
    settle(&mut bucket, "alice", 1, &outcome, 1);
    assert_eq!(
        look(&bucket, "alice", None, 6),
        Seen::Token(token("t", 9, 0))
    );
    assert_eq!(look(&bucket, "bob", None, 6), Seen::Nothing(None));
    // A token that is no longer used is as good as none.
    assert_eq!(look(&bucket, "alice", None, 100), Seen::Nothing(None));
}

#[test]
fn who_waited_for_a_call_hears_how_it_ended_and_nobody_else() {
    for (outcome, told) in [
        (Outcome::Once(bearer("once")), Ok(bearer("once"))),
        (
            failed(failure(FailureKind::Timeout)),
            Err(failure(FailureKind::Timeout)),
        ),
        (
            Outcome::Failed {
                failure: failure(FailureKind::Forbidden),
                drops: true,
                until: None,
            },
            Err(failure(FailureKind::Forbidden)),
        ),
    ] {
        let mut bucket = Bucket::default();
        claim(&mut bucket, "alice", 1, 0);
        settle(&mut bucket, "alice", 1, &outcome, 1);
        assert_eq!(look(&bucket, "alice", Some(1), 2), Seen::Ended(told));
        assert_eq!(look(&bucket, "alice", Some(2), 2), Seen::Nothing(None));
        assert_eq!(look(&bucket, "alice", None, 2), Seen::Nothing(None));
        assert!(bucket.sweep(at(3)));
        assert_eq!(bucket, Bucket::default());
    }
}

#[test]
fn a_refusal_is_everybodys_and_ends_the_token() {
    let mut bucket = Bucket::default();
    settle(
        &mut bucket,
        "alice",
        1,
        &Outcome::Token(token("t", 9, 0)),
        0,
    );
    let refused = failure(FailureKind::Rejected);
    let outcome = Outcome::Failed {
        failure: refused.clone(),
        drops: true,
        until: Some(at(20).steady),
    };
    let settled = settle(&mut bucket, "alice", 2, &outcome, 10);
    assert_eq!(settled.dropped, Some(9));
    assert_eq!(
        look(&bucket, "alice", None, 19),
        Seen::Refused(refused, at(20).steady)
    );
    assert_eq!(look(&bucket, "alice", None, 20), Seen::Nothing(None));
}

#[test]
fn a_token_that_was_not_accepted_is_forgotten_and_the_next_one_knows() {
    let mut bucket = Bucket::default();
    settle(
        &mut bucket,
        "alice",
        1,
        &Outcome::Token(token("t", 9, 0)),
        0,
    );
    let now = at(5).steady;
    assert!(
        !bucket.forget(&address("alice"), 8, false, now),
        "another token"
    );
    assert!(
        !bucket.forget(&address("bob"), 9, false, now),
        "another key"
    );
    assert!(bucket.forget(&address("alice"), 9, true, now));
    let forgotten = Forgotten {
        at: now,
        rejected: Some(sha256_base64url(b"t")),
    };
    assert_eq!(
        look(&bucket, "alice", None, 6),
        Seen::Nothing(Some(forgotten))
    );
    let settled = settle(
        &mut bucket,
        "alice",
        2,
        &Outcome::Token(token("u", 10, 6)),
        6,
    );
    assert_eq!(settled.forgot_before, Some(now));
    // Or a third worker would have it forgotten anew each time.
    let third = Outcome::Token(token("v", 11, 7));
    let settled = settle(&mut bucket, "alice", 3, &third, 7);
    assert_eq!(settled.forgot_before, Some(now));
}

#[test]
fn an_older_answer_that_comes_late_replaces_nothing() {
    let mut bucket = Bucket::default();
    settle(
        &mut bucket,
        "alice",
        2,
        &Outcome::Token(token("new", 2, 10)),
        11,
    );
    settle(
        &mut bucket,
        "alice",
        1,
        &Outcome::Token(token("old", 1, 0)),
        12,
    );
    assert_eq!(
        look(&bucket, "alice", None, 13),
        Seen::Token(token("new", 2, 10))
    );
}

#[test]
fn the_oldest_token_makes_room_and_refusals_go_before_it() {
    let mut bucket = Bucket::default();
    for (n, user) in ["a", "b", "c"].into_iter().enumerate() {
        let serial = n as u64;
        settle(
            &mut bucket,
            user,
            serial,
            &Outcome::Token(token(user, serial, 0)),
            0,
        );
    }
    let refused = |user: &str, bucket: &mut Bucket| {
        let outcome = Outcome::Failed {
            failure: failure(FailureKind::Rejected),
            drops: true,
            until: Some(at(50).steady),
        };
        settle(bucket, user, 7, &outcome, 0);
    };
    refused("r", &mut bucket);
    refused("s", &mut bucket);
    assert!(matches!(look(&bucket, "s", None, 1), Seen::Refused(..)));
    assert!(
        matches!(look(&bucket, "r", None, 1), Seen::Nothing(_)),
        "a tenth"
    );
    settle(&mut bucket, "d", 8, &Outcome::Token(token("d", 8, 0)), 0);
    assert!(matches!(look(&bucket, "s", None, 1), Seen::Nothing(_)));
    assert!(matches!(look(&bucket, "a", None, 1), Seen::Token(_)));
    settle(&mut bucket, "e", 9, &Outcome::Token(token("e", 9, 0)), 0);
    assert!(matches!(look(&bucket, "a", None, 1), Seen::Nothing(_)));
    assert!(matches!(look(&bucket, "e", None, 1), Seen::Token(_)));
    // No refusal makes a token go, and nothing is kept that could never have room.
    refused("r", &mut bucket);
    assert!(matches!(look(&bucket, "r", None, 1), Seen::Nothing(_)));
    let large = token(&"x".repeat(5000), 10, 0);
    settle(&mut bucket, "f", 10, &Outcome::Token(large), 0);
    assert!(matches!(look(&bucket, "f", None, 1), Seen::Nothing(_)));
    assert_eq!(bucket.held().0, 4);
}

#[test]
fn more_claims_than_there_is_room_for_are_not_made() {
    let mut bucket = Bucket::default();
    let made = (0..100)
        .filter(|n| claim(&mut bucket, &format!("user {n}"), *n, 0))
        .count();
    assert_eq!(made, 600 / 48);
    assert!(bucket.passing() <= BOUNDS.passing);
    // Those that have run out make room.
    assert!(claim(&mut bucket, "another", 200, 8));
}

fn full() -> Bucket {
    let mut bucket = Bucket::default();
    claim(&mut bucket, "claimed", 3, 0);
    settle(&mut bucket, "a", 1, &Outcome::Token(token("t", 9, 0)), 0);
    settle(&mut bucket, "b", 1, &Outcome::Token(token("u", 10, 0)), 0);
    bucket.forget(&address("b"), 10, true, at(1).steady);
    let step_up = FailureKind::StepUp(Rc::new(StepUp {
        insufficient_authentication: true,
        claims: Some("eyJ9".to_owned()),
        max_age: None,
        acr_values: Some("urn:x y".to_owned()),
        interaction_uri: Some("https://x/y".to_owned()),
    }));
    let failure = Failure {
        error: Some(StsError::InvalidGrant),
        wait: Some(Duration::from_secs(3)),
        ..Failure::new(step_up, Detail::Status(400))
    };
    let refused = Outcome::Failed {
        failure: failure.clone(),
        drops: false,
        until: Some(at(50).steady),
    };
    settle(&mut bucket, "c", 1, &refused, 0);
    settle(&mut bucket, "d", 4, &failed(failure), 0);
    settle(&mut bucket, "e", 5, &Outcome::Once(bearer("once")), 0);
    let of_check = Failure::of_check(Check::Paused).at(Step::Second);
    settle(&mut bucket, "f", 6, &failed(of_check), 0);
    bucket
}

#[test]
fn a_bucket_is_read_as_it_was_written() {
    let bucket = full();
    let written = bucket.to_bytes(FORMAT);
    assert_eq!(Bucket::of_bytes(&written, FORMAT), Some(bucket));
    assert_eq!(Bucket::of_bytes(&written, b"another!"), None);
}

#[test]
fn whatever_lies_there_is_read_without_a_trap_and_as_no_other_users_token() {
    let written = full().to_bytes(FORMAT);
    for end in 0..written.len() {
        let read = Bucket::of_bytes(&written[..end], FORMAT).unwrap_or_default();
        assert!(matches!(
            look(&read, "nobody", Some(1), 0),
            Seen::Nothing(_)
        ));
    }
    for place in 0..written.len() {
        for bit in 0..8 {
            let mut damaged = written.clone();
            damaged[place] ^= 1 << bit;
            let read = Bucket::of_bytes(&damaged, FORMAT).unwrap_or_default();
            assert!(matches!(
                look(&read, "nobody", Some(1), 0),
                Seen::Nothing(_)
            ));
        }
    }
}

/// Time goes on, and the wall clock has been set back to `wall`.
fn set_back(wall: u64, seconds: u64) -> Clocks {
    Clocks {
        wall: at(wall).wall,
        steady: at(seconds).steady,
    }
}

#[test]
fn after_a_step_back_of_the_clock_what_was_asked_for_later_is_still_the_younger() {
    let mut bucket = Bucket::default();
    let outcome = Outcome::Token(token("before", 1, 600));
    settle(&mut bucket, "alice", 1, &outcome, 600);
    let now = set_back(10, 605);
    let after = Token {
        asked: now,
        expires: at(110).wall,
        ..token("after", 2, 0)
    };
    let outcome = Outcome::Token(after.clone());
    bucket.settle(&address("alice"), ClaimId(2), &outcome, now, &BOUNDS);
    let usable = |token: &Token| token.asked.lasts_until(token.expires, now);
    let seen = bucket.look(
        &address("alice"),
        None,
        &usable,
        now.steady,
        Compares::Whole,
    );
    assert_eq!(seen, Seen::Token(after));
}

#[test]
fn no_clock_that_is_set_keeps_anything_for_longer() {
    let mut bucket = Bucket::default();
    let outcome = Outcome::Token(token("t", 1, 600));
    settle(&mut bucket, "alice", 1, &outcome, 600);
    for (now, ends) in [
        (set_back(600, 699), false),
        (set_back(600, 700), true),
        (set_back(10, 610), true),
        (set_back(5000, 610), true),
    ] {
        let mut bucket = bucket.clone();
        assert_eq!(bucket.sweep(now), ends, "{now:?}");
    }
}

#[test]
fn what_would_last_for_hours_is_as_good_as_over() {
    let far = at(4000).steady;
    let mut bucket = Bucket::default();
    bucket.claim(&address("alice"), ClaimId(1), far, at(0).steady, &BOUNDS);
    let refused = Outcome::Failed {
        failure: failure(FailureKind::Rejected),
        drops: true,
        until: Some(far),
    };
    settle(&mut bucket, "bob", 2, &refused, 0);
    for user in ["alice", "bob"] {
        assert_eq!(look(&bucket, user, None, 0), Seen::Nothing(None), "{user}");
    }
    assert!(claim(&mut bucket, "alice", 3, 0), "it can be taken");
    assert_eq!(look(&bucket, "alice", None, 1), Seen::Claimed(ClaimId(3)));
}
