//! Maps with fixed keys: the check that a document has the shape that [`schema`](super::schema)
//! declares, and the typed way to what it holds.
//!
//! First the whole document is [checked](Section::check_document) and everything wrong with its
//! keys and values is reported; what can be read afterwards is therefore right, absent, or
//! [`Reported`].

use super::format::{Format, wrong_kind};
use super::path::Place;
use super::problem::{Problems, Reported, Rule, Wrong};
use super::tree::Node;
use std::borrow::Cow;

/// A map of which every key is declared.
pub struct Object {
    /// Its keys.
    pub keys: &'static [&'static dyn Entry],
    /// Whether keys that are not declared are ignored, not refused.
    pub open: bool,
}

/// A declared key of any format.
pub trait Entry: Sync {
    /// The key.
    fn name(&self) -> &'static str;

    /// What it is for, in one sentence.
    #[cfg_attr(
        target_family = "wasm",
        expect(dead_code, reason = "for the JSON Schema")
    )]
    fn meaning(&self) -> &'static str;

    /// What to report if the key is absent, if it must not be.
    fn missing(&self) -> Option<Wrong>;

    /// Reports everything that is wrong with its value.
    fn check(&self, node: &Node, place: &Place<'_>, problems: &mut Problems);

    /// What its value may be, as JSON Schema.
    #[cfg(not(target_family = "wasm"))]
    fn json_schema(&self) -> serde_json::Value;
}

/// A declared key whose value is known to become a certain type.
pub trait Key: Entry {
    /// What reading it gives.
    type Value<'n>;

    /// Takes the value that `node` holds; `None` is an absent one.
    fn take<'n>(&self, node: Option<&'n Node>) -> Result<Self::Value<'n>, Reported>;
}

/// A key that may be absent.
pub struct Optional<F> {
    /// The key.
    pub name: &'static str,
    /// What its value may be.
    pub format: F,
    /// What it is for, in one sentence.
    pub meaning: &'static str,
}

/// A key that must be present.
pub struct Required<F> {
    /// The key.
    pub name: &'static str,
    /// What its value may be.
    pub format: F,
    /// What it is for, in one sentence.
    pub meaning: &'static str,
    /// The numbered rule that demands it, if one does.
    pub rule: Option<Rule>,
}

impl<F: Format> Entry for Optional<F> {
    fn name(&self) -> &'static str {
        self.name
    }

    fn meaning(&self) -> &'static str {
        self.meaning
    }

    fn missing(&self) -> Option<Wrong> {
        None
    }

    fn check(&self, node: &Node, place: &Place<'_>, problems: &mut Problems) {
        self.format.check(node, place, problems);
    }

    #[cfg(not(target_family = "wasm"))]
    fn json_schema(&self) -> serde_json::Value {
        self.format.json_schema()
    }
}

impl<F: Format> Key for Optional<F> {
    type Value<'n> = Option<F::Value<'n>>;

    #[inline(never)]
    fn take<'n>(&self, node: Option<&'n Node>) -> Result<Self::Value<'n>, Reported> {
        node.map(|node| self.format.read(node))
            .transpose()
            .map_err(|_| Reported::by_shape_check())
    }
}

impl<F: Format> Entry for Required<F> {
    fn name(&self) -> &'static str {
        self.name
    }

    fn meaning(&self) -> &'static str {
        self.meaning
    }

    fn missing(&self) -> Option<Wrong> {
        Some(Wrong {
            rule: self.rule,
            text: format!("missing; must be {}", self.format.allowed()),
        })
    }

    fn check(&self, node: &Node, place: &Place<'_>, problems: &mut Problems) {
        self.format.check(node, place, problems);
    }

    #[cfg(not(target_family = "wasm"))]
    fn json_schema(&self) -> serde_json::Value {
        self.format.json_schema()
    }
}

impl<F: Format> Key for Required<F> {
    type Value<'n> = F::Value<'n>;

    #[inline(never)]
    fn take<'n>(&self, node: Option<&'n Node>) -> Result<Self::Value<'n>, Reported> {
        node.and_then(|node| self.format.read(node).ok())
            .ok_or_else(Reported::by_shape_check)
    }
}

/// A map of a document that has been checked.
#[derive(Clone, Copy, Debug)]
pub struct Section<'n>(&'n [(String, Node)]);

impl<'n> Section<'n> {
    /// A map with nothing in it.
    pub const EMPTY: Section<'static> = Section(&[]);

    /// Checks a whole document and gives its root.
    pub(super) fn check_document(
        root: &'n Node,
        object: &Object,
        problems: &mut Problems,
    ) -> Result<Self, Reported> {
        match root {
            Node::Null => {
                check_keys(&[], object.keys, object.open, &Place::Root, problems);
                Ok(Self::EMPTY)
            }
            Node::Map(entries) => {
                check_keys(entries, object.keys, object.open, &Place::Root, problems);
                Ok(Self(entries))
            }
            other => {
                let text = format!("must be a map, not {}", other.kind());
                Err(problems.report(&Place::Root, Wrong::new(text)))
            }
        }
    }

    /// For formats that check maps in their own way.
    pub(super) fn of_checked(entries: &'n [(String, Node)]) -> Self {
        Self(entries)
    }

