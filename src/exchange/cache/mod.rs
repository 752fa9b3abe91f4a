//! What is remembered of exchanges: tokens in hand, subjects that were refused, tokens that a
//! backend did not accept. Bounded in number and in bytes; refusals go first, then what has not been
//! used for long.

mod held;
mod recent;
#[cfg(test)]
mod tests;

pub(crate) use held::Held;

use super::answer::Failure;
use super::key::Key;
use super::settings::{CachePolicy, ExchangeId, Terms};
use crate::table::Keyed;
use crate::time::{Clock, Moment, Steady, Time};
use crate::token::BearerValue;
use held::{Entry, usable_until};
use recent::Recent;
use std::rc::Rc;
use std::time::Duration;

/// Each sweep looks at so many entries, or at a part of them, as a divisor, if that is more.
const SWEPT_AT_ONCE: usize = 64;
const SWEPT_PART: usize = 16;

/// What the cache has for a key.
#[derive(Debug)]
pub(crate) enum Lookup<'a> {
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
struct Refused {
    until: Steady,
    failure: Failure,
}

/// The cache of one plugin configuration and worker.
#[derive(Debug)]
pub(crate) struct TokenCache {
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
    pub(crate) fn new(policy: CachePolicy, seed: u64) -> Self {
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
    pub(crate) fn held(&self) -> usize {
        self.held
    }

    /// Looks `key` up.
    pub(crate) fn get(
        &mut self,
        key: &(impl Keyed<Form = [u8]> + ?Sized),
        clock: &dyn Clock,
    ) -> Lookup<'_> {
        if let Some(Entry::Held(held)) = self.entries.get_mut(key.form()) {
            let now = clock.wall();
            if held.is_usable(now) {
                return match held.is_to_be_renewed(now, clock) {
                    true => Lookup::HeldRenew(held),
                    false => Lookup::Held(held),
                };
            }
        }
        // A token that has ended, or that a backend did not accept, may have been refused since.
        match self.refused.peek(key.form()) {
            Some(refused) if clock.steady() < refused.until => {
                Lookup::Refused(&refused.failure, refused.until)
            }
            _ => Lookup::Nothing,
        }
    }

    /// The renewal of the token of `key`, which was told just now, is left to the next request.
    pub(crate) fn not_renewed(&mut self, key: &Key) {
        if let Some(Entry::Held(held)) = self.entries.peek_mut(key.form()) {
            held.not_renewed();
        }
    }

    /// Keeps a token that was asked for at `asked` and expires at `expires`, if anything is left of
    /// it after the bounds, its own `terms` among them. `jitter` (0 to 1) moves the renewal within the
    /// last fifth of its life, so that tokens obtained together are not renewed together. Returns its
    /// serial if it is kept.
    pub(crate) fn hold(
        &mut self,
        key: Key,
        value: BearerValue,
        asked: Moment,
        expires: Time,
        terms: &Terms,
        jitter: f64,
    ) -> Option<u64> {
        let forgot_before = match self.entries.peek(key.form()) {
            Some(Entry::Held(Held { forgot_before, .. })) => *forgot_before,
            Some(Entry::Forgotten { at, .. }) => Some(*at),
            _ => None,
        };
        self.serials = self.serials.wrapping_add(1);
        let serial = self.serials;
        let held = Held::new(key, value, serial, (asked, expires), forgot_before);
        self.take(held, terms, jitter).then_some(serial)
    }

    /// Keeps a token that has its serial, as [`TokenCache::hold`] does. True if it is kept.
    pub(crate) fn take(&mut self, mut held: Held, terms: &Terms, jitter: f64) -> bool {
        held.fit(&self.policy, terms, jitter) && self.insert(held.key.clone(), Entry::Held(held))
    }

    /// Whether a token of that `lifetime` would be used now.
    pub(crate) fn would_use(
        &self,
        (asked, expires): (Moment, Time),
        terms: &Terms,
        now: Moment,
    ) -> bool {
        asked.lasts_until(usable_until(asked.wall, expires, &self.policy, terms), now)
    }

    /// A token of `key` was forgotten at that time, as another worker knows.
    pub(crate) fn forgotten(&mut self, key: &Key, serial: u64, at: Steady) {
        if let Some(Entry::Held(held)) = self.entries.peek_mut(key.form())
            && held.serial == serial
        {
            held.forgot_before = held.forgot_before.max(Some(at));
        }
    }

