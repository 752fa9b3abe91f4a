//! `xaa`: Cross-App Access. The identity provider turns the user's ID token into an assertion, and the
//! partner's authorization server turns that into an access token
//! (draft-ietf-oauth-identity-assertion-authz-grant).

use super::subject::provider;
use crate::config::StrategyType;
use crate::config::draft::Draft;
use crate::config::endpoint::{
    ASSUMED_LIFETIME, Called, EndpointKeys, METHODS, Method, PARAMETERS, REFRESH_AHEAD, STS_ERRORS,
    TIMEOUT, sts_errors, terms,
};
use crate::config::format::{
    AbsoluteUri, Boolean, IdTokenType, ListOf, MetadataKey, ScopeToken, Text, TokenUrl,
    VariableName,
};
use crate::config::path::Place;
use crate::config::problem::{Reported, Rule, Wrong};
use crate::config::shape::{Nested, Object, Optional, Required, Section};
use crate::decision::{Decision, Obtain, ProviderToken, Request, Strategy};
use crate::exchange::{ClientAuth, Exchange, ExchangeId, Purpose, Terms, TokenCall, grant};
use crate::identity::TokenKind;
use crate::observe::counters::Outcome;

/// `xaa`.
#[derive(Debug)]
pub struct CrossAppAccess {
    /// What is obtained, and where.
    pub exchange: ExchangeId,
    /// Whose ID token it begins with.
    pub subject: ProviderToken,
}

const AUTHORIZATION: &str = "authorization";

