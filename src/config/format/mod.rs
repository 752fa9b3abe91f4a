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
pub use uri::{AbsoluteUri, Endpoint, HttpUrl, HttpsUrl, TokenUrl, leaves_in_clear};

use super::described::Shape;
use super::problem::{Reported, Rule, Wrong, quoted};
use super::section::{At, Format, WithDefault};
use super::tree::Node;
use foldhash::fast::FixedState;
use hashbrown::HashSet;
use std::borrow::Cow;

/// A [`Format`] of values that hold no others.
pub trait Scalar: Sync + Shape {
    /// What a valid value becomes.
    type Value<'n>;

    /// What is allowed, to follow "must be".
    fn form(&self) -> Cow<'static, str>;

    /// Takes a value, or says what is wrong with it.
    fn take<'n>(&self, node: &'n Node) -> Result<Self::Value<'n>, Wrong>;
}

impl<F: Scalar> Format for F {
    type Value<'n> = <F as Scalar>::Value<'n>;

    fn allowed(&self) -> Cow<'static, str> {
        self.form()
    }

    fn read<'n>(&self, node: &'n Node, at: &At<'n>) -> Result<F::Value<'n>, Reported> {
        self.take(node).map_err(|wrong| at.error(wrong))
    }
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

impl<F: TextFormat> Scalar for F {
    type Value<'n> = F::Value<'n>;

    fn form(&self) -> Cow<'static, str> {
        F::ALLOWED.into()
    }

    fn take<'n>(&self, node: &'n Node) -> Result<F::Value<'n>, Wrong> {
        match node {
            Node::String(text) => self.parse(text),
            other => Err(Wrong::kind("a string", other)),
        }
    }
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
        name.ok_or_else(|| Wrong::of(self.not_empty, "must not be empty"))
    }
}

impl WithDefault for MetadataKey {
    type Default = &'static str;

    fn default<'n>(default: Self::Default) -> <Self as Format>::Value<'n> {
        default
    }

    #[cfg(not(target_family = "wasm"))]
    fn written(&self, default: Self::Default) -> serde_json::Value {
        default.into()
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

impl WithDefault for MetadataKeyOrNone {
    type Default = &'static str;

    fn default<'n>(default: Self::Default) -> <Self as Format>::Value<'n> {
        Some(default)
    }

    #[cfg(not(target_family = "wasm"))]
    fn written(&self, default: Self::Default) -> serde_json::Value {
        default.into()
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

impl Scalar for Boolean {
    type Value<'n> = bool;

    fn form(&self) -> Cow<'static, str> {
        "true or false".into()
    }

    fn take(&self, node: &Node) -> Result<bool, Wrong> {
        match node {
            Node::Bool(value) => Ok(*value),
            other => Err(Wrong::kind(&self.form(), other)),
        }
    }
}

impl WithDefault for Boolean {
    type Default = bool;

    fn default<'n>(default: Self::Default) -> <Self as Format>::Value<'n> {
        default
    }

    #[cfg(not(target_family = "wasm"))]
    fn written(&self, default: Self::Default) -> serde_json::Value {
        default.into()
    }
}

/// A whole number from 0 to [`Count::most`]. In a `Struct` every number is a double.
#[derive(Clone, Copy, Debug)]
pub struct Count {
    /// The largest one allowed.
    pub most: u32,
}

impl Scalar for Count {
    type Value<'n> = usize;

    fn form(&self) -> Cow<'static, str> {
        format!("a whole number from 0 to {}", self.most).into()
    }

    #[allow(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "the number was found whole and in range"
    )]
    fn take(&self, node: &Node) -> Result<usize, Wrong> {
        match node {
            Node::Number(number)
                if number.fract() == 0.0 && (0.0..=f64::from(self.most)).contains(number) =>
            {
                Ok(*number as usize)
            }
            Node::Number(_) => Err(Wrong::new(format!("must be {}", self.form()))),
            other => Err(Wrong::kind(&self.form(), other)),
        }
    }
}

impl WithDefault for Count {
    type Default = usize;

    fn default<'n>(default: Self::Default) -> <Self as Format>::Value<'n> {
        default
    }

