//! Calls to token endpoints: who makes them, who waits for them, and what each gets.
//!
//! A call belongs to the plugin, not to the request that caused it: the host delivers its answer to
//! the root context, also when that request is long gone.

use super::abi::{self, HostClock, Map, Status};
use super::effective::{OnPlugin, OnStream};
use super::metrics;
use super::plugin::Plugin;
use super::reply::AtSts;
use super::sign::HostSigner;
use super::streams::{self, Part};
use super::turns::{RequestId, Turn};
use crate::backend::Backend;
use crate::decision::{Credential, Obtain, Source};
use crate::exchange::answer::{Answer, FailureKind, MAX_BODY, retry_after};
use crate::exchange::cache::Key;
use crate::exchange::engine::Outgoing;
use crate::exchange::results::{Answered, Completion, Failed, Found, Obtained, Stop, Used, Waits};
use crate::exchange::{ExchangeId, Purpose, Step};
use crate::observe::counters::{Counter, Outcome, StsResult};
use crate::refusal::Refusal;
use crate::time::Clock;
use crate::token::{BearerToken, BearerValue};
use log::debug;
use std::rc::Rc;

/// A request that waits for an answer.
pub struct Waiter {
    /// Its stream.
    pub context: u32,
    /// Which of the client's requests it is an attempt of.
    pub request: RequestId,
    backend: Rc<Backend>,
    then: Then,
    header: String,
    outcome: Outcome,
    /// The identity's tokens that it has used so far.
    used: Vec<Used>,
    has_more: bool,
}

/// What becomes of the token that a request waits for.
enum Then {
    /// It goes to the backend.
    Forward,
    /// It is the subject of what comes next.
    Subject(Option<Source>, Option<ExchangeId>),
    /// It is the actor of what comes next.
    Actor(BearerToken, Option<ExchangeId>),
}

/// A request on its way to its token.
pub(super) struct Pursuit<'a> {
    /// Where it goes.
    pub backend: &'a Rc<Backend>,
    /// What is left to obtain.
    pub obtain: Obtain<'a>,
    /// The identity's tokens that it has used so far.
    pub used: Vec<Used>,
    /// Whether more than header fields follows.
    pub has_more: bool,
}

impl Plugin {
    /// The request needs a token; true lets it go on at once. What is in hand is used, and for the rest
    /// it waits: for the subject, for the actor, and for what is made of them, one after the other.
    pub(super) fn pursue(&self, stream: &OnStream<'_>, mut pursuit: Pursuit<'_>) -> bool {
        let mut renewals = Vec::new();
        let goes_on = loop {
            let Obtain {
                subject,
                actor,
                exchange,
                header,
                outcome,
            } = pursuit.obtain;
            let (exchange, subject, actor, then) = match (subject, actor, exchange) {
                (Source::ByExchange(identity, token), actor, exchange) => {
                    (identity, token, None, Then::Subject(actor, exchange))
                }
                (Source::InHand(subject), Some(Source::ByExchange(identity, token)), exchange) => {
                    (identity, token, None, Then::Actor(subject, exchange))
                }
                (Source::InHand(subject), Some(Source::InHand(actor)), Some(exchange)) => {
                    (exchange, subject, Some(actor), Then::Forward)
                }
                (Source::InHand(subject), None, Some(exchange)) => {
                    (exchange, subject, None, Then::Forward)
                }
                (Source::InHand(token), _, None) => {
                    streams::set_part(stream.context(), Part::of(pursuit.used));
                    let credential = Credential::BearerIn(header, token.to_value());
                    let (backend, has_more) = (pursuit.backend, pursuit.has_more);
                    break self.forward(stream, backend, credential, outcome, has_more);
                }
            };
            let found = {
                let mut engine = self.engine.borrow_mut();
                let backend = pursuit.backend.id;
                engine.find(exchange, subject, actor.as_ref(), backend, &HostClock)
            };
            match found {
                Found::Token {
                    value,
                    used,
                    renew,
                    shared,
                } => {
                    let result = match shared {
                        true => StsResult::Shared,
                        false => StsResult::CacheHit,
                    };
                    self.count_call(exchange, pursuit.backend.id, result);
                    if shared {
                        self.pace();
                    }
                    renewals.extend(renew);
                    pursuit.used.push(used);
                    let (subject, actor, exchange) = match then {
                        Then::Subject(actor, exchange) => {
                            (Source::InHand(value.to_token()), actor, exchange)
                        }
                        Then::Actor(subject, exchange) => {
                            let actor = Source::InHand(value.to_token());
                            (Source::InHand(subject), Some(actor), exchange)
                        }
                        Then::Forward => {
                            streams::set_part(stream.context(), Part::of(pursuit.used));
                            let credential = Credential::BearerIn(header, value);
                            let (backend, has_more) = (pursuit.backend, pursuit.has_more);
                            break self.forward(stream, backend, credential, outcome, has_more);
                        }
                    };
                    pursuit.obtain = Obtain {
                        subject,
                        actor,
                        exchange,
                        header,
                        outcome,
                    };
                }
                Found::Refused(stop) => break self.stop(stream, pursuit.backend, exchange, stop),
                Found::Nothing(key) => {
                    break self.wait_for(
                        stream,
                        key,
                        Waiter {
                            context: stream.context(),
                            request: self.turns.request_of(stream),
                            backend: Rc::clone(pursuit.backend),
                            then,
                            header: header.to_owned(),
                            outcome,
                            used: pursuit.used,
                            has_more: pursuit.has_more,
                        },
                    );
                }
            }
        };
        // After the request has gone on: a call may bring the host into the VM anew.
        for key in renewals {
            if let Some(completion) = self.call(key) {
                self.complete(completion, false);
            }
        }
        goes_on
    }

