//! `token_exchange`: the subject token is exchanged at the backend's STS (RFC 8693), or by a grant of
//! a like form.

use super::exchanged::Exchanged;
use super::subject::{provider, subject};
use crate::config::StrategyType;
use crate::config::doc::Role;
use crate::config::draft::Draft;
use crate::config::endpoint::{
    ASSUMED_LIFETIME, Called, Common, ENDPOINT, OF_ASSERTION, REFRESH_AHEAD, STS_ERRORS, TIMEOUT,
    terms,
};
use crate::config::format::{HeaderName, ListOf, OneOrMany, ProviderOrNone, TextOf, WordOrUri};
use crate::config::problem::{Reported, Wrong};
use crate::config::section::{Entry, Nested, Object, Section, keys};
use crate::decision::Strategy;
use crate::exchange::grant::{self, Grant, token_type};
use crate::exchange::{Exchange, Purpose};
use crate::identity::TokenKind;

/// `token_exchange` in a configuration.
pub(super) const TYPE: StrategyType = StrategyType::new("token_exchange", Some(BLOCK), build);

keys! {
    /// Which STS is called, and with what.
    optional BLOCK "tokenExchange": Nested = Nested(&KEYS);
}

static KEYS: Object = Object {
    keys: &[
        &ENDPOINT.of_call(),
        &OF_ASSERTION,
        &[
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
    ],
    open: false,
};

keys! {
    /// `token_exchange` (RFC 8693), `jwt_bearer` (RFC 7523: the subject is the assertion), or a URI: the
    /// form of RFC 8693 under that grant type.
    optional GRANT_TYPE "grantType": WordOrUri = WordOrUri::GRANT_TYPE, or "token_exchange";
    /// Whom the token is for (RFC 8693): a string or a list.
    optional AUDIENCE "audience": OneOrMany<TextOf> = OneOrMany(TextOf::NOT_EMPTY);
    /// What the token is for (RFC 8707): a URI or a list of them.
    optional RESOURCE "resource": OneOrMany<TextOf> = OneOrMany(TextOf::ABSOLUTE_URI);
    /// The scopes that are asked for.
    optional SCOPES "scopes": ListOf<TextOf> = ListOf {
        item: TextOf::SCOPE_TOKEN,
        not_empty: None,
    };
    /// What the subject token is: `access_token`, `id_token`, `jwt`, or an absolute URI.
    optional SUBJECT_TOKEN_TYPE "subjectTokenType": WordOrUri = WordOrUri::TOKEN_TYPE,
        or "access_token";
    /// What is asked for: the same values; `""` leaves the parameter out.
    optional REQUESTED_TOKEN_TYPE "requestedTokenType": WordOrUri = WordOrUri::REQUESTED_TOKEN_TYPE,
        absent "`access_token`";
    /// Whose upstream token is exchanged. Absent or empty: the TH-JWT, which the STS must then trust
    /// (V-03 warns).
    optional SUBJECT_PROVIDER_NAME "subjectProviderName": ProviderOrNone, is Role::Provider;
    /// The header that carries `Bearer <exchanged token>`.
    optional EXTERNAL_TOKEN_HEADER_NAME "externalTokenHeaderName": HeaderName,
        or "authorization", is Role::Header;
    /// Whose upstream token goes along as `actor_token`.
    optional ACTOR_PROVIDER_NAME "actorProviderName": ProviderOrNone, is Role::Provider;
    /// What the actor token is: the same values as for the subject token.
    optional ACTOR_TOKEN_TYPE "actorTokenType": WordOrUri = WordOrUri::TOKEN_TYPE,
        or "access_token";
}

fn build(block: &Section<'_>, draft: &mut Draft<'_>) -> Result<Box<dyn Strategy>, Reported> {
    let kind = |uri: Result<&str, Reported>| match uri {
        Ok(token_type::ID_TOKEN) => TokenKind::Id,
        _ => TokenKind::Access,
    };
    let subject_type = block.get(&SUBJECT_TOKEN_TYPE);
    let subject = subject(block, &SUBJECT_PROVIDER_NAME, kind(subject_type), draft);
    let actor_type = block.get(&ACTOR_TOKEN_TYPE);
    let actor = block.get(&ACTOR_PROVIDER_NAME).map(Option::flatten);
    let grant = grant(block, subject_type, actor, actor_type);
    let actor = actor.and_then(|name| {
        let key = &ACTOR_PROVIDER_NAME;
        name.map(|name| provider(block, key, name, kind(actor_type), draft))
            .transpose()
    });
    let called = Called {
        block,
        keys: &ENDPOINT,
        name: "",
        common: Common::of(block, &STS_ERRORS),
    };
    // Its own problems are reported whatever is wrong with the grant.
    let placeholder = || grant::jwt_bearer(&[], &[], "");
    let call = called.with(grant.clone().unwrap_or_else(|_| placeholder()), draft);
    let (actor, call) = (actor?, call?);
    grant?;
    let subject = subject?;
    Ok(Box::new(Exchanged {
        header: block.get(&EXTERNAL_TOKEN_HEADER_NAME)?,
        exchange: draft.exchanges.add(Exchange {
            purpose: Purpose::Backend,
            first: call,
            second: None,
            subject_is_identity_token: subject.is_identity_token(),
            has_actor: actor.is_some(),
            terms: terms(block)?,
        }),
        subject,
        actor,
    }))
}

fn grant(
    block: &Section<'_>,
    subject_type: Result<&str, Reported>,
    actor: Result<Option<&str>, Reported>,
    actor_type: Result<&str, Reported>,
) -> Result<Grant, Reported> {
    let audience = block.get(&AUDIENCE).map(owned);
    let resource = block.get(&RESOURCE).map(owned);
    let grant_type = block.get(&GRANT_TYPE)?;
    let scope = block.get(&SCOPES).map(Option::unwrap_or_default);
    let scope = scope.unwrap_or_default().join(" ");
    if grant_type == WordOrUri::JWT_BEARER {
        // An empty name is none.
        let has_actor = !matches!(actor, Ok(None));
        let foreign: [(&dyn Entry, bool); 4] = [
            (&SUBJECT_TOKEN_TYPE, block.has(&SUBJECT_TOKEN_TYPE)),
            (&REQUESTED_TOKEN_TYPE, block.has(&REQUESTED_TOKEN_TYPE)),
            (&ACTOR_PROVIDER_NAME, has_actor),
            (&ACTOR_TOKEN_TYPE, block.has(&ACTOR_TOKEN_TYPE)),
        ];
        let mut reported = None;
        for (key, _) in foreign.into_iter().filter(|(_, is_there)| *is_there) {
            let text = "is not sent with grantType jwt_bearer";
            reported = Some(block.error(key, Wrong::new(text)));
        }
        return match reported {
            Some(reported) => Err(reported),
            None => Ok(grant::jwt_bearer(&audience?, &resource?, &scope)),
        };
    }
    let actor = actor?;
    let actor_type = actor_type?;
    Ok(grant::token_exchange(&grant::TokenExchange {
        grant_type: Some(grant_type),
        subject_token_type: subject_type?,
        requested_token_type: block.get(&REQUESTED_TOKEN_TYPE)?,
        audience: &audience?,
        resource: &resource?,
        scope: &scope,
        actor_token_type: actor.map(|_| actor_type),
    }))
}

fn owned(texts: Option<Vec<&str>>) -> Vec<String> {
    let texts = texts.unwrap_or_default().into_iter();
    texts.map(str::to_owned).collect()
}
