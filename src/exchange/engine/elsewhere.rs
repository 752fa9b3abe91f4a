//! What this worker's engine shares with those of other workers: tokens that they obtained, and calls
//! that they make.

use super::super::shared::bucket::{Forgotten, Settled};
use super::super::shared::dropped::News;
use super::super::shared::key::ExchangeBytes;
use super::super::shared::left_alone::EndpointName;
use super::super::shared::{self, Shared, claim_time};
use super::*;

/// How many keys are looked after in one turn of the timer: a crowd that waits for other workers costs
/// so much a turn, and no more.
const LOOKS_AT_ONCE: usize = 64;
/// How often a few buckets are swept.
const SWEEPS: Duration = Duration::from_millis(500);

/// The store, and the exchanges as other workers name them.
pub(super) struct Sharing {
    shared: Shared,
    exchanges: Vec<ExchangeBytes>,
    /// The names of the endpoints, in their places.
    endpoints: Vec<Option<EndpointName>>,
    swept: Option<Steady>,
}

/// Requests that wait for another worker's call.
pub(super) struct Watch<W> {
    pub waiting: Vec<Waiting<W>>,
    address: Address,
    /// The call, as far as it is known.
    claim: Option<ClaimId>,
    since: Steady,
    on_behalf_of: u32,
}

/// How often the engine wants to be asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Pace {
    /// Now and then.
    Idle,
    /// It holds tokens that other workers may drop.
    Holds,
    /// Requests wait for another worker.
    Watches,
}

/// What became of what was waited for elsewhere.
pub struct Polled<W> {
    /// It is there.
    pub done: Vec<Completion<W>>,
    /// These calls are to be made now: nobody else makes them any more.
    pub calls: Vec<Key>,
}

/// What became of an attempt to tell the other workers of a call.
pub(super) enum Claimed {
    /// They know.
    Ours(Address, ClaimId, Option<Forgotten>),
    /// It need not be made: this was found instead.
    Seen(Address, Seen),
}

/// What became of one watch.
enum Looked<W> {
    Watch(Watch<W>),
    Done(Completion<W>),
    Call,
}

impl<W> Engine<W> {
    /// Shares with the other workers from now on.
    pub fn share(&mut self, shared: Shared) {
        let exchanges = self.exchanges.iter();
        let exchanges = exchanges
            .map(|prepared| ExchangeBytes::of(&prepared.exchange))
            .collect();
        let mut endpoints = vec![None; self.endpoints.len()];
        for prepared in &self.exchanges {
            let (first, second) = prepared.endpoints;
            let calls = [
                (first, Some(&prepared.exchange.first)),
                (second, prepared.exchange.second.as_ref()),
            ];
            for (place, call) in calls {
                if let (Some(name), Some(call)) = (endpoints.get_mut(place), call) {
                    *name = Some(EndpointName::of(call));
                }
            }
        }
        self.sharing = Some(Sharing {
            shared,
            exchanges,
            endpoints,
            swept: None,
        });
    }

    /// How often it wants to be asked.
    pub fn pace(&self) -> Pace {
        if !self.watches.is_empty() {
            Pace::Watches
        } else if self.sharing.is_some() && self.cache.held() > 0 {
            Pace::Holds
        } else {
            Pace::Idle
        }
    }

    /// Keeps to what an endpoint has asked of another worker.
    #[inline(never)]
    pub(super) fn hear_endpoint(&mut self, place: usize, now: Steady) {
        let told = self.sharing.as_ref().and_then(|sharing| {
            let name = (*sharing.endpoints.get(place)?)?;
            sharing.shared.left_alone(name, now).ok()?
        });
        if let (Some(until), Some(endpoint)) = (told, self.endpoints.get_mut(place)) {
            endpoint.leave_alone(until.since(now), now);
        }
    }

