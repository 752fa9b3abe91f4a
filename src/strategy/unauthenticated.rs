//! `unauthenticated`: an open backend gets no credential.

use super::{Strategy, StrategyType};

/// Has no settings.
#[derive(Debug)]
pub struct Unauthenticated;

impl Strategy for Unauthenticated {}

/// `unauthenticated` in a configuration.
pub(super) const TYPE: StrategyType = StrategyType {
    name: "unauthenticated",
    meaning: "An open backend gets no credential.",
    block: None,
    build: |_, _, _| Ok(Box::new(Unauthenticated)),
};
