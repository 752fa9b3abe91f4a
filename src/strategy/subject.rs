//! Whose token an exchange begins with.

use crate::config::draft::Draft;
use crate::config::format::MetadataKeyOrNone;
use crate::config::path::Place;
use crate::config::problem::{Reported, Rule, Wrong, quoted};
use crate::config::shape::{Optional, Section};
use crate::decision::{ProviderToken, Request, Source};
use crate::identity::TokenKind;
use crate::refusal::Refusal;

/// The subject token of an exchange.
#[derive(Debug)]
pub enum Subject {
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
    place: &Place<'_>,
    at_block: &Place<'_>,
    key: &Optional<MetadataKeyOrNone>,
    kind: TokenKind,
    draft: &mut Draft<'_>,
) -> Result<Subject, Reported> {
    match block.get(key)?.flatten() {
        None => {
            if draft.has_auth_server() {
                let text = "missing, so that the STS must trust the tokens of the embedded auth \
                            server; name a provider to exchange its token";
                draft.warn(&at_block.key(key.name), Wrong::rule(Rule::V03, text));
            }
            Ok(Subject::Identity)
        }
        Some(name) => provider(key.name, name, place, at_block, kind, draft).map(Subject::Provider),
    }
}

/// The token of the provider that the key `key` names.
pub(super) fn provider(
    key: &str,
    name: &str,
    place: &Place<'_>,
    at_block: &Place<'_>,
    kind: TokenKind,
    draft: &mut Draft<'_>,
) -> Result<ProviderToken, Reported> {
    let what = format!("{key} {}", quoted(name));
    let upstreams = draft.upstreams(place, &what)?;
    draft.provider(upstreams, &at_block.key(key), name, kind)
}
