//! `token_exchange`: the subject token is exchanged at the backend's STS (RFC 8693).

use super::StrategyType;
use crate::config::draft::Draft;
use crate::config::format::{
    AbsoluteUri, Boolean, Choice, DurationIn, Endpoint, HeaderName, ListOf, MetadataKeyOrNone,
    OneOrMany, RequestedTokenType, ScopeToken, Text, TokenType, TokenUrl, VariableName,
};
use crate::config::path::Place;
use crate::config::problem::{Reported, Rule, Wrong, quoted};
use crate::config::shape::{Nested, Object, Optional, Required, Section};
use crate::decision::{Decision, Request, Strategy};
use crate::exchange::ExchangeId;
use crate::exchange::{ClientAuth, Exchange};
use crate::identity::Provider;
use std::time::Duration;

/// `tokenExchange`.
#[derive(Debug)]
pub struct TokenExchange {
    /// What is exchanged, and where.
    pub exchange: ExchangeId,
    /// Whose token is exchanged.
    pub subject: Subject,
    /// The header that carries `Bearer <exchanged token>`, in lower case.
    pub header: String,
}

/// The subject token of an exchange.
#[derive(Debug)]
pub enum Subject {
    /// The request's own bearer token, the TH-JWT.
    Identity,
    /// `subjectProviderName`: that provider's upstream token.
    Provider(Provider),
}

impl Strategy for TokenExchange {
    fn decide<'a>(&'a self, request: &Request<'_>) -> Decision<'a> {
        let subject = match &self.subject {
            Subject::Identity => request.identity_token(),
            Subject::Provider(provider) => request.upstream_token(provider),
        };
        match subject {
            Ok(subject) => Decision::Exchange {
                exchange: self.exchange,
                subject,
                header: &self.header,
            },
            Err(refusal) => Decision::Refuse(refusal),
        }
    }

    fn header(&self) -> Option<&str> {
        Some(&self.header)
    }

    fn provider(&self) -> Option<&str> {
        match &self.subject {
            Subject::Identity => None,
            Subject::Provider(provider) => Some(provider.name()),
        }
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
        &TOKEN_URL,
        &CLUSTER,
        &CLIENT_ID,
        &CLIENT_SECRET,
        &CLIENT_SECRET_ENV,
        &CLIENT_AUTH_METHOD,
        &AUDIENCE,
        &RESOURCE,
        &SCOPES,
        &SUBJECT_TOKEN_TYPE,
        &REQUESTED_TOKEN_TYPE,
        &SUBJECT_PROVIDER_NAME,
        &EXTERNAL_TOKEN_HEADER_NAME,
        &TIMEOUT,
        &INSECURE_TOKEN_URL,
    ],
    open: false,
};

const TOKEN_URL: Required<TokenUrl> = Required {
    name: "tokenUrl",
    format: TokenUrl,
    meaning: "The STS's token endpoint: authority and path of the call.",
    rule: None,
};

const CLUSTER: Optional<Text> = Optional {
    name: "cluster",
    format: Text,
    meaning: "The Envoy cluster that reaches the STS, by default named as the URL's host[:port].",
};

const CLIENT_ID: Optional<Text> = Optional {
    name: "clientId",
    format: Text,
    meaning: "The client's id at the STS.",
};

const CLIENT_SECRET: Optional<Text> = Optional {
    name: "clientSecret",
    format: Text,
    meaning: "The client's secret; rather use clientSecretEnv.",
};

const CLIENT_SECRET_ENV: Optional<VariableName> = Optional {
    name: "clientSecretEnv",
    format: VariableName,
    meaning: "The environment variable that holds the client's secret.",
};

