//! One call for many: which request gets a token in hand, which one waits, and which one makes the
//! call.
//!
//! The engine is told what happens and when, and answers with what to do. It calls nobody, so every
//! order of events can be played through in a test. What it shares with other workers' engines lies in a
//! store that it is given.

mod admission;
mod calls;
mod crowd;
mod elsewhere;
mod kept;
mod prepared;
mod random;
mod watches;

pub(crate) use calls::Outgoing;
pub(crate) use crowd::MAX_WAITING;
#[cfg(test)]
use crowd::MAX_WAITING_PER_BACKEND;
pub(crate) use watches::{Pace, Polled};

use super::answer::{Answer, Check, ExpiresIn, Failure, FailureKind, Issued, judge};
use super::breaker::Admitted;
use super::cache::{Held, Lookup, TokenCache};
use super::client::{ClientAuth, Signer};
use super::digest::sha256_base64url;
use super::fair_breaker::Endpoint;
use super::jwt;
use super::key::Key;
use super::request::{TokenRequest, Tokens};
use super::results::{
    Answered, Completion, Failed, Found, Obtained, Stop, UNAVAILABLE_FOR_USER, Used, Waits,
    whole_seconds,
};
use super::settings::{CachePolicy, Exchange, ExchangeId, Purpose, Step, Terms};
use super::shared::bucket::{ClaimId, Outcome, Seen, Token};
use super::shared::key::Address;
use crate::table::{Places, Table};
use crate::time::{Clock, Moment, Steady};
use crate::token::BearerToken;
use calls::{Flight, Started};
use crowd::{Crowd, Waiting};
use elsewhere::Sharing;
use prepared::{Prepared, index, prepare};
use random::Random;
use std::collections::VecDeque;
use std::rc::Rc;
use std::time::Duration;
use watches::Watch;

/// The most requests that wait for one call.
pub(crate) const MAX_WAITING_PER_KEY: usize = 1024;
/// The most renewals under way at once: they are a convenience, and must not crowd out requests.
const MAX_RENEWALS: usize = 256;
/// An answer that is this much overdue will not come: Envoy's own timer has failed to tell us.
const OVERDUE: Duration = Duration::from_secs(2);
/// What has ended is looked for this often, however often the timer goes off.
const HOUSEKEEPING: Duration = Duration::from_millis(50);

/// All exchanges of one plugin configuration in one worker. `W` is a waiting request.
pub(crate) struct Engine<W> {
    exchanges: Vec<Prepared>,
    endpoints: Vec<Endpoint>,
    cache: TokenCache,
    flights: Table<Key, Flight<W>>,
    calls: Table<u32, Key>,
    /// Requests that wait for another worker's call.
    watches: Table<Key, Watch<W>>,
    /// Which of these are looked after next.
    to_look: VecDeque<Key>,
    crowd: Crowd,
    renewals: usize,
    random: Random,
    /// What is shared with the other workers; `None`: this one is on its own.
    sharing: Option<Sharing>,
    housekept: Option<Steady>,
}

impl<W> Engine<W> {
    /// An engine for `exchanges`. `seed` is random.
    pub(crate) fn new(exchanges: Vec<Exchange>, policy: CachePolicy, seed: u64) -> Self {
        let (exchanges, endpoints) = prepare(exchanges, seed);
        Self {
            exchanges,
            endpoints: vec![Endpoint::default(); endpoints],
            cache: TokenCache::new(policy, seed),
            flights: Table::new(seed),
            calls: Table::new(seed),
            watches: Table::new(seed),
            to_look: VecDeque::new(),
            crowd: Crowd::new(seed),
            renewals: 0,
            random: Random(seed),
            sharing: None,
            housekept: None,
        }
    }

    /// The exchange that `id` stands for.
    pub(crate) fn exchange(&self, id: ExchangeId) -> Option<&Rc<Exchange>> {
        self.prepared(id).map(|prepared| &prepared.exchange)
    }

    fn prepared(&self, id: ExchangeId) -> Option<&Prepared> {
        self.exchanges.get(index(id))
    }

    /// How many tokens are held.
    pub(crate) fn held(&self) -> usize {
        self.cache.held()
    }

