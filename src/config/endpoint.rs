//! What everything that calls a token endpoint has in common: the endpoint's keys, the client's
//! credential there, and what an exchange is told of its answers.

use super::draft::Draft;
use super::format::{
    AnyText, Boolean, Choice, DurationIn, Endpoint, ErrorWord, FormParameter, MapOf, OneOrMany,
    Text, TokenUrl, VariableName,
};
use super::path::Place;
use super::problem::{Reported, Wrong};
use super::shape::{Optional, Required, Section};
use crate::exchange::client::assertion::Assertion;
use crate::exchange::client::certificate::Certificate;
use crate::exchange::client::key::SigningKey;
use crate::exchange::grant::Grant;
use crate::exchange::{ClientAuth, Meaning, Terms, TokenCall};
use std::time::Duration;

/// The keys of one token endpoint, whatever they are called in the strategy's block.
pub(crate) struct EndpointKeys {
    pub token_url: Required<TokenUrl>,
    pub cluster: Optional<Text>,
    pub insecure: Optional<Boolean>,
    pub client_id: Optional<Text>,
    pub client_secret: Optional<Text>,
    pub client_secret_env: Optional<VariableName>,
    pub auth_method: Optional<Choice<Method>>,
    pub key_env: Optional<VariableName>,
    pub key_id: Optional<Text>,
    pub certificate_env: Optional<VariableName>,
    pub assertion_audience: Optional<Text>,
    pub parameters: Optional<MapOf<OneOrMany<AnyText>, FormParameter>>,
}

/// `clientAuthMethod`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Method {
    Basic,
    Post,
    PrivateKey,
    None,
}

pub(crate) const METHODS: Choice<Method> = Choice(&[
    ("client_secret_basic", Method::Basic),
    ("client_secret_post", Method::Post),
    ("private_key_jwt", Method::PrivateKey),
    ("none", Method::None),
]);

/// The endpoint of strategies that have one.
pub(crate) static ENDPOINT: EndpointKeys = EndpointKeys {
    token_url: Required {
        name: "tokenUrl",
        format: TokenUrl,
        meaning: "The token endpoint: authority and path of the call.",
        rule: None,
    },
    cluster: Optional {
        name: "cluster",
        format: Text,
        meaning: "The Envoy cluster that reaches it, by default named as the URL's host[:port].",
    },
    insecure: Optional {
        name: "insecureTokenUrl",
        format: Boolean,
        meaning: "Whether tokenUrl may be plain http to another machine.",
    },
    client_id: Optional {
        name: "clientId",
        format: Text,
        meaning: "The client's id there.",
    },
    client_secret: Optional {
        name: "clientSecret",
        format: Text,
        meaning: "The client's secret; rather use clientSecretEnv.",
    },
    client_secret_env: Optional {
        name: "clientSecretEnv",
        format: VariableName,
        meaning: "The environment variable that holds the client's secret.",
    },
    auth_method: Optional {
        name: "clientAuthMethod",
        format: METHODS,
        meaning: "How the client authenticates.",
    },
    key_env: Optional {
        name: "clientKeyEnv",
        format: VariableName,
        meaning: "For private_key_jwt: the environment variable that holds the client's private key \
                  (PEM; RSA with at least 2048 bits, or P-256).",
    },
    key_id: Optional {
        name: "clientKeyId",
        format: Text,
        meaning: "kid in the header of the client's assertion.",
    },
    certificate_env: Optional {
        name: "clientCertificateEnv",
        format: VariableName,
        meaning: "The environment variable that holds the key's certificate (PEM), named by \
                  x5t#S256 in the header of the client's assertion.",
    },
    assertion_audience: Optional {
        name: "clientAssertionAudience",
        format: Text,
        meaning: "aud of the client's assertion, by default tokenUrl without its query.",
    },
    parameters: Optional {
        name: "parameters",
        format: PARAMETERS,
        meaning: "Further form fields: a string or a list of strings each.",
    },
};

/// What may stand in `parameters`.
pub(crate) const PARAMETERS: MapOf<OneOrMany<AnyText>, FormParameter> = MapOf {
    item: OneOrMany(AnyText),
    name: FormParameter { but: "" },
};

/// `timeout`.
pub(crate) const TIMEOUT: Optional<DurationIn> = Optional {
    name: "timeout",
    format: DurationIn {
        least: Duration::from_millis(1),
        most: Duration::from_secs(60),
        bounds: "from 1ms to 60s",
    },
    meaning: "How long to wait for the token endpoint, 5s by default.",
};

const DEFAULT_TIMEOUT: Duration = Duration::from_secs(5);