const CLIENT_AUTH_METHOD: Optional<Choice<Method>> = Optional {
    name: "clientAuthMethod",
    format: Choice(&[
        ("client_secret_basic", Method::Basic),
        ("client_secret_post", Method::Post),
        ("none", Method::None),
    ]),
    meaning: "How the client authenticates: client_secret_basic by default with a secret, none \
              without.",
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

const TIMEOUT: Optional<DurationIn> = Optional {
    name: "timeout",
    format: DurationIn {
        least: Duration::from_millis(1),
        most: Duration::from_secs(60),
        bounds: "from 1ms to 60s",
    },
    meaning: "How long to wait for the STS, 5s by default.",
};

const DEFAULT_TIMEOUT: Duration = Duration::from_secs(5);

const INSECURE_TOKEN_URL: Optional<Boolean> = Optional {
    name: "insecureTokenUrl",
    format: Boolean,
    meaning: "Whether tokenUrl may be plain http to another machine.",
};

#[derive(Clone, Copy)]
enum Method {
    Basic,
    Post,
    None,
}

fn build(
    block: &Section<'_>,
    place: &Place<'_>,
    draft: &mut Draft<'_>,
) -> Result<Box<dyn Strategy>, Reported> {
    let at_block = place.key(BLOCK.name);
    let endpoint = endpoint(block, &at_block, draft);
    let client = client(block, &at_block, draft);
    let subject = subject(block, place, draft);
    let endpoint = endpoint?;
    let exchange = Exchange {
        cluster: match block.get(&CLUSTER)? {
            Some(cluster) => cluster.to_owned(),
            None => endpoint.authority.clone(),
        },
        token_url: endpoint.url,
        authority: endpoint.authority,
        path: endpoint.path,
        client: client?,
        audience: owned(block.get(&AUDIENCE)?),
        resource: owned(block.get(&RESOURCE)?),
        scopes: owned(block.get(&SCOPES)?),
        subject_token_type: block
            .get(&SUBJECT_TOKEN_TYPE)?
            .unwrap_or(TokenType::ACCESS_TOKEN)
            .to_owned(),
        requested_token_type: block
            .get(&REQUESTED_TOKEN_TYPE)?
            .unwrap_or(Some(TokenType::ACCESS_TOKEN))
            .map(str::to_owned),
        timeout: block.get(&TIMEOUT)?.unwrap_or(DEFAULT_TIMEOUT),
    };
    Ok(Box::new(TokenExchange {
        subject: subject?,
        header: block
            .get(&EXTERNAL_TOKEN_HEADER_NAME)?
            .unwrap_or_else(|| "authorization".to_owned()),
        exchange: draft.exchange(exchange),
    }))
}

fn owned(texts: Option<Vec<&str>>) -> Vec<String> {
    texts
        .unwrap_or_default()
        .into_iter()
        .map(str::to_owned)
        .collect()
}

/// Tokens and client secrets go to `tokenUrl`: in clear only if the operator says so.
fn endpoint(
    block: &Section<'_>,
    at_block: &Place<'_>,
    draft: &mut Draft<'_>,
) -> Result<Endpoint, Reported> {
    let insecure = block.get(&INSECURE_TOKEN_URL);
    let endpoint = block.get(&TOKEN_URL)?;
    if endpoint.secure || endpoint.loopback || insecure?.unwrap_or(false) {
        return Ok(endpoint);
    }
    let text = "must be an https URL: http is allowed to the local host only, or with \
                insecureTokenUrl: true";
    Err(draft.error(&at_block.key(TOKEN_URL.name), Wrong::new(text)))
}

fn client(
    block: &Section<'_>,
    at_block: &Place<'_>,
    draft: &mut Draft<'_>,
) -> Result<ClientAuth, Reported> {
    let id = block.get(&CLIENT_ID);
    let secret = draft.secret(block, at_block, &CLIENT_SECRET, &CLIENT_SECRET_ENV);
    let method = block.get(&CLIENT_AUTH_METHOD);
    // A secret that is there but wrong has been reported for what is wrong with it.
    let has_secret = block.has(&CLIENT_SECRET) || block.has(&CLIENT_SECRET_ENV);
    if has_secret && !block.has(&CLIENT_ID) {
        let text = "missing; a client secret needs it";
        draft.error(&at_block.key(CLIENT_ID.name), Wrong::new(text));
    }
    let misfit = match method {
        Ok(Some(Method::Basic | Method::Post)) if !has_secret => {
            Some("needs clientSecret or clientSecretEnv")
        }
        Ok(Some(Method::None)) if has_secret => {
            Some("must not be none with clientSecret or clientSecretEnv")
        }
        _ => None,
    };
    if let Some(text) = misfit {
        return Err(draft.error(&at_block.key(CLIENT_AUTH_METHOD.name), Wrong::new(text)));
    }
    let client_id = id?.map(str::to_owned);
    Ok(match (client_id, secret?, method?) {
        (Some(client_id), Some(client_secret), Some(Method::Post)) => ClientAuth::Post {
            client_id,
            client_secret,
        },
        (Some(client_id), Some(client_secret), _) => ClientAuth::Basic {
            client_id,
            client_secret,
        },
        (client_id, _, _) => ClientAuth::None { client_id },
    })
}

/// Whose token is exchanged (V-01, V-02, V-03).
fn subject(
    block: &Section<'_>,
    place: &Place<'_>,
    draft: &mut Draft<'_>,
) -> Result<Subject, Reported> {
    let at_block = place.key(BLOCK.name);
    let at_name = at_block.key(SUBJECT_PROVIDER_NAME.name);
    match block.get(&SUBJECT_PROVIDER_NAME)?.flatten() {
        None => {
            if draft.has_auth_server() {
                let text = "missing, so that the STS must trust the tokens of the embedded auth \
                            server; name a provider to exchange its token";
                draft.warn(&at_name, Wrong::rule(Rule::V03, text));
            }
            Ok(Subject::Identity)
        }
        Some(name) => {
            let what = format!("subjectProviderName {}", quoted(name));
            let upstreams = draft.upstreams(place, &what)?;
            let provider = draft.provider(upstreams, &at_name, name)?;
            Ok(Subject::Provider(provider))
        }
    }
}
