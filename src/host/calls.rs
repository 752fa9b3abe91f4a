//! Calls to token endpoints: who makes them, and who waits for them.
//!
//! A call belongs to the plugin, not to the request that caused it: the host delivers its answer to
//! the root context, also when that request is long gone.

use super::abi::{self, HostClock, Map, Status};
use super::effective::{OnPlugin, OnStream};
use super::plugin::Plugin;
use super::reply::AtSts;
use super::sign::HostSigner;
use super::streams::{self, Part};
use super::waiting::{Pursuit, Then, Waiter};
use crate::backend::Backend;
use crate::decision::{Credential, Obtain, Source};
use crate::exchange::answer::{Answer, MAX_BODY, retry_after};
use crate::exchange::engine::Outgoing;
use crate::exchange::key::Key;
use crate::exchange::results::{Answered, Completion, Failed, Found, Stop, Waits};
use crate::exchange::{ExchangeId, Purpose};
use crate::observe::counters::{Counter, Outcome, StsResult};
use crate::refusal::Refusal;
use crate::time::Clock;
use std::rc::Rc;

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
                let may_call = |purpose: &Purpose| self.may_call(stream, purpose).is_ok();
                engine.find(
                    exchange,
                    subject,
                    actor.as_ref(),
                    backend,
                    &may_call,
                    &HostClock,
                )
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
                    pursuit.used.push(then.of_it(used));
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
        // Where the strategy has found the tokens in metadata, it has looked for the marker.
        let purpose = self.purpose(exchange);
        if purpose != Purpose::Backend || !waiter.used.is_empty() {
            match self.may_call(stream, &purpose) {
                Ok(()) => {}
                Err(None) => return self.let_health_check(stream, &backend, waiter.has_more),
                Err(Some(refusal)) => {
                    return self.refuse(stream, &backend, refusal, purpose.provider(), None);
                }
            }
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

    /// Nobody is asked for a health check (`None`), and the identity service only for clients whose
    /// token was checked.
    fn may_call(&self, stream: &OnStream<'_>, purpose: &Purpose) -> Result<(), Option<Refusal>> {
        let request = self.request_on(stream);
        if request.is_health_check() {
            return Err(None);
        }
        match purpose {
            Purpose::Backend => Ok(()),
            Purpose::Identity { .. } => request.require_checked().map_err(Some),
        }
    }

    /// The health check goes on without a credential.
    fn let_health_check(&self, stream: &OnStream<'_>, backend: &Backend, has_more: bool) -> bool {
        let outcome = Outcome::HealthCheck;
        self.forward(stream, backend, Credential::None, outcome, has_more)
    }

    fn stop(
        &self,
        stream: &OnStream<'_>,
        backend: &Rc<Backend>,
        exchange: ExchangeId,
        stop: Stop,
    ) -> bool {
        let purpose = self.purpose(exchange);
        if self.request_on(stream).is_health_check() {
            return self.let_health_check(stream, backend, true);
        }
        let result = match &stop {
            Stop::RefusedBefore(..) => StsResult::NegativeHit,
            Stop::BreakerOpen(_) | Stop::Paused(_) => StsResult::BreakerOpen,
            Stop::Crowded => StsResult::Unavailable,
        };
        self.count_call(exchange, backend.id, result);
        let Failed { failure, refusal } = Failed::stopped(&stop, &purpose);
        let sts = AtSts { exchange, failure };
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
    pub(super) fn answered(&self, on: &mut OnPlugin, call: u32, fields: u32, body_size: usize) {
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
            Some(400..) => abi::header(Map::CallResponse, "retry-after"),
            _ => None,
        };
        let later = later.and_then(|field| retry_after(&field, HostClock.wall()));
        let body = body.as_deref();
        let answer = match (status, later) {
            (Some(status @ (408 | 500..)), _) if !is_from_upstream() => {
                Answer::of_envoy(status, body)
            }
            (Some(status), Some(later)) => Answer::HttpLater(status, body, later),
            (Some(status), None) => Answer::Http(status, body),
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

    pub(super) fn purpose(&self, exchange: ExchangeId) -> Purpose {
        let engine = self.engine.borrow();
        let exchange = engine.exchange(exchange);
        exchange.map_or(Purpose::Backend, |exchange| exchange.purpose.clone())
    }

    pub(super) fn count_call(&self, exchange: ExchangeId, backend: u32, result: StsResult) {
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

/// Whether the endpoint has sent the answer, and not Envoy in its place: Envoy's router notes on each
/// answer of an upstream how long it took, in place of whatever the upstream says there, and on none of
/// its own.
fn is_from_upstream() -> bool {
    abi::header(Map::CallResponse, "x-envoy-upstream-service-time").is_some()
}
