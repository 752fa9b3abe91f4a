//! What a token endpoint's answer means: the acceptance rules and the error table, for an answer that
//! may be anything at all.

use super::grant::{Accepts, IdJag, IssuedType, TokenTypeRule, Words};
use super::jwt;
use super::settings::{Meaning, TokenCall};
use crate::refusal::StepUp;
use crate::time::Time;
use crate::token::BearerToken;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde::de::{Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;
use std::fmt;
use std::rc::Rc;
use std::time::Duration;

/// The largest body that is looked at, in bytes.
pub const MAX_BODY: usize = 1024 * 1024;
/// The longest that an endpoint is kept to its `retry-after`.
const LONGEST_WAIT: Duration = Duration::from_secs(60);
/// The longest `claims` that are handed on, in bytes.
const MAX_CLAIMS: usize = 4096;
/// The longest link that is handed on, in bytes.
const MAX_LINK: usize = 2048;

/// What became of a call.
#[derive(Clone, Copy, Debug)]
pub enum Answer<'a> {
    /// A status and a body; `None` stands for a body over [`MAX_BODY`].
    Http(u16, Option<&'a [u8]>),
    /// The same, with how long the endpoint wants to be left alone.
    HttpLater(u16, Option<&'a [u8]>, Duration),
    /// The connection broke before the answer was whole.
    Reset,
    /// Envoy does not know the cluster.
    UnknownCluster,
    /// Envoy could not send the request: the cluster has no endpoint that it would use.
    Unsendable,
    /// Envoy could not sign the client's assertion.
    Unsigned,
}

/// A token that may be used.
#[derive(Debug)]
pub struct Issued {
    /// The token.
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
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// The kind of failure.
    pub kind: FailureKind,
    /// The endpoint's `error`, where it is one of the known words.
    pub error: Option<StsError>,
    /// What the log says of it.
    pub detail: Detail,
    /// How long the endpoint wants to be left alone.
    pub wait: Option<Duration>,
}

impl Failure {
    /// Whether no call was made, because the client's assertion could not be signed.
    pub fn is_unsigned(&self) -> bool {
        self.detail == Detail::Check(UNSIGNED)
    }

    /// The breaker of the endpoint stops the call; a try makes sense after `left`.
    pub fn stopped(left: Duration) -> Self {
        Self {
            kind: FailureKind::Unavailable,
            error: None,
            detail: Detail::Check("the breaker of its endpoint is open"),
            wait: Some(left),
        }
    }

    /// An answer that failed this check.
    pub fn of_check(check: &'static str) -> Self {
        Self {
            kind: FailureKind::InvalidResponse,
            error: None,
            detail: Detail::Check(check),
            wait: None,
        }
    }

    /// The exchange's client was refused too often: it is not asked for just now.
    pub fn paused() -> Self {
        Self {
            kind: FailureKind::Misconfigured,
            error: None,
            detail: Detail::Check("its client was refused several times in a row"),
            wait: None,
        }
    }

    /// No answer in time.
    pub fn timeout() -> Self {
        Self {
            kind: FailureKind::Timeout,
            error: None,
            detail: Detail::None,
            wait: None,
        }
    }
}

/// What a log line says of a failure, besides its kind: nothing that an endpoint could choose freely.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Detail {
    /// Nothing.
    None,
    /// The status.
    Status(u16),
    /// The check that a successful answer failed.
    Check(&'static str),
}

/// The kinds of failure, in the words of the `sts` counters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FailureKind {
    /// The subject was refused.
    Rejected,
    /// The target, or the scope, is denied.
    Forbidden,
    /// The user must do more than to log in.
    StepUp(Rc<StepUp>),
    /// The client or the request as such was refused.
    Misconfigured,
    /// No answer, or one that says that the endpoint cannot serve.
    Unavailable,
    /// No answer in time.
    Timeout,
    /// Success without a usable token.
    InvalidResponse,
    /// The cluster does not exist: not a sign of a struggling endpoint.
    UnknownCluster,
    /// The user has no token of this provider.
    NotFound,
    /// This user's token of this provider cannot be had just now; it says nothing of the endpoint.
    UnavailableForUser,
}

macro_rules! sts_errors {
    ($($name:ident $word:literal $meaning:ident,)*) => {
        /// The `error` words that are understood (RFC 6749 §5.2, RFC 6750 §3.1, RFC 8693 §2.2.2,
        /// OpenID Connect Core §3.1.2.6, and what vendors say). Only these ever appear in a log line.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum StsError {
            $(#[doc = concat!("`", $word, "`")] $name,)*
        }

        impl StsError {
            /// The word.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$name => $word,)* }
            }

            pub(super) fn parse(word: &str) -> Option<Self> {
                match word { $($word => Some(Self::$name),)* _ => None }
            }

            /// What it means, unless the grant or the configuration says otherwise.
            fn meaning(self) -> Meaning {
                match self { $(Self::$name => Meaning::$meaning,)* }
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
    TemporarilyUnavailable "temporarily_unavailable" Unavailable,
    ServerError "server_error" Unavailable,
    SlowDown "slow_down" Unavailable,
    InteractionRequired "interaction_required" StepUp,
    LoginRequired "login_required" StepUp,
    ConsentRequired "consent_required" StepUp,
    MfaRequired "mfa_required" StepUp,
    UserPasswordExpired "user_password_expired" StepUp,
    InsufficientUserAuthentication "insufficient_user_authentication" StepUp,
    UpstreamTokenNotFound "upstream_token_not_found" NotFound,
    UpstreamTokenUnavailable "upstream_token_unavailable" Unavailable,
}

/// What Entra adds to `invalid_grant` where a login alone would not help.
const STEP_UP_SUBERRORS: [&str; 4] = [
    "basic_action",
    "additional_action",
    "consent_required",
    "user_password_expired",
];

/// Judges `answer` to `call`, which came `elapsed` after it was made.
pub fn judge(
    answer: Answer<'_>,
    call: &TokenCall,
    elapsed: Duration,
    timeout: Duration,
) -> Result<Issued, Failure> {
    let fail = |kind, detail| {
        Err(Failure {
            kind,
            error: None,
            detail,
            wait: None,
        })
    };
    let (status, body, later) = match answer {
        // Envoy reports its own timeout as an ordinary 504 or, once headers came, as a reset:
        // only the clock tells it from an answer.
        Answer::Http(504, _) | Answer::Reset if ran_out(elapsed, timeout) => {
            return fail(FailureKind::Timeout, Detail::None);
        }
        Answer::Http(status, body) => (status, body, None),
        Answer::HttpLater(status, body, later) => (status, body, Some(later.min(LONGEST_WAIT))),
        Answer::Reset | Answer::Unsendable => return fail(FailureKind::Unavailable, Detail::None),
        Answer::UnknownCluster => return fail(FailureKind::UnknownCluster, Detail::None),
        Answer::Unsigned => return fail(FailureKind::Misconfigured, Detail::Check(UNSIGNED)),
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

const UNSIGNED: &str = "Envoy could not sign the client's assertion";

/// An answer of 400 and above. A 4xx is judged by its `error` if that is a known word, else by the
/// status; what a 5xx says counts only where the identity service says it of one user.
fn refused(status: u16, body: Option<&[u8]>, later: Option<Duration>, call: &TokenCall) -> Failure {
    let members = body.and_then(members).unwrap_or_default();
    let word = members.error.and_then(text);
    let error = word.as_deref().and_then(StsError::parse);
    let is_4xx = (400..=499).contains(&status);
    let of_user =
        call.grant.words == Words::Identity && error == Some(StsError::UpstreamTokenUnavailable);
    let meaning = match (&word, error) {
        _ if of_user => None,
        (Some(word), _) if is_4xx && configured(word, call).is_some() => configured(word, call),
        (_, Some(error)) if is_4xx => Some(by_table(error, &members, call.grant.words)),
        _ if matches!(status, 408 | 429 | 500..) => Some(Meaning::Unavailable),
        _ => Some(Meaning::Misconfigured),
    };
    let kind = match meaning {
        None => FailureKind::UnavailableForUser,
        Some(Meaning::Rejected) => FailureKind::Rejected,
        Some(Meaning::Forbidden) => FailureKind::Forbidden,
        Some(Meaning::Misconfigured) => FailureKind::Misconfigured,
        Some(Meaning::Unavailable) => FailureKind::Unavailable,
        Some(Meaning::NotFound) => FailureKind::NotFound,
        Some(Meaning::StepUp) => FailureKind::StepUp(Rc::new(step_up(error, &members, call))),
    };
    let waits = matches!(status, 429 | 500..) || of_user;
    Failure {
        kind,
        error: error.filter(|_| is_4xx || of_user),
        detail: Detail::Status(status),
        wait: later.filter(|_| waits),
    }
}

/// `stsErrors`: what the configuration says of a word.
fn configured(word: &str, call: &TokenCall) -> Option<Meaning> {
    let mut known = call.sts_errors.iter();
    known
        .find(|(known, _)| known == word)
        .map(|(_, meaning)| *meaning)
}

fn by_table(error: StsError, members: &Members<'_>, words: Words) -> Meaning {
    let about_the_subject = matches!(error, StsError::InvalidGrant | StsError::InvalidRequest);
    if about_the_subject && (members.claims.is_some_and(is_something) || members.asks_for_more()) {
        return Meaning::StepUp;
    }
    match (words, error) {
        // A bad assertion is `invalid_grant`.
        (Words::Assertion, StsError::InvalidRequest) => Meaning::Misconfigured,
        (Words::Assertion | Words::TokenExchange, StsError::UpstreamTokenNotFound) => {
            Meaning::Misconfigured
        }
        (Words::Identity, StsError::InvalidRequest) => Meaning::Misconfigured,
        // The operator's mistakes, where no login helps.
        (Words::Identity, error) if error.meaning() == Meaning::Forbidden => Meaning::Misconfigured,
        _ => error.meaning(),
    }
}

/// What a client is told that must do more than to log in.
fn step_up(error: Option<StsError>, members: &Members<'_>, call: &TokenCall) -> StepUp {
    let authentication = error == Some(StsError::InsufficientUserAuthentication);
    let plain = |raw: Option<&RawValue>, fits: fn(u8) -> bool| {
        let value = raw.map(|raw| text(raw).unwrap_or_else(|| raw.get().to_owned()));
        value.filter(|value| !value.is_empty() && value.len() <= 256 && value.bytes().all(fits))
    };
    StepUp {
        insufficient_authentication: authentication,
        claims: members
            .claims()
            .filter(|_| !authentication)
            .map(|claims| STANDARD.encode(claims)),
        max_age: plain(members.max_age, |byte| byte.is_ascii_digit()).filter(|_| authentication),
        acr_values: plain(members.acr_values, |byte| {
            matches!(byte, b' '..=b'~') && !matches!(byte, b'"' | b'\\')
        })
        .filter(|_| authentication),
        interaction_uri: members
            .interaction_uri
            .and_then(text)
            .filter(|uri| is_of_host(uri, call)),
    }
}

/// Whether what stands behind a colon of `authority` can only be a port.
fn has_a_port_or_none(authority: &str) -> bool {
    match authority.rsplit_once(':') {
        Some((_, port)) if !authority.ends_with(']') => {
            port.bytes().all(|byte| byte.is_ascii_digit())
        }
        _ => true,
    }
}

/// Whether the link may be handed to the user: https, and on the host of the endpoint that said it.
fn is_of_host(uri: &str, call: &TokenCall) -> bool {
    let host_of = |authority: &str| -> String {
        let host = match authority.rfind(':') {
            Some(colon) if !authority.ends_with(']') => authority.get(..colon),
            _ => Some(authority),
        };
        host.unwrap_or_default().to_ascii_lowercase()
    };
    let Some(rest) = uri
        .strip_prefix("https://")
        .filter(|_| uri.len() <= MAX_LINK)
    else {
        return false;
    };
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let authority = rest.get(..end).unwrap_or_default();
    uri.bytes()
        .all(|byte| byte.is_ascii_graphic() && !matches!(byte, b'"' | b'\\' | b'<' | b'>'))
        && !authority.contains('@')
        && has_a_port_or_none(authority)
        && !authority.is_empty()
        && host_of(authority) == host_of(&call.authority)
}

/// The token of a successful answer (RFC 8693 §2.2.1), or the check that it failed.
fn accept(body: Option<&[u8]>, accepts: &Accepts) -> Result<Issued, &'static str> {
    let body = body.ok_or("more than 1 MiB")?;
    let members = members(body).ok_or("no JSON object")?;
    let token_type = members.token_type.and_then(text).unwrap_or_default();
    let bearer = token_type.eq_ignore_ascii_case("Bearer");
    let not_applicable = token_type.eq_ignore_ascii_case("N_A");
    let fits = match accepts.token_type {
        TokenTypeRule::Bearer => bearer,
        TokenTypeRule::BearerOrNotApplicable => bearer || not_applicable,
        TokenTypeRule::NotApplicable => not_applicable,
    };
    if !fits {
        return Err("token_type");
    }
    if let IssuedType::OneOf(types) = &accepts.issued {
        let issued = members.issued_token_type.and_then(text).unwrap_or_default();
        if !types.iter().any(|one| one.eq_ignore_ascii_case(&issued)) {
            return Err("issued_token_type");
        }
    }
    let token = members.access_token.and_then(text).unwrap_or_default();
    let token = BearerToken::new(token.into_bytes()).ok_or("access_token")?;
    if let Some(id_jag) = &accepts.id_jag {
        check_id_jag(&token, id_jag)?;
    }
    Ok(Issued {
        token,
        expires: expires_in(members.expires_in),
    })
}

/// The assertion goes to the partner and nowhere else, so it must be for the partner alone.
fn check_id_jag(token: &BearerToken, wanted: &IdJag) -> Result<(), &'static str> {
    let claims = jwt::claims(token.as_bytes()).ok_or("access_token is no JWT")?;
    if claims.audience != [wanted.audience.as_str()] {
        return Err("aud of the ID-JAG");
    }
    match &wanted.resource {
        Some(resource) if !claims.resource.contains(resource) => Err("resource of the ID-JAG"),
        _ => Ok(()),
    }
}

/// How long `retry-after` asks to wait: a number of seconds, or a date (RFC 9110 §10.2.3).
pub fn retry_after(field: &[u8], now: Time) -> Option<Duration> {
    let text = std::str::from_utf8(field).ok()?.trim();
    let wait = match text.parse::<u64>() {
        Ok(seconds) => Duration::from_secs(seconds),
        // More seconds than can be counted.
        Err(_) if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) => {
            LONGEST_WAIT
        }
        Err(_) => {
            let date = httpdate::parse_http_date(text).ok()?;
            let since = date.duration_since(std::time::UNIX_EPOCH).ok()?;
            Time::default().plus(since).since(now)
        }
    };
    Some(wait.min(LONGEST_WAIT)).filter(|wait| !wait.is_zero())
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
    suberror: Option<&'a RawValue>,
    claims: Option<&'a RawValue>,
    max_age: Option<&'a RawValue>,
    acr_values: Option<&'a RawValue>,
    interaction_uri: Option<&'a RawValue>,
}

/// The members of a JSON object, behind one byte order mark or none.
fn members(body: &[u8]) -> Option<Members<'_>> {
    const MARK: &[u8] = b"\xef\xbb\xbf";
    serde_json::from_slice(body.strip_prefix(MARK).unwrap_or(body)).ok()
}

/// Whether a member holds an object or a text, of any length, that is not empty.
fn is_something(raw: &RawValue) -> bool {
    match raw.get().strip_prefix('{') {
        Some(rest) => !rest.trim_start().starts_with('}'),
        None => text(raw).is_some_and(|text| !text.is_empty()),
    }
}

impl Members<'_> {
    /// `claims` (OpenID Connect Core §5.5), which some send as an object and some as a text.
    fn claims(&self) -> Option<String> {
        let raw = self.claims?;
        let claims = match raw.get().starts_with('{') {
            true => raw.get().to_owned(),
            false => text(raw)?,
        };
        Some(claims).filter(|claims| (1..=MAX_CLAIMS).contains(&claims.len()))
    }

    /// Whether `suberror` asks for more than a login.
    fn asks_for_more(&self) -> bool {
        let suberror = self.suberror.and_then(text);
        suberror.is_some_and(|word| STEP_UP_SUBERRORS.contains(&word.as_str()))
    }
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
                "suberror" => &mut members.suberror,
                "claims" => &mut members.claims,
                "max_age" => &mut members.max_age,
                "acr_values" => &mut members.acr_values,
                "interaction_uri" => &mut members.interaction_uri,
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
