//! Every key of the configuration: its place, its format, whether it is required, what it is when it
//! is absent, and what it is for. What reads a document, the JSON Schema and the README's reference are
//! made from this table; each strategy declares the keys of its own block in its own file.

use super::endpoint::{ENDPOINT, MEANINGS, OF_ASSERTION, TIMEOUT, sts_errors};
use super::format::{
    Boolean, Bytes, Choice, Count, DurationIn, HttpUrl, ListOf, MapOf, ProviderOrNone, TextOf,
};
use super::problem::Rule;
use super::section::{Nested, Object, keys};
use super::strategies::OneStrategy;
use crate::backend::BackendFrom;
use crate::challenge::FromBackends;
use crate::exchange::Meaning;
use crate::identity::{IdentitySettings, TokenFrom};

keys! {
    map ROOT:
    /// The embedded authorization server. Absent: there is none, and upstream tokens cannot be used
    /// (V-01).
    optional AUTH_SERVER "authServer": Nested = Nested(&AUTH_SERVER_KEYS);
    /// How requests to each backend are authenticated.
    required OUTGOING_AUTH "outgoingAuth": Nested = Nested(&OUTGOING_AUTH_KEYS);
    /// What names a request's backend: its Envoy cluster (`cluster_name`), its route (`route_name`),
    /// `filter_metadata["upstream_inject"]["backend"]` of its route (`route_metadata`), or what Envoy
    /// Gateway writes into each route (`gateway_route`): `NAMESPACE/` and the annotation
    /// `gateway.envoyproxy.io/upstream-inject-backend` of the HTTPRoute, else `NAMESPACE/NAME/RULE` if
    /// that is listed, else `NAMESPACE/NAME`.
    optional BACKEND_FROM "backendFrom": Choice<BackendFrom> = Choice(&[
        ("cluster_name", BackendFrom::ClusterName),
        ("route_name", BackendFrom::RouteName),
        ("route_metadata", BackendFrom::RouteMetadata),
        ("gateway_route", BackendFrom::GatewayRoute),
    ]), or "cluster_name";
    /// Where the user's identity and upstream tokens are.
    optional IDENTITY "identity": Nested = Nested(&IDENTITY_KEYS);
    /// What a client is told when it must log in again.
    optional CHALLENGE "challenge": Nested = Nested(&CHALLENGE_KEYS);
    /// How many exchanged tokens are kept, and how long.
    optional TOKEN_CACHE "tokenCache": Nested = Nested(&TOKEN_CACHE_KEYS);
}

keys! {
    map AUTH_SERVER_KEYS:
    /// Its vMCP configuration. Only what is named here is read; all else is ignored.
    required RUN_CONFIG "runConfig" by Rule::V05: Nested = Nested(&RUN_CONFIG_KEYS);
}

keys! {
    open map RUN_CONFIG_KEYS:
    /// Its issuer.
    optional ISSUER "issuer": TextOf = TextOf::ANY;
    /// The identity providers whose tokens it collects; at least one (V-05).
    required UPSTREAMS "upstreams" by Rule::V05: ListOf<Nested> = ListOf {
        item: Nested(&UPSTREAM_KEYS),
        not_empty: Some(Rule::V05),
    };
}

keys! {
    open map UPSTREAM_KEYS:
    /// What `providerName` and the like call it (V-02); empty is as good as absent.
    optional UPSTREAM_NAME "name": ProviderOrNone, or UPSTREAM_WITHOUT_NAME;
}

/// What an upstream without a name is called.
pub(super) const UPSTREAM_WITHOUT_NAME: &str = "default";

keys! {
    map OUTGOING_AUTH_KEYS:
    /// There is nothing to discover here.
    optional SOURCE "source": Choice<()> = Choice(&[("inline", ())]), or "inline";
    /// The strategy of backends that are not listed. Absent: they are refused.
    optional DEFAULT "default": OneStrategy;
    /// The strategy of each backend, by its name.
    optional BACKENDS "backends": MapOf<OneStrategy> = MapOf {
        item: OneStrategy,
        name: TextOf::BACKEND_NAME,
        allowed: "a map from backend names to strategies",
    };
}

