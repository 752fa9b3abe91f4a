//! Positions, kept beside the tree rather than in it.

use std::cell::OnceCell;
use std::collections::HashMap;

use crate::SyntaxError;
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
    /// How a number or a boolean is written, which its value has lost.
    pub(super) written: Option<Box<str>>,
    /// Of a large map: which entry has which key.
    index: OnceCell<HashMap<Box<str>, usize>>,
}

/// Maps with more entries get an index: each finding looks its place up.
const SMALL: usize = 16;

impl Located {
    pub(super) fn new(at: Position, inner: Vec<Located>) -> Self {
        Self {
            at,
            inner,
            written: None,
            index: OnceCell::new(),
        }
    }

    /// The same, said to stand elsewhere.
    pub(super) fn at(self, at: Position) -> Self {
        Self { at, ..self }
    }

    /// Which of `entries` has this key; of one given twice the last: it is the one too many.
    fn entry(&self, entries: &[(String, Node)], key: &str) -> Option<usize> {
        if entries.len() <= SMALL {
            return entries.iter().rposition(|(name, _)| name == key);
        }
        let index = self.index.get_or_init(|| {
            let names = entries.iter().enumerate();
            names
                .map(|(index, (name, _))| (name.as_str().into(), index))
                .collect()
        });
        index.get(key).copied()
    }

    fn placed(self, block: &Block) -> Self {
        let inner = self.inner.into_iter().map(|inner| inner.placed(block));
        Self {
            written: self.written,
            ..Self::new(block.place(self.at), inner.collect())
        }
    }

    pub(super) fn leaf(at: Position) -> Self {
        Self::new(at, Vec::new())
    }

    /// A scalar that is written without quotes.
    pub(super) fn plain(at: Position, node: &Node, written: &str) -> Self {
        let has_lost_it = matches!(node, Node::Number(_) | Node::Bool(_));
        Self {
            written: has_lost_it.then(|| written.into()),
            ..Self::leaf(at)
        }
    }
}

/// One document of a file.
#[derive(Clone, Debug)]
pub struct Document {
    /// What it holds.
    pub root: Node,
    located: Located,
    /// What other readers of YAML, Envoy's first, take for something else.
    pub doubts: Vec<Doubt>,
}

/// A value that Envoy's own reader takes for something else.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Doubt {
    /// Where.
    pub at: Position,
    /// What it is there, and what to write.
    pub text: &'static str,
}

impl Document {
    pub(super) fn new(root: Node, located: Located) -> Self {
        Self {
            root,
            located,
            doubts: Vec::new(),
        }
    }

    pub(super) fn doubted(self, doubts: Vec<Doubt>) -> Self {
        Self { doubts, ..self }
    }

    /// Where the value at `path` stands, or the innermost value around it that does exist: that
    /// is where a missing key would have to be added.
    pub fn position(&self, path: &Path) -> Position {
        match place(&self.root, &self.located, path.steps()) {
            Ok(there) => there.at,
            Err(around) => around.at,
        }
    }

    /// The same, as it stands in a larger file.
    pub(super) fn placed(self, block: &Block) -> Self {
        Self::new(self.root, self.located.placed(block))
    }

    /// Settles what is in the document by how it is written.
    pub(super) fn settle(&mut self, settle: impl FnOnce(&mut Node, &Located)) {
        settle(&mut self.root, &self.located);
    }

    /// Puts a value at `path`; one that is there gives way.
    pub(super) fn put(&mut self, path: &[&str], value: Node, place: Located) {
        put(&mut self.root, &mut self.located, path, value, place);
    }

    /// The value at `path`, and where it and all in it stand.
    pub(super) fn part(&self, path: &Path) -> Option<(Node, Located)> {
        let (mut node, mut located) = (&self.root, &self.located);
        for step in path.steps() {
            (node, located) = child(node, located, step)?;
        }
        Some((node.clone(), located.clone()))
    }

    /// The value at `path` as a document of its own, in its places.
    #[must_use]
    pub fn inner(&self, path: &Path) -> Option<Self> {
        let (root, located) = self.part(path)?;
        Some(Self::new(root, located))
    }