    /// Tells the other workers that an endpoint wants to be left alone for so long.
    #[inline(never)]
    pub(super) fn tell_of_endpoint(&self, place: usize, wait: Duration, now: Steady) {
        if let Some(sharing) = &self.sharing
            && let Some(Some(name)) = sharing.endpoints.get(place)
        {
            // If that fails, this worker at least keeps to it.
            let _ = sharing.shared.leave_alone(*name, now.plus(wait), now);
        }
    }

    /// What other workers have left for `key`.
    pub(super) fn find_shared(&mut self, key: &Key, clock: &dyn Clock) -> Option<Found> {
        if self.flights.contains_key(key) || self.watches.contains_key(key) {
            return None;
        }
        let address = self.address(key)?;
        let now = clock.steady();
        match self.look(&address, key, None, now, clock) {
            Seen::Token(token) => Some(self.take_shared(key, token)),
            Seen::Refused(failure, until) => {
                let left = until.since(now);
                self.cache.refuse(key.clone(), failure.clone(), left, now);
                Some(Found::Refused(Stop::RefusedBefore(failure, left)))
            }
            Seen::Ended(_) | Seen::Claimed(_) | Seen::Nothing(_) => None,
        }
    }

    /// Another worker's token becomes one of this worker's own.
    pub(super) fn take_shared(&mut self, key: &Key, token: Token) -> Found {
        let (value, used) = self.take(key, token);
        Found::Token {
            value,
            used,
            renew: None,
            shared: true,
        }
    }

    #[inline(never)]
    fn take(&mut self, key: &Key, token: Token) -> (crate::token::BearerValue, Used) {
        let value = token.token.to_value();
        let jitter = self.random.unit();
        self.cache.take(
            key.clone(),
            value.clone(),
            token.serial,
            (token.asked, token.expires),
            token.forgot_before,
            &self.terms(key),
            jitter,
        );
        let key = key.clone();
        let serial = token.serial;
        (value, Used { key, serial })
    }

    /// The call for `key`, if another worker makes it.
    pub(super) fn under_way_elsewhere(&self, key: &Key, clock: &dyn Clock) -> Option<Started> {
        let address = self.address(key)?;
        match self.look(&address, key, None, clock.steady(), clock) {
            seen @ Seen::Claimed(_) => Some(Started::Elsewhere(address, seen)),
            _ => None,
        }
    }

    /// Tells the other workers that the call for `key` is made here; `None` if there is nobody to tell.
    #[inline(never)]
    pub(super) fn claim(
        &mut self,
        key: &Key,
        why: Why,
        now: Steady,
        clock: &dyn Clock,
    ) -> Option<Claimed> {
        let address = self.address(key)?;
        let id = ClaimId(self.random.number());
        let timeout = self
            .exchange(key.exchange())
            .map_or(Duration::ZERO, |exchange| exchange.timeout());
        let ends = now.plus(claim_time(timeout));
        let terms = self.terms(key);
        let is_usable = |token: &Token| {
            let is_news = match why {
                Why::Asked => true,
                Why::Renewal(asked) => asked < token.asked.steady,
            };
            is_news && self.would_use(token, &terms, now, clock)
        };
        let shared = &self.sharing.as_ref()?.shared;
        let claimed = shared.claim(&address, id, ends, &is_usable, now).ok()?;
        Some(match claimed {
            shared::Claimed::Ours(forgotten) => Claimed::Ours(address, id, forgotten),
            shared::Claimed::Seen(seen) => Claimed::Seen(address, seen),
            // Another look tells what they have done.
            shared::Claimed::Crowded => Claimed::Seen(address, Seen::Nothing(None)),
        })
    }

    /// Tells the other workers how a call ended.
    #[inline(never)]
    pub(super) fn settle(
        &self,
        (address, id): &(Address, ClaimId),
        outcome: &Outcome,
        clock: &dyn Clock,
    ) -> Settled {
        let settled = self.sharing.as_ref().map(|sharing| {
            let settled = sharing.shared.settle(address, *id, outcome, clock);
            settled.unwrap_or_default()
        });
        settled.unwrap_or_default()
    }

