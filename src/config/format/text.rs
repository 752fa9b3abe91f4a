//! Texts, and what they have in common.

use crate::config::problem::{Reported, Rule, Wrong};
use crate::config::section::{At, Format, Shape};
use crate::config::tree::Node;
use std::borrow::Cow;

/// A [`Format`] of texts.
pub trait TextFormat: Sync {
    /// What a valid text becomes.
    type Value<'n>;

    /// What a text may look like.
    fn looks(&self) -> Looks;

    /// Takes a text, or says what is wrong with it.
    fn parse<'n>(&self, text: &'n str) -> Result<Self::Value<'n>, Wrong>;
}

/// What a text may look like.
#[derive(Clone, Copy, Debug)]
pub struct Looks {
    /// What is allowed, to follow "must be".
    pub allowed: &'static str,
    /// A regular expression (ECMA 262) that every valid text matches; empty for any text.
    pub pattern: &'static str,
}

impl Looks {
    /// What is allowed, and the regular expression that says so.
    pub const fn new(allowed: &'static str, pattern: &'static str) -> Self {
        Self { allowed, pattern }
    }

    /// That a text looks otherwise.
    pub fn missed(self) -> Wrong {
        Wrong::new(format!("must be {}", self.allowed))
    }
}

impl<F: TextFormat> Format for F {
    type Value<'n> = <F as TextFormat>::Value<'n>;

    fn allowed(&self) -> Cow<'static, str> {
        self.looks().allowed.into()
    }

    fn shape(&self) -> Shape {
        Shape::Text(self.looks().pattern)
    }

    fn read<'n>(&self, node: &'n Node, at: &At<'n>) -> Result<F::Value<'n>, Reported> {
        let wrong = match node {
            Node::String(text) => match self.parse(text) {
                Ok(value) => return Ok(value),
                Err(wrong) => wrong,
            },
            other => Wrong::kind("a string", other),
        };
        Err(at.error(wrong))
    }

    fn usual<'n>(&self, written: &'static str) -> Option<F::Value<'n>> {
        self.parse(written).ok()
    }
}

/// Texts that are taken as they are.
#[derive(Clone, Copy, Debug)]
pub struct TextOf {
    looks: Looks,
    fits: fn(&str) -> bool,
    /// What is said of others, if not what is allowed.
    refusal: Option<&'static str>,
}

impl TextOf {
    /// Those that fit.
    pub const fn new(allowed: &'static str, pattern: &'static str, fits: fn(&str) -> bool) -> Self {
        Self {
            looks: Looks::new(allowed, pattern),
            fits,
            refusal: None,
        }
    }

    const fn else_says(self, refusal: &'static str) -> Self {
        let refusal = Some(refusal);
        Self { refusal, ..self }
    }
}

impl TextFormat for TextOf {
    type Value<'n> = &'n str;

    fn looks(&self) -> Looks {
        self.looks
    }

    fn parse<'n>(&self, text: &'n str) -> Result<&'n str, Wrong> {
        match self.refusal {
            _ if (self.fits)(text) => Ok(text),
            Some(refusal) => Err(Wrong::new(refusal)),
            None => Err(self.looks.missed()),
        }
    }
}

/// What every text matches but the empty one.
pub const NOT_EMPTY: &str = "^[\\s\\S]";

impl TextOf {
    /// Any text.
    pub const ANY: Self = Self::new("a string", "", |_| true);

    /// Any text but the empty one.
    pub const NOT_EMPTY: Self = Self::new("a string that is not empty", NOT_EMPTY, is_something)
        .else_says("must not be empty");

    /// The name of a backend, as a key.
    pub const BACKEND_NAME: Self = Self::new("a backend's name", NOT_EMPTY, is_something)
        .else_says("a backend's name must not be empty");

    /// The name of an environment variable (POSIX.1-2017 §8.1).
    pub const VARIABLE_NAME: Self = Self::new(
        "the name of an environment variable",
        "^[^=\\x00]+$",
        |text| is_something(text) && !text.contains(['=', '\0']),
    );
}

fn is_something(text: &str) -> bool {
    !text.is_empty()
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

    fn looks(&self) -> Looks {
        Looks::new("a string that is not empty", "^[^\\x00]+$")
    }

    fn parse<'n>(&self, text: &'n str) -> Result<&'n str, Wrong> {
        let name = MetadataKeyOrNone.parse(text)?;
        name.ok_or_else(|| Wrong::of(self.not_empty, "must not be empty"))
    }
}

/// A [`MetadataKey`], or the empty text, which names none.
#[derive(Clone, Copy, Debug)]
pub struct MetadataKeyOrNone;

impl TextFormat for MetadataKeyOrNone {
    type Value<'n> = Option<&'n str>;

    fn looks(&self) -> Looks {
        Looks::new("a string", "^[^\\x00]*$")
    }

    fn parse<'n>(&self, text: &'n str) -> Result<Option<&'n str>, Wrong> {
        if text.contains('\0') {
            return Err(Wrong::new("must not hold a NUL character"));
        }
        Ok(Some(text).filter(|text| !text.is_empty()))
    }
}
