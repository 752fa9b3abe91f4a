//! Whatever happens in whatever order: who waits is served once, and with their own.

use super::*;
use proptest::collection::vec;
use proptest::prelude::*;
use std::collections::{HashMap as Map, HashSet};

/// What can happen to an engine.
#[derive(Clone, Debug)]
enum Event {
    Request { exchange: u32, user: u8 },
    Answer { call: usize, kind: u8 },
    Leave(usize),
    Unauthorized(usize),
    Tick,
    Later(u64),
}

fn events() -> impl Strategy<Value = Vec<Event>> {
    let event = prop_oneof![
        6 => (0u32..3, 0u8..4).prop_map(|(exchange, user)| Event::Request { exchange, user }),
        4 => (any::<usize>(), 0u8..8).prop_map(|(call, kind)| Event::Answer { call, kind }),
        1 => any::<usize>().prop_map(Event::Leave),
        1 => any::<usize>().prop_map(Event::Unauthorized),
        1 => Just(Event::Tick),
        3 => (0u64..60_000).prop_map(Event::Later),
    ];
    vec(event, 1..150)
}

/// Each user's token at each exchange says whose it is.
fn token_of(exchange: u32, user: u8) -> String {
    format!("token-{exchange}-{user}")
}

proptest! {
    /// Whatever happens in whatever order: who waits is served exactly once, with the token of that
    /// user and exchange, or leaves; and no two calls for one key are under way at once.
    #[test]
    fn everyone_is_served_once_and_with_their_own(events in events()) {
        let mut engine = engine();
        let mut now = 0;
        let mut calls: Vec<(u32, u32, u8)> = Vec::new();
        let mut waiting: Map<u32, (Key, u32, u8)> = Map::new();
        let mut used = Vec::new();
        let (mut next_call, mut next_waiter) = (0, 0);
        for event in events {
            let mut completions = Vec::new();
            match event {
                Event::Later(millis) => now += millis,
                Event::Tick => completions = engine.tick(&at(now)),
                Event::Leave(which) => {
                    let mut waiters: Vec<u32> = waiting.keys().copied().collect();
                    waiters.sort_unstable();
                    if let Some(who) = waiters.get(which % waiters.len().max(1)) {
                        let (key, ..) = waiting.remove(who).unwrap();
                        engine.leave(&key, |waiter| waiter == who);
                    }
                }
                Event::Unauthorized(which) => {
                    if !used.is_empty() {
                        let last = used.len();
                        engine.unauthorized(&used[which % last], &at(now));
                    }
                }
                Event::Answer { call, kind } => {
                    if !calls.is_empty() {
                        let (id, exchange, user) = calls.remove(call % calls.len());
                        let body = issued(&token_of(exchange, user), u64::from(kind) * 60);
                        let answer = match kind {
                            0 => Answer::Reset,
                            1 => Answer::Http(503, None),
                            2 => Answer::Http(400, Some(br#"{"error":"invalid_grant"}"#)),
                            3 => Answer::Http(400, Some(br#"{"error":"access_denied"}"#)),
                            _ => Answer::Http(200, Some(&body)),
                        };
                        if let Answered::Done(completion) = engine.answered(id, answer, &at(now)) {
                            completions.push(completion);
                        }
                    }
                }
                Event::Request { exchange, user } => {
                    next_waiter += 1;
                    let subject = format!("user-{user}");
                    match acquire(&mut engine, exchange, &subject, next_waiter, at(now)) {
                        Acquired::Token { value, used: token, renew } => {
                            let expected = format!("Bearer {}", token_of(exchange, user));
                            prop_assert_eq!(value.as_bytes(), expected.as_bytes());
                            used.push(token);
                            if let Some(key) = renew {
                                next_call += 1;
                                engine.called(next_call, key);
                                calls.push((next_call, exchange, user));
                            }
                        }
                        Acquired::Join(key) => {
                            waiting.insert(next_waiter, (key, exchange, user));
                        }
                        Acquired::Call(key) => {
                            next_call += 1;
                            engine.called(next_call, key.clone());
                            calls.push((next_call, exchange, user));
                            waiting.insert(next_waiter, (key, exchange, user));
                        }
                        Acquired::Refuse(_) => {}
                    }
                }
            }
            for completion in completions {
                for waiter in completion.waiting {
                    let (_, exchange, user) = waiting.remove(&waiter).expect("served twice");
                    prop_assert_eq!(completion.exchange, ExchangeId(exchange));
                    if let Ok(obtained) = &completion.result {
                        let expected = format!("Bearer {}", token_of(exchange, user));
                        prop_assert_eq!(obtained.value.as_bytes(), expected.as_bytes());
                    }
                }
            }
            prop_assert_eq!(engine.crowd.all, waiting.len());
            let keys: HashSet<&Key> = engine.calls.values().collect();
            prop_assert_eq!(keys.len(), engine.calls.len(), "two calls for one key");
            prop_assert_eq!(engine.calls.len(), engine.flights.len());
            let renewals = engine.flights.values().filter(|flight| flight.renewal).count();
            prop_assert_eq!(engine.renewals, renewals);
        }
        // In the end the tick leaves nobody waiting.
        for completion in engine.tick(&at(now + 10_000)) {
            completion.waiting.iter().for_each(|waiter| {
                waiting.remove(waiter);
            });
        }
        prop_assert!(waiting.is_empty() && engine.flights.is_empty() && engine.calls.is_empty());
    }
}
