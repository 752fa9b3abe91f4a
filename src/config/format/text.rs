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
    pub const fn new(allowed: &'static str, pattern: &'static str) -> Self {
        // Nobody asks the filter for it.
        let is_asked = cfg!(not(target_family = "wasm"));
        let pattern = if is_asked { pattern } else { "" };
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

/// What every text matches but the empty one.
pub(super) const NOT_EMPTY: &str = "^[\\s\\S]";

/// Texts that are taken as they are.
#[derive(Clone, Copy, Debug)]
pub(crate) struct TextOf {
    looks: Looks,
    judge: Judge,
}

#[derive(Clone, Copy, Debug)]
enum Judge {
    Fits(fn(&str) -> bool),
    Finds(fn(&str) -> Option<Wrong>),
}

impl TextOf {
    /// Those that fit.
    pub(crate) const fn new(
        allowed: &'static str,
        pattern: &'static str,
        fits: fn(&str) -> bool,
    ) -> Self {
        Self {
            looks: Looks::new(allowed, pattern),
            judge: Judge::Fits(fits),
        }
    }

    /// Those of which it finds nothing wrong: where there is more to say than what is allowed.
    pub(crate) const fn judged(
        allowed: &'static str,
        pattern: &'static str,
        finds: fn(&str) -> Option<Wrong>,
    ) -> Self {
        Self {
            looks: Looks::new(allowed, pattern),
            judge: Judge::Finds(finds),
        }
    }

    /// Any text.
    pub(crate) const ANY: Self = Self::new("a string", "", |_| true);

    /// Any text but the empty one.
    pub(crate) const NOT_EMPTY: Self =
        Self::judged("a string that is not empty", NOT_EMPTY, |text| {
            empty(text, None, "must not be empty")
        });

    /// The name of a backend, as a key.
    pub(crate) const BACKEND_NAME: Self = Self::judged("a backend's name", NOT_EMPTY, |text| {
        empty(text, None, "a backend's name must not be empty")
    });

    /// The name of an environment variable (POSIX.1-2017 §8.1).
    pub(crate) const VARIABLE_NAME: Self = Self::new(
        "the name of an environment variable",
        "^[^=\\x00]+$",
        |text| !text.is_empty() && !text.contains(['=', '\0']),
    );

    /// A key of dynamic metadata.
    pub(crate) const METADATA_KEY: Self = Self::metadata_key(|text| metadata_key(text, None));

    /// The name of a provider (V-06).
    pub(crate) const PROVIDER: Self =
        Self::metadata_key(|text| metadata_key(text, Some(Rule::V06)));

    const fn metadata_key(finds: fn(&str) -> Option<Wrong>) -> Self {
        Self::judged("a string that is not empty", "^[^\\x00]+$", finds)
    }
}

impl TextFormat for TextOf {
    type Value<'n> = &'n str;

    fn looks(&self) -> Looks {
        self.looks
    }

    fn parse<'n>(&self, text: &'n str) -> Result<&'n str, Wrong> {
        let wrong = match self.judge {
            Judge::Fits(fits) => (!fits(text)).then(|| self.looks.missed()),
            Judge::Finds(finds) => finds(text),
        };
        wrong.map_or(Ok(text), Err)
    }
}

fn empty(text: &str, rule: Option<Rule>, wrong: &str) -> Option<Wrong> {
    text.is_empty().then(|| Wrong::of(rule, wrong))
}

fn metadata_key(text: &str, not_empty: Option<Rule>) -> Option<Wrong> {
    nul(text).or_else(|| empty(text, not_empty, "must not be empty"))
}

/// In the path of a property, Envoy takes a NUL for the end of a segment: a name that holds one would
/// ask for something else than it says.
fn nul(text: &str) -> Option<Wrong> {
    let wrong = || Wrong::new("must not hold a NUL character");
    text.contains('\0').then(wrong)
}

/// The name of a provider, or the empty text, which names none.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ProviderOrNone;

impl TextFormat for ProviderOrNone {
    type Value<'n> = Option<&'n str>;

    fn looks(&self) -> Looks {
        Looks::new("a string", "^[^\\x00]*$")
    }

    fn parse<'n>(&self, text: &'n str) -> Result<Option<&'n str>, Wrong> {
        let named = Some(text).filter(|text| !text.is_empty());
        nul(text).map_or(Ok(named), Err)
    }
}
