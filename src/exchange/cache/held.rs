//! An entry of the cache: a token in hand, how long it may be used and when it is renewed, or what is
//! left of one that a backend did not accept.

use super::super::key::Key;
use super::super::settings::{CachePolicy, Terms};
use crate::time::{Clock, Moment, Steady, Time};
use crate::token::BearerValue;
use std::rc::Rc;
use std::time::Duration;

/// A backend that keeps answering 401 makes an entry be forgotten at most this often.
const FORGET_INTERVAL: Duration = Duration::from_secs(10);
/// How long it is remembered which token a backend did not accept, where the next call must say so.
const REJECTED_INTERVAL: Duration = Duration::from_secs(3600);
/// A renewal that failed is not tried again sooner.
const RENEWAL_INTERVAL: Duration = Duration::from_secs(1);

/// A token in hand.
#[derive(Clone, Debug)]
pub(crate) struct Held {
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
    /// When a token of this key was last forgotten.
    pub(super) forgot_before: Option<Steady>,
}

#[derive(Debug)]
pub(super) enum Entry {
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
    pub(super) fn size(&self, key: &Key) -> usize {
        match self {
            Entry::Held(held) => held.size(),
            Entry::Forgotten { .. } => key.size(),
        }
    }

    /// Whether it is of no use any more.
    pub(super) fn is_over(&self, now: Moment) -> bool {
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

impl Held {
    /// A token of `key` that was asked for at the first of the times and expires at the second.
    /// `forgot_before` is when one of this key was last forgotten.
    pub(crate) fn new(
        key: Key,
        value: BearerValue,
        serial: u64,
        (asked, expires): (Moment, Time),
        forgot_before: Option<Steady>,
    ) -> Self {
        Self {
            key,
            value,
            serial,
            asked,
            expires,
            usable_until: asked.wall,
            renew_from: None,
            last_renewal: None,
            forgot_before,
        }
    }

    /// The bytes of key and token.
    pub(super) fn size(&self) -> usize {
        self.key.size().saturating_add(self.value.as_bytes().len())
    }

    /// Whether whoever asks now starts its renewal, as nobody else has just done.
    pub(super) fn is_to_be_renewed(&mut self, now: Time, clock: &dyn Clock) -> bool {
        if self.renew_from.is_none_or(|from| now < from) {
            return false;
        }
        let now = clock.steady();
        let is_due = has_passed(RENEWAL_INTERVAL, self.last_renewal, now);
        if is_due {
            self.last_renewal = Some(now);
        }
        is_due
    }

    /// The renewal that was due is left to the next request.
    pub(super) fn not_renewed(&mut self) {
        self.last_renewal = None;
    }

    /// Whether it is forgotten if a backend does not accept it: not so soon after another of its key.
    pub(super) fn may_be_forgotten(&self, now: Steady) -> bool {
        has_passed(FORGET_INTERVAL, self.forgot_before, now)
    }

    /// Not in the skew before its end, and not asked for in the future: then the clock was set back,
    /// and nothing is known of its age.
    pub(super) fn is_usable(&self, now: Time) -> bool {
        self.asked.wall <= now && now < self.usable_until
    }

    /// Computes the usable part of the token's life; false if there is none. What is left unused at its
    /// end is never more than a fifth of it, so that tokens of a short life are used at all.
    pub(super) fn fit(&mut self, policy: &CachePolicy, terms: &Terms, jitter: f64) -> bool {
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
pub(super) fn usable_until(
    asked: Time,
    expires: Time,
    policy: &CachePolicy,
    terms: &Terms,
) -> Time {
    let longest = terms.max_age.unwrap_or(policy.max_ttl).min(policy.max_ttl);
    let life = expires.since(asked).min(longest);
    let skew = terms.expiry_skew.unwrap_or(policy.expiry_skew);
    asked.plus(life.saturating_sub(skew.min(part(life, 0.2))))
}

fn part(of: Duration, share: f64) -> Duration {
    Duration::from_nanos((of.as_secs_f64() * share * 1e9) as u64)
}

/// Whether `interval` has passed since `then`, if there was a then.
fn has_passed(interval: Duration, then: Option<Steady>, now: Steady) -> bool {
    then.is_none_or(|then| now.since(then) >= interval)
}
