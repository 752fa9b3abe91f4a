//! The wire format of `google.protobuf.Struct`: an encoder, and what the decoder makes of bytes
//! that no encoder wrote.

use super::parse;
use crate::config::Node;

/// A map as a serialized `Struct`.
pub(super) fn encode(node: &Node) -> Option<Vec<u8>> {
    match node {
        Node::Map(entries) => Some(fields(entries)),
        _ => None,
    }
}

fn fields(entries: &[(String, Node)]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (key, node) in entries {
        let mut entry = Vec::new();
        if !key.is_empty() {
            message(&mut entry, 0x0a, key.as_bytes());
        }
        message(&mut entry, 0x12, &value(node));
        message(&mut bytes, 0x0a, &entry);
    }
    bytes
}

pub(super) fn value(node: &Node) -> Vec<u8> {
    let mut bytes = Vec::new();
    match node {
        Node::Null => bytes.extend([0x08, 0]),
        Node::Number(number) => {
            bytes.push(0x11);
            bytes.extend(number.to_le_bytes());
        }
        Node::String(text) => message(&mut bytes, 0x1a, text.as_bytes()),
        Node::Bool(value) => bytes.extend([0x20, u8::from(*value)]),
        Node::Map(entries) => message(&mut bytes, 0x2a, &fields(entries)),
        Node::List(items) => {
            let mut list = Vec::new();
            for item in items {
                message(&mut list, 0x0a, &value(item));
            }
            message(&mut bytes, 0x32, &list);
        }
    }
    bytes
}

pub(super) fn message(bytes: &mut Vec<u8>, tag: u8, content: &[u8]) {
    bytes.push(tag);
    let mut length = content.len();
    while length >= 0x80 {
        bytes.push((length as u8 & 0x7f) | 0x80);
        length >>= 7;
    }
    bytes.push(length as u8);
    bytes.extend(content);
}

/// A `Struct` with the single key `a`, whose value is these bytes of a `Value`.
fn with_value(value: &[u8]) -> Vec<u8> {
    let mut entry = vec![0x0a, 1, b'a'];
    message(&mut entry, 0x12, value);
    let mut bytes = Vec::new();
    message(&mut bytes, 0x0a, &entry);
    bytes
}

#[test]
fn bytes_that_are_not_exactly_a_struct_are_refused() {
    let good = with_value(&[0x20, 1]);
    assert_eq!(
        parse(&good),
        Ok(Node::Map(vec![("a".to_owned(), Node::Bool(true))]))
    );
    let huge_varint = [
        0x20, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x02,
    ];
    for (what, bytes) in [
        ("truncated", good[..good.len() - 1].to_vec()),
        ("a byte too many", [&good[..], &[0]].concat()),
        ("a length beyond the end", vec![0x0a, 0x7f, 0x0a, 1, b'a']),
        (
            "a length of nearly 2^64",
            vec![
                0x0a, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01,
            ],
        ),
        ("another field", vec![0x12, 0]),
        ("a group", vec![0x0b, 0x0c]),
        ("an entry without a value", vec![0x0a, 3, 0x0a, 1, b'a']),
        (
            "an entry with two keys",
            vec![0x0a, 8, 0x0a, 0, 0x0a, 0, 0x12, 2, 0x20, 1],
        ),
        (
            "a key that is not UTF-8",
            vec![0x0a, 7, 0x0a, 1, 0xff, 0x12, 2, 0x20, 1],
        ),
        ("a value without a kind", with_value(&[])),
        ("a value of two kinds", with_value(&[0x20, 1, 0x20, 1])),
        ("a value of an unknown kind", with_value(&[0x38, 1])),
        ("a null that is not null", with_value(&[0x08, 1])),
        ("a boolean that is neither", with_value(&[0x20, 2])),
        ("a truncated number", with_value(&[0x11, 0, 0, 0])),
        ("a text that is not UTF-8", with_value(&[0x1a, 1, 0xff])),
        ("a varint that does not end", with_value(&[0x20, 0x80])),
        ("a varint of more than 64 bits", with_value(&huge_varint)),
    ] {
        let line = parse(&bytes).unwrap_err().to_string();
        assert!(line.starts_with("(root): neither JSON ("), "{what}: {line}");
        assert!(
            line.contains(") nor a google.protobuf.Struct ("),
            "{what}: {line}"
        );
    }
}

/// Whoever writes the bytes finds the place by it.
#[test]
fn what_is_wrong_with_bytes_is_said_with_where() {
    for (why, bytes) in [
        ("truncated varint at byte 7", with_value(&[0x9a])),
        ("truncated varint at byte 8", with_value(&[0x20, 0x80])),
        (
            "varint of more than 64 bits at byte 8",
            with_value(&[&[0x20][..], &[0xff; 9], &[0x02]].concat()),
        ),
        ("truncated number at byte 8", with_value(&[0x11, 0, 0, 0])),
        (
            "length beyond the end at byte 1",
            vec![0x0a, 0x7f, 0x0a, 1, b'a'],
        ),
        ("unexpected field at byte 0", vec![0x12, 0]),
    ] {
        let line = parse(&bytes).unwrap_err().to_string();
        let told = format!(" nor a google.protobuf.Struct ({why})");
        assert!(line.contains(&told), "{told}: {line}");
    }
}

#[test]
fn every_prefix_of_a_struct_is_a_smaller_struct_or_refused() {
    let whole = super::plans::RFC_EXAMPLE;
    let bytes = encode(&parse(whole.as_bytes()).unwrap()).unwrap();
    let first_entry = 2 + usize::from(bytes[1] & 0x7f) + (usize::from(bytes[2]) << 7) + 1;
    for length in 1..bytes.len() {
        let is_whole_entry = length == first_entry;
        assert_eq!(parse(&bytes[..length]).is_ok(), is_whole_entry, "{length}");
    }
}

#[test]
fn a_number_that_is_not_finite_is_wrong_not_zero() {
    for number in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
        let mut root = parse(br#"{"tokenCache":{"maxEntries":1,"maxTtl":2}}"#).unwrap();
        let Node::Map(top) = &mut root else { panic!() };
        let Node::Map(cache) = &mut top[0].1 else {
            panic!()
        };
        for (_, node) in cache {
            *node = Node::Number(number);
        }
        let outcome = super::outcome(encode(&root).unwrap());
        assert_eq!(
            super::lines(&outcome.errors)[1..],
            [
                "tokenCache.maxEntries: must be a whole number from 0 to 1000000",
                "tokenCache.maxTtl: must be a duration from 0 to 24h, such as 250ms, 1.5s, 5m or 1h, not a number",
            ]
        );
    }
}
