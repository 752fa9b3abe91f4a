use super::*;
use crate::exchange::answer::{Detail, FailureKind, StsError};
use crate::time::Clocks;
use crate::token::BearerToken;
use proptest::collection::vec;
use proptest::prelude::*;
use std::collections::HashMap;

const BOUND: usize = 4;
const TERMS: Terms = Terms {
    assumed_lifetime: None,
    max_age: None,
    expiry_skew: None,
    refresh_ahead: None,
    subject_bounds_only_unstated: false,
};

fn rejected() -> Failure {
    Failure {
        kind: FailureKind::Rejected,
        error: Some(StsError::InvalidGrant),
        detail: Detail::Status(400),
        wait: None,
    }
}

/// The STS refuses a subject, and its token goes.
fn refuse(cache: &mut TokenCache, key: Key, now: Steady) {
    let ttl = cache.negative_ttl();
    cache.remove(&key);
    cache.refuse(key, rejected(), ttl, now);
}

fn at(seconds: u64) -> Time {
    clocks(seconds).wall
}

fn steady(seconds: u64) -> Steady {
    clocks(seconds).steady
}

fn clocks(seconds: u64) -> Clocks {
    Clocks::at(Duration::from_secs(seconds))
}

fn both(wall: u64, forward: u64) -> Clocks {
    Clocks {
        wall: at(wall),
        steady: steady(forward),
    }
}

fn key(n: u8) -> Key {
    Key::new(ExchangeId(u32::from(n) / 4), vec![b'a' + n % 4])
}

fn value(text: &str) -> BearerValue {
    BearerToken::new(text.as_bytes().to_vec())
        .unwrap()
        .to_value()
}

fn policy() -> CachePolicy {
    CachePolicy {
        max_entries: BOUND,
        max_bytes: 1 << 20,
        share: true,
        max_ttl: Duration::from_secs(100),
        expiry_skew: Duration::from_secs(10),
        refresh_ahead: true,
        negative_ttl: Duration::from_secs(20),
    }
}

fn cache() -> TokenCache {
    TokenCache::new(policy(), 7)
}

/// What a look-up finds, in one word.
fn found(cache: &mut TokenCache, n: u8, seconds: u64) -> &'static str {
    match cache.get(&key(n), &clocks(seconds)) {
        Lookup::Nothing => "nothing",
        Lookup::Held(_) => "held",
        Lookup::HeldRenew(_) => "renew",
        Lookup::Refused(..) => "refused",
    }
}

#[test]
fn a_key_is_the_exchange_and_the_whole_subject() {
    let keys: Vec<Key> = [
        (0, &b"a"[..]),
        (1, b"a"),
        (0, b"b"),
        (0, b"aa"),
        (0, b""),
        (0, b"a\0\0\0\0"),
        (256, b"a"),
        (u32::MAX, b"a"),
    ]
    .into_iter()
    .map(|(exchange, subject)| {
        let key = Key::new(ExchangeId(exchange), subject.to_vec());
        assert_eq!(key.exchange(), ExchangeId(exchange));
        assert_eq!(key.tokens(false), (subject, None));
        key
    })
    .collect();
    for (n, one) in keys.iter().enumerate() {
        for (m, other) in keys.iter().enumerate() {
            assert_eq!(one == other, n == m, "{n} {m}");
        }
    }
    let debug = format!("{:?}", Key::new(ExchangeId(3), b"CANARY".to_vec()));
    assert!(!debug.contains("CANARY"), "{debug}");
}

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
fn refusals_never_displace_a_token_and_go_first() {
    let mut cache = TokenCache::new(
        CachePolicy {
            max_entries: 20,
            ..policy()
        },
        7,
    );
    let key = |n: u32| Key::new(ExchangeId(n), vec![b'a']);
    for n in 0..15 {
        cache.hold(key(n), value("t"), clocks(100), at(200), &TERMS, 0.0);
    }
    for n in 100..200 {
        refuse(&mut cache, key(n), steady(100));
    }
    assert_eq!((cache.held(), cache.refused.len()), (15, 2), "a tenth");
    for n in 15..20 {
        cache.hold(key(n), value("t"), clocks(100), at(200), &TERMS, 0.0);
    }
    assert_eq!((cache.held(), cache.refused.len()), (20, 0));
    refuse(&mut cache, key(200), steady(100));
    assert_eq!((cache.held(), cache.refused.len()), (20, 0), "no room");
    // Who was refused loses the token all the same.
    refuse(&mut cache, key(3), steady(100));
    assert_eq!((cache.held(), cache.refused.len()), (19, 1));
}

#[test]
fn keys_and_tokens_together_are_bounded_in_bytes() {
    let mut cache = TokenCache::new(
        CachePolicy {
            max_entries: 1000,
            max_bytes: 1000,
            ..policy()
        },
        7,
    );
    // 104 bytes of key and 107 of token, with the scheme.
    let key = |n: u8| Key::new(ExchangeId(0), vec![n; 100]);
    for n in 0..20 {
        let kept = cache.hold(
            key(n),
            value(&"t".repeat(100)),
            clocks(100),
            at(200),
            &TERMS,
            0.0,
        );
        assert!(kept.is_some());
        assert!(cache.bytes <= 1000, "{}", cache.bytes);
    }
    assert_eq!(cache.held(), 4);
    assert!(matches!(cache.get(&key(19), &clocks(101)), Lookup::Held(_)));
    let too_large = value(&"t".repeat(1000));
    assert_eq!(
        cache.hold(key(30), too_large, clocks(100), at(200), &TERMS, 0.0),
        None
    );
}

