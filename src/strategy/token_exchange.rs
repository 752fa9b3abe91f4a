//! `token_exchange`: the subject token is exchanged at the backend's STS (RFC 8693), or by a grant of
//! a like form.

use super::subject::{Subject, provider, subject};
use crate::config::StrategyType;
use crate::config::draft::Draft;
use crate::config::endpoint::{
    ASSUMED_LIFETIME, Called, ENDPOINT, Method, REFRESH_AHEAD, STS_ERRORS, TIMEOUT, owned,
    sts_errors, terms,
};
use crate::config::format::{
    AbsoluteUri, GrantKind, GrantType, HeaderName, ListOf, MetadataKeyOrNone, OneOrMany,
    RequestedTokenType, ScopeToken, Text, TokenType,
};
use crate::config::path::Place;
use crate::config::problem::{Reported, Wrong};
use crate::config::shape::{Nested, Object, Optional, Section};
use crate::decision::{Decision, Obtain, ProviderToken, Request, Strategy};
use crate::exchange::grant::{self, Grant};
use crate::exchange::{Exchange, ExchangeId, Purpose};
use crate::identity::TokenKind;
use crate::observe::counters::Outcome;

/// `tokenExchange`.
#[derive(Debug)]
pub struct TokenExchange {
    /// What is exchanged, and where.
    pub exchange: ExchangeId,
    /// Whose token is exchanged.
    pub subject: Subject,
    /// Whose token goes along as the actor's (RFC 8693 §2.1).
    pub actor: Option<ProviderToken>,
    /// The header that carries `Bearer <exchanged token>`, in lower case.
    pub header: String,
}

impl Strategy for TokenExchange {
    fn decide<'a>(&'a self, request: &Request<'_>) -> Decision<'a> {
        let subject = match self.subject.source(request) {
            Ok(subject) => subject,
            Err(refusal) => return Decision::Refuse(refusal, None),
        };
        let actor = match &self.actor {
            None => None,
            Some(wanted) => match request.provider_token(wanted) {
                Ok(actor) => Some(actor),
                Err(refusal) => return Decision::Refuse(refusal, Some(wanted.name())),
            },
        };
        Decision::Obtain(Obtain {
            subject,
            actor,
            exchange: Some(self.exchange),
            header: &self.header,
            outcome: Outcome::Exchanged,
        })
    }

    fn header(&self) -> Option<&str> {
        Some(&self.header)
    }

    fn provider(&self) -> Option<&str> {
        self.subject.provider()
    }
}

/// `token_exchange` in a configuration.
pub(super) const TYPE: StrategyType = StrategyType {
    name: "token_exchange",
    meaning: "The subject token is exchanged at the backend's STS (RFC 8693).",
    block: Some(BLOCK),
    build,
};

const BLOCK: Optional<Nested> = Optional {
    name: "tokenExchange",
    format: Nested(&KEYS),
    meaning: "Which STS is called, and with what.",
};

static KEYS: Object = Object {
    keys: &[
        &ENDPOINT.token_url,
        &ENDPOINT.cluster,
        &ENDPOINT.client_id,
        &ENDPOINT.client_secret,
        &ENDPOINT.client_secret_env,
        &ENDPOINT.auth_method,
        &ENDPOINT.key_env,
        &ENDPOINT.key_id,
        &ENDPOINT.certificate_env,
        &ENDPOINT.assertion_audience,
        &GRANT_TYPE,
        &AUDIENCE,
        &RESOURCE,
        &SCOPES,
        &SUBJECT_TOKEN_TYPE,
        &REQUESTED_TOKEN_TYPE,
        &SUBJECT_PROVIDER_NAME,
        &ACTOR_PROVIDER_NAME,
        &ACTOR_TOKEN_TYPE,
        &ENDPOINT.parameters,
        &EXTERNAL_TOKEN_HEADER_NAME,
        &TIMEOUT,
        &STS_ERRORS,
        &ASSUMED_LIFETIME,
        &REFRESH_AHEAD,
        &ENDPOINT.insecure,
    ],
    open: false,
};

const GRANT_TYPE: Optional<GrantType> = Optional {
    name: "grantType",
    format: GrantType,
    meaning: "token_exchange (the default, RFC 8693), jwt_bearer (RFC 7523, the subject as \
              assertion), or a URI: the form of RFC 8693 under that grant type.",
};

const AUDIENCE: Optional<OneOrMany<Text>> = Optional {
    name: "audience",
    format: OneOrMany(Text),
    meaning: "The audience of the token that is asked for, one or several.",
};

const RESOURCE: Optional<OneOrMany<AbsoluteUri>> = Optional {
    name: "resource",
    format: OneOrMany(AbsoluteUri),
    meaning: "The resource that the token is asked for (RFC 8707), one or several URIs.",
};

const SCOPES: Optional<ListOf<ScopeToken>> = Optional {
    name: "scopes",
    format: ListOf {
        item: ScopeToken,
        not_empty: None,
    },
    meaning: "The scopes of the token that is asked for.",
};

const SUBJECT_TOKEN_TYPE: Optional<TokenType> = Optional {
    name: "subjectTokenType",
    format: TokenType,
    meaning: "What the subject token is: access_token (the default), id_token, jwt, or a URI.",
};

const REQUESTED_TOKEN_TYPE: Optional<RequestedTokenType> = Optional {
    name: "requestedTokenType",
    format: RequestedTokenType,
    meaning: "The type of token that is asked for, access_token by default; empty does not say.",
};

