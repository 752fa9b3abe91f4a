//! The rules about providers: V-01, V-02, V-05 and V-06.

use super::{Case, backend, invalid, valid};

const INJECT_GITHUB: &str =
    r#"{"type":"upstream_inject","upstreamInject":{"providerName":"github"}}"#;

fn under(auth_server: &str, strategy: &str) -> String {
    format!(
        r#"{{"authServer":{auth_server},"outgoingAuth":{{"backends":{{"github-tools":{strategy}}}}}}}"#
    )
}

fn upstreams(list: &str, strategy: &str) -> String {
    under(
        &format!(r#"{{"runConfig":{{"upstreams":{list}}}}}"#),
        strategy,
    )
}

pub(super) fn cases() -> Vec<Case> {
    [mode_a(), unknown_providers(), auth_servers(), names()]
        .into_iter()
        .flatten()
        .collect()
}

fn mode_a() -> Vec<Case> {
    vec![
        invalid(
            under("null", INJECT_GITHUB),
            &[
                r#"outgoingAuth.backends.github-tools: V-01: upstream_inject of provider "github" needs authServer, which is not configured"#,
            ],
        )
        .beyond_schema(),
        invalid(
            r#"{"outgoingAuth":{"default":{"type":"token_exchange","tokenExchange":
                {"tokenUrl":"https://sts/","subjectProviderName":"github"}}}}"#,
            &[
                r#"outgoingAuth.default: V-01: subjectProviderName "github" needs authServer, which is not configured"#,
            ],
        )
        .beyond_schema(),
        valid(
            r#"{"outgoingAuth":{"default":{"type":"token_exchange","tokenExchange":
                {"tokenUrl":"https://sts/","subjectProviderName":""}}}}"#,
        ),
        invalid(
            under("null", r#"{"type":"upstream_inject","upstreamInject":{}}"#),
            &[
                "outgoingAuth.backends.github-tools: V-01: upstream_inject needs authServer, which is not configured",
                "outgoingAuth.backends.github-tools.upstreamInject.providerName: V-06: missing; must be a string that is not empty",
            ],
        ),
    ]
}

fn unknown_providers() -> Vec<Case> {
    const LIST: &str = r#"[{"name":"github"},{"name":"corporate-idp"}]"#;
    vec![
        valid(upstreams(LIST, INJECT_GITHUB)),
        invalid(
            upstreams(
                LIST,
                r#"{"type":"upstream_inject","upstreamInject":{"providerName":"githib"}}"#,
            ),
            &[
                r#"outgoingAuth.backends.github-tools.upstreamInject.providerName: V-02: provider "githib" is not in authServer.runConfig.upstreams (github, corporate-idp)"#,
            ],
        )
        .beyond_schema(),
        invalid(
            upstreams(
                LIST,
                r#"{"type":"token_exchange","tokenExchange":{"tokenUrl":"https://sts/","subjectProviderName":"Github"}}"#,
            ),
            &[
                r#"outgoingAuth.backends.github-tools.tokenExchange.subjectProviderName: V-02: provider "Github" is not in authServer.runConfig.upstreams (github, corporate-idp)"#,
            ],
        )
        .beyond_schema(),
        invalid(
            r#"{"authServer":{"runConfig":{"upstreams":[{},{"name":"a, b"},{"name":"c\n"}]}},
                "outgoingAuth":{"default":{"type":"upstream_inject","upstreamInject":{"providerName":"\"x\"\n"}}}}"#,
            &[
                r#"outgoingAuth.default.upstreamInject.providerName: V-02: provider "\"x\"\n" is not in authServer.runConfig.upstreams (default, "a, b", "c\n")"#,
            ],
        )
        .beyond_schema(),
        // An upstream without a name is `default`.
        valid(backend(INJECT_GITHUB)),
        valid(upstreams(
            r#"[{"type":"oidc"},{"name":"github"}]"#,
            r#"{"type":"upstream_inject","upstreamInject":{"providerName":"default"}}"#,
        )),
        valid(upstreams(
            r#"[{"name":""}]"#,
            r#"{"type":"upstream_inject","upstreamInject":{"providerName":"default"}}"#,
        )),
        valid(upstreams(
            r#"[{"name":null}]"#,
            r#"{"type":"upstream_inject","upstreamInject":{"providerName":"default"}}"#,
        )),
    ]
}