    /// The request waits, bare, for what `key` brings. Always false: it does not go on at once.
    fn wait_for(&self, stream: &OnStream<'_>, key: Key, waiter: Waiter) -> bool {
        let exchange = key.exchange();
        let backend = Rc::clone(&waiter.backend);
        if let Some(goes_on) = self.need_not_ask(stream, &backend, exchange, waiter.has_more) {
            return goes_on;
        }
        if let Err(refusal) = self.require_first_token(stream, &backend) {
            return self.refuse(stream, &backend, refusal, None, None);
        }
        // Paused means bare: whatever the plugin's options let through meanwhile carries nothing.
        if !self.headers.clear(stream) {
            return self.refuse(stream, &backend, Refusal::IdentityUnreadable, None, None);
        }
        let waits = {
            let mut engine = self.engine.borrow_mut();
            engine.wait(&key, backend.id, || waiter, &HostClock)
        };
        match waits {
            Waits::Refused(stop) => return self.stop(stream, &backend, exchange, stop),
            Waits::Joins => {
                self.count_call(exchange, backend.id, StsResult::Joined);
                streams::set_part(stream.context(), Part::Waiting(key));
            }
            Waits::Elsewhere => {
                self.count_call(exchange, backend.id, StsResult::Shared);
                streams::set_part(stream.context(), Part::Waiting(key));
                self.pace();
            }
            Waits::Calls => {
                streams::set_part(stream.context(), Part::Waiting(key.clone()));
                if let Some(completion) = self.call(key) {
                    return self.failed_at_once(stream, completion);
                }
            }
        }
        false
    }

    /// The identity service is asked for clients whose token was checked, and for no health check:
    /// `Some` if the request is done with.
    fn need_not_ask(
        &self,
        stream: &OnStream<'_>,
        backend: &Rc<Backend>,
        exchange: ExchangeId,
        has_more: bool,
    ) -> Option<bool> {
        let purpose = self.purpose(exchange);
        if purpose == Purpose::Backend {
            return None;
        }
        let request = self.request_on(stream);
        if request.is_health_check() {
            let outcome = Outcome::HealthCheck;
            return Some(self.forward(stream, backend, Credential::None, outcome, has_more));
        }
        let refusal = request.require_checked().err()?;
        Some(self.refuse(stream, backend, refusal, purpose.provider(), None))
    }

