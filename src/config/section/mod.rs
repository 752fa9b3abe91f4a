//! Maps with fixed keys: the table of what a document may hold, and the one way to what it holds.
//!
//! Reading a key reports what is wrong with its value, on the spot. What nobody has read when a
//! [`Section`] ends is looked at then, together with keys that are unknown, given twice or missing:
//! so everything in a document is looked at once, whatever the way through it.

mod described;
mod key;

pub use described::{Described, Shape};
pub(crate) use key::keys;
pub(crate) use key::{Absent, Always, Declared, Gives, Optional};

use super::path::Place;
use super::problem::{Problems, Reported, Wrong, is_slip};
use super::tree::Node;
use std::borrow::Cow;
use std::cell::Cell;

/// A map of which every key is declared.
pub struct Object {
    /// Its keys, in groups that several maps may have in common: 64 at most.
    pub keys: Keys<'static>,
    /// Whether keys that are not declared are ignored, not refused.
    pub open: bool,
}

#[cfg(not(target_family = "wasm"))]
impl Object {
    /// Each of its keys.
    pub fn described(&self) -> Vec<Described> {
        let keys = self.keys.iter().copied().flatten();
        keys.map(|key| key.described()).collect()
    }
}

/// Groups of keys.
pub(crate) type Keys<'k> = &'k [&'k [&'static dyn Entry]];

/// What a document is read with.
pub struct Reading<'r> {
    pub errors: Problems,
    pub warnings: Problems,
    /// What a map with a `type` can be.
    pub kinds: &'r [&'static Kind],
    /// The keys of such a map.
    pub keys_of_kinds: Keys<'r>,
}

/// A place in the document that is being read, where what is wrong is reported.
#[derive(Clone)]
pub struct At<'n> {
    place: Place<'n>,
    reading: &'n Reading<'n>,
}

impl<'n> At<'n> {
    pub fn reading(&self) -> &'n Reading<'n> {
        self.reading
    }

    pub fn key(&self, key: &'n str) -> Self {
        self.moved(self.place.key(key))
    }

    pub fn index(&self, index: usize) -> Self {
        self.moved(self.place.index(index))
    }

    fn moved(&self, place: Place<'n>) -> Self {
        let reading = self.reading;
        Self { place, reading }
    }

    /// Reports an error here.
    pub fn error(&self, wrong: Wrong) -> Reported {
        self.reading.errors.report(&self.place, wrong)
    }
}

/// One of the things that a map with a `type` can be.
pub struct Kind {
    /// `type`.
    pub name: &'static str,
    /// The key of its own settings, if it has any, and what they are.
    pub block: Option<Optional<Nested>>,
}

/// What a value may look like, and what it becomes.
pub trait Format: Sync {
    /// What a valid value becomes.
    type Value<'n>;

    /// What is allowed, to follow "must be".
    fn allowed(&self) -> Cow<'static, str>;

    /// The same for tools, which may allow more than the filter does, never less.
    fn shape(&self) -> Shape;

    /// Takes a value, or reports what is wrong with it and with what it holds.
    fn read<'n>(&self, node: &'n Node, at: &At<'n>) -> Result<Self::Value<'n>, Reported>;

    /// What a default of the table becomes, of a format that has such.
    fn usual<'n>(&self, _written: &'static str) -> Option<Self::Value<'n>> {
        None
    }
}

/// A declared key of any format.
pub trait Entry: Sync {
    fn name(&self) -> &'static str;

    #[cfg(not(target_family = "wasm"))]
    fn described(&self) -> Described;

    /// What to report if the key is absent, if it must not be.
    fn missing(&self, reading: &Reading<'_>) -> Option<Wrong>;

    /// Reports everything that is wrong with its value.
    fn check<'n>(&self, node: &'n Node, at: &At<'n>);
}

/// A map of a document that is being read. It knows where it is, and what has been read of it.
pub struct Section<'n> {
    entries: &'n [(String, Node)],
    keys: Keys<'n>,
    open: bool,
    at: At<'n>,
    /// One bit for each of `keys`: those whose first value has been read.
    read: Cell<u64>,
    /// Those that have been refused as a whole.
    refused: Cell<u64>,
}

impl<'n> Section<'n> {
    /// The root of a document.
    pub(super) fn document(
        root: &'n Node,
        object: &'static Object,
        reading: &'n Reading<'n>,
    ) -> Result<Self, Reported> {
        let place = Place::ROOT;
        let at = At { place, reading };
        match root {
            Node::Null => Ok(Self::new(&[], object.keys, object.open, at)),
            other => Nested(object).read(other, &at),
        }
    }

    /// A map with these keys.
    pub(super) fn new(
        entries: &'n [(String, Node)],
        keys: Keys<'n>,
        open: bool,
        at: At<'n>,
    ) -> Self {
        debug_assert!(keys.iter().copied().flatten().count() <= 64, "a bit each");
        Self {
            entries,
            keys,
            open,
            at,
            read: Cell::new(0),
            refused: Cell::new(0),
        }
    }