    #[cfg(not(target_family = "wasm"))]
    fn written(&self, default: Self::Default) -> serde_json::Value {
        default.into()
    }
}

/// One of a few words.
#[derive(Debug)]
pub struct Choice<T: 'static>(pub &'static [(&'static str, T)]);

impl<T: Copy + Sync> Scalar for Choice<T> {
    type Value<'n> = T;

    fn form(&self) -> Cow<'static, str> {
        one_of(self.0.iter().map(|(word, _)| *word)).into()
    }

    fn take(&self, node: &Node) -> Result<T, Wrong> {
        let Node::String(text) = node else {
            return Err(Wrong::kind(&self.form(), node));
        };
        match self.0.iter().find(|(word, _)| word == text) {
            Some((_, value)) => Ok(*value),
            None => Err(Wrong::new(format!(
                "must be {}, not {}",
                self.form(),
                quoted(text)
            ))),
        }
    }
}

impl<T: Copy + Sync + PartialEq> WithDefault for Choice<T> {
    type Default = T;

    fn default<'n>(default: Self::Default) -> <Self as Format>::Value<'n> {
        default
    }

    #[cfg(not(target_family = "wasm"))]
    fn written(&self, default: Self::Default) -> serde_json::Value {
        let mut choices = self.0.iter();
        let word = choices.find(|(_, value)| *value == default);
        word.map(|(word, _)| *word).into()
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

    fn read<'n>(&self, node: &'n Node, at: &At<'n>) -> Result<Self::Value<'n>, Reported> {
        let wrong = match (node, self.not_empty) {
            (Node::List(items), Some(rule)) if items.is_empty() => {
                Wrong::rule(rule, "must not be empty")
            }
            (Node::List(items), _) => {
                let items = items.iter().enumerate();
                let read = |(index, item)| self.item.read(item, &at.index(index));
                return every(items.map(read));
            }
            (other, _) => Wrong::kind("a list", other),
        };
        Err(at.error(wrong))
    }
}

/// Every value; if one is wrong, the others are read all the same.
pub(super) fn every<T>(
    values: impl Iterator<Item = Result<T, Reported>>,
) -> Result<Vec<T>, Reported> {
    let mut wrong = None;
    let mut right = Vec::new();
    for value in values {
        match value {
            Ok(value) => right.push(value),
            Err(reported) => wrong = Some(reported),
        }
    }
    wrong.map_or(Ok(right), Err)
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

    fn read<'n>(&self, node: &'n Node, at: &At<'n>) -> Result<Self::Value<'n>, Reported> {
        let values = named(node, "a map", &self.name, at)?;
        every(values.into_iter().map(|(name, node)| {
            let value = self.item.read(node, &at.key(name))?;
            Ok((name, value))
        }))
    }
}

/// The values of a map whose keys are the operator's, once what is wrong with its keys is reported.
pub(super) fn named<'n>(
    node: &'n Node,
    allowed: &str,
    names: &impl TextFormat,
    at: &At<'n>,
) -> Result<Vec<(&'n str, &'n Node)>, Reported> {
    let Node::Map(entries) = node else {
        return Err(at.error(Wrong::kind(allowed, node)));
    };
    let mut known: HashSet<&str, FixedState> = HashSet::default();
    for (name, _) in entries {
        if let Err(wrong) = names.parse(name) {
            at.key(name).error(wrong);
        }
        if !known.insert(name) {
            at.key(name).error(Wrong::new("given twice"));
        }
    }
    let values = entries.iter().filter(|(_, node)| *node != Node::Null);
    Ok(values.map(|(name, node)| (name.as_str(), node)).collect())
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

    fn read<'n>(&self, node: &'n Node, at: &At<'n>) -> Result<Self::Value<'n>, Reported> {
        match node {
            Node::String(_) => Ok(vec![self.0.read(node, at)?]),
            Node::List(items) => {
                let read = |(index, item)| self.0.read(item, &at.index(index));
                every(items.iter().enumerate().map(read))
            }
            other => Err(at.error(Wrong::kind(&self.allowed(), other))),
        }
    }
}
