//! Exchanges under way in this worker: their calls, one after the other, and how they end.

use super::elsewhere::Claimed;
use super::*;

/// An exchange under way for one key.
pub(super) struct Flight<W> {
    pub waiting: Vec<Waiting<W>>,
    pub started: Steady,
    pub renewal: bool,
    /// Tells the other workers of it, if it is shared with them.
    pub claim: Option<(Address, ClaimId)>,
    /// How the pause admitted it.
    admitted: Admitted,
    /// The digest of the token that a backend did not accept.
    rejected: Option<Rc<str>>,
    pub at: Under,
    /// The request on whose behalf it is made, for the counters.
    on_behalf_of: u32,
}

/// The call of a flight that is under way.
pub(super) struct Under {
    pub step: Step,
    /// What the call before brought: it goes to the next endpoint and nowhere else.
    carried: Option<BearerToken>,
    /// When it was first made.
    pub asked: Moment,
    pub admitted: Admitted,
    /// `None` before it is made.
    pub call: Option<u32>,
    /// Whether this is the second try, after the first one's connection broke.
    again: bool,
}

impl Under {
    /// A call that is to be made now.
    fn new(
        step: Step,
        carried: Option<BearerToken>,
        admitted: Admitted,
        now: Steady,
        clock: &dyn Clock,
    ) -> Self {
        Self {
            step,
            carried,
            asked: Moment {
                wall: clock.wall(),
                steady: now,
            },
            admitted,
            call: None,
            again: false,
        }
    }
}

/// Where an exchange was started.
pub(super) enum Started {
    /// Here: its call is to be made now.
    Here,
    /// Elsewhere, or it need not be: this was found instead.
    Elsewhere(Address, Seen),
}

/// A call to be made.
pub(crate) struct Outgoing {
    /// Where it goes, and its header fields.
    pub request: Rc<TokenRequest>,
    /// Its body.
    pub body: Vec<u8>,
    /// How long to wait for the answer.
    pub timeout: Duration,
}

/// Refuses an answer that would send on what must not be: a TH-JWT to a backend, an ID-JAG to another
/// than the partner. (A provider's token that comes back is one that the backend may have.)
fn something_new(
    issued: Issued,
    key: &Key,
    exchange: &Exchange,
    at: &Under,
) -> Result<Issued, Failure> {
    let handed_in = match &at.carried {
        Some(carried) => carried.as_bytes(),
        None if exchange.subject_is_identity_token => key.tokens(exchange.has_actor).0,
        None => return Ok(issued),
    };
    match issued.token.as_bytes() == handed_in {
        true => Err(Failure::of_check(Check::HandedIn)),
        false => Ok(issued),
    }
}

impl<W> Engine<W> {
    /// Starts the exchange for `key`, if pause and breaker let it, and no other worker is before us.
    #[inline(never)]
    pub(super) fn start(
        &mut self,
        key: &Key,
        backend: u32,
        why: Why,
        clock: &dyn Clock,
    ) -> Result<Started, Stop> {
        let now = clock.steady();
        let (paused, endpoint) = self.admit(key, now)?;
        let mut rejected = self.cache.rejected(key);
        let claim = match self.claim(key, why, now, clock) {
            None => None,
            Some(Claimed::Ours(address, id, forgotten)) => {
                let theirs = forgotten.and_then(|forgotten| forgotten.rejected);
                rejected = rejected.or(theirs.map(Rc::from));
                Some((address, id))
            }
            Some(Claimed::Seen(address, seen)) => {
                self.not_called(key, (paused, endpoint), now);
                return Ok(Started::Elsewhere(address, seen));
            }
        };
        let flight = Flight {
            waiting: Vec::new(),
            started: now,
            renewal: matches!(why, Why::Renewal(_)),
            claim,
            admitted: paused,
            rejected,
            at: Under::new(Step::First, None, endpoint, now, clock),
            on_behalf_of: backend,
        };
        self.flights.insert(key.clone(), flight);
        Ok(Started::Here)
    }

