//! The list of strategies, and what the configuration needs to know of each.

use super::{header_injection, obo, token_exchange, unauthenticated, upstream_inject, xaa};
use crate::config::draft::Draft;
use crate::config::path::Place;
use crate::config::problem::Reported;
use crate::config::shape::{Nested, Optional, Section};
use crate::decision::Strategy;

/// Every strategy that a configuration can choose.
pub(crate) static REGISTRY: &[StrategyType] = &[
    upstream_inject::TYPE,
    token_exchange::TYPE,
    obo::TYPE,
    xaa::TYPE,
    header_injection::TYPE,
    unauthenticated::TYPE,
];

/// A strategy, as the configuration sees it.
pub(crate) struct StrategyType {
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
