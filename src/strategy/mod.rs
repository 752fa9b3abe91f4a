//! How requests to one backend are authenticated: one strategy, one file.

mod exchanged;
mod header_injection;
mod obo;
mod registry;
mod subject;
mod token_exchange;
mod unauthenticated;
mod upstream_inject;
mod xaa;

pub use registry::REGISTRY;
#[cfg(test)]
pub(crate) use unauthenticated::Unauthenticated;
