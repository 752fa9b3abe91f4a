//! Requests of this worker that wait for another worker's call, and tokens that it has left.

use super::super::shared::claim_time;
use super::*;

/// How many keys are looked after in one turn of the timer: a crowd that waits for other workers costs
/// so much a turn, and no more.
const LOOKS_AT_ONCE: usize = 64;

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
pub(crate) enum Pace {
    /// Now and then.
    Idle,
    /// It holds tokens that other workers may drop.
    Holds,
    /// Requests wait for another worker.
    Watches,
}

/// What became of what was waited for elsewhere.
pub(crate) struct Polled<W> {
    /// It is there.
    pub done: Vec<Completion<W>>,
    /// These calls are to be made now: nobody else makes them any more.
    pub calls: Vec<Key>,
}

/// What became of one watch.
enum Looked<W> {
    Watch(Watch<W>),
    Done(Completion<W>),
    Call,
}

impl<W> Engine<W> {
    /// How often it wants to be asked.
    pub(crate) fn pace(&self) -> Pace {
        if !self.watches.is_empty() {
            Pace::Watches
        } else if self.sharing.is_some() && self.cache.held() > 0 {
            Pace::Holds
        } else {
            Pace::Idle
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
        let lifetime = (token.asked, token.expires);
        let held = Held::new(
            key.clone(),
            value.clone(),
            token.serial,
            lifetime,
            token.forgot_before,
        );
        self.cache.take(held, &self.terms(key), jitter);
        let key = key.clone();
        let serial = token.serial;
        (
            value,
            Used {
                key,
                serial,
                was_sent: true,
            },
        )
    }

    /// The call for `key`, if another worker makes it.
    pub(super) fn under_way_elsewhere(&self, key: &Key, clock: &dyn Clock) -> Option<Started> {
        let address = self.address(key)?;
        match self.look(&address, key, None, clock.steady(), clock) {
            seen @ Seen::Claimed(_) => Some(Started::Elsewhere(address, seen)),
            _ => None,
        }
    }

    /// The requests for `key` that come now wait for what was `seen` elsewhere.
    pub(super) fn watch(
        &mut self,
        key: &Key,
        address: Address,
        seen: &Seen,
        backend: u32,
        clock: &dyn Clock,
    ) -> Option<&mut Watch<W>> {
        let watch = Watch {
            waiting: Vec::new(),
            address,
            claim: claim_of(seen),
            since: clock.steady(),
            on_behalf_of: backend,
        };
        self.to_look.push_back(key.clone());
        self.watches.or_insert(key.clone(), watch)
    }

    /// Looks after what is waited for elsewhere.
    pub(crate) fn poll(&mut self, clock: &dyn Clock) -> Polled<W> {
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
        let waiting = self.crowd.all_go(watch.waiting);
        Looked::Done(Completion {
            exchange: key.exchange(),
            waiting,
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

    #[cfg(not(test))]
    fn sleeps_on(&self) -> bool {
        false
    }

    /// What a wrong protocol does, for the tests that must notice.
    #[cfg(test)]
    fn sleeps_on(&self) -> bool {
        let mutant = self.sharing.as_ref().and_then(|one| one.shared.mutant);
        mutant == Some(crate::exchange::shared::Mutant::SleepsOn)
    }
}

fn claim_of(seen: &Seen) -> Option<ClaimId> {
    match seen {
        Seen::Claimed(id) => Some(*id),
        _ => None,
    }
}
