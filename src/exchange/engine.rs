//! One call for many: which request gets a token in hand, which one waits, and which one makes the
//! call.
//!
//! The engine is told what happens and when, and answers with what to do. It calls nobody, so every
//! order of events can be played through in a test.

use super::Exchange;
use super::answer::{Answer, ExpiresIn, Failure, FailureKind, Issued, broke_off, judge};
use super::breaker::{Admitted, Breaker, whole_seconds};
use super::cache::{Key, Lookup, TokenCache};
use super::jwt;
use super::request::TokenRequest;
use super::results::{Acquired, Answered, Completion, Failed, Obtained, Stop, Used};
use super::settings::{CachePolicy, ExchangeId};
use crate::time::{Clock, Steady, Time};
use crate::token::BearerToken;
use foldhash::fast::FixedState;
use hashbrown::HashMap;
use std::rc::Rc;
use std::time::Duration;

/// The most requests that wait for one call.
pub const MAX_WAITING_PER_KEY: usize = 1024;
/// The most requests of one backend that wait in one worker: each holds a place among the backend's
/// own requests, and users who have their token must find one.
pub const MAX_WAITING_PER_BACKEND: u32 = 512;
/// The most requests that wait in one worker, and the most calls under way.
pub const MAX_WAITING: usize = 8192;
/// The most renewals under way at once: they are a convenience, and must not crowd out requests.
const MAX_RENEWALS: usize = 256;
/// An answer that is this much overdue will not come: Envoy's own timer has failed to tell us.
const OVERDUE: Duration = Duration::from_secs(2);

/// All exchanges of one plugin configuration in one worker. `W` is a waiting request.
pub struct Engine<W> {
    exchanges: Rc<[Exchange]>,
    requests: Vec<Rc<TokenRequest>>,
    breakers: Vec<Breaker>,
    breaker_of: Vec<usize>,
    cache: TokenCache,
    flights: HashMap<Key, Flight<W>, FixedState>,
    calls: HashMap<u32, Key, FixedState>,
    waiting: usize,
    waiting_of: HashMap<u32, u32, FixedState>,
    renewals: usize,
    random: Random,
}

struct Flight<W> {
    waiting: Vec<Waiting<W>>,
    /// When the token was asked for.
    asked: Time,
    started: Steady,
    renewal: bool,
    admitted: Admitted,
    /// The call under way; `None` before it is made.
    call: Option<u32>,
    /// Whether this is the second call, after the first one's connection broke.
    again: bool,
    /// The request on whose behalf the call is made, for the counters.
    on_behalf_of: u32,
}

struct Waiting<W> {
    backend: u32,
    waiter: W,
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
            requests: exchanges
                .iter()
                .map(|exchange| Rc::new(TokenRequest::new(exchange)))
                .collect(),
            breakers,
            breaker_of,
            cache: TokenCache::new(policy, seed),
            flights: HashMap::with_hasher(FixedState::with_seed(seed)),
            calls: HashMap::with_hasher(FixedState::with_seed(seed)),
            waiting: 0,
            waiting_of: HashMap::with_hasher(FixedState::with_seed(seed)),
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

    /// A request to `backend` needs `subject` exchanged as `exchange` says. Unless the answer is
    /// [`Acquired::Token`] or [`Acquired::Refuse`], `waiter` is kept until the call completes.
    pub fn acquire(
        &mut self,
        exchange: ExchangeId,
        subject: BearerToken,
        backend: u32,
        waiter: impl FnOnce() -> W,
        clock: &dyn Clock,
    ) -> Acquired {
        let key = Key::bytes(exchange, subject.into_bytes());
        match self.cache.get(&key, clock) {
            Lookup::Held(held) => Acquired::Token {
                value: held.value.clone(),
                used: Used::of(held),
                renew: None,
            },
            Lookup::HeldRenew(held) => {
                let (value, used) = (held.value.clone(), Used::of(held));
                let renew = self.start_renewal(&used.key, backend, clock);
                Acquired::Token { value, used, renew }
            }
            Lookup::Refused(error) => Acquired::Refuse(Stop::RefusedBefore(error)),
            Lookup::Nothing => self.wait(Key::from_bytes(key), backend, waiter, clock),
        }
    }

