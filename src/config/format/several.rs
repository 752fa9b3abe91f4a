//! Words to choose from, and values that hold others: lists, and maps whose keys are the operator's.

use super::text::{TextFormat, TextOf};
use crate::config::problem::{Reported, Rule, Wrong, all, quoted};
use crate::config::section::{At, Format, Shape};
use crate::config::tree::Node;
use crate::table::Table;
use std::borrow::Cow;

/// One of a few words.
#[derive(Debug)]
pub(crate) struct Choice<T: 'static>(pub &'static [(&'static str, T)]);

impl<T: Copy> Choice<T> {
    fn words(&self) -> impl Iterator<Item = &'static str> {
        self.0.iter().map(|(word, _)| *word)
    }

    fn chosen(&self, text: &str) -> Option<T> {
        let known = self.0.iter().find(|(word, _)| *word == text);
        known.map(|(_, value)| *value)
    }
}

impl<T: Copy + Sync> Format for Choice<T> {
    type Value<'n> = T;

    fn allowed(&self) -> Cow<'static, str> {
        one_of(self.words()).into()
    }

    fn shape(&self) -> Shape {
        Shape::OneOf(self.words().collect())
    }

    fn read<'n>(&self, node: &'n Node, at: &At<'n>) -> Result<T, Reported> {
        let allowed = self.allowed();
        let wrong = match node {
            Node::String(text) => match self.chosen(text) {
                Some(value) => return Ok(value),
                None => Wrong::new(format!("must be {allowed}, not {}", quoted(text))),
            },
            other => Wrong::kind(&allowed, other),
        };
        Err(at.error(wrong))
    }

    fn usual<'n>(&self, written: &'static str) -> Option<Self::Value<'n>> {
        self.chosen(written)
    }
}

/// `a`, or `one of a, b, c`.
pub(crate) fn one_of<'a>(words: impl Iterator<Item = &'a str>) -> String {
    let words: Vec<_> = words.collect();
    match words.as_slice() {
        [only] => (*only).to_owned(),
        several => format!("one of {}", several.join(", ")),
    }
}

/// A list of values of one format.
#[derive(Debug)]
pub(crate) struct ListOf<F> {
    pub item: F,
    /// The rule that forbids the empty list; without one it is allowed.
    pub not_empty: Option<Rule>,
}

impl<F: Format> Format for ListOf<F> {
    type Value<'n> = Vec<F::Value<'n>>;

    fn allowed(&self) -> Cow<'static, str> {
        "a list".into()
    }

    fn shape(&self) -> Shape {
        let not_empty = self.not_empty.is_some();
        Shape::List(Box::new(self.item.shape()), not_empty)
    }

    fn read<'n>(&self, node: &'n Node, at: &At<'n>) -> Result<Self::Value<'n>, Reported> {
        let wrong = match (node, self.not_empty) {
            (Node::List(items), Some(rule)) if items.is_empty() => {
                Wrong::of(rule, "must not be empty")
            }
            (Node::List(items), _) => return every(&self.item, items, at),
            (other, _) => Wrong::kind("a list", other),
        };
        Err(at.error(wrong))
    }
}

fn every<'n, F: Format>(
    item: &F,
    nodes: &'n [Node],
    at: &At<'n>,
) -> Result<Vec<F::Value<'n>>, Reported> {
    let nodes = nodes.iter().enumerate();
    all(nodes.map(|(index, node)| item.read(node, &at.index(index))))
}

/// A text, or a list of them.
#[derive(Debug)]
pub(crate) struct OneOrMany<F>(pub F);

impl<F: TextFormat> Format for OneOrMany<F> {
    type Value<'n> = Vec<F::Value<'n>>;

    fn allowed(&self) -> Cow<'static, str> {
        "a string or a list of strings".into()
    }

    fn shape(&self) -> Shape {
        Shape::OneOrMany(Box::new(self.0.shape()))
    }

    fn read<'n>(&self, node: &'n Node, at: &At<'n>) -> Result<Self::Value<'n>, Reported> {
        match node {
            Node::String(_) => Ok(vec![self.0.read(node, at)?]),
            Node::List(items) => every(&self.0, items, at),
            other => Err(at.error(Wrong::kind(&self.allowed(), other))),
        }
    }
}

/// A map from names that are the operator's to values of one format.
#[derive(Debug)]
pub(crate) struct MapOf<F> {
    pub item: F,
    pub name: TextOf,
    /// To follow "must be".
    pub allowed: &'static str,
}

impl<F> MapOf<F> {
    pub(crate) const fn new(item: F, name: TextOf) -> Self {
        let allowed = "a map";
        Self {
            item,
            name,
            allowed,
        }
    }
}

impl<F: Format> Format for MapOf<F> {
    /// Each value by itself: what is right is judged further in any case.
    type Value<'n> = Vec<(&'n str, Result<F::Value<'n>, Reported>)>;

    fn allowed(&self) -> Cow<'static, str> {
        self.allowed.into()
    }

    fn shape(&self) -> Shape {
        Shape::Map(self.name.looks().pattern, Box::new(self.item.shape()))
    }

    fn read<'n>(&self, node: &'n Node, at: &At<'n>) -> Result<Self::Value<'n>, Reported> {
        let Node::Map(entries) = node else {
            return Err(at.error(Wrong::kind(self.allowed, node)));
        };
        let mut known: Table<&str, ()> = Table::default();
        for (name, _) in entries {
            if let Err(wrong) = self.name.parse(name) {
                at.key(name).error(wrong);
            }
            if known.insert(name, ()).is_some() {
                at.key(name).error(Wrong::new("given twice"));
            }
        }
        let values = entries.iter().filter(|(_, node)| *node != Node::Null);
        let read =
            |(name, node): &'n (String, Node)| (name.as_str(), self.item.read(node, &at.key(name)));
        Ok(values.map(read).collect())
    }
}
