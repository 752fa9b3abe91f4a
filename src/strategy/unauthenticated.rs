//! `unauthenticated`: an open backend gets no credential.

use crate::config::StrategyType;
use crate::decision::{Credential, Decision, Request, Strategy};
use crate::observe::counters::Outcome;

/// Has no settings.
#[derive(Debug)]
pub(crate) struct Unauthenticated;

impl Strategy for Unauthenticated {
    fn decide<'a>(&'a self, _request: &Request<'_>) -> Decision<'a> {
        Decision::Forward(Credential::None, Outcome::Unauthenticated)
    }
}

/// `unauthenticated` in a configuration.
pub(super) const TYPE: StrategyType = StrategyType::new("unauthenticated", None, |_, _| {
    Ok(Box::new(Unauthenticated))
});
