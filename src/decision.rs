//! What to do with a request: a plain value, decided without a host.

use crate::attributes::{Attribute, Attributes};
use crate::exchange::ExchangeId;
use crate::exchange::digest::sha256;
use crate::identity::{Identity, Missing, Provider, TokenFrom, UpstreamToken};
use crate::observe::counters::Outcome;
use crate::refusal::Refusal;
use crate::secret::Secret;
use crate::token::{BearerToken, BearerValue};
use std::fmt;

/// What a strategy must be able to do.
pub trait Strategy: fmt::Debug {
    /// Decides on a request to the strategy's backend.
    fn decide<'a>(&'a self, request: &Request<'_>) -> Decision<'a>;

    /// The header that the strategy sets, in lower case; `None` if it sets none but `authorization`,
    /// which is every request's to lose.
    fn header(&self) -> Option<&str> {
        None
    }

    /// The provider that the strategy names, if it names one: refusals and log lines name it too.
    fn provider(&self) -> Option<&str> {
        None
    }

    /// Whether it hands the TH-JWT to anybody, to have it exchanged.
    fn exchanges_identity_token(&self) -> bool {
        false
    }
}

/// What to do with a request.
#[derive(Debug)]
pub enum Decision<'a> {
    /// Let it go on, with this and no other credential.
    Forward(Credential<'a>, Outcome),
    /// Obtain a token first, then let it go on with that.
    Obtain(Obtain<'a>),
    /// Answer it. The refusal is about that provider, where it is about one.
    Refuse(Refusal, Option<&'a str>),
}

/// A token to be obtained.
#[derive(Debug)]
pub struct Obtain<'a> {
    /// The user's token that it is made of.
    pub subject: Source,
    /// The token of whoever acts for the user, if the exchange has an actor.
    pub actor: Option<Source>,
    /// The exchange that makes it; `None`: the subject itself is wanted.
    pub exchange: Option<ExchangeId>,
    /// The header that carries it.
    pub header: &'a str,
    /// What it counts as.
    pub outcome: Outcome,
}

/// Where a user's token comes from.
#[derive(Debug)]
pub enum Source {
    /// It came with the request.
    InHand(BearerToken),
    /// The identity service is asked for it, with the TH-JWT.
    ByExchange(ExchangeId, BearerToken),
}

/// A provider's token that a strategy wants: from the metadata, or by an exchange.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProviderToken {
    /// The provider, and where its token is in the metadata.
    pub provider: Provider,
    /// The exchange that brings it, with `identity.source: exchange`.
    pub exchange: Option<ExchangeId>,
}

impl ProviderToken {
    /// The provider's name as configured.
    pub fn name(&self) -> &str {
        self.provider.name()
    }
}

/// The credential that a request goes on with. Every inbound `authorization`, and every header that
/// any strategy of the configuration sets, is removed before.
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

impl Credential<'_> {
    /// Whether it is the user's own, so that a backend that refuses it means the user's login.
    pub fn is_the_users(&self) -> bool {
        match self {
            Credential::Bearer(_) | Credential::BearerIn(..) => true,
            Credential::None | Credential::Header(..) => false,
        }
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

    /// Where the user's token of a provider comes from, or the refusal that its absence means.
    pub fn provider_token(&self, wanted: &ProviderToken) -> Result<Source, Refusal> {
        match wanted.exchange {
            None => self.upstream_token(&wanted.provider).map(Source::InHand),
            Some(exchange) => match self.identity.bearer_token(self.attributes) {
                Some(token) => Ok(Source::ByExchange(exchange, token)),
                None => Err(self.without_token()),
            },
        }
    }

    /// Refuses a request for which the identity service would be asked, unless `jwt_authn` has checked
    /// its token.
    pub fn require_checked(&self) -> Result<(), Refusal> {
        match self.identity.is_checked(self.attributes) {
            true => Ok(()),
            false => Err(Refusal::IdentityIncomplete),
        }
    }

    /// Without a TH-JWT, and perhaps without anybody.
    fn without_token(&self) -> Refusal {
        match self.identity.is_checked(self.attributes) {
            true => Refusal::IdentityIncomplete,
            false => Refusal::IdentityMissing,
        }
    }

    /// The user's upstream token of `provider`, or the refusal that its absence means.
    fn upstream_token(&self, provider: &Provider) -> Result<BearerToken, Refusal> {
        match self.identity.upstream_token(provider, self.attributes) {
            UpstreamToken::Token(token) => Ok(token),
            UpstreamToken::Missing(Missing::Unavailable) => {
                Err(Refusal::UpstreamTokenUnavailable { retry_after: 5 })
            }
            UpstreamToken::Missing(missing) => Err(Refusal::UpstreamTokenNotFound {
                token_presented: self.token_was_presented(),
                no_tokens_at_all: missing == Missing::NoTokensAtAll,
            }),
            UpstreamToken::Malformed(found) => Err(Refusal::UpstreamTokenMalformed { found }),
            UpstreamToken::Unreadable => Err(Refusal::IdentityUnreadable),
        }
    }

    /// The TH-JWT as the subject of an exchange, or the refusal that its absence means.
    ///
    /// Where a second attempt of the request would find the first one's credential in
    /// `authorization`, nothing there is taken for the TH-JWT.
    pub fn identity_token(&self) -> Result<BearerToken, Refusal> {
        let from = self.identity.settings().token_from;
        if from == TokenFrom::Authorization && self.identity.is_upstream(self.attributes) {
            return Err(Refusal::IdentityInHeader);
        }
        self.identity
            .bearer_token(self.attributes)
            .ok_or(Refusal::SubjectTokenMissing)
    }

    /// Names the TH-JWT of this request, without telling it.
    pub fn name_of_identity_token(&self) -> [u8; 32] {
        let token = self.identity.bearer_token(self.attributes);
        sha256(token.as_ref().map_or(b"", BearerToken::as_bytes))
    }

    /// Refuses a request that Envoy has sent on (a redirect inside, an error page's) and whose TH-JWT
    /// is not the one that it began with: where that was, there is now what this filter has set for
    /// the backend before, and whoever checks leniently lets it pass.
    pub fn require_first_token(&self) -> Result<(), Refusal> {
        match self.identity.first_token(self.attributes) {
            Attribute::Absent => Ok(()),
            Attribute::Bytes(name) if name == self.name_of_identity_token() => Ok(()),
            _ => Err(Refusal::SubjectTokenOurOwn),
        }
    }

    /// Refuses a request that nobody has identified, where the configuration wants that.
    pub fn require_identity(&self) -> Result<(), Refusal> {
        match self.identity.settings().required && !self.identity.is_identified(self.attributes) {
            true => Err(Refusal::IdentityMissing),
            false => Ok(()),
        }
    }

    /// Whether the embedded AS marked the request as a health check.
    pub fn is_health_check(&self) -> bool {
        self.identity.is_health_check(self.attributes)
    }

    /// Whether the client showed a token. Where the door has taken it off, the payload that
    /// `jwt_authn` has checked tells.
    fn token_was_presented(&self) -> bool {
        self.identity.bearer_token(self.attributes).is_some()
            || self.identity.is_checked(self.attributes)
    }
}
