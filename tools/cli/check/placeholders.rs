//! Values that were to be filled in, and values that are not what somebody meant: placeholders, and
//! `authorization` headers without a scheme, or with two.

use super::said::Notes;
use crate::codes;
use document::{entries, get, get_text, items};
use upstream_inject::config::{Node, Path};

/// Warns of every placeholder in the filter's part. The value itself is not repeated: what stands
/// beside the placeholder may be a secret.
pub(super) fn on(root: &Node, notes: &mut Notes) {
    for key in ["outgoingAuth", "identity", "challenge"] {
        if let Some(node) = get(root, key) {
            walk(node, &Path::root().key(key), notes);
        }
    }
}

fn walk(node: &Node, path: &Path, notes: &mut Notes) {
    match node {
        Node::String(text) => {
            if let Some(kind) = placeholder(text) {
                let text = format!(
                    "a placeholder ({kind}) is left in the value, and will be sent as it stands"
                );
                notes.warn(&codes::PLACEHOLDER, path.clone(), text);
            }
        }
        Node::Map(_) => {
            for (key, value) in entries(node) {
                let path = path.key(key);
                if let Some(kind) = placeholder(key) {
                    let text = format!("a placeholder ({kind}) is left in the name");
                    notes.warn(&codes::PLACEHOLDER, path.clone(), text);
                }
                walk(value, &path, notes);
            }
        }
        Node::List(_) => {
            for (index, item) in items(node).iter().enumerate() {
                walk(item, &path.index(index), notes);
            }
        }
        Node::Null | Node::Bool(_) | Node::Number(_) => {}
    }
}

/// Which kind of placeholder is in `text`.
pub(super) fn placeholder(text: &str) -> Option<&'static str> {
    if !text.contains(['$', '{', '<']) {
        return None; // nearly every value
    }
    let between = |open: &str, close: char, fits: fn(&str) -> bool| {
        text.match_indices(open).any(|(at, _)| {
            let inner = text
                .get(at.saturating_add(open.len())..)
                .unwrap_or_default();
            inner
                .split_once(close)
                .is_some_and(|(inner, _)| !inner.is_empty() && fits(inner))
        })
    };
    let is_word = |inner: &str| {
        inner
            .chars()
            .all(|character| character.is_alphanumeric() || "_- .:".contains(character))
    };
    if between("${", '}', |_| true) {
        Some("${…}")
    } else if between("$(", ')', |_| true) {
        Some("$(…)")
    } else if between("{{", '}', |_| true) {
        Some("{{…}}")
    } else if between("<", '>', is_word) {
        Some("<…>")
    } else {
        None
    }
}

/// A value for `authorization` that servers will not take for a credential.
pub(super) fn on_scheme(path: &Path, strategy: &Node, notes: &mut Notes) {
    let Some(block) = get(strategy, "headerInjection") else {
        return;
    };
    let is_authorization = get_text(block, "headerName")
        .is_some_and(|name| name.eq_ignore_ascii_case("authorization"));
    let Some(value) = get_text(block, "headerValue").filter(|_| is_authorization) else {
        return;
    };
    let mut words = value.split_ascii_whitespace();
    let (first, second, third) = (words.next(), words.next(), words.next());
    let is_scheme = |word: Option<&str>| {
        word.is_some_and(|word| {
            ["bearer", "basic", "token", "apikey", "digest"]
                .iter()
                .any(|scheme| word.eq_ignore_ascii_case(scheme))
        })
    };
    let text = if first.is_some() && second.is_none() {
        "is sent as it stands, without a scheme: Bearer (or another one), a space, the credential"
    } else if is_scheme(first) && is_scheme(second) && third.is_some() {
        "has two schemes; one of them must go"
    } else {
        return;
    };
    let path = path.key("headerInjection").key("headerValue");
    notes.warn(&codes::SCHEME, path, text);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn placeholders_are_told_from_values() {
        for (text, expected) in [
            ("Bearer ${TOKEN}", Some("${…}")),
            ("$(KEY)", Some("$(…)")),
            ("{{ .Values.key }}", Some("{{…}}")),
            ("https://<your-tenant>/token", Some("<…>")),
            ("a<b", None),
            ("a<b=c>d", None),
            ("$5", None),
            ("${}", None),
            ("{a}", None),
            ("%REQ(x)%", None),
        ] {
            assert_eq!(placeholder(text), expected, "{text}");
        }
    }
}
