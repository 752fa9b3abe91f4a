//! The first half of Cross-App Access: the identity provider turns the user's ID token into an
//! identity assertion for the partner (draft-ietf-oauth-identity-assertion-authz-grant).

use super::token_type::{ID_JAG, ID_TOKEN};
use super::{Accepts, Grant, IdJag, IssuedType, TokenTypeRule, Words};

/// The ID token is exchanged for an assertion to `audience`, the partner's authorization server.
pub fn id_jag(audience: &str, resource: Option<&str>, scope: &str) -> Grant {
    let mut parameters = vec![
        ("subject_token_type", ID_TOKEN.to_owned()),
        ("requested_token_type", ID_JAG.to_owned()),
        ("audience", audience.to_owned()),
    ];
    if let Some(resource) = resource {
        parameters.push(("resource", resource.to_owned()));
    }
    if !scope.is_empty() {
        parameters.push(("scope", scope.to_owned()));
    }
    Grant {
        grant_type: super::token_exchange::GRANT_TYPE.to_owned(),
        subject: "subject_token",
        parameters,
        actor_token_type: None,
        accepts: Accepts {
            issued: IssuedType::OneOf(vec![ID_JAG.to_owned()]),
            token_type: TokenTypeRule::NotApplicable,
            id_jag: Some(IdJag {
                audience: audience.to_owned(),
                resource: resource.map(str::to_owned),
            }),
        },
        words: Words::TokenExchange,
    }
}