impl Strategy for CrossAppAccess {
    fn decide<'a>(&'a self, request: &Request<'_>) -> Decision<'a> {
        match request.provider_token(&self.subject) {
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
        Some(self.subject.name())
    }
}

/// `xaa` in a configuration.
pub(super) const TYPE: StrategyType = StrategyType {
    name: "xaa",
    meaning: "The user's ID token is exchanged by way of an identity assertion at the partner's \
              authorization server (Cross-App Access).",
    block: Some(BLOCK),
    build,
};

const BLOCK: Optional<Nested> = Optional {
    name: "xaa",
    format: Nested(&KEYS),
    meaning: "Which identity provider and which authorization server are called, and with what.",
};

static KEYS: Object = Object {
    keys: &[
        &IDP.token_url,
        &IDP.cluster,
        &IDP.client_id,
        &IDP.client_secret,
        &IDP.client_secret_env,
        &IDP.auth_method,
        &IDP.key_env,
        &IDP.key_id,
        &IDP.parameters,
        &TARGET.token_url,
        &TARGET.cluster,
        &TARGET.client_id,
        &TARGET.client_secret,
        &TARGET.client_secret_env,
        &TARGET.auth_method,
        &TARGET.key_env,
        &TARGET.key_id,
        &TARGET.parameters,
        &TARGET_AUDIENCE,
        &TARGET_RESOURCE,
        &SCOPES,
        &SUBJECT_PROVIDER_NAME,
        &SUBJECT_TOKEN_TYPE,
        &STS_ERRORS,
        &ASSUMED_LIFETIME,
        &REFRESH_AHEAD,
        &TIMEOUT,
        &IDP.insecure,
        &TARGET.insecure,
    ],
    open: false,
};

/// Nobody can set these: a key that is in no table is unknown.
const NO_CERTIFICATE: Optional<VariableName> = Optional {
    name: "",
    format: VariableName,
    meaning: "",
};
const NO_AUDIENCE: Optional<Text> = Optional {
    name: "",
    format: Text,
    meaning: "",
};

static IDP: EndpointKeys = EndpointKeys {
    token_url: Required {
        name: "idpTokenUrl",
        format: TokenUrl,
        meaning: "The identity provider's token endpoint.",
        rule: None,
    },
    cluster: Optional {
        name: "idpCluster",
        format: Text,
        meaning: "The Envoy cluster that reaches it, by default named as the URL's host[:port].",
    },
    insecure: Optional {
        name: "insecureIdpTokenUrl",
        format: Boolean,
        meaning: "Whether idpTokenUrl may be plain http to another machine.",
    },
    client_id: Optional {
        name: "idpClientId",
        format: Text,
        meaning: "The client's id there: the one that the user's ID token was issued to.",
    },
    client_secret: Optional {
        name: "idpClientSecret",
        format: Text,
        meaning: "The client's secret there; rather use idpClientSecretEnv.",
    },
    client_secret_env: Optional {
        name: "idpClientSecretEnv",
        format: VariableName,
        meaning: "The environment variable that holds the client's secret there.",
    },
    auth_method: Optional {
        name: "idpClientAuthMethod",
        format: METHODS,
        meaning: "How the client authenticates there.",
    },
    key_env: Optional {
        name: "idpClientKeyEnv",
        format: VariableName,
        meaning: "For private_key_jwt: the environment variable that holds the client's private key.",
    },
    key_id: Optional {
        name: "idpClientKeyId",
        format: Text,
        meaning: "kid in the header of the client's assertion there.",
    },
    certificate_env: NO_CERTIFICATE,
    assertion_audience: NO_AUDIENCE,
    parameters: Optional {
        name: "idpParameters",
        format: PARAMETERS,
        meaning: "Further form fields there: a string or a list of strings each.",
    },
};

static TARGET: EndpointKeys = EndpointKeys {
    token_url: Required {
        name: "targetTokenUrl",
        format: TokenUrl,
        meaning: "The token endpoint of the partner's authorization server.",
        rule: None,
    },
    cluster: Optional {
        name: "targetCluster",
        format: Text,
        meaning: "The Envoy cluster that reaches it, by default named as the URL's host[:port].",
    },
    insecure: Optional {
        name: "insecureTargetTokenUrl",
        format: Boolean,
        meaning: "Whether targetTokenUrl may be plain http to another machine.",
    },
    client_id: Optional {
        name: "targetClientId",
        format: Text,
        meaning: "The client's id there.",
    },
    client_secret: Optional {
        name: "targetClientSecret",
        format: Text,
        meaning: "The client's secret there; rather use targetClientSecretEnv.",
    },
    client_secret_env: Optional {
        name: "targetClientSecretEnv",
        format: VariableName,
        meaning: "The environment variable that holds the client's secret there.",
    },
    auth_method: Optional {
        name: "targetClientAuthMethod",
        format: METHODS,
        meaning: "How the client authenticates there.",
    },
    key_env: Optional {
        name: "targetClientKeyEnv",
        format: VariableName,
        meaning: "For private_key_jwt: the environment variable that holds the client's private key.",
    },
    key_id: Optional {
        name: "targetClientKeyId",
        format: Text,
        meaning: "kid in the header of the client's assertion there.",
    },
    certificate_env: NO_CERTIFICATE,
    assertion_audience: NO_AUDIENCE,
    parameters: Optional {
        name: "targetParameters",
        format: PARAMETERS,
        meaning: "Further form fields there: a string or a list of strings each.",
    },
};

const TARGET_AUDIENCE: Required<Text> = Required {
    name: "targetAudience",
    format: Text,
    meaning: "The partner's authorization server, as the identity provider knows it.",
    rule: None,
};

const TARGET_RESOURCE: Optional<AbsoluteUri> = Optional {
    name: "targetResource",
    format: AbsoluteUri,
    meaning: "The resource that the token is for (RFC 8707).",
};

const SCOPES: Optional<ListOf<ScopeToken>> = Optional {
    name: "scopes",
    format: ListOf {
        item: ScopeToken,
        not_empty: None,
    },
    meaning: "The scopes of the token that is asked for.",
};

const SUBJECT_PROVIDER_NAME: Required<MetadataKey> = Required {
    name: "subjectProviderName",
    format: MetadataKey {
        not_empty: Some(Rule::V06),
    },
    meaning: "The provider whose ID token it begins with, from authServer.runConfig.upstreams.",
    rule: Some(Rule::V06),
};

const SUBJECT_TOKEN_TYPE: Optional<IdTokenType> = Optional {
    name: "subjectTokenType",
    format: IdTokenType,
    meaning: "urn:ietf:params:oauth:token-type:id_token, the only value.",
};

fn build(
    block: &Section<'_>,
    place: &Place<'_>,
    draft: &mut Draft<'_>,
) -> Result<Box<dyn Strategy>, Reported> {
    let at_block = place.key(BLOCK.name);
    let subject = match block.get(&SUBJECT_PROVIDER_NAME) {
        Ok(name) => {
            let key = SUBJECT_PROVIDER_NAME.name;
            provider(key, name, place, &at_block, TokenKind::Id, draft)
        }
        Err(reported) => draft.upstreams(place, "xaa").and(Err(reported)),
    };
    let audience = block.get(&TARGET_AUDIENCE);
    let resource = block.get(&TARGET_RESOURCE);
    let scope = block
        .get(&SCOPES)
        .ok()
        .flatten()
        .unwrap_or_default()
        .join(" ");
    let (for_idp, for_resource) = (
        *audience.as_ref().unwrap_or(&""),
        *resource.as_ref().unwrap_or(&None),
    );
    let first = call(block, &at_block, draft, &IDP, "idp", || {
        grant::id_jag(for_idp, for_resource, &scope)
    });
    let second = call(block, &at_block, draft, &TARGET, "target", || {
        grant::jwt_bearer(&[], &[], &scope)
    });
    let (first, second) = (first?, second?);
    audience?;
    resource?;
    Ok(Box::new(CrossAppAccess {
        subject: subject?,
        exchange: draft.exchange(Exchange {
            purpose: Purpose::Backend,
            first,
            second: Some(second),
            has_actor: false,
            terms: Terms {
                subject_bounds_only_unstated: true,
                ..terms(block)?
            },
        }),
    }))
}

fn call(
    block: &Section<'_>,
    at_block: &Place<'_>,
    draft: &mut Draft<'_>,
    keys: &'static EndpointKeys,
    name: &'static str,
    grant: impl Fn() -> grant::Grant,
) -> Result<TokenCall, Reported> {
    let called = Called {
        block,
        at_block,
        keys,
        usual: Method::Basic,
        name,
        sts_errors: sts_errors(block.get(&STS_ERRORS)),
    };
    let call = called.with(grant(), draft)?;
    let meant = block.get(&keys.auth_method)? == Some(Method::None);
    let without = matches!(&call.client, ClientAuth::None { client_id: Some(_) });
    if without && !meant {
        let text = format!(
            "missing; {} needs a credential, or {}: none",
            keys.client_id.name, keys.auth_method.name
        );
        let at = at_block.key(keys.client_secret_env.name);
        return Err(draft.error(&at, Wrong::new(text)));
    }
    Ok(call)
}
