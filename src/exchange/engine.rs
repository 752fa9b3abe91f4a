//! One call for many: which request gets a token in hand, which one waits, and which one makes the
//! call.
//!
//! The engine is told what happens and when, and answers with what to do. It calls nobody, so every
//! order of events can be played through in a test.

use super::answer::{Answer, ExpiresIn, Failure, FailureKind, Issued, broke_off, judge};
use super::breaker::{Admitted, Breaker, Endpoint};
use super::cache::{Key, Lookup, TokenCache};
use super::client::{ClientAuth, Signer};
use super::digest::sha256_base64url;
use super::jwt;
use super::request::{TokenRequest, Tokens};
use super::results::{
    Answered, Completion, Failed, Found, Obtained, Stop, Used, Waits, whole_seconds,
};
use super::settings::{CachePolicy, Exchange, ExchangeId, Purpose, Step, Terms, TokenCall};
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
/// The most requests that wait in one worker, and the most exchanges under way.
pub const MAX_WAITING: usize = 8192;
/// The most renewals under way at once: they are a convenience, and must not crowd out requests.
const MAX_RENEWALS: usize = 256;
/// An answer that is this much overdue will not come: Envoy's own timer has failed to tell us.
const OVERDUE: Duration = Duration::from_secs(2);
/// How long a user's token is not asked for again that could not be had, if nobody says.
const UNAVAILABLE_FOR_USER: Duration = Duration::from_secs(5);

/// All exchanges of one plugin configuration in one worker. `W` is a waiting request.
pub struct Engine<W> {
    exchanges: Vec<Prepared>,
    endpoints: Vec<Endpoint>,
    cache: TokenCache,
    flights: HashMap<Key, Flight<W>, FixedState>,
    calls: HashMap<u32, Key, FixedState>,
    waiting: usize,
    waiting_of: HashMap<u32, u32, FixedState>,
    renewals: usize,
    random: Random,
}

/// An exchange, and what is worked out of it once.
struct Prepared {
    exchange: Rc<Exchange>,
    first: Rc<TokenRequest>,
    second: Option<Rc<TokenRequest>>,
    /// The places of the calls' endpoints.
    endpoints: (usize, usize),
    /// Stops an exchange whose client is refused again and again.
    pause: Breaker,
}

/// An exchange under way for one key.
struct Flight<W> {
    waiting: Vec<Waiting<W>>,
    started: Steady,
    renewal: bool,
    /// How the pause admitted it.
    admitted: Admitted,
    /// The digest of the token that a backend did not accept.
    rejected: Option<Rc<str>>,
    at: Under,
    /// The request on whose behalf it is made, for the counters.
    on_behalf_of: u32,
}

/// The call of a flight that is under way.
struct Under {
    step: Step,
    /// What the call before brought: it goes to the next endpoint and nowhere else.
    carried: Option<BearerToken>,
    /// When it was asked for.
    asked: Time,
    started: Steady,
    admitted: Admitted,
    /// `None` before it is made.
    call: Option<u32>,
    /// Whether this is the second try, after the first one's connection broke.
    again: bool,
}

struct Waiting<W> {
    backend: u32,
    waiter: W,
}