    /// The requests for `key` that come now wait for what was `seen` elsewhere.
    pub(super) fn watch(
        &mut self,
        key: &Key,
        address: Address,
        seen: &Seen,
        backend: u32,
        clock: &dyn Clock,
    ) -> &mut Watch<W> {
        let watch = Watch {
            waiting: Vec::new(),
            address,
            claim: claim_of(seen),
            since: clock.steady(),
            on_behalf_of: backend,
        };
        self.to_look.push_back(key.clone());
        self.watches.entry(key.clone()).or_insert(watch)
    }

    /// Looks after what is waited for elsewhere.
    pub fn poll(&mut self, clock: &dyn Clock) -> Polled<W> {
        let mut polled = Polled {
            done: Vec::new(),
            calls: Vec::new(),
        };
        for _ in 0..self.to_look.len().min(LOOKS_AT_ONCE) {
            let Some(key) = self.to_look.pop_front() else {
                break;
            };
            // If everybody has left, it ends here, and not when they leave: who comes back meanwhile finds
            // it, and it is looked after once.
            let watch = self.watches.remove(&key);
            let Some(watch) = watch.filter(|watch| !watch.waiting.is_empty()) else {
                continue;
            };
            match self.look_again(&key, watch, clock) {
                Looked::Done(completion) => polled.done.push(completion),
                Looked::Call => polled.calls.push(key),
                Looked::Watch(watch) => {
                    self.watches.insert(key.clone(), watch);
                    if !self.sleeps_on() {
                        self.to_look.push_back(key);
                    }
                }
            }
        }
        polled
    }

    #[inline(never)]
    fn look_again(&mut self, key: &Key, mut watch: Watch<W>, clock: &dyn Clock) -> Looked<W> {
        let now = clock.steady();
        let result = match self.look(&watch.address, key, watch.claim, now, clock) {
            Seen::Token(token) => {
                let (value, used) = self.take(key, token);
                let used = Some(used);
                Ok(Obtained { value, used })
            }
            Seen::Ended(Ok(token)) => Ok(Obtained {
                value: token.to_value(),
                used: None,
            }),
            Seen::Ended(Err(failure)) | Seen::Refused(failure, _) => {
                Err(Failed::new(failure, &self.purpose(key), 1))
            }
            // One call after the other: that is not what was waited for.
            Seen::Claimed(_) if self.has_waited_long(key, &watch, now) => {
                let failure = Failure::timeout();
                Err(Failed::new(failure, &self.purpose(key), 1))
            }
            Seen::Claimed(claim) => {
                watch.claim = Some(claim);
                return Looked::Watch(watch);
            }
            Seen::Nothing(_) => match self.start(key, watch.on_behalf_of, Why::Asked, clock) {
                Ok(Started::Here) => {
                    if let Some(flight) = self.flights.get_mut(key) {
                        flight.waiting = watch.waiting;
                    }
                    return Looked::Call;
                }
                Ok(Started::Elsewhere(_, seen)) => {
                    watch.claim = claim_of(&seen).or(watch.claim);
                    return Looked::Watch(watch);
                }
                Err(stop) => Err(Failed::stopped(&stop, &self.purpose(key))),
            },
        };
        for waiting in &watch.waiting {
            self.goes(waiting.backend);
        }
        Looked::Done(Completion {
            exchange: key.exchange(),
            step: Step::First,
            waiting: watch.waiting.into_iter().map(|one| one.waiter).collect(),
            result,
            renewal: false,
            elsewhere: true,
            on_behalf_of: watch.on_behalf_of,
            elapsed: now.since(watch.since),
        })
    }

    /// Whether its call, and one more after it, should have been over by now.
    fn has_waited_long(&self, key: &Key, watch: &Watch<W>, now: Steady) -> bool {
        let timeout = self
            .exchange(key.exchange())
            .map_or(Duration::ZERO, |exchange| exchange.timeout());
        now.since(watch.since) >= claim_time(timeout).saturating_mul(2)
    }

