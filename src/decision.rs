//! What to do with a request: a plain value, decided without a host.

use crate::attributes::Attributes;
use crate::backend::Backend;
use crate::identity::{Identity, Provider, UpstreamToken};
use crate::observe::counters::Outcome;
use crate::plan::ExchangeId;
use crate::refusal::Refusal;
use crate::secret::Secret;
use crate::token::{BearerToken, BearerValue};

/// What to do with a request.
#[derive(Debug)]
pub enum Decision<'a> {
    /// Let it go on, with this and no other credential.
    Forward(Credential<'a>, Outcome),
    /// Exchange the subject token first, then let it go on with the token in that header.
    Exchange {
        /// What to exchange, and where.
        exchange: ExchangeId,
        /// The subject token.
        subject: BearerToken,
        /// The header that carries the exchanged token.
        header: &'a str,
    },
    /// Answer it.
    Refuse(Refusal),
}

/// The credential that a request goes on with. Every inbound `authorization` is removed.
#[derive(Debug)]
pub enum Credential<'a> {
    /// None.
    None,
    /// `authorization: Bearer <token>`.
    Bearer(BearerToken),
    /// `Bearer <exchanged token>` in that header.
    BearerIn(&'a str, BearerValue),
    /// A configured header, which replaces every inbound one of that name.
    Header(&'a str, &'a Secret),
}

/// Decides on a request to `backend`.
pub fn decide<'a>(backend: &'a Backend, request: &Request<'_>) -> Decision<'a> {
    // First of all, and for unlisted backends too: a health check has no user, so that whatever a
    // strategy would look for is missing.
    if request.is_health_check() {
        return Decision::Forward(Credential::None, Outcome::HealthCheck);
    }
    match &backend.strategy {
        Some(strategy) => strategy.decide(request),
        None => Decision::Refuse(Refusal::BackendNotConfigured),
    }
}

/// What a strategy may ask of a request. Neither its headers nor its path are among it: nothing
/// that a client sends can choose a provider.
#[derive(Clone, Copy)]
pub struct Request<'a> {
    identity: &'a Identity,
    attributes: &'a dyn Attributes,
}

impl<'a> Request<'a> {
    /// The request whose attributes are read from `attributes`.
    pub fn new(identity: &'a Identity, attributes: &'a dyn Attributes) -> Self {
        Self {
            identity,
            attributes,
        }
    }

    /// The user's upstream token of `provider`, or the refusal that its absence means.
    pub fn upstream_token(&self, provider: &Provider) -> Result<BearerToken, Refusal> {
        match self.identity.upstream_token(provider, self.attributes) {
            UpstreamToken::Token(token) => Ok(token),
            UpstreamToken::Missing => Err(Refusal::UpstreamTokenNotFound {
                bearer_presented: self.bearer_token().is_some(),
            }),
            UpstreamToken::Malformed => Err(Refusal::UpstreamTokenMalformed),
            UpstreamToken::Unreadable => Err(Refusal::IdentityUnreadable),
        }
    }

    /// The request's own bearer token, the TH-JWT.
    pub fn bearer_token(&self) -> Option<BearerToken> {
        self.identity.bearer_token(self.attributes)
    }

    fn is_health_check(&self) -> bool {
        self.identity.is_health_check(self.attributes)
    }
}
