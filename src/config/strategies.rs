//! `outgoingAuth.default` and `outgoingAuth.backends`: which strategy, and its own block.

use super::draft::Draft;
use super::format::{Format, one_of, wrong_kind};
use super::path::Place;
use super::problem::{Problems, Reported, Wrong, quoted};
use super::shape::{Entry, Nested, Optional, Section, check_keys, is_slip};
use super::tree::Node;
use crate::decision::Strategy;
use hashbrown::HashSet;
use std::borrow::Cow;

/// A strategy that a configuration can choose. Whoever reads a configuration hands over the list of
/// them: this room knows none.
pub struct StrategyType {
    /// `type`.
    pub(crate) name: &'static str,
    /// What it does, in one sentence.
    pub(crate) meaning: &'static str,
    /// The key of its own settings, if it has any, and what they are.
    pub(crate) block: Option<Optional<Nested>>,
    /// Applies its rules to its block, which has been checked, and makes it. The place is that of
    /// the strategy, not of the block.
    pub(crate) build: Build,
}

pub(crate) type Build =
    fn(&Section<'_>, &Place<'_>, &mut Draft<'_>) -> Result<Box<dyn Strategy>, Reported>;

/// The key that names the strategy.
const TYPE: &str = "type";

/// A strategy: `type`, and the block of settings that belongs to that type.
#[derive(Clone, Copy, Debug)]
pub struct OneStrategy;

/// A strategy whose type is known, and its block; empty for a type that has none.
#[derive(Clone, Copy)]
pub struct Chosen<'n> {
    strategy: &'static StrategyType,
    block: Section<'n>,
}

impl<'n> Chosen<'n> {
    /// The strategy that a map with these entries, which has been checked, is.
    pub(super) fn among(
        registry: &'static [StrategyType],
        entries: &'n [(String, Node)],
    ) -> Result<Self, Reported> {
        let strategy = chosen_type(registry, entries).ok_or_else(Reported::by_shape_check)?;
        let block = match &strategy.block {
            None => Section::EMPTY,
            Some(block) => Section::of_checked(entries)
                .get(block)?
                .ok_or_else(Reported::by_shape_check)?,
        };
        Ok(Self { strategy, block })
    }

    /// Applies the strategy's rules and makes it.
    pub(super) fn build(
        &self,
        place: &Place<'_>,
        draft: &mut Draft<'_>,
    ) -> Result<Box<dyn Strategy>, Reported> {
        (self.strategy.build)(&self.block, place, draft)
    }
}

impl Format for OneStrategy {
    type Value<'n> = &'n [(String, Node)];

    fn allowed(&self) -> Cow<'static, str> {
        "a map".into()
    }

    fn read<'n>(&self, node: &'n Node) -> Result<Self::Value<'n>, Wrong> {
        match node {
            Node::Map(entries) => Ok(entries),
            other => Err(wrong_kind(&self.allowed(), other)),
        }
    }

    fn check(&self, node: &Node, place: &Place<'_>, problems: &mut Problems) {
        let Node::Map(entries) = node else {
            problems.report(place, wrong_kind(&self.allowed(), node));
            return;
        };
        let registry = problems.registry;
        let chosen = chosen_type(registry, entries);
        let blocks: Vec<BlockOf> = registry
            .iter()
            .filter(|strategy| strategy.block.is_some())
            .map(|strategy| BlockOf { strategy, chosen })
            .collect();
        let type_key = TypeKey { registry };
        let mut keys: Vec<&dyn Entry> = vec![&type_key];
        keys.extend(blocks.iter().map(|block| block as &dyn Entry));
        check_keys(entries, &keys, false, place, problems);
    }

    #[cfg(not(target_family = "wasm"))]
    fn json_schema(&self) -> serde_json::Value {
        super::json_schema::strategy()
    }
}

fn chosen_type(
    registry: &'static [StrategyType],
    entries: &[(String, Node)],
) -> Option<&'static StrategyType> {
    let (_, node) = entries
        .iter()
        .find(|(key, node)| key == TYPE && *node != Node::Null)?;
    match node {
        Node::String(name) => registry.iter().find(|strategy| strategy.name == name),
        _ => None,
    }
}

/// `type`.
pub(super) struct TypeKey {
    pub(super) registry: &'static [StrategyType],
}

impl TypeKey {
    fn allowed(&self) -> String {
        one_of(self.registry.iter().map(|strategy| strategy.name))
    }
}

