//! Refusals: what can go wrong, and what the client, the stats and the logs see of it.
//!
//! ```text
//! Refusal ──▶ table.rs ──▶ reply.rs    status, challenge, body: to the client
//!         │            └─▶ code.rs     the stable code: on the wire, in stats, in logs
//!         └─▶ hint.rs                  what an operator should look at
//! ```

mod code;
mod hint;
mod reply;
mod table;
#[cfg(test)]
mod tests;

pub use code::Code;
pub use reply::{About, Reply};

use crate::protobuf::metadata::Found;
use std::rc::Rc;

/// What a user must do more than to log in, as a token endpoint said it: checked, so that it fits the
/// places that it goes to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StepUp {
    /// Whether it is `insufficient_user_authentication` (RFC 9470 §3), and not claims.
    pub insufficient_authentication: bool,
    /// `claims`, in Base64.
    pub claims: Option<String>,
    /// `max_age` in seconds.
    pub max_age: Option<String>,
    /// `acr_values`.
    pub acr_values: Option<String>,
    /// Where the user can do it.
    pub interaction_uri: Option<String>,
}

/// Why a request is not forwarded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The user has no token of the provider, or an empty one (`ErrUpstreamTokenNotFound` of the
    /// RFC).
    UpstreamTokenNotFound {
        /// Whether the client showed a bearer token at all: one that showed none is challenged
        /// without an error code (RFC 6750 §3.1).
        token_presented: bool,
        /// Whether nobody has left any tokens for this request, so that it may not be the user's
        /// doing.
        no_tokens_at_all: bool,
    },
    /// The user's token of the provider could not be asked for just now: no login would help.
    UpstreamTokenUnavailable {
        /// Whole seconds after which a try makes sense.
        retry_after: u32,
    },
    /// The user's token of the provider must not be put into a header.
    UpstreamTokenMalformed {
        /// What it is.
        found: Found,
    },
    /// The TH-JWT is to be exchanged, and there is none.
    SubjectTokenMissing,
    /// The TH-JWT is to be exchanged, and in its place is what this filter has set for the backend
    /// from which Envoy has sent the request on.
    SubjectTokenOurOwn,
    /// The identity service does not accept the TH-JWT.
    IdentityRejected,
    /// The STS refused the subject token.
    ExchangeRejected,
    /// The user must do more than to log in.
    StepUp(Rc<StepUp>),
    /// The STS denies access to the target, or the scope.
    ExchangeForbidden,
    /// The STS refuses this client or this kind of request.
    ExchangeMisconfigured,
    /// The STS cannot be reached, or cannot serve.
    ExchangeUnavailable {
        /// Whole seconds after which a try makes sense.
        retry_after: u32,
    },
    /// The STS did not answer in time.
    ExchangeTimeout,
    /// The STS answered with success, and with nothing that can be used.
    ExchangeInvalidResponse,
    /// The backend is neither listed nor covered by a default.
    BackendNotConfigured,
    /// A static key would be sent, and nobody has identified the request.
    IdentityMissing,
    /// The host could not hand out the identity's metadata.
    IdentityUnreadable,
    /// The TH-JWT is to be exchanged, and looked for in a header that a second attempt would find
    /// filled with the first one's credential.
    IdentityInHeader,
    /// Of the TH-JWT and the payload that `jwt_authn` has checked, only one came with the request.
    IdentityIncomplete,
}

impl Refusal {
    /// Whether nobody has left any upstream tokens for the request: a mistake of the set's, perhaps, where
    /// a user who has not logged in is none.
    pub fn is_of_absence(&self) -> bool {
        matches!(
            self,
            Refusal::UpstreamTokenNotFound {
                no_tokens_at_all: true,
                ..
            }
        )
    }
}