impl<W> Engine<W> {
    /// An engine for `exchanges`. `seed` is random.
    pub fn new(exchanges: Vec<Exchange>, policy: CachePolicy, seed: u64) -> Self {
        let mut places: HashMap<(String, String), usize, FixedState> =
            HashMap::with_hasher(FixedState::with_seed(seed));
        let mut place = |call: &TokenCall| {
            let next = places.len();
            let endpoint = (call.cluster.clone(), call.token_url.clone());
            *places.entry(endpoint).or_insert(next)
        };
        let exchanges: Vec<Prepared> = exchanges
            .into_iter()
            .map(|exchange| {
                let first = place(&exchange.first);
                Prepared {
                    endpoints: (first, exchange.second.as_ref().map_or(first, &mut place)),
                    first: Rc::new(TokenRequest::new(&exchange.first)),
                    second: exchange
                        .second
                        .as_ref()
                        .map(|call| Rc::new(TokenRequest::new(call))),
                    exchange: Rc::new(exchange),
                    pause: Breaker::default(),
                }
            })
            .collect();
        Self {
            endpoints: vec![Endpoint::default(); places.len()],
            exchanges,
            cache: TokenCache::new(policy, seed),
            flights: HashMap::with_hasher(FixedState::with_seed(seed)),
            calls: HashMap::with_hasher(FixedState::with_seed(seed)),
            waiting: 0,
            waiting_of: HashMap::with_hasher(FixedState::with_seed(seed)),
            renewals: 0,
            random: Random(seed),
        }
    }

    /// The exchange that `id` stands for.
    pub fn exchange(&self, id: ExchangeId) -> Option<&Rc<Exchange>> {
        self.exchanges
            .get(index(id))
            .map(|prepared| &prepared.exchange)
    }

    /// How many tokens are held.
    pub fn held(&self) -> usize {
        self.cache.held()
    }

    /// A request to `backend` needs the token that `exchange` brings for `subject` and `actor`.
    pub fn find(
        &mut self,
        exchange: ExchangeId,
        subject: BearerToken,
        actor: Option<&BearerToken>,
        backend: u32,
        clock: &dyn Clock,
    ) -> Found {
        let actor = actor.map(BearerToken::as_bytes);
        let key = Key::bytes(exchange, subject.into_bytes(), actor);
        match self.cache.get(&key, clock) {
            Lookup::Held(held) => Found::Token {
                value: held.value.clone(),
                used: Used::of(held),
                renew: None,
            },
            Lookup::HeldRenew(held) => {
                let (value, used) = (held.value.clone(), Used::of(held));
                let renew = self.start_renewal(&used.key, backend, clock);
                Found::Token { value, used, renew }
            }
            Lookup::Refused(failure, until) => {
                let left = until.since(clock.steady());
                Found::Refused(Stop::RefusedBefore(failure.clone(), left))
            }
            Lookup::Nothing => Found::Nothing(Key::from_bytes(key)),
        }
    }

    /// The request waits for the answer to `key`, unless it is refused.
    pub fn wait(
        &mut self,
        key: &Key,
        backend: u32,
        waiter: impl FnOnce() -> W,
        clock: &dyn Clock,
    ) -> Waits {
        let of_backend = self.waiting_of.get(&backend).copied().unwrap_or(0);
        if self.waiting >= MAX_WAITING || of_backend >= MAX_WAITING_PER_BACKEND {
            return Waits::Refused(Stop::Crowded);
        }
        if let Some(flight) = self.flights.get_mut(key) {
            if flight.waiting.len() >= MAX_WAITING_PER_KEY {
                return Waits::Refused(Stop::Crowded);
            }
            let waiter = waiter();
            flight.waiting.push(Waiting { backend, waiter });
            self.comes(backend);
            return Waits::Joins;
        }
        if self.flights.len() >= MAX_WAITING {
            return Waits::Refused(Stop::Crowded);
        }
        if let Err(stop) = self.start(key, backend, false, clock) {
            return Waits::Refused(stop);
        }
        let waiter = waiter();
        if let Some(flight) = self.flights.get_mut(key) {
            flight.waiting.push(Waiting { backend, waiter });
        }
        self.comes(backend);
        Waits::Calls
    }

    fn start_renewal(&mut self, key: &Key, backend: u32, clock: &dyn Clock) -> Option<Key> {
        let room = self.renewals < MAX_RENEWALS && self.flights.len() < MAX_WAITING;
        let refused = self.cache.is_refused(key, clock.steady());
        if !room || refused || self.flights.contains_key(key) {
            return None;
        }
        self.start(key, backend, true, clock).ok()?;
        self.renewals = self.renewals.saturating_add(1);
        Some(key.clone())
    }