/// What can happen to a cache.
#[derive(Clone, Debug)]
enum Event {
    Get(u8),
    Hold { key: u8, life: u64, jitter: f64 },
    Refuse(u8),
    Remove(u8),
    Forget(u8),
    Sweep,
    Later(u64),
    SetBack(u64),
}

fn events() -> impl Strategy<Value = Vec<Event>> {
    let key = 0u8..8;
    let event = prop_oneof![
        4 => key.clone().prop_map(Event::Get),
        4 => (key.clone(), 0u64..150, 0.0..1.0)
            .prop_map(|(key, life, jitter)| Event::Hold { key, life, jitter }),
        1 => key.clone().prop_map(Event::Refuse),
        1 => key.clone().prop_map(Event::Remove),
        2 => key.prop_map(Event::Forget),
        1 => Just(Event::Sweep),
        4 => (0u64..30).prop_map(Event::Later),
        1 => (0u64..30).prop_map(Event::SetBack),
    ];
    vec(event, 1..120)
}

/// How many seconds of its life a token is used.
fn usable(life: u64) -> f64 {
    let life = life.min(100) as f64;
    life - (life / 5.0).min(10.0)
}

/// A token as the model remembers it: without any bound, so that it says what may be found, not
/// what must be.
struct Known {
    text: String,
    serial: u64,
    obtained: u64,
    usable_until: f64,
}

proptest! {
    #[test]
    fn never_another_keys_token_nor_one_beyond_its_life_nor_more_than_the_bound(
        events in events()
    ) {
        let mut cache = cache();
        let mut tokens: HashMap<u8, Known> = HashMap::new();
        let mut refused: HashMap<u8, u64> = HashMap::new();
        // On the wall, and on the clock that only goes forward.
        let (mut now, mut forward) = (1000, 1000);
        for (step, event) in events.into_iter().enumerate() {
            match event {
                Event::Later(seconds) => {
                    now += seconds;
                    forward += seconds;
                }
                Event::SetBack(seconds) => now -= seconds,
                Event::Sweep => cache.sweep(&both(now, forward)),
                Event::Remove(n) => {
                    cache.remove(&key(n));
                    tokens.remove(&n);
                    refused.remove(&n);
                }
                Event::Refuse(n) => {
                    refuse(&mut cache, key(n), steady(forward));
                    tokens.remove(&n);
                    refused.insert(n, forward);
                }
                Event::Hold { key: n, life, jitter } => {
                    let text = format!("token-{n}-{step}");
                    let serial =
                        cache.hold(key(n), value(&text), clocks(now), at(now + life), &TERMS, jitter);
                    let usable = usable(life);
                    prop_assert_eq!(serial.is_some(), usable > 0.0);
                    if let Some(serial) = serial {
                        let usable_until = now as f64 + usable;
                        tokens.insert(n, Known { text, serial, obtained: now, usable_until });
                        refused.remove(&n);
                    }
                }
                Event::Forget(n) => {
                    let serial = tokens.get(&n).map_or(0, |known| known.serial);
                    if cache.forget(&key(n), serial, steady(forward), |_| None) {
                        prop_assert!(tokens.remove(&n).is_some());
                    }
                }
                Event::Get(n) => match cache.get(&key(n), &both(now, forward)) {
                    Lookup::Held(held) | Lookup::HeldRenew(held) => {
                        let known = tokens.get(&n).expect("a token that was never held");
                        prop_assert_eq!(held.serial, known.serial);
                        prop_assert_eq!(&held.value, &value(&known.text));
                        prop_assert!(known.obtained <= now && (now as f64) < known.usable_until);
                    }
                    Lookup::Refused(..) => {
                        let at = *refused.get(&n).expect("a refusal that never was");
                        prop_assert!(at <= forward && forward < at + 20);
                    }
                    Lookup::Nothing => {}
                },
            }
            prop_assert!(cache.count() <= BOUND && cache.refused.len() <= 1);
            let tokens = cache.entries.iter().map(|(key, entry)| entry.size(key));
            let bytes: usize = tokens.chain(cache.refused.iter().map(|(key, _)| key.size())).sum();
            prop_assert_eq!(cache.bytes, bytes);
            let held = cache.entries.iter().filter(|(_, e)| matches!(e, Entry::Held(_)));
            prop_assert_eq!(cache.held(), held.count());
        }
    }

    /// With room for all, what was held is found: the cache is no empty promise.
    #[test]
    fn a_token_that_nothing_happened_to_is_found(lives in vec(11u64..150, 1..=8), later in 0u64..150) {
        let mut cache = TokenCache::new(CachePolicy { max_entries: 8, ..policy() }, 3);
        for (n, life) in (0u8..).zip(&lives) {
            cache.hold(key(n), value(&format!("token-{n}")), clocks(1000), at(1000 + life), &TERMS, 0.5);
        }
        for (n, life) in (0u8..).zip(&lives) {
            let expected = if (later as f64) < usable(*life) { "held" } else { "nothing" };
            let found = found(&mut cache, n, 1000 + later).replace("renew", "held");
            prop_assert_eq!(found, expected);
        }
    }
}