    /// Drops what other workers have dropped.
    #[inline(never)]
    pub(super) fn hear(&mut self) {
        let news = self
            .sharing
            .as_mut()
            .map(|sharing| sharing.shared.news().unwrap_or(News::None));
        match news {
            Some(News::Dropped(serials)) => {
                self.cache.drop_tokens(|serial| serials.contains(&serial));
            }
            // What is still good is in the store.
            Some(News::Missed) => self.cache.drop_tokens(|_| true),
            Some(News::None) | None => {}
        }
    }

    /// A backend did not accept the token: nobody is to use it any more.
    pub(super) fn forget_everywhere(&self, used: &Used, now: Steady) {
        if let (Some(sharing), Some(address)) = (&self.sharing, self.address(&used.key)) {
            let rejected = self.cache.rejected(&used.key);
            // If that fails, this worker at least has forgotten it.
            let _ = sharing
                .shared
                .forget(&address, used.serial, rejected.as_deref(), now);
        }
    }

    pub(super) fn sweep_shared(&mut self, clock: &dyn Clock, now: Steady) {
        let Some(sharing) = &mut self.sharing else {
            return;
        };
        let lately = |before| now.since(before) < SWEEPS;
        if !sharing.swept.is_some_and(lately) {
            sharing.swept = Some(now);
            // What is not swept now is swept later.
            let _ = sharing.shared.sweep(clock);
        }
    }

    /// The engine ends: nobody is to wait for its calls.
    pub fn retire(&mut self) {
        let Some(sharing) = &self.sharing else {
            return;
        };
        for flight in self.flights.values_mut() {
            if let Some((address, id)) = flight.claim.take() {
                // If that fails, the claim runs out.
                let _ = sharing.shared.withdraw(&address, id);
            }
        }
    }

    #[inline(never)]
    fn look(
        &self,
        address: &Address,
        key: &Key,
        waited_for: Option<ClaimId>,
        now: Steady,
        clock: &dyn Clock,
    ) -> Seen {
        let terms = self.terms(key);
        let is_usable = |token: &Token| self.would_use(token, &terms, now, clock);
        let seen = self.sharing.as_ref().and_then(|sharing| {
            sharing
                .shared
                .look(address, waited_for, &is_usable, now)
                .ok()
        });
        seen.unwrap_or(Seen::Nothing(None))
    }

    fn would_use(&self, token: &Token, terms: &Terms, now: Steady, clock: &dyn Clock) -> bool {
        let now = Moment {
            wall: clock.wall(),
            steady: now,
        };
        let lifetime = (token.asked, token.expires);
        self.cache.would_use(lifetime, terms, now)
    }

    /// Where other workers find what belongs to `key`; `None` if they are not to.
    #[inline(never)]
    fn address(&self, key: &Key) -> Option<Address> {
        let sharing = self.sharing.as_ref()?;
        let place = index(key.exchange());
        let bytes = sharing.exchanges.get(place)?;
        let exchange = &self.exchanges.get(place)?.exchange;
        let (subject, actor) = key.tokens(exchange.has_actor);
        Some(sharing.shared.address(bytes, subject, actor))
    }

    fn terms(&self, key: &Key) -> Terms {
        let exchange = self.exchange(key.exchange());
        exchange.map_or(Terms::default(), |exchange| exchange.terms)
    }

    fn purpose(&self, key: &Key) -> Purpose {
        let exchange = self.exchange(key.exchange());
        exchange.map_or(Purpose::Backend, |exchange| exchange.purpose.clone())
    }

    #[cfg(not(test))]
    fn sleeps_on(&self) -> bool {
        false
    }

    /// What a wrong protocol does, for the tests that must notice.
    #[cfg(test)]
    fn sleeps_on(&self) -> bool {
        let mutant = self.sharing.as_ref().and_then(|one| one.shared.mutant);
        mutant == Some(shared::Mutant::SleepsOn)
    }
}

fn claim_of(seen: &Seen) -> Option<ClaimId> {
    match seen {
        Seen::Claimed(id) => Some(*id),
        _ => None,
    }
}
