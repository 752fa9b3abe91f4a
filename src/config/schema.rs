//! Every key of the configuration: its place, its format, whether it is required, and what it is
//! for. The shape check and the JSON Schema are both made from this table; each strategy declares
//! the keys of its own block in its own file.

use super::endpoint::{ENDPOINT, TIMEOUT};
use super::format::{
    AnyText, BackendName, Boolean, Bytes, ChallengeText, Choice, Count, DurationIn, ErrorWord,
    HttpUrl, HttpsUrl, ListOf, MapOf, MetadataKey, MetadataKeyOrNone, Scopes,
};
use super::problem::Rule;
use super::shape::{Nested, Object, Optional, Required};
use super::strategies::{Backends, OneStrategy};
use crate::backend::BackendFrom;
use crate::challenge::FromBackends;
use crate::exchange::Meaning;
use crate::identity::TokenFrom;
use std::time::Duration;

/// The document itself.
pub static ROOT: Object = Object {
    keys: &[
        &AUTH_SERVER,
        &OUTGOING_AUTH,
        &BACKEND_FROM,
        &IDENTITY,
        &CHALLENGE,
        &TOKEN_CACHE,
    ],
    open: false,
};

/// `authServer`.
pub const AUTH_SERVER: Optional<Nested> = Optional {
    name: "authServer",
    format: Nested(&AUTH_SERVER_KEYS),
    meaning: "The embedded authorization server whose upstream tokens are injected; without it \
              (Mode A) there are none.",
};

static AUTH_SERVER_KEYS: Object = Object {
    keys: &[&RUN_CONFIG],
    open: false,
};

/// `authServer.runConfig`.
pub const RUN_CONFIG: Required<Nested> = Required {
    name: "runConfig",
    format: Nested(&RUN_CONFIG_KEYS),
    meaning: "The authorization server's own configuration, as in a vMCP file; keys that the \
              filter does not need are ignored.",
    rule: Some(Rule::V05),
};

static RUN_CONFIG_KEYS: Object = Object {
    keys: &[&ISSUER, &UPSTREAMS],
    open: true,
};

/// `authServer.runConfig.issuer`.
pub const ISSUER: Optional<AnyText> = Optional {
    name: "issuer",
    format: AnyText,
    meaning: "The issuer of the identity tokens; the filter itself does not need it.",
};

/// `authServer.runConfig.upstreams`.
pub const UPSTREAMS: Required<ListOf<Nested>> = Required {
    name: "upstreams",
    format: ListOf {
        item: Nested(&UPSTREAM_KEYS),
        not_empty: Some(Rule::V05),
    },
    meaning: "The identity providers whose tokens the authorization server collects.",
    rule: Some(Rule::V05),
};

static UPSTREAM_KEYS: Object = Object {
    keys: &[&UPSTREAM_NAME],
    open: true,
};

/// `authServer.runConfig.upstreams[].name`.
pub const UPSTREAM_NAME: Optional<MetadataKeyOrNone> = Optional {
    name: "name",
    format: MetadataKeyOrNone,
    meaning: "What providerName and subjectProviderName call it; default if absent or empty.",
};

/// `outgoingAuth`.
pub const OUTGOING_AUTH: Required<Nested> = Required {
    name: "outgoingAuth",
    format: Nested(&OUTGOING_AUTH_KEYS),
    meaning: "How requests to each backend are authenticated.",
    rule: None,
};

static OUTGOING_AUTH_KEYS: Object = Object {
    keys: &[&SOURCE, &DEFAULT, &BACKENDS],
    open: false,
};

/// `outgoingAuth.source`.
pub const SOURCE: Optional<Choice<()>> = Optional {
    name: "source",
    format: Choice(&[("inline", ())]),
    meaning: "Always inline: there is nothing to discover here.",
};

/// `outgoingAuth.default`.
pub const DEFAULT: Optional<OneStrategy> = Optional {
    name: "default",
    format: OneStrategy,
    meaning: "The strategy of every backend that is not listed; without it they are refused.",
};

