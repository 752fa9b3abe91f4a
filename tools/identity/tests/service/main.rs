//! The service from outside: the binary, a real Redis, scripted providers.
//!
//! A test that meets the unexpected stops with a message: that is what a test is for.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    missing_docs
)]

mod bed;
mod configuration;
mod dead_ends;
mod doors;
mod http2;
mod load;
mod providers;
mod refreshing;
mod round_trips;
mod rows;
mod serving;
mod store;
mod store_tls;
mod toolhive;
mod watching;
