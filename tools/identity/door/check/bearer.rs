//! The request's own bearer token at the `check` door: it was `jwt_authn` who verified one, and this
//! must be it before anything is done to whomever it belongs.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use prost::Message as _;
use prost_types::Struct;
use prost_types::value::Kind;
use serde_json::Value;

/// The third part of the bearer token in an `authorization` header, if its payload is, member by
/// member, the one that was checked.
#[must_use]
pub(crate) fn signature_of_checked<'a>(authorization: &'a str, payload: &[u8]) -> Option<&'a str> {
    let (scheme, token) = authorization.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("bearer") {
        return None;
    }
    let mut parts = token.trim().split('.');
    let (_, claims, signature) = (parts.next()?, parts.next()?, parts.next()?);
    if parts.next().is_some() || signature.is_empty() {
        return None;
    }
    let claims = URL_SAFE_NO_PAD.decode(claims).ok()?;
    let claims: Value = serde_json::from_slice(&claims).ok()?;
    let checked = Struct::decode(payload).ok()?;
    is_struct(&claims, &checked).then_some(signature)
}

/// The number that a `Struct` has under this name.
#[must_use]
pub(crate) fn number(payload: &[u8], name: &str) -> Option<f64> {
    match Struct::decode(payload).ok()?.fields.remove(name)?.kind? {
        Kind::NumberValue(number) => Some(number),
        _ => None,
    }
}

fn is_struct(value: &Value, checked: &Struct) -> bool {
    let Value::Object(members) = value else {
        return false;
    };
    members.len() == checked.fields.len()
        && members.iter().all(|(name, value)| {
            checked
                .fields
                .get(name)
                .and_then(|checked| checked.kind.as_ref())
                .is_some_and(|checked| is(value, checked))
        })
}

fn is(value: &Value, checked: &Kind) -> bool {
    match (value, checked) {
        (Value::Null, Kind::NullValue(_)) => true,
        (Value::Bool(value), Kind::BoolValue(checked)) => value == checked,
        // The struct's numbers are floating point; what JSON has is compared as that.
        #[allow(clippy::float_cmp)]
        (Value::Number(value), Kind::NumberValue(checked)) => value.as_f64() == Some(*checked),
        (Value::String(value), Kind::StringValue(checked)) => value == checked,
        (Value::Array(values), Kind::ListValue(checked)) => {
            values.len() == checked.values.len()
                && values.iter().zip(&checked.values).all(|(value, checked)| {
                    checked
                        .kind
                        .as_ref()
                        .is_some_and(|checked| is(value, checked))
                })
        }
        (value, Kind::StructValue(checked)) => is_struct(value, checked),
        _ => false,
    }
}
