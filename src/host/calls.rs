//! Calls to an STS: who makes them, who waits for them, and what each gets.
//!
//! A call belongs to the plugin, not to the request that caused it: the host delivers its answer to
//! the root context, also when that request is long gone.

use super::abi::{self, HostClock, Map, Status};
use super::effective::{OnPlugin, OnStream};
use super::metrics;
use super::plugin::Plugin;
use super::reply::AtSts;
use super::streams::{self, Part};
use super::turns::{RequestId, Turn};
use crate::backend::Backend;
use crate::decision::Credential;
use crate::exchange::ExchangeId;
use crate::exchange::answer::{Answer, FailureKind, MAX_BODY};
use crate::exchange::cache::Key;
use crate::exchange::results::{Acquired, Answered, Completion, Failed, Obtained, Stop};
use crate::observe::counters::{Counter, Outcome, StsResult};
use crate::refusal::Refusal;
use crate::token::BearerToken;
use log::debug;
use std::rc::Rc;

/// A request that waits for an answer.
pub struct Waiter {
    /// Its stream.
    pub context: u32,
    /// Which of the client's requests it is an attempt of.
    pub request: RequestId,
    backend: Rc<Backend>,
    header: String,
    has_more: bool,
}

impl Plugin {
    /// The request needs `subject` exchanged; true lets it go on at once.
    pub(super) fn exchange(
        &self,
        stream: &OnStream<'_>,
        backend: &Rc<Backend>,
        exchange: ExchangeId,
        subject: BearerToken,
        header: &str,
        has_more: bool,
    ) -> bool {
        let context = stream.context();
        let waiter = || Waiter {
            context,
            request: self.turns.request_of(stream),
            backend: Rc::clone(backend),
            header: header.to_owned(),
            has_more,
        };
        let acquired = {
            let mut engine = self.engine.borrow_mut();
            engine.acquire(exchange, subject, backend.id, waiter, &HostClock)
        };
        let (key, first) = match acquired {
            Acquired::Token { value, used, renew } => {
                self.count(backend.id, Counter::Sts(StsResult::CacheHit));
                streams::set_part(context, Part::Used(used));
                let credential = Credential::BearerIn(header, value);
                let goes_on =
                    self.forward(stream, backend, credential, Outcome::Exchanged, has_more);
                if let Some(key) = renew
                    && let Some(completion) = self.call(key)
                {
                    self.complete(completion, false);
                }
                return goes_on;
            }
            Acquired::Refuse(stop) => return self.stop(stream, backend, exchange, stop),
            Acquired::Join(key) => (key, false),
            Acquired::Call(key) => (key, true),
        };
        // Paused means bare: whatever the plugin's options let through meanwhile carries nothing.
        if !self.headers.clear(stream) {
            let mut engine = self.engine.borrow_mut();
            engine.leave(&key, |waiter| waiter.context == context);
            drop(engine);
            return self.refuse(stream, backend, Refusal::IdentityUnreadable, None);
        }
        if first {
            streams::set_part(context, Part::Waiting(key.clone()));
            if let Some(completion) = self.call(key) {
                self.failed_at_once(stream, completion);
            }
        } else {
            self.count(backend.id, Counter::Sts(StsResult::Joined));
            streams::set_part(context, Part::Waiting(key));
        }
        false
    }

    fn stop(
        &self,
        stream: &OnStream<'_>,
        backend: &Backend,
        exchange: ExchangeId,
        stop: Stop,
    ) -> bool {
        let (result, error) = match stop {
            Stop::RefusedBefore(error) => (StsResult::NegativeHit, error),
            Stop::BreakerOpen(_) => (StsResult::BreakerOpen, None),
            Stop::Crowded => (StsResult::Unavailable, None),
        };
        self.count(backend.id, Counter::Sts(result));
        let sts = AtSts {
            exchange,
            error,
            kind: None,
        };
        self.refuse(stream, backend, stop.refusal(), Some(sts))
    }

