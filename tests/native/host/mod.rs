//! A host made of memory: the `proxy_*` functions that Envoy offers a filter, with what Envoy
//! answers, and the hands that drive the filter's exports.
//!
//! Each test runs a worker thread of its own ([`worker`]): the filter keeps its state in
//! thread-locals, as a VM keeps it per Envoy worker. What a test does with the filter it does
//! through [`Envoy`], [`Plugin`] and [`Stream`]; what the host saw is asked of them too.
//!
//! Some rules hold for every test and are checked when its worker ends: see [`Envoy::check`].

mod abi;
mod drive;
mod metadata;
mod metrics;
mod packed;
mod properties;
mod request;
mod signing;
mod state;
mod stream;

#[allow(unused_imports, reason = "not every test target uses all of it")]
pub use {
    drive::{Envoy, Plugin, worker, worker_of},
    request::Request,
    signing::{SignResult, number_of},
    state::{Answer, Call, Level, Sent, SharedData, status},
    stream::{Outcome, Reply, Stream},
};

/// Every token and secret of a test contains this, so that a search for it finds each place they
/// got to.
pub const CANARY: &str = "CANARY";
/// The TH-JWT of a request, unless the test says otherwise: no backend may ever see it.
pub const TH_JWT: &str = "CANARY-th-jwt";
