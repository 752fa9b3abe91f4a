//! The table of what ToolHive's users have, by kind, and what becomes of it: resources after the shape
//! of every example, guide and end-to-end test of its repository that holds some.

/// What becomes of a file.
pub enum Outcome {
    /// Backends and their types; `default` is the default.
    Converts(&'static [(&'static str, &'static str)]),
    /// The reasons, one line each.
    Refused(&'static [&'static str]),
}
use Outcome::{Converts, Refused};

/// A resource: kind, name and spec, in the namespace `tools`.
pub fn resource(kind: &str, name: &str, spec: &str) -> String {
    let api = match kind {
        "Secret" | "ConfigMap" | "Namespace" => "v1",
        _ => "toolhive.stacklok.dev/v1beta1",
    };
    format!(
        "---\napiVersion: {api}\nkind: {kind}\nmetadata:\n  name: {name}\n  namespace: tools\n{spec}\n"
    )
}

pub fn config(name: &str, spec: &str) -> String {
    resource("MCPExternalAuthConfig", name, &format!("spec: {spec}"))
}

pub fn group() -> String {
    resource(
        "MCPGroup",
        "team",
        "spec: {description: what the team uses}",
    )
}

pub fn server(name: &str, more: &str) -> String {
    let spec = format!(
        "spec: {{image: img/{name}, transport: streamable-http, proxyPort: 8080, groupRef: {{name: \
         team}}{more}}}"
    );
    resource("MCPServer", name, &spec)
}

pub fn entry(name: &str, more: &str) -> String {
    let spec = format!(
        "spec: {{remoteUrl: 'https://{name}.example/mcp', transport: streamable-http, groupRef: \
         {{name: team}}{more}}}"
    );
    resource("MCPServerEntry", name, &spec)
}

pub fn gateway(more: &str) -> String {
    let spec = format!("spec:\n  groupRef: {{name: team}}\n{more}");
    resource("VirtualMCPServer", "gateway", &spec)
}

pub const ANONYMOUS: &str =
    "  incomingAuth: {type: anonymous}\n  outgoingAuth: {source: discovered}\n";
pub const OIDC: &str = "  incomingAuth:\n    type: oidc\n    oidcConfigRef: {name: login, audience: \
                    'https://mcp.example/mcp', resourceUrl: 'https://mcp.example/mcp'}\n";
pub const AUTH_SERVER: &str = "  authServerConfig:\n    issuer: https://mcp.example\n    \
                           upstreamProviders:\n      - name: github\n        type: oauth2\n        \
                           oauth2Config: {clientId: a}\n      - name: corp\n        type: oidc\n        \
                           oidcConfig: {issuerUrl: 'https://idp.example', clientId: b}\n";
pub const EXCHANGE: &str = "{type: tokenExchange, tokenExchange: {tokenUrl: 'https://sts.example/token', \
                        clientId: envoy, clientSecretRef: {name: sts, key: secret}, audience: api, \
                        scopes: [a, b]}}";

pub fn secret() -> String {
    resource(
        "Secret",
        "sts",
        "type: Opaque\nstringData: {secret: hunter2}",
    )
}

