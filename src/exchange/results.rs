//! What the engine tells a request to do, and what became of a call.

use super::answer::{Failure, StsError};
use super::cache::{Held, Key};
use super::settings::ExchangeId;
use crate::refusal::Refusal;
use crate::token::BearerValue;
use std::time::Duration;

/// What a request that needs an exchanged token should do.
#[derive(Debug)]
pub enum Acquired {
    /// Go on with this token; `renew` is to be called too, if it is there.
    Token {
        /// The header's value.
        value: BearerValue,
        /// What to report if the backend does not accept the token.
        used: Used,
        /// A renewal to start.
        renew: Option<Key>,
    },
    /// Wait for the call under way.
    Join(Key),
    /// Make this call, and wait for it.
    Call(Key),
    /// Do not go on.
    Refuse(Stop),
}

/// What an answer leads to.
#[derive(Debug)]
pub enum Answered<W> {
    /// The call is over.
    Done(Completion<W>),
    /// This call is to be made once more, at once.
    Again(Key),
    /// Nobody knows of that call.
    Nobody,
}

/// Why a request does not even wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// The STS refused this subject a moment ago.
    RefusedBefore(Option<StsError>),
    /// The breaker is open; whole seconds until a try makes sense.
    BreakerOpen(u32),
    /// Too many requests are waiting.
    Crowded,
}

impl Stop {
    /// The refusal that the request gets.
    pub fn refusal(self) -> Refusal {
        match self {
            Stop::RefusedBefore(_) => Refusal::ExchangeRejected,
            Stop::BreakerOpen(retry_after) => Refusal::ExchangeUnavailable { retry_after },
            Stop::Crowded => Refusal::ExchangeUnavailable { retry_after: 1 },
        }
    }
}

/// A cached token that a request went on with.
#[derive(Clone, Debug)]
pub struct Used {
    pub(super) key: Key,
    pub(super) serial: u64,
}

impl Used {
    pub(super) fn of(held: &Held) -> Self {
        Self {
            key: held.key.clone(),
            serial: held.serial,
        }
    }
}

/// How a call ended, for everyone who waited for it.
#[derive(Debug)]
pub struct Completion<W> {
    /// The exchange that was called.
    pub exchange: ExchangeId,
    /// The requests that waited, in the order they came.
    pub waiting: Vec<W>,
    /// What each of them gets.
    pub result: Result<Obtained, Failed>,
    /// Whether this was a renewal.
    pub renewal: bool,
    /// The `on_behalf_of` of the request that caused the call.
    pub on_behalf_of: u32,
    /// How long the call took.
    pub elapsed: Duration,
}

/// A token fresh from the STS.
#[derive(Debug)]
pub struct Obtained {
    /// The header's value.
    pub value: BearerValue,
    /// What to report if the backend does not accept it; `None` if it is not cached.
    pub used: Option<Used>,
}

/// A call that brought no token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Failed {
    /// Why.
    pub failure: Failure,
    /// What each waiting request gets.
    pub refusal: Refusal,
}
