//! What an STS's answer means: the acceptance rules and the error table, for an answer that may be
//! anything at all.

use crate::refusal::Refusal;
use crate::token::BearerToken;
use serde::Deserialize;
use serde::de::{Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;
use std::fmt;
use std::time::Duration;

/// The largest body that is looked at, in bytes.
pub const MAX_BODY: usize = 1024 * 1024;

/// What became of a call.
#[derive(Clone, Copy, Debug)]
pub enum Answer<'a> {
    /// A status and a body; `None` stands for a body over [`MAX_BODY`].
    Http(u16, Option<&'a [u8]>),
    /// The connection broke before the answer was whole.
    Reset,
    /// Envoy does not know the cluster.
    UnknownCluster,
    /// Envoy could not send the request: the cluster has no endpoint that it would use.
    Unsendable,
}

/// A token that may be used.
#[derive(Debug)]
pub struct Issued {
    /// The exchanged token.
    pub token: BearerToken,
    /// What `expires_in` says.
    pub expires: ExpiresIn,
}

/// `expires_in` (RFC 8693 §2.2.1).
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum ExpiresIn {
    /// A positive number of seconds.
    After(Duration),
    /// Not there.
    Absent,
    /// There, and zero, negative or nonsense: the token serves one request.
    Unusable,
}

/// Why a call brought no token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Failure {
    /// The kind of failure.
    pub kind: FailureKind,
    /// The STS's `error`, where it is one of the known words.
    pub error: Option<StsError>,
}

/// The kinds of failure, in the words of the `sts` counters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FailureKind {
    /// The subject was refused.
    Rejected,
    /// The target, or the scope, is denied.
    Forbidden,
    /// The client or the request as such was refused.
    Misconfigured,
    /// No answer, or one that says that the STS cannot serve.
    Unavailable,
    /// No answer in time.
    Timeout,
    /// Success without a usable token.
    InvalidResponse,
    /// The cluster does not exist: not a sign of a struggling STS.
    UnknownCluster,
}

impl FailureKind {
    /// The refusal that a waiting request gets; `retry_after` is in whole seconds.
    pub fn refusal(self, retry_after: u32) -> Refusal {
        match self {
            FailureKind::Rejected => Refusal::ExchangeRejected,
            FailureKind::Forbidden => Refusal::ExchangeForbidden,
            FailureKind::Misconfigured => Refusal::ExchangeMisconfigured,
            FailureKind::Unavailable | FailureKind::UnknownCluster => {
                Refusal::ExchangeUnavailable { retry_after }
            }
            FailureKind::Timeout => Refusal::ExchangeTimeout,
            FailureKind::InvalidResponse => Refusal::ExchangeInvalidResponse,
        }
    }
}

macro_rules! sts_errors {
    ($($name:ident $word:literal $kind:ident,)*) => {
        /// The `error` words of an STS that are understood (RFC 6749 §5.2, RFC 6750 §3.1,
        /// RFC 8693 §2.2.2). Only these ever appear in a log line.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum StsError {
            $(#[doc = concat!("`", $word, "`")] $name,)*
        }

        impl StsError {
            /// The word.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$name => $word,)* }
            }

            fn parse(word: &str) -> Option<Self> {
                match word { $($word => Some(Self::$name),)* _ => None }
            }

            fn kind(self) -> FailureKind {
                match self { $(Self::$name => FailureKind::$kind,)* }
            }
        }
    };
}

sts_errors! {
    InvalidRequest "invalid_request" Rejected,
    InvalidGrant "invalid_grant" Rejected,
    InvalidToken "invalid_token" Rejected,
    InvalidScope "invalid_scope" Forbidden,
    InsufficientScope "insufficient_scope" Forbidden,
    InvalidTarget "invalid_target" Forbidden,
    AccessDenied "access_denied" Forbidden,
    InvalidClient "invalid_client" Misconfigured,
    UnauthorizedClient "unauthorized_client" Misconfigured,
    UnsupportedGrantType "unsupported_grant_type" Misconfigured,
}

/// Judges `answer`, which came `elapsed` after the call.
///
/// `requested` is the `requested_token_type` that was sent, if one was.
pub fn judge(
    answer: Answer<'_>,
    requested: Option<&str>,
    elapsed: Duration,
    timeout: Duration,
) -> Result<Issued, Failure> {
    let fail = |kind| Err(Failure { kind, error: None });
    match answer {
        // Envoy reports its own timeout as an ordinary 504 or, once headers came, as a reset:
        // only the clock tells it from an answer.
        Answer::Http(504, _) | Answer::Reset if ran_out(elapsed, timeout) => {
            fail(FailureKind::Timeout)
        }
        Answer::Http(200, body) => match body.and_then(|body| accept(body, requested)) {
            Some(issued) => Ok(issued),
            None => fail(FailureKind::InvalidResponse),
        },
        Answer::Http(status @ 400..=499, body) => Err(refused(status, body)),
        Answer::Http(200..=299, _) => fail(FailureKind::InvalidResponse),
        Answer::Http(300..=399, _) => fail(FailureKind::Misconfigured),
        Answer::Http(..) | Answer::Reset | Answer::Unsendable => fail(FailureKind::Unavailable),
        Answer::UnknownCluster => fail(FailureKind::UnknownCluster),
    }
}

