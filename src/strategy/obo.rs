//! `obo`: Microsoft Entra's on-behalf-of grant.

use super::exchanged::{AUTHORIZATION, Exchanged};
use super::subject::subject;
use crate::config::StrategyType;
use crate::config::doc::Role;
use crate::config::draft::Draft;
use crate::config::endpoint::{
    ASSUMED_LIFETIME, Called, Common, EndpointKeys, ID_IS, Method, NAMES, OF_ASSERTION,
    REFRESH_AHEAD, STS_ERRORS, TIMEOUT, URL_IS, endpoint, terms,
};
use crate::config::format::{Count, ListOf, ProviderOrNone, TextOf, own_field};
use crate::config::problem::{Reported, Wrong};
use crate::config::section::{Nested, Object, Section, keys};
use crate::decision::Strategy;
use crate::exchange::{Exchange, Purpose, Terms, grant};
use crate::identity::TokenKind;
use std::time::Duration;

/// `obo` in a configuration.
pub(super) const TYPE: StrategyType = StrategyType::new("obo", Some(BLOCK), build);

keys! {
    /// Which tenant is called, and with what: a credential is needed, unless `clientAuthMethod: none`
    /// says that something else brings it.
    optional BLOCK "obo": Nested = Nested(&KEYS);
}

static KEYS: Object = Object {
    keys: &[
        &ENDPOINT.of_call(),
        &OF_ASSERTION,
        &[
            &SCOPES,
            &AUDIENCE,
            &SUBJECT_TOKEN_PROVIDER_NAME,
            &CACHE_SKEW_SECONDS,
            &ENDPOINT.parameters,
            &STS_ERRORS,
            &ASSUMED_LIFETIME,
            &REFRESH_AHEAD,
            &TIMEOUT,
            &ENDPOINT.insecure,
        ],
    ],
    open: false,
};

static ENDPOINT: EndpointKeys = endpoint(
    NAMES,
    URL_IS,
    ID_IS,
    Method::Post,
    // A requested type may stand there, for SAML.
    TextOf::form_field(|name| own_field(name, "requested_token_type")),
);

keys! {
    /// The scopes that are asked for; this or `audience` is needed.
    optional SCOPES "scopes": ListOf<TextOf> = ListOf {
        item: TextOf::SCOPE_TOKEN,
        not_empty: None,
    };
    /// Instead of `scopes`: the application whose `.default` scope is asked for.
    optional AUDIENCE "audience": TextOf = TextOf::NOT_EMPTY;
    /// Whose upstream token is the assertion. Absent or empty: the TH-JWT (V-03 warns).
    optional SUBJECT_TOKEN_PROVIDER_NAME "subjectTokenProviderName": ProviderOrNone,
        is Role::Provider;
    /// A token is never used in these last seconds of its life, for this backend.
    optional CACHE_SKEW_SECONDS "cacheSkewSeconds": Count = Count { most: 600 },
        absent "`tokenCache.expirySkew`";
}

fn build(block: &Section<'_>, draft: &mut Draft<'_>) -> Result<Box<dyn Strategy>, Reported> {
    let provider = &SUBJECT_TOKEN_PROVIDER_NAME;
    let subject = subject(block, provider, TokenKind::Access, draft);
    let scope = match (block.get(&SCOPES), block.get(&AUDIENCE)) {
        (Ok(Some(scopes)), _) if !scopes.is_empty() => Ok(scopes.join(" ")),
        // A slash at its end belongs to the application's name.
        (Ok(_), Ok(Some(audience))) => Ok(format!("{audience}/.default")),
        (Ok(_), Ok(None)) => {
            let text = "missing; either this or audience must be set";
            Err(block.error(&SCOPES, Wrong::new(text)))
        }
        (Err(reported), _) | (_, Err(reported)) => Err(reported),
    };
    let skew = block.get(&CACHE_SKEW_SECONDS);
    let called = Called {
        block,
        keys: &ENDPOINT,
        name: "",
        common: Common::of(block, &STS_ERRORS),
    };
    let grant = grant::on_behalf_of(scope.as_deref().unwrap_or_default());
    let without = called.needs_credential(|| {
        "missing; the on-behalf-of grant needs the client's credential: a secret, a key, or \
         clientAuthMethod: none if something else brings it"
            .to_owned()
    });
    let call = called.with(grant, draft)?;
    without.map_or(Ok(()), Err)?;
    scope?;
    let skew = skew?.and_then(|seconds| u64::try_from(seconds).ok());
    let subject = subject?;
    Ok(Box::new(Exchanged {
        actor: None,
        header: AUTHORIZATION.to_owned(),
        exchange: draft.exchanges.add(Exchange {
            purpose: Purpose::Backend,
            first: call,
            second: None,
            subject_is_identity_token: subject.is_identity_token(),
            has_actor: false,
            terms: Terms {
                expiry_skew: skew.map(Duration::from_secs),
                ..terms(block)?
            },
        }),
        subject,
    }))
}
