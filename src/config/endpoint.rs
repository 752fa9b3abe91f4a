//! What everything that calls a token endpoint has in common: the endpoint's keys, the client's
//! credential there, and what an exchange is told of its answers.

use super::described::{Doc, Role};
use super::draft::Draft;
use super::format::{
    Boolean, Choice, DurationIn, Endpoint, FormParameter, HttpUrl, MapOf, OneOrMany, TextOf,
    leaves_in_clear,
};
use super::problem::{Reported, Wrong};
use super::section::{
    Declared, Entry, Optional, Or, OrNothing, OrWrong, Required, Section, Usually, keys,
};
use crate::exchange::client::assertion::Assertion;
use crate::exchange::client::certificate::Certificate;
use crate::exchange::client::key::SigningKey;
use crate::exchange::grant::Grant;
use crate::exchange::{ClientAuth, Meaning, Terms, TokenCall};
use std::time::Duration;

/// The keys of one token endpoint, whatever they are called in the strategy's block.
pub(crate) struct EndpointKeys {
    pub token_url: Required<HttpUrl>,
    pub cluster: Optional<TextOf>,
    pub insecure: Usually<Boolean>,
    pub client_id: Optional<TextOf>,
    pub client_secret: Optional<TextOf>,
    pub client_secret_env: Optional<TextOf>,
    pub auth_method: Optional<Choice<Method>>,
    pub key_env: Optional<TextOf>,
    pub key_id: Optional<TextOf>,
    pub parameters: Optional<MapOf<OneOrMany<TextOf>, FormParameter>>,
    /// How a client with a secret authenticates, unless it says otherwise.
    usual: Method,
}

