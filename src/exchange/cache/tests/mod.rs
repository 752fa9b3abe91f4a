//! What the cache gives back, step by step on a clock of its own.

mod any_order;
mod ends;
mod life;
mod room;

use super::*;
use crate::exchange::answer::{Detail, FailureKind, StsError};
use crate::time::Clocks;
use crate::token::BearerToken;

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
        error: Some(StsError::InvalidGrant),
        ..Failure::new(FailureKind::Rejected, Detail::Status(400))
    }
}

/// The STS refuses a subject, and its token goes.
fn refuse(cache: &mut TokenCache, key: Key, now: Steady) {
    let ttl = cache.negative_ttl();
    cache.remove_token(&key);
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