    fn wait(
        &mut self,
        key: Key,
        backend: u32,
        waiter: impl FnOnce() -> W,
        clock: &dyn Clock,
    ) -> Acquired {
        let of_backend = self.waiting_of.get(&backend).copied().unwrap_or(0);
        if self.waiting >= MAX_WAITING || of_backend >= MAX_WAITING_PER_BACKEND {
            return Acquired::Refuse(Stop::Crowded);
        }
        if let Some(flight) = self.flights.get_mut(&key) {
            if flight.waiting.len() >= MAX_WAITING_PER_KEY {
                return Acquired::Refuse(Stop::Crowded);
            }
            let waiter = waiter();
            flight.waiting.push(Waiting { backend, waiter });
            self.comes(backend);
            return Acquired::Join(key);
        }
        if self.flights.len() >= MAX_WAITING {
            return Acquired::Refuse(Stop::Crowded);
        }
        let started = clock.steady();
        let admitted = match self
            .breaker(key.exchange())
            .map(|breaker| breaker.admit(started))
        {
            None => Admitted::Freely,
            Some(Ok(admitted)) => admitted,
            Some(Err(stopped)) => {
                return Acquired::Refuse(Stop::BreakerOpen(whole_seconds(stopped.retry_after)));
            }
        };
        let waiter = waiter();
        let flight = Flight {
            waiting: vec![Waiting { backend, waiter }],
            asked: clock.wall(),
            started,
            renewal: false,
            admitted,
            call: None,
            again: false,
            on_behalf_of: backend,
        };
        self.comes(backend);
        self.flights.insert(key.clone(), flight);
        Acquired::Call(key)
    }

    fn start_renewal(&mut self, key: &Key, backend: u32, clock: &dyn Clock) -> Option<Key> {
        let room = self.renewals < MAX_RENEWALS && self.flights.len() < MAX_WAITING;
        if !room || self.flights.contains_key(key) {
            return None;
        }
        let started = clock.steady();
        let admitted = self.breaker(key.exchange())?.admit(started).ok()?;
        self.renewals = self.renewals.saturating_add(1);
        let flight = Flight {
            waiting: Vec::new(),
            asked: clock.wall(),
            started,
            renewal: true,
            admitted,
            call: None,
            again: false,
            on_behalf_of: backend,
        };
        self.flights.insert(key.clone(), flight);
        Some(key.clone())
    }

    fn comes(&mut self, backend: u32) {
        self.waiting = self.waiting.saturating_add(1);
        let of_backend = self.waiting_of.entry(backend).or_default();
        *of_backend = of_backend.saturating_add(1);
    }

    fn goes(&mut self, backend: u32) {
        self.waiting = self.waiting.saturating_sub(1);
        if let Some(of_backend) = self.waiting_of.get_mut(&backend) {
            *of_backend = of_backend.saturating_sub(1);
            if *of_backend == 0 {
                self.waiting_of.remove(&backend);
            }
        }
    }

    /// The request that `key` stands for, to be sent now, and how long to wait for its answer: a
    /// call that is made once more has what is left.
    pub fn request(
        &self,
        key: &Key,
        clock: &dyn Clock,
    ) -> Option<(Rc<TokenRequest>, Vec<u8>, Duration)> {
        let request = self.requests.get(index(key.exchange()))?;
        let timeout = match self.flights.get(key) {
            Some(flight) if flight.again => {
                let elapsed = clock.steady().since(flight.started);
                request.timeout().saturating_sub(elapsed)
            }
            _ => request.timeout(),
        };
        Some((Rc::clone(request), request.body(key.subject()), timeout))
    }

    /// The call for `key` is under way as `call`.
    pub fn called(&mut self, call: u32, key: Key) {
        if let Some(flight) = self.flights.get_mut(&key) {
            flight.call = Some(call);
            self.calls.insert(call, key);
        }
    }

    /// The answer to `call` came.
    pub fn answered(&mut self, call: u32, answer: Answer<'_>, clock: &dyn Clock) -> Answered<W> {
        let Some(key) = self.calls.remove(&call) else {
            return Answered::Nobody;
        };
        if broke_off(answer) && self.may_call_again(&key, clock) {
            return Answered::Again(key);
        }
        match self.completed(key, answer, clock) {
            Some(completion) => Answered::Done(completion),
            None => Answered::Nobody,
        }
    }

    /// Whether the call for `key`, whose connection broke before any answer, is made once more: a
    /// server that has closed a kept connection costs nobody a login. Not if it was the breaker's
    /// probe, which has then told how the STS is.
    fn may_call_again(&mut self, key: &Key, clock: &dyn Clock) -> bool {
        let timeout = self
            .exchanges
            .get(index(key.exchange()))
            .map_or(Duration::ZERO, |exchange| exchange.timeout);
        let Some(flight) = self.flights.get_mut(key) else {
            return false;
        };
        let in_time = clock.steady().since(flight.started) < timeout;
        if flight.again || flight.admitted == Admitted::AsProbe || !in_time {
            return false;
        }
        flight.again = true;
        flight.call = None;
        true
    }

