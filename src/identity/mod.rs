//! Where the embedded authorization server puts a user's identity, and how it is read.
//!
//! Envoy hands over one leaf of the metadata at little cost, but without its type: a number is
//! eight bytes, which may all be visible ASCII, and a `null` cannot be handed over at all. So a
//! leaf that can only be a text is taken as it is, and any other is looked up once more in the
//! whole metadata message, which is dearer and exact.

mod settings;

pub use settings::{IdentitySettings, TokenFrom, TokenKind};

use crate::attributes::{Attribute, AttributePath, Attributes};
use crate::protobuf::metadata::{self, Found, Malformed, Map, Value};
use crate::token::BearerToken;

/// The namespace in which `jwt_authn` leaves what it has checked.
const JWT_AUTHN: &str = "envoy.filters.http.jwt_authn";
/// The claim that names who issued a token (RFC 7519 §4.1.1).
const ISSUER: &str = "iss";
/// The object of the filter state that holds the request's `authorization` as the client sent it.
pub const IDENTITY_TOKEN: &str = "upstream_inject.identity_token";
/// The property that names the TH-JWT that a request began with, once Envoy may send it on.
pub const FIRST_TOKEN: &str = "upstream_inject.first_token";

/// A provider whose token a strategy asks for: its name, and what is computed from it once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Provider {
    name: String,
    kind: TokenKind,
    /// `None`: a name that Envoy would not take for one key.
    path: Option<AttributePath>,
}

impl Provider {
    /// The provider `name`, a member of `authServer.runConfig.upstreams`.
    pub fn new(settings: &IdentitySettings, name: &str, kind: TokenKind) -> Self {
        let path = in_metadata(&[
            &settings.metadata_namespace,
            settings.tokens_key(kind),
            name,
        ]);
        // Envoy takes a number for an index, should the tokens be a list.
        let digits = name.trim_ascii();
        let digits = digits.strip_prefix(['+', '-']).unwrap_or(digits);
        let is_index = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
        Self {
            name: name.to_owned(),
            kind,
            path: path.filter(|_| !is_index),
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
    Missing(Missing),
    /// Something that must not be sent.
    Malformed(Found),
    /// The metadata cannot be read.
    Unreadable,
}

/// Why there is no token of a provider.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Missing {
    /// The user has none.
    NotThere,
    /// The provider, or the store, could not be asked: no login would help.
    Unavailable,
    /// Nobody has left any tokens for this request at all: no map, or not even the namespace.
    NoTokensAtAll,
}

/// Reads identities.
#[derive(Debug)]
pub struct Identity {
    settings: IdentitySettings,
    health_check: Option<AttributePath>,
    issuer: Option<AttributePath>,
    metadata: Option<AttributePath>,
    token: Option<AttributePath>,
    attempts: Option<AttributePath>,
    first_token: Option<AttributePath>,
}

impl Identity {
    /// Reads identities from where `settings` say.
    pub fn new(settings: IdentitySettings) -> Self {
        let token: &[&str] = match settings.token_from {
            // As an attribute, because that joins repeated fields with commas: the header map would
            // give the first alone, and hide that there are more.
            TokenFrom::Authorization => &["request", "headers", "authorization"],
            TokenFrom::FilterState => &["filter_state", IDENTITY_TOKEN],
        };
        Self {
            health_check: in_metadata(&[&settings.metadata_namespace, &settings.health_check_key]),
            issuer: in_metadata(&[JWT_AUTHN, &settings.payload_key, ISSUER]),
            metadata: AttributePath::new(&["metadata"]),
            token: AttributePath::new(token),
            attempts: AttributePath::new(&["upstream", "request_attempt_count"]),
            first_token: AttributePath::new(&[FIRST_TOKEN]),
            settings,
        }
    }

