//! Token exchange (RFC 8693), and whatever grant type has the same form.

use super::token_type::{ACCESS_TOKEN, ID_TOKEN, JWT};
use super::{Accepts, Grant, IssuedType, TokenTypeRule, Words};

/// `grant_type` of RFC 8693 §2.1.
pub const GRANT_TYPE: &str = "urn:ietf:params:oauth:grant-type:token-exchange";

/// What a token exchange asks for.
#[derive(Clone, Copy, Debug, Default)]
pub struct TokenExchange<'a> {
    /// The grant type, if it is not RFC 8693's own.
    pub grant_type: Option<&'a str>,
    /// `subject_token_type`, a URI.
    pub subject_token_type: &'a str,
    /// `requested_token_type` as configured, a URI: nothing is `access_token`, and an empty one
    /// leaves the parameter out.
    pub requested_token_type: Option<&'a str>,
    /// `audience`, in the order configured.
    pub audience: &'a [String],
    /// `resource` (RFC 8707), in the order configured.
    pub resource: &'a [String],
    /// `scope`, with spaces between scopes.
    pub scope: &'a str,
    /// `actor_token_type`, if there is an actor.
    pub actor_token_type: Option<&'a str>,
}

/// The grant of a token exchange.
pub fn token_exchange(asked: &TokenExchange<'_>) -> Grant {
    let requested = asked.requested_token_type.unwrap_or(ACCESS_TOKEN);
    let mut parameters = vec![("subject_token_type", asked.subject_token_type.to_owned())];
    if !requested.is_empty() {
        parameters.push(("requested_token_type", requested.to_owned()));
    }
    let each = |name, values: &[String]| {
        let values: Vec<_> = values.iter().map(|value| (name, value.clone())).collect();
        values
    };
    parameters.extend(each("audience", asked.audience));
    parameters.extend(each("resource", asked.resource));
    if !asked.scope.is_empty() {
        parameters.push(("scope", asked.scope.to_owned()));
    }
    Grant {
        grant_type: asked.grant_type.unwrap_or(GRANT_TYPE).to_owned(),
        subject: "subject_token",
        parameters,
        actor_token_type: asked.actor_token_type.map(str::to_owned),
        accepts: Accepts {
            issued: match asked.requested_token_type {
                // A JWT is an access token of its kind, where nobody has asked for one exactly.
                None => IssuedType::OneOf(vec![ACCESS_TOKEN.to_owned(), JWT.to_owned()]),
                Some("") => IssuedType::Any,
                Some(requested) => IssuedType::OneOf(vec![requested.to_owned()]),
            },
            token_type: match requested {
                ID_TOKEN | JWT => TokenTypeRule::BearerOrNotApplicable,
                _ => TokenTypeRule::Bearer,
            },
            id_jag: None,
        },
        words: Words::TokenExchange,
    }
}