    fn stop(
        &self,
        stream: &OnStream<'_>,
        backend: &Rc<Backend>,
        exchange: ExchangeId,
        stop: Stop,
    ) -> bool {
        let purpose = self.purpose(exchange);
        if purpose != Purpose::Backend && self.request_on(stream).is_health_check() {
            let outcome = Outcome::HealthCheck;
            return self.forward(stream, backend, Credential::None, outcome, true);
        }
        let result = match &stop {
            Stop::RefusedBefore(..) => StsResult::NegativeHit,
            Stop::BreakerOpen(_) | Stop::Paused => StsResult::BreakerOpen,
            Stop::Crowded => StsResult::Unavailable,
        };
        self.count_call(exchange, backend.id, result);
        let refusal = stop.refusal(&purpose);
        let sts = AtSts {
            exchange,
            step: Step::First,
            failure: match stop {
                Stop::RefusedBefore(failure, _) => Some(failure),
                Stop::BreakerOpen(_) | Stop::Paused | Stop::Crowded => None,
            },
        };
        self.refuse(stream, backend, refusal, purpose.provider(), Some(sts))
    }

    /// Makes the call that `key` stands for now. `Some` if it could not even be made.
    pub(super) fn call(&self, key: Key) -> Option<Completion<Waiter>> {
        // The engine is not borrowed while the host makes the call: the host may enter the VM anew.
        let outgoing = self.engine.borrow().request(&key, &HostClock, &HostSigner);
        let sent = outgoing.and_then(|outgoing| {
            let Outgoing {
                request,
                body,
                timeout,
            } = &outgoing;
            let call = || abi::http_call(request.cluster(), &request.headers(), body, *timeout);
            streams::calling(call).map_err(|status| match status {
                Status::BAD_ARGUMENT => Answer::UnknownCluster,
                _ => Answer::Unsendable,
            })
        });
        let answer = match sent {
            Ok(call) => {
                self.engine.borrow_mut().called(call, key);
                return None;
            }
            Err(answer) => answer,
        };
        let answered = self.engine.borrow_mut().completed(key, answer, &HostClock);
        match answered {
            Answered::Done(completion) => Some(completion),
            // A call that failed is followed by none.
            Answered::Call(_) | Answered::Nobody => None,
        }
    }

    /// The answer to `call` is there, with that many header fields and bytes of body.
    pub fn answered(&self, on: &mut OnPlugin, call: u32, fields: u32, body_size: usize) {
        // A connection that broke after the header arrives without any field.
        let status = match fields {
            0 => None,
            _ => abi::header(Map::CallResponse, ":status"),
        };
        let status: Option<u16> =
            status.and_then(|status| std::str::from_utf8(&status).ok()?.parse().ok());
        let body = match body_size {
            0..=MAX_BODY => abi::call_response_body(body_size).ok(),
            _ => None,
        };
        let later = match status {
            Some(429 | 500..) => abi::header(Map::CallResponse, "retry-after"),
            _ => None,
        };
        let later = later.and_then(|field| retry_after(&field, HostClock.wall()));
        let answer = match (status, later) {
            (Some(status), Some(later)) => Answer::HttpLater(status, body.as_deref(), later),
            (Some(status), None) => Answer::Http(status, body.as_deref()),
            (None, _) => Answer::Reset,
        };
        let answered = {
            let mut engine = self.engine.borrow_mut();
            engine.answered(call, answer, &HostClock)
        };
        match answered {
            Answered::Done(completion) => self.complete(completion, true),
            Answered::Call(key) => {
                if let Some(completion) = self.call(key) {
                    self.complete(completion, true);
                }
            }
            Answered::Nobody => {}
        }
        self.serve_turns(on);
    }

    /// Lets everyone know who waited for a call: they have their turns. `sent` is false if it could
    /// not even be made.
    pub(super) fn complete(&self, completion: Completion<Waiter>, sent: bool) {
        if !completion.elsewhere {
            self.tell_of(&completion, sent);
        }
        let (exchange, step) = (completion.exchange, completion.step);
        let result = Rc::new(completion.result);
        self.turns
            .add(completion.waiting.into_iter().map(|waiter| Turn {
                waiter,
                exchange,
                step,
                result: Rc::clone(&result),
            }));
    }

    /// The call that the request of `stream` has just caused could not even be made. Nobody but this
    /// request can wait for it.
    fn failed_at_once(&self, stream: &OnStream<'_>, completion: Completion<Waiter>) -> bool {
        self.tell_of(&completion, false);
        let Completion {
            exchange,
            step,
            waiting,
            result,
            ..
        } = completion;
        let mut goes_on = false;
        for waiter in waiting {
            goes_on = self.serve(stream, waiter, (exchange, step), &result);
        }
        goes_on
    }

