//! Places in a document.

use upstream_inject::config::{Node, Path};

use crate::{get, items};

/// A place in the document, whether there is a value or not.
pub(super) struct Spot<'a> {
    pub node: Option<&'a Node>,
    pub path: Path,
}

impl<'a> Spot<'a> {
    pub(super) fn key(&self, name: &str) -> Spot<'a> {
        Spot {
            node: self.node.and_then(|node| get(node, name)),
            path: self.path.key(name),
        }
    }

    pub(super) fn is_absent(&self) -> bool {
        self.node.is_none()
    }

    pub(super) fn items(&self) -> Vec<Spot<'a>> {
        let Some(node) = self.node else {
            return Vec::new();
        };
        items(node)
            .iter()
            .enumerate()
            .map(|(index, node)| Spot {
                node: Some(node),
                path: self.path.index(index),
            })
            .collect()
    }
}