    /// The call that `key` stands for now, to be made at once.
    ///
    /// # Errors
    /// If the client's assertion cannot be signed, or the key stands for no call.
    pub(crate) fn request(
        &self,
        key: &Key,
        clock: &dyn Clock,
        signer: &dyn Signer,
    ) -> Result<Outgoing, Answer<'static>> {
        let (flight, prepared) = self
            .flights
            .get(key)
            .zip(self.prepared(key.exchange()))
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
        let request = prepared.request(at.step)?;
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
                .saturating_sub(clock.steady().since(at.asked.steady)),
            false => request.timeout(),
        };
        Some(Outgoing {
            request: Rc::clone(request),
            body,
            timeout,
        })
    }

    /// The call for `key` is under way as `call`.
    pub(crate) fn called(&mut self, call: u32, key: Key) {
        if let Some(flight) = self.flights.get_mut(&key) {
            flight.at.call = Some(call);
            self.calls.insert(call, key);
        }
    }

    /// The answer to `call` came.
    pub(crate) fn answered(
        &mut self,
        call: u32,
        answer: Answer<'_>,
        clock: &dyn Clock,
    ) -> Answered<W> {
        let Some(key) = self.calls.remove(&call) else {
            return Answered::Nobody;
        };
        if matches!(answer, Answer::BrokeOff) && self.may_call_again(&key, clock) {
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
        let in_time = clock.steady().since(at.asked.steady) < timeout;
        if at.again || at.admitted == Admitted::AsProbe || !in_time {
            return false;
        }
        at.again = true;
        at.call = None;
        true
    }

    /// The call for `key` ended, or could not be made.
    #[inline(never)]
    pub(crate) fn completed(
        &mut self,
        key: Key,
        answer: Answer<'_>,
        clock: &dyn Clock,
    ) -> Answered<W> {
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
        let judged = judge(
            answer,
            call,
            now.since(flight.at.asked.steady),
            call.timeout,
        )
        .and_then(|issued| something_new(issued, &key, exchange, &flight.at))
        .map_err(|failure| failure.at(flight.at.step));
        let who = self.who(&key);
        let retry_after = self.tell_endpoint(&key, who, &flight.at, judged.as_ref().err(), now);
        let judged = match judged {
            // What the first call brought goes into the second.
            Ok(issued) if flight.at.step == Step::First && exchange.second.is_some() => {
                match self.next_step(&key, who, issued.token, clock) {
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
        let waiting = self.crowd.all_go(flight.waiting);
        if flight.renewal {
            self.renewals = self.renewals.saturating_sub(1);
        }
        self.tell_pause(&key, who, flight.admitted, judged.as_ref().err(), now);
        let claim = flight.claim.as_ref();
        let result = match judged {
            Ok(issued) => Ok(self.hold(key, issued, flight.at.asked, exchange, claim, clock)),
            Err(failure) => {
                let failed = Failed::new(failure, &exchange.purpose, retry_after);
                self.remember_failure(key, &failed.failure, claim, clock);
                Err(failed)
            }
        };
        Answered::Done(Completion {
            exchange: id,
            waiting,
            result,
            renewal: flight.renewal,
            elsewhere: false,
            on_behalf_of: flight.on_behalf_of,
            elapsed: now.since(flight.started),
        })
    }

    /// The second call of an exchange, if its endpoint's breaker lets it.
    fn next_step(
        &mut self,
        key: &Key,
        who: u64,
        carried: BearerToken,
        clock: &dyn Clock,
    ) -> Result<Under, Failure> {
        let now = clock.steady();
        let admitted = self
            .admit_call(key, who, Step::Second, now)
            .map_err(|stopped| Failure::stopped(stopped.retry_after).at(Step::Second))?;
        Ok(Under::new(
            Step::Second,
            Some(carried),
            admitted,
            now,
            clock,
        ))
    }
}
