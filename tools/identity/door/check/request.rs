//! The few fields of `CheckRequest` that matter, read where they lie: decoding all of it costs more
//! than everything else that a check does.

use upstream_inject::protobuf::wire::{Content, Fault, Fields};

/// The namespace where `jwt_authn` leaves what it has checked.
const JWT_NAMESPACE: &[u8] = b"envoy.filters.http.jwt_authn";
/// The `context_extensions` of a route that name providers.
const PROVIDERS: &[u8] = b"upstream_inject.providers";

/// What a check asks.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Check<'a> {
    /// The checked payload, a serialized `google.protobuf.Struct`.
    pub payload: Option<&'a [u8]>,
    /// The providers that the route names.
    pub providers: Option<&'a str>,
    /// The request's path, with its query.
    pub path: &'a str,
    /// Its `authorization`, where Envoy hands headers over by name.
    pub authorization: Option<&'a str>,
    /// Its `authorization` headers, where Envoy hands them over one by one.
    pub authorizations: Vec<&'a str>,
}

/// The message is no `CheckRequest`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Malformed;

impl From<Fault> for Malformed {
    fn from(_: Fault) -> Self {
        Self
    }
}

impl<'a> Check<'a> {
    /// The request's one `authorization`; none, if there are several.
    #[must_use]
    pub(crate) fn one_authorization(&self) -> Option<&'a str> {
        match (self.authorization, self.authorizations.as_slice()) {
            (Some(one), []) => Some(one),
            (None, [one]) => Some(one),
            _ => None,
        }
    }
}

/// Reads a serialized `envoy.service.auth.v3.CheckRequest`. Of what occurs twice the last one
/// counts, as protobuf has it.
///
/// # Errors
/// If it is not one.
pub(crate) fn read<'a>(message: &'a [u8], payload_key: &str) -> Result<Check<'a>, Malformed> {
    let mut check = Check::default();
    each(message, |field, attributes| {
        if field == 1 {
            each(attributes, |field, value| match field {
                4 => read_request(value, &mut check),
                10 => read_extension(value, &mut check),
                11 => read_metadata(value, payload_key.as_bytes(), &mut check),
                _ => Ok(()),
            })?;
        }
        Ok(())
    })?;
    Ok(check)
}

fn read_request<'a>(message: &'a [u8], check: &mut Check<'a>) -> Result<(), Malformed> {
    each(message, |field, http| {
        if field != 2 {
            return Ok(());
        }
        each(http, |field, value| {
            match field {
                3 => {
                    let (key, value) = entry(value)?;
                    if key == b"authorization" {
                        check.authorization = Some(text(value)?);
                    }
                }
                4 => check.path = text(value)?,
                13 => each(value, |field, header| match field {
                    1 => read_header(header, check),
                    _ => Ok(()),
                })?,
                _ => {}
            }
            Ok(())
        })
    })
}

fn read_header<'a>(message: &'a [u8], check: &mut Check<'a>) -> Result<(), Malformed> {
    let (mut key, mut value, mut raw) = (&b""[..], &b""[..], &b""[..]);
    each(message, |field, bytes| {
        match field {
            1 => key = bytes,
            2 => value = bytes,
            3 => raw = bytes,
            _ => {}
        }
        Ok(())
    })?;
    if key.eq_ignore_ascii_case(b"authorization") {
        let value = if raw.is_empty() { value } else { raw };
        check.authorizations.push(text(value)?);
    }
    Ok(())
}

fn read_extension<'a>(message: &'a [u8], check: &mut Check<'a>) -> Result<(), Malformed> {
    let (key, value) = entry(message)?;
    if key == PROVIDERS {
        check.providers = Some(text(value)?);
    }
    Ok(())
}

fn read_metadata<'a>(
    message: &'a [u8],
    payload_key: &[u8],
    check: &mut Check<'a>,
) -> Result<(), Malformed> {
    each(message, |field, value| {
        if field == 1 {
            let (namespace, fields) = entry(value)?;
            if namespace == JWT_NAMESPACE {
                check.payload = match struct_field(fields, payload_key)? {
                    Some(value) => only(value, STRUCT)?,
                    None => None,
                };
            }
        }
        Ok(())
    })
}

/// The value of `key` in a serialized `Struct`.
///
/// # Errors
/// If it is not one.
pub(crate) fn struct_field<'a>(
    message: &'a [u8],
    key: &[u8],
) -> Result<Option<&'a [u8]>, Malformed> {
    let mut found = None;
    each(message, |field, value| {
        if field == 1 {
            let (name, value) = entry(value)?;
            if name == key {
                found = Some(value);
            }
        }
        Ok(())
    })?;
    Ok(found)
}

/// The text that a serialized `Value` is, if it is one.
#[must_use]
pub(crate) fn as_text(value: &[u8]) -> Option<&str> {
    std::str::from_utf8(only(value, STRING).ok()??).ok()
}

/// Kinds of a `Value`, by the numbers of their fields.
const STRING: u32 = 3;
const STRUCT: u32 = 5;
const LAST_KIND: u32 = 6;

/// The content of a `Value` if it is of this kind: whatever kind comes last counts. Protobuf would
/// join two structs that follow each other; nobody gives two.
fn only(message: &[u8], wanted: u32) -> Result<Option<&[u8]>, Malformed> {
    let mut found = None;
    for field in Fields::of(message) {
        let (field, value) = field?;
        if (1..=LAST_KIND).contains(&field) {
            let before = found.replace((field, value));
            if field == STRUCT && before.is_some_and(|(field, _)| field == STRUCT) {
                return Err(Malformed);
            }
        }
    }
    Ok(match found {
        Some((field, Content::Bytes(value))) if field == wanted => Some(value),
        _ => None,
    })
}

/// Key and value of a map's entry. Protobuf would join a value that is given twice; nobody gives one
/// twice.
fn entry(message: &[u8]) -> Result<(&[u8], &[u8]), Malformed> {
    let (mut key, mut value) = (None, None);
    each(message, |field, bytes| {
        let twice = match field {
            1 => key.replace(bytes).is_some(),
            2 => value.replace(bytes).is_some(),
            _ => false,
        };
        if twice { Err(Malformed) } else { Ok(()) }
    })?;
    Ok((key.unwrap_or_default(), value.unwrap_or_default()))
}

fn text(bytes: &[u8]) -> Result<&str, Malformed> {
    std::str::from_utf8(bytes).map_err(|_| Malformed)
}

/// Visits the fields of a message that have a length; others say nothing that is wanted here.
fn each<'a>(
    message: &'a [u8],
    mut visit: impl FnMut(u32, &'a [u8]) -> Result<(), Malformed>,
) -> Result<(), Malformed> {
    for field in Fields::of(message) {
        if let (field, Content::Bytes(value)) = field? {
            visit(field, value)?;
        }
    }
    Ok(())
}