/// `stsErrors` of a backend.
pub(crate) const STS_ERRORS: Optional<MapOf<Choice<Meaning>, ErrorWord>> = Optional {
    name: "stsErrors",
    format: MapOf {
        item: Choice(&[
            ("rejected", Meaning::Rejected),
            ("forbidden", Meaning::Forbidden),
            ("step_up", Meaning::StepUp),
            ("misconfigured", Meaning::Misconfigured),
            ("unavailable", Meaning::Unavailable),
        ]),
        name: ErrorWord,
    },
    meaning: "What error words of this token endpoint mean: rejected, forbidden, step_up, \
              misconfigured or unavailable.",
};

/// `assumedLifetime`.
pub(crate) const ASSUMED_LIFETIME: Optional<DurationIn> = Optional {
    name: "assumedLifetime",
    format: DurationIn {
        least: Duration::from_secs(1),
        most: Duration::from_secs(24 * 3600),
        bounds: "from 1s to 24h",
    },
    meaning: "How long a token lives of which nobody says; without it such a token serves one request.",
};

/// `refreshAhead` of a backend.
pub(crate) const REFRESH_AHEAD: Optional<Boolean> = Optional {
    name: "refreshAhead",
    format: Boolean,
    meaning: "Instead of tokenCache.refreshAhead for this backend.",
};

/// What the block says of the token's life.
pub(crate) fn terms(block: &Section<'_>) -> Result<Terms, Reported> {
    Ok(Terms {
        assumed_lifetime: block.get(&ASSUMED_LIFETIME)?,
        refresh_ahead: block.get(&REFRESH_AHEAD)?,
        ..Terms::default()
    })
}

/// How a token endpoint is called.
pub(crate) struct Called<'n, 'b> {
    /// The strategy's block, and where it is.
    pub block: &'b Section<'n>,
    pub at_block: &'b Place<'b>,
    pub keys: &'static EndpointKeys,
    /// How a client with a secret authenticates, unless it says otherwise.
    pub usual: Method,
    /// What log lines call it.
    pub name: &'static str,
    pub sts_errors: Result<Vec<(String, Meaning)>, Reported>,
}

impl Called<'_, '_> {
    /// The call with this grant.
    pub(crate) fn with(self, grant: Grant, draft: &mut Draft<'_>) -> Result<TokenCall, Reported> {
        let endpoint = self.endpoint(draft);
        let client = self.client(endpoint.as_ref().ok(), draft);
        let cluster = self.block.get(&self.keys.cluster);
        let parameters = self.block.get(&self.keys.parameters);
        let timeout = self.block.get(&TIMEOUT)?.unwrap_or(DEFAULT_TIMEOUT);
        let endpoint = endpoint?;
        Ok(TokenCall {
            name: self.name,
            cluster: match cluster? {
                Some(cluster) => cluster.to_owned(),
                None => endpoint.authority.clone(),
            },
            token_url: endpoint.url,
            authority: endpoint.authority,
            path: endpoint.path,
            client: client?,
            grant,
            parameters: parameters?
                .unwrap_or_default()
                .into_iter()
                .flat_map(|(name, values)| {
                    let pair = move |value: &str| (name.to_owned(), value.to_owned());
                    values.into_iter().map(pair)
                })
                .collect(),
            sts_errors: self.sts_errors?,
            timeout,
        })
    }

    /// Tokens and client secrets go there: in clear only if the operator says so.
    fn endpoint(&self, draft: &mut Draft<'_>) -> Result<Endpoint, Reported> {
        let insecure = self.block.get(&self.keys.insecure);
        let endpoint = self.block.get(&self.keys.token_url)?;
        if endpoint.secure || endpoint.loopback || insecure?.unwrap_or(false) {
            return Ok(endpoint);
        }
        let text = format!(
            "must be an https URL: http is allowed to the local host only, or with {}: true",
            self.keys.insecure.name
        );
        Err(draft.error(
            &self.at_block.key(self.keys.token_url.name),
            Wrong::new(text),
        ))
    }