    /// Starts the exchange for `key`, if pause and breaker let it.
    fn start(
        &mut self,
        key: &Key,
        backend: u32,
        renewal: bool,
        clock: &dyn Clock,
    ) -> Result<(), Stop> {
        let now = clock.steady();
        let prepared = self.exchanges.get_mut(index(key.exchange()));
        // A key that nobody can have: its call cannot be made, and says so.
        let (paused, endpoint) = match prepared {
            None => (Admitted::Freely, Admitted::Freely),
            Some(prepared) => {
                let paused = prepared.pause.admit(now).map_err(|_| Stop::Paused)?;
                let endpoint = self.endpoints.get_mut(prepared.endpoints.0);
                match endpoint.map(|endpoint| endpoint.admit(now)) {
                    Some(Err(stopped)) => {
                        prepared.pause.not_called(now);
                        return Err(Stop::BreakerOpen(whole_seconds(stopped.retry_after)));
                    }
                    Some(Ok(admitted)) => (paused, admitted),
                    None => (paused, Admitted::Freely),
                }
            }
        };
        let flight = Flight {
            waiting: Vec::new(),
            started: now,
            renewal,
            admitted: paused,
            rejected: self.cache.rejected(key),
            at: Under {
                step: Step::First,
                carried: None,
                asked: clock.wall(),
                started: now,
                admitted: endpoint,
                call: None,
                again: false,
            },
            on_behalf_of: backend,
        };
        self.flights.insert(key.clone(), flight);
        Ok(())
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

    /// The call that `key` stands for now, to be made at once.
    ///
    /// # Errors
    /// If the client's assertion cannot be signed, or the key stands for no call.
    pub fn request(
        &self,
        key: &Key,
        clock: &dyn Clock,
        signer: &dyn Signer,
    ) -> Result<Outgoing, Answer<'static>> {
        let (flight, prepared) = self
            .flights
            .get(key)
            .zip(self.exchanges.get(index(key.exchange())))
            .ok_or(Answer::Unsendable)?;
        let call = prepared.exchange.call(flight.at.step);
        let client_assertion = match call.map(|call| &call.client) {
            Some(ClientAuth::PrivateKey(assertion)) => {
                let signed = assertion.build(signer, clock.wall());
                Some(signed.ok_or(Answer::Unsigned)?)
            }
            _ => None,
        };
        self.outgoing(key, flight, prepared, client_assertion, clock)
            .ok_or(Answer::Unsendable)
    }

    fn outgoing(
        &self,
        key: &Key,
        flight: &Flight<W>,
        prepared: &Prepared,
        client_assertion: Option<String>,
        clock: &dyn Clock,
    ) -> Option<Outgoing> {
        let at = &flight.at;
        let request = match at.step {
            Step::First => &prepared.first,
            Step::Second => prepared.second.as_ref()?,
        };
        let (subject, actor) = key.tokens(prepared.exchange.has_actor);
        let body = request.body(Tokens {
            subject: at.carried.as_ref().map_or(subject, BearerToken::as_bytes),
            actor: actor.filter(|_| at.carried.is_none()),
            client_assertion: client_assertion.as_deref(),
            rejected: flight.rejected.as_deref(),
        });
        // A call that is made once more has what is left of its time.
        let timeout = match at.again {
            true => request
                .timeout()
                .saturating_sub(clock.steady().since(at.started)),
            false => request.timeout(),
        };
        Some(Outgoing {
            request: Rc::clone(request),
            body,
            timeout,
        })
    }

    /// The call for `key` is under way as `call`.
    pub fn called(&mut self, call: u32, key: Key) {
        if let Some(flight) = self.flights.get_mut(&key) {
            flight.at.call = Some(call);
            self.calls.insert(call, key);
        }
    }

