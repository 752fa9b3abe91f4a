//! What the tests of the service stand on: a real Redis, scripted providers, the service itself.

pub mod authority;
pub mod check;
pub mod provider;
pub mod redis;
pub mod service;
pub mod session;
pub mod signer;
