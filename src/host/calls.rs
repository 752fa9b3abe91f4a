//! Calls to an STS: who makes them, who waits for them, and what each gets.
//!
//! A call belongs to the plugin, not to the request that caused it: the host delivers its answer to
//! the root context, also when that request is long gone.

use super::abi::{self, Map, Status};
use super::metrics;
use super::plugin::Plugin;
use super::reply::AtSts;
use super::streams::{self, Part};
use super::turns::Turn;
use crate::backend::Backend;
use crate::decision::Credential;
use crate::exchange::answer::{Answer, FailureKind, MAX_BODY};
use crate::exchange::cache::Key;
use crate::exchange::results::{Acquired, Completion, Stop};
use crate::observe::counters::{Counter, Outcome, StsResult};
use crate::plan::ExchangeId;
use crate::token::BearerToken;
use log::debug;
use std::rc::Rc;

/// A request that waits for an answer.
pub struct Waiter {
    /// Its stream.
    pub context: u32,
    backend: Rc<Backend>,
    header: String,
}

impl Plugin {
    /// The request needs `subject` exchanged; true lets it go on at once.
    pub(super) fn exchange(
        &self,
        context: u32,
        backend: &Rc<Backend>,
        exchange: ExchangeId,
        subject: BearerToken,
        header: &str,
    ) -> bool {
        let waiter = || Waiter {
            context,
            backend: Rc::clone(backend),
            header: header.to_owned(),
        };
        let acquired = {
            let mut engine = self.engine.borrow_mut();
            engine.acquire(exchange, subject, backend.id, waiter, abi::now())
        };
        match acquired {
            Acquired::Token { value, used, renew } => {
                self.count(backend.id, Counter::Sts(StsResult::CacheHit));
                streams::set_part(context, Part::Used(used));
                let credential = Credential::BearerIn(header, value);
                let goes_on = self.forward(backend, credential, Outcome::Exchanged);
                if let Some(key) = renew {
                    self.call(key);
                }
                goes_on
            }
            Acquired::Join(key) => {
                self.count(backend.id, Counter::Sts(StsResult::Joined));
                streams::set_part(context, Part::Waiting(key));
                false
            }
            Acquired::Call(key) => {
                streams::set_part(context, Part::Waiting(key.clone()));
                self.call(key);
                false
            }
            Acquired::Refuse(stop) => self.stop(backend, exchange, stop),
        }
    }

    fn stop(&self, backend: &Backend, exchange: ExchangeId, stop: Stop) -> bool {
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
        self.refuse(backend, stop.refusal(), Some(sts))
    }

    /// Makes the call that `key` stands for.
    fn call(&self, key: Key) {
        let sent = match self.engine.borrow().request(&key) {
            Some((request, body)) => abi::http_call(
                request.cluster(),
                &request.headers(),
                &body,
                request.timeout(),
            ),
            None => Err(Status::INTERNAL_FAILURE),
        };
        let answer = match sent {
            Ok(call) => return self.engine.borrow_mut().called(call, key),
            Err(Status::BAD_ARGUMENT) => Answer::UnknownCluster,
            Err(_) => Answer::Unsendable,
        };
        let completion = self.engine.borrow_mut().completed(key, answer, abi::now());
        if let Some(completion) = completion {
            self.complete(completion, false);
        }
    }

    /// The answer to `call` is there, with that many header fields and bytes of body.
    pub fn answered(&self, call: u32, fields: u32, body_size: usize) {
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
        let completion = self.engine.borrow_mut().answered(call, answer, abi::now());
        if let Some(completion) = completion {
            self.complete(completion, true);
        }
    }

    /// Lets everyone know who waited for a call. `sent` is false if it could not even be made.
    pub(super) fn complete(&self, completion: Completion<Waiter>, sent: bool) {
        let result = sts_result(&completion);
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
        let (exchange, result) = (completion.exchange, Rc::new(completion.result));
        self.take_turns(completion.waiting.into_iter().map(|waiter| Turn {
            waiter,
            exchange,
            result: Rc::clone(&result),
        }));
    }

    /// Lets the request of the effective context go on, or refuses it.
    pub(super) fn serve(&self, turn: &Turn) {
        let waiter = &turn.waiter;
        match &*turn.result {
            Ok(obtained) => {
                let part = obtained.used.clone().map_or(Part::None, Part::Used);
                streams::set_part(waiter.context, part);
                let credential = Credential::BearerIn(&waiter.header, obtained.value.clone());
                if self.forward(&waiter.backend, credential, Outcome::Exchanged)
                    && abi::resume_request().is_err()
                {
                    debug!("a waiting request could not be resumed: its stream has ended");
                }
            }
            Err(failed) => {
                streams::set_part(waiter.context, Part::None);
                let sts = AtSts {
                    exchange: turn.exchange,
                    error: failed.failure.error,
                    kind: Some(failed.failure.kind),
                };
                self.refuse(&waiter.backend, failed.refusal, Some(sts));
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
            FailureKind::InsufficientScope | FailureKind::Forbidden => StsResult::Forbidden,
            FailureKind::Misconfigured => StsResult::Misconfigured,
            FailureKind::Unavailable | FailureKind::UnknownCluster => StsResult::Unavailable,
            FailureKind::Timeout => StsResult::Timeout,
            FailureKind::InvalidResponse => StsResult::InvalidResponse,
        },
    }
}