fn auth_servers() -> Vec<Case> {
    const OPEN: &str = r#"{"type":"unauthenticated"}"#;
    vec![
        // Of runConfig, only what the filter needs is looked at.
        valid(under(
            r#"{"runConfig":{"issuer":"https://vmcp","x":{"y":[{"z":null}]},"upstreams":[{"name":"a","oauth2Config":{"clientSecret":1}}],"x":1}}"#,
            OPEN,
        )),
        invalid(
            under("{}", INJECT_GITHUB),
            &["authServer.runConfig: V-05: missing; must be a map"],
        ),
        invalid(
            under(r#"{"runConfig":{}}"#, INJECT_GITHUB),
            &["authServer.runConfig.upstreams: V-05: missing; must be a list"],
        ),
        invalid(
            upstreams("[]", INJECT_GITHUB),
            &["authServer.runConfig.upstreams: V-05: must not be empty"],
        ),
        invalid(
            upstreams(
                r#"[{"name":"a"},{},{"name":"a"},{"name":"default"},{"name":"a"}]"#,
                OPEN,
            ),
            &[
                r#"authServer.runConfig.upstreams[2].name: V-05: another upstream is already called "a""#,
                r#"authServer.runConfig.upstreams[3].name: V-05: another upstream is already called "default""#,
                r#"authServer.runConfig.upstreams[4].name: V-05: another upstream is already called "a""#,
            ],
        )
        .beyond_schema(),
        // What cannot be read does not make every provider unknown.
        invalid(
            upstreams(r#"[{"name":7},"github",null,{"name":"a\u0000b"}]"#, INJECT_GITHUB),
            &[
                "authServer.runConfig.upstreams[0].name: must be a string, not a number",
                "authServer.runConfig.upstreams[1]: must be a map, not a string",
                "authServer.runConfig.upstreams[2]: must be a map, not null",
                "authServer.runConfig.upstreams[3].name: must not hold a NUL character",
            ],
        ),
        invalid(
            upstreams(r#"{"github":{}}"#, INJECT_GITHUB),
            &["authServer.runConfig.upstreams: must be a list, not a map"],
        ),
        invalid(
            under("true", INJECT_GITHUB),
            &["authServer: must be a map, not a boolean"],
        ),
        invalid(
            under(
                r#"{"runConfig":{"issuer":1,"upstreams":[{}],"upstreams":[{}]},"storage":{}}"#,
                OPEN,
            ),
            &[
                "authServer.runConfig.issuer: must be a string, not a number",
                "authServer.runConfig.upstreams: given twice",
                "authServer.storage: unknown key (allowed here: runConfig)",
            ],
        ),
    ]
}

fn names() -> Vec<Case> {
    vec![
        invalid(
            backend(r#"{"type":"upstream_inject","upstreamInject":{}}"#),
            &[
                "outgoingAuth.backends.b.upstreamInject.providerName: V-06: missing; must be a string that is not empty",
            ],
        ),
        invalid(
            backend(r#"{"type":"upstream_inject","upstreamInject":{"providerName":""}}"#),
            &["outgoingAuth.backends.b.upstreamInject.providerName: V-06: must not be empty"],
        ),
        invalid(
            backend(r#"{"type":"upstream_inject","upstreamInject":{"providerName":null}}"#),
            &[
                "outgoingAuth.backends.b.upstreamInject.providerName: V-06: missing; must be a string that is not empty",
            ],
        ),
        invalid(
            backend(r#"{"type":"upstream_inject","upstreamInject":{"providerName":["github"]}}"#),
            &["outgoingAuth.backends.b.upstreamInject.providerName: must be a string, not a list"],
        ),
        invalid(
            backend(
                r#"{"type":"upstream_inject","upstreamInject":{"providerName":"git\u0000hub"}}"#,
            ),
            &["outgoingAuth.backends.b.upstreamInject.providerName: must not hold a NUL character"],
        ),
        invalid(
            backend(r#"{"type":"upstream_inject","upstreamInject":{"providername":"github"}}"#),
            &[
                "outgoingAuth.backends.b.upstreamInject.providerName: V-06: missing; must be a string that is not empty",
                "outgoingAuth.backends.b.upstreamInject.providername: unknown key; did you mean providerName? (allowed here: providerName)",
            ],
        ),
    ]
}
