//! Every other way to ask for a token: `obo`, `xaa`, other grants, and clients that sign.

use super::{Case, backend, invalid, valid};

pub(super) fn cases() -> Vec<Case> {
    [
        signing_clients(),
        form_parameters(),
        error_words(),
        other_grants(),
        on_behalf_of(),
        cross_app(),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// A token exchange with more keys.
fn exchange(fields: &str) -> String {
    backend(&format!(
        r#"{{"type":"token_exchange","tokenExchange":{{"tokenUrl":"https://sts.example.com/token","subjectProviderName":"corporate-idp",{fields}}}}}"#
    ))
}

fn obo(fields: &str) -> String {
    backend(&format!(
        r#"{{"type":"obo","obo":{{"tokenUrl":"https://sts.example.com/token","subjectTokenProviderName":"corporate-idp"{fields}}}}}"#
    ))
}

/// Cross-App Access with more keys.
fn xaa(fields: &str) -> String {
    backend(&format!(
        r#"{{"type":"xaa","xaa":{{"idpTokenUrl":"https://idp.example.com/token","idpClientId":"i","idpClientSecret":"CANARY",
            "targetTokenUrl":"https://as.example.com/token","targetClientId":"t","targetClientSecret":"CANARY",
            "targetAudience":"https://as.example.com","subjectProviderName":"corporate-idp"{fields}}}}}"#
    ))
}

