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
