//! The plan: a configuration that has been proved valid.
//!
//! Nothing in here can be wrong any more: [`crate::config`] is the only maker of a [`Plan`], and
//! it makes one only when it found no problem at all.

use crate::backend::BackendFrom;
use crate::challenge::Challenges;
use crate::decision::Strategy;
use crate::exchange::{CachePolicy, Exchange};
use crate::identity::IdentitySettings;
use crate::table::Table;

/// Everything the filter needs to know, computed once when Envoy hands over the configuration.
#[derive(Debug)]
pub struct Plan {
    /// Where a request's backend name comes from.
    pub backend_from: BackendFrom,
    /// Where the identity of a request lies, and what counts as one.
    pub identity: IdentitySettings,
    /// What clients are told when they must log in again.
    pub challenge: Challenges,
    /// How long and how many exchanged tokens are kept.
    pub token_cache: CachePolicy,
    /// The strategy of each listed backend.
    pub backends: Table<String, Box<dyn Strategy>>,
    /// The strategy of every backend that is not listed; without one they are refused.
    pub default: Option<Box<dyn Strategy>>,
    /// Every distinct exchange of the configuration; [`ExchangeId`](crate::exchange::ExchangeId) is an index into it.
    pub exchanges: Vec<Exchange>,
}
