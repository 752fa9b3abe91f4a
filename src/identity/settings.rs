//! What a configuration says of the identity: where it lies, and what counts as one.

/// `identity`: where the identity of a request lies, and what counts as one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IdentitySettings {
    /// The namespace of `filter_metadata` that `ext_authz` writes.
    pub metadata_namespace: String,
    /// The key of the map from provider to upstream token.
    pub upstream_tokens_key: String,
    /// The key of the map from provider to ID token.
    pub upstream_id_tokens_key: String,
    /// The key of the map from provider to `true`, or the list, of those that could not be asked.
    pub upstream_unavailable_key: String,
    /// The key whose boolean `true` marks a health check.
    pub health_check_key: String,
    /// The key of the checked payload in `jwt_authn`'s namespace.
    pub payload_key: String,
    /// The issuer that the checked payload must name; `None`: any.
    pub issuer: Option<String>,
    /// Whether a static key is sent only for requests that somebody has identified.
    pub required: bool,
    /// Where the TH-JWT lies.
    pub token_from: TokenFrom,
    /// Whether upstream tokens are read from metadata, and so say that somebody is known.
    pub tokens_in_metadata: bool,
}

/// `identity.tokenFrom`: where the TH-JWT lies while a request is under way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TokenFrom {
    /// In the `authorization` header.
    #[default]
    Authorization,
    /// In the filter state, as the object [`IDENTITY_TOKEN`](super::IDENTITY_TOKEN), and in no header.
    FilterState,
}

/// What holds unless the configuration says otherwise.
impl IdentitySettings {
    /// Of [`Self::metadata_namespace`].
    pub const METADATA_NAMESPACE: &str = "envoy.filters.http.ext_authz";
    /// Of [`Self::upstream_tokens_key`].
    pub const UPSTREAM_TOKENS_KEY: &str = "upstream_tokens";
    /// Of [`Self::upstream_id_tokens_key`].
    pub const UPSTREAM_ID_TOKENS_KEY: &str = "upstream_id_tokens";
    /// Of [`Self::upstream_unavailable_key`].
    pub const UPSTREAM_UNAVAILABLE_KEY: &str = "upstream_unavailable";
    /// Of [`Self::health_check_key`].
    pub const HEALTH_CHECK_KEY: &str = "health_check";
    /// Of [`Self::payload_key`].
    pub const PAYLOAD_KEY: &str = "th_jwt";
}

impl Default for IdentitySettings {
    fn default() -> Self {
        Self {
            metadata_namespace: Self::METADATA_NAMESPACE.to_owned(),
            upstream_tokens_key: Self::UPSTREAM_TOKENS_KEY.to_owned(),
            upstream_id_tokens_key: Self::UPSTREAM_ID_TOKENS_KEY.to_owned(),
            upstream_unavailable_key: Self::UPSTREAM_UNAVAILABLE_KEY.to_owned(),
            health_check_key: Self::HEALTH_CHECK_KEY.to_owned(),
            payload_key: Self::PAYLOAD_KEY.to_owned(),
            issuer: None,
            required: false,
            token_from: TokenFrom::Authorization,
            tokens_in_metadata: true,
        }
    }
}

/// Which of a provider's tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokenKind {
    /// The access token.
    Access,
    /// The ID token (OpenID Connect Core §2).
    Id,
}

impl IdentitySettings {
    /// The key of the map from provider to tokens of that kind.
    pub(super) fn tokens_key(&self, kind: TokenKind) -> &str {
        match kind {
            TokenKind::Access => &self.upstream_tokens_key,
            TokenKind::Id => &self.upstream_id_tokens_key,
        }
    }
}
