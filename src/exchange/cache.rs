//! What is remembered of exchanges: tokens in hand, subjects that were refused, tokens that a
//! backend did not accept. Bounded in number and in bytes; refusals go first, then what has not been
//! used for long.

use super::answer::Failure;
use super::key::Key;
use super::recent::Recent;
use super::settings::{CachePolicy, ExchangeId, Terms};
use crate::time::{Clock, Moment, Steady, Time};
use crate::token::BearerValue;
use std::borrow::Borrow;
use std::rc::Rc;
use std::time::Duration;

/// A backend that keeps answering 401 makes an entry be forgotten at most this often.
const FORGET_INTERVAL: Duration = Duration::from_secs(10);
/// How long it is remembered which token a backend did not accept, where the next call must say so.
const REJECTED_INTERVAL: Duration = Duration::from_secs(3600);
/// A renewal that failed is not tried again sooner.
const RENEWAL_INTERVAL: Duration = Duration::from_secs(1);
/// Each sweep looks at so many entries, or at a part of them, as a divisor, if that is more.
const SWEPT_AT_ONCE: usize = 64;
const SWEPT_PART: usize = 16;

/// A token in hand.
#[derive(Clone, Debug)]
pub struct Held {
    /// The key it is held under.
    pub key: Key,
    /// The header value.
    pub value: BearerValue,
    /// Tells this token from an earlier or later one of the same key.
    pub serial: u64,
    /// When it was asked for.
    pub asked: Moment,
    expires: Time,
    usable_until: Time,
    renew_from: Option<Time>,
    last_renewal: Option<Steady>,
    forgot_before: Option<Steady>,
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
    /// It was refused a moment ago, and until then.
    Refused(&'a Failure, Steady),
}

#[derive(Debug)]
enum Entry {
    Held(Held),
    /// A backend did not accept the token, which is gone.
    Forgotten {
        at: Steady,
        /// The token's digest, where the next call must say it.
        rejected: Option<Rc<str>>,
    },
}

impl Entry {
    /// The bytes of key and token.
    fn size(&self, key: &Key) -> usize {
        match self {
            Entry::Held(held) => held.size(key),
            Entry::Forgotten { .. } => key.size(),
        }
    }

    /// Whether it is of no use any more.
    fn is_over(&self, now: Moment) -> bool {
        match self {
            Entry::Held(held) => !held.asked.lasts_until(held.usable_until, now),
            Entry::Forgotten { at, rejected } => {
                let interval = match rejected {
                    Some(_) => REJECTED_INTERVAL,
                    None => FORGET_INTERVAL,
                };
                has_passed(interval, Some(*at), now.steady)
            }
        }
    }
}

#[derive(Debug)]
struct Refused {
    until: Steady,
    failure: Failure,
}

/// The cache of one plugin configuration and worker.
#[derive(Debug)]
pub struct TokenCache {
    entries: Recent<Entry>,
    /// Apart from the tokens, which no refusal may displace: subjects are the clients' to choose.
    refused: Recent<Refused>,
    policy: CachePolicy,
    held: usize,
    bytes: usize,
    serials: u64,
}

impl TokenCache {
    /// An empty cache. `seed` is random: it keeps clients from choosing subjects that collide.
    pub fn new(policy: CachePolicy, seed: u64) -> Self {
        Self {
            entries: Recent::new(seed),
            refused: Recent::new(seed),
            policy,
            held: 0,
            bytes: 0,
            // No two workers count through the same numbers: where tokens are shared, a serial tells
            // one from all others.
            serials: seed,
        }
    }

    /// How many tokens are held.
    pub fn held(&self) -> usize {
        self.held
    }

