//! How long a token is used, and from when on it is renewed.

use super::*;

#[test]
fn a_token_is_held_to_the_skew_before_its_end_or_the_longest_ttl() {
    for (expires, jitter, renew_from, until) in [
        // 60 s of life, 50 of them usable, the last 10 (or, with jitter, 7.5) for renewal.
        (160, 0.0, 140, 150),
        (160, 1.0, 143, 150),
        (160, 7.0, 143, 150),
        (1000, 0.0, 172, 190),
        // A fifth of a short life is left unused, if that is less than the skew.
        (150, 0.0, 132, 140),
        (120, 0.0, 113, 116),
        (102, 0.0, 102, 102),
    ] {
        let mut cache = cache();
        let kept = cache.hold(key(0), value("t"), clocks(100), at(expires), &TERMS, jitter);
        assert!(kept.is_some());
        assert_eq!(found(&mut cache, 0, renew_from - 1), "held", "{expires}");
        if renew_from < until {
            assert_eq!(found(&mut cache, 0, renew_from), "renew", "{expires}");
            assert_eq!(found(&mut cache, 0, renew_from), "held", "once a second");
            if renew_from + 1 < until {
                assert_eq!(found(&mut cache, 0, renew_from + 1), "renew");
            }
        }
        assert_eq!(found(&mut cache, 0, until), "nothing", "{expires}");
        assert_eq!(
            found(&mut cache, 0, 99),
            "nothing",
            "obtained in the future"
        );
    }
}

#[test]
fn a_token_with_nothing_left_is_not_held() {
    for expires in [0, 99, 100] {
        let mut cache = cache();
        let kept = cache.hold(key(0), value("t"), clocks(100), at(expires), &TERMS, 0.0);
        assert_eq!(kept, None, "{expires}");
        assert_eq!(cache.held(), 0);
    }
}

#[test]
fn a_clock_that_is_set_back_stretches_no_life() {
    let held_after = |wall, forward| {
        let mut cache = cache();
        cache.hold(key(0), value("t"), clocks(100), at(160), &TERMS, 0.0);
        cache.sweep(&both(wall, forward));
        cache.held()
    };
    // Usable for 50 s, on whichever clock.
    for (wall, forward, held) in [
        (149, 149, 1),
        (100, 149, 1),
        (100, 150, 0),
        (150, 110, 0),
        // Set back to before it was asked for.
        (99, 110, 0),
    ] {
        assert_eq!(held_after(wall, forward), held, "{wall} {forward}");
    }
}

#[test]
fn what_moves_keeps_its_age_under_the_new_bounds() {
    let mut old = cache();
    for n in 0..3 {
        old.hold(
            key(n),
            value("t"),
            clocks(100 + u64::from(n)),
            at(160),
            &TERMS,
            0.0,
        );
    }
    refuse(&mut old, key(3), steady(100));
    let mut new = TokenCache::new(
        CachePolicy {
            max_entries: 2,
            expiry_skew: Duration::from_secs(20),
            ..policy()
        },
        9,
    );
    new.take_over(&mut old, |id| Some((ExchangeId(id.0 + 5), TERMS)), at(110));
    assert_eq!(old.held(), 0, "they moved");
    assert_eq!(new.held(), 2);
    let moved = |n: u8| Key::new(ExchangeId(5), vec![b'a' + n]);
    assert!(
        matches!(new.get(&moved(0), &clocks(110)), Lookup::Nothing),
        "the oldest gave way"
    );
    // 58 and 59 s of life, of which a fifth stays unused.
    for (n, until) in [(1, 148), (2, 149)] {
        assert!(matches!(new.get(&moved(n), &clocks(110)), Lookup::Held(_)));
        let due = new.get(&moved(n), &clocks(until - 1));
        assert!(matches!(due, Lookup::HeldRenew(_)));
        assert!(matches!(
            new.get(&moved(n), &clocks(until + 1)),
            Lookup::Nothing
        ));
    }
    assert!(
        matches!(new.get(&moved(3), &clocks(110)), Lookup::Nothing),
        "refusals stay behind"
    );
}

#[test]
fn what_has_ended_does_not_move_and_takes_nobodys_place() {
    let mut old = cache();
    for (n, ends) in [(0, 200), (1, 130), (2, 140)] {
        old.hold(key(n), value("t"), clocks(100), at(ends), &TERMS, 0.0);
    }
    let mut new = TokenCache::new(
        CachePolicy {
            max_entries: 1,
            ..policy()
        },
        9,
    );
    new.take_over(&mut old, |id| Some((id, TERMS)), at(150));
    assert_eq!((old.held(), new.held()), (0, 1));
    assert_eq!(found(&mut new, 0, 150), "held");
}