    /// What these identities are read by.
    pub fn settings(&self) -> &IdentitySettings {
        &self.settings
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
        let marked = self.in_message(attributes, |metadata| {
            let key = &self.settings.health_check_key;
            match metadata::namespace(metadata, &self.settings.metadata_namespace)? {
                Some(identity) => Ok(identity.get(key)? == Some(Value::True)),
                None => Ok(false),
            }
        });
        marked == Ok(true)
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
            Attribute::Bytes(bytes) if bytes.len() != size_of::<f64>() => match token(bytes) {
                // It is not sent, whatever it is: once more, to be able to say what.
                UpstreamToken::Malformed(found) => self
                    .in_message(attributes, |metadata| self.look_up(provider, metadata))
                    .ok()
                    .filter(|looked_up| matches!(looked_up, UpstreamToken::Malformed(_)))
                    .unwrap_or(UpstreamToken::Malformed(found)),
                told => told,
            },
            // A number, a null, or a text that is as long as a number.
            Attribute::Bytes(_) | Attribute::Unpackable => self
                .in_message(attributes, |metadata| self.look_up(provider, metadata))
                .unwrap_or(UpstreamToken::Unreadable),
            // There is none; what is left is to find out why.
            Attribute::Absent => self
                .in_message(attributes, |metadata| self.look_up(provider, metadata))
                .unwrap_or(UpstreamToken::Missing(Missing::NotThere)),
            Attribute::Failed => UpstreamToken::Unreadable,
        }
    }

    fn look_up(&self, provider: &Provider, metadata: &[u8]) -> Result<UpstreamToken, Malformed> {
        let settings = &self.settings;
        let Some(identity) = metadata::namespace(metadata, &settings.metadata_namespace)? else {
            return Ok(UpstreamToken::Missing(Missing::NoTokensAtAll));
        };
        let tokens = identity.map(settings.tokens_key(provider.kind))?;
        let value = match tokens {
            Some(tokens) => tokens.get(&provider.name)?,
            None => None,
        };
        match value {
            Some(Value::Text(text)) if !text.is_empty() => Ok(token(text.to_vec())),
            Some(Value::Text(_)) | None => {
                let missing = match self.is_unavailable(provider, identity)? {
                    true => Missing::Unavailable,
                    false if tokens.is_none() => Missing::NoTokensAtAll,
                    false => Missing::NotThere,
                };
                Ok(UpstreamToken::Missing(missing))
            }
            Some(Value::Map(_)) => Ok(UpstreamToken::Malformed(Found::Map)),
            Some(Value::List(_)) => Ok(UpstreamToken::Malformed(Found::List)),
            Some(Value::True | Value::Other) => Ok(UpstreamToken::Malformed(Found::Other)),
        }
    }

    /// Whether whoever left the tokens says that `provider` could not be asked: with `true` under its
    /// name in a map, or with its name in a list.
    fn is_unavailable(&self, provider: &Provider, identity: Map<'_>) -> Result<bool, Malformed> {
        match identity.get(&self.settings.upstream_unavailable_key)? {
            Some(Value::Map(providers)) => Ok(providers.get(&provider.name)? == Some(Value::True)),
            Some(Value::List(names)) => {
                names.any(|name| name == Value::Text(provider.name.as_bytes()))
            }
            _ => Ok(false),
        }
    }

    /// Whether the filter stands upstream, in the router or in a cluster: it then runs for each
    /// attempt, on a request that may carry what an earlier one has set, and its cluster is fixed.
    /// Downstream, in the connection manager's chain, no attempt has begun. Where the host does not
    /// say, the request is trusted less.
    pub fn is_upstream(&self, attributes: &dyn Attributes) -> bool {
        match self.attempts.as_ref().map(|path| attributes.read(path)) {
            Some(Attribute::Bytes(attempts)) => attempts.iter().any(|byte| *byte != 0),
            _ => true,
        }
    }