    /// Looks `key` up.
    pub fn get(&mut self, key: &impl Borrow<[u8]>, clock: &dyn Clock) -> Lookup<'_> {
        match self.entries.get_mut(key.borrow()) {
            Some(Entry::Held(held)) => {
                let now = clock.wall();
                if held.is_usable(now) {
                    if held.renew_from.is_none_or(|from| now < from) {
                        return Lookup::Held(held);
                    }
                    let now = clock.steady();
                    if !has_passed(RENEWAL_INTERVAL, held.last_renewal, now) {
                        return Lookup::Held(held);
                    }
                    held.last_renewal = Some(now);
                    return Lookup::HeldRenew(held);
                }
            }
            Some(Entry::Forgotten { .. }) => {}
            None => {
                if let Some(refused) = self.refused.peek(key.borrow())
                    && clock.steady() < refused.until
                {
                    return Lookup::Refused(&refused.failure, refused.until);
                }
            }
        }
        Lookup::Nothing
    }

    /// The renewal of the token of `key`, which was told just now, is left to the next request.
    pub fn not_renewed(&mut self, key: &Key) {
        if let Some(Entry::Held(held)) = self.entries.peek_mut(key.borrow()) {
            held.last_renewal = None;
        }
    }

    /// Keeps a token that was asked for at `asked` and expires at `expires`, if anything is left of
    /// it after the bounds, its own `terms` among them. `jitter` (0 to 1) moves the renewal within the last fifth of its life,
    /// so that tokens obtained together are not renewed together. Returns its serial if it is kept.
    pub fn hold(
        &mut self,
        key: Key,
        value: BearerValue,
        asked: Moment,
        expires: Time,
        terms: &Terms,
        jitter: f64,
    ) -> Option<u64> {
        let forgot_before = match self.entries.peek(key.borrow()) {
            Some(Entry::Held(Held { forgot_before, .. })) => *forgot_before,
            Some(Entry::Forgotten { at, .. }) => Some(*at),
            _ => None,
        };
        self.serials = self.serials.wrapping_add(1);
        let serial = self.serials;
        let lifetime = (asked, expires);
        self.take(key, value, serial, lifetime, forgot_before, terms, jitter)
            .then_some(serial)
    }