    /// Drops the tokens of which `is_dropped` says so, by serial.
    pub(crate) fn drop_tokens(&mut self, is_dropped: impl Fn(u64) -> bool) {
        let entries = self.entries.iter();
        let dropped = entries.filter(|(_, entry)| match entry {
            Entry::Held(held) => is_dropped(held.serial),
            Entry::Forgotten { .. } => false,
        });
        let keys: Vec<Key> = dropped.map(|(key, _)| key.clone()).collect();
        for key in keys {
            let entry = self.entries.pop(key.form());
            self.gone(entry);
        }
    }

    /// How long a refused subject is remembered.
    pub(crate) fn negative_ttl(&self) -> Duration {
        self.policy.negative_ttl
    }

    /// Whether `key` was refused a moment ago.
    pub(crate) fn is_refused(&self, key: &Key, now: Steady) -> bool {
        let refused = self.refused.peek(key.form());
        refused.is_some_and(|refused| now < refused.until)
    }

    /// Remembers for some time that `key` was refused. Its token, if there is one, stays.
    pub(crate) fn refuse(&mut self, key: Key, failure: Failure, time: Duration, now: Steady) {
        let before = self.refused.pop(key.form());
        self.refusal_gone(before);
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

    /// Drops the token of `key`. What a backend did not accept before stays known: the next call says so.
    pub(crate) fn remove_token(&mut self, key: &Key) {
        if let Some(Entry::Held(_)) = self.entries.peek(key.form()) {
            self.remove(key);
        }
    }

    /// Drops whatever is known of `key`.
    fn remove(&mut self, key: &Key) {
        let entry = self.entries.pop(key.form());
        self.gone(entry);
        let refusal = self.refused.pop(key.form());
        self.refusal_gone(refusal);
    }

    /// Whether there is a token of `key`, or what is left of one.
    pub(crate) fn knows(&self, key: &Key) -> bool {
        self.entries.peek(key.form()).is_some()
    }

    /// The digest of the token of `key` that a backend did not accept, if it is remembered.
    pub(crate) fn rejected(&self, key: &Key) -> Option<Rc<str>> {
        match self.entries.peek(key.form()) {
            Some(Entry::Forgotten { rejected, .. }) => rejected.clone(),
            _ => None,
        }
    }

    /// A backend answered the token `serial` with 401: forgets it, unless a token of this key was
    /// forgotten less than ten seconds ago, or a newer one has taken its place. `digest` makes what is
    /// remembered of it.
    pub(crate) fn forget(
        &mut self,
        key: &Key,
        serial: u64,
        now: Steady,
        digest: impl FnOnce(&BearerValue) -> Option<Rc<str>>,
    ) -> bool {
        let Some(entry) = self.entries.peek_mut(key.form()) else {
            return false;
        };
        match entry {
            Entry::Held(held) if held.serial == serial && held.may_be_forgotten(now) => {
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
    pub(crate) fn sweep(&mut self, clock: &dyn Clock) {
        let now = Moment::now(clock);
        for _ in 0..part_of(self.entries.len()) {
            let over = self.entries.pop_next_if(|entry| entry.is_over(now));
            self.gone(over);
        }
        for _ in 0..part_of(self.refused.len()) {
            let over = self.refused.pop_next_if(|one| one.until <= now.steady);
            self.refusal_gone(over);
        }
    }

    /// Moves the tokens of `other` here whose exchange is one of this configuration too: `same` maps
    /// an exchange of `other` to its place here. Each lives on under this configuration's bounds.
    pub(crate) fn take_over(
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
            other.bytes = other.bytes.saturating_sub(held.size());
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
        let old = self.entries.pop_old();
        self.gone(old)
    }

    fn evict_refusal(&mut self) -> bool {
        let old = self.refused.pop_old();
        self.refusal_gone(old)
    }

    /// It is no longer among the entries, if there was one.
    fn gone(&mut self, entry: Option<(Key, Entry)>) -> bool {
        let Some((key, entry)) = entry else {
            return false;
        };
        self.bytes = self.bytes.saturating_sub(entry.size(&key));
        if let Entry::Held(_) = entry {
            self.held = self.held.saturating_sub(1);
        }
        true
    }

    /// The same for a refusal.
    fn refusal_gone(&mut self, refusal: Option<(Key, Refused)>) -> bool {
        let Some((key, _)) = refusal else {
            return false;
        };
        self.bytes = self.bytes.saturating_sub(key.size());
        true
    }
}

/// How many of so many are swept at once.
fn part_of(all: usize) -> usize {
    let part = all.checked_div(SWEPT_PART).unwrap_or(0);
    part.max(SWEPT_AT_ONCE).min(all)
}
