//! Positions, kept beside the tree rather than in it.

use upstream_inject::config::path::Step;
use upstream_inject::config::{Node, Path};

/// A place in a file. Both numbers start at 1; columns count characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position {
    /// Of the file.
    pub line: usize,
    /// Of the line.
    pub column: usize,
}

impl Position {
    /// The start of a file.
    pub const START: Self = Self { line: 1, column: 1 };

    /// The place right behind `text`.
    pub(super) fn after(text: &str) -> Self {
        let last_line = text.rsplit('\n').next().unwrap_or_default();
        Self {
            line: text.matches('\n').count().saturating_add(1),
            column: last_line.chars().count().saturating_add(1),
        }
    }
}

/// Where a value stands, and where each value in it does: the same shape as its [`Node`].
#[derive(Clone, Debug)]
pub(super) struct Located {
    /// Of a map's value, where its key stands.
    pub(super) at: Position,
    pub(super) inner: Vec<Located>,
}

impl Located {
    pub(super) fn leaf(at: Position) -> Self {
        Self {
            at,
            inner: Vec::new(),
        }
    }
}

/// One document of a file.
#[derive(Clone, Debug)]
pub struct Document {
    /// What it holds.
    pub root: Node,
    located: Located,
}

impl Document {
    pub(super) fn new(root: Node, located: Located) -> Self {
        Self { root, located }
    }

    /// Where the value at `path` stands, or the innermost value around it that does exist: that
    /// is where a missing key would have to be added.
    pub fn position(&self, path: &Path) -> Position {
        let (mut node, mut located) = (&self.root, &self.located);
        for step in path.steps() {
            let Some((inner, place)) = child(node, located, step) else {
                break;
            };
            (node, located) = (inner, place);
        }
        located.at
    }

    /// Where the document begins.
    pub fn start(&self) -> Position {
        self.located.at
    }
}

/// Of a key given twice the last one: it is the one too many.
fn child<'a>(node: &'a Node, located: &'a Located, step: &Step) -> Option<(&'a Node, &'a Located)> {
    let (index, inner) = match (node, step) {
        (Node::Map(entries), Step::Key(key)) => {
            let index = entries.iter().rposition(|(name, _)| name == key)?;
            (index, &entries.get(index)?.1)
        }
        (Node::List(items), Step::Index(index)) => (*index, items.get(*index)?),
        _ => return None,
    };
    Some((inner, located.inner.get(index)?))
}
