//! How what is remembered ends: by a refusal, by a backend's 401, by a sweep.

use super::*;

#[test]
fn refusals_take_the_place_of_tokens_and_end() {
    let mut cache = cache();
    cache.hold(key(0), value("t"), clocks(100), at(200), &TERMS, 0.0);
    refuse(&mut cache, key(0), steady(110));
    assert_eq!(cache.held(), 0);
    for (seconds, expected) in [(110, "refused"), (129, "refused"), (130, "nothing")] {
        assert_eq!(found(&mut cache, 0, seconds), expected, "{seconds}");
    }
    let Lookup::Refused(failure, until) = cache.get(&key(0), &clocks(120)) else {
        panic!("not refused");
    };
    assert_eq!((failure, until), (&rejected(), steady(130)));
    cache.hold(key(0), value("t"), clocks(120), at(200), &TERMS, 0.0);
    assert_eq!(found(&mut cache, 0, 121), "held");
}

#[test]
fn a_refusal_counts_beside_a_token_that_has_ended_or_that_a_backend_did_not_accept() {
    let unavailable = || Failure {
        kind: FailureKind::UnavailableForUser,
        ..rejected()
    };
    let later = |cache: &mut TokenCache, seconds| {
        let time = Duration::from_secs(20);
        cache.refuse(key(0), unavailable(), time, steady(seconds));
    };
    let mut cache = cache();
    let hold = |cache: &mut TokenCache, now| {
        let serial = cache.hold(key(0), value("t"), clocks(now), at(now + 60), &TERMS, 0.0);
        serial.unwrap()
    };
    // Its renewal is refused; it serves to its end.
    hold(&mut cache, 100);
    later(&mut cache, 145);
    assert_eq!(found(&mut cache, 0, 149), "renew");
    for (seconds, expected) in [(161, "refused"), (164, "refused"), (165, "nothing")] {
        assert_eq!(found(&mut cache, 0, seconds), expected, "{seconds}");
    }
    let serial = hold(&mut cache, 200);
    assert!(cache.forget(&key(0), serial, steady(201), |_| Some("digest".into())));
    assert_eq!(found(&mut cache, 0, 201), "nothing");
    later(&mut cache, 202);
    for (seconds, expected) in [(202, "refused"), (221, "refused"), (222, "nothing")] {
        assert_eq!(found(&mut cache, 0, seconds), expected, "{seconds}");
    }
    assert!(
        cache.rejected(&key(0)).is_some(),
        "and is still not accepted"
    );
}

#[test]
fn a_token_is_forgotten_once_in_ten_seconds_and_only_itself() {
    let mut cache = cache();
    let hold = |cache: &mut TokenCache, seconds| {
        let serial = cache.hold(
            key(0),
            value("t"),
            clocks(seconds),
            at(seconds + 60),
            &TERMS,
            0.0,
        );
        serial.unwrap()
    };
    let first = hold(&mut cache, 100);
    assert!(
        !cache.forget(&key(0), first + 1, steady(100), |_| None),
        "another token"
    );
    assert!(
        !cache.forget(&key(1), first, steady(100), |_| None),
        "another key"
    );
    assert!(cache.forget(&key(0), first, steady(100), |_| None));
    assert_eq!((cache.held(), found(&mut cache, 0, 100)), (0, "nothing"));
    assert!(
        !cache.forget(&key(0), first, steady(100), |_| None),
        "already forgotten"
    );
    let second = hold(&mut cache, 101);
    let third = hold(&mut cache, 102);
    assert_ne!(second, third);
    assert!(
        !cache.forget(&key(0), second, steady(111), |_| None),
        "its successor stands there"
    );
    assert!(
        !cache.forget(&key(0), third, steady(109), |_| None),
        "too soon"
    );
    assert!(cache.forget(&key(0), third, steady(110), |_| None));
}

#[test]
fn a_sweep_ends_what_is_over() {
    let mut cache = cache();
    cache.hold(key(0), value("t"), clocks(100), at(130), &TERMS, 0.0);
    refuse(&mut cache, key(1), steady(100));
    let serial = cache
        .hold(key(2), value("t"), clocks(100), at(200), &TERMS, 0.0)
        .unwrap();
    cache.forget(&key(2), serial, steady(100), |_| None);
    cache.hold(key(3), value("t"), clocks(100), at(200), &TERMS, 0.0);
    for (seconds, entries, held) in [(109, 4, 2), (119, 3, 2), (124, 1, 1), (190, 0, 0)] {
        cache.sweep(&clocks(seconds));
        assert_eq!((cache.count(), cache.held()), (entries, held), "{seconds}");
    }
}

#[test]
fn a_sweep_ends_what_is_over_whatever_was_used_last_before_it() {
    let mut cache = cache();
    cache.hold(key(0), value("t"), clocks(100), at(200), &TERMS, 0.0);
    cache.hold(key(1), value("t"), clocks(100), at(120), &TERMS, 0.0);
    cache.sweep(&clocks(150));
    assert_eq!((cache.count(), cache.held()), (1, 1));
    assert_eq!(found(&mut cache, 0, 150), "held");
}

#[test]
fn a_large_cache_is_swept_a_part_at_a_time() {
    let mut cache = TokenCache::new(
        CachePolicy {
            max_entries: 10_000,
            max_bytes: 1 << 30,
            ..policy()
        },
        7,
    );
    for n in 0..10_000 {
        let key = Key::new(ExchangeId(n), vec![b'a']);
        let end = if n % 2 == 0 { 120 } else { 200 };
        cache.hold(key, value("t"), clocks(100), at(end), &TERMS, 0.0);
    }
    let mut before = cache.count();
    for _ in 0..16 {
        cache.sweep(&clocks(150));
        assert!(before - cache.count() <= 625, "{}", before - cache.count());
        before = cache.count();
    }
    (0..8).for_each(|_| cache.sweep(&clocks(150)));
    assert_eq!((cache.count(), cache.held()), (5_000, 5_000));
}
