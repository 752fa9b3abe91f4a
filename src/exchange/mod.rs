//! How tokens are obtained: what is sent to a token endpoint, what its answer means, what is
//! remembered of it, and how many requests share one call.

pub mod answer;
pub mod breaker;
pub mod cache;
pub mod client;
pub mod digest;
pub mod endpoint;
pub mod engine;
mod fair_breaker;
pub mod grant;
pub mod jwt;
pub mod key;
pub mod request;
pub mod results;
mod settings;
pub mod shared;

pub use client::ClientAuth;
pub use settings::{
    CachePolicy, Exchange, ExchangeId, Exchanges, Meaning, Purpose, Step, Terms, TokenCall,
};
