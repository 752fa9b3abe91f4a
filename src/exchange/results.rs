//! What the engine tells a request to do, and what became of a call.

use super::answer::{Failure, FailureKind};
use super::cache::Held;
use super::key::Key;
use super::settings::{ExchangeId, Purpose, Step};
use crate::refusal::Refusal;
use crate::token::BearerValue;
use std::time::Duration;

/// What is known of a token that a request needs.
#[derive(Debug)]
pub(crate) enum Found {
    /// It is in hand; `renew` is to be called too, if it is there.
    Token {
        /// The header's value.
        value: BearerValue,
        /// What to report if the backend does not accept the token.
        used: Used,
        /// A renewal to start.
        renew: Option<Key>,
        /// Whether another worker has just handed it over.
        shared: bool,
    },
    /// It was refused a moment ago.
    Refused(Stop),
    /// Nothing: it is to be asked for, or waited for.
    Nothing(Key),
}

/// How a request comes to wait.
#[derive(Debug)]
pub(crate) enum Waits {
    /// For the call under way.
    Joins,
    /// For a call that is to be made now.
    Calls,
    /// For another worker's call.
    Elsewhere,
    /// Not at all.
    Refused(Stop),
}

/// What an answer leads to.
#[derive(Debug)]
pub(crate) enum Answered<W> {
    /// The exchange is over.
    Done(Completion<W>),
    /// This call is to be made now: the next one of the exchange, or the same one once more.
    Call(Key),
    /// Nobody knows of that call.
    Nobody,
}

/// Why a request does not even wait.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Stop {
    /// It was refused a moment ago, and is for so long.
    RefusedBefore(Failure, Duration),
    /// The breaker is open; whole seconds until a try makes sense.
    BreakerOpen(u32),
    /// The endpoint has refused this client several times in a row, the last time at that step.
    Paused(Step),
    /// Too many requests are waiting.
    Crowded,
}

impl Stop {
    /// The refusal that the request gets.
    pub(crate) fn refusal(&self, purpose: &Purpose) -> Refusal {
        match self {
            Stop::RefusedBefore(failure, left) => {
                failure.kind.refusal(purpose, whole_seconds(*left))
            }
            Stop::BreakerOpen(retry_after) => {
                FailureKind::Unavailable.refusal(purpose, *retry_after)
            }
            Stop::Paused(_) => FailureKind::Misconfigured.refusal(purpose, 1),
            // The same whatever the token is for: nobody was asked for it.
            Stop::Crowded => Refusal::ExchangeUnavailable { retry_after: 1 },
        }
    }
}

impl FailureKind {
    /// The refusal that a waiting request gets; `retry_after` is in whole seconds.
    pub(crate) fn refusal(&self, purpose: &Purpose, retry_after: u32) -> Refusal {
        let identity = matches!(purpose, Purpose::Identity { .. });
        match self {
            FailureKind::Rejected if identity => Refusal::IdentityRejected,
            FailureKind::Rejected => Refusal::ExchangeRejected,
            // A client that has just shown a token.
            FailureKind::NotFound => Refusal::UpstreamTokenNotFound {
                token_presented: true,
                no_tokens_at_all: false,
            },
            FailureKind::UnavailableForUser => Refusal::UpstreamTokenUnavailable { retry_after },
            FailureKind::Unavailable | FailureKind::UnknownCluster | FailureKind::Timeout
                if identity =>
            {
                Refusal::UpstreamTokenUnavailable { retry_after }
            }
            FailureKind::Forbidden if identity => Refusal::ExchangeMisconfigured,
            FailureKind::Forbidden => Refusal::ExchangeForbidden,
            FailureKind::StepUp(step_up) => Refusal::StepUp(step_up.clone()),
            FailureKind::Misconfigured => Refusal::ExchangeMisconfigured,
            FailureKind::Unavailable | FailureKind::UnknownCluster => {
                Refusal::ExchangeUnavailable { retry_after }
            }
            FailureKind::Timeout => Refusal::ExchangeTimeout,
            FailureKind::InvalidResponse => Refusal::ExchangeInvalidResponse,
        }
    }
}

/// A cached token that a request went on with.
#[derive(Clone, Debug)]
pub(crate) struct Used {
    pub(super) key: Key,
    pub(super) serial: u64,
    /// Whether the backend saw it, and not only what was made of it.
    pub(super) was_sent: bool,
}

impl Used {
    pub(super) fn of(held: &Held) -> Self {
        Self {
            key: held.key.clone(),
            serial: held.serial,
            was_sent: true,
        }
    }

    /// The same, where the token was the subject or the actor of a further exchange, for which it was
    /// good enough.
    pub(crate) fn not_sent(self) -> Self {
        let was_sent = false;
        Self { was_sent, ..self }
    }
}

