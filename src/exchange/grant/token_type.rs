//! Token type identifiers (RFC 8693 §3, and those of drafts that build on it).

/// An access token, whatever it looks like.
pub const ACCESS_TOKEN: &str = "urn:ietf:params:oauth:token-type:access_token";
/// What an OpenID provider says of a login.
pub const ID_TOKEN: &str = "urn:ietf:params:oauth:token-type:id_token";
/// A JWT of any kind.
pub const JWT: &str = "urn:ietf:params:oauth:token-type:jwt";
/// An identity assertion (draft-ietf-oauth-identity-assertion-authz-grant).
pub const ID_JAG: &str = "urn:ietf:params:oauth:token-type:id-jag";
