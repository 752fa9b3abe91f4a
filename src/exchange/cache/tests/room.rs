//! Who goes when there is no more room.

use super::*;

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
    assert_eq!(cache.held(), 4, "it displaces nothing");
}

#[test]
fn what_fills_the_cache_to_the_last_byte_is_kept() {
    // Of key and token, as above.
    const ONE: usize = 104 + 107;
    for (max_bytes, held) in [
        (ONE - 1, 0),
        (ONE, 1),
        (2 * ONE - 1, 1),
        (2 * ONE, 2),
        (3 * ONE - 1, 2),
    ] {
        let mut cache = TokenCache::new(
            CachePolicy {
                max_bytes,
                ..policy()
            },
            7,
        );
        for n in 0..3 {
            let key = Key::new(ExchangeId(0), vec![n; 100]);
            let token = value(&"t".repeat(100));
            cache.hold(key, token, clocks(100), at(200), &TERMS, 0.0);
        }
        assert_eq!(cache.held(), held, "{max_bytes}");
    }
}