    /// The text at `path` as a document of its own; `source` is the file that it stands in.
    ///
    /// # Errors
    /// If there is no text, or it is no single document.
    pub fn embedded(&self, source: &str, path: &Path) -> Result<Self, SyntaxError> {
        let at = self.position(path);
        let block = Block::at(source, at);
        let text = match self.part(path) {
            Some((Node::String(text), _)) => text,
            _ => return Err(SyntaxError::new(at, "not a text")),
        };
        let mut documents = crate::parse(text.as_bytes()).map_err(|error| SyntaxError {
            at: error.at.map(|inner| block.place(inner)),
            text: error.text,
        })?;
        match (documents.pop(), documents.is_empty()) {
            (Some(document), true) => Ok(document.placed(&block)),
            _ => Err(SyntaxError::new(at, "several documents")),
        }
    }

    /// Where the document begins.
    pub fn start(&self) -> Position {
        self.located.at
    }
}

/// Maps on the way are made where there are none.
fn put(node: &mut Node, located: &mut Located, path: &[&str], value: Node, place: Located) {
    let Some((key, rest)) = path.split_first() else {
        (*node, *located) = (value, place);
        return;
    };
    if !matches!(node, Node::Map(_)) {
        *node = Node::Map(Vec::new());
        *located = Located::leaf(located.at);
    }
    let Node::Map(entries) = node else { return };
    let index = match located.entry(entries, key) {
        Some(index) => index,
        None => {
            entries.push(((*key).to_owned(), Node::Null));
            located.inner.push(Located::leaf(place.at));
            located.index.take();
            entries.len().saturating_sub(1)
        }
    };
    if let (Some((_, node)), Some(located)) = (entries.get_mut(index), located.inner.get_mut(index))
    {
        put(node, located, rest, value, place);
    }
}

/// Where the value at `steps` stands; the error is the innermost one around it that is there. Of a key
/// given twice the last counts, unless only an earlier one has what is looked for.
fn place<'a>(
    node: &'a Node,
    located: &'a Located,
    steps: &[Step],
) -> Result<&'a Located, &'a Located> {
    let Some((step, rest)) = steps.split_first() else {
        return Ok(located);
    };
    let Some((inner, at)) = child(node, located, step) else {
        return Err(located);
    };
    let found = place(inner, at, rest);
    let (Err(_), Node::Map(entries), Step::Key(key)) = (found, node, step) else {
        return found;
    };
    // In a large map that would take each finding its time.
    if entries.len() > SMALL {
        return found;
    }
    let twins = entries.iter().zip(&located.inner).rev();
    let mut earlier = twins.filter(|((name, _), _)| name == key).skip(1);
    earlier
        .find_map(|((_, inner), at)| place(inner, at, rest).ok())
        .map_or(found, Ok)
}

fn child<'a>(node: &'a Node, located: &'a Located, step: &Step) -> Option<(&'a Node, &'a Located)> {
    let (index, inner) = match (node, step) {
        (Node::Map(entries), Step::Key(key)) => {
            let index = located.entry(entries, key)?;
            (index, &entries.get(index)?.1)
        }
        (Node::List(items), Step::Index(index)) => (*index, items.get(*index)?),
        _ => return None,
    };
    Some((inner, located.inner.get(index)?))
}

/// Where a text that stands in a file as one value has its lines.
pub(super) struct Block {
    key: Position,
    /// The columns before each of its lines, if it is a literal block.
    indent: Option<usize>,
}

impl Block {
    /// The value whose key stands at `key`.
    pub(super) fn at(source: &str, key: Position) -> Self {
        let mut lines = source.lines().skip(key.line.saturating_sub(1));
        let head = lines.next().unwrap_or_default();
        let head = head.split(" #").next().unwrap_or_default().trim_end();
        let head = head.trim_end_matches(['-', '+']);
        let is_literal = head.ends_with('|');
        let indent = lines
            .find(|line| !line.trim().is_empty())
            .map(|line| line.len().saturating_sub(line.trim_start().len()));
        Self {
            key,
            indent: indent.filter(|_| is_literal),
        }
    }

    pub(super) fn place(&self, inner: Position) -> Position {
        match self.indent {
            Some(indent) => Position {
                line: self.key.line.saturating_add(inner.line),
                column: inner.column.saturating_add(indent),
            },
            None => self.key,
        }
    }
}
