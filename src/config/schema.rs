//! Every key of the configuration: its place, its format, whether it is required, and what it is
//! for. What reads a document and the JSON Schema are both made from this table; each strategy declares
//! the keys of its own block in its own file.

use super::endpoint::{ENDPOINT, OF_ASSERTION, TIMEOUT};
use super::format::{
    AnyText, BackendName, Boolean, Bytes, ChallengeText, Choice, Count, DurationIn, ErrorWord,
    HttpUrl, HttpsUrl, ListOf, MapOf, MetadataKey, MetadataKeyOrNone, Scopes,
};
use super::problem::Rule;
use super::section::{Nested, Object, keys};
use super::strategies::{Backends, OneStrategy};
use crate::backend::BackendFrom;
use crate::challenge::FromBackends;
use crate::exchange::Meaning;
use crate::identity::TokenFrom;

keys! {
    map ROOT:
    /// The embedded authorization server whose upstream tokens are injected; without it (Mode A)
    /// there are none.
    optional AUTH_SERVER "authServer": Nested = Nested(&AUTH_SERVER_KEYS);
    /// How requests to each backend are authenticated.
    required OUTGOING_AUTH "outgoingAuth": Nested = Nested(&OUTGOING_AUTH_KEYS);
    /// What names the backend of a request: its Envoy cluster (cluster_name, the default), its
    /// route (route_name), filter_metadata["upstream_inject"]["backend"] of its route
    /// (route_metadata), or what Envoy Gateway writes into its route (gateway_route).
    optional BACKEND_FROM "backendFrom": Choice<BackendFrom> = Choice(&[
        ("cluster_name", BackendFrom::ClusterName),
        ("route_name", BackendFrom::RouteName),
        ("route_metadata", BackendFrom::RouteMetadata),
        ("gateway_route", BackendFrom::GatewayRoute),
    ]);
    /// Where the embedded authorization server puts the identity in dynamic metadata.
    optional IDENTITY "identity": Nested = Nested(&IDENTITY_KEYS);
    /// What a client is told when it must log in again.
    optional CHALLENGE "challenge": Nested = Nested(&CHALLENGE_KEYS);
    /// How many exchanged tokens are kept, and how long.
    optional TOKEN_CACHE "tokenCache": Nested = Nested(&TOKEN_CACHE_KEYS);
}

keys! {
    map AUTH_SERVER_KEYS:
    /// The authorization server's own configuration, as in a vMCP file; keys that the filter does
    /// not need are ignored.
    required RUN_CONFIG "runConfig" by Rule::V05: Nested = Nested(&RUN_CONFIG_KEYS);
}

keys! {
    open map RUN_CONFIG_KEYS:
    /// The issuer of the identity tokens; the filter itself does not need it.
    optional ISSUER "issuer": AnyText;
    /// The identity providers whose tokens the authorization server collects.
    required UPSTREAMS "upstreams" by Rule::V05: ListOf<Nested> = ListOf {
        item: Nested(&UPSTREAM_KEYS),
        not_empty: Some(Rule::V05),
    };
}

keys! {
    open map UPSTREAM_KEYS:
    /// What providerName and subjectProviderName call it; default if absent or empty.
    optional UPSTREAM_NAME "name": MetadataKeyOrNone;
}

keys! {
    map OUTGOING_AUTH_KEYS:
    /// Always inline: there is nothing to discover here.
    optional SOURCE "source": Choice<()> = Choice(&[("inline", ())]);
    /// The strategy of every backend that is not listed; without it they are refused.
    optional DEFAULT "default": OneStrategy;
    /// The strategy of each backend, by its name.
    optional BACKENDS "backends": Backends;
}

keys! {
    map IDENTITY_KEYS:
    /// Where the user's upstream tokens come from: the embedded AS has put them into metadata
    /// (metadata, the default), or the filter fetches a provider's token where a strategy needs it
    /// (exchange).
    optional IDENTITY_SOURCE "source": Choice<IdentitySource> = Choice(&[
        ("metadata", IdentitySource::Metadata),
        ("exchange", IdentitySource::Exchange),
    ]);
    /// With source exchange: who is asked for a provider's token.
    optional IDENTITY_EXCHANGE "exchange": Nested = Nested(&IDENTITY_EXCHANGE_KEYS);
    /// The namespace of the dynamic metadata, envoy.filters.http.ext_authz by default.
    optional METADATA_NAMESPACE "metadataNamespace": MetadataKey = IDENTITY_KEY;
    /// The key of the map from provider to token, upstream_tokens by default.
    optional UPSTREAM_TOKENS_KEY "upstreamTokensKey": MetadataKey = IDENTITY_KEY;
    /// The key of the map from provider to ID token, upstream_id_tokens by default.
    optional UPSTREAM_ID_TOKENS_KEY "upstreamIdTokensKey": MetadataKey = IDENTITY_KEY;
    /// The key whose boolean true marks a health check, health_check by default.
    optional HEALTH_CHECK_KEY "healthCheckKey": MetadataKey = IDENTITY_KEY;
    /// The key of the map from provider to true, or of the list, of those that could not be asked
    /// just now, upstream_unavailable by default.
    optional UPSTREAM_UNAVAILABLE_KEY "upstreamUnavailableKey": MetadataKey = IDENTITY_KEY;
    /// The key of the checked payload in jwt_authn's namespace, th_jwt by default (Istio: payload).
    optional PAYLOAD_KEY "payloadKey": MetadataKey = IDENTITY_KEY;
    /// Whether header_injection sends its key only for requests that somebody has identified, true
    /// by default with an authServer.
    optional REQUIRED "required": Boolean;
    /// Where the TH-JWT is: in the authorization header (authorization, the default), or in the
    /// filter state's object upstream_inject.identity_token and in no header (filter_state).
    optional TOKEN_FROM "tokenFrom": Choice<TokenFrom> = Choice(&[
        ("authorization", TokenFrom::Authorization),
        ("filter_state", TokenFrom::FilterState),
    ]);
}

