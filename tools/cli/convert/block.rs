//! One block of a resource's spec, read field by field: what is asked for is checked, and what is
//! never asked for is unknown.

use document::{entries, get, items};
use std::cell::{Cell, RefCell};
use std::collections::HashSet;
use upstream_inject::config::{Node, Path};

/// A reference to one key of a Kubernetes Secret.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct SecretKey {
    pub(super) name: String,
    pub(super) key: String,
}

/// What is wrong with a spec, each with its path from the resource.
pub(super) type Wrongs = Vec<(Path, String)>;

/// A map whose fields are known.
pub(super) struct Block<'a> {
    node: &'a Node,
    path: Path,
    asked: RefCell<HashSet<&'static str>>,
    wrongs: RefCell<Wrongs>,
    /// Fields other than those asked for are left alone.
    is_open: Cell<bool>,
}

impl<'a> Block<'a> {
    /// The block `node` at `path`.
    pub(super) fn new(node: &'a Node, path: Path) -> Self {
        let block = Self {
            node,
            path,
            asked: RefCell::default(),
            wrongs: RefCell::default(),
            is_open: Cell::new(false),
        };
        if !matches!(node, Node::Map(_)) {
            block.wrong_here(format!("is {}, not a map", node.kind()));
        }
        block
    }

    /// Leaves the fields alone that nobody asks for.
    pub(super) fn open(self) -> Self {
        self.is_open.set(true);
        self
    }

    /// A text that may be missing. The operator's types make no difference between missing and
    /// empty.
    pub(super) fn text(&self, key: &'static str) -> Option<&'a str> {
        match self.get(key)? {
            Node::String(text) => Some(text.as_str()).filter(|text| !text.is_empty()),
            other => {
                self.wrong(key, format!("is {}, not a string", other.kind()));
                None
            }
        }
    }

    /// A text that must be there; empty is not there.
    pub(super) fn required_text(&self, key: &'static str) -> Option<&'a str> {
        let text = self.text(key);
        match self.get(key) {
            None => self.wrong(key, "is required".to_owned()),
            Some(Node::String(text)) if text.is_empty() => {
                self.wrong(key, "must not be empty".to_owned());
            }
            Some(_) => {}
        }
        text
    }

    /// A list of texts, empty if it is missing.
    pub(super) fn texts(&self, key: &'static str) -> Vec<&'a str> {
        let Some(list) = self.get(key) else {
            return Vec::new();
        };
        if !matches!(list, Node::List(_)) {
            self.wrong(key, format!("is {}, not a list", list.kind()));
        }
        items(list)
            .iter()
            .filter_map(|item| match item {
                Node::String(text) => Some(text.as_str()),
                other => {
                    self.wrong(key, format!("holds {}, not only strings", other.kind()));
                    None
                }
            })
            .collect()
    }

    /// The maps of a list, each as a block of its own.
    pub(super) fn blocks(&self, key: &'static str) -> Vec<Block<'a>> {
        let path = self.path.key(key);
        self.get(key)
            .map(items)
            .unwrap_or_default()
            .iter()
            .enumerate()
            .map(|(index, item)| Block::new(item, path.index(index)))
            .collect()
    }

    /// A reference to a Secret's key.
    pub(super) fn secret_key(&self, key: &'static str) -> Option<SecretKey> {
        let block = Block::new(self.get(key)?, self.path.key(key));
        let (name, secret_key) = (block.required_text("name"), block.required_text("key"));
        let found = name.zip(secret_key).map(|(name, key)| SecretKey {
            name: name.to_owned(),
            key: key.to_owned(),
        });
        self.wrongs.borrow_mut().extend(block.finish());
        found
    }

    /// The same, and it must be there.
    pub(super) fn required_secret_key(&self, key: &'static str) -> Option<SecretKey> {
        if self.get(key).is_none() {
            self.wrong(key, "is required".to_owned());
        }
        self.secret_key(key)
    }

    /// Reports a field whose value does not do.
    pub(super) fn wrong(&self, key: &'static str, text: String) {
        self.wrongs.borrow_mut().push((self.path.key(key), text));
    }

    fn wrong_here(&self, text: String) {
        self.wrongs.borrow_mut().push((self.path.clone(), text));
    }

    fn get(&self, key: &'static str) -> Option<&'a Node> {
        self.asked.borrow_mut().insert(key);
        get(self.node, key)
    }

    /// Everything wrong with the block, unknown fields included: an API server would drop them,
    /// and with them what the author meant.
    pub(super) fn finish(self) -> Wrongs {
        let asked = self.asked.into_inner();
        let mut wrongs = self.wrongs.into_inner();
        if self.is_open.get() {
            return wrongs;
        }
        for (key, _) in entries(self.node) {
            if !asked.contains(key.as_str()) {
                wrongs.push((self.path.key(key), "an unknown field".to_owned()));
            }
        }
        wrongs
    }
}