    /// The answer to `call` came.
    pub fn answered(&mut self, call: u32, answer: Answer<'_>, clock: &dyn Clock) -> Answered<W> {
        let Some(key) = self.calls.remove(&call) else {
            return Answered::Nobody;
        };
        if broke_off(answer) && self.may_call_again(&key, clock) {
            return Answered::Call(key);
        }
        self.completed(key, answer, clock)
    }

    /// Whether the call for `key`, whose connection broke before any answer, is made once more: a
    /// server that has closed a kept connection costs nobody a login. Not if it was the breaker's
    /// probe, which has then told how the endpoint is.
    fn may_call_again(&mut self, key: &Key, clock: &dyn Clock) -> bool {
        let Some(flight) = self.flights.get_mut(key) else {
            return false;
        };
        let at = &mut flight.at;
        let call = self
            .exchanges
            .get(index(key.exchange()))
            .and_then(|prepared| prepared.exchange.call(at.step));
        let timeout = call.map_or(Duration::ZERO, |call| call.timeout);
        let in_time = clock.steady().since(at.started) < timeout;
        if at.again || at.admitted == Admitted::AsProbe || !in_time {
            return false;
        }
        at.again = true;
        at.call = None;
        true
    }

    /// The call for `key` ended, or could not be made.
    pub fn completed(&mut self, key: Key, answer: Answer<'_>, clock: &dyn Clock) -> Answered<W> {
        let Some(mut flight) = self.flights.remove(&key) else {
            return Answered::Nobody;
        };
        let id = key.exchange();
        let exchange = self.exchange(id).cloned();
        let call = exchange
            .as_ref()
            .and_then(|exchange| exchange.call(flight.at.step));
        let (Some(exchange), Some(call)) = (&exchange, call) else {
            return Answered::Nobody;
        };
        let now = clock.steady();
        let judged = judge(answer, call, now.since(flight.at.started), call.timeout);
        let retry_after = self.tell_endpoint(id, &flight.at, judged.as_ref().err(), now);
        let judged = match judged {
            // What the first call brought goes into the second.
            Ok(issued) if flight.at.step == Step::First && exchange.second.is_some() => {
                match self.next_step(id, issued.token, clock) {
                    Ok(next) => {
                        flight.at = next;
                        self.flights.insert(key.clone(), flight);
                        return Answered::Call(key);
                    }
                    Err(failure) => Err(failure),
                }
            }
            judged => judged,
        };
        for waiting in &flight.waiting {
            self.goes(waiting.backend);
        }
        if flight.renewal {
            self.renewals = self.renewals.saturating_sub(1);
        }
        self.tell_pause(id, flight.admitted, judged.as_ref().err(), now);
        let result = match judged {
            Ok(issued) => Ok(self.hold(key, issued, flight.at.asked, exchange)),
            Err(failure) => {
                let retry_after = match failure.wait {
                    Some(wait) => whole_seconds(wait),
                    None if failure.kind == FailureKind::UnavailableForUser => {
                        whole_seconds(UNAVAILABLE_FOR_USER)
                    }
                    None => retry_after,
                };
                let refusal = failure.kind.refusal(&exchange.purpose, retry_after);
                self.remember_failure(key, &failure, now);
                Err(Failed { failure, refusal })
            }
        };
        Answered::Done(Completion {
            exchange: id,
            step: flight.at.step,
            waiting: flight.waiting.into_iter().map(|one| one.waiter).collect(),
            result,
            renewal: flight.renewal,
            on_behalf_of: flight.on_behalf_of,
            elapsed: now.since(flight.started),
        })
    }