    /// A request to `backend` needs the token that `exchange` brings for `subject` and `actor`. Whether
    /// a call of that purpose may be made on its behalf, `may_call` tells where one would be.
    pub(crate) fn find(
        &mut self,
        exchange: ExchangeId,
        subject: BearerToken,
        actor: Option<&BearerToken>,
        backend: u32,
        may_call: &dyn Fn(&Purpose) -> bool,
        clock: &dyn Clock,
    ) -> Found {
        let actor = actor.map(BearerToken::as_bytes);
        let key = Key::bytes(exchange, subject.into_bytes(), actor);
        match self.cache.get(&*key, clock) {
            Lookup::Held(held) => Found::Token {
                value: held.value.clone(),
                used: Used::of(held),
                renew: None,
                shared: false,
            },
            Lookup::HeldRenew(held) => {
                let (value, used, asked) = (held.value.clone(), Used::of(held), held.asked.steady);
                let may_call = self
                    .exchange(exchange)
                    .is_some_and(|exchange| may_call(&exchange.purpose));
                let renew = match may_call {
                    true => match self.start_renewal(&used.key, asked, backend, clock) {
                        Renewal::Taken(found) => return found,
                        Renewal::Call(renew) => Some(renew),
                        Renewal::None => None,
                    },
                    false => {
                        self.cache.not_renewed(&used.key);
                        None
                    }
                };
                Found::Token {
                    value,
                    used,
                    renew,
                    shared: false,
                }
            }
            Lookup::Refused(failure, until) => {
                let left = until.since(clock.steady());
                Found::Refused(Stop::RefusedBefore(failure.clone(), left))
            }
            Lookup::Nothing => {
                let key = Key::from_bytes(key);
                self.find_shared(&key, clock).unwrap_or(Found::Nothing(key))
            }
        }
    }

    /// The request waits for the answer to `key`, unless it is refused.
    pub(crate) fn wait(
        &mut self,
        key: &Key,
        backend: u32,
        waiter: impl FnOnce() -> W,
        clock: &dyn Clock,
    ) -> Waits {
        if !self.crowd.has_room(backend) {
            return Waits::Refused(Stop::Crowded);
        }
        if let Some((waits, waiting)) = self.under_way(key) {
            if waiting.len() >= MAX_WAITING_PER_KEY {
                return Waits::Refused(Stop::Crowded);
            }
            let waiter = waiter();
            waiting.push(Waiting { backend, waiter });
            self.crowd.comes(backend);
            return waits;
        }
        if self.flights.len().saturating_add(self.watches.len()) >= MAX_WAITING {
            return Waits::Refused(Stop::Crowded);
        }
        // Who waits for another worker's call need not be let to one of its own.
        let started = match self.under_way_elsewhere(key, clock) {
            Some(elsewhere) => Ok(elsewhere),
            None => self.start(key, backend, Why::Asked, clock),
        };
        let (waits, waiting) = match started {
            Err(stop) => return Waits::Refused(stop),
            Ok(Started::Here) => {
                let flight = self.flights.get_mut(key);
                (Waits::Calls, flight.map(|flight| &mut flight.waiting))
            }
            Ok(Started::Elsewhere(address, seen)) => {
                let watch = self.watch(key, address, &seen, backend, clock);
                (Waits::Elsewhere, watch.map(|watch| &mut watch.waiting))
            }
        };
        if let Some(waiting) = waiting {
            let waiter = waiter();
            waiting.push(Waiting { backend, waiter });
        }
        self.crowd.comes(backend);
        waits
    }

    /// Who waits for `key`, and how.
    fn under_way(&mut self, key: &Key) -> Option<(Waits, &mut Vec<Waiting<W>>)> {
        if let Some(flight) = self.flights.get_mut(key) {
            return Some((Waits::Joins, &mut flight.waiting));
        }
        let watch = self.watches.get_mut(key)?;
        Some((Waits::Elsewhere, &mut watch.waiting))
    }

