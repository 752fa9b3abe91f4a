//! What is remembered of exchanges: tokens in hand, subjects that were refused, tokens that a
//! backend did not accept. Bounded, least recently used out first.

use super::answer::StsError;
use crate::plan::{CachePolicy, ExchangeId};
use crate::time::Time;
use crate::token::BearerValue;
use foldhash::fast::FixedState;
use lru::LruCache;
use std::borrow::Borrow;
use std::fmt;
use std::rc::Rc;
use std::time::Duration;

/// A backend that keeps answering 401 makes an entry be forgotten at most this often.
const FORGET_INTERVAL: Duration = Duration::from_secs(10);
/// A renewal that failed is not tried again sooner.
const RENEWAL_INTERVAL: Duration = Duration::from_secs(1);

/// Everything that could make an answer differ: the exchange, which stands for the STS and all its
/// parameters, and the whole subject token.
///
/// `Debug` never prints the subject.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Key(Rc<[u8]>);

impl Key {
    /// The key of exchanging `subject` as `exchange` says.
    pub fn new(exchange: ExchangeId, subject: Vec<u8>) -> Self {
        Self::from_bytes(Self::bytes(exchange, subject))
    }

    /// The bytes of that key: enough to look an entry up, which then lends its own key.
    pub fn bytes(exchange: ExchangeId, mut subject: Vec<u8>) -> Vec<u8> {
        // The id has a fixed width and stands last: no two pairs give the same bytes.
        subject.extend_from_slice(&exchange.0.to_le_bytes());
        subject
    }

    /// The key of these [`Key::bytes`].
    pub fn from_bytes(bytes: Vec<u8>) -> Self {
        Self(bytes.into())
    }

    /// The exchange.
    pub fn exchange(&self) -> ExchangeId {
        ExchangeId(
            self.parts()
                .map_or(u32::MAX, |(_, id)| u32::from_le_bytes(*id)),
        )
    }

    /// The subject token.
    pub fn subject(&self) -> &[u8] {
        self.parts().map_or(&[], |(subject, _)| subject)
    }

    fn parts(&self) -> Option<(&[u8], &[u8; 4])> {
        self.0.split_last_chunk::<4>()
    }
}

impl Borrow<[u8]> for Key {
    fn borrow(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Key({:?}, [redacted])", self.exchange())
    }
}

/// A token in hand.
#[derive(Clone, Debug)]
pub struct Held {
    /// The key it is held under.
    pub key: Key,
    /// The header value.
    pub value: BearerValue,
    /// Tells this token from an earlier or later one of the same key.
    pub serial: u64,
    obtained: Time,
    expires: Time,
    usable_until: Time,
    renew_from: Time,
    last_renewal: Time,
    forgot_before: Option<Time>,
}

