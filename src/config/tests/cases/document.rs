//! What stands around the strategies.

use super::{Case, document, invalid, valid};

pub(super) fn cases() -> Vec<Case> {
    [
        root(),
        outgoing_auth(),
        identity_and_challenge(),
        token_cache(),
    ]
    .into_iter()
    .flatten()
    .collect()
}

fn root() -> Vec<Case> {
    vec![
        valid(document("")),
        valid(document(
            r#""authServer":null,"backendFrom":null,"identity":null,"challenge":null,"tokenCache":null"#,
        )),
        valid(document(
            r#""identity":{},"challenge":{},"tokenCache":{},"backendFrom":"route_name""#,
        )),
        valid(document(r#""backendFrom":"cluster_name""#)),
        valid(document(r#""backendFrom":"route_metadata""#)),
        invalid("[]", &["(root): must be a map, not a list"]),
        invalid(r#""text""#, &["(root): must be a map, not a string"]),
        invalid("1", &["(root): must be a map, not a number"]),
        invalid("{}", &["outgoingAuth: missing; must be a map"]),
        invalid("null", &["outgoingAuth: missing; must be a map"]),
        invalid(
            r#"{"outgoingAuth":null}"#,
            &["outgoingAuth: missing; must be a map"],
        ),
        invalid(
            document(r#""tokencache":{},"":1,"a.b":2,"q\"\n":null"#),
            &[
                r#"[""]: unknown key (allowed here: authServer, outgoingAuth, backendFrom, identity, challenge, tokenCache)"#,
                r#"["a.b"]: unknown key (allowed here: authServer, outgoingAuth, backendFrom, identity, challenge, tokenCache)"#,
                r#"["q\"\n"]: unknown key (allowed here: authServer, outgoingAuth, backendFrom, identity, challenge, tokenCache)"#,
                "tokencache: unknown key; did you mean tokenCache? (allowed here: authServer, outgoingAuth, backendFrom, identity, challenge, tokenCache)",
            ],
        ),
        invalid(
            document(r#""backendFrom":"cluster_name","backendFrom":"route_name""#),
            &["backendFrom: given twice"],
        )
        .beyond_schema(),
        invalid(
            document(r#""challenge":null,"challenge":{},"challenge":{}"#),
            &["challenge: given twice"],
        )
        .beyond_schema(),
        invalid(
            document(r#""backendFrom":"header""#),
            &[
                r#"backendFrom: must be one of cluster_name, route_name, route_metadata, gateway_route, not "header""#,
            ],
        ),
        invalid(
            document(r#""backendFrom":1,"identity":[],"challenge":"x","tokenCache":true"#),
            &[
                "backendFrom: must be one of cluster_name, route_name, route_metadata, gateway_route, not a number",
                "challenge: must be a map, not a string",
                "identity: must be a map, not a list",
                "tokenCache: must be a map, not a boolean",
            ],
        ),
    ]
}

fn outgoing_auth() -> Vec<Case> {
    vec![
        valid(
            r#"{"outgoingAuth":{"source":"inline","default":null,
                "backends":{"b":{"type":"unauthenticated"},"c":null}}}"#,
        ),
        valid(r#"{"outgoingAuth":{"backends":{"a.b/ü \n":{"type":"unauthenticated"}}}}"#),
        invalid(
            r#"{"outgoingAuth":{}}"#,
            &["outgoingAuth: neither a default nor a backend is configured"],
        )
        .beyond_schema(),
        invalid(
            r#"{"outgoingAuth":{"backends":{},"default":null}}"#,
            &["outgoingAuth: neither a default nor a backend is configured"],
        )
        .beyond_schema(),
        invalid(
            r#"{"outgoingAuth":{"backends":{"b":null}}}"#,
            &["outgoingAuth: neither a default nor a backend is configured"],
        )
        .beyond_schema(),
        invalid(
            r#"{"outgoingAuth":{"source":"discovered","default":{"type":"unauthenticated"}}}"#,
            &[r#"outgoingAuth.source: must be inline, not "discovered""#],
        ),
        invalid(
            r#"{"outgoingAuth":{"source":"discovered"}}"#,
            &[
                "outgoingAuth: neither a default nor a backend is configured",
                r#"outgoingAuth.source: must be inline, not "discovered""#,
            ],
        ),
        invalid(
            r#"{"outgoingAuth":{"backends":[],"default":"unauthenticated"}}"#,
            &[
                "outgoingAuth.backends: must be a map from backend names to strategies, not a list",
                "outgoingAuth.default: must be a map, not a string",
            ],
        ),
        invalid(
            r#"{"outgoingAuth":{"backends":{"":{"type":"unauthenticated"}}}}"#,
            &[r#"outgoingAuth.backends[""]: a backend's name must not be empty"#],
        ),
        invalid(
            r#"{"outgoingAuth":{"backends":{"a.b":{"type":"unauthenticated"},"c":7,
                "a.b":{"type":"unauthenticated"}}}}"#,
            &[
                r#"outgoingAuth.backends["a.b"]: given twice"#,
                "outgoingAuth.backends.c: must be a map, not a number",
            ],
        ),
    ]
}

fn identity_and_challenge() -> Vec<Case> {
    vec![
        valid(document(
            r#""identity":{"metadataNamespace":"my.ns","upstreamTokensKey":"ü k","healthCheckKey":"h"}"#,
        )),
        invalid(
            document(
                r#""identity":{"metadataNamespace":"","upstreamTokensKey":1,"healthCheckKey":"a\u0000b"}"#,
            ),
            &[
                "identity.healthCheckKey: must not hold a NUL character",
                "identity.metadataNamespace: must not be empty",
                "identity.upstreamTokensKey: must be a string, not a number",
            ],
        ),
        valid(document(
            r#""challenge":{"realm":"mcp, all of it","scope":"mcp:tools mcp:read",
               "resourceMetadata":"https://mcp.example.com/.well-known/oauth-protected-resource?a=b"}"#,
        )),
        valid(document(
            r#""challenge":{"resourceMetadata":"http://127.0.0.1:8080"}"#,
        )),
        invalid(
            document(r#""challenge":{"realm":"a\"b","scope":"a  b","resourceMetadata":"/x"}"#),
            &[
                r#"challenge.realm: must be a string of visible ASCII, spaces and tabs without " and \, not empty"#,
                "challenge.resourceMetadata: must be an absolute http or https URL",
                r#"challenge.scope: must be scopes with one space between them: visible ASCII without " and \ (RFC 6749 section 3.3)"#,
            ],
        ),
        invalid(
            document(
                r#""challenge":{"realm":"a\nb","scope":"","resourceMetadata":"ftp://x/","error":"x"}"#,
            ),
            &[
                "challenge.error: unknown key (allowed here: realm, resourceMetadata, scope, authorizationUri, fromBackends, backends)",
                r#"challenge.realm: must be a string of visible ASCII, spaces and tabs without " and \, not empty"#,
                "challenge.resourceMetadata: must be an http or https URL",
                r#"challenge.scope: must be scopes with one space between them: visible ASCII without " and \ (RFC 6749 section 3.3)"#,
            ],
        ),
    ]
}

fn token_cache() -> Vec<Case> {
    const COUNT: &str = "tokenCache.maxEntries: must be a whole number from 0 to 1000000";
    vec![
        valid(document(
            r#""tokenCache":{"maxEntries":4096,"maxTtl":"1h","expirySkew":"15s","refreshAhead":true,"negativeTtl":"10s"}"#,
        )),
        valid(document(
            r#""tokenCache":{"maxEntries":0,"maxTtl":0,"expirySkew":"0","refreshAhead":false,"negativeTtl":0.0}"#,
        )),
        valid(document(
            r#""tokenCache":{"maxEntries":1000000.0,"maxTtl":"24h","expirySkew":"10m","negativeTtl":"300s"}"#,
        )),
        invalid(document(r#""tokenCache":{"maxEntries":1000001}"#), &[COUNT]),
        invalid(document(r#""tokenCache":{"maxEntries":-1}"#), &[COUNT]),
        invalid(document(r#""tokenCache":{"maxEntries":0.5}"#), &[COUNT]),
        invalid(document(r#""tokenCache":{"maxEntries":1e300}"#), &[COUNT]),
        invalid(
            document(r#""tokenCache":{"maxEntries":"4096","refreshAhead":"yes","maxTtl":3600}"#),
            &[
                "tokenCache.maxEntries: must be a whole number from 0 to 1000000, not a string",
                "tokenCache.maxTtl: must be a duration from 0 to 24h, such as 250ms, 1.5s, 5m or 1h, not a number",
                "tokenCache.refreshAhead: must be true or false, not a string",
            ],
        ),
        invalid(
            document(r#""tokenCache":{"maxTtl":"24.1h","expirySkew":"601s","negativeTtl":"6m"}"#),
            &[
                "tokenCache.expirySkew: must be a duration from 0 to 10m, such as 250ms, 1.5s, 5m or 1h",
                "tokenCache.maxTtl: must be a duration from 0 to 24h, such as 250ms, 1.5s, 5m or 1h",
                "tokenCache.negativeTtl: must be a duration from 0 to 5m, such as 250ms, 1.5s, 5m or 1h",
            ],
        )
        .beyond_schema(),
        invalid(
            document(r#""tokenCache":{"maxTtl":"10 s"}"#),
            &["tokenCache.maxTtl: must be a duration from 0 to 24h, such as 250ms, 1.5s, 5m or 1h"],
        ),
    ]
}