/// `outgoingAuth.backends`.
pub const BACKENDS: Optional<Backends> = Optional {
    name: "backends",
    format: Backends,
    meaning: "The strategy of each backend, by its name.",
};

/// `backendFrom`.
pub const BACKEND_FROM: Optional<Choice<BackendFrom>> = Optional {
    name: "backendFrom",
    format: Choice(&[
        ("cluster_name", BackendFrom::ClusterName),
        ("route_name", BackendFrom::RouteName),
        ("route_metadata", BackendFrom::RouteMetadata),
        ("gateway_route", BackendFrom::GatewayRoute),
    ]),
    meaning: "What names the backend of a request: its Envoy cluster (cluster_name, the default), \
              its route (route_name), filter_metadata[\"upstream_inject\"][\"backend\"] of its \
              route (route_metadata), or what Envoy Gateway writes into its route (gateway_route).",
};

/// `identity`.
pub const IDENTITY: Optional<Nested> = Optional {
    name: "identity",
    format: Nested(&IDENTITY_KEYS),
    meaning: "Where the embedded authorization server puts the identity in dynamic metadata.",
};

static IDENTITY_KEYS: Object = Object {
    keys: &[
        &IDENTITY_SOURCE,
        &IDENTITY_EXCHANGE,
        &METADATA_NAMESPACE,
        &UPSTREAM_TOKENS_KEY,
        &UPSTREAM_ID_TOKENS_KEY,
        &HEALTH_CHECK_KEY,
        &UPSTREAM_UNAVAILABLE_KEY,
        &PAYLOAD_KEY,
        &REQUIRED,
        &TOKEN_FROM,
    ],
    open: false,
};

/// `identity.source`.
pub const IDENTITY_SOURCE: Optional<Choice<IdentitySource>> = Optional {
    name: "source",
    format: Choice(&[
        ("metadata", IdentitySource::Metadata),
        ("exchange", IdentitySource::Exchange),
    ]),
    meaning: "Where the user's upstream tokens come from: the embedded AS has put them into metadata \
              (metadata, the default), or the filter fetches a provider's token where a strategy \
              needs it (exchange).",
};

/// What [`IDENTITY_SOURCE`] becomes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IdentitySource {
    /// They are in the metadata.
    Metadata,
    /// They are fetched.
    Exchange,
}

/// `identity.exchange`.
pub const IDENTITY_EXCHANGE: Optional<Nested> = Optional {
    name: "exchange",
    format: Nested(&IDENTITY_EXCHANGE_KEYS),
    meaning: "With source exchange: who is asked for a provider's token.",
};

static IDENTITY_EXCHANGE_KEYS: Object = Object {
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
        &ENDPOINT.parameters,
        &IDENTITY_STS_ERRORS,
        &TIMEOUT,
        &MAX_AGE,
        &ENDPOINT.insecure,
    ],
    open: false,
};

/// `identity.exchange.stsErrors`.
pub const IDENTITY_STS_ERRORS: Optional<MapOf<Choice<Meaning>, ErrorWord>> = Optional {
    name: "stsErrors",
    format: MapOf {
        item: Choice(&[
            ("rejected", Meaning::Rejected),
            ("not_found", Meaning::NotFound),
            ("forbidden", Meaning::Forbidden),
            ("step_up", Meaning::StepUp),
            ("misconfigured", Meaning::Misconfigured),
            ("unavailable", Meaning::Unavailable),
        ]),
        name: ErrorWord,
    },
    meaning: "What error words of this token endpoint mean: rejected, not_found, forbidden, step_up, \
              misconfigured or unavailable.",
};

/// `identity.exchange.maxAge`.
pub const MAX_AGE: Optional<DurationIn> = Optional {
    name: "maxAge",
    format: DurationIn {
        least: Duration::from_secs(1),
        most: Duration::from_secs(3600),
        bounds: "from 1s to 1h",
    },
    meaning: "How long a provider's token is used before it is asked for again, 1m by default.",
};

