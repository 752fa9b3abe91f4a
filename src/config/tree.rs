//! The configuration as it was written, before anything is known about what it should hold.

use std::fmt;

/// One value of a configuration document: JSON, YAML or a protobuf `Struct`.
///
/// A map keeps its keys in the order written, given twice or not: that a key stands twice is a
/// problem to report, not one to resolve silently.
///
/// Any text may be a secret, so `Debug` shows the keys and the kinds of the values only.
#[derive(Clone, PartialEq)]
pub enum Node {
    /// `null`: counts as absent.
    Null,
    /// A boolean.
    Bool(bool),
    /// A number. Every number that a setting may hold fits a double exactly.
    Number(f64),
    /// A text.
    String(String),
    /// A list.
    List(Vec<Node>),
    /// A map, in the order written.
    Map(Vec<(String, Node)>),
}

impl Node {
    /// The kind of value, as error messages name it.
    pub fn kind(&self) -> &'static str {
        match self {
            Node::Null => "null",
            Node::Bool(_) => "a boolean",
            Node::Number(_) => "a number",
            Node::String(_) => "a string",
            Node::List(_) => "a list",
            Node::Map(_) => "a map",
        }
    }
}

impl fmt::Debug for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Node::List(items) => f.debug_list().entries(items).finish(),
            Node::Map(entries) => f
                .debug_map()
                .entries(entries.iter().map(|(key, value)| (key, value)))
                .finish(),
            scalar => f.write_str(scalar.kind()),
        }
    }
}
