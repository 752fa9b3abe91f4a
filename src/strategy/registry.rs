//! The list of strategies.

use super::{header_injection, obo, token_exchange, unauthenticated, upstream_inject, xaa};
use crate::config::StrategyType;

/// Every strategy that a configuration can choose.
pub static REGISTRY: &[StrategyType] = &[
    upstream_inject::TYPE,
    token_exchange::TYPE,
    obo::TYPE,
    xaa::TYPE,
    header_injection::TYPE,
    unauthenticated::TYPE,
];
