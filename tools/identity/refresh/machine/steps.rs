//! What goes into the machine and what comes out: events, steps, and the result.

use std::time::Duration;

use crate::session::store::{Claim, Replacement, StoreError, Written};
use crate::session::{Row, RowKey};

/// What the provider said.
#[derive(Clone, PartialEq, Eq)]
pub(crate) enum Answer {
    /// New tokens.
    Tokens(Tokens),
    /// New tokens, but their ID token is somebody else's.
    OtherSubject(Tokens),
    /// The refresh token is dead.
    Dead(&'static str),
    /// Nothing that can be used, though it answered: it refuses us, or talks nonsense.
    NoUse(&'static str),
    /// No answer at all, or one that says "not now".
    NotNow(&'static str),
}

/// What a provider issued. They cannot be printed.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Tokens {
    /// The new access token.
    pub access_token: String,
    /// The next refresh token, if it says so.
    pub refresh_token: Option<String>,
    /// The new ID token, if there is one.
    pub id_token: Option<String>,
    /// When the access token expires, in Unix seconds; 0 if it does not say.
    pub expires_at: i64,
}

impl Tokens {
    /// The row with these tokens in it; what the answer lacks stays, and whose it is.
    pub(super) fn put_into(&self, row: &Row) -> Row {
        let mut row = row.clone();
        row.access_token.clone_from(&self.access_token);
        row.expires_at = self.expires_at;
        if let Some(refresh_token) = &self.refresh_token {
            row.refresh_token.clone_from(refresh_token);
        }
        if let Some(id_token) = &self.id_token {
            row.id_token.clone_from(id_token);
        }
        row
    }
}

/// What the machine wants done next.
#[derive(Clone, Debug)]
pub(crate) enum Step {
    /// Take the lock, and read the row.
    Claim,
    /// Wait.
    Wait(Duration),
    /// Redeem the refresh token for the user that the row names.
    Call {
        /// The provider's name for the user.
        subject: String,
    },
    /// Find the rows of this user that hold the refresh token.
    Gather {
        /// The auth server's name for the user.
        user: String,
    },
    /// Replace rows.
    Write {
        /// Which, and by what.
        rows: Vec<Replacement>,
        /// Whether to leave the mark that the token has been redeemed, and for how long.
        redeemed: Option<Duration>,
    },
    /// Delete rows; each with its user.
    Delete(Vec<(RowKey, String)>),
    /// Give the lock back.
    Release,
    /// Nothing more: this is the result.
    Done(Outcome),
}

/// What has happened. Each answers one [`Step`].
#[derive(Clone)]
pub(crate) enum Event {
    /// To [`Step::Claim`].
    Claimed(Result<Claim, StoreError>),
    /// To [`Step::Wait`].
    Waited,
    /// To [`Step::Call`].
    Answered(Answer),
    /// To [`Step::Gather`].
    Gathered(Result<Vec<(RowKey, Row)>, StoreError>),
    /// To [`Step::Write`] and [`Step::Delete`].
    Wrote(Result<Written, StoreError>),
    /// To [`Step::Release`].
    Released(Result<(), StoreError>),
}

/// What came of it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Outcome {
    /// This row is to be used: refreshed here, by another, or not due after all.
    Held(Box<Row>),
    /// Only a login brings a token back.
    Missing(&'static str),
    /// Nobody can say just now.
    Unavailable(&'static str),
}

impl Outcome {
    /// Why a token is missing: its row has gone.
    pub(crate) const GONE: &'static str = "gone";
    /// Why a token is unavailable: its row cannot be read.
    pub(crate) const UNREADABLE: &'static str = "unreadable";
    /// Why a token is missing: the refresh token was rotated, and the new one could not be kept.
    pub(crate) const NOT_KEPT: &'static str = "the rotated refresh token could not be kept";
    /// Why a token is missing or unavailable: the provider answered with somebody else's.
    pub(crate) const FOREIGN: &'static str = "an ID token of somebody else";
}

impl std::fmt::Debug for Tokens {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Tokens([redacted])")
    }
}

impl std::fmt::Debug for Answer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Tokens(_) => f.write_str("Tokens"),
            Self::OtherSubject(_) => f.write_str("OtherSubject"),
            Self::Dead(why) => write!(f, "Dead({why})"),
            Self::NoUse(why) => write!(f, "NoUse({why})"),
            Self::NotNow(why) => write!(f, "NotNow({why})"),
        }
    }
}
