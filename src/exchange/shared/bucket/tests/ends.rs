//! How claims and what is remembered end.

use super::*;

#[test]
fn a_call_that_ends_late_leaves_the_claim_of_whoever_came_after_it() {
    let mut bucket = Bucket::default();
    assert!(claim(&mut bucket, "alice", 1, 0));
    assert!(claim(&mut bucket, "alice", 2, 8));
    settle(
        &mut bucket,
        "alice",
        1,
        &failed(failure(FailureKind::Timeout)),
        9,
    );
    assert_eq!(look(&bucket, "alice", None, 9), Seen::Claimed(ClaimId(2)));
    assert!(!bucket.withdraw(&address("alice"), ClaimId(1)));
    assert!(!bucket.withdraw(&address("bob"), ClaimId(2)));
    assert_eq!(look(&bucket, "alice", None, 9), Seen::Claimed(ClaimId(2)));
    assert!(bucket.withdraw(&address("alice"), ClaimId(2)));
    assert_eq!(look(&bucket, "alice", None, 9), Seen::Nothing(None));
}

#[test]
fn a_token_that_was_not_accepted_is_remembered_for_longer_where_the_next_call_must_say_so() {
    for (says_so, seconds) in [(false, 10), (true, 3600)] {
        let mut bucket = Bucket::default();
        settle(
            &mut bucket,
            "alice",
            1,
            &Outcome::Token(token("t", 9, 0)),
            0,
        );
        assert!(bucket.forget(&address("alice"), 9, says_so, at(5).steady));
        assert!(!bucket.sweep(at(5 + seconds - 1)), "{seconds}");
        assert!(bucket.sweep(at(5 + seconds)), "{seconds}");
        assert_eq!(bucket, Bucket::default());
    }
}

/// No clock of ours says so.
#[test]
fn what_was_not_accepted_in_hours_is_not_remembered() {
    let mut bucket = Bucket::default();
    let outcome = Outcome::Token(token("t", 9, 0));
    settle(&mut bucket, "alice", 1, &outcome, 0);
    assert!(bucket.forget(&address("alice"), 9, true, at(3601).steady));
    assert!(bucket.sweep(at(0)));
    assert_eq!(bucket, Bucket::default());
}
