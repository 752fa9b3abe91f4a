//! The table itself.

use super::Code;

/// A constant for each row, and the list of all.
macro_rules! table {
    ($($name:ident = $id:literal, $title:literal, $advice:literal;)+) => {
        $(
            pub(crate) static $name: Code = Code { id: $id, title: $title, advice: $advice };
        )+
        /// Every code there is, in the order of the page.
        pub(crate) static ALL: &[&Code] = &[$(&$name),+];
    };
}

table! {
    V_01 = "V-01", "A user's token without an auth server",
        "A strategy wants a token that a provider issued, and nothing in the configuration issues \
         any. Add `authServer`, keep ToolHive's `authserver-config.yaml` beside the file, or name it \
         with `--auth-server FILE`.";
    V_02 = "V-02", "A provider that the auth server does not have",
        "The name is not among `authServer.runConfig.upstreams`, so that no user ever has a token of \
         it. The message lists the names there are; an upstream without one is called `default`.";
    V_03 = "V-03", "The gateway's own token goes to the STS",
        "Without a subject provider the token that the client presented is exchanged, and the STS must \
         trust the embedded auth server. Name the provider whose token is meant.";
    V_04 = "V-04", "Two issuers",
        "`incomingAuth.oidc.issuer` must be the auth server's `issuer`, letter by letter: otherwise \
         every token that it issues is refused.";
    V_05 = "V-05", "The auth server cannot work like this",
        "What is missing or given twice keeps the auth server from starting, or every login from \
         succeeding.";
    V_06 = "V-06", "An empty provider name",
        "Nothing is guessed: write the name of one of the auth server's upstreams.";
    V_07 = "V-07", "An audience that is never issued",
        "`incomingAuth.oidc.audience` must be one of the auth server's `allowed_audiences`, letter by \
         letter, or every token that it issues is refused.";
    UNREADABLE = "unreadable", "A file that cannot be read",
        "There is no such file, it may not be read, or it is larger than any configuration.";
    SYNTAX = "syntax", "Neither YAML nor JSON",
        "The file is broken at the place shown. Nothing else in it has been looked at.";
    NO_CONFIGURATION = "no-configuration", "Something else than a configuration",
        "The file holds no configuration of the filter, of vMCP or of Envoy, or more than one.";
    CONFIGURATION = "configuration", "A rule of the filter",
        "The filter refuses the configuration for this; the message says what is allowed.";
    UNKNOWN_KEY = "unknown-key", "A key that does not exist",
        "Unknown keys are errors, since a misspelt setting is one that does not hold. The message lists \
         what is allowed there.";
    GIVEN_TWICE = "given-twice", "A key that stands twice",
        "Which of the two counts depends on who reads the file. In a `Struct` of Envoy's YAML, Envoy \
         drops one of them before the filter can see it, so that `check` alone can tell.";
    STRATEGY = "strategy", "A strategy that cannot be used",
        "Its type is unknown or its block is missing, or a block of another type stands beside it, or \
         there is neither a backend nor a default.";
    BACKEND_NAME = "backend-name", "A backend's name that nothing can have",
        "It is empty, or has characters that control a terminal or end a line: no cluster, no route \
         and no resource is called so.";
    TOKEN_URL = "token-url", "A token endpoint that cannot be called",
        "It must be an absolute `https` URL with a host, without user information and fragment. Plain \
         `http` is for loopback, or `insecureTokenUrl: true`.";
    CLIENT = "client", "A client that cannot authenticate",
        "Id, secret, key and method must fit each other: a secret needs a `clientId`; `clientSecret` \
         and `clientSecretEnv` exclude each other; `private_key_jwt` needs a key and no secret.";
    VARIABLE = "variable", "An environment variable that is not there",
        "It must be set, and not empty, in Envoy's own environment, and be listed in the plugin's \
         `environment_variables`.";
    PARAMETERS = "parameters", "A form field that the filter sets itself",
        "`parameters` is for further fields; those of the grant have settings of their own.";
    STS_ERRORS = "sts-errors", "An error word or its meaning",
        "Words are lower-case letters, digits, `_`, `.` and `-`; meanings are `rejected`, `forbidden`, \
         `step_up`, `misconfigured` and `unavailable`.";
    RESOURCE = "resource", "What the token is for",
        "An `audience` is not empty, a `resource` is an absolute URI without a fragment (RFC 8707), a \
         scope is a scope-token of RFC 6749.";
    TOKEN_TYPE = "token-type", "A token type or a grant",
        "Short names or absolute URIs; with `jwt_bearer` none are sent.";
    HEADER = "header", "A header that cannot be set",
        "The name must be an HTTP token and none of those that make up the connection; the value is \
         visible ASCII, given once.";
    DURATION = "duration", "A duration out of bounds",
        "A number with `ms`, `s`, `m` or `h`, within the bounds that the message names.";
    TOKEN_FROM = "token-from", "Where the client's token is",
        "`identity.tokenFrom` is `authorization` or `filter_state`, the latter with `source: exchange`.";
    IDENTITY = "identity", "Where users' tokens come from",
        "`identity.source: exchange` needs `identity.exchange`, and the reverse.";
    CHALLENGE = "challenge", "What clients are told",
        "Values that can stand in a `www-authenticate` header, and absolute URLs.";
    TOKEN_CACHE = "token-cache", "How tokens are kept",
        "Numbers and sizes within the bounds that the message names.";
    AUTH_SERVER = "auth-server", "The auth server's configuration",
        "ToolHive's auth server, or whoever reads its sessions, cannot use this value.";
    UNREAD_KEY = "unread-key", "A setting that nobody reads",
        "It has no effect beside another one; take it out.";
    PLAIN_SECRET = "plain-secret", "A secret in plain text",
        "Whoever reads the file, Envoy's `/config_dump` or a backup of it has the secret. Let the \
         variable that the message names take it from the environment. What is a secret by its name alone \
         (a form field in `parameters`, a query of a `tokenUrl`) has no variable: it is sent as it stands.";
    VARIABLE_NAME = "variable-name", "A variable that nothing can set",
        "Shells and Kubernetes take letters, digits and `_`, not beginning with a digit.";
    INSECURE_TOKEN_URL = "insecure-token-url", "A token endpoint without TLS",
        "Users' tokens and the client's secret travel in plain text: use `https`, and take the switch \
         out where nothing needs it.";
    ROUTED_HEADER = "routed-header", "A credential's header that routes may match on",
        "In the downstream placement Envoy routes anew when the filter has set a header; in the router it \
         does not. A warning where the filter is seen to stand downstream, a note where its place is not \
         in the file. Put the filter into the router (docs/PLACEMENT.md), or match on no header that it sets.";
    UNUSED_UPSTREAM = "unused-upstream", "A login for nothing",
        "Every user is sent to each upstream, and no backend uses this one's tokens.";
    SHARED_STATS = "shared-stats", "Two backends, one name in stats",
        "In stat names everything but letters, digits, `_` and `-` becomes `_`; rename one of the two.";
    PLACEHOLDER = "placeholder", "A placeholder that nobody has filled",
        "The value is sent as it stands: the filter fills nothing in. Use the setting whose name ends \
         in `Env`, or fill it in before.";
    SCHEME = "scheme", "An authorization header without one scheme",
        "The value goes into `authorization` as it stands: `Bearer` (or another scheme), a space, the \
         credential, once.";
    VENDOR = "vendor", "A setting that cannot work at this token endpoint",
        "What the vendor documents of its token endpoint rules it out. docs/providers.md has a block to \
         copy for each vendor.";
    IDP_CLIENT = "idp-client", "An ID token for another client",
        "The identity provider wants the ID token's `aud` to be the client that exchanges it, so that \
         `idpClientId` is the `client_id` of that upstream.";
    READS_OTHERWISE = "reads-otherwise", "YAML that Envoy reads otherwise",
        "Envoy's own reader takes bare `yes`, `no`, `on`, `off`, `y` and `n` for booleans, ignores \
         tags, and knows no merge keys. Quote the value or write the map out; what `render` writes is \
         safe.";
    FIRST_UPSTREAM = "first-upstream", "Whose token, if nobody says",
        "In ToolHive's own files an absent `subjectProviderName` is the first upstream, because vMCP \
         puts that name there before it starts. Write the name, so that the order of the upstreams does \
         not choose users' tokens.";
    VMCP_REFUSES = "vmcp-refuses", "A file that vMCP itself refuses",
        "vMCP decodes `config.yaml` strictly. The auth server stands in a file of its own beside it, \
         `authserver-config.yaml`.";
    INCOMING_AUTH = "incoming-auth", "What vMCP checks and the filter does not see",
        "The setting guards vMCP's own door. In front of the filter it is `jwt_authn` that checks \
         tokens: what is named here must be carried over by hand (docs/MIGRATION.md).";
    DROPPED_POLICY = "dropped-policy", "Authorization that is not enforced",
        "vMCP's policies, limits and header rules do not hold behind Envoy: every valid user gets \
         through. Put `rbac`, `ext_authz`, an AuthorizationPolicy or rate limits in front, or keep vMCP \
         there.";
    BACKEND_LIST = "backend-list", "Two lists of backends that do not agree",
        "`backends` says where they are, `outgoingAuth.backends` what they get. A name in one alone is \
         mostly a slip: without a strategy (and without a default) each request is refused with \
         `backend_not_configured`.";
    BACKEND_URL = "backend-url", "A backend's address",
        "An absolute `http` or `https` URL, without user name and password. What stands in its query is \
         not sent here.";
    NOT_SERVED = "not-served", "Known to vMCP, not served here",
        "The filter has no such strategy; the message says why, and what serves it.";
    AUTH_SERVER_KEY = "auth-server-key", "A key that ToolHive drops without a word",
        "ToolHive reads `authserver-config.yaml` leniently: a misspelt key is a setting that does not \
         hold, and nothing says so.";
    ISSUER = "issuer", "An issuer that tokens will not carry",
        "It must be an absolute URL as it stands in `iss`: no placeholder, no slash at its end, `https` \
         but for loopback.";
    REDIRECT_URI = "redirect-uri", "A login that comes back elsewhere",
        "The browser returns to the upstream's `redirect_uri`, which must be one of the auth server's \
         own URLs, hence begin with its issuer (`ISSUER/oauth/callback`).";
    ALLOWED_AUDIENCE = "allowed-audience", "A resource that no token is issued for",
        "MCP clients send a metadata document's `resource` to the auth server, which refuses what is not \
         in `allowed_audiences`, letter by letter. List it there as it stands in the document, with and \
         without a slash at its end, and let `jwt_authn` accept it.";
    SIGNING_KEYS = "signing-keys", "Keys that a restart loses",
        "Without `signing_key_config` and `hmac_secret_files` the auth server makes keys of its own at \
         each start, and replicas refuse each other's tokens: everybody logs in again.";
    STORAGE_MEMORY = "storage-memory", "Sessions that nobody else can read",
        "`storage.type: memory` keeps users' tokens inside the auth server, where the identity service \
         does not reach. Use `redis`.";
    STORAGE = "storage", "The session store",
        "It can be used, though somebody should look at it.";
    ENVOY_NO_FILTER = "envoy-no-filter", "A listener without the filter",
        "Requests of that listener go on with whatever is on them. Put the filter into the router's \
         `upstream_http_filters` of every connection manager that leads to a backend.";
    ENVOY_GOES_BY = "envoy-goes-by", "A cluster that goes by the filter",
        "The router's upstream filters run only for clusters without `http_filters` of their own: \
         requests to this one get no credential. Put the filter into the cluster's list too, before \
         `upstream_codec`. What a `cache` filter sends on by itself, and what a matcher around the \
         filter does not match, goes by it as well.";
    ENVOY_DOOR = "envoy-door", "A route configuration without the door",
        "The client's token leaves with requests wherever the filter is not. Write \
         `request_headers_to_remove: [authorization]` (and each header that a strategy sets) on the \
         route configuration, or on each virtual host. With the filter before the router it is a \
         `header_mutation` right before the filter.";
    ENVOY_REDIRECT = "envoy-redirect", "A redirect inside Envoy",
        "The second pass of `internal_redirect_policy` or `custom_response` has lost its filter state \
         and carries what the first one set. Take it off these routes.";
    ENVOY_TARGET = "envoy-target", "A backend that the client chooses",
        "A dynamic forward proxy, or `ORIGINAL_DST` by a header, lets the client say who gets the \
         credential. Name the backends.";
    ENVOY_OPERATOR = "envoy-operator", "The client's token put on again",
        "`%REQ(authorization)%`, or the filter state's object, in `request_headers_to_add` hands the \
         token on that the door takes off. Only the auth server's `/oauth/` may have it back. In \
         `response_headers_to_add` it hands the client the credential that the backend got.";
    ENVOY_TIMEOUT = "envoy-timeout", "A timeout shorter than the exchange",
        "While the filter waits for a token the request counts as the backend's: a slow STS then ejects \
         a healthy backend. Let the route's timeouts exceed the exchange's.";
    ENVOY_STS = "envoy-sts", "A token endpoint that is a backend too",
        "A cluster that reaches an STS and serves as a backend shares its limits and its filters with \
         the filter's own calls. Give the STS a cluster of its own.";
    ENVOY_STS_CLUSTER = "envoy-sts-cluster", "A token endpoint that no cluster reaches",
        "The filter calls clusters by name; without one of this name every exchange is 503.";
    ENVOY_LOG = "envoy-log", "Users' tokens in access logs",
        "gRPC access logs ship all dynamic metadata, upstream tokens included, and so does a format with \
         `%DYNAMIC_METADATA(envoy.filters.http.ext_authz)%`. Use `identity.source: exchange`, which puts \
         nothing there, or log something else.";
    ENVOY_LENIENT = "envoy-lenient", "Requests that nobody has checked",
        "`allow_missing` and `allow_missing_or_failed` let requests without a valid token on. Together \
         with a redirect inside Envoy the first pass's credential meets a second pass of nobody.";
    ENVOY_PLAIN = "envoy-plain", "Trust over a plain connection",
        "Keys that are fetched in plain text, beyond this machine, are whoever's is in between: then \
         every token is. Use `https`, and a cluster that checks the server's name.";
    ENVOY_FAIL_OPEN = "envoy-fail-open", "A failure that lets requests through",
        "`failure_policy: FAIL_OPEN`, or `failure_mode_allow: true`, sends requests on as they are when \
         the filter or the check in front of it fails; and Envoy does not ask a filter whose \
         `allowed_capabilities` leave out the call that asks. Fail closed.";
    ENVOY_OFF = "envoy-off", "A route without the filter",
        "`FilterConfig {disabled: true}` under the filter's name, wherever it stands: right for routes \
         that lead to no backend (the auth server, metadata documents), nowhere else. `disabled: true` on \
         the filter's own entry is the same for all routes that do not switch it on.";
    ENVOY_BACKEND = "envoy-backend", "A cluster that no strategy is for",
        "A route leads to a cluster that is neither listed nor covered by a default: each request gets \
         500 `backend_not_configured`.";
    ENVOY_CONFIG = "envoy-config", "Envoy's configuration around the filter",
        "Something about where the filter stands keeps it from doing its work.";
    CONVERSION = "conversion", "A resource that is not converted as it is",
        "The message names the resource and the field.";
    RENDERING = "rendering", "What the rendering needs, or leaves open",
        "The message says what to give, or what to fill in.";
}
