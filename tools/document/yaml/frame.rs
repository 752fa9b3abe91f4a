//! Values, finished and under way, and what merge keys (`<<`) add to them. These are not part of YAML
//! 1.2, but vMCP's own loader knows them, so they work here.

use crate::SyntaxError;
use crate::located::{Located, Position};
use upstream_inject::config::Node;

/// A finished value.
#[derive(Clone)]
pub(super) struct Value {
    pub node: Node,
    pub located: Located,
    /// How many values it consists of.
    pub count: usize,
    /// How many levels it has; a scalar has none.
    pub depth: usize,
}

/// A map or list that is being read.
pub(super) struct Frame {
    pub at: Position,
    pub anchor: usize,
    pub count: usize,
    pub depth: usize,
    pub inner: Vec<Located>,
    pub content: Content,
}

pub(super) enum Content {
    List(Vec<Node>),
    Map {
        entries: Vec<(String, Node)>,
        key: Option<Key>,
        merged: Option<Box<(Position, Value)>>,
    },
}

pub(super) struct Key {
    pub text: String,
    pub at: Position,
    pub is_merge: bool,
}

impl Frame {
    pub(super) fn add(&mut self, value: Value) -> Result<(), SyntaxError> {
        self.count = self.count.saturating_add(value.count);
        self.depth = self.depth.max(value.depth.saturating_add(1));
        match &mut self.content {
            Content::List(items) => {
                items.push(value.node);
                self.inner.push(value.located);
            }
            Content::Map {
                entries,
                key,
                merged,
            } => {
                let Some(key) = key.take() else {
                    return Ok(());
                };
                if key.is_merge {
                    if merged.is_some() {
                        return Err(SyntaxError::new(key.at, "the merge key << is given twice"));
                    }
                    *merged = Some(Box::new((key.at, value)));
                } else {
                    entries.push((key.text, value.node));
                    self.inner.push(value.located.at(key.at));
                }
            }
        }
        Ok(())
    }

    pub(super) fn finish(mut self) -> Result<Value, SyntaxError> {
        let node = match self.content {
            Content::List(items) => Node::List(items),
            Content::Map {
                mut entries,
                merged,
                ..
            } => {
                if let Some(merged) = merged {
                    let (at, value) = *merged;
                    merge(at, value, &mut entries, &mut self.inner)?;
                }
                Node::Map(entries)
            }
        };
        Ok(Value {
            node,
            located: Located::new(self.at, self.inner),
            count: self.count,
            depth: self.depth,
        })
    }
}

/// Adds what `<<` names: the map's own keys win, then the earlier map of a list.
fn merge(
    at: Position,
    value: Value,
    entries: &mut Vec<(String, Node)>,
    inner: &mut Vec<Located>,
) -> Result<(), SyntaxError> {
    let sources = match value.node {
        Node::List(items) => items.into_iter().zip(value.located.inner).collect(),
        node => vec![(node, value.located)],
    };
    let mut taken: std::collections::HashSet<String> =
        entries.iter().map(|(key, _)| key.clone()).collect();
    for (source, located) in sources {
        let Node::Map(source) = source else {
            return Err(SyntaxError::new(
                at,
                "the merge key << needs a map, or a list of maps",
            ));
        };
        for ((key, node), place) in source.into_iter().zip(located.inner) {
            if taken.insert(key.clone()) {
                entries.push((key, node));
                inner.push(place.at(at));
            }
        }
    }
    Ok(())
}

pub(super) fn scalar(node: Node, at: Position) -> Value {
    Value {
        node,
        located: Located::leaf(at),
        count: 1,
        depth: 0,
    }
}
