//! Looks one value up in a serialized `envoy.config.core.v3.Metadata`, with its type.
//!
//! Only the way to that value is decoded; whatever stands beside it cannot spoil it.

/// What stands at the end of the way.
#[derive(Debug, PartialEq, Eq)]
pub enum Leaf {
    /// Nothing, `null`, or a way through something that is not a map.
    Absent,
    /// A text.
    Text(Vec<u8>),
    /// Boolean `true`.
    True,
    /// Any other value.
    Other,
}

/// `map<string, Struct> filter_metadata = 1` of `Metadata`.
const FILTER_METADATA: u64 = 1;
/// `map<string, Value> fields = 1` of `Struct`.
const FIELDS: u64 = 1;
/// Key and value of a map's entry.
const ENTRY_KEY: u64 = 1;
const ENTRY_VALUE: u64 = 2;
/// The kinds of a `Value`.
const NULL_VALUE: u64 = 1;
const STRING_VALUE: u64 = 3;
const BOOL_VALUE: u64 = 4;
const STRUCT_VALUE: u64 = 5;

/// The bytes are no such message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Malformed;

/// Finds the value under `keys`, one inside the other, in `namespace`.
pub fn look_up(metadata: &[u8], namespace: &str, keys: &[&str]) -> Result<Leaf, Malformed> {
    let Some(mut fields) = entry(metadata, FILTER_METADATA, namespace)? else {
        return Ok(Leaf::Absent);
    };
    let mut found = None;
    for key in keys {
        if let Some(value) = found {
            let Some(Field {
                number: STRUCT_VALUE,
                wire: Wire::Bytes(inner),
            }) = kind(value)?
            else {
                return Ok(Leaf::Absent);
            };
            fields = inner;
        }
        found = entry(fields, FIELDS, key)?;
        if found.is_none() {
            return Ok(Leaf::Absent);
        }
    }
    found.map_or(Ok(Leaf::Absent), leaf)
}

fn leaf(value: &[u8]) -> Result<Leaf, Malformed> {
    let Some(Field { number, wire }) = kind(value)? else {
        return Ok(Leaf::Absent);
    };
    Ok(match (number, wire) {
        (STRING_VALUE, Wire::Bytes(text)) => Leaf::Text(text.to_vec()),
        (BOOL_VALUE, Wire::Number(1)) => Leaf::True,
        (NULL_VALUE, _) => Leaf::Absent,
        _ => Leaf::Other,
    })
}

/// The value of `key` in the map that is field `map` of `message`. As everywhere in protobuf, the
/// last one counts.
fn entry<'a>(message: &'a [u8], map: u64, key: &str) -> Result<Option<&'a [u8]>, Malformed> {
    let mut found = None;
    for field in Fields(message) {
        let Field {
            number,
            wire: Wire::Bytes(entry),
        } = field?
        else {
            continue;
        };
        if number != map {
            continue;
        }
        let (mut name, mut value): (&[u8], &[u8]) = (&[], &[]);
        for field in Fields(entry) {
            match field? {
                Field {
                    number: ENTRY_KEY,
                    wire: Wire::Bytes(bytes),
                } => name = bytes,
                Field {
                    number: ENTRY_VALUE,
                    wire: Wire::Bytes(bytes),
                } => value = bytes,
                _ => {}
            }
        }
        if name == key.as_bytes() {
            found = Some(value);
        }
    }
    Ok(found)
}

/// The kind that a `Value` has: its last field.
fn kind(value: &[u8]) -> Result<Option<Field<'_>>, Malformed> {
    Fields(value).last().transpose()
}

struct Field<'a> {
    number: u64,
    wire: Wire<'a>,
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