const IDENTITY_KEY: MetadataKey = MetadataKey { not_empty: None };

/// `identity.metadataNamespace`.
pub const METADATA_NAMESPACE: Optional<MetadataKey> = Optional {
    name: "metadataNamespace",
    format: IDENTITY_KEY,
    meaning: "The namespace of the dynamic metadata, envoy.filters.http.ext_authz by default.",
};

/// `identity.upstreamTokensKey`.
pub const UPSTREAM_TOKENS_KEY: Optional<MetadataKey> = Optional {
    name: "upstreamTokensKey",
    format: IDENTITY_KEY,
    meaning: "The key of the map from provider to token, upstream_tokens by default.",
};

/// `identity.upstreamIdTokensKey`.
pub const UPSTREAM_ID_TOKENS_KEY: Optional<MetadataKey> = Optional {
    name: "upstreamIdTokensKey",
    format: IDENTITY_KEY,
    meaning: "The key of the map from provider to ID token, upstream_id_tokens by default.",
};

/// `identity.healthCheckKey`.
pub const HEALTH_CHECK_KEY: Optional<MetadataKey> = Optional {
    name: "healthCheckKey",
    format: IDENTITY_KEY,
    meaning: "The key whose boolean true marks a health check, health_check by default.",
};

/// `identity.upstreamUnavailableKey`.
pub const UPSTREAM_UNAVAILABLE_KEY: Optional<MetadataKey> = Optional {
    name: "upstreamUnavailableKey",
    format: IDENTITY_KEY,
    meaning: "The key of the map from provider to true, or of the list, of those that could not be \
              asked just now, upstream_unavailable by default.",
};

/// `identity.payloadKey`.
pub const PAYLOAD_KEY: Optional<MetadataKey> = Optional {
    name: "payloadKey",
    format: IDENTITY_KEY,
    meaning: "The key of the checked payload in jwt_authn's namespace, th_jwt by default (Istio: \
              payload).",
};

/// `identity.required`.
pub const REQUIRED: Optional<Boolean> = Optional {
    name: "required",
    format: Boolean,
    meaning: "Whether header_injection sends its key only for requests that somebody has \
              identified, true by default with an authServer.",
};

/// `identity.tokenFrom`.
pub const TOKEN_FROM: Optional<Choice<TokenFrom>> = Optional {
    name: "tokenFrom",
    format: Choice(&[
        ("authorization", TokenFrom::Authorization),
        ("filter_state", TokenFrom::FilterState),
    ]),
    meaning: "Where the TH-JWT is: in the authorization header (authorization, the default), or in \
              the filter state's object upstream_inject.identity_token and in no header \
              (filter_state).",
};

/// `challenge`.
pub const CHALLENGE: Optional<Nested> = Optional {
    name: "challenge",
    format: Nested(&CHALLENGE_KEYS),
    meaning: "What a client is told when it must log in again.",
};

static CHALLENGE_KEYS: Object = Object {
    keys: &[
        &REALM,
        &RESOURCE_METADATA,
        &SCOPE,
        &AUTHORIZATION_URI,
        &FROM_BACKENDS,
        &CHALLENGE_BACKENDS,
    ],
    open: false,
};

static CHALLENGE_OF_BACKEND_KEYS: Object = Object {
    keys: &[&REALM, &RESOURCE_METADATA, &SCOPE, &AUTHORIZATION_URI],
    open: false,
};

/// `challenge.realm`.
pub const REALM: Optional<ChallengeText> = Optional {
    name: "realm",
    format: ChallengeText,
    meaning: "The realm of every Bearer challenge.",
};

/// `challenge.resourceMetadata`.
pub const RESOURCE_METADATA: Optional<HttpUrl> = Optional {
    name: "resourceMetadata",
    format: HttpUrl,
    meaning: "The URL of the protected resource metadata (RFC 9728), where MCP clients find the \
              authorization server.",
};