    /// The second call of an exchange, if its endpoint's breaker lets it.
    fn next_step(
        &mut self,
        id: ExchangeId,
        carried: BearerToken,
        clock: &dyn Clock,
    ) -> Result<Under, Failure> {
        let now = clock.steady();
        let place = self
            .exchanges
            .get(index(id))
            .map(|prepared| prepared.endpoints.1);
        let endpoint = place.and_then(|place| self.endpoints.get_mut(place));
        let admitted = match endpoint.map(|endpoint| endpoint.admit(now)) {
            Some(Ok(admitted)) => admitted,
            Some(Err(stopped)) => return Err(Failure::stopped(stopped.retry_after)),
            None => Admitted::Freely,
        };
        Ok(Under {
            step: Step::Second,
            carried: Some(carried),
            asked: clock.wall(),
            started: now,
            admitted,
            call: None,
            again: false,
        })
    }

    /// Tells the endpoint's breaker how the call went; how long until another makes sense.
    fn tell_endpoint(
        &mut self,
        exchange: ExchangeId,
        at: &Under,
        failure: Option<&Failure>,
        now: Steady,
    ) -> u32 {
        let places = self
            .exchanges
            .get(index(exchange))
            .map(|prepared| prepared.endpoints);
        let endpoint = places.and_then(|(first, second)| match at.step {
            Step::First => self.endpoints.get_mut(first),
            Step::Second => self.endpoints.get_mut(second),
        });
        let Some(endpoint) = endpoint else {
            return 1;
        };
        let breaker = endpoint.breaker();
        let unsigned = failure.is_some_and(Failure::is_unsigned);
        match failure.map(|failure| &failure.kind) {
            Some(FailureKind::Unavailable | FailureKind::Timeout) => {
                breaker.failed(at.admitted, now);
            }
            Some(FailureKind::UnknownCluster) => breaker.not_called(now),
            // Not even called.
            Some(FailureKind::Misconfigured) if unsigned => breaker.not_called(now),
            _ => breaker.answered(),
        }
        if let Some(failure) = failure
            && let Some(wait) = failure.wait
            && failure.kind != FailureKind::UnavailableForUser
        {
            endpoint.leave_alone(wait, now);
        }
        endpoint.retry_after(now)
    }

    /// Tells the exchange's pause whether its client was refused.
    fn tell_pause(
        &mut self,
        exchange: ExchangeId,
        admitted: Admitted,
        failure: Option<&Failure>,
        now: Steady,
    ) {
        let Some(prepared) = self.exchanges.get_mut(index(exchange)) else {
            return;
        };
        match failure.map(|failure| &failure.kind) {
            Some(FailureKind::Misconfigured) => prepared.pause.failed(admitted, now),
            // Nothing was said of the client.
            Some(
                FailureKind::Unavailable
                | FailureKind::Timeout
                | FailureKind::UnknownCluster
                | FailureKind::InvalidResponse,
            ) => prepared.pause.not_called(now),
            _ => prepared.pause.answered(),
        }
    }

    /// The token's life begins when it was asked for, and ends with the first of: what the endpoint
    /// says, the ends of what it was made of, and the issued token's own, which some leave out of
    /// account. Without a word from the endpoint, the issued token's own end is all there is, or what
    /// the configuration assumes.
    fn hold(&mut self, key: Key, issued: Issued, asked: Time, exchange: &Exchange) -> Obtained {
        let terms = &exchange.terms;
        let value = issued.token.to_value();
        let own = jwt::expiry(issued.token.as_bytes());
        let (expires, stated) = match issued.expires {
            // An own end that is past already tells that clocks differ, not that a dead token was
            // issued.
            ExpiresIn::After(lifetime) => {
                let stated = asked.plus(lifetime);
                let expires = own
                    .filter(|own| *own > asked)
                    .map_or(stated, |own| own.min(stated));
                (Some(expires), true)
            }
            ExpiresIn::Absent => {
                let assumed = terms.assumed_lifetime.map(|lifetime| asked.plus(lifetime));
                (own.or(assumed), false)
            }
            ExpiresIn::Unusable => (None, true),
        };
        let (subject, actor) = key.tokens(exchange.has_actor);
        let ends = [Some(subject), actor].into_iter().flatten();
        let bounded = !(stated && terms.subject_bounds_only_unstated);
        let expires = expires.map(|expires| {
            ends.filter(|_| bounded)
                .filter_map(jwt::expiry)
                .fold(expires, Time::min)
        });
        let jitter = self.random.unit();
        let serial = expires.and_then(|expires| {
            self.cache
                .hold(key.clone(), value.clone(), asked, expires, terms, jitter)
        });
        Obtained {
            value,
            used: serial.map(|serial| Used { key, serial }),
        }
    }

