//! How tokens are obtained: what is sent to a token endpoint, what its answer means, what is
//! remembered of it, and how many requests share one call.

pub(crate) mod answer;
mod base64;
pub(crate) mod breaker;
pub(crate) mod cache;
pub mod client;
pub(crate) mod digest;
pub(crate) mod endpoint;
pub(crate) mod engine;
mod fair_breaker;
pub mod grant;
pub mod jwt;
pub(crate) mod key;
pub mod request;
pub(crate) mod results;
mod settings;
pub(crate) mod shared;

pub use client::ClientAuth;
pub use settings::{
    CachePolicy, Exchange, ExchangeId, Exchanges, Meaning, Purpose, Step, Terms, TokenCall,
};