/// How an exchange ended, for everyone who waited for it.
#[derive(Debug)]
pub(crate) struct Completion<W> {
    /// The exchange.
    pub exchange: ExchangeId,
    /// The requests that waited, in the order they came.
    pub waiting: Vec<W>,
    /// What each of them gets.
    pub result: Result<Obtained, Failed>,
    /// Whether this was a renewal.
    pub renewal: bool,
    /// Whether it was another worker's.
    pub elsewhere: bool,
    /// The backend of the request that caused it.
    pub on_behalf_of: u32,
    /// How long it took.
    pub elapsed: Duration,
}

/// A fresh token.
#[derive(Debug)]
pub(crate) struct Obtained {
    /// The header's value.
    pub value: BearerValue,
    /// What to report if the backend does not accept it; `None` if it is not cached.
    pub used: Option<Used>,
}

/// An exchange that brought no token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Failed {
    /// Why.
    pub failure: Failure,
    /// What each waiting request gets.
    pub refusal: Refusal,
}

impl Failed {
    /// The exchange failed; a try makes sense after that many seconds, unless the failure knows better.
    pub(super) fn new(failure: Failure, purpose: &Purpose, retry_after: u32) -> Self {
        let retry_after = match failure.wait {
            Some(wait) => whole_seconds(wait),
            None if failure.kind == FailureKind::UnavailableForUser => {
                whole_seconds(UNAVAILABLE_FOR_USER)
            }
            None => retry_after,
        };
        let refusal = failure.kind.refusal(purpose, retry_after);
        Self { failure, refusal }
    }

    /// The exchange could not be started.
    pub(crate) fn stopped(stop: &Stop, purpose: &Purpose) -> Self {
        let refusal = stop.refusal(purpose);
        let failure = match stop {
            Stop::RefusedBefore(failure, _) => failure.clone(),
            Stop::BreakerOpen(seconds) => Failure::stopped(Duration::from_secs((*seconds).into())),
            Stop::Crowded => Failure::crowded(),
            Stop::Paused(step) => Failure::paused().at(*step),
        };
        Self { failure, refusal }
    }
}

/// How long a user's token is not asked for again that could not be had, if nobody says.
pub(super) const UNAVAILABLE_FOR_USER: Duration = Duration::from_secs(5);

/// `duration` rounded up to whole seconds, at least one, as `retry-after` needs it (RFC 9110
/// §10.2.3).
pub(crate) fn whole_seconds(duration: Duration) -> u32 {
    let ceiling = duration
        .as_secs()
        .saturating_add(u64::from(duration.subsec_nanos() > 0));
    u32::try_from(ceiling.max(1)).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_finds_too_many_waiting_is_told_the_same_whatever_they_wait_for() {
        let identity = Purpose::Identity {
            provider: "github".to_owned(),
        };
        for purpose in [Purpose::Backend, identity] {
            let refusal = Refusal::ExchangeUnavailable { retry_after: 1 };
            assert_eq!(Stop::Crowded.refusal(&purpose), refusal);
        }
    }

    #[test]
    fn what_a_failure_means_depends_on_whose_token_was_asked_for() {
        let identity = Purpose::Identity {
            provider: "github".to_owned(),
        };
        assert_eq!(identity.provider(), Some("github"));
        assert_eq!(Purpose::Backend.provider(), None);
        let unavailable = Refusal::ExchangeUnavailable { retry_after: 7 };
        let later = Refusal::UpstreamTokenUnavailable { retry_after: 7 };
        for (kind, of_backend, of_identity) in [
            (
                FailureKind::Rejected,
                Refusal::ExchangeRejected,
                Refusal::IdentityRejected,
            ),
            (FailureKind::Unavailable, unavailable.clone(), later.clone()),
            (FailureKind::UnknownCluster, unavailable, later.clone()),
            (
                FailureKind::Timeout,
                Refusal::ExchangeTimeout,
                later.clone(),
            ),
            // The user has no say in what the identity service allows the proxy.
            (
                FailureKind::Forbidden,
                Refusal::ExchangeForbidden,
                Refusal::ExchangeMisconfigured,
            ),
            (FailureKind::UnavailableForUser, later.clone(), later),
            (
                FailureKind::Misconfigured,
                Refusal::ExchangeMisconfigured,
                Refusal::ExchangeMisconfigured,
            ),
            (
                FailureKind::InvalidResponse,
                Refusal::ExchangeInvalidResponse,
                Refusal::ExchangeInvalidResponse,
            ),
        ] {
            assert_eq!(kind.refusal(&Purpose::Backend, 7), of_backend, "{kind:?}");
            assert_eq!(kind.refusal(&identity, 7), of_identity, "{kind:?}");
        }
    }
}