    /// The value of a key. `null` is absent.
    pub fn get<K: Key>(&self, key: &K) -> Result<K::Value<'n>, Reported> {
        key.take(self.node(key.name()))
    }

    /// Whether a key is there at all, right or wrong.
    pub fn has(&self, key: &impl Key) -> bool {
        self.node(key.name()).is_some()
    }

    #[inline(never)]
    fn node(&self, name: &str) -> Option<&'n Node> {
        self.0
            .iter()
            .find(|(key, node)| key == name && *node != Node::Null)
            .map(|(_, node)| node)
    }
}

/// A map of which every key is declared, as a value.
pub struct Nested(pub &'static Object);

impl Format for Nested {
    type Value<'n> = Section<'n>;

    fn allowed(&self) -> Cow<'static, str> {
        "a map".into()
    }

    fn read<'n>(&self, node: &'n Node) -> Result<Section<'n>, Wrong> {
        match node {
            Node::Map(entries) => Ok(Section(entries)),
            other => Err(wrong_kind(&self.allowed(), other)),
        }
    }

    fn check(&self, node: &Node, place: &Place<'_>, problems: &mut Problems) {
        match self.read(node) {
            Ok(section) => check_keys(section.0, self.0.keys, self.0.open, place, problems),
            Err(wrong) => {
                problems.report(place, wrong);
            }
        }
    }

    #[cfg(not(target_family = "wasm"))]
    fn json_schema(&self) -> serde_json::Value {
        super::json_schema::object(self.0)
    }
}

/// Reports keys that are unknown, given twice or missing, and whatever is wrong with their values.
pub fn check_keys(
    entries: &[(String, Node)],
    keys: &[&dyn Entry],
    open: bool,
    place: &Place<'_>,
    problems: &mut Problems,
) {
    #[derive(Clone, Copy, Default)]
    struct Seen {
        times: u32,
        has_value: bool,
    }
    let mut seen = vec![Seen::default(); keys.len()];
    for (name, node) in entries {
        let place = place.key(name);
        let declared = keys.iter().zip(&mut seen);
        let Some((key, seen)) = declared.into_iter().find(|(key, _)| key.name() == name) else {
            if !open {
                problems.report(&place, unknown_key(name, keys));
            }
            continue;
        };
        seen.times = seen.times.saturating_add(1);
        if seen.times == 2 {
            problems.report(&place, Wrong::new("given twice"));
        }
        if *node != Node::Null {
            seen.has_value = true;
            key.check(node, &place, problems);
        }
    }
    for (key, seen) in keys.iter().zip(&seen) {
        if !seen.has_value
            && let Some(wrong) = key.missing()
        {
            problems.report(&place.key(key.name()), wrong);
        }
    }
}

fn unknown_key(name: &str, keys: &[&dyn Entry]) -> Wrong {
    let names: Vec<_> = keys.iter().map(|key| key.name()).collect();
    let hint = match names.iter().find(|known| is_slip(name, known)) {
        Some(meant) => format!("; did you mean {meant}?"),
        None => String::new(),
    };
    let allowed = match names.as_slice() {
        [] => "no key is allowed here".to_owned(),
        names => format!("allowed here: {}", names.join(", ")),
    };
    Wrong::new(format!("unknown key{hint} ({allowed})"))
}

/// Whether `written` looks like a slip for `meant`: the same letters in another case or with other
/// separators, or one letter added, left out, replaced, or swapped with its neighbour.
pub(super) fn is_slip(written: &str, meant: &str) -> bool {
    if written.len().abs_diff(meant.len()) > 4 {
        return false;
    }
    let letters = |text: &str| -> Vec<u8> {
        text.bytes()
            .filter(|byte| !matches!(byte, b'_' | b'-' | b'.' | b' '))
            .map(|byte| byte.to_ascii_lowercase())
            .collect()
    };
    let (written, meant) = (letters(written), letters(meant));
    let same = written
        .iter()
        .zip(&meant)
        .take_while(|(a, b)| a == b)
        .count();
    let (Some(written), Some(meant)) = (written.get(same..), meant.get(same..)) else {
        return false;
    };
    match (written, meant) {
        ([], []) => true,
        ([_, written @ ..], meant) if written == meant => true,
        (written, [_, meant @ ..]) if written == meant => true,
        ([_, written @ ..], [_, meant @ ..]) if written == meant => true,
        ([a, b, written @ ..], [c, d, meant @ ..]) => a == d && b == c && written == meant,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_is_recognised_and_a_different_word_is_not() {
        for (written, meant, slip) in [
            ("providername", "providerName", true),
            ("provider_name", "providerName", true),
            ("providrName", "providerName", true),
            ("providerNames", "providerName", true),
            ("providerMame", "providerName", true),
            ("provdierName", "providerName", true),
            ("providerN", "providerName", false),
            ("provider", "providerName", false),
            ("token", "tokenUrl", false),
            ("audiences", "audience", true),
            ("", "scope", false),
            ("é", "scope", false),
        ] {
            assert_eq!(is_slip(written, meant), slip, "{written}");
        }
    }
}
