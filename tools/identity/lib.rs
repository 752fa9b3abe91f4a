//! upstream-inject-identity: answers Envoy, and the filter, from the session store of a ToolHive
//! auth server. `docs/identity/DESIGN.md` has the picture; the rooms here are the ones it names.
// What is `pub` is for the command, and for the tests of the service.
#![deny(unreachable_pub)]
#![cfg_attr(
    test,
    allow(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic,
        clippy::unreachable,
        clippy::indexing_slicing,
        clippy::string_slice
    )
)]

mod admin;
mod challenge;
mod core;
mod door;
mod http;
mod jwt;
pub mod log;
pub mod metrics;
pub mod options;
mod refresh;
pub mod run;
mod serve;
mod session;
pub mod setup;
pub mod time;

/// The commit that this was built from.
pub const COMMIT: &str = match option_env!("UPSTREAM_INJECT_COMMIT") {
    Some(commit) => commit,
    None => "unknown",
};