    /// A token that was asked for at `asked` is to be renewed.
    fn start_renewal(
        &mut self,
        key: &Key,
        asked: Steady,
        backend: u32,
        clock: &dyn Clock,
    ) -> Renewal {
        let room = self.renewals < MAX_RENEWALS && self.flights.len() < MAX_WAITING;
        let refused = self.cache.is_refused(key, clock.steady());
        if !room || refused || self.flights.contains_key(key) {
            return Renewal::None;
        }
        match self.start(key, backend, Why::Renewal(asked), clock) {
            Ok(Started::Here) => {
                self.renewals = self.renewals.saturating_add(1);
                Renewal::Call(key.clone())
            }
            // Another worker has renewed it.
            Ok(Started::Elsewhere(_, Seen::Token(token))) => {
                Renewal::Taken(self.take_shared(key, token))
            }
            Ok(Started::Elsewhere(..)) | Err(_) => Renewal::None,
        }
    }

    /// A waiting request went away. The call goes on for the others, and for the cache.
    pub(crate) fn leave(&mut self, key: &Key, is_it: impl Fn(&W) -> bool) {
        let Some((_, waiting)) = self.under_way(key) else {
            return;
        };
        let place = waiting.iter().position(|one| is_it(&one.waiter));
        if let Some(place) = place {
            let gone = waiting.remove(place);
            self.crowd.goes(gone.backend);
        }
    }

    /// The backend answered a request that went on with `used` with 401.
    pub(crate) fn unauthorized(&mut self, used: &Used, clock: &dyn Clock) -> bool {
        let exchange = self.exchange(used.key.exchange());
        // Of a provider's token that the backend never saw, its 401 says nothing.
        let is_identity =
            exchange.is_some_and(|exchange| matches!(exchange.purpose, Purpose::Identity { .. }));
        let says_so = is_identity && used.was_sent;
        let now = clock.steady();
        let forgotten = self.cache.forget(&used.key, used.serial, now, |value| {
            says_so.then(|| sha256_base64url(value.token_bytes()).into())
        });
        // What is no longer here, another worker or a later configuration may use.
        let is_to_be = forgotten || !self.cache.knows(&used.key);
        if is_to_be {
            self.forget_everywhere(used, says_so, now);
        }
        is_to_be
    }

    /// Time has passed: removes what has expired, and ends calls whose answer never came.
    pub(crate) fn tick(&mut self, clock: &dyn Clock) -> Vec<Completion<W>> {
        self.hear();
        // The timer goes off often where something is waited for elsewhere.
        if !self.watches.is_empty() {
            let now = clock.steady();
            let lately = |before| now.since(before) < HOUSEKEEPING;
            if self.housekept.is_some_and(lately) {
                return Vec::new();
            }
            self.housekept = Some(now);
        }
        self.cache.sweep(clock);
        let now = clock.steady();
        self.sweep_shared(clock, now);
        let is_overdue = |(key, flight): (&Key, &Flight<W>)| {
            let call = self.exchange(key.exchange())?.call(flight.at.step)?;
            let elapsed = now.since(flight.at.asked.steady);
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
    pub(crate) fn take_over<V>(&mut self, earlier: &mut Engine<V>, clock: &dyn Clock) {
        // This one has begun to listen when it was made: what was dropped before, it would never hear.
        earlier.hear();
        let mut ours = Places::default();
        for (place, prepared) in self.exchanges.iter().enumerate() {
            ours.insert(ours.hash(&prepared.exchange.to_bytes()), place);
        }
        let same: Vec<Option<(ExchangeId, Terms)>> = earlier
            .exchanges
            .iter()
            .map(|theirs| {
                let at = |place: usize| self.exchanges.get(place).map(|ours| &ours.exchange);
                let hash = ours.hash(&theirs.exchange.to_bytes());
                let place = ours.find(hash, |place| at(place) == Some(&theirs.exchange))?;
                Some((ExchangeId(u32::try_from(place).ok()?), at(place)?.terms))
            })
            .collect();
        let same = |id: ExchangeId| same.get(index(id)).copied().flatten();
        self.cache.take_over(&mut earlier.cache, same, clock.wall());
    }
}

/// Why a call is made.
#[derive(Clone, Copy)]
enum Why {
    /// A request waits for it.
    Asked,
    /// To renew the token that was asked for then.
    Renewal(Steady),
}

/// What becomes of a renewal.
enum Renewal {
    /// Not now.
    None,
    /// It is to be called.
    Call(Key),
    /// Another worker's token is there.
    Taken(Found),
}

#[cfg(test)]
mod tests;