/// Whether the connection was there and broke before any answer.
///
/// Envoy reports that as an ordinary 503 with a text of its own, and a refused connection likewise:
/// the reason in the text tells them apart. A server that sends such a text itself is called once
/// more.
pub fn broke_off(answer: Answer<'_>) -> bool {
    const BEFORE_HEADERS: &[u8] = b"upstream connect error or disconnect/reset before headers. ";
    const REASONS: [&[u8]; 3] = [
        b"connection termination",
        b"remote reset",
        b"remote refused stream reset",
    ];
    let Answer::Http(503, Some(body)) = answer else {
        return false;
    };
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

/// A 4xx answer: judged by its `error` if that is a known word, else by the status.
fn refused(status: u16, body: Option<&[u8]>) -> Failure {
    let error = body
        .and_then(|body| serde_json::from_slice::<Members<'_>>(body).ok())
        .and_then(|members| text(members.error?))
        .and_then(|word| StsError::parse(&word));
    let kind = match (error, status) {
        (Some(error), _) => error.kind(),
        (None, 429) => FailureKind::Unavailable,
        (None, _) => FailureKind::Misconfigured,
    };
    Failure { kind, error }
}

/// The token of a successful answer (RFC 8693 §2.2.1), if all of it holds.
fn accept(body: &[u8], requested: Option<&str>) -> Option<Issued> {
    let members: Members<'_> = serde_json::from_slice(body).ok()?;
    let token_type = text(members.token_type?)?;
    let issued_token_type = text(members.issued_token_type?)?;
    let fits = token_type.eq_ignore_ascii_case("Bearer")
        && !issued_token_type.is_empty()
        && requested.is_none_or(|requested| requested == issued_token_type);
    let token = BearerToken::new(text(members.access_token?)?.into_bytes())?;
    fits.then(|| Issued {
        token,
        expires: expires_in(members.expires_in),
    })
}

fn expires_in(raw: Option<&RawValue>) -> ExpiresIn {
    let Some(raw) = raw else {
        return ExpiresIn::Absent;
    };
    let number = text(raw).unwrap_or_else(|| raw.get().to_owned());
    // The same reader for both: it takes decimal numbers and nothing else, and the standard
    // library's would bring ten kilobytes of tables into the artifact.
    match serde_json::from_str::<f64>(&number) {
        Ok(seconds) if seconds > 0.0 => {
            // A hundred years is beyond every bound that follows, and within every type.
            ExpiresIn::After(Duration::from_nanos((seconds.min(3.2e9) * 1e9) as u64))
        }
        _ => ExpiresIn::Unusable,
    }
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

fn text(raw: &RawValue) -> Option<String> {
    serde_json::from_str(raw.get()).ok()
}

/// The members that are understood, each still raw, so that nonsense in one does not spoil the
/// document. A member given twice does: which one counts would be a guess.
#[derive(Default)]
struct Members<'a> {
    access_token: Option<&'a RawValue>,
    token_type: Option<&'a RawValue>,
    issued_token_type: Option<&'a RawValue>,
    expires_in: Option<&'a RawValue>,
    error: Option<&'a RawValue>,
}

impl<'de> Deserialize<'de> for Members<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(MembersVisitor)
    }
}

struct MembersVisitor;

impl<'de> Visitor<'de> for MembersVisitor {
    type Value = Members<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members<'de>, A::Error> {
        let mut members = Members::default();
        while let Some(key) = map.next_key::<String>()? {
            let member = match key.as_str() {
                "access_token" => &mut members.access_token,
                "token_type" => &mut members.token_type,
                "issued_token_type" => &mut members.issued_token_type,
                "expires_in" => &mut members.expires_in,
                "error" => &mut members.error,
                _ => {
                    map.next_value::<IgnoredAny>()?;
                    continue;
                }
            };
            let value: &RawValue = map.next_value()?;
            if value.get() == "null" {
                continue;
            }
            if member.replace(value).is_some() {
                return Err(serde::de::Error::custom("a member stands twice"));
            }
        }
        Ok(members)
    }
}

#[cfg(test)]
#[path = "answer_tests.rs"]
mod tests;
