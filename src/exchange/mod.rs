//! RFC 8693 token exchange: what is sent, what an answer means, what is remembered of it, and how
//! many requests share one call.

pub mod answer;
pub mod breaker;
pub mod cache;
pub mod engine;
pub mod jwt;
pub mod request;
pub mod results;
mod settings;

pub use settings::{CachePolicy, ClientAuth, Exchange, ExchangeId};
