//! `token_exchange`.

use super::{Case, backend, invalid, valid};

/// A token exchange with more keys.
fn exchange(fields: &str) -> String {
    let comma = if fields.is_empty() { "" } else { "," };
    at_url("https://sts.example.com/token", &format!("{comma}{fields}"))
}

fn at_url(url: &str, rest: &str) -> String {
    backend(&format!(
        r#"{{"type":"token_exchange","tokenExchange":{{"tokenUrl":"{url}","subjectProviderName":"corporate-idp"{rest}}}}}"#
    ))
}

pub(super) fn cases() -> Vec<Case> {
    [shapes(), token_urls(), clients(), parameters(), timeouts()]
        .into_iter()
        .flatten()
        .collect()
}

fn shapes() -> Vec<Case> {
    vec![
        valid(exchange("")),
        valid(exchange(
            r#""cluster":"corp-sts","clientId":"envoy","clientSecretEnv":"SECRET",
               "clientAuthMethod":"client_secret_basic","audience":"https://api","resource":"https://api",
               "scopes":["read","write"],"subjectTokenType":"access_token",
               "requestedTokenType":"access_token","externalTokenHeaderName":"X-Upstream-Token",
               "timeout":"5s","insecureTokenUrl":false"#,
        )),
        valid(exchange(
            r#""cluster":null,"clientId":null,"clientSecret":null,"clientSecretEnv":null,
               "clientAuthMethod":null,"audience":null,"resource":null,"scopes":null,
               "subjectTokenType":null,"requestedTokenType":null,"externalTokenHeaderName":null,
               "timeout":null,"insecureTokenUrl":null"#,
        )),
        invalid(
            backend(r#"{"type":"token_exchange","tokenExchange":{}}"#),
            &[
                "outgoingAuth.backends.b.tokenExchange.tokenUrl: missing; must be an absolute http or https URL",
            ],
        ),
        invalid(
            exchange(
                r#""cluster":"","scope":"read","insecureTokenUrl":"no","tokenUrl":"https://x""#,
            ),
            &[
                "outgoingAuth.backends.b.tokenExchange.cluster: must not be empty",
                "outgoingAuth.backends.b.tokenExchange.insecureTokenUrl: must be true or false, not a string",
                "outgoingAuth.backends.b.tokenExchange.scope: unknown key; did you mean scopes? (allowed here: tokenUrl, cluster, clientId, clientSecret, clientSecretEnv, clientAuthMethod, clientKeyEnv, clientKeyId, clientCertificateEnv, clientAssertionAudience, grantType, audience, resource, scopes, subjectTokenType, requestedTokenType, subjectProviderName, actorProviderName, actorTokenType, parameters, externalTokenHeaderName, timeout, stsErrors, assumedLifetime, refreshAhead, insecureTokenUrl)",
                "outgoingAuth.backends.b.tokenExchange.tokenUrl: given twice",
            ],
        ),
    ]
}

fn token_urls() -> Vec<Case> {
    const NOT_A_URL: &str =
        "outgoingAuth.backends.b.tokenExchange.tokenUrl: must be an absolute http or https URL";
    const INSECURE: &str = "outgoingAuth.backends.b.tokenExchange.tokenUrl: must be an https URL: http is allowed to the local host only, or with insecureTokenUrl: true";
    const PORT: &str = "outgoingAuth.backends.b.tokenExchange.tokenUrl: must be a URL whose port is a number from 1 to 65535";
    vec![
        valid(at_url("https://sts", "")),
        valid(at_url("HTTPS://[2001:db8::1]:8443/a?b=c&d", "")),
        valid(at_url("http://localhost:8080/token", "")),
        valid(at_url("http://sts.localhost/token", "")),
        valid(at_url("http://127.9.9.9/token", "")),
        valid(at_url("http://[::1]:1/token", "")),
        valid(at_url(
            "http://sts.internal/token",
            r#","insecureTokenUrl":true"#,
        )),
        invalid(at_url("http://sts.internal/token", ""), &[INSECURE]).beyond_schema(),
        invalid(
            at_url("http://sts.internal/token", r#","insecureTokenUrl":false"#),
            &[INSECURE],
        )
        .beyond_schema(),
        invalid(
            at_url("http://sts.internal/token", r#","insecureTokenUrl":1"#),
            &[
                "outgoingAuth.backends.b.tokenExchange.insecureTokenUrl: must be true or false, not a number",
            ],
        ),
        invalid(at_url("", ""), &[NOT_A_URL]),
        invalid(at_url("sts.example.com/token", ""), &[NOT_A_URL]),
        invalid(at_url("https://sts/a b", ""), &[NOT_A_URL]).beyond_schema(),
        invalid(
            at_url("https://user:CANARY@sts/", ""),
            &[
                "outgoingAuth.backends.b.tokenExchange.tokenUrl: must be a URL without a user name or a password",
            ],
        ),
        invalid(
            at_url("https://sts/#CANARY", ""),
            &[
                "outgoingAuth.backends.b.tokenExchange.tokenUrl: must be a URL without a fragment (#…)",
            ],
        ),
        invalid(
            at_url("https:///token", ""),
            &["outgoingAuth.backends.b.tokenExchange.tokenUrl: must be a URL with a host"],
        ),
        invalid(at_url("https://sts:0/", ""), &[PORT]).beyond_schema(),
        invalid(at_url("https://sts:65536/", ""), &[PORT]).beyond_schema(),
    ]
}

fn clients() -> Vec<Case> {
    const NO_ID: &str =
        "outgoingAuth.backends.b.tokenExchange.clientId: missing; a client secret needs it";
    const NO_SECRET: &str = "outgoingAuth.backends.b.tokenExchange.clientAuthMethod: needs clientSecret or clientSecretEnv";
    const NOT_NONE: &str = "outgoingAuth.backends.b.tokenExchange.clientAuthMethod: must not be none with clientSecret or clientSecretEnv";
    vec![
        valid(exchange(r#""clientId":"e:nv oy ü","clientSecret":"CANARY ü\n""#)),
        valid(exchange(r#""clientId":"envoy""#)),
        valid(exchange(r#""clientId":"envoy","clientAuthMethod":"none""#)),
        valid(exchange(r#""clientAuthMethod":"none""#)),
        valid(exchange(
            r#""clientId":"envoy","clientSecret":"CANARY","clientAuthMethod":"client_secret_post""#,
        )),
        // Only the line end after a secret goes, not those within.
        valid(exchange(r#""clientId":"envoy","clientSecretEnv":"TWO_LINES""#)),
        invalid(exchange(r#""clientSecret":"CANARY""#), &[NO_ID]).beyond_schema(),
        invalid(exchange(r#""clientSecretEnv":"SECRET""#), &[NO_ID]).beyond_schema(),
        invalid(
            exchange(r#""clientId":"envoy","clientSecret":"CANARY","clientSecretEnv":"SECRET""#),
            &["outgoingAuth.backends.b.tokenExchange.clientSecretEnv: clientSecret is set, too; only one of them is allowed"],
        )
        .beyond_schema(),
        invalid(
            exchange(r#""clientId":"envoy","clientAuthMethod":"client_secret_basic""#),
            &[NO_SECRET],
        )
        .beyond_schema(),
        invalid(
            exchange(r#""clientAuthMethod":"client_secret_post""#),
            &[NO_SECRET],
        )
        .beyond_schema(),
        invalid(
            exchange(r#""clientSecret":"CANARY","clientAuthMethod":"none""#),
            &[NOT_NONE, NO_ID],
        )
        .beyond_schema(),
        invalid(
            exchange(r#""clientId":"","clientSecret":"","clientAuthMethod":"mtls""#),
            &[
                r#"outgoingAuth.backends.b.tokenExchange.clientAuthMethod: must be one of client_secret_basic, client_secret_post, private_key_jwt, none, not "mtls""#,
                "outgoingAuth.backends.b.tokenExchange.clientId: must not be empty",
                "outgoingAuth.backends.b.tokenExchange.clientSecret: must not be empty",
            ],
        ),
        // What is there, but wrong, is not missed.
        invalid(
            exchange(
                r#""clientId":["envoy"],"clientSecret":4711,"clientAuthMethod":"client_secret_post""#,
            ),
            &[
                "outgoingAuth.backends.b.tokenExchange.clientId: must be a string, not a list",
                "outgoingAuth.backends.b.tokenExchange.clientSecret: must be a string, not a number",
            ],
        ),
        invalid(
            exchange(r#""clientId":"envoy","clientSecretEnv":"NOT_SET","clientAuthMethod":"client_secret_basic""#),
            &["outgoingAuth.backends.b.tokenExchange.clientSecretEnv: environment variable NOT_SET is not set, empty, or not UTF-8"],
        )
        .beyond_schema(),
    ]
}

fn parameters() -> Vec<Case> {
    vec![
        valid(exchange(
            r#""audience":["a","b ü"],"resource":["urn:x:y","https://api/?q"],"scopes":[]"#,
        )),
        valid(exchange(r#""audience":[],"resource":[]"#)),
        valid(exchange(
            r#""subjectTokenType":"jwt","requestedTokenType":"id_token""#,
        )),
        valid(exchange(
            r#""subjectTokenType":"urn:example:t","requestedTokenType":"https://t/x""#,
        )),
        valid(exchange(r#""requestedTokenType":"""#)),
        invalid(
            exchange(r#""audience":"","resource":"","scopes":["","a b"]"#),
            &[
                "outgoingAuth.backends.b.tokenExchange.audience: must not be empty",
                "outgoingAuth.backends.b.tokenExchange.resource: must be an absolute URI without fragment",
                r#"outgoingAuth.backends.b.tokenExchange.scopes[0]: must be one scope: visible ASCII without blanks, " and \ (RFC 6749 section 3.3)"#,
                r#"outgoingAuth.backends.b.tokenExchange.scopes[1]: must be one scope: visible ASCII without blanks, " and \ (RFC 6749 section 3.3)"#,
            ],
        ),
        invalid(
            exchange(
                r#""audience":["a","",null],"resource":["https://api#f","/api"],"scopes":"read""#,
            ),
            &[
                "outgoingAuth.backends.b.tokenExchange.audience[1]: must not be empty",
                "outgoingAuth.backends.b.tokenExchange.audience[2]: must be a string, not null",
                "outgoingAuth.backends.b.tokenExchange.resource[0]: must be an absolute URI without fragment",
                "outgoingAuth.backends.b.tokenExchange.resource[1]: must be an absolute URI without fragment",
                "outgoingAuth.backends.b.tokenExchange.scopes: must be a list, not a string",
            ],
        ),
        invalid(
            exchange(r#""audience":{"a":1},"resource":1"#),
            &[
                "outgoingAuth.backends.b.tokenExchange.audience: must be a string or a list of strings, not a map",
                "outgoingAuth.backends.b.tokenExchange.resource: must be a string or a list of strings, not a number",
            ],
        ),
        invalid(
            exchange(r#""subjectTokenType":"","requestedTokenType":"saml2""#),
            &[
                "outgoingAuth.backends.b.tokenExchange.requestedTokenType: must be access_token, id_token, jwt, an absolute URI without fragment, or empty to leave it out",
                "outgoingAuth.backends.b.tokenExchange.subjectTokenType: must be access_token, id_token, jwt or an absolute URI without fragment",
            ],
        ),
        invalid(
            exchange(r#""subjectTokenType":"urn:x#f","externalTokenHeaderName":"Host""#),
            &[
                "outgoingAuth.backends.b.tokenExchange.externalTokenHeaderName: must not be host: hop-by-hop headers, host and content-length cannot be set",
                "outgoingAuth.backends.b.tokenExchange.subjectTokenType: must be access_token, id_token, jwt or an absolute URI without fragment",
            ],
        ),
    ]
}

fn timeouts() -> Vec<Case> {
    const TIMEOUT: &str = "outgoingAuth.backends.b.tokenExchange.timeout: must be a duration from 1ms to 60s, such as 250ms, 1.5s, 5m or 1h";
    vec![
        valid(exchange(r#""timeout":"1ms""#)),
        valid(exchange(r#""timeout":"1.5s""#)),
        valid(exchange(r#""timeout":"1m""#)),
        invalid(exchange(r#""timeout":"0.9ms""#), &[TIMEOUT]).beyond_schema(),
        invalid(exchange(r#""timeout":"61s""#), &[TIMEOUT]).beyond_schema(),
        invalid(exchange(r#""timeout":"0s""#), &[TIMEOUT]).beyond_schema(),
        invalid(exchange(r#""timeout":0"#), &[TIMEOUT]),
        invalid(exchange(r#""timeout":"0""#), &[TIMEOUT]),
        invalid(exchange(r#""timeout":"5""#), &[TIMEOUT]),
        invalid(exchange(r#""timeout":"fast""#), &[TIMEOUT]),
        invalid(
            exchange(r#""timeout":5"#),
            &[
                "outgoingAuth.backends.b.tokenExchange.timeout: must be a duration from 1ms to 60s, such as 250ms, 1.5s, 5m or 1h, not a number",
            ],
        ),
    ]
}
