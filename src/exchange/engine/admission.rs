//! Whether a call may go out, as its exchange's pause and its endpoint's breaker see it, and what they
//! are told of it afterwards.

use super::super::breaker::Stopped;
use super::calls::Under;
use super::*;

impl<W> Engine<W> {
    /// Whose call it is, for those who keep one user's failures from the others.
    pub(super) fn who(&self, key: &Key) -> u64 {
        let has_actor = self
            .exchange(key.exchange())
            .is_some_and(|exchange| exchange.has_actor);
        self.flights.hash(key.tokens(has_actor).0)
    }

    /// Asks for the first call of an exchange: how its pause and its endpoint's breaker admit it.
    pub(super) fn admit(&mut self, key: &Key, now: Steady) -> Result<(Admitted, Admitted), Stop> {
        let who = self.who(key);
        let Some(prepared) = self.exchanges.get_mut(index(key.exchange())) else {
            // A key that nobody can have: its call cannot be made, and says so.
            return Ok((Admitted::Freely, Admitted::Freely));
        };
        let paused = prepared.pause.admit(who, now);
        let paused = paused.map_err(|_| Stop::Paused(prepared.refused_at))?;
        match self.admit_call(key, who, Step::First, now) {
            Ok(admitted) => Ok((paused, admitted)),
            Err(stopped) => {
                self.not_paused(key, who, paused, now);
                Err(Stop::BreakerOpen(whole_seconds(stopped.retry_after)))
            }
        }
    }

    /// Asks the breaker of its endpoint for a call, which keeps to what the endpoint told anybody.
    pub(super) fn admit_call(
        &mut self,
        key: &Key,
        who: u64,
        step: Step,
        now: Steady,
    ) -> Result<Admitted, Stopped> {
        if let Some(place) = self.endpoint_of(key, step) {
            self.hear_endpoint(place, now);
        }
        match self.endpoint(key, step) {
            Some(endpoint) => endpoint.admit(who, now),
            None => Ok(Admitted::Freely),
        }
    }

    /// The first call for `key` was let go out, by pause and breaker, and is not made.
    pub(super) fn not_called(
        &mut self,
        key: &Key,
        (paused, admitted): (Admitted, Admitted),
        now: Steady,
    ) {
        let who = self.who(key);
        self.not_paused(key, who, paused, now);
        if let Some(endpoint) = self.endpoint(key, Step::First) {
            endpoint.breaker().undecided(who, admitted, now);
        }
    }

    /// Nothing was said of the client of the exchange.
    fn not_paused(&mut self, key: &Key, who: u64, paused: Admitted, now: Steady) {
        if let Some(prepared) = self.exchanges.get_mut(index(key.exchange())) {
            prepared.pause.undecided(who, paused, now);
        }
    }

    /// The place of the endpoint that this call of the exchange goes to.
    fn endpoint_of(&self, key: &Key, step: Step) -> Option<usize> {
        let prepared = self.prepared(key.exchange())?;
        Some(prepared.endpoint(step))
    }

    fn endpoint(&mut self, key: &Key, step: Step) -> Option<&mut Endpoint> {
        let place = self.endpoint_of(key, step)?;
        self.endpoints.get_mut(place)
    }

    /// Tells the endpoint's breaker how the call went; how long until another makes sense.
    pub(super) fn tell_endpoint(
        &mut self,
        key: &Key,
        who: u64,
        at: &Under,
        failure: Option<&Failure>,
        now: Steady,
    ) -> u32 {
        let wait = failure
            .filter(|failure| failure.kind != FailureKind::UnavailableForUser)
            .and_then(|failure| failure.wait);
        if let (Some(place), Some(wait)) = (self.endpoint_of(key, at.step), wait) {
            self.tell_of_endpoint(place, wait, now);
        }
        let Some(endpoint) = self.endpoint(key, at.step) else {
            return 1;
        };
        let breaker = endpoint.breaker();
        match failure {
            Some(failure) if failure.is_no_answer() => breaker.failed(who, at.admitted, now),
            // Not even called.
            Some(failure) if failure.is_unsigned() => breaker.undecided(who, at.admitted, now),
            // Nor called, or answered by one that is not well, or that speaks of one user alone: its
            // breaker opens by none of them, and does not close.
            Some(Failure {
                kind:
                    FailureKind::UnknownCluster
                    | FailureKind::Unavailable
                    | FailureKind::UnavailableForUser,
                ..
            }) => breaker.undecided(who, at.admitted, now),
            _ => breaker.answered(who, now),
        }
        if let Some(wait) = wait {
            endpoint.leave_alone(wait, now);
        }
        endpoint.retry_after(who, now)
    }

    /// Tells the exchange's pause whether its client was refused.
    pub(super) fn tell_pause(
        &mut self,
        key: &Key,
        who: u64,
        admitted: Admitted,
        failure: Option<&Failure>,
        now: Steady,
    ) {
        let Some(prepared) = self.exchanges.get_mut(index(key.exchange())) else {
            return;
        };
        if let Some(failure) = failure
            && failure.kind == FailureKind::Misconfigured
        {
            prepared.refused_at = failure.step;
        }
        match failure.map(|failure| &failure.kind) {
            Some(FailureKind::Misconfigured) => prepared.pause.failed(who, admitted, now),
            // Nothing was said of the client.
            Some(
                FailureKind::Unavailable
                | FailureKind::Timeout
                | FailureKind::UnknownCluster
                | FailureKind::InvalidResponse,
            ) => prepared.pause.undecided(who, admitted, now),
            _ => prepared.pause.answered(who, now),
        }
    }
}