    /// Keeps a token that was given the number `serial`, was asked for at the first time of `lifetime`
    /// and expires at the second, as [`TokenCache::hold`] does. `forgot_before` is when a token of this
    /// key was last forgotten. True if it is kept.
    #[allow(
        clippy::too_many_arguments,
        reason = "each is another thing that is known of a token"
    )]
    pub fn take(
        &mut self,
        key: Key,
        value: BearerValue,
        serial: u64,
        (asked, expires): (Moment, Time),
        forgot_before: Option<Steady>,
        terms: &Terms,
        jitter: f64,
    ) -> bool {
        let mut held = Held {
            key: key.clone(),
            value,
            serial,
            asked,
            expires,
            usable_until: asked.wall,
            renew_from: None,
            last_renewal: None,
            forgot_before,
        };
        held.fit(&self.policy, terms, jitter) && self.insert(key, Entry::Held(held))
    }

    /// Whether a token of that `lifetime` would be used now.
    pub fn would_use(&self, (asked, expires): (Moment, Time), terms: &Terms, now: Moment) -> bool {
        asked.lasts_until(usable_until(asked.wall, expires, &self.policy, terms), now)
    }

    /// A token of `key` was forgotten at that time, as another worker knows.
    pub fn forgotten(&mut self, key: &Key, serial: u64, at: Steady) {
        if let Some(Entry::Held(held)) = self.entries.peek_mut(key.borrow())
            && held.serial == serial
        {
            held.forgot_before = held.forgot_before.max(Some(at));
        }
    }

    /// Drops the tokens of which `is_dropped` says so, by serial.
    pub fn drop_tokens(&mut self, is_dropped: impl Fn(u64) -> bool) {
        let entries = self.entries.iter();
        let dropped = entries.filter(|(_, entry)| match entry {
            Entry::Held(held) => is_dropped(held.serial),
            Entry::Forgotten { .. } => false,
        });
        let keys: Vec<Key> = dropped.map(|(key, _)| key.clone()).collect();
        for key in keys {
            if let Some((key, entry)) = self.entries.pop(key.borrow()) {
                self.gone(&key, &entry);
            }
        }
    }

    /// How long a refused subject is remembered.
    pub fn negative_ttl(&self) -> Duration {
        self.policy.negative_ttl
    }

    /// Whether `key` was refused a moment ago.
    pub fn is_refused(&self, key: &Key, now: Steady) -> bool {
        let refused = self.refused.peek(key.borrow());
        refused.is_some_and(|refused| now < refused.until)
    }

    /// Remembers for some time that `key` was refused. Its token, if there is one, stays.
    pub fn refuse(&mut self, key: Key, failure: Failure, time: Duration, now: Steady) {
        if self.refused.pop(key.borrow()).is_some() {
            self.bytes = self.bytes.saturating_sub(key.size());
        }
        if time.is_zero() {
            return;
        }
        let most = self.policy.max_entries.checked_div(10).unwrap_or(0).max(1);
        while self.refused.len() >= most && self.evict_refusal() {}
        let fits = self.count() < self.policy.max_entries
            && self.bytes.saturating_add(key.size()) <= self.policy.max_bytes;
        if fits {
            let until = now.plus(time);
            self.bytes = self.bytes.saturating_add(key.size());
            self.refused.put(key, Refused { until, failure });
        }
    }

    /// Drops whatever is known of `key`.
    pub fn remove(&mut self, key: &Key) {
        if let Some((key, entry)) = self.entries.pop(key.borrow()) {
            self.gone(&key, &entry);
        }
        if self.refused.pop(key.borrow()).is_some() {
            self.bytes = self.bytes.saturating_sub(key.size());
        }
    }

    /// The digest of the token of `key` that a backend did not accept, if it is remembered.
    pub fn rejected(&self, key: &Key) -> Option<Rc<str>> {
        match self.entries.peek(key.borrow()) {
            Some(Entry::Forgotten { rejected, .. }) => rejected.clone(),
            _ => None,
        }
    }

    /// A backend answered the token `serial` with 401: forgets it, unless a token of this key was
    /// forgotten less than ten seconds ago, or a newer one has taken its place. `digest` makes what is
    /// remembered of it.
    pub fn forget(
        &mut self,
        key: &Key,
        serial: u64,
        now: Steady,
        digest: impl FnOnce(&BearerValue) -> Option<Rc<str>>,
    ) -> bool {
        let Some(entry) = self.entries.peek_mut(key.borrow()) else {
            return false;
        };
        match entry {
            Entry::Held(held)
                if held.serial == serial
                    && has_passed(FORGET_INTERVAL, held.forgot_before, now) =>
            {
                self.bytes = self.bytes.saturating_sub(held.value.as_bytes().len());
                let rejected = digest(&held.value);
                *entry = Entry::Forgotten { at: now, rejected };
                self.held = self.held.saturating_sub(1);
                true
            }
            _ => false,
        }
    }

    /// Removes what has ended among a part of what there is, so that no token stays in memory for more
    /// than a few sweeps after its end.
    pub fn sweep(&mut self, clock: &dyn Clock) {
        let now = Moment::now(clock);
        for _ in 0..part_of(self.entries.len()) {
            let over = self.entries.pop_next_if(|entry| entry.is_over(now));
            if let Some((key, entry)) = over {
                self.gone(&key, &entry);
            }
        }
        for _ in 0..part_of(self.refused.len()) {
            let over = self.refused.pop_next_if(|one| one.until <= now.steady);
            if let Some((key, _)) = over {
                self.bytes = self.bytes.saturating_sub(key.size());
            }
        }
    }

    /// Moves the tokens of `other` here whose exchange is one of this configuration too: `same` maps
    /// an exchange of `other` to its place here. Each lives on under this configuration's bounds.
    pub fn take_over(
        &mut self,
        other: &mut Self,
        same: impl Fn(ExchangeId) -> Option<(ExchangeId, Terms)>,
        now: Time,
    ) {
        let mut staying = Vec::new();
        while let Some((key, entry)) = other.entries.pop_old() {
            let (mut held, exchange, terms) = match (entry, same(key.exchange())) {
                (Entry::Held(held), Some((exchange, terms))) => (held, exchange, terms),
                (entry, _) => {
                    staying.push((key, entry));
                    continue;
                }
            };
            other.held = other.held.saturating_sub(1);
            other.bytes = other.bytes.saturating_sub(held.size(&key));
            if held.fit(&self.policy, &terms, 0.0) && held.is_usable(now) {
                held.key = key.moved_to(exchange);
                self.insert(held.key.clone(), Entry::Held(held));
            }
        }
        for (key, entry) in staying {
            other.entries.put(key, entry);
        }
    }

    /// Keeps `entry`, if there can be room for it; if not, it displaces nothing.
    fn insert(&mut self, key: Key, entry: Entry) -> bool {
        self.remove(&key);
        let size = entry.size(&key);
        if size > self.policy.max_bytes {
            return false;
        }
        while self.count() >= self.policy.max_entries
            || self.bytes.saturating_add(size) > self.policy.max_bytes
        {
            if !self.evict_refusal() && !self.evict_token() {
                return false;
            }
        }
        if let Entry::Held(_) = entry {
            self.held = self.held.saturating_add(1);
        }
        self.bytes = self.bytes.saturating_add(size);
        self.entries.put(key, entry);
        true
    }

    fn count(&self) -> usize {
        self.entries.len().saturating_add(self.refused.len())
    }

    fn evict_token(&mut self) -> bool {
        match self.entries.pop_old() {
            Some((key, entry)) => {
                self.gone(&key, &entry);
                true
            }
            None => false,
        }
    }

    fn evict_refusal(&mut self) -> bool {
        match self.refused.pop_old() {
            Some((key, _)) => {
                self.bytes = self.bytes.saturating_sub(key.size());
                true
            }
            None => false,
        }
    }

    /// `entry` is no longer among the entries.
    fn gone(&mut self, key: &Key, entry: &Entry) {
        self.bytes = self.bytes.saturating_sub(entry.size(key));
        if let Entry::Held(_) = entry {
            self.held = self.held.saturating_sub(1);
        }
    }
}

