//! What the filter reads from tokens: when a JWT says that it expires, and whom it says it is for.

use super::base64::URL;
use crate::time::Time;
use serde::Deserialize;
use serde_json::value::RawValue;

/// The `exp` of `token` (RFC 7519 §4.1.4), if it is a JWT that has a usable one.
///
/// Nothing is verified: the result may shorten the time a token is kept, never lengthen it beyond
/// what the token endpoint and the configuration allow.
pub fn expiry(token: &[u8]) -> Option<Time> {
    let payload = payload(token)?;
    let claims: RawClaims<'_> = serde_json::from_slice(&payload).ok()?;
    let exp: f64 = serde_json::from_slice(claims.exp?.get().as_bytes()).ok()?;
    Some(Time::from_unix_seconds(exp))
}

/// What a JWT says of where it may go. Nothing is verified: whoever gets it does that.
#[derive(Debug, PartialEq, Eq)]
pub struct Claims {
    /// `aud` (RFC 7519 §4.1.3), one or several.
    pub audience: Vec<String>,
    /// `resource`, one or several; none where it is of another kind.
    pub resource: Vec<String>,
}

/// The claims of `token`, if it is a JWT.
pub fn claims(token: &[u8]) -> Option<Claims> {
    let payload = payload(token)?;
    let claims: RawClaims<'_> = serde_json::from_slice(&payload).ok()?;
    Some(Claims {
        audience: one_or_several(claims.aud)?,
        resource: one_or_several(claims.resource).unwrap_or_default(),
    })
}

fn one_or_several(raw: Option<&RawValue>) -> Option<Vec<String>> {
    let Some(raw) = raw else {
        return Some(Vec::new());
    };
    match serde_json::from_slice::<String>(raw.get().as_bytes()) {
        Ok(one) => Some(vec![one]),
        Err(_) => serde_json::from_slice(raw.get().as_bytes()).ok(),
    }
}

fn payload(token: &[u8]) -> Option<Vec<u8>> {
    let mut parts = token.split(|byte| *byte == b'.');
    let (header, payload, _signature) = (parts.next()?, parts.next()?, parts.next()?);
    if parts.next().is_some() || !is_object(&URL.decode(header)?) {
        return None;
    }
    let payload = URL.decode(payload)?;
    is_object(&payload).then_some(payload)
}

/// Borrowed raw, so that a number out of range spoils only itself.
#[derive(Deserialize)]
struct RawClaims<'a> {
    #[serde(borrow)]
    exp: Option<&'a RawValue>,
    #[serde(borrow)]
    aud: Option<&'a RawValue>,
    #[serde(borrow)]
    resource: Option<&'a RawValue>,
}

fn is_object(json: &[u8]) -> bool {
    json.trim_ascii_start().first() == Some(&b'{')
        && serde_json::from_slice::<serde::de::IgnoredAny>(json).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn jwt(header: &str, payload: &str) -> String {
        let encode = |text: &str| URL.encode(text.as_bytes());
        format!("{}.{}.sig", encode(header), encode(payload))
    }

    #[test]
    fn only_a_jwt_with_a_numeric_exp_has_an_expiry() {
        let header = r#"{"alg":"none"}"#;
        for (token, seconds) in [
            (jwt(header, r#"{"exp":1700000000}"#), Some(1_700_000_000.0)),
            (
                jwt(header, r#"{"exp":1700000000.5,"x":1e400}"#),
                Some(1_700_000_000.5),
            ),
            (jwt(header, r#"{"exp":-5}"#), Some(0.0)),
            (jwt(header, r#"{"exp":1e400}"#), None),
            (jwt(header, r#"{"exp":"1700000000"}"#), None),
            (jwt(header, r#"{"exp":null}"#), None),
            (jwt(header, "{}"), None),
            (jwt(header, "[1]"), None),
            (jwt("7", r#"{"exp":1}"#), None),
            ("gho_opaque".to_owned(), None),
            ("a.b.c".to_owned(), None),
            ("a.b.c.d".to_owned(), None),
            (format!("{}.x", jwt(header, r#"{"exp":1}"#)), None),
        ] {
            assert_eq!(
                expiry(token.as_bytes()),
                seconds.map(Time::from_unix_seconds),
                "{token}"
            );
        }
    }
}