    /// The value of a key, which is to be read once. `null` is absent.
    ///
    /// # Errors
    /// If it is wrong, or missing and must not be.
    pub fn get<F: Format, A: Gives>(
        &self,
        key: &Declared<F, A>,
    ) -> Result<A::Of<F::Value<'n>>, Reported> {
        key.take(self)
    }

    /// The map that a key is, empty if the key is absent.
    ///
    /// # Errors
    /// If it is wrong.
    pub fn map(&self, key: &Optional<Nested>) -> Result<Section<'n>, Reported> {
        let Object { keys, open } = *key.format.0;
        let there = self.get(key)?;
        Ok(there.unwrap_or_else(|| Section::new(&[], keys, open, self.at(key))))
    }

    /// Whether a key is there at all, right or wrong.
    pub fn has(&self, key: &dyn Entry) -> bool {
        self.node(key.name()).is_some()
    }

    /// The text of a key, right or wrong.
    pub fn text(&self, key: &dyn Entry) -> Option<&'n str> {
        match self.node(key.name()) {
            Some(Node::String(text)) => Some(text),
            _ => None,
        }
    }

    /// Where the value of `key` is, or should be.
    pub(super) fn at(&self, key: &dyn Entry) -> At<'n> {
        self.at.key(key.name())
    }

    /// Reports an error in the value of `key`, or its absence.
    pub fn error(&self, key: &dyn Entry, wrong: Wrong) -> Reported {
        self.at(key).error(wrong)
    }

    /// Reports an error in the map as a whole.
    pub fn error_here(&self, wrong: Wrong) -> Reported {
        self.at.error(wrong)
    }

    /// Reports an error in the map that holds this one.
    pub fn error_above(&self, wrong: Wrong) -> Reported {
        self.at.moved(self.at.place.above()).error(wrong)
    }

    /// Reports what is probably not meant.
    pub fn warn(&self, key: &dyn Entry, wrong: Wrong) {
        let At { place, reading } = self.at(key);
        reading.warnings.report(&place, wrong);
    }

    /// Reports that `key` should not be there; what it holds is not looked at.
    pub(super) fn refuse(&self, key: &dyn Entry, text: &str) {
        for _ in self.values(key.name()) {
            self.error(key, Wrong::new(text));
        }
        let refused = self.refused.get();
        self.refused.set(refused | self.bit(key.name()));
    }

    /// The value of a key, which somebody is going to judge.
    pub(super) fn claim(&self, key: &str) -> Option<&'n Node> {
        let bit = self.bit(key);
        debug_assert_eq!(self.read.get() & bit, 0, "{key} is read twice");
        self.read.set(self.read.get() | bit);
        match bit {
            0 => None,
            _ => self.node(key),
        }
    }

    /// Reports that a key is absent.
    pub(super) fn miss(&self, key: &dyn Entry) -> Reported {
        let wrong = key.missing(self.at.reading);
        self.error(key, wrong.unwrap_or_else(|| Wrong::new("missing")))
    }

    fn node(&self, name: &str) -> Option<&'n Node> {
        self.values(name).next()
    }

    fn values(&self, name: &str) -> impl Iterator<Item = &'n Node> {
        let entries = self.entries.iter();
        entries
            .filter(move |(key, node)| key == name && *node != Node::Null)
            .map(|(_, node)| node)
    }

    fn declared(&self) -> impl Iterator<Item = (u64, &'static dyn Entry)> {
        let keys = self.keys.iter().flat_map(|group| group.iter().copied());
        (0..)
            .zip(keys)
            .map(|(index, key)| (1_u64.wrapping_shl(index), key))
    }

    fn find(&self, name: &str) -> Option<(u64, &'static dyn Entry)> {
        self.declared().find(|(_, key)| key.name() == name)
    }

    /// The bit of a key; none for one that is not declared.
    fn bit(&self, name: &str) -> u64 {
        self.find(name).map_or(0, |(bit, _)| bit)
    }

    /// Reports keys that are unknown, given twice or missing, and what is wrong with values that
    /// nobody has read.
    fn finish(&self) {
        let (mut once, mut twice, mut valued) = (0, 0, 0);
        for (name, node) in self.entries {
            let at = || self.at.key(name);
            let Some((bit, key)) = self.find(name) else {
                if !self.open {
                    at().error(self.unknown(name));
                }
                continue;
            };
            if once & bit != 0 && twice & bit == 0 {
                twice |= bit;
                at().error(Wrong::new("given twice"));
            }
            once |= bit;
            if *node == Node::Null {
                continue;
            }
            // Of several values, only the first can have been read.
            let unread = (valued | !self.read.get()) & bit != 0;
            if unread && self.refused.get() & bit == 0 {
                key.check(node, &at());
            }
            valued |= bit;
        }
        for (bit, key) in self.declared() {
            if (valued | self.read.get()) & bit == 0
                && let Some(wrong) = key.missing(self.at.reading)
            {
                self.error(key, wrong);
            }
        }
    }

    fn unknown(&self, name: &str) -> Wrong {
        let names: Vec<_> = self.declared().map(|(_, key)| key.name()).collect();
        let hint = match names.iter().find(|known| is_slip(name, known)) {
            Some(meant) => format!("; did you mean {meant}?"),
            None => String::new(),
        };
        let allowed = match names.as_slice() {
            [] => "no key is allowed here".to_owned(),
            names => format!("allowed here: {}", names.join(", ")),
        };
        Wrong::new(format!("unknown key{hint} ({allowed})"))
    }
}

/// Whoever stops reading, because something else was wrong, leaves nothing out.
impl Drop for Section<'_> {
    fn drop(&mut self) {
        self.finish();
    }
}

/// A map of which every key is declared, as a value.
pub struct Nested(pub &'static Object);

impl Format for Nested {
    type Value<'n> = Section<'n>;

    fn allowed(&self) -> Cow<'static, str> {
        "a map".into()
    }

    fn shape(&self) -> Shape {
        Shape::Object(self.0)
    }

    fn read<'n>(&self, node: &'n Node, at: &At<'n>) -> Result<Section<'n>, Reported> {
        match node {
            Node::Map(entries) => {
                let Object { keys, open } = *self.0;
                Ok(Section::new(entries, keys, open, at.clone()))
            }
            other => Err(at.error(Wrong::kind("a map", other))),
        }
    }
}