fn signing_clients() -> Vec<Case> {
    vec![
        valid(exchange(
            r#""clientId":"envoy","clientKeyEnv":"KEY","clientAuthMethod":"private_key_jwt""#,
        )),
        // The key says what is meant.
        valid(exchange(r#""clientId":"envoy","clientKeyEnv":"KEY""#)),
        valid(exchange(
            r#""clientId":"envoy","clientKeyEnv":"KEY","clientKeyId":"2026-11","clientCertificateEnv":"CERTIFICATE","clientAssertionAudience":"https://sts.example.com""#,
        )),
        invalid(
            exchange(r#""clientId":"envoy","clientSecretEnv":"SECRET","clientCertificateEnv":"UNSET""#),
            &["outgoingAuth.backends.b.tokenExchange.clientCertificateEnv: environment variable UNSET is not set, empty, or not UTF-8"],
        )
        .beyond_schema(),
        invalid(
            exchange(r#""clientKeyEnv":"KEY""#),
            &["outgoingAuth.backends.b.tokenExchange.clientId: missing; a client's key needs it"],
        )
        .beyond_schema(),
        invalid(
            exchange(r#""clientId":"envoy","clientAuthMethod":"private_key_jwt""#),
            &["outgoingAuth.backends.b.tokenExchange.clientAuthMethod: needs clientKeyEnv"],
        )
        .beyond_schema(),
        invalid(
            exchange(
                r#""clientId":"envoy","clientSecret":"CANARY","clientKeyEnv":"KEY","clientAuthMethod":"private_key_jwt""#,
            ),
            &["outgoingAuth.backends.b.tokenExchange.clientAuthMethod: must not be private_key_jwt with clientSecret or clientSecretEnv"],
        )
        .beyond_schema(),
        invalid(
            exchange(r#""clientId":"envoy","clientKeyEnv":"KEY","clientAuthMethod":"none""#),
            &["outgoingAuth.backends.b.tokenExchange.clientAuthMethod: must be private_key_jwt with clientKeyEnv"],
        )
        .beyond_schema(),
        invalid(
            exchange(r#""clientId":"envoy","clientKeyEnv":"NOT_SET""#),
            &["outgoingAuth.backends.b.tokenExchange.clientKeyEnv: environment variable NOT_SET is not set, empty, or not UTF-8"],
        )
        .beyond_schema(),
        invalid(
            exchange(r#""clientId":"envoy","clientKeyEnv":"SECRET""#),
            &["outgoingAuth.backends.b.tokenExchange.clientKeyEnv: what is in that environment variable holds no PEM block (-----BEGIN …-----): it has to be the text of the file, not its path, and not encoded once more; must be one private key in PEM, unencrypted (PKCS#8, PKCS#1 or SEC1): RSA with at least 2048 bits, or EC on P-256"],
        )
        .beyond_schema(),
        invalid(
            exchange(r#""clientId":"envoy","clientKeyEnv":"P384_KEY""#),
            &["outgoingAuth.backends.b.tokenExchange.clientKeyEnv: what is in that environment variable is an EC key on the curve P-384; must be one private key in PEM, unencrypted (PKCS#8, PKCS#1 or SEC1): RSA with at least 2048 bits, or EC on P-256"],
        )
        .beyond_schema(),
        invalid(
            exchange(r#""clientId":"envoy","clientKeyEnv":"CERTIFICATE""#),
            &["outgoingAuth.backends.b.tokenExchange.clientKeyEnv: what is in that environment variable is a certificate; must be one private key in PEM, unencrypted (PKCS#8, PKCS#1 or SEC1): RSA with at least 2048 bits, or EC on P-256"],
        )
        .beyond_schema(),
        invalid(
            exchange(
                r#""clientId":"envoy","clientKeyEnv":"KEY","clientCertificateEnv":"OTHER_CERTIFICATE""#,
            ),
            &["outgoingAuth.backends.b.tokenExchange.clientCertificateEnv: is not the certificate of the key in clientKeyEnv"],
        )
        .beyond_schema(),
    ]
}

fn form_parameters() -> Vec<Case> {
    vec![
        valid(exchange(
            r#""parameters":{"connection":"github","requested_issuer":["a","b"],"Grant_Type":"x"}"#,
        )),
        valid(exchange(r#""parameters":{}"#)),
        invalid(
            exchange(r#""parameters":{"grant_type":"password"}"#),
            &[
                "outgoingAuth.backends.b.tokenExchange.parameters.grant_type: grant_type is set by the filter itself",
            ],
        )
        .beyond_schema(),
        invalid(
            exchange(
                r#""parameters":{"":"x","actor_token":"x","assertion":"x","client_assertion":"x","client_id":"x","client_secret":"CANARY","requested_token_use":"x","scope":"x","subject_token":"x"}"#,
            ),
            &[
                "outgoingAuth.backends.b.tokenExchange.parameters[\"\"]: a parameter's name must not be empty",
                "outgoingAuth.backends.b.tokenExchange.parameters.actor_token: actor_token is set by the filter itself",
                "outgoingAuth.backends.b.tokenExchange.parameters.assertion: assertion is set by the filter itself",
                "outgoingAuth.backends.b.tokenExchange.parameters.client_assertion: client_assertion is set by the filter itself",
                "outgoingAuth.backends.b.tokenExchange.parameters.client_id: client_id is set by the filter itself",
                "outgoingAuth.backends.b.tokenExchange.parameters.client_secret: client_secret is set by the filter itself",
                "outgoingAuth.backends.b.tokenExchange.parameters.requested_token_use: requested_token_use is set by the filter itself",
                "outgoingAuth.backends.b.tokenExchange.parameters.scope: scope is set by the filter itself",
                "outgoingAuth.backends.b.tokenExchange.parameters.subject_token: subject_token is set by the filter itself",
            ],
        ),
        invalid(
            xaa(r#","idpParameters":{"audience":"x"},"targetParameters":{"assertion":"x"}"#),
            &[
                "outgoingAuth.backends.b.xaa.idpParameters.audience: audience is set by the filter itself",
                "outgoingAuth.backends.b.xaa.targetParameters.assertion: assertion is set by the filter itself",
            ],
        )
        .beyond_schema(),
        // For SAML, of Entra alone.
        valid(obo(
            r#","clientId":"c","clientSecret":"CANARY","audience":"api://b","parameters":{"requested_token_type":"urn:ietf:params:oauth:token-type:saml2"}"#,
        )),
        invalid(
            obo(
                r#","clientId":"c","clientSecret":"CANARY","audience":"api://b","parameters":{"requested_token_use":"x"}"#,
            ),
            &[
                "outgoingAuth.backends.b.obo.parameters.requested_token_use: requested_token_use is set by the filter itself",
            ],
        )
        .beyond_schema(),
    ]
}

fn error_words() -> Vec<Case> {
    vec![
        valid(exchange(
            r#""stsErrors":{"not_linked":"step_up","a.b-9":"rejected","c":"forbidden","d":"misconfigured","e":"unavailable"}"#,
        )),
        invalid(
            exchange(r#""stsErrors":{"not_linked":"ok"}"#),
            &[
                r#"outgoingAuth.backends.b.tokenExchange.stsErrors.not_linked: must be one of rejected, forbidden, step_up, misconfigured, unavailable, not "ok""#,
            ],
        ),
    ]
}

fn other_grants() -> Vec<Case> {
    vec![
        valid(exchange(r#""grantType":"token_exchange""#)),
        valid(exchange(r#""grantType":"jwt_bearer","audience":"a""#)),
        // An empty name is none.
        valid(exchange(
            r#""grantType":"jwt_bearer","audience":"a","actorProviderName":"""#,
        )),
        valid(exchange(
            r#""grantType":"urn:example:grant","requestedTokenType":"urn:example:type""#,
        )),
        valid(exchange(
            r#""actorProviderName":"github","actorTokenType":"jwt""#,
        )),
        invalid(
            exchange(r#""actorProviderName":"gitlab""#),
            &["outgoingAuth.backends.b.tokenExchange.actorProviderName: V-02: provider \"gitlab\" is not in authServer.runConfig.upstreams (github, corporate-idp)"],
        )
        .beyond_schema(),
    ]
}

fn on_behalf_of() -> Vec<Case> {
    vec![
        valid(obo(
            r#","clientId":"c","clientSecretEnv":"SECRET","scopes":["https://graph.microsoft.com/User.Read"],"cacheSkewSeconds":30"#,
        )),
        valid(obo(
            r#","clientId":"c","clientAuthMethod":"none","audience":"api://b""#,
        )),
        valid(obo(
            r#","clientId":"c","clientKeyEnv":"KEY","clientCertificateEnv":"CERTIFICATE","audience":"api://b""#,
        )),
    ]
}

fn cross_app() -> Vec<Case> {
    vec![
        valid(xaa("")),
        valid(xaa(
            r#","targetResource":"https://mcp.example.com/mcp","scopes":["files.read"],"subjectTokenType":"urn:ietf:params:oauth:token-type:id_token","timeout":"2s""#,
        )),
    ]
}
