//! Several things that are wrong with one value, or in one block: one round says them all, and nothing
//! that only follows from them.

use super::{Case, backend, invalid};

pub(super) fn cases() -> Vec<Case> {
    [values(), clients(), blocks(), identity()]
        .into_iter()
        .flatten()
        .collect()
}

fn exchange(url: &str, fields: &str) -> String {
    backend(&format!(
        r#"{{"type":"token_exchange","tokenExchange":{{"tokenUrl":"{url}"{fields}}}}}"#
    ))
}

fn values() -> Vec<Case> {
    vec![
        invalid(
            exchange("http://me:CANARY@sts.example:0/t#f", ""),
            &[
                "outgoingAuth.backends.b.tokenExchange.tokenUrl: must be a URL whose port is a number from 1 to 65535",
                "outgoingAuth.backends.b.tokenExchange.tokenUrl: must be a URL without a fragment (#…)",
                "outgoingAuth.backends.b.tokenExchange.tokenUrl: must be a URL without a user name or a password",
                "outgoingAuth.backends.b.tokenExchange.tokenUrl: must be an https URL: http is allowed to the local host only, or with insecureTokenUrl: true",
            ],
        ),
        // Where http will do, it is no fault.
        invalid(
            exchange("http://sts.example/t#f", r#","insecureTokenUrl":true"#),
            &[
                "outgoingAuth.backends.b.tokenExchange.tokenUrl: must be a URL without a fragment (#…)",
            ],
        ),
        // What is no URL has no scheme, no host and no port that could be wrong too.
        invalid(
            exchange("ftp:sts.example", ""),
            &["outgoingAuth.backends.b.tokenExchange.tokenUrl: must be an http or https URL"],
        ),
        invalid(
            backend(
                r#"{"type":"header_injection","headerInjection":{"headerName":":a b-c-d-e-f","headerValueEnv":"SECRET"}}"#,
            ),
            &[
                "outgoingAuth.backends.b.headerInjection.headerName: must be the name of an HTTP header",
                "outgoingAuth.backends.b.headerInjection.headerName: must not be a pseudo-header (one that starts with a colon)",
                "outgoingAuth.backends.b.headerInjection.headerName: must not have more than 3 hyphens: a server may take each for _ or ., and every such spelling that a client sends is removed",
            ],
        ),
        invalid(
            super::document(
                r#""challenge":{"authorizationUri":"http://me@login.example/a#f","resourceMetadata":"http:///x#f"}"#,
            ),
            &[
                "challenge.authorizationUri: must be a URL without a fragment (#…)",
                "challenge.authorizationUri: must be a URL without a user name or a password",
                "challenge.authorizationUri: must be an absolute https URL",
                "challenge.resourceMetadata: must be a URL with a host",
                "challenge.resourceMetadata: must be a URL without a fragment (#…)",
            ],
        ),
    ]
}

/// Both forms of a secret, a method that fits neither, a key that is not there, and no id.
fn clients() -> Vec<Case> {
    vec![
        invalid(
            exchange(
                "https://sts.example/t",
                r#","clientSecret":"CANARY","clientSecretEnv":"SECRET","clientAuthMethod":"none""#,
            ),
            &[
                "outgoingAuth.backends.b.tokenExchange.clientAuthMethod: must not be none with clientSecret or clientSecretEnv",
                "outgoingAuth.backends.b.tokenExchange.clientId: missing; a client secret needs it",
                "outgoingAuth.backends.b.tokenExchange.clientSecretEnv: clientSecret is set, too; only one of them is allowed",
            ],
        )
        .beyond_schema(),
        invalid(
            exchange(
                "https://sts.example/t",
                r#","clientKeyEnv":"UNSET","clientAuthMethod":"client_secret_post""#,
            ),
            &[
                "outgoingAuth.backends.b.tokenExchange.clientAuthMethod: must be private_key_jwt with clientKeyEnv",
                "outgoingAuth.backends.b.tokenExchange.clientId: missing; a client's key needs it",
                "outgoingAuth.backends.b.tokenExchange.clientKeyEnv: environment variable UNSET is not set, empty, or not UTF-8",
            ],
        )
        .beyond_schema(),
    ]
}

/// A rule about a whole block is applied whatever is wrong with a value in it.
fn blocks() -> Vec<Case> {
    vec![
        invalid(
            backend(r#"{"type":"obo","obo":{"tokenUrl":"sts","clientId":"","scopes":[]}}"#),
            &[
                "outgoingAuth.backends.b.obo.clientId: must not be empty",
                "outgoingAuth.backends.b.obo.clientSecretEnv: missing; the on-behalf-of grant needs the client's credential: a secret, a key, or clientAuthMethod: none if something else brings it",
                "outgoingAuth.backends.b.obo.scopes: missing; either this or audience must be set",
                "outgoingAuth.backends.b.obo.tokenUrl: must be an absolute http or https URL",
            ],
        ),
        invalid(
            backend(
                r#"{"type":"xaa","xaa":{"idpTokenUrl":"idp","idpClientId":"i","targetTokenUrl":"https://as.example","targetClientId":"t","targetAudience":"","subjectProviderName":"githib"}}"#,
            ),
            &[
                "outgoingAuth.backends.b.xaa.idpClientSecretEnv: missing; idpClientId needs a credential, or idpClientAuthMethod: none",
                "outgoingAuth.backends.b.xaa.idpTokenUrl: must be an absolute http or https URL",
                "outgoingAuth.backends.b.xaa.subjectProviderName: V-02: provider \"githib\" is not in authServer.runConfig.upstreams (github, corporate-idp)",
                "outgoingAuth.backends.b.xaa.targetAudience: must not be empty",
                "outgoingAuth.backends.b.xaa.targetClientSecretEnv: missing; targetClientId needs a credential, or targetClientAuthMethod: none",
            ],
        ),
        invalid(
            exchange(
                "https://sts.example/t",
                r#","grantType":"jwt_bearer","resource":"api","actorProviderName":"github""#,
            ),
            &[
                "outgoingAuth.backends.b.tokenExchange.actorProviderName: is not sent with grantType jwt_bearer",
                "outgoingAuth.backends.b.tokenExchange.resource: must be an absolute URI without fragment",
            ],
        ),
    ]
}

fn identity() -> Vec<Case> {
    vec![invalid(
        super::document(
            r#""identity":{"source":"exchange","tokenFrom":"authorization","exchange":{"tokenUrl":"http://identity.example/t#f","clientSecretEnv":"SECRET","maxAge":"2h"}}"#,
        ),
        &[
            "identity.exchange.clientId: missing; a client secret needs it",
            "identity.exchange.maxAge: must be a duration from 1s to 1h, such as 250ms, 1.5s, 5m or 1h",
            "identity.exchange.tokenUrl: must be a URL without a fragment (#…)",
            "identity.exchange.tokenUrl: must be an https URL: http is allowed to the local host only, or with insecureTokenUrl: true",
            "identity.source: V-01: source: exchange needs authServer, which is not configured",
            "identity.tokenFrom: must be filter_state, the default, with source: exchange",
        ],
    )]
}
