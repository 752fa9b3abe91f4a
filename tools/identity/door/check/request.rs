//! The few fields of `CheckRequest` that matter, read where they lie: decoding all of it costs more
//! than everything else that a check does.

use std::ops::ControlFlow;

/// The namespace where `jwt_authn` leaves what it has checked.
const JWT_NAMESPACE: &[u8] = b"envoy.filters.http.jwt_authn";
/// The `context_extensions` of a route that name providers.
const PROVIDERS: &[u8] = b"upstream_inject.providers";

/// What a check asks.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Check<'a> {
    /// The checked payload, a serialized `google.protobuf.Struct`.
    pub payload: Option<&'a [u8]>,
    /// The providers that the route names.
    pub providers: Option<&'a str>,
    /// The request's path, with its query.
    pub path: &'a str,
    /// Its `authorization` headers, as Envoy hands them over.
    pub authorization: Vec<&'a str>,
}

/// The message is no `CheckRequest`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Malformed;

/// Reads a serialized `envoy.service.auth.v3.CheckRequest`. Of what occurs twice the last one
/// counts, as protobuf has it.
///
/// # Errors
/// If it is not one.
pub fn read<'a>(message: &'a [u8], payload_key: &str) -> Result<Check<'a>, Malformed> {
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
                        check.authorization.push(text(value)?);
                    }
                }
                4 => check.path = text(value)?,
                13 => each(value, |field, header| {
                    if field == 1 {
                        let (mut key, mut value) = (&b""[..], &b""[..]);
                        each(header, |field, bytes| {
                            match field {
                                1 => key = bytes,
                                2 | 3 => value = bytes,
                                _ => {}
                            }
                            Ok(())
                        })?;
                        if key.eq_ignore_ascii_case(b"authorization") {
                            check.authorization.push(text(value)?);
                        }
                    }
                    Ok(())
                })?,
                _ => {}
            }
            Ok(())
        })
    })
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
                check.payload = struct_field(fields, payload_key)?.and_then(as_struct);
            }
        }
        Ok(())
    })
}

/// The value of `key` in a serialized `Struct`.
///
/// # Errors
/// If it is not one.
pub fn struct_field<'a>(message: &'a [u8], key: &[u8]) -> Result<Option<&'a [u8]>, Malformed> {
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
pub fn as_text(value: &[u8]) -> Option<&str> {
    std::str::from_utf8(only(value, 3)?).ok()
}

fn as_struct(value: &[u8]) -> Option<&[u8]> {
    only(value, 5)
}

/// The content of a `oneof` if it is this one: whatever kind comes last counts.
fn only(message: &[u8], wanted: u32) -> Option<&[u8]> {
    let mut found = None;
    walk(message, |field, value| {
        found = (field == wanted).then_some(value).flatten();
        Ok(())
    })
    .ok()?;
    found
}

/// Key and value of a map's entry.
fn entry(message: &[u8]) -> Result<(&[u8], &[u8]), Malformed> {
    let (mut key, mut value) = (&b""[..], &b""[..]);
    each(message, |field, bytes| {
        match field {
            1 => key = bytes,
            2 => value = bytes,
            _ => {}
        }
        Ok(())
    })?;
    Ok((key, value))
}

fn text(bytes: &[u8]) -> Result<&str, Malformed> {
    std::str::from_utf8(bytes).map_err(|_| Malformed)
}

/// Visits the fields of a message that have a length; others say nothing that is wanted here.
fn each<'a>(
    message: &'a [u8],
    mut visit: impl FnMut(u32, &'a [u8]) -> Result<(), Malformed>,
) -> Result<(), Malformed> {
    walk(message, |field, value| match value {
        Some(value) => visit(field, value),
        None => Ok(()),
    })
}

/// Visits every field of a message; those without a length have no value here.
fn walk<'a>(
    message: &'a [u8],
    mut visit: impl FnMut(u32, Option<&'a [u8]>) -> Result<(), Malformed>,
) -> Result<(), Malformed> {
    let mut rest = message;
    while !rest.is_empty() {
        let tag = varint(&mut rest)?;
        let field = u32::try_from(tag >> 3).map_err(|_| Malformed)?;
        let value = match tag & 7 {
            0 => {
                varint(&mut rest)?;
                None
            }
            1 => take(&mut rest, 8).map(|_| None)?,
            2 => {
                let length = usize::try_from(varint(&mut rest)?).map_err(|_| Malformed)?;
                Some(take(&mut rest, length)?)
            }
            5 => take(&mut rest, 4).map(|_| None)?,
            _ => return Err(Malformed),
        };
        visit(field, value)?;
    }
    Ok(())
}

fn take<'a>(rest: &mut &'a [u8], length: usize) -> Result<&'a [u8], Malformed> {
    let (taken, left) = rest.split_at_checked(length).ok_or(Malformed)?;
    *rest = left;
    Ok(taken)
}

fn varint(rest: &mut &[u8]) -> Result<u64, Malformed> {
    let mut value = 0;
    let end = rest
        .iter()
        .take(10)
        .enumerate()
        .try_for_each(|(index, byte)| {
            value |= u64::from(byte & 0x7f) << (7 * index);
            if byte & 0x80 == 0 {
                ControlFlow::Break(index + 1)
            } else {
                ControlFlow::Continue(())
            }
        });
    match end {
        ControlFlow::Break(length) => {
            *rest = rest.get(length..).unwrap_or_default();
            Ok(value)
        }
        ControlFlow::Continue(()) => Err(Malformed),
    }
}
