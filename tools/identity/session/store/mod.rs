//! Where sessions are kept: what every store can do, whatever it is.
//!
//! One conformance test (`conformance.rs`) says what the methods mean; it runs against the file and
//! against Redis alone, behind Sentinel and as a cluster.

pub(crate) mod file;
pub(crate) mod redis;

#[cfg(test)]
mod conformance;

use std::fmt;
use std::time::Duration;

use async_trait::async_trait;

use super::{Digest, Row, RowKey, RowState, SessionId};

/// Which providers of a session a request asks for.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Wanted<'a> {
    /// Whatever the session has. The names are those that are likely: a store may save itself a
    /// question with them.
    All(&'a [String]),
    /// These.
    Named(&'a [String]),
}

/// The rows of a session that its index names, of those that were wanted.
pub(crate) type Rows = Vec<(String, RowState)>;

/// Who holds a lock: a value that nobody else has.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Owner(String);

impl Owner {
    /// Somebody new.
    ///
    /// # Panics
    /// If the system has no random numbers, on which everything here depends.
    #[must_use]
    #[expect(
        clippy::expect_used,
        reason = "without random numbers nothing here is safe"
    )]
    pub(crate) fn new() -> Self {
        let mut bytes = [0; 16];
        getrandom::fill(&mut bytes).expect("the system's random numbers");
        Self(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
    }

    /// What stands in the lock.
    #[must_use]
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

impl Default for Owner {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Owner")
    }
}

/// A lock on a refresh token, as its holder names it.
#[derive(Clone, Debug)]
pub(crate) struct Lock {
    /// Which refresh token.
    pub token: Digest,
    /// Who holds it.
    pub owner: Owner,
}

/// What a claim found.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Claim {
    /// Whether the lock is ours now.
    pub lock: LockState,
    /// The row, read in the same moment. A row that its index does not name is gone.
    pub row: RowState,
}

/// Whose a lock is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LockState {
    /// Ours.
    Ours,
    /// Somebody else's.
    Held,
    /// Nobody's: this refresh token has been redeemed and replaced.
    Redeemed,
}

/// A row and what it becomes.
#[derive(Clone, Debug)]
pub(crate) struct Replacement {
    /// Which row.
    pub key: RowKey,
    /// Its new content.
    pub row: Row,
}

/// What became of a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Written {
    /// So many rows were replaced or deleted; the others had gone, or hold another refresh token.
    Rows(u64),
    /// Nothing was touched, since the lock is not ours.
    NotOurs,
}

/// What became of a client's refresh token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ended {
    /// So many were taken out.
    Tokens(u64),
    /// The access token does not lead to one of this session.
    NothingFound,
}

/// Why a store could not do what it was asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum StoreError {
    /// It cannot be reached, did not answer in time, or is not ready (loading, a replica, a cluster
    /// without a slot): later it may do the same thing gladly.
    Away(&'static str),
    /// It refused; the word is its error code.
    Refused(String),
    /// A session's index is no set but, says the store, this: the form of a later ToolHive.
    UnknownForm(String),
}

impl StoreError {
    /// One word for a metric.
    #[must_use]
    pub(crate) fn word(&self) -> &'static str {
        match self {
            Self::Away(_) => "away",
            Self::Refused(_) => "refused",
            Self::UnknownForm(_) => "unknown_form",
        }
    }
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Away(why) => write!(f, "the store does not answer ({why})"),
            Self::Refused(code) => write!(f, "the store refuses ({code})"),
            Self::UnknownForm(found) => write!(
                f,
                "a session's index is a {found} where ToolHive up to v0.44 has a set: \
                 a later form, which this version cannot read"
            ),
        }
    }
}

impl std::error::Error for StoreError {}

/// A store of sessions. Every method is bounded in time by the store itself.
#[async_trait]
pub(crate) trait Store: Send + Sync {
    /// Reads a session. An unknown one has no rows.
    async fn read(&self, session: &SessionId, wanted: Wanted<'_>) -> Result<Rows, StoreError>;

    /// Takes the lock for `lifetime` if nobody has it and the token has not been redeemed, and
    /// reads the row in the same moment. Whoever holds the lock already keeps it, and its end.
    async fn claim(
        &self,
        lock: &Lock,
        lifetime: Duration,
        row: &RowKey,
    ) -> Result<Claim, StoreError>;

    /// The rows of this user and provider, over all sessions, that hold `refresh_token`.
    async fn rows_with(
        &self,
        user: &str,
        provider: &str,
        refresh_token: &str,
    ) -> Result<Vec<(RowKey, Row)>, StoreError>;

    /// Replaces those rows that are there and still hold `refresh_token`, and, with `redeemed`,
    /// leaves the mark that it has been redeemed for so long. One step, and only while the lock is
    /// ours.
    async fn write(
        &self,
        lock: &Lock,
        refresh_token: &str,
        rows: &[Replacement],
        redeemed: Option<Duration>,
    ) -> Result<Written, StoreError>;

    /// Deletes those rows that still hold `refresh_token`. One step, and only while the lock is
    /// ours.
    async fn delete(
        &self,
        lock: &Lock,
        refresh_token: &str,
        rows: &[(RowKey, String)],
    ) -> Result<Written, StoreError>;

    /// Gives the lock back, if it is ours.
    async fn release(&self, lock: &Lock) -> Result<(), StoreError>;

    /// What a `dcr_config` upstream has registered under this id.
    async fn registration(&self, id: &str) -> Result<Option<Vec<u8>>, StoreError>;

    /// Takes out the client's refresh token that belongs to the access token of this signature, if
    /// both are of this session.
    async fn end_client(&self, session: &SessionId, signature: &str) -> Result<Ended, StoreError>;

    /// Asks whether it is there.
    async fn ping(&self) -> Result<(), StoreError>;
}
