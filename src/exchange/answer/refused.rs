//! An answer that is an error: what it means, and what a client is told that must do more than log in.

use super::failure::{Detail, Failure, FailureKind, StsError};
use super::members::{Members, is_something, members, text};
use crate::exchange::base64::STANDARD;
use crate::exchange::grant::Words;
use crate::exchange::settings::{Meaning, TokenCall};
use crate::refusal::StepUp;
use serde_json::value::RawValue;
use std::rc::Rc;
use std::time::Duration;

/// The longest link that is handed on, in bytes.
const MAX_LINK: usize = 2048;

/// An answer of 400 and above. A 4xx is judged by its `error` if that is a known word, else by the
/// status; what a 5xx says counts only where the identity service says it of one user.
pub(super) fn refused(
    status: u16,
    body: Option<&[u8]>,
    later: Option<Duration>,
    call: &TokenCall,
) -> Failure {
    let members = body.and_then(members).unwrap_or_default();
    let word = members.error.and_then(text);
    let error = word.as_deref().and_then(StsError::parse);
    let is_4xx = (400..=499).contains(&status);
    let of_user =
        call.grant.words == Words::Identity && error == Some(StsError::UpstreamTokenUnavailable);
    let meaning = match (&word, error) {
        (Some(word), _) if is_4xx && configured(word, call).is_some() => configured(word, call),
        _ if of_user => None,
        (_, Some(error)) if is_4xx => Some(by_table(error, &members, call.grant.words)),
        _ if matches!(status, 408 | 429 | 500..) => Some(Meaning::Unavailable),
        _ => Some(Meaning::Misconfigured),
    };
    let kind = match meaning {
        // The identity service says it of one user.
        None => FailureKind::UnavailableForUser,
        Some(Meaning::Rejected) => FailureKind::Rejected,
        Some(Meaning::Forbidden) => FailureKind::Forbidden,
        Some(Meaning::Misconfigured) => FailureKind::Misconfigured,
        Some(Meaning::Unavailable) => FailureKind::Unavailable,
        Some(Meaning::NotFound) => FailureKind::NotFound,
        Some(Meaning::StepUp) => FailureKind::StepUp(Rc::new(step_up(error, &members, call))),
    };
    let waits = matches!(status, 429 | 500..) || meaning.is_none();
    Failure {
        error: error.filter(|_| is_4xx || of_user),
        wait: later.filter(|_| waits),
        ..Failure::new(kind, Detail::Status(status))
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
        // Words of the identity service alone.
        (
            Words::Assertion | Words::TokenExchange,
            StsError::UpstreamTokenNotFound | StsError::UpstreamTokenUnavailable,
        ) => Meaning::Misconfigured,
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
            .map(|claims| STANDARD.encode(claims.as_bytes())),
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
