//! Keys and values as they are shown, or made a schema of.

use super::Object;
use crate::config::doc::Doc;

/// A key of the configuration, for whoever shows it or makes a schema of it.
pub struct Described {
    /// What it is called.
    pub name: &'static str,
    /// What is said of it.
    pub doc: Doc,
    /// Its value when it is absent, as it would be written.
    pub default: Option<&'static str>,
    /// Whether it must be there.
    pub required: bool,
    /// What it may be.
    pub shape: Shape,
}

/// What a value may be.
pub enum Shape {
    /// `true` or `false`.
    Boolean,
    /// A whole number from 0 to this.
    Count(u32),
    /// A text that matches this regular expression (ECMA 262); any, if that is empty.
    Text(&'static str),
    /// One of these words.
    OneOf(Vec<&'static str>),
    /// A duration within these bounds, in words, and whether 0 is one.
    Duration(&'static str, bool),
    /// A list of such values, and whether it must not be empty.
    List(Box<Shape>, bool),
    /// Such a value, or a list of them.
    OneOrMany(Box<Shape>),
    /// A map from texts of this regular expression to such values.
    Map(&'static str, Box<Shape>),
    /// A map of declared keys.
    Object(&'static Object),
    /// A strategy: `type`, and the block of settings that belongs to it.
    Strategy,
}
