//! The `www-authenticate` challenge of RFC 6750 §3, and whose challenges reach a client.

use crate::table::Table;

/// `challenge`: the challenges of all backends.
#[derive(Clone, Debug, Default)]
pub struct Challenges {
    /// For backends without one of their own.
    pub default: Challenge,
    /// By the backend's name, each complete.
    pub backends: Table<String, Challenge>,
    /// What becomes of a backend's own.
    pub from_backends: FromBackends,
}

impl Challenges {
    /// The challenge of `backend`.
    pub fn of(&self, backend: &str) -> &Challenge {
        self.backends.get(backend).unwrap_or(&self.default)
    }
}

/// `challenge.fromBackends`: what becomes of a challenge that a backend sends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum FromBackends {
    /// It never reaches the client: a client that follows it logs in wherever the backend says. A
    /// 401 to a user's credential gets ours instead.
    #[default]
    Replace,
    /// It goes on as it is.
    Keep,
}

/// What is added to a `Bearer` challenge. The values are known to be free of
/// characters that a quoted string of a header cannot hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Challenge {
    /// `realm` (RFC 9110 §11.5).
    pub realm: Option<String>,
    /// `resource_metadata`: the URL of the protected resource metadata (RFC 9728 §5.1), where an
    /// MCP client finds the authorization server.
    pub resource_metadata: Option<String>,
    /// `scope` (RFC 6750 §3).
    pub scope: Option<String>,
    /// `authorization_uri`, which goes along with `insufficient_claims` as Entra's clients want it.
    pub authorization_uri: Option<String>,
}

/// The `error` of a challenge (RFC 6750 §3.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BearerError {
    /// The request carried no authentication: no error code is given.
    None,
    /// `invalid_token`.
    InvalidToken,
    /// `insufficient_claims`, as Entra's clients know it.
    InsufficientClaims,
    /// `insufficient_user_authentication` (RFC 9470 §3).
    InsufficientUserAuthentication,
}

impl Challenge {
    /// The field's value. `description` must hold only what `error_description` may.
    pub fn header(&self, error: BearerError, description: &str) -> String {
        let error = match error {
            BearerError::None => None,
            BearerError::InvalidToken => Some("invalid_token"),
            BearerError::InsufficientClaims => Some("insufficient_claims"),
            BearerError::InsufficientUserAuthentication => Some("insufficient_user_authentication"),
        };
        let parameters = [
            ("realm", self.realm.as_deref()),
            ("error", error),
            ("error_description", error.map(|_| description)),
            ("scope", self.scope.as_deref()),
            ("resource_metadata", self.resource_metadata.as_deref()),
        ];
        let mut value = "Bearer".to_owned();
        let mut separator = " ";
        for (name, text) in parameters {
            if let Some(text) = text {
                value.push_str(separator);
                value.push_str(name);
                value.push_str("=\"");
                value.push_str(text);
                value.push('"');
                separator = ", ";
            }
        }
        value
    }
}
