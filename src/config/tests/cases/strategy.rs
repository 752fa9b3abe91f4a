//! The choice of a strategy, and `header_injection`.

use super::{Case, backend, invalid, valid};

pub(super) fn cases() -> Vec<Case> {
    [types_and_blocks(), header_injection()]
        .into_iter()
        .flatten()
        .collect()
}

fn types_and_blocks() -> Vec<Case> {
    vec![
        valid(backend(r#"{"type":"unauthenticated"}"#)),
        valid(backend(
            r#"{"type":"upstream_inject","upstreamInject":{"providerName":"github"},"tokenExchange":null}"#,
        )),
        invalid(
            backend("{}"),
            &[
                "outgoingAuth.backends.b.type: missing; must be one of upstream_inject, token_exchange, obo, xaa, header_injection, unauthenticated",
            ],
        ),
        invalid(
            backend(r#"{"type":"upstreamInject"}"#),
            &[
                r#"outgoingAuth.backends.b.type: unknown type "upstreamInject"; did you mean upstream_inject? (must be one of upstream_inject, token_exchange, obo, xaa, header_injection, unauthenticated)"#,
            ],
        ),
        invalid(
            backend(r#"{"type":"aws\nsts"}"#),
            &[
                r#"outgoingAuth.backends.b.type: unknown type "aws\nsts" (must be one of upstream_inject, token_exchange, obo, xaa, header_injection, unauthenticated)"#,
            ],
        ),
        invalid(
            backend(r#"{"type":["unauthenticated"]}"#),
            &[
                "outgoingAuth.backends.b.type: must be one of upstream_inject, token_exchange, obo, xaa, header_injection, unauthenticated, not a list",
            ],
        ),
        // Without a known type nothing is missing or foreign, but what is there is checked.
        invalid(
            backend(r#"{"type":"x","headerInjection":{"name":1}}"#),
            &[
                "outgoingAuth.backends.b.headerInjection.headerName: missing; must be the name of an HTTP header",
                "outgoingAuth.backends.b.headerInjection.name: unknown key (allowed here: headerName, headerValue, headerValueEnv)",
                r#"outgoingAuth.backends.b.type: unknown type "x" (must be one of upstream_inject, token_exchange, obo, xaa, header_injection, unauthenticated)"#,
            ],
        ),
        invalid(
            backend(r#"{"type":"upstream_inject"}"#),
            &[
                "outgoingAuth.backends.b.upstreamInject: missing; type upstream_inject needs it",
            ],
        ),
        invalid(
            backend(r#"{"type":"header_injection","headerInjection":null}"#),
            &[
                "outgoingAuth.backends.b.headerInjection: missing; type header_injection needs it",
            ],
        ),
        invalid(
            backend(r#"{"type":"token_exchange","tokenExchange":"https://sts"}"#),
            &["outgoingAuth.backends.b.tokenExchange: must be a map, not a string"],
        ),
        invalid(
            backend(
                r#"{"type":"upstream_inject","upstreamInject":{"providerName":"github"},
                    "tokenExchange":{"nonsense":1}}"#,
            ),
            &[
                "outgoingAuth.backends.b.tokenExchange: belongs to type token_exchange, but the type here is upstream_inject",
            ],
        ),
        invalid(
            backend(r#"{"type":"unauthenticated","headerInjection":{},"unauthenticated":{}}"#),
            &[
                "outgoingAuth.backends.b.headerInjection: belongs to type header_injection, but the type here is unauthenticated",
                "outgoingAuth.backends.b.unauthenticated: unknown key (allowed here: type, upstreamInject, tokenExchange, obo, xaa, headerInjection)",
            ],
        ),
        invalid(
            backend(r#"{"type":"unauthenticated","type":"unauthenticated"}"#),
            &["outgoingAuth.backends.b.type: given twice"],
        )
        .beyond_schema(),
        // `default` is a strategy like any other.
        invalid(
            r#"{"outgoingAuth":{"default":{"type":"header_injection","headerInjection":{"headerName":"x"}}}}"#,
            &[
                "outgoingAuth.default.headerInjection.headerValue: missing; either this or headerValueEnv must be set",
            ],
        )
        .beyond_schema(),
    ]
}

fn header(name: &str, rest: &str) -> String {
    backend(&format!(
        r#"{{"type":"header_injection","headerInjection":{{"headerName":"{name}",{rest}}}}}"#
    ))
}

fn header_injection() -> Vec<Case> {
    let not_settable = [
        ("Host", "host"),
        ("content-length", "content-length"),
        ("Transfer-Encoding", "transfer-encoding"),
        ("connection", "connection"),
        ("Keep-Alive", "keep-alive"),
        ("proxy-connection", "proxy-connection"),
        ("TE", "te"),
        ("Trailer", "trailer"),
        ("upgrade", "upgrade"),
    ];
    let mut cases: Vec<Case> = not_settable
        .iter()
        .map(|(written, name)| {
            let line: &'static str = format!(
                "outgoingAuth.backends.b.headerInjection.headerName: must not be {name}: hop-by-hop headers, host and content-length cannot be set"
            )
            .leak();
            invalid(header(written, r#""headerValue":"v""#), &[line]).beyond_schema()
        })
        .collect();
    cases.extend(header_values());
    cases
}

fn header_values() -> Vec<Case> {
    vec![
        valid(header("X-API-Key", r#""headerValue":"a key\twith \"blanks\"""#)),
        valid(header("Authorization", r#""headerValueEnv":"SECRET""#)),
        valid(header("x", r#""headerValueEnv":"SECRET_WITH_LINE_END","headerValue":null"#)),
        invalid(
            header(":authority", r#""headerValue":"v""#),
            &[
                "outgoingAuth.backends.b.headerInjection.headerName: must not be a pseudo-header (one that starts with a colon)",
            ],
        ),
        invalid(
            header("", r#""headerValue":"""#),
            &[
                "outgoingAuth.backends.b.headerInjection.headerName: must be the name of an HTTP header",
                "outgoingAuth.backends.b.headerInjection.headerValue: must be a header value: visible ASCII, spaces and tabs, not only blanks",
            ],
        ),
        invalid(
            header("x y", r#""headerValue":"CANARY\r\nx-evil: 1""#),
            &[
                "outgoingAuth.backends.b.headerInjection.headerName: must be the name of an HTTP header",
                "outgoingAuth.backends.b.headerInjection.headerValue: must be a header value: visible ASCII, spaces and tabs, not only blanks",
            ],
        ),
        invalid(
            header("x", r#""headerValue":"CANARY-é""#),
            &[
                "outgoingAuth.backends.b.headerInjection.headerValue: must be a header value: visible ASCII, spaces and tabs, not only blanks",
            ],
        ),
        invalid(
            header("x", r#""headerValue":4711.25"#),
            &[
                "outgoingAuth.backends.b.headerInjection.headerValue: must be a string, not a number",
            ],
        ),
        invalid(
            header("x", r#""headerValue":null"#),
            &[
                "outgoingAuth.backends.b.headerInjection.headerValue: missing; either this or headerValueEnv must be set",
            ],
        )
        .beyond_schema(),
        invalid(
            header("x", r#""headerValue":"CANARY-v","headerValueEnv":"SECRET""#),
            &[
                "outgoingAuth.backends.b.headerInjection.headerValueEnv: headerValue is set, too; only one of them is allowed",
            ],
        )
        .beyond_schema(),
        invalid(
            header("x", r#""headerValueEnv":"NOT_SET""#),
            &[
                "outgoingAuth.backends.b.headerInjection.headerValueEnv: environment variable NOT_SET is not set, empty, or not UTF-8",
            ],
        )
        .beyond_schema(),
        invalid(
            header("x", r#""headerValueEnv":"EMPTY""#),
            &[
                "outgoingAuth.backends.b.headerInjection.headerValueEnv: environment variable EMPTY is not set, empty, or not UTF-8",
            ],
        )
        .beyond_schema(),
        invalid(
            header("x", r#""headerValueEnv":"ONLY_LINE_ENDS""#),
            &[
                "outgoingAuth.backends.b.headerInjection.headerValueEnv: environment variable ONLY_LINE_ENDS is not set, empty, or not UTF-8",
            ],
        )
        .beyond_schema(),
        invalid(
            header("x", r#""headerValueEnv":"TWO_LINES""#),
            &[
                "outgoingAuth.backends.b.headerInjection.headerValueEnv: environment variable TWO_LINES must be a header value: visible ASCII, spaces and tabs, not only blanks",
            ],
        )
        .beyond_schema(),
        // What is not a usual name may be the secret itself.
        invalid(
            header("x", r#""headerValueEnv":"CANARY-pasted/secret""#),
            &[
                "outgoingAuth.backends.b.headerInjection.headerValueEnv: environment variable of the given name is not set, empty, or not UTF-8",
            ],
        )
        .beyond_schema(),
        invalid(
            header("x", r#""headerValueEnv":"""#),
            &[
                "outgoingAuth.backends.b.headerInjection.headerValueEnv: must be the name of an environment variable",
            ],
        ),
        invalid(
            header("x", r#""headerValueEnv":"A=B""#),
            &[
                "outgoingAuth.backends.b.headerInjection.headerValueEnv: must be the name of an environment variable",
            ],
        ),
    ]
}
