//! Scopes (RFC 6749) and token types (RFC 8693).

use super::{AbsoluteUri, TextFormat, must_be};
use crate::config::problem::Wrong;
use crate::config::section::{Format, WithDefault};

/// One `scope-token` (RFC 6749 §3.3).
#[derive(Clone, Copy, Debug)]
pub struct ScopeToken;

impl TextFormat for ScopeToken {
    type Value<'n> = &'n str;
    const ALLOWED: &'static str =
        "one scope: visible ASCII without blanks, \" and \\ (RFC 6749 section 3.3)";
    const PATTERN: &'static str = "^[!#-\\[\\]-~]+$";

    fn parse<'n>(&self, text: &'n str) -> Result<&'n str, Wrong> {
        if is_scope_token(text) {
            Ok(text)
        } else {
            Err(must_be(self))
        }
    }
}

fn is_scope_token(text: &str) -> bool {
    !text.is_empty()
        && text
            .bytes()
            .all(|byte| matches!(byte, b'!' | b'#'..=b'[' | b']'..=b'~'))
}

/// A `scope`: scope-tokens with one space between them.
#[derive(Clone, Copy, Debug)]
pub struct Scopes;

impl TextFormat for Scopes {
    type Value<'n> = &'n str;
    const ALLOWED: &'static str = "scopes with one space between them: visible ASCII without \" and \\ (RFC 6749 section 3.3)";
    const PATTERN: &'static str = "^[!#-\\[\\]-~]+( [!#-\\[\\]-~]+)*$";

    fn parse<'n>(&self, text: &'n str) -> Result<&'n str, Wrong> {
        if text.split(' ').all(is_scope_token) {
            Ok(text)
        } else {
            Err(must_be(self))
        }
    }
}

/// A token type identifier: a URI, or the short name of one of RFC 8693 §3. Becomes the URI.
#[derive(Clone, Copy, Debug)]
pub struct TokenType;

/// The short names, and what they stand for (RFC 8693 §3).
const SHORT_NAMES: [(&str, &str); 3] = [
    (
        "access_token",
        "urn:ietf:params:oauth:token-type:access_token",
    ),
    ("id_token", "urn:ietf:params:oauth:token-type:id_token"),
    ("jwt", "urn:ietf:params:oauth:token-type:jwt"),
];

impl TokenType {
    /// `urn:ietf:params:oauth:token-type:access_token`: the default everywhere.
    pub const ACCESS_TOKEN: &'static str = SHORT_NAMES[0].1;
    /// `urn:ietf:params:oauth:token-type:id_token`.
    pub const ID_TOKEN: &'static str = SHORT_NAMES[1].1;
}

impl TextFormat for TokenType {
    type Value<'n> = &'n str;
    const ALLOWED: &'static str = "access_token, id_token, jwt or an absolute URI without fragment";
    const PATTERN: &'static str =
        "^(access_token|id_token|jwt|[A-Za-z][A-Za-z0-9+.-]*:[!$-;=?-Z_a-z~\\[\\]]*)$";

    fn parse<'n>(&self, text: &'n str) -> Result<&'n str, Wrong> {
        match SHORT_NAMES.iter().find(|(name, _)| *name == text) {
            Some((_, uri)) => Ok(uri),
            None => AbsoluteUri.parse(text).map_err(|_| must_be(self)),
        }
    }
}

impl WithDefault for TokenType {
    type Default = &'static str;

    fn default<'n>(default: Self::Default) -> <Self as Format>::Value<'n> {
        default
    }

    #[cfg(not(target_family = "wasm"))]
    fn written(&self, default: Self::Default) -> serde_json::Value {
        let mut names = SHORT_NAMES.iter();
        let name = names.find(|(_, uri)| *uri == default);
        name.map_or(default, |(name, _)| *name).into()
    }
}

/// The type of an ID token, and nothing else.
#[derive(Clone, Copy, Debug)]
pub struct IdTokenType;

impl TextFormat for IdTokenType {
    type Value<'n> = ();
    const ALLOWED: &'static str = "urn:ietf:params:oauth:token-type:id_token, the only value";
    const PATTERN: &'static str = "^(id_token|urn:ietf:params:oauth:token-type:id_token)$";

    fn parse(&self, text: &str) -> Result<(), Wrong> {
        match TokenType.parse(text) {
            Ok(uri) if uri == TokenType::ID_TOKEN => Ok(()),
            _ => Err(must_be(self)),
        }
    }
}

/// `grantType`.
#[derive(Clone, Copy, Debug)]
pub struct GrantType;

/// What a [`GrantType`] becomes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GrantKind<'n> {
    /// `token_exchange` (RFC 8693).
    TokenExchange,
    /// `jwt_bearer` (RFC 7523 §2.1).
    JwtBearer,
    /// The form of RFC 8693 under this grant type.
    Other(&'n str),
}

impl TextFormat for GrantType {
    type Value<'n> = GrantKind<'n>;
    const ALLOWED: &'static str =
        "token_exchange, jwt_bearer or an absolute URI without fragment, the grant type itself";
    const PATTERN: &'static str =
        "^(token_exchange|jwt_bearer|[A-Za-z][A-Za-z0-9+.-]*:[!$-;=?-Z_a-z~\\[\\]]*)$";

