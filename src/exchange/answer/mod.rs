//! What a token endpoint's answer means: the acceptance rules and the error table, for an answer that
//! may be anything at all.

mod accept;
mod date;
mod failure;
mod members;
mod refused;
#[cfg(test)]
mod tests;

pub(crate) use failure::{Check, Detail, Failure, FailureKind, StsError};

use super::settings::TokenCall;
use crate::time::Time;
use crate::token::BearerToken;
use accept::accept;
use refused::refused;
use std::time::Duration;

/// The largest body that is looked at, in bytes.
pub(crate) const MAX_BODY: usize = 1024 * 1024;
/// The longest that an endpoint is kept to its `retry-after`.
const LONGEST_WAIT: Duration = Duration::from_secs(60);

/// What became of a call.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Answer<'a> {
    /// A status and a body; `None` stands for a body over [`MAX_BODY`].
    Http(u16, Option<&'a [u8]>),
    /// The same, with what its `retry-after` says, for whatever that is good for.
    HttpLater(u16, Option<&'a [u8]>, Duration),
    /// No answer in time.
    TimedOut,
    /// The connection was there and broke before any answer.
    BrokeOff,
    /// The connection broke before the answer was whole.
    Reset,
    /// Envoy does not know the cluster.
    UnknownCluster,
    /// Envoy could not send the request: the cluster has no endpoint that it would use.
    Unsendable,
    /// Envoy could not sign the client's assertion.
    Unsigned,
}

impl<'a> Answer<'a> {
    /// What Envoy says in the endpoint's place.
    ///
    /// A refused connection and one that broke are both a 503, and only the reason in its text tells
    /// them apart. A limit of the cluster's own (`max_stream_duration`) that is over is a 408.
    pub(crate) fn of_envoy(status: u16, body: Option<&'a [u8]>) -> Self {
        match status {
            408 | 504 => Self::TimedOut,
            503 if body.is_some_and(broke_off) => Self::BrokeOff,
            _ => Self::Http(status, body),
        }
    }
}

/// A token that may be used.
#[derive(Debug)]
pub(crate) struct Issued {
    /// The token.
    pub token: BearerToken,
    /// What `expires_in` says.
    pub expires: ExpiresIn,
}

/// `expires_in` (RFC 8693 §2.2.1).
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum ExpiresIn {
    /// A positive number of seconds.
    After(Duration),
    /// Not there.
    Absent,
    /// There, and zero, negative or nonsense: the token serves one request.
    Unusable,
}

/// Judges `answer` to `call`, which came `elapsed` after it was made.
pub(crate) fn judge(
    answer: Answer<'_>,
    call: &TokenCall,
    elapsed: Duration,
    timeout: Duration,
) -> Result<Issued, Failure> {
    let fail = |kind, detail| Err(Failure::new(kind, detail));
    let (status, body, later) = match answer {
        Answer::TimedOut => return fail(FailureKind::Timeout, Detail::None),
        // Once headers came, Envoy reports its own timeout like a connection that broke: only the clock
        // tells them apart.
        Answer::Reset if ran_out(elapsed, timeout) => {
            return fail(FailureKind::Timeout, Detail::None);
        }
        // Envoy has said so with a status of its own.
        Answer::BrokeOff => return fail(FailureKind::Unavailable, Detail::Status(503)),
        Answer::Http(status, body) => (status, body, None),
        Answer::HttpLater(status, body, later) => (status, body, Some(later.min(LONGEST_WAIT))),
        Answer::Reset | Answer::Unsendable => return fail(FailureKind::Unavailable, Detail::None),
        Answer::UnknownCluster => return fail(FailureKind::UnknownCluster, Detail::None),
        Answer::Unsigned => {
            return fail(FailureKind::Misconfigured, Detail::Check(Check::Unsigned));
        }
    };
    match status {
        200 => match accept(body, &call.grant.accepts) {
            Ok(issued) => Ok(issued),
            Err(check) => Err(Failure::of_check(check)),
        },
        ..=199 => fail(FailureKind::Unavailable, Detail::Status(status)),
        201..=299 => fail(FailureKind::InvalidResponse, Detail::Status(status)),
        300..=399 => fail(FailureKind::Misconfigured, Detail::Status(status)),
        _ => Err(refused(status, body, later, call)),
    }
}

/// How long `retry-after` asks to wait: a number of seconds, or a date (RFC 9110 §10.2.3).
pub(crate) fn retry_after(field: &[u8], now: Time) -> Option<Duration> {
    let text = std::str::from_utf8(field).ok()?.trim();
    let wait = match text.parse::<u64>() {
        Ok(seconds) => Duration::from_secs(seconds),
        // More seconds than can be counted.
        Err(_) if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) => {
            LONGEST_WAIT
        }
        Err(_) => date::parse(text)?.since(now),
    };
    Some(wait.min(LONGEST_WAIT)).filter(|wait| !wait.is_zero())
}

/// Whether Envoy says of a connection that it was there and broke before any answer.
fn broke_off(body: &[u8]) -> bool {
    const BEFORE_HEADERS: &[u8] = b"upstream connect error or disconnect/reset before headers. ";
    const REASONS: [&[u8]; 3] = [
        b"connection termination",
        b"remote reset",
        b"remote refused stream reset",
    ];
    let Some(rest) = body.strip_prefix(BEFORE_HEADERS) else {
        return false;
    };
    let mark: &[u8] = b"reset reason: ";
    let reason = rest
        .windows(mark.len())
        .position(|window| window == mark)
        .and_then(|place| rest.get(place.saturating_add(mark.len())..));
    reason.is_some_and(|reason| REASONS.iter().any(|known| reason.starts_with(known)))
}

/// Envoy arms its timer a moment after the call is stamped, with a clock that may lag by an event
/// loop's turn: the last twentieth of the timeout, and at least 2 ms, counts as run out.
fn ran_out(elapsed: Duration, timeout: Duration) -> bool {
    let slack = timeout
        .checked_div(20)
        .unwrap_or_default()
        .max(Duration::from_millis(2));
    elapsed.saturating_add(slack) >= timeout
}