/// What [`IDENTITY_SOURCE`] becomes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IdentitySource {
    /// They are in the metadata.
    Metadata,
    /// They are fetched.
    Exchange,
}

const IDENTITY_KEY: MetadataKey = MetadataKey { not_empty: None };

static IDENTITY_EXCHANGE_KEYS: Object = Object {
    keys: &[
        &ENDPOINT.of_call(),
        &OF_ASSERTION,
        &[
            &ENDPOINT.parameters,
            &IDENTITY_STS_ERRORS,
            &TIMEOUT,
            &MAX_AGE,
            &ENDPOINT.insecure,
        ],
    ],
    open: false,
};

keys! {
    /// What error words of this token endpoint mean: rejected, not_found, forbidden, step_up,
    /// misconfigured or unavailable.
    optional IDENTITY_STS_ERRORS "stsErrors": MapOf<Choice<Meaning>, ErrorWord> = MapOf {
        item: Choice(&[
            ("rejected", Meaning::Rejected),
            ("not_found", Meaning::NotFound),
            ("forbidden", Meaning::Forbidden),
            ("step_up", Meaning::StepUp),
            ("misconfigured", Meaning::Misconfigured),
            ("unavailable", Meaning::Unavailable),
        ]),
        name: ErrorWord,
    };
    /// How long a provider's token is used before it is asked for again, 1m by default.
    optional MAX_AGE "maxAge": DurationIn = DurationIn::seconds(1, 3600, "from 1s to 1h");
}

keys! {
    map CHALLENGE_KEYS:
    /// The realm of every Bearer challenge.
    optional REALM "realm": ChallengeText;
    /// The URL of the protected resource metadata (RFC 9728), where MCP clients find the
    /// authorization server.
    optional RESOURCE_METADATA "resourceMetadata": HttpUrl;
    /// The scope of every Bearer challenge, with spaces between scopes.
    optional SCOPE "scope": Scopes;
    /// Goes along with insufficient_claims as authorization_uri, as Entra's clients want it.
    optional AUTHORIZATION_URI "authorizationUri": HttpsUrl;
    /// What becomes of a backend's own challenge: it never reaches the client (replace, the
    /// default), or goes on as it is (keep).
    optional FROM_BACKENDS "fromBackends": Choice<FromBackends> = Choice(&[
        ("replace", FromBackends::Replace),
        ("keep", FromBackends::Keep),
    ]);
    /// What differs for a backend, by its name.
    optional CHALLENGE_BACKENDS "backends": MapOf<Nested, BackendName> = MapOf {
        item: Nested(&CHALLENGE_OF_BACKEND_KEYS),
        name: BackendName,
    };
}

static CHALLENGE_OF_BACKEND_KEYS: Object = Object {
    keys: &[&[&REALM, &RESOURCE_METADATA, &SCOPE, &AUTHORIZATION_URI]],
    open: false,
};

keys! {
    map TOKEN_CACHE_KEYS:
    /// The most entries that each worker keeps, and once more all workers together where they
    /// share, 4096 by default; 0 turns caching and sharing off.
    optional MAX_ENTRIES "maxEntries": Count = Count { most: 1_000_000 };
    /// The most bytes of keys and tokens that each worker keeps, and once more all workers together
    /// where they share, 64MiB by default.
    optional MAX_BYTES "maxBytes": Bytes;
    /// Whether one exchange serves all workers of an Envoy, true by default; false: each worker
    /// exchanges for itself.
    optional SHARE "share": Boolean;
    /// The longest time a token is kept, 1h by default.
    optional MAX_TTL "maxTtl": DurationIn = DurationIn::seconds(0, 24 * 3600, "from 0 to 24h");
    /// A token is not used in this last part of its life, 15s by default.
    optional EXPIRY_SKEW "expirySkew": DurationIn = DurationIn::seconds(0, 10 * 60, "from 0 to 10m");
    /// Whether a token in use is renewed in the background before it expires, true by default.
    optional REFRESH_AHEAD "refreshAhead": Boolean;
    /// How long a subject that the STS refused is remembered, 10s by default; 0 turns it off.
    optional NEGATIVE_TTL "negativeTtl": DurationIn = DurationIn::seconds(0, 5 * 60, "from 0 to 5m");
}