impl Held {
    /// The bytes of key and token.
    fn size(&self, key: &Key) -> usize {
        key.size().saturating_add(self.value.as_bytes().len())
    }

    /// Not in the skew before its end, and not asked for in the future: then the clock was set back,
    /// and nothing is known of its age.
    fn is_usable(&self, now: Time) -> bool {
        self.asked.wall <= now && now < self.usable_until
    }

    /// Computes the usable part of the token's life; false if there is none. What is left unused at its
    /// end is never more than a fifth of it, so that tokens of a short life are used at all.
    fn fit(&mut self, policy: &CachePolicy, terms: &Terms, jitter: f64) -> bool {
        let asked = self.asked.wall;
        self.usable_until = usable_until(asked, self.expires, policy, terms);
        let usable = self.usable_until.since(asked);
        let ahead = part(usable, 0.2 - 0.05 * jitter.clamp(0.0, 1.0));
        self.renew_from = terms
            .refresh_ahead
            .unwrap_or(policy.refresh_ahead)
            .then(|| self.usable_until.minus(ahead));
        !usable.is_zero()
    }
}

/// The end of the usable part of a token's life.
fn usable_until(asked: Time, expires: Time, policy: &CachePolicy, terms: &Terms) -> Time {
    let longest = terms.max_age.unwrap_or(policy.max_ttl).min(policy.max_ttl);
    let life = expires.since(asked).min(longest);
    let skew = terms.expiry_skew.unwrap_or(policy.expiry_skew);
    asked.plus(life.saturating_sub(skew.min(part(life, 0.2))))
}

/// How many of so many are swept at once.
fn part_of(all: usize) -> usize {
    let part = all.checked_div(SWEPT_PART).unwrap_or(0);
    part.max(SWEPT_AT_ONCE).min(all)
}

fn part(of: Duration, share: f64) -> Duration {
    Duration::from_nanos((of.as_secs_f64() * share * 1e9) as u64)
}

/// Whether `interval` has passed since `then`, if there was a then.
fn has_passed(interval: Duration, then: Option<Steady>, now: Steady) -> bool {
    then.is_none_or(|then| now.since(then) >= interval)
}

#[cfg(test)]
#[path = "cache_tests.rs"]
mod tests;