    fn client(
        &self,
        endpoint: Option<&Endpoint>,
        draft: &mut Draft<'_>,
    ) -> Result<ClientAuth, Reported> {
        let (block, keys) = (self.block, self.keys);
        let id = block.get(&keys.client_id);
        let (inline, variable) = (&keys.client_secret, &keys.client_secret_env);
        let secret = draft.secret(block, self.at_block, inline, variable);
        let method = block.get(&keys.auth_method);
        // A secret that is there but wrong has been reported for what is wrong with it.
        let has_secret = block.has(inline) || block.has(variable);
        let has_key = block.has(&keys.key_env);
        if (has_secret || has_key) && !block.has(&keys.client_id) {
            let what = if has_secret {
                "a client secret"
            } else {
                "a client's key"
            };
            let text = format!("missing; {what} needs it");
            draft.error(&self.at_block.key(keys.client_id.name), Wrong::new(text));
        }
        let either = format!("{} or {}", inline.name, variable.name);
        let misfit = match method {
            Ok(Some(Method::Basic | Method::Post)) if !has_secret => {
                Some(format!("needs {either}"))
            }
            Ok(Some(Method::Basic | Method::Post | Method::None)) if has_key => Some(format!(
                "must be private_key_jwt with {}",
                keys.key_env.name
            )),
            Ok(Some(Method::None)) if has_secret => Some(format!("must not be none with {either}")),
            Ok(Some(Method::PrivateKey)) if has_secret => {
                Some(format!("must not be private_key_jwt with {either}"))
            }
            Ok(Some(Method::PrivateKey)) if !has_key => {
                Some(format!("needs {}", keys.key_env.name))
            }
            Ok(None) if has_secret && has_key => Some(format!(
                "missing; {either} and {} are for two different methods",
                keys.key_env.name
            )),
            _ => None,
        };
        if let Some(text) = misfit {
            return Err(draft.error(&self.at_block.key(keys.auth_method.name), Wrong::new(text)));
        }
        if has_key {
            return self.signed(endpoint, draft);
        }
        let client_id = id?.map(str::to_owned);
        Ok(match (client_id, secret?, method?.unwrap_or(self.usual)) {
            (Some(client_id), Some(client_secret), Method::Post) => ClientAuth::Post {
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

    /// `private_key_jwt`: the key and its certificate are judged here, not at the first request.
    fn signed(
        &self,
        endpoint: Option<&Endpoint>,
        draft: &mut Draft<'_>,
    ) -> Result<ClientAuth, Reported> {
        let (block, keys) = (self.block, self.keys);
        let at_key = self.at_block.key(keys.key_env.name);
        let key = pem(block, &at_key, &keys.key_env, draft, SigningKey::from_pem);
        let at_certificate = self.at_block.key(keys.certificate_env.name);
        let certificate = match block.has(&keys.certificate_env) {
            true => {
                let (at, variable) = (&at_certificate, &keys.certificate_env);
                pem(block, at, variable, draft, Certificate::from_pem).map(Some)
            }
            false => Ok(None),
        };
        let key_id = block.get(&keys.key_id);
        let audience = block.get(&keys.assertion_audience);
        let (key, certificate) = (key?, certificate?);
        if let Some(certificate) = &certificate
            && key.owns(certificate) == Some(false)
        {
            let text = format!("is not the certificate of the key in {}", keys.key_env.name);
            return Err(draft.error(&at_certificate, Wrong::new(text)));
        }
        if let Err(cannot) = draft.can_sign(&key) {
            return Err(draft.error(&at_key, Wrong::new(cannot)));
        }
        let url = endpoint.map_or("", |endpoint| &endpoint.url);
        let without_query = url.split('?').next().unwrap_or(url);
        Ok(ClientAuth::PrivateKey(Assertion {
            // A client without an id has been reported.
            client_id: block.get(&keys.client_id)?.unwrap_or_default().to_owned(),
            audience: audience?.unwrap_or(without_query).to_owned(),
            key,
            key_id: key_id?.map(str::to_owned),
            thumbprint: certificate.map(|certificate| certificate.thumbprint().to_owned()),
        }))
    }
}

/// What the PEM text holds that is in the environment variable.
fn pem<T, E: std::fmt::Display>(
    block: &Section<'_>,
    place: &Place<'_>,
    variable: &Optional<VariableName>,
    draft: &mut Draft<'_>,
    parse: impl Fn(&str) -> Result<T, E>,
) -> Result<T, Reported> {
    let name = block.get(variable)?.unwrap_or_default();
    let text = draft.variable(place, name, &AnyText)?;
    parse(text.reveal()).map_err(|problem| {
        let text = format!("what is in that environment variable {problem}");
        draft.error(place, Wrong::new(text))
    })
}

/// `stsErrors`, owned.
pub(crate) fn sts_errors(
    configured: Result<Option<Vec<(&str, Meaning)>>, Reported>,
) -> Result<Vec<(String, Meaning)>, Reported> {
    let configured = configured?.unwrap_or_default().into_iter();
    Ok(configured
        .map(|(word, meaning)| (word.to_owned(), meaning))
        .collect())
}

/// The texts, owned.
pub(crate) fn owned(texts: Option<Vec<&str>>) -> Vec<String> {
    let texts = texts.unwrap_or_default().into_iter();
    texts.map(str::to_owned).collect()
}
