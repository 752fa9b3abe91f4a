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
