//! The JWT bearer grant (RFC 7523 §2.1), and Microsoft Entra's on-behalf-of, which is one with a
//! parameter.

use super::{Accepts, Grant, IssuedType, TokenTypeRule, Words};

const GRANT_TYPE: &str = "urn:ietf:params:oauth:grant-type:jwt-bearer";

/// The subject is sent as an assertion. `audience` and `resource` are sent as they are configured.
pub fn jwt_bearer(audience: &[String], resource: &[String], scope: &str) -> Grant {
    let mut parameters: Vec<(&'static str, String)> = Vec::new();
    parameters.extend(audience.iter().map(|one| ("audience", one.clone())));
    parameters.extend(resource.iter().map(|one| ("resource", one.clone())));
    if !scope.is_empty() {
        parameters.push(("scope", scope.to_owned()));
    }
    grant(parameters)
}

/// The user's token is sent as an assertion, for a token on the user's behalf.
pub fn on_behalf_of(scope: &str) -> Grant {
    grant(vec![
        ("scope", scope.to_owned()),
        ("requested_token_use", "on_behalf_of".to_owned()),
    ])
}

fn grant(parameters: Vec<(&'static str, String)>) -> Grant {
    Grant {
        grant_type: GRANT_TYPE.to_owned(),
        subject: "assertion",
        parameters,
        actor_token_type: None,
        accepts: Accepts {
            issued: IssuedType::Any,
            token_type: TokenTypeRule::Bearer,
            id_jag: None,
        },
        words: Words::Assertion,
    }
}
