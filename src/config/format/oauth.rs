//! Scopes (RFC 6749), token types (RFC 8693), and what else token endpoints are told.

use super::text::NOT_EMPTY;
use super::{Looks, TextFormat, TextOf};
use crate::config::problem::Wrong;
use crate::exchange::grant::{self, token_type};
use crate::exchange::request::FIELDS;

impl TextOf {
    /// One `scope-token` (RFC 6749 §3.3).
    pub(crate) const SCOPE_TOKEN: Self = Self::new(
        "one scope: visible ASCII without blanks, \" and \\ (RFC 6749 section 3.3)",
        "^[!#-\\[\\]-~]+$",
        is_scope_token,
    );

    /// A `scope`: scope-tokens with one space between them.
    pub(crate) const SCOPES: Self = Self::new(
        "scopes with one space between them: visible ASCII without \" and \\ (RFC 6749 section 3.3)",
        "^[!#-\\[\\]-~]+( [!#-\\[\\]-~]+)*$",
        |text| text.split(' ').all(is_scope_token),
    );

    /// An error word of a token endpoint.
    pub(crate) const ERROR_WORD: Self = Self::new(
        "an error word: 1 to 64 of a-z, 0-9, _, . and -",
        "^[a-z0-9_.-]{1,64}$",
        |text| {
            let fits = |byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_' | b'.' | b'-');
            (1..=64).contains(&text.len()) && text.bytes().all(fits)
        },
    );

    /// The type of an ID token, and nothing else.
    pub(crate) const ID_TOKEN_TYPE: Self = Self::new(
        "urn:ietf:params:oauth:token-type:id_token, the only value",
        "^(id_token|urn:ietf:params:oauth:token-type:id_token)$",
        |text| matches!(text, "id_token" | token_type::ID_TOKEN),
    );

    /// The name of a form field that an operator may add: none that the filter sets itself.
    pub(crate) const FORM_FIELD: Self = Self::form_field(|name| own_field(name, ""));

    /// The same by another judgement.
    pub(crate) const fn form_field(finds: fn(&str) -> Option<Wrong>) -> Self {
        let allowed = "a parameter that the filter does not set itself";
        Self::judged(allowed, NOT_EMPTY, finds)
    }
}

fn is_scope_token(text: &str) -> bool {
    let fits = |byte| matches!(byte, b'!' | b'#'..=b'[' | b']'..=b'~');
    !text.is_empty() && text.bytes().all(fits)
}

/// A word that stands for something, or an absolute URI, which stands for itself.
#[derive(Clone, Copy, Debug)]
pub(crate) struct WordOrUri {
    words: &'static [(&'static str, &'static str)],
    looks: Looks,
}

/// The short names of RFC 8693 §3.
const ACCESS_TOKEN: (&str, &str) = ("access_token", token_type::ACCESS_TOKEN);
const ID_TOKEN: (&str, &str) = ("id_token", token_type::ID_TOKEN);
const JWT: (&str, &str) = ("jwt", token_type::JWT);

impl WordOrUri {
    /// A token type identifier.
    pub(crate) const TOKEN_TYPE: Self = Self {
        words: &[ACCESS_TOKEN, ID_TOKEN, JWT],
        looks: Looks::new(
            "access_token, id_token, jwt or an absolute URI without fragment",
            "^(access_token|id_token|jwt|[A-Za-z][A-Za-z0-9+.-]*:[!$-;=?-Z_a-z~\\[\\]]*)$",
        ),
    };

    /// `requestedTokenType`: the same, or the empty text to leave the parameter out.
    pub(crate) const REQUESTED_TOKEN_TYPE: Self = Self {
        words: &[ACCESS_TOKEN, ID_TOKEN, JWT, ("", "")],
        looks: Looks::new(
            "access_token, id_token, jwt, an absolute URI without fragment, or empty to leave it out",
            "^(|access_token|id_token|jwt|[A-Za-z][A-Za-z0-9+.-]*:[!$-;=?-Z_a-z~\\[\\]]*)$",
        ),
    };

    /// `jwt_bearer` (RFC 7523 §2.1), as `grantType` has it: no URI, since under the URI of that grant
    /// the form is the one of RFC 8693.
    pub(crate) const JWT_BEARER: &'static str = "jwt_bearer";

    /// `grantType`: RFC 8693 by its word, [`Self::JWT_BEARER`], or the form of RFC 8693 under another
    /// grant type.
    pub(crate) const GRANT_TYPE: Self = Self {
        words: &[
            ("token_exchange", grant::GRANT_TYPE),
            (Self::JWT_BEARER, Self::JWT_BEARER),
        ],
        looks: Looks::new(
            "token_exchange, jwt_bearer or an absolute URI without fragment, the grant type itself",
            "^(token_exchange|jwt_bearer|[A-Za-z][A-Za-z0-9+.-]*:[!$-;=?-Z_a-z~\\[\\]]*)$",
        ),
    };
}

impl TextFormat for WordOrUri {
    type Value<'n> = &'n str;

    fn looks(&self) -> Looks {
        self.looks
    }

    fn parse<'n>(&self, text: &'n str) -> Result<&'n str, Wrong> {
        match self.words.iter().find(|(word, _)| *word == text) {
            Some((_, meant)) => Ok(meant),
            None => TextOf::ABSOLUTE_URI
                .parse(text)
                .map_err(|_| self.looks.missed()),
        }
    }
}

/// What is wrong with the name of a form field that an operator adds: that the filter sets it itself,
/// whether in this configuration or not. `but` is all right.
pub(crate) fn own_field(name: &str, but: &str) -> Option<Wrong> {
    match name {
        "" => Some(Wrong::new("a parameter's name must not be empty")),
        _ if name == but || !FIELDS.contains(&name) => None,
        _ => Some(Wrong::new(format!("{name} is set by the filter itself"))),
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
            assert_eq!(WordOrUri::TOKEN_TYPE.parse(text).ok(), uri, "{text:?}");
        }
        let requested = WordOrUri::REQUESTED_TOKEN_TYPE;
        assert_eq!(requested.parse(""), Ok(""));
        assert!(requested.parse("saml2").is_err());
    }
}
