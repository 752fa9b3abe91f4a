//! Where the embedded authorization server puts a user's identity, and how it is asked for.

/// `identity`: the names under which `ext_authz` leaves the identity in dynamic metadata.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IdentityKeys {
    /// The namespace of `filter_metadata`.
    pub metadata_namespace: String,
    /// The key of the map from provider to upstream token.
    pub upstream_tokens_key: String,
    /// The key whose boolean `true` marks a health check.
    pub health_check_key: String,
}

impl Default for IdentityKeys {
    fn default() -> Self {
        Self {
            metadata_namespace: "envoy.filters.http.ext_authz".to_owned(),
            upstream_tokens_key: "upstream_tokens".to_owned(),
            health_check_key: "health_check".to_owned(),
        }
    }
}

/// A provider whose token a strategy asks for: its name, and what is computed from it once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Provider {
    name: String,
}

impl Provider {
    /// The provider `name`, a member of `authServer.runConfig.upstreams`.
    pub fn new(_keys: &IdentityKeys, name: &str) -> Self {
        Self {
            name: name.to_owned(),
        }
    }

    /// The name as configured.
    pub fn name(&self) -> &str {
        &self.name
    }
}
