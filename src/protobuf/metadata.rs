//! Looks a value up in a serialized `envoy.config.core.v3.Metadata`, with its type.
//!
//! Only the way to that value is decoded; whatever stands beside it cannot spoil it.

use super::wire::{Content, Fault, Fields};

/// `map<string, Struct> filter_metadata = 1` of `Metadata`.
const FILTER_METADATA: u32 = 1;
/// `map<string, Value> fields = 1` of `Struct`, and `repeated Value values = 1` of `ListValue`.
const FIELDS: u32 = 1;
const VALUES: u32 = 1;
/// Key and value of a map's entry.
const ENTRY_KEY: u32 = 1;
const ENTRY_VALUE: u32 = 2;
/// The kinds of a `Value`.
const STRING_VALUE: u32 = 3;
const BOOL_VALUE: u32 = 4;
const STRUCT_VALUE: u32 = 5;
const LIST_VALUE: u32 = 6;
const NULL_VALUE: u32 = 1;

/// The bytes are no such message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Malformed;

impl From<Fault> for Malformed {
    fn from(_: Fault) -> Self {
        Self
    }
}

/// A value, as far as anyone here asks for its kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Value<'a> {
    /// A text.
    Text(&'a [u8]),
    /// Boolean `true`.
    True,
    /// A map.
    Map(Map<'a>),
    /// A list.
    List(List<'a>),
    /// Any other value; `null` counts as absent and is none.
    Other,
}

/// Of which kind a value is that is no token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found {
    /// A text, but none that may be sent.
    Text,
    /// A map.
    Map,
    /// A list.
    List,
    /// A number or a boolean.
    Other,
}

/// A map from text to values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Map<'a>(&'a [u8]);

/// A list of values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct List<'a>(&'a [u8]);

/// The map under `namespace`; `None` if there is none.
pub fn namespace<'a>(metadata: &'a [u8], namespace: &str) -> Result<Option<Map<'a>>, Malformed> {
    Ok(entry(metadata, FILTER_METADATA, namespace)?.map(Map))
}

impl<'a> Map<'a> {
    /// The value under `key`; `None` if there is none, or `null`.
    pub fn get(self, key: &str) -> Result<Option<Value<'a>>, Malformed> {
        match entry(self.0, FIELDS, key)? {
            Some(value) => kind(value),
            None => Ok(None),
        }
    }

    /// The map under `key`; `None` if there is something else, or nothing.
    pub fn map(self, key: &str) -> Result<Option<Map<'a>>, Malformed> {
        Ok(match self.get(key)? {
            Some(Value::Map(map)) => Some(map),
            _ => None,
        })
    }

    /// The text under `key`; `None` if there is something else, nothing, or an empty text.
    pub fn text(self, key: &str) -> Result<Option<&'a [u8]>, Malformed> {
        Ok(match self.get(key)? {
            Some(Value::Text(text)) if !text.is_empty() => Some(text),
            _ => None,
        })
    }

    /// Whether any key has a value that `is_it`.
    pub fn any(self, is_it: impl Fn(Value<'a>) -> bool) -> Result<bool, Malformed> {
        for field in Fields::of(self.0) {
            if let (FIELDS, Content::Bytes(bytes)) = field?
                && let Some(value) = kind(key_and_value(bytes)?.1)?
                && is_it(value)
            {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

impl<'a> List<'a> {
    /// Whether any item `is_it`.
    pub fn any(self, is_it: impl Fn(Value<'a>) -> bool) -> Result<bool, Malformed> {
        for field in Fields::of(self.0) {
            if let (VALUES, Content::Bytes(bytes)) = field?
                && let Some(value) = kind(bytes)?
                && is_it(value)
            {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// The first item; `None` if there is none, or `null`.
    pub fn first(self) -> Result<Option<Value<'a>>, Malformed> {
        for field in Fields::of(self.0) {
            if let (VALUES, Content::Bytes(bytes)) = field? {
                return kind(bytes);
            }
        }
        Ok(None)
    }
}

/// The value of `key` in the map that is field `map` of `message`. As everywhere in protobuf, the
/// last one counts.
fn entry<'a>(message: &'a [u8], map: u32, key: &str) -> Result<Option<&'a [u8]>, Malformed> {
    let mut found = None;
    for field in Fields::of(message) {
        let (number, Content::Bytes(bytes)) = field? else {
            continue;
        };
        if number != map {
            continue;
        }
        let (name, value) = key_and_value(bytes)?;
        if name == key.as_bytes() {
            found = Some(value);
        }
    }
    Ok(found)
}

/// An entry of a map is a message of key and value.
fn key_and_value(entry: &[u8]) -> Result<(&[u8], &[u8]), Malformed> {
    let (mut name, mut value): (&[u8], &[u8]) = (&[], &[]);
    for field in Fields::of(entry) {
        match field? {
            (ENTRY_KEY, Content::Bytes(bytes)) => name = bytes,
            (ENTRY_VALUE, Content::Bytes(bytes)) => value = bytes,
            _ => {}
        }
    }
    Ok((name, value))
}

/// What a `Value` is: its last field says so.
fn kind(value: &[u8]) -> Result<Option<Value<'_>>, Malformed> {
    let Some(field) = Fields::of(value).last().transpose()? else {
        return Ok(None);
    };
    Ok(match field {
        (STRING_VALUE, Content::Bytes(text)) => Some(Value::Text(text)),
        (BOOL_VALUE, Content::Number(1)) => Some(Value::True),
        (STRUCT_VALUE, Content::Bytes(fields)) => Some(Value::Map(Map(fields))),
        (LIST_VALUE, Content::Bytes(values)) => Some(Value::List(List(values))),
        (NULL_VALUE, _) => None,
        _ => Some(Value::Other),
    })
}
