//! `CheckResponse`, written where it goes.

use super::grpc::Framed;
use crate::challenge::Challenge;
use crate::core::{Found, Token};

/// The answer to a request that goes on, with what is known of its user.
///
/// Every message begins with its length, so everything is measured first, and then written once.
#[must_use]
pub(crate) fn allowed(found: &[Found], health_check: bool) -> Framed {
    let access: Texts = texts(found, |found| &found.access);
    let ids: Texts = texts(found, |found| &found.id);
    let unavailable: Vec<&str> = found
        .iter()
        .filter(|found| found.access == Token::Unavailable || found.id == Token::Unavailable)
        .map(|found| found.provider.as_str())
        .collect();
    let maps = [
        ("upstream_tokens", Map::Texts(&access)),
        ("upstream_id_tokens", Map::Texts(&ids)),
        ("upstream_unavailable", Map::Truths(&unavailable)),
    ];
    let truth = health_check.then_some("health_check");

    let fields = maps.iter().filter(|(_, map)| !map.is_empty());
    let metadata = fields
        .clone()
        .map(|(name, map)| framed(entry(name, framed(map.len()))))
        .sum::<usize>()
        + truth.map_or(0, |name| framed(entry(name, TRUTH.len())));
    Framed::new(metadata + 16, |answer| {
        // status: OK; ok_response: nothing changes; dynamic_metadata.
        bytes(answer, 1, b"");
        bytes(answer, 3, b"");
        if metadata == 0 {
            return;
        }
        head(answer, 4, metadata);
        for (name, map) in fields {
            begin_entry(answer, name, framed(map.len()));
            // The value is a struct.
            head(answer, 5, map.len());
            map.write(answer);
        }
        if let Some(name) = truth {
            begin_entry(answer, name, TRUTH.len());
            answer.extend_from_slice(&TRUTH);
        }
    })
}

/// A `Value` that is true.
const TRUTH: [u8; 2] = [4 << 3, 1];

/// Tokens by provider.
type Texts<'a> = Vec<(&'a str, &'a str)>;

/// The fields of a `Struct`.
enum Map<'a> {
    Texts(&'a [(&'a str, &'a str)]),
    Truths(&'a [&'a str]),
}

impl Map<'_> {
    fn is_empty(&self) -> bool {
        match self {
            Self::Texts(texts) => texts.is_empty(),
            Self::Truths(names) => names.is_empty(),
        }
    }

    /// How many bytes they take.
    fn len(&self) -> usize {
        match self {
            Self::Texts(texts) => texts
                .iter()
                .map(|(name, text)| framed(entry(name, framed(text.len()))))
                .sum(),
            Self::Truths(names) => names
                .iter()
                .map(|name| framed(entry(name, TRUTH.len())))
                .sum(),
        }
    }

    fn write(&self, out: &mut Vec<u8>) {
        match self {
            Self::Texts(texts) => {
                for (name, text) in *texts {
                    begin_entry(out, name, framed(text.len()));
                    bytes(out, 3, text.as_bytes());
                }
            }
            Self::Truths(names) => {
                for name in *names {
                    begin_entry(out, name, TRUTH.len());
                    out.extend_from_slice(&TRUTH);
                }
            }
        }
    }
}

fn texts(found: &[Found], token: impl Fn(&Found) -> &Token) -> Texts<'_> {
    found
        .iter()
        .filter_map(|found| match token(found) {
            Token::Held { token, .. } => Some((found.provider.as_str(), token.as_str())),
            Token::Missing | Token::Unavailable => None,
        })
        .collect()
}

/// The length of a map's entry: its key, and a value of so many bytes.
fn entry(name: &str, value: usize) -> usize {
    framed(name.len()) + framed(value)
}

/// A map's entry, up to its value, which has so many bytes.
fn begin_entry(out: &mut Vec<u8>, name: &str, value: usize) {
    head(out, 1, entry(name, value));
    bytes(out, 1, name.as_bytes());
    head(out, 2, value);
}

/// How many bytes a field of this length takes, with its tag (all have one byte) and length.
fn framed(length: usize) -> usize {
    let bits = (usize::BITS - length.leading_zeros()).max(1);
    1 + bits.div_ceil(7) as usize + length
}

/// The answer to a request of which nobody has checked who asks.
#[must_use]
pub(crate) fn denied(challenge: &Challenge) -> Framed {
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
    Framed::new(status.len() + response.len() + 16, |answer| {
        bytes(answer, 1, &status);
        bytes(answer, 2, &response);
    })
}

const DENIED_BODY: &str = r#"{"error":"token_missing","error_description":"the request carries no bearer token that anybody has checked"}"#;

fn head(out: &mut Vec<u8>, field: u64, length: usize) {
    varint(out, field << 3 | 2);
    varint(out, length as u64);
}

fn bytes(out: &mut Vec<u8>, field: u64, value: &[u8]) {
    head(out, field, value.len());
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
