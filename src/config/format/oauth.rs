//! Scopes (RFC 6749), token types (RFC 8693), and what else token endpoints are told.

use super::text::NOT_EMPTY;
use super::{Looks, TextFormat, TextOf};
use crate::config::problem::Wrong;

impl TextOf {
    /// One `scope-token` (RFC 6749 §3.3).
    pub const SCOPE_TOKEN: Self = Self::new(
        "one scope: visible ASCII without blanks, \" and \\ (RFC 6749 section 3.3)",
        "^[!#-\\[\\]-~]+$",
        is_scope_token,
    );

    /// A `scope`: scope-tokens with one space between them.
    pub const SCOPES: Self = Self::new(
        "scopes with one space between them: visible ASCII without \" and \\ (RFC 6749 section 3.3)",
        "^[!#-\\[\\]-~]+( [!#-\\[\\]-~]+)*$",
        |text| text.split(' ').all(is_scope_token),
    );

    /// An error word of a token endpoint.
    pub const ERROR_WORD: Self = Self::new(
        "an error word: 1 to 64 of a-z, 0-9, _, . and -",
        "^[a-z0-9_.-]{1,64}$",
        |text| {
            let fits = |byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_' | b'.' | b'-');
            (1..=64).contains(&text.len()) && text.bytes().all(fits)
        },
    );

    /// The type of an ID token, and nothing else.
    pub const ID_TOKEN_TYPE: Self = Self::new(
        "urn:ietf:params:oauth:token-type:id_token, the only value",
        "^(id_token|urn:ietf:params:oauth:token-type:id_token)$",
        |text| TokenType.parse(text) == Ok(TokenType::ID_TOKEN),
    );
}

fn is_scope_token(text: &str) -> bool {
    let fits = |byte| matches!(byte, b'!' | b'#'..=b'[' | b']'..=b'~');
    !text.is_empty() && text.bytes().all(fits)
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
    /// `urn:ietf:params:oauth:token-type:id_token`.
    pub const ID_TOKEN: &'static str = SHORT_NAMES[1].1;
}

impl TextFormat for TokenType {
    type Value<'n> = &'n str;

    fn looks(&self) -> Looks {
        Looks::new(
            "access_token, id_token, jwt or an absolute URI without fragment",
            "^(access_token|id_token|jwt|[A-Za-z][A-Za-z0-9+.-]*:[!$-;=?-Z_a-z~\\[\\]]*)$",
        )
    }

    fn parse<'n>(&self, text: &'n str) -> Result<&'n str, Wrong> {
        match SHORT_NAMES.iter().find(|(name, _)| *name == text) {
            Some((_, uri)) => Ok(uri),
            None => TextOf::ABSOLUTE_URI
                .parse(text)
                .map_err(|_| self.looks().missed()),
        }
    }
}

/// `requestedTokenType`: a [`TokenType`], or the empty text to leave the parameter out.
#[derive(Clone, Copy, Debug)]
pub struct RequestedTokenType;

impl TextFormat for RequestedTokenType {
    type Value<'n> = Option<&'n str>;

    fn looks(&self) -> Looks {
        Looks::new(
            "access_token, id_token, jwt, an absolute URI without fragment, or empty to leave it out",
            "^(|access_token|id_token|jwt|[A-Za-z][A-Za-z0-9+.-]*:[!$-;=?-Z_a-z~\\[\\]]*)$",
        )
    }

    fn parse<'n>(&self, text: &'n str) -> Result<Option<&'n str>, Wrong> {
        if text.is_empty() {
            return Ok(None);
        }
        let uri = TokenType.parse(text).map(Some);
        uri.map_err(|_| self.looks().missed())
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

    fn looks(&self) -> Looks {
        Looks::new(
            "token_exchange, jwt_bearer or an absolute URI without fragment, the grant type itself",
            "^(token_exchange|jwt_bearer|[A-Za-z][A-Za-z0-9+.-]*:[!$-;=?-Z_a-z~\\[\\]]*)$",
        )
    }

    fn parse<'n>(&self, text: &'n str) -> Result<GrantKind<'n>, Wrong> {
        match text {
            "token_exchange" => Ok(GrantKind::TokenExchange),
            "jwt_bearer" => Ok(GrantKind::JwtBearer),
            text => match TextOf::ABSOLUTE_URI.parse(text) {
                Ok(uri) => Ok(GrantKind::Other(uri)),
                Err(_) => Err(self.looks().missed()),
            },
        }
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

    fn looks(&self) -> Looks {
        Looks::new("a parameter that the filter does not set itself", NOT_EMPTY)
    }

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
            assert_eq!(TextOf::SCOPE_TOKEN.parse(text).is_ok(), one, "{text:?}");
            assert_eq!(TextOf::SCOPES.parse(text).is_ok(), several, "{text:?}");
        }
    }

    #[test]
    fn a_token_type_becomes_a_uri() {
        for (text, uri) in [
            (
                "access_token",
                Some("urn:ietf:params:oauth:token-type:access_token"),
            ),
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