    fn parse<'n>(&self, text: &'n str) -> Result<GrantKind<'n>, Wrong> {
        match text {
            "token_exchange" => Ok(GrantKind::TokenExchange),
            "jwt_bearer" => Ok(GrantKind::JwtBearer),
            text => match AbsoluteUri.parse(text) {
                Ok(uri) => Ok(GrantKind::Other(uri)),
                Err(_) => Err(must_be(self)),
            },
        }
    }
}

impl WithDefault for GrantType {
    type Default = GrantKind<'static>;

    fn default<'n>(default: Self::Default) -> <Self as Format>::Value<'n> {
        default
    }

    #[cfg(not(target_family = "wasm"))]
    fn written(&self, default: Self::Default) -> serde_json::Value {
        match default {
            GrantKind::TokenExchange => "token_exchange",
            GrantKind::JwtBearer => "jwt_bearer",
            GrantKind::Other(uri) => uri,
        }
        .into()
    }
}

/// The name of a form field that an operator may add: none that the filter sets itself, whether it is
/// set in this configuration or not.
#[derive(Clone, Copy, Debug)]
pub struct FormParameter {
    /// One that may be added all the same.
    pub but: &'static str,
}

/// What the filter sets itself.
const OWN_PARAMETERS: [&str; 16] = [
    "grant_type",
    "subject_token",
    "subject_token_type",
    "actor_token",
    "actor_token_type",
    "requested_token_type",
    "requested_token_use",
    "assertion",
    "audience",
    "resource",
    "scope",
    "client_id",
    "client_secret",
    "client_assertion",
    "client_assertion_type",
    "rejected_token_hash",
];

impl TextFormat for FormParameter {
    type Value<'n> = ();
    const ALLOWED: &'static str = "a parameter that the filter does not set itself";
    const PATTERN: &'static str = "^[\\s\\S]";

    fn parse(&self, text: &str) -> Result<(), Wrong> {
        if text.is_empty() {
            return Err(Wrong::new("a parameter's name must not be empty"));
        }
        match OWN_PARAMETERS.contains(&text) && text != self.but {
            true => Err(Wrong::new(format!("{text} is set by the filter itself"))),
            false => Ok(()),
        }
    }
}

/// An error word of a token endpoint.
#[derive(Clone, Copy, Debug)]
pub struct ErrorWord;

impl TextFormat for ErrorWord {
    type Value<'n> = ();
    const ALLOWED: &'static str = "an error word: 1 to 64 of a-z, 0-9, _, . and -";
    const PATTERN: &'static str = "^[a-z0-9_.-]{1,64}$";

    fn parse(&self, text: &str) -> Result<(), Wrong> {
        let fits = |byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_' | b'.' | b'-');
        match (1..=64).contains(&text.len()) && text.bytes().all(fits) {
            true => Ok(()),
            false => Err(must_be(self)),
        }
    }
}

/// `requestedTokenType`: a [`TokenType`], or the empty text to leave the parameter out.
#[derive(Clone, Copy, Debug)]
pub struct RequestedTokenType;

impl TextFormat for RequestedTokenType {
    type Value<'n> = Option<&'n str>;
    const ALLOWED: &'static str =
        "access_token, id_token, jwt, an absolute URI without fragment, or empty to leave it out";
    const PATTERN: &'static str =
        "^(|access_token|id_token|jwt|[A-Za-z][A-Za-z0-9+.-]*:[!$-;=?-Z_a-z~\\[\\]]*)$";

    fn parse<'n>(&self, text: &'n str) -> Result<Option<&'n str>, Wrong> {
        if text.is_empty() {
            return Ok(None);
        }
        TokenType.parse(text).map(Some).map_err(|_| must_be(self))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scope_is_made_of_scope_tokens() {
        for (text, one, several) in [
            ("read", true, true),
            ("mcp:tools/!~[]", true, true),
            ("read write", false, true),
            ("read  write", false, false),
            (" read", false, false),
            ("read\twrite", false, false),
            ("", false, false),
            ("q\"", false, false),
            ("b\\", false, false),
            ("é", false, false),
        ] {
            assert_eq!(ScopeToken.parse(text).is_ok(), one, "{text:?}");
            assert_eq!(Scopes.parse(text).is_ok(), several, "{text:?}");
        }
    }

    #[test]
    fn a_token_type_becomes_a_uri() {
        for (text, uri) in [
            ("access_token", Some(TokenType::ACCESS_TOKEN)),
            (
                "id_token",
                Some("urn:ietf:params:oauth:token-type:id_token"),
            ),
            ("jwt", Some("urn:ietf:params:oauth:token-type:jwt")),
            ("urn:example:custom", Some("urn:example:custom")),
            (
                "https://example.com/types?v=1",
                Some("https://example.com/types?v=1"),
            ),
            ("saml2", None),
            ("Access_Token", None),
            ("", None),
            ("urn:example:custom#part", None),
            ("urn:exam ple", None),
        ] {
            assert_eq!(TokenType.parse(text).ok(), uri, "{text:?}");
        }
        assert_eq!(RequestedTokenType.parse(""), Ok(None));
        assert!(RequestedTokenType.parse("saml2").is_err());
    }
}
