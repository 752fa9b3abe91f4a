//! `obo`: Microsoft Entra's on-behalf-of grant.

use super::subject::{Subject, subject};
use crate::config::StrategyType;
use crate::config::draft::Draft;
use crate::config::endpoint::{
    ASSUMED_LIFETIME, Called, ENDPOINT, Method, PARAMETERS, REFRESH_AHEAD, STS_ERRORS, TIMEOUT,
    sts_errors, terms,
};
use crate::config::format::{
    AnyText, Count, FormParameter, ListOf, MapOf, MetadataKeyOrNone, OneOrMany, ScopeToken, Text,
};
use crate::config::path::Place;
use crate::config::problem::{Reported, Wrong};
use crate::config::shape::{Nested, Object, Optional, Section};
use crate::decision::{Decision, Obtain, Request, Strategy};
use crate::exchange::{ClientAuth, Exchange, ExchangeId, Purpose, Terms, grant};
use crate::identity::TokenKind;
use crate::observe::counters::Outcome;
use std::time::Duration;

/// `obo`.
#[derive(Debug)]
pub struct OnBehalfOf {
    /// What is obtained, and where.
    pub exchange: ExchangeId,
    /// Whose token is the assertion.
    pub subject: Subject,
}

const AUTHORIZATION: &str = "authorization";

impl Strategy for OnBehalfOf {
    fn decide<'a>(&'a self, request: &Request<'_>) -> Decision<'a> {
        match self.subject.source(request) {
            Ok(subject) => Decision::Obtain(Obtain {
                subject,
                actor: None,
                exchange: Some(self.exchange),
                header: AUTHORIZATION,
                outcome: Outcome::Exchanged,
            }),
            Err(refusal) => Decision::Refuse(refusal, None),
        }
    }

    fn header(&self) -> Option<&str> {
        Some(AUTHORIZATION)
    }

    fn provider(&self) -> Option<&str> {
        self.subject.provider()
    }
}

/// `obo` in a configuration.
pub(super) const TYPE: StrategyType = StrategyType {
    name: "obo",
    meaning: "The subject token is exchanged by Microsoft Entra's on-behalf-of grant.",
    block: Some(BLOCK),
    build,
};

const BLOCK: Optional<Nested> = Optional {
    name: "obo",
    format: Nested(&KEYS),
    meaning: "Which tenant is called, and with what.",
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
        &SCOPES,
        &AUDIENCE,
        &SUBJECT_TOKEN_PROVIDER_NAME,
        &CACHE_SKEW_SECONDS,
        &SAML_PARAMETERS,
        &STS_ERRORS,
        &ASSUMED_LIFETIME,
        &REFRESH_AHEAD,
        &TIMEOUT,
        &ENDPOINT.insecure,
    ],
    open: false,
};

const SCOPES: Optional<ListOf<ScopeToken>> = Optional {
    name: "scopes",
    format: ListOf {
        item: ScopeToken,
        not_empty: None,
    },
    meaning: "The scopes of the token that is asked for.",
};

const AUDIENCE: Optional<Text> = Optional {
    name: "audience",
    format: Text,
    meaning: "Instead of scopes: the application that the token is for, asked for as its .default \
              scope.",
};

const SUBJECT_TOKEN_PROVIDER_NAME: Optional<MetadataKeyOrNone> = Optional {
    name: "subjectTokenProviderName",
    format: MetadataKeyOrNone,
    meaning: "The provider whose upstream token is the assertion, from \
              authServer.runConfig.upstreams; absent or empty, the request's own token is.",
};

const CACHE_SKEW_SECONDS: Optional<Count> = Optional {
    name: "cacheSkewSeconds",
    format: Count { most: 600 },
    meaning: "Instead of tokenCache.expirySkew for this backend.",
};

/// A requested type may stand here, for SAML.
const SAML_PARAMETERS: Optional<MapOf<OneOrMany<AnyText>, FormParameter>> = Optional {
    name: ENDPOINT_PARAMETERS,
    format: MapOf {
        item: PARAMETERS.item,
        name: FormParameter {
            but: "requested_token_type",
        },
    },
    meaning: "Further form fields: a string or a list of strings each.",
};

const ENDPOINT_PARAMETERS: &str = "parameters";

fn build(
    block: &Section<'_>,
    place: &Place<'_>,
    draft: &mut Draft<'_>,
) -> Result<Box<dyn Strategy>, Reported> {
    let at_block = place.key(BLOCK.name);
    let subject = subject(
        block,
        place,
        &at_block,
        &SUBJECT_TOKEN_PROVIDER_NAME,
        TokenKind::Access,
        draft,
    );
    let scope = match (block.get(&SCOPES), block.get(&AUDIENCE)) {
        (Ok(Some(scopes)), _) if !scopes.is_empty() => Ok(scopes.join(" ")),
        (Ok(_), Ok(Some(audience))) => Ok(format!("{}/.default", audience.trim_end_matches('/'))),
        (Ok(_), Ok(None)) => {
            let text = "missing; either this or audience must be set";
            Err(draft.error(&at_block.key(SCOPES.name), Wrong::new(text)))
        }
        (Err(reported), _) | (_, Err(reported)) => Err(reported),
    };
    let skew = block.get(&CACHE_SKEW_SECONDS);
    let called = Called {
        block,
        at_block: &at_block,
        keys: &ENDPOINT,
        usual: Method::Post,
        name: "",
        sts_errors: sts_errors(block.get(&STS_ERRORS)),
    };
    let grant = grant::on_behalf_of(scope.as_deref().unwrap_or_default());
    let call = called.with(grant, draft)?;
    let meant = block.get(&ENDPOINT.auth_method)? == Some(Method::None);
    if matches!(call.client, ClientAuth::None { .. }) && !meant {
        let text = "missing; the on-behalf-of grant needs the client's credential: a secret, a key, \
                    or clientAuthMethod: none if something else brings it";
        let at = at_block.key(ENDPOINT.client_secret_env.name);
        return Err(draft.error(&at, Wrong::new(text)));
    }
    scope?;
    let skew = skew?.and_then(|seconds| u64::try_from(seconds).ok());
    Ok(Box::new(OnBehalfOf {
        subject: subject?,
        exchange: draft.exchange(Exchange {
            purpose: Purpose::Backend,
            first: call,
            second: None,
            has_actor: false,
            terms: Terms {
                expiry_skew: skew.map(Duration::from_secs),
                ..terms(block)?
            },
        }),
    }))
}
