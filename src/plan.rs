//! The plan: a configuration that has been proved valid.
//!
//! Nothing in here can be wrong any more: [`crate::config`] is the only maker of a [`Plan`], and
//! it makes one only when it found no problem at all.

use crate::challenge::Challenge;
use crate::exchange::Exchange;
use crate::identity::IdentityKeys;
use crate::strategy::Strategy;
use hashbrown::HashMap;
use std::time::Duration;

/// Everything the filter needs to know, computed once when Envoy hands over the configuration.
#[derive(Debug)]
pub struct Plan {
    /// Where a request's backend name comes from.
    pub backend_from: BackendFrom,
    /// Where the embedded authorization server puts the identity.
    pub identity: IdentityKeys,
    /// What a client is told when it must log in again.
    pub challenge: Challenge,
    /// How long and how many exchanged tokens are kept.
    pub token_cache: CachePolicy,
    /// The strategy of each listed backend.
    pub backends: HashMap<Box<str>, Box<dyn Strategy>, foldhash::fast::FixedState>,
    /// The strategy of every backend that is not listed; without one they are refused.
    pub default: Option<Box<dyn Strategy>>,
    /// Every distinct exchange of the configuration; [`ExchangeId`] is an index into it.
    pub exchanges: Vec<Exchange>,
}

/// The place of an [`Exchange`] in [`Plan::exchanges`]. Backends whose exchange is the same in
/// every parameter share one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ExchangeId(pub u32);

/// What names the backend of a request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum BackendFrom {
    /// The Envoy cluster that the route selected.
    #[default]
    ClusterName,
    /// The route's `name`.
    RouteName,
    /// `filter_metadata["upstream_inject"]["backend"]` of the route.
    RouteMetadata,
}

/// `tokenCache`: bounds on what is remembered of exchanges, per worker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CachePolicy {
    /// The most entries, tokens and refusals together; 0 turns caching off.
    pub max_entries: usize,
    /// The longest time a token is kept.
    pub max_ttl: Duration,
    /// A token is not used in this last part of its life.
    pub expiry_skew: Duration,
    /// Whether a token in use is renewed in the last fifth of its usable life.
    pub refresh_ahead: bool,
    /// How long a refused subject is remembered; zero turns it off.
    pub negative_ttl: Duration,
}

impl Default for CachePolicy {
    fn default() -> Self {
        Self {
            max_entries: 4096,
            max_ttl: Duration::from_secs(3600),
            expiry_skew: Duration::from_secs(15),
            refresh_ahead: true,
            negative_ttl: Duration::from_secs(10),
        }
    }
}
