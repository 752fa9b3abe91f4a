//! One call for many: which request gets a token in hand, which one waits, and which one makes the
//! call.
//!
//! The engine is told what happens and when, and answers with what to do. It calls nobody, so every
//! order of events can be played through in a test.

use super::Exchange;
use super::answer::{Answer, ExpiresIn, Failure, FailureKind, Issued, judge};
use super::breaker::{Admitted, Breaker, whole_seconds};
use super::cache::{Key, Lookup, TokenCache};
use super::jwt;
use super::request::TokenRequest;
use super::results::{Acquired, Completion, Failed, Obtained, Stop, Used};
use crate::plan::{CachePolicy, ExchangeId};
use crate::time::Time;
use crate::token::BearerToken;
use foldhash::fast::FixedState;
use hashbrown::HashMap;
use std::rc::Rc;
use std::time::Duration;

/// The most requests that wait for one call.
pub const MAX_WAITING_PER_KEY: usize = 1024;
/// The most requests that wait in one worker, and the most calls under way.
pub const MAX_WAITING: usize = 8192;
/// The most renewals under way at once: they are a convenience, and must not crowd out requests.
const MAX_RENEWALS: usize = 256;
/// An answer that is this much overdue will not come: Envoy's own timer has failed to tell us.
const OVERDUE: Duration = Duration::from_secs(2);

/// All exchanges of one plugin configuration in one worker. `W` is a waiting request.
pub struct Engine<W> {
    exchanges: Rc<[Exchange]>,
    requests: Vec<TokenRequest>,
    breakers: Vec<Breaker>,
    breaker_of: Vec<usize>,
    cache: TokenCache,
    flights: HashMap<Key, Flight<W>, FixedState>,
    calls: HashMap<u32, Key, FixedState>,
    waiting: usize,
    renewals: usize,
    random: Random,
}

struct Flight<W> {
    waiting: Vec<W>,
    started: Time,
    renewal: bool,
    admitted: Admitted,
    /// The request on whose behalf the call is made, for the counters.
    on_behalf_of: u32,
}

impl<W> Engine<W> {
    /// An engine for `exchanges`. `seed` is random.
    pub fn new(exchanges: Vec<Exchange>, policy: CachePolicy, seed: u64) -> Self {
        let exchanges: Rc<[Exchange]> = exchanges.into();
        let mut endpoints = HashMap::with_hasher(FixedState::with_seed(seed));
        let breaker_of = exchanges
            .iter()
            .map(|exchange| {
                let next = endpoints.len();
                *endpoints
                    .entry((&exchange.cluster, &exchange.token_url))
                    .or_insert(next)
            })
            .collect();
        let breakers = vec![Breaker::default(); endpoints.len()];
        Self {
            requests: exchanges.iter().map(TokenRequest::new).collect(),
            breakers,
            breaker_of,
            cache: TokenCache::new(policy, seed),
            flights: HashMap::with_hasher(FixedState::with_seed(seed)),
            calls: HashMap::with_hasher(FixedState::with_seed(seed)),
            waiting: 0,
            renewals: 0,
            random: Random(seed),
            exchanges: Rc::clone(&exchanges),
        }
    }

    /// The exchange that `id` stands for.
    pub fn exchange(&self, id: ExchangeId) -> Option<&Exchange> {
        self.exchanges.get(index(id))
    }

    /// How many tokens are held.
    pub fn held(&self) -> usize {
        self.cache.held()
    }

    /// A request needs `subject` exchanged as `exchange` says. Unless the answer is
    /// [`Acquired::Token`] or [`Acquired::Refuse`], `waiter` is kept until the call completes.
    pub fn acquire(
        &mut self,
        exchange: ExchangeId,
        subject: BearerToken,
        on_behalf_of: u32,
        waiter: impl FnOnce() -> W,
        now: Time,
    ) -> Acquired {
        let key = Key::bytes(exchange, subject.into_bytes());
        match self.cache.get(&key, now) {
            Lookup::Held(held) => Acquired::Token {
                value: held.value.clone(),
                used: Used::of(held),
                renew: None,
            },
            Lookup::HeldRenew(held) => {
                let (value, used) = (held.value.clone(), Used::of(held));
                let renew = self.start_renewal(&used.key, on_behalf_of, now);
                Acquired::Token { value, used, renew }
            }
            Lookup::Refused(error) => Acquired::Refuse(Stop::RefusedBefore(error)),
            Lookup::Nothing => self.wait(Key::from_bytes(key), on_behalf_of, waiter, now),
        }
    }

