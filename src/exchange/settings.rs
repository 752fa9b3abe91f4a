//! What an exchange is configured to be.

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