    /// Makes the call that `key` stands for. `Some` if it could not even be made.
    fn call(&self, key: Key) -> Option<Completion<Waiter>> {
        // The engine is not borrowed while the host makes the call: the host may enter the VM anew.
        let request = self.engine.borrow().request(&key, &HostClock);
        let sent = match request {
            Some((request, body, timeout)) => streams::calling(|| {
                abi::http_call(request.cluster(), &request.headers(), &body, timeout)
            }),
            None => Err(Status::INTERNAL_FAILURE),
        };
        let answer = match sent {
            Ok(call) => {
                self.engine.borrow_mut().called(call, key);
                return None;
            }
            Err(Status::BAD_ARGUMENT) => Answer::UnknownCluster,
            Err(_) => Answer::Unsendable,
        };
        self.engine.borrow_mut().completed(key, answer, &HostClock)
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
        let answer = match status {
            Some(status) => Answer::Http(status, body.as_deref()),
            None => Answer::Reset,
        };
        let answered = {
            let mut engine = self.engine.borrow_mut();
            engine.answered(call, answer, &HostClock)
        };
        match answered {
            Answered::Done(completion) => self.complete(completion, true),
            Answered::Again(key) => {
                debug!("a token endpoint closed a kept connection: called once more");
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
        self.tell_of(&completion, sent);
        let (exchange, result) = (completion.exchange, Rc::new(completion.result));
        self.turns
            .add(completion.waiting.into_iter().map(|waiter| Turn {
                waiter,
                exchange,
                result: Rc::clone(&result),
            }));
    }

    /// The call that the request of `stream` has just caused could not even be made. Nobody but this
    /// request can wait for it.
    fn failed_at_once(&self, stream: &OnStream<'_>, completion: Completion<Waiter>) {
        self.tell_of(&completion, false);
        for waiter in &completion.waiting {
            self.serve(stream, waiter, completion.exchange, &completion.result);
        }
    }

    fn tell_of(&self, completion: &Completion<Waiter>, sent: bool) {
        let result = sts_result(completion);
        self.count(completion.on_behalf_of, Counter::Sts(result));
        let millis = u64::try_from(completion.elapsed.as_millis()).unwrap_or(u64::MAX);
        if sent {
            let backend = self.stat_name(completion.on_behalf_of);
            metrics::record(
                &format!("upstream_inject.sts.{backend}.duration_ms"),
                millis,
            );
        }
        debug!(
            "token exchange: {} after {millis} ms, {} waiting",
            result.as_str(),
            completion.waiting.len()
        );
    }

    /// Puts the token on the request that has waited; true if it is to go on. Or refuses it.
    pub(super) fn serve(
        &self,
        stream: &OnStream<'_>,
        waiter: &Waiter,
        exchange: ExchangeId,
        result: &Result<Obtained, Failed>,
    ) -> bool {
        match result {
            Ok(obtained) => {
                let part = obtained.used.clone().map_or(Part::None, Part::Used);
                streams::set_part(waiter.context, part);
                let credential = Credential::BearerIn(&waiter.header, obtained.value.clone());
                let outcome = Outcome::Exchanged;
                self.forward(
                    stream,
                    &waiter.backend,
                    credential,
                    outcome,
                    waiter.has_more,
                )
            }
            Err(failed) => {
                streams::set_part(waiter.context, Part::None);
                let sts = AtSts {
                    exchange,
                    error: failed.failure.error,
                    kind: Some(failed.failure.kind),
                };
                self.refuse(stream, &waiter.backend, failed.refusal, Some(sts))
            }
        }
    }
}

fn sts_result<W>(completion: &Completion<W>) -> StsResult {
    match &completion.result {
        Ok(_) if completion.renewal => StsResult::Refreshed,
        Ok(_) => StsResult::Ok,
        Err(failed) => match failed.failure.kind {
            FailureKind::Rejected => StsResult::Rejected,
            FailureKind::Forbidden => StsResult::Forbidden,
            FailureKind::Misconfigured => StsResult::Misconfigured,
            FailureKind::Unavailable | FailureKind::UnknownCluster => StsResult::Unavailable,
            FailureKind::Timeout => StsResult::Timeout,
            FailureKind::InvalidResponse => StsResult::InvalidResponse,
        },
    }
}