    fn wait(
        &mut self,
        key: Key,
        on_behalf_of: u32,
        waiter: impl FnOnce() -> W,
        now: Time,
    ) -> Acquired {
        if self.waiting >= MAX_WAITING {
            return Acquired::Refuse(Stop::Crowded);
        }
        if let Some(flight) = self.flights.get_mut(&key) {
            if flight.waiting.len() >= MAX_WAITING_PER_KEY {
                return Acquired::Refuse(Stop::Crowded);
            }
            flight.waiting.push(waiter());
            self.waiting = self.waiting.saturating_add(1);
            return Acquired::Join(key);
        }
        if self.flights.len() >= MAX_WAITING {
            return Acquired::Refuse(Stop::Crowded);
        }
        let admitted = match self
            .breaker(key.exchange())
            .map(|breaker| breaker.admit(now))
        {
            None => Admitted::Freely,
            Some(Ok(admitted)) => admitted,
            Some(Err(stopped)) => {
                return Acquired::Refuse(Stop::BreakerOpen(whole_seconds(stopped.retry_after)));
            }
        };
        self.waiting = self.waiting.saturating_add(1);
        let flight = Flight {
            waiting: vec![waiter()],
            started: now,
            renewal: false,
            admitted,
            on_behalf_of,
        };
        self.flights.insert(key.clone(), flight);
        Acquired::Call(key)
    }

    fn start_renewal(&mut self, key: &Key, on_behalf_of: u32, now: Time) -> Option<Key> {
        let room = self.renewals < MAX_RENEWALS && self.flights.len() < MAX_WAITING;
        if !room || self.flights.contains_key(key) {
            return None;
        }
        let admitted = self.breaker(key.exchange())?.admit(now).ok()?;
        self.renewals = self.renewals.saturating_add(1);
        let flight = Flight {
            waiting: Vec::new(),
            started: now,
            renewal: true,
            admitted,
            on_behalf_of,
        };
        self.flights.insert(key.clone(), flight);
        Some(key.clone())
    }

    /// The request that `key` stands for, to be sent now.
    pub fn request(&self, key: &Key) -> Option<(&TokenRequest, Vec<u8>)> {
        let request = self.requests.get(index(key.exchange()))?;
        Some((request, request.body(key.subject())))
    }

    /// The call for `key` is under way as `call`.
    pub fn called(&mut self, call: u32, key: Key) {
        self.calls.insert(call, key);
    }

    /// The answer to `call` came. `None` if nobody knows of that call.
    pub fn answered(&mut self, call: u32, answer: Answer<'_>, now: Time) -> Option<Completion<W>> {
        let key = self.calls.remove(&call)?;
        self.completed(key, answer, now)
    }

    /// The call for `key` ended, or could not be made.
    pub fn completed(&mut self, key: Key, answer: Answer<'_>, now: Time) -> Option<Completion<W>> {
        let flight = self.flights.remove(&key)?;
        self.waiting = self.waiting.saturating_sub(flight.waiting.len());
        if flight.renewal {
            self.renewals = self.renewals.saturating_sub(1);
        }
        let id = key.exchange();
        let exchange = self.exchanges.get(index(id))?;
        let elapsed = now.since(flight.started);
        let requested = exchange.requested_token_type.as_deref();
        let judged = judge(answer, requested, elapsed, exchange.timeout);
        let failure = judged.as_ref().err();
        let retry_after = self.tell_breaker(id, flight.admitted, failure, now);
        let result = match judged {
            Ok(issued) => Ok(self.hold(key, issued, now)),
            Err(failure) => {
                self.remember_failure(key, failure, now);
                let refusal = failure.kind.refusal(retry_after);
                Err(Failed { failure, refusal })
            }
        };
        Some(Completion {
            exchange: id,
            waiting: flight.waiting,
            result,
            renewal: flight.renewal,
            on_behalf_of: flight.on_behalf_of,
            elapsed,
        })
    }

    fn tell_breaker(
        &mut self,
        exchange: ExchangeId,
        admitted: Admitted,
        failure: Option<&Failure>,
        now: Time,
    ) -> u32 {
        let Some(breaker) = self.breaker(exchange) else {
            return 1;
        };
        match failure.map(|failure| failure.kind) {
            Some(FailureKind::Unavailable | FailureKind::Timeout) => breaker.failed(admitted, now),
            Some(FailureKind::UnknownCluster) => breaker.not_called(now),
            _ => breaker.answered(),
        }
        breaker.retry_after(now)
    }

