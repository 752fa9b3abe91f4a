//! upstream-inject: an Envoy filter that gives every backend the credential it wants.
#![cfg_attr(
    test,
    allow(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic,
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects
    )
)]

pub mod attributes;
pub mod backend;
pub mod challenge;
pub mod config;
pub mod decision;
pub mod exchange;
pub mod host;
pub mod identity;
pub mod observe;
pub mod plan;
pub mod refusal;
pub mod secret;
pub mod strategy;
pub mod time;
pub mod token;
