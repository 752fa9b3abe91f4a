//! The identity by exchange: the TH-JWT is exchanged for the user's upstream token of a provider, at
//! the identity service or whoever hands out upstream tokens by RFC 8693.

use super::token_type::{ACCESS_TOKEN, ID_TOKEN};
use super::{Grant, TokenExchange, Words, token_exchange};

/// The TH-JWT is exchanged for the access token of `provider`, or for its ID token.
pub fn identity(provider: &str, id_token: bool) -> Grant {
    let asked = TokenExchange {
        subject_token_type: ACCESS_TOKEN,
        requested_token_type: id_token.then_some(ID_TOKEN),
        audience: &[provider.to_owned()],
        ..TokenExchange::default()
    };
    Grant {
        words: Words::Identity,
        ..token_exchange(&asked)
    }
}