/// `challenge.scope`.
pub const SCOPE: Optional<Scopes> = Optional {
    name: "scope",
    format: Scopes,
    meaning: "The scope of every Bearer challenge, with spaces between scopes.",
};

/// `challenge.authorizationUri`.
pub const AUTHORIZATION_URI: Optional<HttpsUrl> = Optional {
    name: "authorizationUri",
    format: HttpsUrl,
    meaning: "Goes along with insufficient_claims as authorization_uri, as Entra's clients want it.",
};

/// `challenge.fromBackends`.
pub const FROM_BACKENDS: Optional<Choice<FromBackends>> = Optional {
    name: "fromBackends",
    format: Choice(&[
        ("replace", FromBackends::Replace),
        ("keep", FromBackends::Keep),
    ]),
    meaning: "What becomes of a backend's own challenge: it never reaches the client (replace, the \
              default), or goes on as it is (keep).",
};

/// `challenge.backends`.
pub const CHALLENGE_BACKENDS: Optional<MapOf<Nested, BackendName>> = Optional {
    name: "backends",
    format: MapOf {
        item: Nested(&CHALLENGE_OF_BACKEND_KEYS),
        name: BackendName,
    },
    meaning: "What differs for a backend, by its name.",
};

/// `tokenCache`.
pub const TOKEN_CACHE: Optional<Nested> = Optional {
    name: "tokenCache",
    format: Nested(&TOKEN_CACHE_KEYS),
    meaning: "How many exchanged tokens are kept, and how long.",
};

static TOKEN_CACHE_KEYS: Object = Object {
    keys: &[
        &MAX_ENTRIES,
        &MAX_BYTES,
        &SHARE,
        &MAX_TTL,
        &EXPIRY_SKEW,
        &REFRESH_AHEAD,
        &NEGATIVE_TTL,
    ],
    open: false,
};

/// `tokenCache.maxEntries`.
pub const MAX_ENTRIES: Optional<Count> = Optional {
    name: "maxEntries",
    format: Count { most: 1_000_000 },
    meaning: "The most entries that each worker keeps, 4096 by default; 0 turns caching off.",
};

/// `tokenCache.maxBytes`.
pub const MAX_BYTES: Optional<Bytes> = Optional {
    name: "maxBytes",
    format: Bytes,
    meaning: "The most bytes of keys and tokens that each worker keeps, 64MiB by default.",
};

/// `tokenCache.share`.
pub const SHARE: Optional<Boolean> = Optional {
    name: "share",
    format: Boolean,
    meaning: "Reserved for one exchange that serves all workers of an Envoy. In this version each \
              worker is on its own, and true is answered with a warning.",
};

/// `tokenCache.maxTtl`.
pub const MAX_TTL: Optional<DurationIn> = Optional {
    name: "maxTtl",
    format: DurationIn {
        least: Duration::ZERO,
        most: Duration::from_secs(24 * 3600),
        bounds: "from 0 to 24h",
    },
    meaning: "The longest time a token is kept, 1h by default.",
};

/// `tokenCache.expirySkew`.
pub const EXPIRY_SKEW: Optional<DurationIn> = Optional {
    name: "expirySkew",
    format: DurationIn {
        least: Duration::ZERO,
        most: Duration::from_secs(10 * 60),
        bounds: "from 0 to 10m",
    },
    meaning: "A token is not used in this last part of its life, 15s by default.",
};

/// `tokenCache.refreshAhead`.
pub const REFRESH_AHEAD: Optional<Boolean> = Optional {
    name: "refreshAhead",
    format: Boolean,
    meaning: "Whether a token in use is renewed in the background before it expires, true by \
              default.",
};

/// `tokenCache.negativeTtl`.
pub const NEGATIVE_TTL: Optional<DurationIn> = Optional {
    name: "negativeTtl",
    format: DurationIn {
        least: Duration::ZERO,
        most: Duration::from_secs(5 * 60),
        bounds: "from 0 to 5m",
    },
    meaning: "How long a subject that the STS refused is remembered, 10s by default; 0 turns it \
              off.",
};
