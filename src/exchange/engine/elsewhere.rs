//! What this worker's engine and those of other workers tell each other: what tokens there are, which
//! calls are made, who wants to be left alone.

use super::super::shared::bucket::{Forgotten, Settled};
use super::super::shared::dropped::News;
use super::super::shared::key::ExchangeBytes;
use super::super::shared::left_alone::EndpointName;
use super::super::shared::{self, Shared, claim_time};
use super::*;

/// How often a few buckets are swept.
const SWEEPS: Duration = Duration::from_millis(500);

/// The store, and the exchanges as other workers name them.
pub(super) struct Sharing {
    pub shared: Shared,
    exchanges: Vec<ExchangeBytes>,
    /// The names of the endpoints, in their places.
    endpoints: Vec<Option<EndpointName>>,
    swept: Option<Steady>,
}

/// What became of an attempt to tell the other workers of a call.
pub(super) enum Claimed {
    /// They know.
    Ours(Address, ClaimId, Option<Forgotten>),
    /// It need not be made: this was found instead.
    Seen(Address, Seen),
}

impl<W> Engine<W> {
    /// Shares with the other workers from now on.
    pub(crate) fn share(&mut self, shared: Shared) {
        let exchanges = self.exchanges.iter();
        let exchanges = exchanges
            .map(|prepared| ExchangeBytes::of(&prepared.exchange))
            .collect();
        let mut endpoints = vec![None; self.endpoints.len()];
        for prepared in &self.exchanges {
            for step in [Step::First, Step::Second] {
                let name = endpoints.get_mut(prepared.endpoint(step));
                if let (Some(name), Some(call)) = (name, prepared.exchange.call(step)) {
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
    /// `says_so` is whether the next call must say which one it was.
    pub(super) fn forget_everywhere(&self, used: &Used, says_so: bool, now: Steady) {
        if let (Some(sharing), Some(address)) = (&self.sharing, self.address(&used.key)) {
            // If that fails, this worker at least has forgotten it.
            let _ = sharing.shared.forget(&address, used.serial, says_so, now);
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
    pub(crate) fn retire(&mut self) {
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
    pub(super) fn look(
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
    pub(super) fn address(&self, key: &Key) -> Option<Address> {
        let sharing = self.sharing.as_ref()?;
        let place = index(key.exchange());
        let bytes = sharing.exchanges.get(place)?;
        let exchange = &self.exchanges.get(place)?.exchange;
        let (subject, actor) = key.tokens(exchange.has_actor);
        Some(sharing.shared.address(bytes, subject, actor))
    }

    pub(super) fn terms(&self, key: &Key) -> Terms {
        let exchange = self.exchange(key.exchange());
        exchange.map_or(Terms::default(), |exchange| exchange.terms)
    }

    pub(super) fn purpose(&self, key: &Key) -> Purpose {
        let exchange = self.exchange(key.exchange());
        exchange.map_or(Purpose::Backend, |exchange| exchange.purpose.clone())
    }
}
