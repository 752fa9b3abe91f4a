//! Whose token an exchange begins with.

use crate::config::draft::Draft;
use crate::config::format::ProviderOrNone;
use crate::config::problem::{Reported, Rule, Wrong, quoted};
use crate::config::section::{Entry, Optional, Section};
use crate::decision::{ProviderToken, Request, Source};
use crate::identity::TokenKind;
use crate::refusal::Refusal;

/// The subject token of an exchange.
#[derive(Debug)]
pub(super) enum Subject {
    /// The request's own bearer token, the TH-JWT.
    Identity,
    /// A provider's token.
    Provider(ProviderToken),
}

impl Subject {
    /// Where the token comes from.
    pub(super) fn source(&self, request: &Request<'_>) -> Result<Source, Refusal> {
        match self {
            Subject::Identity => request.identity_token().map(Source::InHand),
            Subject::Provider(wanted) => request.provider_token(wanted),
        }
    }

    /// Whether the TH-JWT is handed to anybody for it.
    pub(super) fn exchanges_identity_token(&self) -> bool {
        match self {
            Subject::Identity => true,
            Subject::Provider(wanted) => wanted.exchange.is_some(),
        }
    }

    /// Whether it is the TH-JWT itself.
    pub(super) fn is_identity_token(&self) -> bool {
        matches!(self, Subject::Identity)
    }

    /// The provider, if it is one's.
    pub(super) fn provider(&self) -> Option<&str> {
        match self {
            Subject::Identity => None,
            Subject::Provider(wanted) => Some(wanted.name()),
        }
    }
}

/// Whose token it is (V-01, V-02, V-03), by the key that names the provider.
pub(super) fn subject(
    block: &Section<'_>,
    key: &Optional<ProviderOrNone>,
    kind: TokenKind,
    draft: &mut Draft<'_>,
) -> Result<Subject, Reported> {
    match block.get(key)?.flatten() {
        None => {
            if draft.has_auth_server() {
                let text = "missing, so that the STS must trust the tokens of the embedded auth \
                            server; name a provider to exchange its token";
                block.warn(key, Wrong::of(Rule::V03, text));
            }
            Ok(Subject::Identity)
        }
        Some(name) => provider(block, key, name, kind, draft).map(Subject::Provider),
    }
}

/// The token of the provider `name`, which `key` names.
pub(super) fn provider(
    block: &Section<'_>,
    key: &dyn Entry,
    name: &str,
    kind: TokenKind,
    draft: &mut Draft<'_>,
) -> Result<ProviderToken, Reported> {
    let what = format!("{} {}", key.name(), quoted(name));
    draft.needs_auth_server(block, &what)?;
    draft.provider(block, key, name, kind)
}
