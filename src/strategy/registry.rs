//! The list of strategies.

use crate::config::StrategyType;

/// Every strategy that a configuration can choose.
pub static REGISTRY: &[StrategyType] = &[
    super::upstream_inject::TYPE,
    super::token_exchange::TYPE,
    super::obo::TYPE,
    super::xaa::TYPE,
    super::header_injection::TYPE,
    super::unauthenticated::TYPE,
];
