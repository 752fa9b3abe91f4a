//! A document that Envoy hands over as a serialized `google.protobuf.Struct`.
//!
//! The wire format is decoded strictly: nothing is skipped, so that bytes that merely begin like a
//! `Struct` are not taken for one.

use super::tree::Node;
use crate::protobuf::wire::{Fault, Reader};
use std::fmt;

/// The same depth that `serde_json` allows in a JSON text.
const MAX_DEPTH: usize = 127;

// Each field's tag: field number << 3 | wire type.
const STRUCT_FIELDS: u64 = 1 << 3 | LEN;
const ENTRY_KEY: u64 = 1 << 3 | LEN;
const ENTRY_VALUE: u64 = 2 << 3 | LEN;
const LIST_VALUES: u64 = 1 << 3 | LEN;
const NULL_VALUE: u64 = 1 << 3 | VARINT;
const NUMBER_VALUE: u64 = 2 << 3 | FIXED64;
const STRING_VALUE: u64 = 3 << 3 | LEN;
const BOOL_VALUE: u64 = 4 << 3 | VARINT;
const STRUCT_VALUE: u64 = 5 << 3 | LEN;
const LIST_VALUE: u64 = 6 << 3 | LEN;

const VARINT: u64 = 0;
const FIXED64: u64 = 1;
const LEN: u64 = 2;

/// Why, and from which byte on, bytes are not a `Struct`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Malformed {
    why: &'static str,
    offset: usize,
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at byte {}", self.why, self.offset)
    }
}

/// Decodes a whole `Struct`.
pub(super) fn decode(bytes: &[u8]) -> Result<Node, Malformed> {
    Message {
        rest: Reader(bytes),
        end: bytes.len(),
    }
    .fields(MAX_DEPTH)
}

/// What is still to be read of one message.
#[derive(Clone, Copy)]
struct Message<'a> {
    rest: Reader<'a>,
    /// Where it ends in the document.
    end: usize,
}

impl<'a> Message<'a> {
    /// `message Struct { map<string, Value> fields = 1; }`
    fn fields(mut self, depth: usize) -> Result<Node, Malformed> {
        let depth = self.deeper(depth)?;
        let mut entries = Vec::new();
        while !self.is_over() {
            self.expect(STRUCT_FIELDS)?;
            entries.push(self.message()?.entry(depth)?);
        }
        Ok(Node::Map(entries))
    }

    /// An entry of a map is a message of key and value, in any order.
    fn entry(mut self, depth: usize) -> Result<(String, Node), Malformed> {
        let start = self;
        let mut key = None;
        let mut value = None;
        while !self.is_over() {
            let field = self;
            match self.read(Reader::varint)? {
                ENTRY_KEY if key.is_none() => key = Some(self.message()?.text()?),
                ENTRY_VALUE if value.is_none() => value = Some(self.message()?.value(depth)?),
                _ => return Err(field.malformed("unexpected field")),
            }
        }
        match value {
            // proto3 leaves an empty string out.
            Some(value) => Ok((key.unwrap_or_default(), value)),
            None => Err(start.malformed("entry without a value")),
        }
    }

    /// `message ListValue { repeated Value values = 1; }`
    fn values(mut self, depth: usize) -> Result<Node, Malformed> {
        let depth = self.deeper(depth)?;
        let mut items = Vec::new();
        while !self.is_over() {
            self.expect(LIST_VALUES)?;
            items.push(self.message()?.value(depth)?);
        }
        Ok(Node::List(items))
    }

    /// `message Value` is exactly one of six fields.
    fn value(mut self, depth: usize) -> Result<Node, Malformed> {
        let start = self;
        if self.is_over() {
            return Err(start.malformed("value without a kind"));
        }
        let node = match self.read(Reader::varint)? {
            NULL_VALUE if self.read(Reader::varint)? == 0 => Node::Null,
            NUMBER_VALUE => Node::Number(f64::from_le_bytes(self.read(Reader::fixed)?)),
            STRING_VALUE => Node::String(self.message()?.text()?),
            BOOL_VALUE => match self.read(Reader::varint)? {
                0 => Node::Bool(false),
                1 => Node::Bool(true),
                _ => return Err(start.malformed("not a boolean")),
            },
            STRUCT_VALUE => self.message()?.fields(depth)?,
            LIST_VALUE => self.message()?.values(depth)?,
            _ => return Err(start.malformed("unexpected field")),
        };
        if self.is_over() {
            Ok(node)
        } else {
            Err(self.malformed("value of two kinds"))
        }
    }

    /// The whole message as a text.
    fn text(self) -> Result<String, Malformed> {
        match std::str::from_utf8(self.rest.0) {
            Ok(text) => Ok(text.to_owned()),
            Err(_) => Err(self.malformed("text that is not UTF-8")),
        }
    }

    fn expect(&mut self, tag: u64) -> Result<(), Malformed> {
        let start = *self;
        if self.read(Reader::varint)? == tag {
            Ok(())
        } else {
            Err(start.malformed("unexpected field"))
        }
    }

    /// A length and that many bytes.
    fn message(&mut self) -> Result<Message<'a>, Malformed> {
        let rest = self.read(Reader::bytes).map(Reader)?;
        let end = self.offset();
        Ok(Message { rest, end })
    }

    /// Reads on; what is wrong is wrong where it begins.
    fn read<T>(
        &mut self,
        read: impl FnOnce(&mut Reader<'a>) -> Result<T, Fault>,
    ) -> Result<T, Malformed> {
        let start = *self;
        read(&mut self.rest).map_err(|fault| start.malformed(fault.words()))
    }

    fn is_over(&self) -> bool {
        self.rest.left() == 0
    }

    /// Where its rest begins in the document.
    fn offset(&self) -> usize {
        self.end.saturating_sub(self.rest.left())
    }

    fn deeper(&self, depth: usize) -> Result<usize, Malformed> {
        depth
            .checked_sub(1)
            .ok_or_else(|| self.malformed("nested too deeply"))
    }

    fn malformed(&self, why: &'static str) -> Malformed {
        Malformed {
            why,
            offset: self.offset(),
        }
    }
}
