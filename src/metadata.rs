//! Looks a value up in a serialized `envoy.config.core.v3.Metadata`, with its type.
//!
//! Only the way to that value is decoded; whatever stands beside it cannot spoil it.

/// `map<string, Struct> filter_metadata = 1` of `Metadata`.
const FILTER_METADATA: u64 = 1;
/// `map<string, Value> fields = 1` of `Struct`, and `repeated Value values = 1` of `ListValue`.
const FIELDS: u64 = 1;
const VALUES: u64 = 1;
/// Key and value of a map's entry.
const ENTRY_KEY: u64 = 1;
const ENTRY_VALUE: u64 = 2;
/// The kinds of a `Value`.
const STRING_VALUE: u64 = 3;
const BOOL_VALUE: u64 = 4;
const STRUCT_VALUE: u64 = 5;
const LIST_VALUE: u64 = 6;
const NULL_VALUE: u64 = 1;

/// The bytes are no such message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Malformed;

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
        for field in Fields(self.0) {
            if let (FIELDS, Wire::Bytes(bytes)) = field?.parts()
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
        for field in Fields(self.0) {
            if let (VALUES, Wire::Bytes(bytes)) = field?.parts()
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
        for field in Fields(self.0) {
            if let (VALUES, Wire::Bytes(bytes)) = field?.parts() {
                return kind(bytes);
            }
        }
        Ok(None)
    }
}

/// The value of `key` in the map that is field `map` of `message`. As everywhere in protobuf, the
/// last one counts.
fn entry<'a>(message: &'a [u8], map: u64, key: &str) -> Result<Option<&'a [u8]>, Malformed> {
    let mut found = None;
    for field in Fields(message) {
        let (number, Wire::Bytes(bytes)) = field?.parts() else {
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
    for field in Fields(entry) {
        match field?.parts() {
            (ENTRY_KEY, Wire::Bytes(bytes)) => name = bytes,
            (ENTRY_VALUE, Wire::Bytes(bytes)) => value = bytes,
            _ => {}
        }
    }
    Ok((name, value))
}

/// What a `Value` is: its last field says so.
fn kind(value: &[u8]) -> Result<Option<Value<'_>>, Malformed> {
    let Some(field) = Fields(value).last().transpose()? else {
        return Ok(None);
    };
    Ok(match field.parts() {
        (STRING_VALUE, Wire::Bytes(text)) => Some(Value::Text(text)),
        (BOOL_VALUE, Wire::Number(1)) => Some(Value::True),
        (STRUCT_VALUE, Wire::Bytes(fields)) => Some(Value::Map(Map(fields))),
        (LIST_VALUE, Wire::Bytes(values)) => Some(Value::List(List(values))),
        (NULL_VALUE, _) => None,
        _ => Some(Value::Other),
    })
}

struct Field<'a> {
    number: u64,
    wire: Wire<'a>,
}

impl<'a> Field<'a> {
    fn parts(self) -> (u64, Wire<'a>) {
        (self.number, self.wire)
    }
}

enum Wire<'a> {
    Number(u64),
    Bytes(&'a [u8]),
    Fixed,
}

/// The fields of a message, in the order they stand.
struct Fields<'a>(&'a [u8]);

impl<'a> Iterator for Fields<'a> {
    type Item = Result<Field<'a>, Malformed>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() {
            return None;
        }
        let field = self.field().ok_or(Malformed);
        if field.is_err() {
            self.0 = &[];
        }
        Some(field)
    }
}

impl<'a> Fields<'a> {
    fn field(&mut self) -> Option<Field<'a>> {
        let tag = self.varint()?;
        let wire = match tag & 7 {
            0 => Wire::Number(self.varint()?),
            1 => self.take(8).map(|_| Wire::Fixed)?,
            2 => {
                let length = usize::try_from(self.varint()?).ok()?;
                Wire::Bytes(self.take(length)?)
            }
            5 => self.take(4).map(|_| Wire::Fixed)?,
            _ => return None,
        };
        Some(Field {
            number: tag >> 3,
            wire,
        })
    }

    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(taken)
    }

    fn varint(&mut self) -> Option<u64> {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let (byte, rest) = self.0.split_first()?;
            self.0 = rest;
            value |= u64::from(byte & 0x7f).checked_shl(shift)?;
            if byte & 0x80 == 0 {
                return Some(value);
            }
        }
        None
    }
}