impl EndpointKeys {
    /// The keys that say where the endpoint is, and who calls it: for the table of a block, which
    /// `parameters` and `insecure` go into as well.
    pub(crate) const fn of_call(&'static self) -> [&'static dyn Entry; 8] {
        [
            &self.token_url,
            &self.cluster,
            &self.client_id,
            &self.client_secret,
            &self.client_secret_env,
            &self.auth_method,
            &self.key_env,
            &self.key_id,
        ]
    }
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

/// The names of an endpoint's keys, in the order of [`EndpointKeys`].
pub(crate) const NAMES: [&str; 10] = [
    "tokenUrl",
    "cluster",
    "insecureTokenUrl",
    "clientId",
    "clientSecret",
    "clientSecretEnv",
    "clientAuthMethod",
    "clientKeyEnv",
    "clientKeyId",
    "parameters",
];

/// The keys of a token endpoint under these names; what its URL and its client's id are for; how a
/// client with a secret usually authenticates; and the parameter of the filter's own that an operator
/// may set there all the same.
pub(crate) const fn endpoint(
    names: [&'static str; 10],
    url_is: &'static str,
    id_is: &'static str,
    usual: Method,
    but: &'static str,
) -> EndpointKeys {
    let [
        url,
        cluster,
        insecure,
        id,
        secret,
        secret_env,
        method,
        key_env,
        key_id,
        parameters,
    ] = names;
    let at_cluster = "The Envoy cluster that reaches it. TLS to it is the cluster's business.";
    let of_secret =
        "The client's secret; rather name an environment variable that holds it. Not both.";
    let of_secret_env = "The environment variable that holds the client's secret.";
    let of_method = "How the client authenticates:";
    let without_method = match usual {
        Method::Post => {
            "`client_secret_post` with a secret, `private_key_jwt` with a key, else `none`"
        }
        _ => "`client_secret_basic` with a secret, `private_key_jwt` with a key, else `none`",
    };
    let of_key = "For `private_key_jwt`: the environment variable that holds the client's private key \
                  (PEM; RSA of at least 2048 bits, or P-256). Envoy signs, from 1.37 on.";
    let of_parameters = "Further form fields: a string or a list of strings each. None that the \
                         filter sets itself.";
    let all_parameters = MapOf {
        item: OneOrMany(TextOf::ANY),
        name: FormParameter { but },
        allowed: "a map",
    };
    EndpointKeys {
        token_url: Declared::new(
            url,
            HttpUrl,
            OrWrong(&[]),
            Doc::new(url_is).is(Role::TokenUrl(cluster, insecure)),
        ),
        cluster: optional(
            cluster,
            TextOf::NOT_EMPTY,
            Doc::new(at_cluster).absent("the URL's `host[:port]`"),
        ),
        insecure: Declared::new(
            insecure,
            Boolean,
            Or("false"),
            Doc::new("Allows plain `http` beyond localhost."),
        ),
        client_id: optional(id, TextOf::NOT_EMPTY, Doc::new(id_is)),
        client_secret: optional(
            secret,
            TextOf::NOT_EMPTY,
            Doc::new(of_secret).is(Role::Secret(secret_env)),
        ),
        client_secret_env: optional(
            secret_env,
            TextOf::VARIABLE_NAME,
            Doc::new(of_secret_env).is(Role::SecretVariable),
        ),
        auth_method: optional(method, METHODS, Doc::new(of_method).absent(without_method)),
        key_env: optional(
            key_env,
            TextOf::VARIABLE_NAME,
            Doc::new(of_key).is(Role::KeyVariable),
        ),
        key_id: optional(
            key_id,
            TextOf::NOT_EMPTY,
            Doc::new("`kid` of the client's assertion."),
        ),
        parameters: optional(parameters, all_parameters, Doc::new(of_parameters)),
        usual,
    }
}

const fn optional<F>(name: &'static str, format: F, doc: Doc) -> Optional<F> {
    Declared::new(name, format, OrNothing, doc)
}

/// What the URL of an only endpoint is for.
pub(crate) const URL_IS: &str = "The token endpoint, `https` (see `insecureTokenUrl`).";
/// What the client's id is for.
pub(crate) const ID_IS: &str = "The filter's own id at the token endpoint.";

/// The endpoint of blocks that have one.
pub(crate) static ENDPOINT: EndpointKeys = endpoint(NAMES, URL_IS, ID_IS, Method::Basic, "");

/// What such blocks can say of the client's assertion besides.
pub(crate) const OF_ASSERTION: [&dyn Entry; 2] = [&CERTIFICATE_ENV, &ASSERTION_AUDIENCE];

keys! {
    /// The environment variable that holds the key's certificate (PEM), which goes along as `x5t#S256`
    /// of the assertion.
    optional CERTIFICATE_ENV "clientCertificateEnv": TextOf = TextOf::VARIABLE_NAME, is Role::CertificateVariable;
    /// `aud` of the assertion.
    optional ASSERTION_AUDIENCE "clientAssertionAudience": TextOf = TextOf::NOT_EMPTY,
        absent "`tokenUrl` without its query";
    /// How long each call to a token endpoint may take.
    optional TIMEOUT "timeout": DurationIn = DurationIn {
        least: Duration::from_millis(1),
        most: Duration::from_secs(60),
        bounds: "from 1ms to 60s",
    }, or "5s";
}

/// `stsErrors`.
pub(crate) type StsErrors = Optional<MapOf<Choice<Meaning>, TextOf>>;

keys! {
    /// What error words of the token endpoint mean: `rejected`, `forbidden`, `step_up`,
    /// `misconfigured` or `unavailable`. Never a success.
    optional STS_ERRORS "stsErrors": MapOf<Choice<Meaning>, TextOf> = MapOf {
        item: Choice(&[
            ("rejected", Meaning::Rejected),
            ("forbidden", Meaning::Forbidden),
            ("step_up", Meaning::StepUp),
            ("misconfigured", Meaning::Misconfigured),
            ("unavailable", Meaning::Unavailable),
        ]),
        name: TextOf::ERROR_WORD,
        allowed: "a map",
    };
    /// How long a token lives of which the STS does not say; without it, such a token serves one
    /// request.
    optional ASSUMED_LIFETIME "assumedLifetime": DurationIn = DurationIn::seconds(1, 24 * 3600, "from 1s to 24h");
    /// Whether a token in use is renewed ahead, for this backend.
    optional REFRESH_AHEAD "refreshAhead": Boolean, absent "`tokenCache.refreshAhead`";
}

/// What the block says of the token's life.
pub(crate) fn terms(block: &Section<'_>) -> Result<Terms, Reported> {
    Ok(Terms {
        assumed_lifetime: block.get(&ASSUMED_LIFETIME)?,
        refresh_ahead: block.get(&REFRESH_AHEAD)?,
        ..Terms::default()
    })
}

/// What a block says of all its calls.
#[derive(Clone)]
pub(crate) struct Common {
    timeout: Result<Duration, Reported>,
    sts_errors: Result<Vec<(String, Meaning)>, Reported>,
}

impl Common {
    pub(crate) fn of(block: &Section<'_>, sts_errors: &StsErrors) -> Self {
        let errors = block.get(sts_errors).map(Option::unwrap_or_default);
        let said = |(word, meaning): (&str, Result<_, _>)| Ok((word.to_owned(), meaning?));
        Self {
            timeout: block.get(&TIMEOUT),
            sts_errors: errors.and_then(|errors| errors.into_iter().map(said).collect()),
        }
    }
}

/// How a token endpoint is called.
pub(crate) struct Called<'n, 'b> {
    /// Where the endpoint is configured.
    pub block: &'b Section<'n>,
    pub keys: &'static EndpointKeys,
    /// What log lines call it.
    pub name: &'static str,
    pub common: Common,
}

impl Called<'_, '_> {
    /// The call with this grant.
    pub(crate) fn with(self, grant: Grant, draft: &Draft<'_>) -> Result<TokenCall, Reported> {
        let endpoint = self.endpoint();
        let client = self.client(endpoint.as_ref().ok(), draft);
        let endpoint = endpoint?;
        let cluster = self.block.get(&self.keys.cluster)?;
        let mut parameters = Vec::new();
        for (name, values) in self.block.get(&self.keys.parameters)?.unwrap_or_default() {
            let pair = |value: &str| (name.to_owned(), value.to_owned());
            parameters.extend(values?.into_iter().map(pair));
        }
        Ok(TokenCall {
            name: self.name,
            cluster: cluster.unwrap_or(&endpoint.authority).to_owned(),
            token_url: endpoint.url,
            authority: endpoint.authority,
            path: endpoint.path,
            client: client?,
            grant,
            parameters,
            sts_errors: self.common.sts_errors?,
            timeout: self.common.timeout?,
        })
    }

    /// Reports that no credential is configured, nor that none is meant: `why` it is needed. Whatever
    /// else is wrong with the endpoint.
    pub(crate) fn needs_credential(&self, why: impl FnOnce() -> String) -> Option<Reported> {
        let keys = self.keys;
        // Of the methods, none is the only one that fits no credential.
        let credentials: [&dyn Entry; 4] = [
            &keys.client_secret,
            &keys.client_secret_env,
            &keys.key_env,
            &keys.auth_method,
        ];
        if credentials.into_iter().any(|key| self.block.has(key)) {
            return None;
        }
        let key = &keys.client_secret_env;
        Some(self.block.error(key, Wrong::new(why())))
    }

    /// Tokens and client secrets go there: in clear only if the operator says so.
    fn endpoint(&self) -> Result<Endpoint, Reported> {
        let insecure = self.block.get(&self.keys.insecure);
        let endpoint = self.block.get(&self.keys.token_url);
        let url = self.block.text(&self.keys.token_url);
        if !url.is_some_and(leaves_in_clear) || insecure? {
            return endpoint;
        }
        let text = format!(
            "must be an https URL: http is allowed to the local host only, or with {}: true",
            self.keys.insecure.name
        );
        Err(self.block.error(&self.keys.token_url, Wrong::new(text)))
    }

    fn client(
        &self,
        endpoint: Option<&Endpoint>,
        draft: &Draft<'_>,
    ) -> Result<ClientAuth, Reported> {
        let (block, keys) = (self.block, self.keys);
        let id = block.get(&keys.client_id);
        let (inline, variable) = (&keys.client_secret, &keys.client_secret_env);
        let secret = draft.secret(block, inline, variable);
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
            block.error(&keys.client_id, Wrong::new(text));
        }
        let either = format!("{} or {}", inline.name, variable.name);
        let misfit = match method {
            Ok(Some(Method::Basic | Method::Post | Method::None)) if has_key => Some(format!(
                "must be private_key_jwt with {}",
                keys.key_env.name
            )),
            Ok(Some(Method::Basic | Method::Post)) if !has_secret => {
                Some(format!("needs {either}"))
            }
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
        let misfit = misfit.map(|text| block.error(&keys.auth_method, Wrong::new(text)));
        if has_key {
            let signed = self.signed(id, endpoint, draft);
            return misfit.map_or(signed, Err);
        }
        if let Some(reported) = misfit {
            return Err(reported);
        }
        let client_id = id?.map(str::to_owned);
        Ok(match (client_id, secret?, method?.unwrap_or(keys.usual)) {
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
        id: Result<Option<&str>, Reported>,
        endpoint: Option<&Endpoint>,
        draft: &Draft<'_>,
    ) -> Result<ClientAuth, Reported> {
        let (block, keys) = (self.block, self.keys);
        let key = pem(block, &keys.key_env, draft, SigningKey::from_pem);
        let certificate = pem(block, &CERTIFICATE_ENV, draft, Certificate::from_pem);
        let key_id = block.get(&keys.key_id);
        let audience = block.get(&ASSERTION_AUDIENCE);
        let (Some(key), certificate) = (key?, certificate?) else {
            return Err(block.error(&keys.key_env, Wrong::new("missing")));
        };
        if let Some(certificate) = &certificate
            && draft.owns(&key, certificate) == Some(false)
        {
            let text = format!("is not the certificate of the key in {}", keys.key_env.name);
            return Err(block.error(&CERTIFICATE_ENV, Wrong::new(text)));
        }
        if let Err(cannot) = draft.can_sign(&key) {
            return Err(block.error(&keys.key_env, Wrong::new(cannot)));
        }
        let url = endpoint.map_or("", |endpoint| &endpoint.url);
        let without_query = url.split('?').next().unwrap_or(url);
        Ok(ClientAuth::PrivateKey(Assertion {
            // A client without an id has been reported.
            client_id: id?.unwrap_or_default().to_owned(),
            audience: audience?.unwrap_or(without_query).to_owned(),
            key,
            key_id: key_id?.map(str::to_owned),
            thumbprint: certificate.map(|certificate| certificate.thumbprint().to_owned()),
        }))
    }
}

/// What the PEM text holds that is in the environment variable, if one is named.
fn pem<T, E: std::fmt::Display>(
    block: &Section<'_>,
    variable: &Optional<TextOf>,
    draft: &Draft<'_>,
    parse: impl Fn(&str) -> Result<T, E>,
) -> Result<Option<T>, Reported> {
    let Some(name) = block.get(variable)? else {
        return Ok(None);
    };
    let text = draft.pem(block, variable, name)?;
    parse(text.reveal()).map(Some).map_err(|problem| {
        let text = format!("what is in that environment variable {problem}");
        block.error(variable, Wrong::new(text))
    })
}

/// The texts, owned.
pub(crate) fn owned(texts: Option<Vec<&str>>) -> Vec<String> {
    let texts = texts.unwrap_or_default().into_iter();
    texts.map(str::to_owned).collect()
}
