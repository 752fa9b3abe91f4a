//! One block of a resource's spec, read field by field: what is asked for is checked, and what is
//! never asked for is unknown.

use document::{entries, get, items};
use std::cell::{Cell, RefCell};
use std::collections::HashSet;
use upstream_inject::config::{Node, Path, is_slip};

/// A reference to one key of a Kubernetes Secret.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct SecretKey {
    pub(super) name: String,
    pub(super) key: String,
}

/// What is wrong with a spec, each with its path from the resource.
pub(super) type Wrongs = Vec<(Path, String)>;

const REQUIRED: &str = "is required";

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

    /// Leaves the fields alone that nobody asks for, unless one looks like a slip for one of them.
    pub(super) fn open(self) -> Self {
        self.is_open.set(true);
        self
    }

    /// Where it stands.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Where a field stands.
    pub(super) fn at(&self, key: &str) -> Path {
        self.path.key(key)
    }

    /// Whether a field is there.
    pub(super) fn has(&self, key: &'static str) -> bool {
        self.get(key).is_some()
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
            None => self.wrong(key, REQUIRED.to_owned()),
            Some(Node::String(text)) if text.is_empty() => {
                self.wrong(key, "must not be empty".to_owned());
            }
            Some(_) => {}
        }
        text
    }

    /// Whether a field is `true`.
    pub(super) fn is_true(&self, key: &'static str) -> bool {
        match self.get(key) {
            None => false,
            Some(Node::Bool(value)) => *value,
            Some(other) => {
                self.wrong(key, format!("is {}, not true or false", other.kind()));
                false
            }
        }
    }

    /// A port.
    pub(super) fn port(&self, key: &'static str) -> Option<u16> {
        match self.get(key)? {
            #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // in range, whole
            Node::Number(number) if number.fract() == 0.0 && (1.0..=65535.0).contains(number) => {
                Some(*number as u16)
            }
            _ => {
                self.wrong(key, "is not a port (1 to 65535)".to_owned());
                None
            }
        }
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

    /// A map in here, as a block of its own.
    pub(super) fn block(&self, key: &'static str) -> Option<Block<'a>> {
        Some(Block::new(self.get(key)?, self.path.key(key)))
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

    /// The maps of a map, each as a block of its own.
    pub(super) fn named_blocks(&self, key: &'static str) -> Vec<(&'a str, Block<'a>)> {
        let path = self.path.key(key);
        self.get(key)
            .map(entries)
            .unwrap_or_default()
            .iter()
            .map(|(name, item)| (name.as_str(), Block::new(item, path.key(name))))
            .collect()
    }

    /// The keys of a map.
    pub(super) fn keys(&self, key: &'static str) -> Vec<&'a str> {
        let inner = self.get(key).map(entries).unwrap_or_default();
        inner.iter().map(|(name, _)| name.as_str()).collect()
    }

    /// The name in a reference, `{name: …}`. Early versions had some of them as mere texts.
    pub(super) fn reference(&self, key: &'static str) -> Option<&'a str> {
        if let Node::String(name) = self.get(key)? {
            return Some(name.as_str()).filter(|name| !name.is_empty());
        }
        let block = self.block(key)?.open();
        let name = block.required_text("name");
        self.take(block);
        name
    }

    /// A reference to a Secret's key.
    pub(super) fn secret_key(&self, key: &'static str) -> Option<SecretKey> {
        let block = Block::new(self.get(key)?, self.path.key(key));
        let (name, secret_key) = (block.required_text("name"), block.required_text("key"));
        let found = name.zip(secret_key).map(|(name, key)| SecretKey {
            name: name.to_owned(),
            key: key.to_owned(),
        });
        self.take(block);
        found
    }

    /// The same, and it must be there.
    pub(super) fn required_secret_key(&self, key: &'static str) -> Option<SecretKey> {
        if self.get(key).is_none() {
            self.wrong(key, REQUIRED.to_owned());
        }
        self.secret_key(key)
    }

    /// Reports a field whose value does not do.
    pub(super) fn wrong(&self, key: &'static str, text: String) {
        self.wrongs.borrow_mut().push((self.path.key(key), text));
    }

    /// What is wrong with a block in here is wrong in here.
    pub(super) fn take(&self, inner: Block<'_>) {
        self.wrongs.borrow_mut().extend(inner.finish());
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
        let mut asked: Vec<_> = self.asked.into_inner().into_iter().collect();
        asked.sort_unstable();
        let mut wrongs = self.wrongs.into_inner();
        for (key, _) in entries(self.node) {
            if asked.contains(&key.as_str()) {
                continue;
            }
            let meant = meant(key, asked.iter().copied());
            if let Some(meant) = meant {
                // One line for one slip.
                let path = self.path.key(meant);
                wrongs.retain(|(at, text)| *at != path || text != REQUIRED);
            }
            if !self.is_open.get() || meant.is_some() {
                wrongs.push((self.path.key(key), unknown_field(meant)));
            }
        }
        wrongs
    }
}

/// The known name that `written` looks like a slip for.
pub(super) fn meant<'a>(
    written: &str,
    known: impl IntoIterator<Item = &'a str>,
) -> Option<&'a str> {
    known.into_iter().find(|known| is_slip(written, known))
}

/// What is said of a field that the operator's API does not have.
pub(super) fn unknown_field(meant: Option<&str>) -> String {
    match meant {
        Some(meant) => format!("an unknown field; did you mean {meant}?"),
        None => "an unknown field".to_owned(),
    }
}