keys! {
    map IDENTITY_KEYS:
    /// Where the user's upstream tokens come from: `ext_authz` has put them into metadata
    /// (`metadata`), or the filter fetches a provider's token where a strategy needs it (`exchange`).
    optional IDENTITY_SOURCE "source": Choice<IdentitySource> = Choice(&[
        ("metadata", IdentitySource::Metadata),
        ("exchange", IdentitySource::Exchange),
    ]), or "metadata";
    /// With `source: exchange`: who is asked for a provider's token.
    optional IDENTITY_EXCHANGE "exchange": Nested = Nested(&IDENTITY_EXCHANGE_KEYS);
    /// The namespace of the dynamic metadata that holds the authorization server's answer.
    optional METADATA_NAMESPACE "metadataNamespace": TextOf = TextOf::METADATA_KEY,
        or IdentitySettings::METADATA_NAMESPACE;
    /// The key, in it, of the map from provider to token.
    optional UPSTREAM_TOKENS_KEY "upstreamTokensKey": TextOf = TextOf::METADATA_KEY,
        or IdentitySettings::UPSTREAM_TOKENS_KEY;
    /// The key of the map from provider to ID token.
    optional UPSTREAM_ID_TOKENS_KEY "upstreamIdTokensKey": TextOf = TextOf::METADATA_KEY,
        or IdentitySettings::UPSTREAM_ID_TOKENS_KEY;
    /// The key of the map from provider to `true`, or of the list, of those that could not be asked
    /// just now: 503 instead of a login that would not help.
    optional UPSTREAM_UNAVAILABLE_KEY "upstreamUnavailableKey": TextOf = TextOf::METADATA_KEY,
        or IdentitySettings::UPSTREAM_UNAVAILABLE_KEY;
    /// The key whose boolean `true` marks a health check.
    optional HEALTH_CHECK_KEY "healthCheckKey": TextOf = TextOf::METADATA_KEY,
        or IdentitySettings::HEALTH_CHECK_KEY;
    /// The key of the checked payload in `jwt_authn`'s namespace (Istio: `payload`).
    optional PAYLOAD_KEY "payloadKey": TextOf = TextOf::METADATA_KEY,
        or IdentitySettings::PAYLOAD_KEY;
    /// Whether `header_injection` sends its key only for requests that somebody has identified: with
    /// a checked payload whose `iss` is `authServer.runConfig.issuer`, or, with `source: metadata`, with
    /// at least one upstream token under `upstreamTokensKey` that is a text and not empty.
    optional REQUIRED "required": Boolean, absent "`true` with an `authServer`, else `false`";
    /// Where the TH-JWT is: in the header of that name (`authorization`), or in the filter state's
    /// object `upstream_inject.identity_token` and in no header (`filter_state`).
    optional TOKEN_FROM "tokenFrom": Choice<TokenFrom> = Choice(&[
        ("authorization", TokenFrom::Authorization),
        ("filter_state", TokenFrom::FilterState),
    ]), absent "`authorization`, or `filter_state` with `source: exchange`";
}

/// What [`IDENTITY_SOURCE`] becomes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum IdentitySource {
    /// They are in the metadata.
    Metadata,
    /// They are fetched.
    Exchange,
}

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
    /// What error words of this token endpoint mean: `rejected`, `not_found`, `forbidden`, `step_up`,
    /// `misconfigured` or `unavailable`. Never a success.
    optional IDENTITY_STS_ERRORS "stsErrors": MapOf<Choice<Meaning>> = sts_errors(&MEANINGS);
    /// How long a provider's token is used before it is asked for again.
    optional MAX_AGE "maxAge": DurationIn = DurationIn::seconds(1, 3600, "from 1s to 1h"),
        or "1m";
}

keys! {
    map CHALLENGE_KEYS:
    /// The realm of every `Bearer` challenge.
    optional REALM "realm": TextOf = TextOf::CHALLENGE;
    /// The URL where MCP clients find the authorization server (RFC 9728); added to every challenge.
    optional RESOURCE_METADATA "resourceMetadata": HttpUrl;
    /// The scope of every `Bearer` challenge, with spaces between scopes.
    optional SCOPE "scope": TextOf = TextOf::SCOPES;
    /// Goes along with `insufficient_claims` as `authorization_uri`, as Entra's clients want it.
    optional AUTHORIZATION_URI "authorizationUri": TextOf = TextOf::HTTPS_URL;
    /// What becomes of a backend's own challenge: it never reaches the client, and a 401 to the
    /// user's credential gets ours instead (`replace`), or it goes on as it is (`keep`).
    optional FROM_BACKENDS "fromBackends": Choice<FromBackends> = Choice(&[
        ("replace", FromBackends::Replace),
        ("keep", FromBackends::Keep),
    ]), or "replace";
    /// What differs for a backend, by its name.
    optional CHALLENGE_BACKENDS "backends": MapOf<Nested> =
        MapOf::new(Nested(&CHALLENGE_OF_BACKEND_KEYS), TextOf::BACKEND_NAME);
}

static CHALLENGE_OF_BACKEND_KEYS: Object = Object {
    keys: &[&[&REALM, &RESOURCE_METADATA, &SCOPE, &AUTHORIZATION_URI]],
    open: false,
};

keys! {
    map TOKEN_CACHE_KEYS:
    /// Exchanged tokens (and refusals) kept per worker, and once more by all together where they
    /// share; `0` turns caching and sharing off.
    optional MAX_ENTRIES "maxEntries": Count = Count { most: 1_000_000 }, or "4096";
    /// Keys and tokens together, per worker, and once more for all together where they share: a
    /// number and `KiB`, `MiB` or `GiB`, up to `1GiB`.
    optional MAX_BYTES "maxBytes": Bytes, or "64MiB";
    /// Whether one exchange serves all workers of the Envoy; `false`: each worker exchanges for
    /// itself.
    optional SHARE "share": Boolean, or "true";
    /// The longest a token is kept.
    optional MAX_TTL "maxTtl": DurationIn = DurationIn::seconds(0, 24 * 3600, "from 0 to 24h"),
        or "1h";
    /// A token is never used in this last part of its life, or in its last fifth if that is less.
    optional EXPIRY_SKEW "expirySkew": DurationIn = DurationIn::seconds(0, 10 * 60, "from 0 to 10m"),
        or "15s";
    /// Whether a token in use is renewed in the last fifth of its usable life.
    optional REFRESH_AHEAD "refreshAhead": Boolean, or "true";
    /// How long a subject that the STS refused is remembered; `0` turns that off.
    optional NEGATIVE_TTL "negativeTtl": DurationIn = DurationIn::seconds(0, 5 * 60, "from 0 to 5m"),
        or "10s";
}