    /// The token's life ends with the first of: what the STS says, the subject's own end, and the
    /// issued token's own, which some STS leave out of account. Without a word from the STS, the
    /// issued token's own end is all there is.
    fn hold(&mut self, key: Key, issued: Issued, now: Time) -> Obtained {
        let value = issued.token.to_value();
        let own = jwt::expiry(issued.token.as_bytes());
        let expires = match issued.expires {
            // An own end that is past already tells that clocks differ, not that the STS issued a
            // dead token.
            ExpiresIn::After(lifetime) => {
                let stated = now.plus(lifetime);
                Some(
                    own.filter(|own| *own > now)
                        .map_or(stated, |own| own.min(stated)),
                )
            }
            ExpiresIn::Absent => own,
            ExpiresIn::Unusable => None,
        };
        let expires = expires.map(|expires| match jwt::expiry(key.subject()) {
            Some(subject_expires) => expires.min(subject_expires),
            None => expires,
        });
        let jitter = self.random.unit();
        let serial = expires.and_then(|expires| {
            self.cache
                .hold(key.clone(), value.clone(), now, expires, jitter)
        });
        Obtained {
            value,
            used: serial.map(|serial| Used { key, serial }),
        }
    }

    fn remember_failure(&mut self, key: Key, failure: Failure, now: Time) {
        match failure.kind {
            FailureKind::Rejected => self.cache.refuse(key, failure.error, now),
            // The STS was reached and denies this exchange: the token in hand is no longer meant
            // to be used.
            FailureKind::InsufficientScope | FailureKind::Forbidden => self.cache.remove(&key),
            // The STS could not say: a token in hand serves to the end of its usable life.
            FailureKind::Misconfigured
            | FailureKind::Unavailable
            | FailureKind::Timeout
            | FailureKind::InvalidResponse
            | FailureKind::UnknownCluster => {}
        }
    }

    /// A waiting request went away. The call goes on for the others, and for the cache.
    pub fn leave(&mut self, key: &Key, is_it: impl Fn(&W) -> bool) {
        if let Some(flight) = self.flights.get_mut(key) {
            let before = flight.waiting.len();
            flight.waiting.retain(|waiter| !is_it(waiter));
            let left = before.saturating_sub(flight.waiting.len());
            self.waiting = self.waiting.saturating_sub(left);
        }
    }

    /// The backend answered a request that went on with `used` with 401.
    pub fn unauthorized(&mut self, used: &Used, now: Time) -> bool {
        self.cache.forget(&used.key, used.serial, now)
    }

    /// Time has passed: removes what has expired, and ends calls whose answer never came.
    pub fn tick(&mut self, now: Time) -> Vec<Completion<W>> {
        self.cache.sweep(now);
        let exchanges = Rc::clone(&self.exchanges);
        let is_overdue = |(key, flight): (&Key, &Flight<W>)| {
            let timeout = exchanges.get(index(key.exchange()))?.timeout;
            let elapsed = now.since(flight.started);
            (elapsed >= timeout.saturating_add(OVERDUE)).then(|| key.clone())
        };
        let overdue: Vec<Key> = self.flights.iter().filter_map(is_overdue).collect();
        // Should an answer come after all, it is not one to a later call for the same key.
        if !overdue.is_empty() {
            self.calls.retain(|_, key| !overdue.contains(key));
        }
        overdue
            .into_iter()
            .filter_map(|key| self.completed(key, Answer::Reset, now))
            .collect()
    }

    /// Takes over the tokens of an earlier configuration's engine, where the exchange is the same
    /// to the last parameter.
    pub fn adopt<V>(&mut self, earlier: &Engine<V>, now: Time) {
        let ours: HashMap<&Exchange, ExchangeId, FixedState> = (0..)
            .map(ExchangeId)
            .zip(&*self.exchanges)
            .map(|(id, exchange)| (exchange, id))
            .collect();
        let same: Vec<Option<ExchangeId>> = earlier
            .exchanges
            .iter()
            .map(|theirs| ours.get(theirs).copied())
            .collect();
        let same = |id: ExchangeId| same.get(index(id)).copied().flatten();
        self.cache.adopt(&earlier.cache, same, now);
    }

    fn breaker(&mut self, exchange: ExchangeId) -> Option<&mut Breaker> {
        let place = *self.breaker_of.get(index(exchange))?;
        self.breakers.get_mut(place)
    }
}

fn index(exchange: ExchangeId) -> usize {
    usize::try_from(exchange.0).unwrap_or(usize::MAX)
}

/// SplitMix64: spreads renewals, guards no secret.
struct Random(u64);

impl Random {
    /// A number from 0 to 1.
    fn unit(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^= mixed >> 31;
        (mixed >> 11) as f64 / (1u64 << 53) as f64
    }
}

#[cfg(test)]
#[path = "engine_tests.rs"]
mod tests;
