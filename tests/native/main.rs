//! The filter's real exports, driven natively through fake host functions: what a client, a
//! backend, an STS and an operator see.
#![allow(missing_docs, reason = "tests")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects
)]

mod aliases;
mod backends;
mod challenges;
mod configuring;
mod door;
mod exchange;
mod floors;
mod host;
mod host_calls;
mod identity;
mod observing;
mod own_calls;
mod readers;
mod refusals;
mod reload;
mod scene;
mod sequences;
mod sharing;
mod signing;
mod somebody;
mod strategies;
mod strays;
mod tripwire;