    fn tell_of(&self, completion: &Completion<Waiter>, sent: bool) {
        let result = sts_result(completion);
        self.count_call(completion.exchange, completion.on_behalf_of, result);
        let millis = u64::try_from(completion.elapsed.as_millis()).unwrap_or(u64::MAX);
        if sent {
            let name = match self.purpose(completion.exchange) {
                Purpose::Identity { .. } => "upstream_inject.identity.duration_ms".to_owned(),
                Purpose::Backend => {
                    let backend = self.stat_name(completion.on_behalf_of);
                    format!("upstream_inject.sts.{backend}.duration_ms")
                }
            };
            metrics::record(&name, millis);
        }
        debug!(
            "token exchange: {} after {millis} ms, {} waiting",
            result.as_str(),
            completion.waiting.len()
        );
    }

    /// The request that has waited goes on with what it has waited for, or to what comes next; true
    /// if it is to go on to the backend.
    pub(super) fn serve(
        &self,
        stream: &OnStream<'_>,
        waiter: Waiter,
        (exchange, step): (ExchangeId, Step),
        result: &Result<Obtained, Failed>,
    ) -> bool {
        streams::set_part(waiter.context, Part::None);
        let obtained = match result {
            Ok(obtained) => obtained,
            Err(failed) => {
                let sts = AtSts {
                    exchange,
                    step,
                    failure: Some(failed.failure.clone()),
                };
                let purpose = self.purpose(exchange);
                let refusal = failed.refusal.clone();
                let provider = purpose.provider();
                return self.refuse(stream, &waiter.backend, refusal, provider, Some(sts));
            }
        };
        let mut used = waiter.used;
        used.extend(obtained.used.clone());
        let in_hand = |value: &BearerValue| Source::InHand(value.to_token());
        let (subject, actor, exchange) = match waiter.then {
            Then::Forward => {
                streams::set_part(waiter.context, Part::of(used));
                let credential = Credential::BearerIn(&waiter.header, obtained.value.clone());
                let (backend, outcome) = (&waiter.backend, waiter.outcome);
                return self.forward(stream, backend, credential, outcome, waiter.has_more);
            }
            Then::Subject(actor, exchange) => (in_hand(&obtained.value), actor, exchange),
            Then::Actor(subject, exchange) => {
                let actor = Some(in_hand(&obtained.value));
                (Source::InHand(subject), actor, exchange)
            }
        };
        self.pursue(
            stream,
            Pursuit {
                backend: &waiter.backend,
                obtain: Obtain {
                    subject,
                    actor,
                    exchange,
                    header: &waiter.header,
                    outcome: waiter.outcome,
                },
                used,
                has_more: waiter.has_more,
            },
        )
    }

    fn purpose(&self, exchange: ExchangeId) -> Purpose {
        let engine = self.engine.borrow();
        let exchange = engine.exchange(exchange);
        exchange.map_or(Purpose::Backend, |exchange| exchange.purpose.clone())
    }

    fn count_call(&self, exchange: ExchangeId, backend: u32, result: StsResult) {
        let is_identity = {
            let engine = self.engine.borrow();
            let exchange = engine.exchange(exchange);
            exchange.is_some_and(|exchange| exchange.purpose != Purpose::Backend)
        };
        let counter = match is_identity {
            true => Counter::Identity(result),
            false => Counter::Sts(result),
        };
        self.count(backend, counter);
    }
}

fn sts_result<W>(completion: &Completion<W>) -> StsResult {
    match &completion.result {
        Ok(_) if completion.renewal => StsResult::Refreshed,
        Ok(_) => StsResult::Ok,
        Err(failed) => match failed.failure.kind {
            FailureKind::Rejected => StsResult::Rejected,
            FailureKind::Forbidden => StsResult::Forbidden,
            FailureKind::StepUp(_) => StsResult::StepUp,
            FailureKind::Misconfigured => StsResult::Misconfigured,
            FailureKind::Unavailable
            | FailureKind::UnknownCluster
            | FailureKind::UnavailableForUser => StsResult::Unavailable,
            FailureKind::Timeout => StsResult::Timeout,
            FailureKind::InvalidResponse => StsResult::InvalidResponse,
            FailureKind::NotFound => StsResult::NotFound,
        },
    }
}
