//! The keys of a token endpoint, and of the blocks that have one.

use crate::config::doc::{Doc, Role};
use crate::config::format::{Boolean, Choice, DurationIn, HttpUrl, MapOf, OneOrMany, TextOf};
use crate::config::section::{Absent, Always, Declared, Entry, Optional, keys};
use crate::exchange::Meaning;
use std::time::Duration;

/// The keys of one token endpoint, whatever they are called in the strategy's block.
pub(crate) struct EndpointKeys {
    pub token_url: Always<HttpUrl>,
    pub cluster: Optional<TextOf>,
    pub insecure: Always<Boolean>,
    pub client_id: Optional<TextOf>,
    pub client_secret: Optional<TextOf>,
    pub client_secret_env: Optional<TextOf>,
    pub auth_method: Optional<Choice<Method>>,
    pub key_env: Optional<TextOf>,
    pub key_id: Optional<TextOf>,
    pub parameters: Optional<MapOf<OneOrMany<TextOf>>>,
    /// How a client with a secret authenticates, unless it says otherwise.
    pub(super) usual: Method,
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
/// client with a secret usually authenticates; and which form fields an operator may add.
pub(crate) const fn endpoint(
    names: [&'static str; 10],
    url_is: &'static str,
    id_is: &'static str,
    usual: Method,
    fields: TextOf,
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
    let of_key_id = "`kid` of the client's assertion.";
    let variable = TextOf::VARIABLE_NAME;
    let all_parameters = MapOf::new(OneOrMany(TextOf::ANY), fields);
    EndpointKeys {
        token_url: Declared::new(
            url,
            HttpUrl,
            Absent::IsWrong(&[]),
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
            Absent::Is("false"),
            Doc::new("Allows plain `http` beyond localhost."),
        ),
        client_id: text(id, TextOf::NOT_EMPTY, id_is, Role::Client),
        client_secret: text(
            secret,
            TextOf::NOT_EMPTY,
            of_secret,
            Role::Secret(secret_env),
        ),
        client_secret_env: text(secret_env, variable, of_secret_env, Role::SecretVariable),
        auth_method: optional(
            method,
            METHODS,
            Doc::new(of_method).absent(without_method).is(Role::Client),
        ),
        key_env: text(key_env, variable, of_key, Role::KeyVariable),
        key_id: text(key_id, TextOf::NOT_EMPTY, of_key_id, Role::Client),
        parameters: optional(
            parameters,
            all_parameters,
            Doc::new(of_parameters).is(Role::Parameters),
        ),
        usual,
    }
}

const fn text(
    name: &'static str,
    format: TextOf,
    is_for: &'static str,
    role: Role,
) -> Optional<TextOf> {
    optional(name, format, Doc::new(is_for).is(role))
}

const fn optional<F>(name: &'static str, format: F, doc: Doc) -> Optional<F> {
    Declared::new(name, format, Absent::IsNothing, doc)
}

/// What the URL of an only endpoint is for.
pub(crate) const URL_IS: &str = "The token endpoint, `https` (see `insecureTokenUrl`).";
/// What the client's id is for.
pub(crate) const ID_IS: &str = "The filter's own id at the token endpoint.";

/// The endpoint of blocks that have one.
pub(crate) static ENDPOINT: EndpointKeys =
    endpoint(NAMES, URL_IS, ID_IS, Method::Basic, TextOf::FORM_FIELD);

/// What such blocks can say of the client's assertion besides.
pub(crate) const OF_ASSERTION: [&dyn Entry; 2] = [&CERTIFICATE_ENV, &ASSERTION_AUDIENCE];

keys! {
    /// The environment variable that holds the key's certificate (PEM), which goes along as `x5t#S256`
    /// of the assertion.
    optional CERTIFICATE_ENV "clientCertificateEnv": TextOf = TextOf::VARIABLE_NAME, is Role::CertificateVariable;
    /// `aud` of the assertion.
    optional ASSERTION_AUDIENCE "clientAssertionAudience": TextOf = TextOf::NOT_EMPTY,
        absent "`tokenUrl` without its query", is Role::Client;
    /// How long each call to a token endpoint may take.
    optional TIMEOUT "timeout": DurationIn = DurationIn {
        least: Duration::from_millis(1),
        most: Duration::from_secs(60),
        bounds: "from 1ms to 60s",
    }, or "5s";
}

/// `stsErrors`.
pub(crate) type StsErrors = Optional<MapOf<Choice<Meaning>>>;

/// What the identity service's error words can mean, and what a backend's can, which knows no provider.
pub(crate) const MEANINGS: [(&str, Meaning); 6] = [
    ("rejected", Meaning::Rejected),
    ("not_found", Meaning::NotFound),
    ("forbidden", Meaning::Forbidden),
    ("step_up", Meaning::StepUp),
    ("misconfigured", Meaning::Misconfigured),
    ("unavailable", Meaning::Unavailable),
];
const MEANINGS_OF_BACKENDS: [(&str, Meaning); 5] = {
    let [rejected, _, forbidden, step_up, misconfigured, unavailable] = MEANINGS;
    [rejected, forbidden, step_up, misconfigured, unavailable]
};

/// A map from error words to these meanings.
pub(crate) const fn sts_errors(
    meanings: &'static [(&'static str, Meaning)],
) -> MapOf<Choice<Meaning>> {
    MapOf::new(Choice(meanings), TextOf::ERROR_WORD)
}

keys! {
    /// What error words of the token endpoint mean: `rejected`, `forbidden`, `step_up`,
    /// `misconfigured` or `unavailable`. Never a success.
    optional STS_ERRORS "stsErrors": MapOf<Choice<Meaning>> = sts_errors(&MEANINGS_OF_BACKENDS);
    /// How long a token lives of which the STS does not say; without it, such a token serves one
    /// request.
    optional ASSUMED_LIFETIME "assumedLifetime": DurationIn = DurationIn::seconds(1, 24 * 3600, "from 1s to 24h");
    /// Whether a token in use is renewed ahead, for this backend.
    optional REFRESH_AHEAD "refreshAhead": Boolean, absent "`tokenCache.refreshAhead`";
}
