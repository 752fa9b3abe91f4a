//! Whatever happens in whatever order, against a model that remembers everything.

use super::*;
use proptest::collection::vec;
use proptest::prelude::*;
use std::collections::HashMap;

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
