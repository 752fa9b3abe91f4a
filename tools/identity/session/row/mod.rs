//! One provider's tokens in one session, as ToolHive keeps them: read as its own reader does,
//! written byte for byte as its own writer does.

mod read;
#[cfg(test)]
mod tests;
mod write;

use std::fmt;
use std::time::Duration;

use serde_json::value::RawValue;

/// What ToolHive's zero time is in Unix seconds; written by mistake, and it means "none".
const ZERO_TIME: i64 = -62_135_596_800;

/// How long a row outlives its token, so that the refresh token in it can still be used.
const GRACE_MS: i64 = 30 * 24 * 60 * 60 * 1000;

/// The tokens of one provider in one session, and whose they are. Times are Unix seconds, 0 for
/// none; texts are empty for none.
#[derive(Clone, Default)]
pub(crate) struct Row {
    /// The upstream's name, as in the configuration.
    pub provider_id: String,
    /// What is sent to backends.
    pub access_token: String,
    /// What is redeemed for a new access token.
    pub refresh_token: String,
    /// What an OpenID provider says of the login.
    pub id_token: String,
    /// When the access token expires.
    pub expires_at: i64,
    /// When the auth server thinks that the session ends; bounds the row's life if nothing else does.
    pub session_expires_at: i64,
    /// The auth server's own name for the user.
    pub user_id: String,
    /// The provider's name for the user.
    pub upstream_subject: String,
    /// The MCP client.
    pub client_id: String,
    /// Members that are not known here, as they were written, so that they survive a refresh.
    pub(crate) others: Vec<(String, Box<RawValue>)>,
}

/// What stands where a row should be.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum RowState {
    /// A row.
    Read(Box<Row>),
    /// Nothing, or ToolHive's mark for a deleted row.
    Gone,
    /// Something that is no row: nobody can say what it was.
    Unreadable,
}

impl RowState {
    /// Reads a row's value.
    #[must_use]
    pub(crate) fn parse(bytes: &[u8]) -> Self {
        match Row::parse(bytes) {
            Ok(Some(row)) => Self::Read(Box::new(row)),
            Ok(None) => Self::Gone,
            Err(Unreadable) => Self::Unreadable,
        }
    }

    /// The row, if there is one.
    #[cfg(test)]
    pub(crate) fn row(&self) -> Option<&Row> {
        match self {
            Self::Read(row) => Some(row),
            Self::Gone | Self::Unreadable => None,
        }
    }
}

/// A value that ToolHive's reader would drop too. It says no more, because the value is full of
/// secrets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Unreadable;

impl Row {
    /// When the access token expires, in Unix seconds; `None` if it does not.
    #[must_use]
    pub(crate) fn expiry(&self) -> Option<i64> {
        (self.expires_at != 0 && self.expires_at != ZERO_TIME).then_some(self.expires_at)
    }

    /// How long the store should keep the row when it is written at `now_ms` (Unix milliseconds);
    /// `None` for ever.
    #[must_use]
    pub(crate) fn lifetime(&self, now_ms: i64) -> Option<Duration> {
        let session = (self.session_expires_at != 0 && self.session_expires_at != ZERO_TIME)
            .then_some(self.session_expires_at);
        let end = self.expiry().or(session)?;
        let left = end
            .saturating_mul(1000)
            .saturating_sub(now_ms)
            .saturating_add(GRACE_MS);
        let left = u64::try_from(left).unwrap_or(0);
        Some(if left == 0 {
            Duration::from_secs(1)
        } else {
            Duration::from_millis(left)
        })
    }
}

impl PartialEq for Row {
    fn eq(&self, other: &Self) -> bool {
        self.encode() == other.encode()
    }
}

impl fmt::Debug for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Row")
            .field("provider_id", &self.provider_id)
            .field("expires_at", &self.expires_at)
            .finish_non_exhaustive()
    }
}
