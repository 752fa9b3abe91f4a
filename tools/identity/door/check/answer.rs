//! `CheckResponse`, written where it goes.

use bytes::Bytes;

use crate::challenge::Challenge;
use crate::core::{Found, Token};

/// The answer to a request that goes on, with what is known of its user.
#[must_use]
pub fn allowed(found: &[Found], health_check: bool) -> Bytes {
    let mut metadata = Vec::new();
    let maps = [
        (
            "upstream_tokens",
            found
                .iter()
                .filter_map(|found| held(found, &found.access))
                .collect(),
        ),
        (
            "upstream_id_tokens",
            found
                .iter()
                .filter_map(|found| held(found, &found.id))
                .collect(),
        ),
    ];
    for (name, tokens) in maps {
        let tokens: Vec<(&str, &str)> = tokens;
        let mut map = Vec::with_capacity(tokens.iter().map(|(_, token)| token.len() + 64).sum());
        for (provider, token) in tokens {
            field(&mut map, provider, |value| {
                bytes(value, 3, token.as_bytes())
            });
        }
        struct_field(&mut metadata, name, &map);
    }
    let mut unavailable = Vec::new();
    for found in found {
        if found.access == Token::Unavailable || found.id == Token::Unavailable {
            field(&mut unavailable, &found.provider, truth);
        }
    }
    struct_field(&mut metadata, "upstream_unavailable", &unavailable);
    if health_check {
        field(&mut metadata, "health_check", truth);
    }

    let mut answer = Vec::with_capacity(metadata.len() + 16);
    // status: OK; ok_response: nothing changes; dynamic_metadata.
    bytes(&mut answer, 1, b"");
    bytes(&mut answer, 3, b"");
    if !metadata.is_empty() {
        bytes(&mut answer, 4, &metadata);
    }
    answer.into()
}

/// The answer to a request of which nobody has checked who asks.
#[must_use]
pub fn denied(challenge: &Challenge) -> Bytes {
    const UNAUTHENTICATED: u64 = 16;
    let mut status = Vec::new();
    number(&mut status, 1, UNAUTHENTICATED);
    let mut http_status = Vec::new();
    number(&mut http_status, 1, 401);
    let mut response = Vec::new();
    bytes(&mut response, 1, &http_status);
    for (name, value) in [
        ("www-authenticate", challenge.header()),
        ("content-type", "application/json"),
        ("cache-control", "no-store"),
    ] {
        let mut header = Vec::new();
        bytes(&mut header, 1, name.as_bytes());
        bytes(&mut header, 2, value.as_bytes());
        let mut option = Vec::new();
        bytes(&mut option, 1, &header);
        bytes(&mut response, 2, &option);
    }
    bytes(&mut response, 3, DENIED_BODY.as_bytes());
    let mut answer = Vec::new();
    bytes(&mut answer, 1, &status);
    bytes(&mut answer, 2, &response);
    answer.into()
}

const DENIED_BODY: &str = r#"{"error":"token_missing","error_description":"the request carries no bearer token that anybody has checked"}"#;

fn held<'a>(found: &'a Found, token: &'a Token) -> Option<(&'a str, &'a str)> {
    match token {
        Token::Held { token, .. } => Some((&found.provider, token)),
        Token::Missing | Token::Unavailable => None,
    }
}

/// A field of a `Struct`: its name, and its value written by `value`.
fn field(out: &mut Vec<u8>, name: &str, value: impl FnOnce(&mut Vec<u8>)) {
    let mut encoded = Vec::new();
    value(&mut encoded);
    let mut entry = Vec::with_capacity(name.len() + encoded.len() + 12);
    bytes(&mut entry, 1, name.as_bytes());
    bytes(&mut entry, 2, &encoded);
    bytes(out, 1, &entry);
}

/// A field that is a `Struct` itself, unless that is empty.
fn struct_field(out: &mut Vec<u8>, name: &str, fields: &[u8]) {
    if !fields.is_empty() {
        field(out, name, |value| bytes(value, 5, fields));
    }
}

fn truth(value: &mut Vec<u8>) {
    number(value, 4, 1);
}

fn bytes(out: &mut Vec<u8>, field: u64, value: &[u8]) {
    varint(out, field << 3 | 2);
    varint(out, value.len() as u64);
    out.extend_from_slice(value);
}

fn number(out: &mut Vec<u8>, field: u64, value: u64) {
    varint(out, field << 3);
    varint(out, value);
}

fn varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        // Seven bits and the mark that more follow.
        out.push(u8::try_from(value & 0x7f).unwrap_or(0) | 0x80);
        value >>= 7;
    }
    out.push(u8::try_from(value).unwrap_or(0));
}
