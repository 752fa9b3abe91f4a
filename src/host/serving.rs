//! Requests that have waited are served: each gets what its call brought, when its turn comes.

use super::abi;
use super::effective::{OnPlugin, OnStream};
use super::metrics;
use super::plugin::Plugin;
use super::reply::AtSts;
use super::streams::{self, Part};
use super::turns::{TICK, Turn};
use super::waiting::{Pursuit, Then, Waiter};
use crate::decision::{Credential, Obtain, Source};
use crate::exchange::answer::FailureKind;
use crate::exchange::engine::Pace;
use crate::exchange::results::{Completion, Failed, Obtained};
use crate::exchange::{ExchangeId, Purpose};
use crate::observe::counters::{self, StsResult};
use crate::token::BearerValue;
use log::debug;
use std::rc::Rc;
use std::time::Duration;

/// How soon the next ones have their turn.
const SOON: Duration = Duration::from_millis(1);
/// How soon a worker that holds tokens hears that another has dropped one.
const HEARS: Duration = Duration::from_millis(100);
/// How often it looks whether another worker's call has ended that requests wait for here.
const LOOKS: Duration = Duration::from_millis(2);

impl Plugin {
    /// Lets everyone know who waited for a call: they have their turns. `sent` is false if it could
    /// not even be made.
    pub(super) fn complete(&self, completion: Completion<Waiter>, sent: bool) {
        if !completion.elsewhere {
            self.tell_of(&completion, sent);
        }
        let exchange = completion.exchange;
        let result = Rc::new(completion.result);
        self.turns
            .add(completion.waiting.into_iter().map(|waiter| Turn {
                waiter,
                exchange,
                result: Rc::clone(&result),
            }));
    }

    /// The call that the request of `stream` has just caused could not even be made. Nobody but this
    /// request can wait for it.
    pub(super) fn failed_at_once(
        &self,
        stream: &OnStream<'_>,
        completion: Completion<Waiter>,
    ) -> bool {
        self.tell_of(&completion, false);
        let Completion {
            exchange,
            waiting,
            result,
            ..
        } = completion;
        let mut goes_on = false;
        for waiter in waiting {
            goes_on = self.serve(stream, waiter, exchange, &result);
        }
        goes_on
    }

    fn tell_of(&self, completion: &Completion<Waiter>, sent: bool) {
        let result = sts_result(completion);
        self.count_call(completion.exchange, completion.on_behalf_of, result);
        let millis = u64::try_from(completion.elapsed.as_millis()).unwrap_or(u64::MAX);
        if sent {
            let name = match self.purpose(completion.exchange) {
                Purpose::Identity { .. } => counters::IDENTITY_DURATION.to_owned(),
                Purpose::Backend => {
                    counters::sts_duration(&self.stat_name(completion.on_behalf_of))
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
        exchange: ExchangeId,
        result: &Result<Obtained, Failed>,
    ) -> bool {
        streams::set_part(waiter.context, Part::None);
        let obtained = match result {
            Ok(obtained) => obtained,
            Err(failed) => {
                let failure = failed.failure.clone();
                let sts = AtSts { exchange, failure };
                let purpose = self.purpose(exchange);
                let refusal = failed.refusal.clone();
                let provider = purpose.provider();
                return self.refuse(stream, &waiter.backend, refusal, provider, Some(sts));
            }
        };
        let mut used = waiter.used;
        let it = obtained.used.clone();
        used.extend(it.map(|it| waiter.then.of_it(it)));
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

    /// Has the timer go off as often as there is something to do.
    pub(super) fn pace(&self) {
        let period = match self.engine.borrow().pace() {
            _ if !self.turns.is_empty() => SOON,
            Pace::Watches => LOOKS,
            Pace::Holds => HEARS,
            Pace::Idle => TICK,
        };
        // Without a faster timer everything has its turn when the slow one goes off.
        if period != self.turns.period.get() && abi::set_tick_period(period).is_ok() {
            self.turns.period.set(period);
        }
    }

    /// Serves the next requests whose turn has come. Only from a callback of the plugin: in one of a
    /// stream, another attempt of that stream's request might be decided too.
    pub(super) fn serve_turns(&self, on: &mut OnPlugin) {
        let turns = self.turns.next();
        self.pace();
        for Turn {
            waiter,
            exchange,
            result,
        } in turns
        {
            if let Some(stream) = on.turn_to(waiter.context)
                && self.serve(&stream, waiter, exchange, &result)
                && stream.resume().is_err()
            {
                debug!("a waiting request could not be resumed: its stream has ended");
            }
        }
    }
}

fn sts_result<W>(completion: &Completion<W>) -> StsResult {
    match &completion.result {
        Ok(_) if completion.renewal => StsResult::Refreshed,
        Ok(_) => StsResult::Ok,
        Err(failed) if failed.failure.is_stopped() => StsResult::BreakerOpen,
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
