//! How requests to one backend are authenticated: one strategy, one file.

mod header_injection;
mod registry;
mod token_exchange;
mod unauthenticated;
mod upstream_inject;

pub use header_injection::HeaderInjection;
pub(crate) use registry::{REGISTRY, StrategyType};
pub use token_exchange::{Subject, TokenExchange};
pub use unauthenticated::Unauthenticated;
pub use upstream_inject::UpstreamInject;

use crate::decision::{Decision, Request};
use std::fmt;

/// What a strategy must be able to do.
pub trait Strategy: fmt::Debug {
    /// Decides on a request to the strategy's backend.
    fn decide<'a>(&'a self, request: &Request<'_>) -> Decision<'a>;

    /// The provider that the strategy names, if it names one: refusals and log lines name it too.
    fn provider(&self) -> Option<&str> {
        None
    }
}
