//! What a single value of the configuration may look like, and what it becomes.

mod bytes;
mod duration;
mod header;
mod oauth;
mod uri;

pub use bytes::Bytes;
pub use duration::DurationIn;
pub use header::{ChallengeText, HeaderName, HeaderValue};
pub use oauth::{
    ErrorWord, FormParameter, GrantKind, GrantType, IdTokenType, RequestedTokenType, ScopeToken,
    Scopes, TokenType,
};
pub use uri::{AbsoluteUri, Endpoint, HttpUrl, HttpsUrl, TokenUrl};

use super::path::Place;
use super::problem::{Problems, Rule, Wrong, quoted};
use super::tree::Node;
use foldhash::fast::FixedState;
use hashbrown::HashSet;
use std::borrow::Cow;

/// What a value may look like, and what it becomes.
pub trait Format: Sync {
    /// What a valid value becomes.
    type Value<'n>;

    /// What is allowed, to follow "must be".
    fn allowed(&self) -> Cow<'static, str>;

    /// Takes a value, or says what is wrong with it. What a map or a list holds is left to
    /// [`Format::check`].
    fn read<'n>(&self, node: &'n Node) -> Result<Self::Value<'n>, Wrong>;

    /// Reports everything that is wrong with a value and with what it holds.
    fn check(&self, node: &Node, place: &Place<'_>, problems: &mut Problems) {
        if let Err(wrong) = self.read(node) {
            problems.report(place, wrong);
        }
    }

    /// The same as JSON Schema. It may allow more than [`Format::check`] does, never less.
    #[cfg(not(target_family = "wasm"))]
    fn json_schema(&self) -> serde_json::Value;
}

/// A [`Format`] of texts.
pub trait TextFormat: Sync {
    /// What a valid text becomes.
    type Value<'n>;

    /// What is allowed, to follow "must be".
    const ALLOWED: &'static str;

    /// Takes a text, or says what is wrong with it.
    fn parse<'n>(&self, text: &'n str) -> Result<Self::Value<'n>, Wrong>;

    /// A regular expression (ECMA 262) that every valid text matches; empty for any text.
    #[cfg_attr(
        target_family = "wasm",
        allow(dead_code, reason = "for the JSON Schema")
    )]
    const PATTERN: &'static str;
}

impl<F: TextFormat> Format for F {
    type Value<'n> = F::Value<'n>;

    fn allowed(&self) -> Cow<'static, str> {
        F::ALLOWED.into()
    }

    fn read<'n>(&self, node: &'n Node) -> Result<Self::Value<'n>, Wrong> {
        match node {
            Node::String(text) => self.parse(text),
            other => Err(wrong_kind("a string", other)),
        }
    }

    #[cfg(not(target_family = "wasm"))]
    fn json_schema(&self) -> serde_json::Value {
        match F::PATTERN {
            "" => serde_json::json!({"type": "string"}),
            pattern => serde_json::json!({"type": "string", "pattern": pattern}),
        }
    }
}

/// The finding that a value is not even of the right kind.
pub fn wrong_kind(allowed: &str, node: &Node) -> Wrong {
    Wrong::new(format!("must be {allowed}, not {}", node.kind()))
}

fn must_be<F: TextFormat>(_: &F) -> Wrong {
    Wrong::new(format!("must be {}", F::ALLOWED))
}

/// Any text but the empty one.
#[derive(Clone, Copy, Debug)]
pub struct Text;

impl TextFormat for Text {
    type Value<'n> = &'n str;
    const ALLOWED: &'static str = "a string that is not empty";
    const PATTERN: &'static str = "^[\\s\\S]";

    fn parse<'n>(&self, text: &'n str) -> Result<&'n str, Wrong> {
        if text.is_empty() {
            return Err(Wrong::new("must not be empty"));
        }
        Ok(text)
    }
}

/// Any text.
#[derive(Clone, Copy, Debug)]
pub struct AnyText;

impl TextFormat for AnyText {
    type Value<'n> = &'n str;
    const ALLOWED: &'static str = "a string";
    const PATTERN: &'static str = "";

    fn parse<'n>(&self, text: &'n str) -> Result<&'n str, Wrong> {
        Ok(text)
    }
}

/// A key of dynamic metadata, provider names among them.
///
/// In the path of a property, Envoy takes a NUL for the end of a segment: a name that holds one
/// would ask for something else than it says.
#[derive(Clone, Copy, Debug)]
pub struct MetadataKey {
    /// The numbered rule that forbids the empty text, if one does.
    pub not_empty: Option<Rule>,
}

impl TextFormat for MetadataKey {
    type Value<'n> = &'n str;
    const ALLOWED: &'static str = "a string that is not empty";
    const PATTERN: &'static str = "^[^\\x00]+$";

