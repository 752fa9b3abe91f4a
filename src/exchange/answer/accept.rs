//! An answer of success: whether its token may be used.

use super::members::{members, text};
use super::{Check, ExpiresIn, Issued};
use crate::exchange::grant::{Accepts, IdJag, IssuedType, TokenTypeRule};
use crate::exchange::jwt;
use crate::token::BearerToken;
use serde_json::value::RawValue;
use std::time::Duration;

/// The token of a successful answer (RFC 8693 §2.2.1), or the check that it failed.
pub(super) fn accept(body: Option<&[u8]>, accepts: &Accepts) -> Result<Issued, Check> {
    let body = body.ok_or(Check::Size)?;
    let members = members(body).ok_or(Check::NoObject)?;
    let token_type = members.token_type.and_then(text).unwrap_or_default();
    let bearer = token_type.eq_ignore_ascii_case("Bearer");
    let not_applicable = token_type.eq_ignore_ascii_case("N_A");
    let fits = match accepts.token_type {
        TokenTypeRule::Bearer => bearer,
        TokenTypeRule::BearerOrNotApplicable => bearer || not_applicable,
        TokenTypeRule::NotApplicable => not_applicable,
    };
    if !fits {
        return Err(Check::TokenType);
    }
    if let IssuedType::OneOf(types) = &accepts.issued {
        let issued = members.issued_token_type.and_then(text).unwrap_or_default();
        if !types.iter().any(|one| one.eq_ignore_ascii_case(&issued)) {
            return Err(Check::IssuedTokenType);
        }
    }
    let token = members.access_token.and_then(text).unwrap_or_default();
    let token = BearerToken::new(token.into_bytes()).ok_or(Check::AccessToken)?;
    if let Some(id_jag) = &accepts.id_jag {
        check_id_jag(&token, id_jag)?;
    }
    Ok(Issued {
        token,
        expires: expires_in(members.expires_in),
    })
}

/// The assertion goes to the partner and nowhere else, so it must be for the partner alone.
fn check_id_jag(token: &BearerToken, wanted: &IdJag) -> Result<(), Check> {
    let claims = jwt::claims(token.as_bytes()).ok_or(Check::NoJwt)?;
    if claims.audience != [wanted.audience.as_str()] {
        return Err(Check::IdJagAudience);
    }
    match &wanted.resource {
        Some(resource) if !claims.resource.contains(resource) => Err(Check::IdJagResource),
        _ => Ok(()),
    }
}

fn expires_in(raw: Option<&RawValue>) -> ExpiresIn {
    let Some(raw) = raw else {
        return ExpiresIn::Absent;
    };
    let number = text(raw).unwrap_or_else(|| raw.get().to_owned());
    // The same reader for both: it takes decimal numbers and nothing else, and the standard
    // library's would bring ten kilobytes of tables into the artifact.
    match serde_json::from_slice::<f64>(number.as_bytes()) {
        Ok(seconds) if seconds > 0.0 => {
            // A hundred years is beyond every bound that follows, and within every type.
            ExpiresIn::After(Duration::from_nanos((seconds.min(3.2e9) * 1e9) as u64))
        }
        _ => ExpiresIn::Unusable,
    }
}