    fn remember_failure(&mut self, key: Key, failure: &Failure, now: Steady) {
        match failure.kind {
            FailureKind::Rejected | FailureKind::NotFound => {
                let ttl = self.cache.negative_ttl();
                self.cache.remove(&key);
                self.cache.refuse(key, failure.clone(), ttl, now);
            }
            // This user is kept to it; a token in hand serves to the end of its usable life.
            FailureKind::UnavailableForUser => {
                let wait = failure.wait.unwrap_or(UNAVAILABLE_FOR_USER);
                self.cache.refuse(key, failure.clone(), wait, now);
            }
            // The endpoint was reached and denies this: the token in hand is no longer meant to be
            // used.
            FailureKind::Forbidden | FailureKind::StepUp(_) => self.cache.remove(&key),
            // The endpoint could not say, or means the operator: a token in hand serves on.
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
        let exchange = self.exchange(used.key.exchange());
        let says_so =
            exchange.is_some_and(|exchange| matches!(exchange.purpose, Purpose::Identity { .. }));
        let now = clock.steady();
        self.cache.forget(&used.key, used.serial, now, |value| {
            says_so.then(|| sha256_base64url(value.token_bytes()).into())
        })
    }

    /// Time has passed: removes what has expired, and ends calls whose answer never came.
    pub fn tick(&mut self, clock: &dyn Clock) -> Vec<Completion<W>> {
        self.cache.sweep(clock);
        let now = clock.steady();
        let is_overdue = |(key, flight): (&Key, &Flight<W>)| {
            let call = self.exchange(key.exchange())?.call(flight.at.step)?;
            let elapsed = now.since(flight.at.started);
            let overdue = elapsed >= call.timeout.saturating_add(OVERDUE);
            overdue.then(|| (key.clone(), flight.at.call))
        };
        let overdue: Vec<_> = self.flights.iter().filter_map(is_overdue).collect();
        overdue
            .into_iter()
            .filter_map(|(key, call)| {
                // Should an answer come after all, it is not one to a later call for the same key.
                if let Some(call) = call {
                    self.calls.remove(&call);
                }
                match self.completed(key, Answer::Reset, clock) {
                    Answered::Done(completion) => Some(completion),
                    Answered::Call(_) | Answered::Nobody => None,
                }
            })
            .collect()
    }

    /// Takes the tokens of an earlier configuration's engine over, where the exchange is the same to
    /// the last parameter.
    pub fn take_over<V>(&mut self, earlier: &mut Engine<V>, clock: &dyn Clock) {
        let ours: HashMap<&Exchange, (ExchangeId, Terms), FixedState> = (0..)
            .map(ExchangeId)
            .zip(&self.exchanges)
            .map(|(id, prepared)| (&*prepared.exchange, (id, prepared.exchange.terms)))
            .collect();
        let same: Vec<Option<(ExchangeId, Terms)>> = earlier
            .exchanges
            .iter()
            .map(|theirs| ours.get(&*theirs.exchange).copied())
            .collect();
        let same = |id: ExchangeId| same.get(index(id)).copied().flatten();
        self.cache.take_over(&mut earlier.cache, same, clock.wall());
    }
}

/// A call to be made.
pub struct Outgoing {
    /// Where it goes, and its header fields.
    pub request: Rc<TokenRequest>,
    /// Its body.
    pub body: Vec<u8>,
    /// How long to wait for the answer.
    pub timeout: Duration,
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