    /// The request's own bearer token: the TH-JWT.
    pub fn bearer_token(&self, attributes: &dyn Attributes) -> Option<BearerToken> {
        let token = match attributes.read(self.token.as_ref()?) {
            Attribute::Bytes(field) => BearerToken::from_authorization(&field)?,
            _ => return None,
        };
        // What Envoy writes for nothing, where `Bearer %…%` has put it together.
        if token.as_bytes() == b"-" {
            return None;
        }
        // What nobody has checked may have any signature, or none at all, and be no JWT.
        let is_plain = token.has_the_parts_of_a_jwt_at_most() && token.has_no_bits_left_over();
        let has_one_spelling =
            token.has_one_spelling() && (is_plain || !self.is_checked(attributes));
        has_one_spelling.then_some(token)
    }

    /// What names the TH-JWT that the request began with; absent as long as Envoy cannot have sent it
    /// on.
    pub fn first_token(&self, attributes: &dyn Attributes) -> Attribute {
        match &self.first_token {
            Some(path) => attributes.read(path),
            None => Attribute::Failed,
        }
    }

    /// Whether `jwt_authn` has checked a token of this request: there is a payload that names the
    /// issuer. Nothing else in that namespace counts: `jwt_authn` leaves its failures there too.
    pub fn is_checked(&self, attributes: &dyn Attributes) -> bool {
        let named = match self.issuer.as_ref().map(|path| attributes.read(path)) {
            Some(Attribute::Bytes(bytes)) => bytes,
            _ => return false,
        };
        let issuer = self.settings.issuer.as_deref();
        if issuer.is_some_and(|issuer| issuer.as_bytes() != named) {
            return false;
        }
        // What equals the issuer's text is that text, unless it is as long as a number. Without an
        // issuer, a map or a list might look like a text.
        if issuer.is_some() && named.len() != size_of::<f64>() {
            return true;
        }
        let is_text = self.in_message(attributes, |metadata| {
            let Some(jwt_authn) = metadata::namespace(metadata, JWT_AUTHN)? else {
                return Ok(false);
            };
            match jwt_authn.map(&self.settings.payload_key)? {
                Some(payload) => Ok(payload.text(ISSUER)? == Some(&named[..])),
                None => Ok(false),
            }
        });
        is_text == Ok(true)
    }

    /// Whether anyone has said whose request it is: `jwt_authn`, or, where the identity lies in
    /// metadata, whoever left upstream tokens there. Elsewhere anybody's `ext_authz` writes to that
    /// namespace.
    pub fn is_identified(&self, attributes: &dyn Attributes) -> bool {
        self.is_checked(attributes)
            || (self.settings.tokens_in_metadata && self.has_tokens(attributes))
    }

    /// Whether there is an upstream token of anyone.
    fn has_tokens(&self, attributes: &dyn Attributes) -> bool {
        let settings = &self.settings;
        let has_tokens = self.in_message(attributes, |metadata| {
            let Some(identity) = metadata::namespace(metadata, &settings.metadata_namespace)?
            else {
                return Ok(false);
            };
            match identity.map(&settings.upstream_tokens_key)? {
                Some(tokens) => {
                    tokens.any(|token| matches!(token, Value::Text(text) if !text.is_empty()))
                }
                None => Ok(false),
            }
        });
        has_tokens == Ok(true)
    }

    /// Looks into the whole metadata message.
    fn in_message<T>(
        &self,
        attributes: &dyn Attributes,
        look: impl FnOnce(&[u8]) -> Result<T, Malformed>,
    ) -> Result<T, Malformed> {
        match self.metadata.as_ref().map(|path| attributes.read(path)) {
            Some(Attribute::Bytes(message)) => look(&message),
            Some(Attribute::Absent) => look(&[]),
            _ => Err(Malformed),
        }
    }
}

fn in_metadata(way: &[&str]) -> Option<AttributePath> {
    let segments = [&["metadata", "filter_metadata"], way].concat();
    AttributePath::new(&segments)
}

fn token(bytes: Vec<u8>) -> UpstreamToken {
    match BearerToken::new(bytes) {
        Some(token) => UpstreamToken::Token(token),
        None => UpstreamToken::Malformed(Found::Text),
    }
}

#[cfg(test)]
mod tests;
