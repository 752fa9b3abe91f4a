//! What an exchange is configured to be, and what may be remembered of it.

use crate::secret::Secret;
use std::time::Duration;

/// One way to exchange a token: the STS and every parameter that could make its answer differ.
/// Two equal values are the same exchange and may share answers; any difference keeps them apart.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Exchange {
    /// `tokenUrl` as configured: with the cluster, what the breaker and log lines name.
    pub token_url: String,
    /// The Envoy cluster that reaches the STS.
    pub cluster: String,
    /// `:authority` of the call.
    pub authority: String,
    /// `:path` of the call, with the query.
    pub path: String,
    /// How the client authenticates at the STS.
    pub client: ClientAuth,
    /// `audience`, in the order configured.
    pub audience: Vec<String>,
    /// `resource` (RFC 8707), in the order configured.
    pub resource: Vec<String>,
    /// `scope`, in the order configured.
    pub scopes: Vec<String>,
    /// `subject_token_type`, a URI.
    pub subject_token_type: String,
    /// `requested_token_type`, a URI; `None` leaves the parameter out.
    pub requested_token_type: Option<String>,
    /// How long to wait for the answer.
    pub timeout: Duration,
}

/// Client authentication at the STS (RFC 6749 §2.3).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum ClientAuth {
    /// No secret; the id, if there is one, goes into the form.
    None {
        /// `client_id`.
        client_id: Option<String>,
    },
    /// `client_secret_basic`: HTTP Basic.
    Basic {
        /// `client_id`.
        client_id: String,
        /// `client_secret`.
        client_secret: Secret,
    },
    /// `client_secret_post`: both in the form.
    Post {
        /// `client_id`.
        client_id: String,
        /// `client_secret`.
        client_secret: Secret,
    },
}

/// The place of an [`Exchange`] in the plan. Backends whose exchange is the same in every parameter
/// share one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ExchangeId(pub u32);

/// `tokenCache`: bounds on what is remembered of exchanges, per worker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CachePolicy {
    /// The most tokens; 0 turns caching off.
    pub max_entries: usize,
    /// The most bytes of keys and tokens together.
    pub max_bytes: usize,
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
            max_bytes: 64 << 20,
            max_ttl: Duration::from_secs(3600),
            expiry_skew: Duration::from_secs(15),
            refresh_ahead: true,
            negative_ttl: Duration::from_secs(10),
        }
    }
}
