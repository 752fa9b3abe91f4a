//! A configuration file as written: its tree, and where each value of it stands in the file.
//!
//! The filter itself only ever sees JSON or a `Struct`, without positions. Here the same tree is
//! built from YAML or JSON text, so that the filter's own rules run on it unchanged, and every
//! finding can be led back to a line and a column.
#![deny(unreachable_pub)]
#![cfg_attr(
    test,
    allow(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic,
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects
    )
)]

pub mod auth_server;
pub mod configuration;
mod json;
pub mod keys;
pub mod kubernetes;
mod located;
mod resolve;
pub mod words;
mod yaml;

pub use located::{Document, Doubt, Position};

use upstream_inject::config::Node;

/// Deeper than any configuration, far from the end of the stack, and like the limit that the
/// filter's JSON reader has.
const MAX_DEPTH: usize = 100;

/// Why a text is no document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SyntaxError {
    /// Where, if it is in one place.
    pub at: Option<Position>,
    /// What is wrong, without a word of the file's content: it may be a secret.
    pub text: String,
}

impl SyntaxError {
    fn new(at: Position, text: impl Into<String>) -> Self {
        Self {
            at: Some(at),
            text: text.into(),
        }
    }
}

/// Every document of the file `name`, which holds `bytes`. What begins like JSON may be YAML in it, with
/// comments and keys without quotes, unless its name says that it is JSON.
///
/// # Errors
/// If it is neither: of the two readers, what the one says that got further.
pub fn parse_file(bytes: &[u8], name: &str) -> Result<Vec<Document>, SyntaxError> {
    let is_named_json = std::path::Path::new(name)
        .extension()
        .is_some_and(|extension| extension.eq_ignore_ascii_case("json"));
    let text = decode(bytes)?;
    match parse_text(text) {
        Err(of_json) if looks_like_json(text) && !is_named_json => {
            yaml::parse(text).map_err(|of_yaml| match of_yaml.at > of_json.at {
                true => of_yaml,
                false => of_json,
            })
        }
        parsed => parsed,
    }
}

/// Every document of `bytes`, which hold JSON or YAML, and what begins like JSON must be JSON. Empty
/// documents are left out; a file without any content holds one empty document, since that is what a
/// reader of it would find.
///
/// # Errors
/// If it is neither.
pub fn parse(bytes: &[u8]) -> Result<Vec<Document>, SyntaxError> {
    parse_text(decode(bytes)?)
}

fn parse_text(text: &str) -> Result<Vec<Document>, SyntaxError> {
    // No string of JSON spans lines, so such a line separates documents of YAML.
    let is_stream = text
        .lines()
        .any(|line| line == "---" || line.starts_with("--- "));
    if looks_like_json(text) && !is_stream {
        return json::parse(text);
    }
    yaml::parse(text)
}

/// Most of JSON is YAML, but not the other way round, and what someone means as JSON is handed to
/// a JSON reader in the end: it must not pass because YAML would allow a comma more. A flow map with
/// plain keys (`{a: b}`) can only be YAML.
fn looks_like_json(text: &str) -> bool {
    let text = text.trim_start();
    let Some(inner) = text.strip_prefix(['{', '[']) else {
        return false;
    };
    inner.trim_start().starts_with(['"', '{', '[', '}', ']'])
}

fn decode(bytes: &[u8]) -> Result<&str, SyntaxError> {
    if bytes.starts_with(&[0xff, 0xfe]) || bytes.starts_with(&[0xfe, 0xff]) {
        return Err(SyntaxError {
            at: None,
            text: "the file is UTF-16; save it as UTF-8".to_owned(),
        });
    }
    let text = std::str::from_utf8(bytes).map_err(|error| {
        let valid = bytes.get(..error.valid_up_to()).unwrap_or_default();
        let valid = std::str::from_utf8(valid).unwrap_or_default();
        SyntaxError::new(Position::after(valid), "a byte that is not UTF-8")
    })?;
    Ok(text.strip_prefix('\u{feff}').unwrap_or(text))
}

/// The value of `key` in `node`, where `null` counts as absent. Of a key given twice, the first.
pub fn get<'a>(node: &'a Node, key: &str) -> Option<&'a Node> {
    let Node::Map(entries) = node else {
        return None;
    };
    entries
        .iter()
        .find(|(name, value)| name == key && !matches!(value, Node::Null))
        .map(|(_, value)| value)
}

/// The text at `key` in `node`, if it is a text.
pub fn get_text<'a>(node: &'a Node, key: &str) -> Option<&'a str> {
    match get(node, key) {
        Some(Node::String(text)) => Some(text),
        _ => None,
    }
}

/// The entries of a map, none for anything else.
pub fn entries(node: &Node) -> &[(String, Node)] {
    match node {
        Node::Map(entries) => entries,
        _ => &[],
    }
}

/// The items of a list, none for anything else.
pub fn items(node: &Node) -> &[Node] {
    match node {
        Node::List(items) => items,
        _ => &[],
    }
}

#[cfg(test)]
mod tests;