impl Entry for TypeKey {
    fn name(&self) -> &'static str {
        TYPE
    }

    fn meaning(&self) -> &'static str {
        "The strategy."
    }

    fn missing(&self) -> Option<Wrong> {
        Some(Wrong::new(format!("missing; must be {}", self.allowed())))
    }

    fn check(&self, node: &Node, place: &Place<'_>, problems: &mut Problems) {
        let allowed = self.allowed();
        let text = match node {
            Node::String(name) if self.registry.iter().any(|strategy| strategy.name == name) => {
                return;
            }
            Node::String(name) => {
                let slip = self
                    .registry
                    .iter()
                    .find(|strategy| is_slip(name, strategy.name));
                let hint = match slip {
                    Some(meant) => format!("; did you mean {}?", meant.name),
                    None => String::new(),
                };
                format!("unknown type {}{hint} (must be {allowed})", quoted(name))
            }
            other => format!("must be {allowed}, not {}", other.kind()),
        };
        problems.report(place, Wrong::new(text));
    }

    #[cfg(not(target_family = "wasm"))]
    fn json_schema(&self) -> serde_json::Value {
        let names: Vec<_> = self.registry.iter().map(|strategy| strategy.name).collect();
        serde_json::json!({"enum": names})
    }
}

/// The block of one type, seen from a strategy of perhaps another type.
struct BlockOf {
    strategy: &'static StrategyType,
    /// `None` if the type is missing or unknown: then any block is checked, and none is missed.
    chosen: Option<&'static StrategyType>,
}

impl BlockOf {
    fn is_foreign(&self) -> Option<&'static StrategyType> {
        self.chosen
            .filter(|chosen| chosen.name != self.strategy.name)
    }

    fn entry(&self) -> Option<&'static dyn Entry> {
        self.strategy
            .block
            .as_ref()
            .map(|block| block as &dyn Entry)
    }
}

impl Entry for BlockOf {
    fn name(&self) -> &'static str {
        self.entry().map_or("", |entry| entry.name())
    }

    fn meaning(&self) -> &'static str {
        self.strategy.meaning
    }

    fn missing(&self) -> Option<Wrong> {
        let chosen = self.chosen?;
        (chosen.name == self.strategy.name)
            .then(|| Wrong::new(format!("missing; type {} needs it", chosen.name)))
    }

    fn check(&self, node: &Node, place: &Place<'_>, problems: &mut Problems) {
        if let Some(chosen) = self.is_foreign() {
            let text = format!(
                "belongs to type {}, but the type here is {}",
                self.strategy.name, chosen.name
            );
            problems.report(place, Wrong::new(text));
        } else if let Some(entry) = self.entry() {
            entry.check(node, place, problems);
        }
    }

    #[cfg(not(target_family = "wasm"))]
    fn json_schema(&self) -> serde_json::Value {
        self.entry()
            .map_or(serde_json::Value::Bool(false), |entry| entry.json_schema())
    }
}

/// A map from a backend's name to its strategy.
#[derive(Clone, Copy, Debug)]
pub struct Backends;

impl Format for Backends {
    type Value<'n> = &'n [(String, Node)];

    fn allowed(&self) -> Cow<'static, str> {
        "a map from backend names to strategies".into()
    }

    fn read<'n>(&self, node: &'n Node) -> Result<Self::Value<'n>, Wrong> {
        match node {
            Node::Map(entries) => Ok(entries),
            other => Err(wrong_kind(&self.allowed(), other)),
        }
    }

    fn check(&self, node: &Node, place: &Place<'_>, problems: &mut Problems) {
        let entries = match self.read(node) {
            Ok(entries) => entries,
            Err(wrong) => {
                problems.report(place, wrong);
                return;
            }
        };
        let mut names: HashSet<&str, foldhash::fast::FixedState> =
            HashSet::with_capacity_and_hasher(entries.len(), Default::default());
        for (name, node) in entries {
            let place = place.key(name);
            if name.is_empty() {
                problems.report(&place, Wrong::new("a backend's name must not be empty"));
            }
            if !names.insert(name) {
                problems.report(&place, Wrong::new("given twice"));
            }
            if *node != Node::Null {
                OneStrategy.check(node, &place, problems);
            }
        }
    }

    #[cfg(not(target_family = "wasm"))]
    fn json_schema(&self) -> serde_json::Value {
        super::json_schema::backends()
    }
}
