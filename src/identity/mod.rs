//! Where the embedded authorization server puts a user's identity, and how it is read.
//!
//! Envoy hands over one leaf of the metadata at little cost, but without its type: a number is
//! eight bytes, which may all be visible ASCII, and a `null` cannot be handed over at all. So a
//! leaf that can only be a text is taken as it is, and any other is looked up once more in the
//! whole metadata message, which is dearer and exact.

mod metadata;

use crate::attributes::{Attribute, AttributePath, Attributes};
use crate::token::BearerToken;
use metadata::{Leaf, Malformed};

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
    /// `None`: a name that Envoy would not take for one key.
    path: Option<AttributePath>,
}

impl Provider {
    /// The provider `name`, a member of `authServer.runConfig.upstreams`.
    pub fn new(keys: &IdentityKeys, name: &str) -> Self {
        let segments = [
            "metadata",
            "filter_metadata",
            &keys.metadata_namespace,
            &keys.upstream_tokens_key,
            name,
        ];
        // Envoy takes a number for an index, should the tokens be a list.
        let digits = name.trim_ascii();
        let digits = digits.strip_prefix(['+', '-']).unwrap_or(digits);
        let is_index = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
        Self {
            name: name.to_owned(),
            path: AttributePath::new(&segments).filter(|_| !is_index),
        }
    }

    /// The name as configured.
    pub fn name(&self) -> &str {
        &self.name
    }
}

/// What the identity holds for a provider.
#[derive(Debug, PartialEq, Eq)]
pub enum UpstreamToken {
    /// A token that may be sent.
    Token(BearerToken),
    /// None, or an empty one: the RFC makes no difference.
    Missing,
    /// Something that must not be sent.
    Malformed,
    /// The metadata cannot be read.
    Unreadable,
}

/// Reads identities.
#[derive(Debug)]
pub struct Identity {
    keys: IdentityKeys,
    health_check: Option<AttributePath>,
    metadata: Option<AttributePath>,
    authorization: Option<AttributePath>,
}

impl Identity {
    /// Reads identities from where `keys` say.
    pub fn new(keys: IdentityKeys) -> Self {
        Self {
            health_check: AttributePath::new(&[
                "metadata",
                "filter_metadata",
                &keys.metadata_namespace,
                &keys.health_check_key,
            ]),
            metadata: AttributePath::new(&["metadata"]),
            authorization: AttributePath::new(&["request", "headers", "authorization"]),
            keys,
        }
    }

    /// Whether the embedded AS marked the request as a health check: with boolean `true`, and
    /// nothing that looks like it.
    pub fn is_health_check(&self, attributes: &dyn Attributes) -> bool {
        match self.health_check.as_ref().map(|path| attributes.read(path)) {
            // A text of this one control character reads the same.
            Some(Attribute::Bytes(bytes)) if bytes == [1] => {}
            None => {}
            Some(_) => return false,
        }
        let keys = [self.keys.health_check_key.as_str()];
        self.look_up(&keys, attributes) == Ok(Leaf::True)
    }

    /// The user's token of `provider`.
    pub fn upstream_token(
        &self,
        provider: &Provider,
        attributes: &dyn Attributes,
    ) -> UpstreamToken {
        let leaf = match &provider.path {
            Some(path) => attributes.read(path),
            None => Attribute::Unpackable,
        };
        match leaf {
            Attribute::Absent => UpstreamToken::Missing,
            Attribute::Bytes(bytes) if bytes.len() != size_of::<f64>() => token(bytes),
            // A number, a null, or a text that is as long as a number.
            Attribute::Bytes(_) | Attribute::Unpackable => {
                let keys = [self.keys.upstream_tokens_key.as_str(), &provider.name];
                match self.look_up(&keys, attributes) {
                    Ok(Leaf::Text(text)) => token(text),
                    Ok(Leaf::Absent) => UpstreamToken::Missing,
                    Ok(Leaf::True | Leaf::Other) => UpstreamToken::Malformed,
                    Err(Malformed) => UpstreamToken::Unreadable,
                }
            }
            Attribute::Failed => UpstreamToken::Unreadable,
        }
    }

    /// The request's own bearer token: the TH-JWT.
    pub fn bearer_token(&self, attributes: &dyn Attributes) -> Option<BearerToken> {
        // As an attribute, because that joins repeated fields with commas: the header map would
        // give the first alone, and hide that there are more.
        match attributes.read(self.authorization.as_ref()?) {
            Attribute::Bytes(field) => BearerToken::from_authorization(&field),
            _ => None,
        }
    }

    /// Looks `keys` up in the whole metadata message.
    fn look_up(&self, keys: &[&str], attributes: &dyn Attributes) -> Result<Leaf, Malformed> {
        let message = self.metadata.as_ref().map(|path| attributes.read(path));
        match message {
            Some(Attribute::Bytes(message)) => {
                metadata::look_up(&message, &self.keys.metadata_namespace, keys)
            }
            Some(Attribute::Absent) => Ok(Leaf::Absent),
            _ => Err(Malformed),
        }
    }
}

fn token(bytes: Vec<u8>) -> UpstreamToken {
    if bytes.is_empty() {
        return UpstreamToken::Missing;
    }
    match BearerToken::new(bytes) {
        Some(token) => UpstreamToken::Token(token),
        None => UpstreamToken::Malformed,
    }
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