/// Every kind of file there is.
#[allow(clippy::too_many_lines)] // a table
pub fn files() -> Vec<(&'static str, String, Outcome)> {
    let old_names = "{type: tokenExchange, tokenExchange: {token_url: 'https://sts.example/t', \
                     client_id: a, client_secret_ref: {name: s, key: k}, audience: b, scope: c}}";
    let old_reasons: &[&str] = &[
        "spec.tokenExchange.token_url: an unknown field; did you mean tokenUrl?",
        "spec.tokenExchange.client_id: an unknown field; did you mean clientId?",
        "spec.tokenExchange.client_secret_ref: an unknown field; did you mean clientSecretRef?",
        "spec.tokenExchange.scope: an unknown field; did you mean scopes?",
    ];
    vec![
        (
            "an exchange under the names of an old guide",
            config("basic", old_names),
            Refused(old_reasons),
        ),
        (
            "the same, with its Secret and its MCPServer",
            secret()
                + &config("basic", old_names)
                + &server("fetch", ", externalAuthConfigRef: {name: basic}"),
            Refused(old_reasons),
        ),
        (
            "an exchange with its Secret and its MCPServer, without a gateway",
            secret()
                + &config("basic", EXCHANGE)
                + &server("fetch", ", externalAuthConfigRef: {name: basic}"),
            Converts(&[("basic", "token_exchange")]),
        ),
        (
            "a bearer token before a remote proxy",
            resource("Secret", "api", "stringData: {token: hunter2}")
                + &config(
                    "api",
                    "{type: bearerToken, bearerToken: {tokenSecretRef: {name: api, key: token}}}",
                )
                + &resource(
                    "MCPOIDCConfig",
                    "login",
                    "spec: {type: inline, inline: {issuer: 'https://login.example'}}",
                )
                + &resource(
                    "MCPRemoteProxy",
                    "api-proxy",
                    "spec: {remoteUrl: 'https://api.example/mcp', proxyPort: 8080, transport: \
                     streamable-http, oidcConfigRef: {name: login, audience: api}, \
                     externalAuthConfigRef: {name: api}}",
                ),
            Converts(&[("api", "header_injection")]),
        ),
        (
            "an entry, and nothing that it wants",
            entry("open", ""),
            Converts(&[("open", "unauthenticated")]),
        ),
        (
            "an entry with headers of its own",
            entry(
                "internal",
                ", headerForward: {addPlaintextHeaders: {X-Tenant: a}, addHeadersFromSecret: \
                 [{headerName: Authorization, valueSecretRef: {name: internal, key: bearer}}]}",
            ),
            Converts(&[("internal", "header_injection")]),
        ),
        (
            "an entry whose exchange stands beside it",
            config("exchange", EXCHANGE)
                + &entry("sales", ", externalAuthConfigRef: {name: exchange}"),
            Converts(&[("exchange", "token_exchange")]),
        ),
        (
            "an entry with a certificate of its own authority",
            resource("ConfigMap", "ca", "data: {ca.crt: x}")
                + &entry(
                    "own-ca",
                    ", caBundleRef: {configMapRef: {name: ca, key: ca.crt}}",
                ),
            Converts(&[("own-ca", "unauthenticated")]),
        ),
        (
            "a group of servers and entries behind an open gateway",
            group() + &server("github", "") + &entry("docs", "") + &gateway(ANONYMOUS),
            Converts(&[("github", "unauthenticated"), ("docs", "unauthenticated")]),
        ),
        (
            "a gateway for production: policies, limits, pods and all",
            resource("Namespace", "tools", "")
                + &secret()
                + &group()
                + &server("one", "")
                + &server("two", "")
                + &gateway(&format!(
                    "{OIDC}    authzConfig: {{type: inline, inline: {{policies: \
                     ['permit(principal, action, resource);']}}}}\n  outgoingAuth: {{source: \
                     discovered}}\n  serviceType: LoadBalancer\n  podTemplateSpec: {{spec: \
                     {{containers: [{{name: vmcp}}]}}}}\n  config: {{aggregation: \
                     {{conflictResolution: prefix}}, rateLimiting: {{perUser: {{maxTokens: 1}}}}}}\n"
                )),
            Converts(&[("one", "unauthenticated"), ("two", "unauthenticated")]),
        ),
        (
            "three gateways before one group",
            {
                let more = |name: &str| {
                    gateway(ANONYMOUS).replace("name: gateway", &format!("name: {name}"))
                };
                group() + &server("one", "") + &more("a") + &more("b") + &more("c")
            },
            Converts(&[("one", "unauthenticated")]),
        ),
        (
            "a gateway with an auth server, a default and overrides",
            group()
                + &config(
                    "github",
                    "{type: upstreamInject, upstreamInject: {providerName: github}}",
                )
                + &config(
                    "key",
                    "{type: headerInjection, headerInjection: {headerName: X-Key, valueSecretRef: {name: key, key: k}}}",
                )
                + &config(
                    "sts",
                    &EXCHANGE.replace("scopes: [a, b]", "subjectProviderName: corp"),
                )
                + &server("code", ", externalAuthConfigRef: {name: github}")
                + &server("wiki", "")
                + &server("crm", "")
                + &gateway(&format!(
                    "{OIDC}{AUTH_SERVER}  outgoingAuth:\n    source: inline\n    default: {{type: \
                     externalAuthConfigRef, externalAuthConfigRef: {{name: key}}}}\n    backends:\n      \
                     crm: {{type: externalAuthConfigRef, externalAuthConfigRef: {{name: sts}}}}\n"
                )),
            Converts(&[
                ("default", "header_injection"),
                ("code", "upstream_inject"),
                ("crm", "token_exchange"),
            ]),
        ),
        (
            "Entra's on-behalf-of, Cross-App Access and none at all",
            group()
                + &config(
                    "graph",
                    "{type: obo, obo: {tenantId: contoso.onmicrosoft.com, clientId: a, clientSecretRef: \
                     {name: entra, key: k}, scopes: ['https://graph.example/.default'], \
                     subjectTokenProviderName: corp, cacheSkew: 30s}}",
                )
                + &config(
                    "partner",
                    "{type: xaa, xaa: {idpTokenUrl: 'https://idp.example/t', idpClientId: a, \
                     idpClientSecretRef: {name: x, key: i}, targetTokenUrl: 'https://as.example/t', \
                     targetClientId: b, targetClientSecretRef: {name: x, key: t}, targetAudience: \
                     'https://as.example', targetResource: 'https://mcp.example/p', scopes: [s], \
                     subjectProviderName: corp}}",
                )
                + &config("none", "{type: unauthenticated}")
                + &config(
                    "github",
                    "{type: upstreamInject, upstreamInject: {providerName: github}}",
                )
                + &server("a", ", externalAuthConfigRef: {name: graph}")
                + &server("b", ", externalAuthConfigRef: {name: partner}")
                + &server("c", ", externalAuthConfigRef: {name: none}")
                + &server("d", ", externalAuthConfigRef: {name: github}")
                + &gateway(&format!("{OIDC}{AUTH_SERVER}")),
            Converts(&[
                ("a", "obo"),
                ("b", "xaa"),
                ("c", "unauthenticated"),
                ("d", "upstream_inject"),
            ]),
        ),
        (
            "an auth server with its store in Redis, by itself",
            config(
                "with-redis",
                "{type: embeddedAuthServer, embeddedAuthServer: {issuer: 'https://auth.example', \
                 upstreamProviders: [{name: google, type: oidc, oidcConfig: {issuerUrl: \
                 'https://idp.example', clientId: a}}], storage: {type: redis, redis: {sentinelConfig: \
                 {masterName: m, sentinelService: {name: s}}, aclUserConfig: {passwordSecretRef: \
                 {name: r, key: p}}}}}}",
            ),
            Converts(&[("with-redis", "upstream_inject")]),
        ),
        (
            "an auth server of one proxy",
            config(
                "login",
                "{type: embeddedAuthServer, embeddedAuthServer: {issuer: 'https://auth.example', \
                 upstreamProviders: [{name: google, type: oidc}]}}",
            ) + &resource(
                "MCPRemoteProxy",
                "docs",
                "spec: {remoteUrl: 'https://docs.example', authServerRef: {kind: \
                 MCPExternalAuthConfig, name: login}}",
            ),
            Converts(&[("docs", "upstream_inject")]),
        ),
        (
            "a proxy that wants nothing",
            resource(
                "MCPRemoteProxy",
                "docs",
                "spec: {remoteUrl: 'https://docs.example', oidcConfigRef: {name: login, audience: a}}",
            ),
            Converts(&[("docs", "unauthenticated")]),
        ),
        (
            "a gateway whose group is not among the files",
            group() + &gateway(ANONYMOUS),
            Refused(&[
                "spec.groupRef: no resource in here becomes a backend: no workload of the group \"team\"",
            ]),
        ),
        (
            "the first version's resources, as the guide on upgrades has them",
            (group() + &config("basic", EXCHANGE) + &entry("one", "") + &gateway(ANONYMOUS))
                .replace("v1beta1", "v1alpha1"),
            Converts(&[("one", "unauthenticated")]),
        ),
        (
            "AWS, which signs requests as a whole",
            config("aws", "{type: awsSts, awsSts: {region: eu-central-1}}"),
            Refused(&["envoy.filters.http.aws_request_signing"]),
        ),
        (
            "a kind and a group misspelt, beside what would convert",
            config("fine", "{type: unauthenticated}")
                + &config("lost", "{type: unauthenticated}").replace("AuthConfig", "AuthConfg")
                + &entry("gone", "").replace("toolhive.stacklok.dev", "toolhive.staklok.dev"),
            Refused(&[
                "kind: there is no kind \"MCPExternalAuthConfg\" of the operator's; did you mean \
                 MCPExternalAuthConfig?",
                "apiVersion: there is no group \"toolhive.staklok.dev\" of the operator's; did you \
                 mean toolhive.stacklok.dev?",
            ]),
        ),
        (
            "a type without its block, and a block without its type",
            config("a", "{type: tokenExchange}")
                + &config("b", "{type: unauthenticated, headerInjection: {}}"),
            Refused(&[
                "spec.tokenExchange: must be set if and only if type is tokenExchange",
                "spec.headerInjection: must be set if and only if type is headerInjection",
            ]),
        ),
        (
            "an empty provider's name",
            config(
                "a",
                "{type: upstreamInject, upstreamInject: {providerName: ''}}",
            ),
            Refused(&["spec.upstreamInject.providerName: must not be empty"]),
        ),
        (
            "a reference to what is not there",
            group() + &server("a", ", externalAuthConfigRef: {name: gone}") + &gateway(ANONYMOUS),
            Refused(&["spec.externalAuthConfigRef: there is no MCPExternalAuthConfig \"gone\""]),
        ),
        (
            "a gateway with authentication of a type that there is not",
            group() + &server("a", "") + &gateway("  incomingAuth: {type: basic}\n"),
            Refused(&["spec.incomingAuth.type: must be oidc or anonymous"]),
        ),
        (
            "an issuer with a slash at its end",
            config(
                "a",
                "{type: embeddedAuthServer, embeddedAuthServer: {issuer: 'https://a.example/', \
                 upstreamProviders: [{name: b}]}}",
            ),
            Refused(&["spec.embeddedAuthServer.issuer: must be an http(s) URL"]),
        ),
    ]
}
