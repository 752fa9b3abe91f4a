//! The `www-authenticate` challenge of RFC 6750 §3.

/// `challenge`: what is added to every `Bearer` challenge. The values are known to be free of
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
}

/// The `error` of a challenge (RFC 6750 §3.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BearerError {
    /// The request carried no authentication: no error code is given.
    None,
    /// `invalid_token`.
    InvalidToken,
    /// `insufficient_scope`.
    InsufficientScope,
}

impl Challenge {
    /// The field's value. `description` must hold only what `error_description` may.
    pub fn header(&self, error: BearerError, description: &str) -> String {
        let error = match error {
            BearerError::None => None,
            BearerError::InvalidToken => Some("invalid_token"),
            BearerError::InsufficientScope => Some("insufficient_scope"),
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