    fn parse<'n>(&self, text: &'n str) -> Result<&'n str, Wrong> {
        let name = MetadataKeyOrNone.parse(text)?;
        name.ok_or_else(|| Wrong {
            rule: self.not_empty,
            text: "must not be empty".to_owned(),
        })
    }
}

/// A [`MetadataKey`], or the empty text, which names none.
#[derive(Clone, Copy, Debug)]
pub struct MetadataKeyOrNone;

impl TextFormat for MetadataKeyOrNone {
    type Value<'n> = Option<&'n str>;
    const ALLOWED: &'static str = "a string";
    const PATTERN: &'static str = "^[^\\x00]*$";

    fn parse<'n>(&self, text: &'n str) -> Result<Option<&'n str>, Wrong> {
        if text.contains('\0') {
            return Err(Wrong::new("must not hold a NUL character"));
        }
        Ok(Some(text).filter(|text| !text.is_empty()))
    }
}

/// The name of an environment variable (POSIX.1-2017 §8.1).
#[derive(Clone, Copy, Debug)]
pub struct VariableName;

impl TextFormat for VariableName {
    type Value<'n> = &'n str;
    const ALLOWED: &'static str = "the name of an environment variable";
    const PATTERN: &'static str = "^[^=\\x00]+$";

    fn parse<'n>(&self, text: &'n str) -> Result<&'n str, Wrong> {
        if text.is_empty() || text.contains(['=', '\0']) {
            return Err(must_be(self));
        }
        Ok(text)
    }
}

/// `true` or `false`.
#[derive(Clone, Copy, Debug)]
pub struct Boolean;

impl Format for Boolean {
    type Value<'n> = bool;

    fn allowed(&self) -> Cow<'static, str> {
        "true or false".into()
    }

    fn read(&self, node: &Node) -> Result<bool, Wrong> {
        match node {
            Node::Bool(value) => Ok(*value),
            other => Err(wrong_kind(&self.allowed(), other)),
        }
    }

    #[cfg(not(target_family = "wasm"))]
    fn json_schema(&self) -> serde_json::Value {
        serde_json::json!({"type": "boolean"})
    }
}

/// A whole number from 0 to [`Count::most`]. In a `Struct` every number is a double.
#[derive(Clone, Copy, Debug)]
pub struct Count {
    /// The largest one allowed.
    pub most: u32,
}

impl Format for Count {
    type Value<'n> = usize;

    fn allowed(&self) -> Cow<'static, str> {
        format!("a whole number from 0 to {}", self.most).into()
    }

    #[allow(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "the number was found whole and in range"
    )]
    fn read(&self, node: &Node) -> Result<usize, Wrong> {
        match node {
            Node::Number(number)
                if number.fract() == 0.0 && (0.0..=f64::from(self.most)).contains(number) =>
            {
                Ok(*number as usize)
            }
            Node::Number(_) => Err(Wrong::new(format!("must be {}", self.allowed()))),
            other => Err(wrong_kind(&self.allowed(), other)),
        }
    }

    #[cfg(not(target_family = "wasm"))]
    fn json_schema(&self) -> serde_json::Value {
        serde_json::json!({"type": "integer", "minimum": 0, "maximum": self.most})
    }
}

/// One of a few words.
#[derive(Debug)]
pub struct Choice<T: 'static>(pub &'static [(&'static str, T)]);

impl<T: Copy + Sync> Format for Choice<T> {
    type Value<'n> = T;

    fn allowed(&self) -> Cow<'static, str> {
        one_of(self.0.iter().map(|(word, _)| *word)).into()
    }

    fn read(&self, node: &Node) -> Result<T, Wrong> {
        let Node::String(text) = node else {
            return Err(wrong_kind(&self.allowed(), node));
        };
        match self.0.iter().find(|(word, _)| word == text) {
            Some((_, value)) => Ok(*value),
            None => Err(Wrong::new(format!(
                "must be {}, not {}",
                self.allowed(),
                quoted(text)
            ))),
        }
    }

    #[cfg(not(target_family = "wasm"))]
    fn json_schema(&self) -> serde_json::Value {
        let words: Vec<_> = self.0.iter().map(|(word, _)| *word).collect();
        serde_json::json!({"enum": words})
    }
}

/// `a`, or `one of a, b, c`.
pub fn one_of<'a>(words: impl Iterator<Item = &'a str>) -> String {
    let words: Vec<_> = words.collect();
    match words.as_slice() {
        [only] => (*only).to_owned(),
        several => format!("one of {}", several.join(", ")),
    }
}

/// A list of values of one format.
#[derive(Debug)]
pub struct ListOf<F> {
    /// What each element is.
    pub item: F,
    /// The rule that forbids the empty list; without one it is allowed.
    pub not_empty: Option<Rule>,
}

impl<F: Format> Format for ListOf<F> {
    type Value<'n> = Vec<F::Value<'n>>;