/// What the cache has for a key.
#[derive(Debug)]
pub enum Lookup<'a> {
    /// Nothing that can be used.
    Nothing,
    /// A token.
    Held(&'a Held),
    /// A token that should be renewed now; the caller starts the renewal.
    HeldRenew(&'a Held),
    /// The STS refused this subject a moment ago.
    Refused(Option<StsError>),
}

#[derive(Debug)]
enum Entry {
    Held(Held),
    Refused {
        at: Time,
        until: Time,
        error: Option<StsError>,
    },
    /// A backend did not accept the token, which is gone.
    Forgotten {
        at: Time,
    },
}

/// The cache of one plugin configuration and worker.
#[derive(Debug)]
pub struct TokenCache {
    entries: LruCache<Key, Entry, FixedState>,
    policy: CachePolicy,
    held: usize,
    serials: u64,
}

impl TokenCache {
    /// An empty cache. `seed` is random: it keeps clients from choosing subjects that collide.
    pub fn new(policy: CachePolicy, seed: u64) -> Self {
        Self {
            entries: LruCache::unbounded_with_hasher(FixedState::with_seed(seed)),
            policy,
            held: 0,
            serials: 0,
        }
    }

    /// How many tokens are held.
    pub fn held(&self) -> usize {
        self.held
    }

    /// Looks `key` up.
    pub fn get(&mut self, key: &impl Borrow<[u8]>, now: Time) -> Lookup<'_> {
        let refresh = self.policy.refresh_ahead;
        match self.entries.get_mut::<[u8]>(key.borrow()) {
            Some(Entry::Held(held)) if held.is_usable(now) => {
                let due = refresh
                    && held.renew_from <= now
                    && has_passed(RENEWAL_INTERVAL, held.last_renewal, now);
                if due {
                    held.last_renewal = now;
                    Lookup::HeldRenew(held)
                } else {
                    Lookup::Held(held)
                }
            }
            Some(Entry::Refused { at, until, error }) if *at <= now && now < *until => {
                Lookup::Refused(*error)
            }
            _ => Lookup::Nothing,
        }
    }

    /// Keeps a token that was obtained at `now` and expires at `expires`, if anything is left of
    /// it after the bounds. `jitter` (0 to 1) moves the renewal within the last fifth of its life,
    /// so that tokens obtained together are not renewed together. Returns its serial if it is kept.
    pub fn hold(
        &mut self,
        key: Key,
        value: BearerValue,
        now: Time,
        expires: Time,
        jitter: f64,
    ) -> Option<u64> {
        let forgot_before = match self.entries.peek::<[u8]>(key.borrow()) {
            Some(Entry::Held(Held { forgot_before, .. })) => *forgot_before,
            Some(Entry::Forgotten { at }) => Some(*at),
            _ => None,
        };
        self.serials = self.serials.wrapping_add(1);
        let mut held = Held {
            key: key.clone(),
            value,
            serial: self.serials,
            obtained: now,
            expires,
            usable_until: now,
            renew_from: now,
            last_renewal: Time::default(),
            forgot_before,
        };
        if !held.fit(&self.policy, jitter) || self.policy.max_entries == 0 {
            return None;
        }
        let serial = held.serial;
        self.insert(key, Entry::Held(held));
        Some(serial)
    }

    /// Remembers that the STS refused the subject, and drops its token.
    pub fn refuse(&mut self, key: Key, error: Option<StsError>, now: Time) {
        self.remove(&key);
        if self.policy.max_entries > 0 && !self.policy.negative_ttl.is_zero() {
            let until = now.plus(self.policy.negative_ttl);
            let at = now;
            self.insert(key, Entry::Refused { at, until, error });
        }
    }

    /// Drops whatever is known of `key`.
    pub fn remove(&mut self, key: &Key) {
        if let Some(Entry::Held(_)) = self.entries.pop::<[u8]>(key.borrow()) {
            self.held = self.held.saturating_sub(1);
        }
    }

    /// A backend answered the token `serial` with 401: forgets it, unless a token of this key was
    /// forgotten less than ten seconds ago, or a newer one has taken its place.
    pub fn forget(&mut self, key: &Key, serial: u64, now: Time) -> bool {
        let Some(entry) = self.entries.peek_mut::<[u8]>(key.borrow()) else {
            return false;
        };
        match entry {
            Entry::Held(held)
                if held.serial == serial
                    && held
                        .forgot_before
                        .is_none_or(|before| has_passed(FORGET_INTERVAL, before, now)) =>
            {
                *entry = Entry::Forgotten { at: now };
                self.held = self.held.saturating_sub(1);
                true
            }
            _ => false,
        }
    }

    /// Removes what has expired from the least recently used end.
    pub fn sweep(&mut self, now: Time) {
        while let Some((_, entry)) = self.entries.peek_lru() {
            let over = match entry {
                Entry::Held(held) => !held.is_usable(now),
                Entry::Refused { at, until, .. } => now < *at || *until <= now,
                Entry::Forgotten { at } => has_passed(FORGET_INTERVAL, *at, now),
            };
            if !over {
                return;
            }
            self.evict();
        }
    }

    /// Takes over the tokens of `other` whose exchange is one of this configuration too:
    /// `same` maps an exchange of `other` to its place here. Each lives on under this
    /// configuration's bounds.
    pub fn adopt(
        &mut self,
        other: &Self,
        same: impl Fn(ExchangeId) -> Option<ExchangeId>,
        now: Time,
    ) {
        for (key, entry) in other.entries.iter().rev() {
            let (Entry::Held(held), Some(exchange)) = (entry, same(key.exchange())) else {
                continue;
            };
            let mut held = held.clone();
            if held.fit(&self.policy, 0.0) && held.is_usable(now) && self.policy.max_entries > 0 {
                self.serials = self.serials.wrapping_add(1);
                held.serial = self.serials;
                held.key = Key::new(exchange, key.subject().to_vec());
                self.insert(held.key.clone(), Entry::Held(held));
            }
        }
    }

    fn insert(&mut self, key: Key, entry: Entry) {
        self.remove(&key);
        while self.entries.len() >= self.policy.max_entries.max(1) {
            self.evict();
        }
        if let Entry::Held(_) = entry {
            self.held = self.held.saturating_add(1);
        }
        self.entries.put(key, entry);
    }

    fn evict(&mut self) {
        if let Some((_, Entry::Held(_))) = self.entries.pop_lru() {
            self.held = self.held.saturating_sub(1);
        }
    }
}

impl Held {
    /// Not in the skew before its end, and not obtained in the future: then the clock was set back,
    /// and nothing is known of its age.
    fn is_usable(&self, now: Time) -> bool {
        self.obtained <= now && now < self.usable_until
    }

    /// Computes the usable part of the token's life; false if there is none.
    fn fit(&mut self, policy: &CachePolicy, jitter: f64) -> bool {
        let life = self.expires.since(self.obtained).min(policy.max_ttl);
        let usable = life.saturating_sub(policy.expiry_skew);
        self.usable_until = self.obtained.plus(usable);
        let share = 0.2 - 0.05 * jitter.clamp(0.0, 1.0);
        let ahead = Duration::from_nanos((usable.as_secs_f64() * share * 1e9) as u64);
        self.renew_from = self.usable_until.minus(ahead);
        !usable.is_zero()
    }
}

/// Whether `interval` has passed since `then`. A clock that was set back must not stretch it.
fn has_passed(interval: Duration, then: Time, now: Time) -> bool {
    now < then || now.since(then) >= interval
}

#[cfg(test)]
#[path = "cache_tests.rs"]
mod tests;
