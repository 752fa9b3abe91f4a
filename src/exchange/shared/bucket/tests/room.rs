//! What has room beside what, to the last byte.

use super::*;

const WIDE: Bounds = Bounds {
    entries: 10,
    refusals: 3,
    ..BOUNDS
};

/// A call for `user` ended at 0.
fn ended(bucket: &mut Bucket, user: &str, claim: u64, outcome: &Outcome, bounds: &Bounds) {
    bucket.settle(&address(user), ClaimId(claim), outcome, at(0), bounds);
}

fn hold(bucket: &mut Bucket, user: &str, bounds: &Bounds) {
    ended(bucket, user, 1, &Outcome::Token(token(user, 1, 0)), bounds);
}

/// The token in hand, if there is one, serves on.
fn refuse(bucket: &mut Bucket, user: &str, until: u64, bounds: &Bounds) {
    let refused = Outcome::Failed {
        failure: failure(FailureKind::UnavailableForUser),
        drops: false,
        until: Some(at(until).steady),
    };
    ended(bucket, user, 1, &refused, bounds);
}

/// Those who waited for that call are told that it took too long.
fn pass(bucket: &mut Bucket, user: &str, claim: u64, bounds: &Bounds) {
    let timeout = failed(failure(FailureKind::Timeout));
    ended(bucket, user, claim, &timeout, bounds);
}

fn is_told(bucket: &Bucket, user: &str, claim: u64) -> bool {
    matches!(look(bucket, user, Some(claim), 1), Seen::Ended(Err(_)))
}

fn is_refused(bucket: &Bucket, user: &str) -> bool {
    matches!(look(bucket, user, None, 1), Seen::Refused(..))
}

#[test]
fn a_token_is_measured_by_those_of_its_own_key_alone() {
    let mut bucket = Bucket::default();
    let younger = Outcome::Token(token("alices", 1, 10));
    settle(&mut bucket, "alice", 1, &younger, 10);
    let bobs = token("bobs", 2, 5);
    settle(&mut bucket, "bob", 2, &Outcome::Token(bobs.clone()), 11);
    assert_eq!(look(&bucket, "bob", None, 12), Seen::Token(bobs));
    // Of two that were asked for in one moment the one that comes last counts.
    let last = token("last", 3, 10);
    settle(&mut bucket, "alice", 3, &Outcome::Token(last.clone()), 12);
    assert_eq!(look(&bucket, "alice", None, 12), Seen::Token(last));
    // That alice's was not accepted says nothing of bob's.
    assert!(bucket.forget(&address("alice"), 3, false, at(13).steady));
    let next = Outcome::Token(token("next", 4, 14));
    let settled = settle(&mut bucket, "bob", 4, &next, 14);
    assert_eq!(settled.forgot_before, None);
}

#[test]
fn a_refusal_takes_the_place_of_its_keys_last_one_and_of_nothing_else() {
    let mut bucket = Bucket::default();
    hold(&mut bucket, "alice", &WIDE);
    refuse(&mut bucket, "bob", 50, &WIDE);
    refuse(&mut bucket, "alice", 120, &WIDE);
    refuse(&mut bucket, "alice", 130, &WIDE);
    assert_eq!(bucket.held().0, 3);
    assert!(is_refused(&bucket, "bob"));
    assert!(matches!(look(&bucket, "alice", None, 1), Seen::Token(_)));
    let Seen::Refused(_, until) = look(&bucket, "alice", None, 110) else {
        panic!("not refused");
    };
    assert_eq!(until, at(130).steady);
}

#[test]
fn refusals_have_their_part_however_many_tokens_there_are() {
    let mut bucket = Bucket::default();
    for user in ["a", "b", "c", "d"] {
        hold(&mut bucket, user, &WIDE);
    }
    for user in ["r", "s", "t"] {
        refuse(&mut bucket, user, 50, &WIDE);
    }
    assert!(["r", "s", "t"].iter().all(|user| is_refused(&bucket, user)));
    refuse(&mut bucket, "u", 50, &WIDE);
    assert!(!is_refused(&bucket, "r"), "the oldest");
    assert!(["s", "t", "u"].iter().all(|user| is_refused(&bucket, user)));
    assert_eq!(bucket.held().0, 7);
}

#[test]
fn what_is_told_to_those_who_wait_takes_the_place_of_nothing_else() {
    let mut bucket = Bucket::default();
    hold(&mut bucket, "alice", &WIDE);
    pass(&mut bucket, "bob", 2, &WIDE);
    pass(&mut bucket, "carol", 3, &WIDE);
    refuse(&mut bucket, "carol", 50, &WIDE);
    pass(&mut bucket, "alice", 4, &WIDE);
    pass(&mut bucket, "carol", 5, &WIDE);
    assert!(matches!(look(&bucket, "alice", None, 1), Seen::Token(_)));
    assert!(is_told(&bucket, "bob", 2));
    assert!(is_told(&bucket, "carol", 5));
    assert!(is_refused(&bucket, "carol"));
    assert!(!is_told(&bucket, "carol", 3), "a later call has ended");
}

#[test]
fn what_is_told_to_those_who_wait_fills_its_part_to_the_last_byte_and_no_more() {
    let mut one = Bucket::default();
    pass(&mut one, "a", 1, &WIDE);
    let size = one.passing();
    let bounds = Bounds {
        passing: 2 * size,
        ..WIDE
    };
    let mut bucket = Bucket::default();
    let told = |bucket: &Bucket| ["a", "b", "c"].map(|user| is_told(bucket, user, 1));
    pass(&mut bucket, "a", 1, &bounds);
    assert_eq!(told(&bucket), [true, false, false]);
    pass(&mut bucket, "b", 1, &bounds);
    assert_eq!(told(&bucket), [true, true, false]);
    pass(&mut bucket, "c", 1, &bounds);
    assert_eq!(told(&bucket), [false, true, true], "the oldest goes");
    assert!(bucket.passing() <= bounds.passing);
    let narrow = Bounds {
        passing: size - 1,
        ..WIDE
    };
    pass(&mut bucket, "a", 2, &narrow);
    assert_eq!(
        told(&bucket),
        [false, true, true],
        "and none for what has no room"
    );
    let exact = Bounds {
        passing: size,
        ..WIDE
    };
    pass(&mut bucket, "a", 2, &exact);
    assert!(is_told(&bucket, "a", 2), "it fits to the byte");
}

#[test]
fn claims_fill_their_part_to_the_last_byte_whatever_tokens_there_are() {
    let bounds = Bounds {
        passing: 2 * 48,
        ..WIDE
    };
    let mut bucket = Bucket::default();
    let large = Outcome::Token(token(&"x".repeat(1000), 1, 0));
    ended(&mut bucket, "held", 1, &large, &bounds);
    let (ends, now) = (at(7).steady, at(0).steady);
    let claimed = ["a", "b", "c"].map(|user| {
        let id = ClaimId(1);
        bucket.claim(&address(user), id, ends, now, &bounds)
    });
    assert_eq!(claimed, [true, true, false]);
    assert!(matches!(look(&bucket, "held", None, 1), Seen::Token(_)));
    assert_eq!(look(&bucket, "b", None, 1), Seen::Claimed(ClaimId(1)));
    assert_eq!(look(&bucket, "c", None, 1), Seen::Nothing(None));
}