    fn allowed(&self) -> Cow<'static, str> {
        "a list".into()
    }

    fn read<'n>(&self, node: &'n Node) -> Result<Self::Value<'n>, Wrong> {
        match (node, self.not_empty) {
            (Node::List(items), Some(rule)) if items.is_empty() => {
                Err(Wrong::rule(rule, "must not be empty"))
            }
            (Node::List(items), _) => items.iter().map(|item| self.item.read(item)).collect(),
            (other, _) => Err(wrong_kind(&self.allowed(), other)),
        }
    }

    fn check(&self, node: &Node, place: &Place<'_>, problems: &mut Problems) {
        match node {
            Node::List(items) if !items.is_empty() => {
                for (index, item) in items.iter().enumerate() {
                    self.item.check(item, &place.index(index), problems);
                }
            }
            other => {
                if let Err(wrong) = self.read(other) {
                    problems.report(place, wrong);
                }
            }
        }
    }

    #[cfg(not(target_family = "wasm"))]
    fn json_schema(&self) -> serde_json::Value {
        serde_json::json!({
            "type": "array",
            "items": self.item.json_schema(),
            "minItems": u8::from(self.not_empty.is_some()),
        })
    }
}

/// A map from names that are the operator's to values of one format.
#[derive(Debug)]
pub struct MapOf<F, N> {
    /// What each value is.
    pub item: F,
    /// What each key is.
    pub name: N,
}

impl<F: Format, N: TextFormat> Format for MapOf<F, N> {
    type Value<'n> = Vec<(&'n str, F::Value<'n>)>;

    fn allowed(&self) -> Cow<'static, str> {
        "a map".into()
    }

    fn read<'n>(&self, node: &'n Node) -> Result<Self::Value<'n>, Wrong> {
        let Node::Map(entries) = node else {
            return Err(wrong_kind(&self.allowed(), node));
        };
        entries
            .iter()
            .filter(|(_, node)| *node != Node::Null)
            .map(|(name, node)| Ok((name.as_str(), self.item.read(node)?)))
            .collect()
    }

    fn check(&self, node: &Node, place: &Place<'_>, problems: &mut Problems) {
        let Node::Map(entries) = node else {
            problems.report(place, wrong_kind(&self.allowed(), node));
            return;
        };
        let mut names: HashSet<&str, FixedState> = HashSet::default();
        for (name, node) in entries {
            let place = place.key(name);
            if let Err(wrong) = self.name.parse(name) {
                problems.report(&place, wrong);
            }
            if !names.insert(name) {
                problems.report(&place, Wrong::new("given twice"));
            }
            if *node != Node::Null {
                self.item.check(node, &place, problems);
            }
        }
    }

    #[cfg(not(target_family = "wasm"))]
    fn json_schema(&self) -> serde_json::Value {
        serde_json::json!({
            "type": "object",
            "propertyNames": self.name.json_schema(),
            "additionalProperties": super::json_schema::or_null(self.item.json_schema()),
        })
    }
}

/// The name of a backend, as a key.
#[derive(Clone, Copy, Debug)]
pub struct BackendName;

impl TextFormat for BackendName {
    type Value<'n> = ();
    const ALLOWED: &'static str = "a backend's name";
    const PATTERN: &'static str = "^[\\s\\S]";

    fn parse(&self, text: &str) -> Result<(), Wrong> {
        match text.is_empty() {
            true => Err(Wrong::new("a backend's name must not be empty")),
            false => Ok(()),
        }
    }
}

/// A text, or a list of them.
#[derive(Debug)]
pub struct OneOrMany<F>(pub F);

impl<F: TextFormat> Format for OneOrMany<F> {
    type Value<'n> = Vec<F::Value<'n>>;

    fn allowed(&self) -> Cow<'static, str> {
        "a string or a list of strings".into()
    }

    fn read<'n>(&self, node: &'n Node) -> Result<Self::Value<'n>, Wrong> {
        match node {
            Node::String(text) => Ok(vec![self.0.parse(text)?]),
            Node::List(items) => items.iter().map(|item| self.0.read(item)).collect(),
            other => Err(wrong_kind(&self.allowed(), other)),
        }
    }

    fn check(&self, node: &Node, place: &Place<'_>, problems: &mut Problems) {
        match node {
            Node::List(items) => {
                for (index, item) in items.iter().enumerate() {
                    self.0.check(item, &place.index(index), problems);
                }
            }
            other => {
                if let Err(wrong) = self.read(other) {
                    problems.report(place, wrong);
                }
            }
        }
    }

    #[cfg(not(target_family = "wasm"))]
    fn json_schema(&self) -> serde_json::Value {
        let one = self.0.json_schema();
        serde_json::json!({"anyOf": [one, {"type": "array", "items": one}]})
    }
}