    /// The call for `key` ended, or could not be made.
    pub fn completed(
        &mut self,
        key: Key,
        answer: Answer<'_>,
        clock: &dyn Clock,
    ) -> Option<Completion<W>> {
        let flight = self.flights.remove(&key)?;
        for waiting in &flight.waiting {
            self.goes(waiting.backend);
        }
        if flight.renewal {
            self.renewals = self.renewals.saturating_sub(1);
        }
        let id = key.exchange();
        let exchange = self.exchanges.get(index(id))?;
        let now = clock.steady();
        let elapsed = now.since(flight.started);
        let requested = exchange.requested_token_type.as_deref();
        let judged = judge(answer, requested, elapsed, exchange.timeout);
        let failure = judged.as_ref().err();
        let retry_after = self.tell_breaker(id, flight.admitted, failure, now);
        let result = match judged {
            Ok(issued) => Ok(self.hold(key, issued, flight.asked)),
            Err(failure) => {
                self.remember_failure(key, failure, now);
                let refusal = failure.kind.refusal(retry_after);
                Err(Failed { failure, refusal })
            }
        };
        Some(Completion {
            exchange: id,
            waiting: flight.waiting.into_iter().map(|one| one.waiter).collect(),
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
        now: Steady,
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

    /// The token's life begins when it was asked for, and ends with the first of: what the STS says,
    /// the subject's own end, and the issued token's own, which some STS leave out of account.
    /// Without a word from the STS, the issued token's own end is all there is.
    fn hold(&mut self, key: Key, issued: Issued, asked: Time) -> Obtained {
        let value = issued.token.to_value();
        let own = jwt::expiry(issued.token.as_bytes());
        let expires = match issued.expires {
            // An own end that is past already tells that clocks differ, not that the STS issued a
            // dead token.
            ExpiresIn::After(lifetime) => {
                let stated = asked.plus(lifetime);
                Some(
                    own.filter(|own| *own > asked)
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
                .hold(key.clone(), value.clone(), asked, expires, jitter)
        });
        Obtained {
            value,
            used: serial.map(|serial| Used { key, serial }),
        }
    }

    fn remember_failure(&mut self, key: Key, failure: Failure, now: Steady) {
        match failure.kind {
            FailureKind::Rejected => self.cache.refuse(key, failure.error, now),
            // The STS was reached and denies this exchange: the token in hand is no longer meant
            // to be used.
            FailureKind::Forbidden => self.cache.remove(&key),
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
        let Some(flight) = self.flights.get_mut(key) else {
            return;
        };
        let place = flight.waiting.iter().position(|one| is_it(&one.waiter));
        if let Some(place) = place {
            let gone = flight.waiting.remove(place);
            self.goes(gone.backend);
        }
    }

    /// The backend answered a request that went on with `used` with 401.
    pub fn unauthorized(&mut self, used: &Used, clock: &dyn Clock) -> bool {
        self.cache.forget(&used.key, used.serial, clock.steady())
    }

    /// Time has passed: removes what has expired, and ends calls whose answer never came.
    pub fn tick(&mut self, clock: &dyn Clock) -> Vec<Completion<W>> {
        self.cache.sweep(clock);
        let now = clock.steady();
        let is_overdue = |(key, flight): (&Key, &Flight<W>)| {
            let timeout = self.exchanges.get(index(key.exchange()))?.timeout;
            let elapsed = now.since(flight.started);
            (elapsed >= timeout.saturating_add(OVERDUE)).then(|| (key.clone(), flight.call))
        };
        let overdue: Vec<_> = self.flights.iter().filter_map(is_overdue).collect();
        overdue
            .into_iter()
            .filter_map(|(key, call)| {
                // Should an answer come after all, it is not one to a later call for the same key.
                if let Some(call) = call {
                    self.calls.remove(&call);
                }
                self.completed(key, Answer::Reset, clock)
            })
            .collect()
    }

    /// Takes the tokens of an earlier configuration's engine over, where the exchange is the same to
    /// the last parameter.
    pub fn take_over<V>(&mut self, earlier: &mut Engine<V>, clock: &dyn Clock) {
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
        self.cache.take_over(&mut earlier.cache, same, clock.wall());
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
