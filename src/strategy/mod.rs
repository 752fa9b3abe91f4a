//! How requests to one backend are authenticated: one strategy, one file.

mod header_injection;
mod obo;
mod registry;
mod subject;
mod token_exchange;
mod unauthenticated;
mod upstream_inject;
mod xaa;

pub use header_injection::HeaderInjection;
pub use obo::OnBehalfOf;
pub use registry::REGISTRY;
pub use subject::Subject;
pub use token_exchange::TokenExchange;
pub use unauthenticated::Unauthenticated;
pub use upstream_inject::UpstreamInject;
pub use xaa::CrossAppAccess;
