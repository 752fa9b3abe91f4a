//! A part of an Envoy configuration, and where it is.
//!
//! Protobuf's JSON has each key in two spellings, `http_filters` as in YAML and `httpFilters` as what
//! control planes print, and Envoy reads either. Here the first stands for both.

use document::{entries, items};
use upstream_inject::config::{Node, Path};

/// A part of the configuration, and where it is.
#[derive(Clone)]
pub(super) struct Part<'a> {
    pub(super) node: &'a Node,
    pub(super) path: Path,
}

impl<'a> Part<'a> {
    /// The value of `key`, however that is spelt; `null` counts as absent.
    pub(super) fn get(&self, key: &str) -> Option<Part<'a>> {
        let (written, node) = entries(self.node)
            .iter()
            .find(|(name, value)| is_key(name, key) && !matches!(value, Node::Null))?;
        let path = self.path.key(written);
        Some(Part { node, path })
    }

    /// Where the value of `key` is, or would be.
    pub(super) fn path_of(&self, key: &str) -> Path {
        self.get(key)
            .map_or_else(|| self.path.key(key), |part| part.path)
    }

    pub(super) fn at(&self, keys: &[&str]) -> Option<Part<'a>> {
        keys.iter()
            .try_fold(self.clone(), |part, key| part.get(key))
    }

    pub(super) fn text(&self, key: &str) -> Option<&'a str> {
        match self.get(key)?.node {
            Node::String(text) => Some(text),
            _ => None,
        }
    }

    /// Whether `key` is true.
    pub(super) fn is_on(&self, key: &str) -> bool {
        self.get(key)
            .is_some_and(|part| part.node == &Node::Bool(true))
    }

    pub(super) fn items(&self) -> Vec<Part<'a>> {
        items(self.node)
            .iter()
            .enumerate()
            .map(|(index, node)| Part {
                node,
                path: self.path.index(index),
            })
            .collect()
    }

    pub(super) fn list(&self, key: &str) -> Vec<Part<'a>> {
        self.get(key).map(|part| part.items()).unwrap_or_default()
    }

    pub(super) fn entries(&self) -> Vec<(&'a str, Part<'a>)> {
        entries(self.node)
            .iter()
            .map(|(key, node)| {
                let path = self.path.key(key);
                (key.as_str(), Part { node, path })
            })
            .collect()
    }

    /// Whether it is a message of this type.
    pub(super) fn is(&self, name: &str) -> bool {
        self.text("@type")
            .is_some_and(|kind| kind.rsplit(['.', '/']).next() == Some(name))
    }

    /// Calls `visit` for this part and every map in it.
    pub(super) fn walk(&self, visit: &mut dyn FnMut(&Part<'a>)) {
        match self.node {
            Node::Map(_) => {
                visit(self);
                for (_, part) in self.entries() {
                    part.walk(visit);
                }
            }
            Node::List(_) => {
                for part in self.items() {
                    part.walk(visit);
                }
            }
            _ => {}
        }
    }

    /// Whether a text in it fits.
    pub(super) fn any_text(&self, fits: &dyn Fn(&str) -> bool) -> bool {
        match self.node {
            Node::String(text) => fits(text),
            Node::Map(_) => self.entries().iter().any(|(_, part)| part.any_text(fits)),
            Node::List(_) => self.items().iter().any(|part| part.any_text(fits)),
            _ => false,
        }
    }
}

/// Whether a key that is `written` somewhere is this one, in either spelling.
pub(super) fn is_key(written: &str, key: &str) -> bool {
    if written == key {
        return true;
    }
    let mut written = written.chars();
    let mut is_after = false;
    for character in key.chars() {
        if character == '_' {
            is_after = true;
            continue;
        }
        let expected = match is_after {
            true => character.to_ascii_uppercase(),
            false => character,
        };
        is_after = false;
        if written.next() != Some(expected) {
            return false;
        }
    }
    written.next().is_none()
}

#[cfg(test)]
mod tests {
    use super::is_key;

    #[test]
    fn a_key_has_two_spellings() {
        for (written, key, is_it) in [
            ("http_filters", "http_filters", true),
            ("httpFilters", "http_filters", true),
            ("upstreamHttpFilters", "upstream_http_filters", true),
            ("name", "name", true),
            ("@type", "@type", true),
            ("httpfilters", "http_filters", false),
            ("http_Filters", "http_filters", false),
            ("httpFilter", "http_filters", false),
            ("httpFiltersToo", "http_filters", false),
            ("http_filters", "httpFilters", false),
        ] {
            assert_eq!(is_key(written, key), is_it, "{written} for {key}");
        }
    }
}
