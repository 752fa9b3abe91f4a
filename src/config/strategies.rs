//! `outgoingAuth.default` and `outgoingAuth.backends`: which strategy, and its own block.

#[cfg(not(target_family = "wasm"))]
use super::doc::Doc;
use super::draft::Draft;
use super::format::one_of;
use super::problem::{Reported, Wrong, is_slip, quoted};
#[cfg(not(target_family = "wasm"))]
use super::section::Described;
use super::section::{At, Entry, Format, Kind, Nested, Optional, Reading, Section, Shape};
use super::tree::Node;
use crate::decision::Strategy;
use std::borrow::Cow;
use std::iter;

/// A strategy that a configuration can choose. Whoever reads a configuration hands over the list of
/// them: this room knows none.
pub struct StrategyType {
    pub(crate) kind: Kind,
    /// Makes it of its block, of which every key is read once; a problem of the strategy as a whole
    /// is the section's [above](Section::error_above).
    pub(crate) build: Build,
}

pub(crate) type Build = fn(&Section<'_>, &mut Draft<'_>) -> Result<Box<dyn Strategy>, Reported>;

impl StrategyType {
    /// The strategy `name`, the key of its own settings, if it has any, and how it is made of them.
    pub(crate) const fn new(
        name: &'static str,
        block: Option<Optional<Nested>>,
        build: Build,
    ) -> Self {
        let kind = Kind { name, block };
        Self { kind, build }
    }
}

/// What is known of the strategies while a document is read.
pub(super) fn kinds(registry: &'static [StrategyType]) -> Vec<&'static Kind> {
    registry.iter().map(|strategy| &strategy.kind).collect()
}

/// The keys of a strategy of any kind.
pub(super) fn keys(registry: &'static [StrategyType]) -> Vec<&'static dyn Entry> {
    let blocks = registry.iter().filter_map(|it| it.kind.block.as_ref());
    let blocks = blocks.map(|block| block as &dyn Entry);
    iter::once(&TypeKey as &dyn Entry).chain(blocks).collect()
}

/// A strategy: `type`, and the block of settings that belongs to that type.
#[derive(Clone, Copy, Debug)]
pub(super) struct OneStrategy;

/// A strategy whose type is known, and its block; empty for a type that has none.
pub(super) struct Chosen<'n> {
    index: usize,
    block: Section<'n>,
}

impl Chosen<'_> {
    /// Applies the rules of the strategy, one of `registry`, and makes it.
    pub(super) fn build(
        &self,
        registry: &[StrategyType],
        draft: &mut Draft<'_>,
    ) -> Result<Box<dyn Strategy>, Reported> {
        match registry.get(self.index) {
            Some(strategy) => (strategy.build)(&self.block, draft),
            None => Err(self.block.error_above(Wrong::new("no such strategy"))),
        }
    }
}

impl Format for OneStrategy {
    type Value<'n> = Chosen<'n>;

    fn allowed(&self) -> Cow<'static, str> {
        "a map".into()
    }

    fn shape(&self) -> Shape {
        Shape::Strategy
    }

    fn read<'n>(&self, node: &'n Node, at: &At<'n>) -> Result<Chosen<'n>, Reported> {
        let Node::Map(entries) = node else {
            return Err(at.error(Wrong::kind("a map", node)));
        };
        let map = |entries, keys| Section::new(entries, keys, false, at.clone());
        let section = map(entries, at.reading().keys_of_kinds);
        // Without a known type no block is missing or foreign.
        let (index, kind) = TypeKey::take(&section)?;
        let others = at.reading().kinds.iter();
        for other in others.filter(|other| other.name != kind.name) {
            if let Some(block) = &other.block {
                let (its, ours) = (other.name, kind.name);
                let text = format!("belongs to type {its}, but the type here is {ours}");
                section.refuse(block, &text);
            }
        }
        let block = match &kind.block {
            None => map(&[], &[]),
            Some(key) => section.get(key)?.ok_or_else(|| {
                let text = format!("missing; type {} needs it", kind.name);
                section.error(key, Wrong::new(text))
            })?,
        };
        Ok(Chosen { index, block })
    }
}

/// `type`.
pub(super) struct TypeKey;

impl TypeKey {
    fn take<'n>(section: &Section<'n>) -> Result<(usize, &'n Kind), Reported> {
        let node = section.claim("type").ok_or_else(|| section.miss(&Self))?;
        Self::read(node, &section.at(&Self))
    }

    fn allowed(reading: &Reading<'_>) -> String {
        one_of(reading.kinds.iter().map(|kind| kind.name))
    }

    fn read<'n>(node: &Node, at: &At<'n>) -> Result<(usize, &'n Kind), Reported> {
        let reading = at.reading();
        let kinds = || reading.kinds.iter().copied();
        let allowed = || Self::allowed(reading);
        let wrong = match node {
            Node::String(name) => {
                if let Some(known) = kinds().enumerate().find(|(_, kind)| kind.name == name) {
                    return Ok(known);
                }
                let hint = match kinds().find(|kind| is_slip(name, kind.name)) {
                    Some(meant) => format!("; did you mean {}?", meant.name),
                    None => String::new(),
                };
                let name = quoted(name);
                Wrong::new(format!("unknown type {name}{hint} (must be {})", allowed()))
            }
            other => Wrong::kind(&allowed(), other),
        };
        Err(at.error(wrong))
    }
}

impl Entry for TypeKey {
    fn name(&self) -> &'static str {
        "type"
    }

    #[cfg(not(target_family = "wasm"))]
    fn described(&self) -> Described {
        Described {
            name: "type",
            doc: Doc::new("The strategy."),
            default: None,
            required: true,
            shape: Shape::Text(""),
        }
    }

    fn missing(&self, reading: &Reading<'_>) -> Option<Wrong> {
        let text = format!("missing; must be {}", Self::allowed(reading));
        Some(Wrong::new(text))
    }

    fn check<'n>(&self, node: &'n Node, at: &At<'n>) {
        let _ = Self::read(node, at);
    }
}