const SUBJECT_PROVIDER_NAME: Optional<MetadataKeyOrNone> = Optional {
    name: "subjectProviderName",
    format: MetadataKeyOrNone,
    meaning: "The provider whose upstream token is exchanged, from authServer.runConfig.upstreams; \
              absent or empty, the request's own token is.",
};

const EXTERNAL_TOKEN_HEADER_NAME: Optional<HeaderName> = Optional {
    name: "externalTokenHeaderName",
    format: HeaderName,
    meaning: "The header that carries the token to the backend, Authorization by default.",
};

const ACTOR_PROVIDER_NAME: Optional<MetadataKeyOrNone> = Optional {
    name: "actorProviderName",
    format: MetadataKeyOrNone,
    meaning: "The provider whose upstream token goes along as actor_token.",
};

const ACTOR_TOKEN_TYPE: Optional<TokenType> = Optional {
    name: "actorTokenType",
    format: TokenType,
    meaning: "What the actor token is: access_token (the default), id_token, jwt, or a URI.",
};

fn build(
    block: &Section<'_>,
    place: &Place<'_>,
    draft: &mut Draft<'_>,
) -> Result<Box<dyn Strategy>, Reported> {
    let at_block = place.key(BLOCK.name);
    let kind = |uri: Option<&str>| match uri {
        Some(TokenType::ID_TOKEN) => TokenKind::Id,
        _ => TokenKind::Access,
    };
    let subject_kind = kind(block.get(&SUBJECT_TOKEN_TYPE).ok().flatten());
    let (name, at) = (&SUBJECT_PROVIDER_NAME, &at_block);
    let subject = subject(block, place, at, name, subject_kind, draft);
    let actor = match block.get(&ACTOR_PROVIDER_NAME).map(Option::flatten) {
        Ok(Some(name)) => {
            let kind = kind(block.get(&ACTOR_TOKEN_TYPE).ok().flatten());
            provider(
                ACTOR_PROVIDER_NAME.name,
                name,
                place,
                &at_block,
                kind,
                draft,
            )
            .map(Some)
        }
        Ok(None) => Ok(None),
        Err(reported) => Err(reported),
    };
    let grant = grant(block, &at_block, draft);
    let called = Called {
        block,
        at_block: &at_block,
        keys: &ENDPOINT,
        usual: Method::Basic,
        name: "",
        sts_errors: sts_errors(block.get(&STS_ERRORS)),
    };
    // Its own problems are reported whatever is wrong with the grant.
    let placeholder = || grant::jwt_bearer(&[], &[], "");
    let call = called.with(grant.clone().unwrap_or_else(|_| placeholder()), draft);
    let (actor, call) = (actor?, call?);
    grant?;
    Ok(Box::new(TokenExchange {
        subject: subject?,
        header: block
            .get(&EXTERNAL_TOKEN_HEADER_NAME)?
            .unwrap_or_else(|| "authorization".to_owned()),
        exchange: draft.exchange(Exchange {
            purpose: Purpose::Backend,
            first: call,
            second: None,
            has_actor: actor.is_some(),
            terms: terms(block)?,
        }),
        actor,
    }))
}

fn grant(
    block: &Section<'_>,
    at_block: &Place<'_>,
    draft: &mut Draft<'_>,
) -> Result<Grant, Reported> {
    let kind = block.get(&GRANT_TYPE)?.unwrap_or(GrantKind::TokenExchange);
    let audience = owned(block.get(&AUDIENCE)?);
    let resource = owned(block.get(&RESOURCE)?);
    let scope = block
        .get(&SCOPES)
        .ok()
        .flatten()
        .unwrap_or_default()
        .join(" ");
    if kind == GrantKind::JwtBearer {
        let foreign = [
            (SUBJECT_TOKEN_TYPE.name, block.has(&SUBJECT_TOKEN_TYPE)),
            (REQUESTED_TOKEN_TYPE.name, block.has(&REQUESTED_TOKEN_TYPE)),
            (ACTOR_PROVIDER_NAME.name, block.has(&ACTOR_PROVIDER_NAME)),
            (ACTOR_TOKEN_TYPE.name, block.has(&ACTOR_TOKEN_TYPE)),
        ];
        let mut reported = None;
        for (name, _) in foreign.into_iter().filter(|(_, there)| *there) {
            let text = "is not sent with grantType jwt_bearer";
            reported = Some(draft.error(&at_block.key(name), Wrong::new(text)));
        }
        return match reported {
            Some(reported) => Err(reported),
            None => Ok(grant::jwt_bearer(&audience, &resource, &scope)),
        };
    }
    let actor = block.get(&ACTOR_PROVIDER_NAME)?.flatten();
    let actor_token_type = block
        .get(&ACTOR_TOKEN_TYPE)?
        .unwrap_or(TokenType::ACCESS_TOKEN);
    Ok(grant::token_exchange(&grant::TokenExchange {
        grant_type: match kind {
            GrantKind::Other(uri) => Some(uri),
            GrantKind::TokenExchange | GrantKind::JwtBearer => None,
        },
        subject_token_type: block
            .get(&SUBJECT_TOKEN_TYPE)?
            .unwrap_or(TokenType::ACCESS_TOKEN),
        requested_token_type: block
            .get(&REQUESTED_TOKEN_TYPE)?
            .map(Option::unwrap_or_default),
        audience: &audience,
        resource: &resource,
        scope: &scope,
        actor_token_type: actor.map(|_| actor_token_type),
    }))
}
