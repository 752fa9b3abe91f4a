//! Which code a problem of the filter's own rules has: its rule's, or that of the key it is about.

use super::{self as codes, Code};
use upstream_inject::config::path::Step;
use upstream_inject::config::{Problem, Rule};

/// The keys of a configuration, by the rule that is about them; the innermost one counts.
const BY_KEY: &[(&[&str], &Code)] = &[
    (
        &["tokenUrl", "idpTokenUrl", "targetTokenUrl"],
        &codes::TOKEN_URL,
    ),
    (
        &[
            "clientId",
            "clientSecret",
            "clientSecretEnv",
            "clientAuthMethod",
            "clientKeyEnv",
            "clientKeyId",
            "clientCertificateEnv",
            "clientAssertionAudience",
            "idpClientId",
            "idpClientSecret",
            "idpClientSecretEnv",
            "idpClientAuthMethod",
            "idpClientKeyEnv",
            "idpClientKeyId",
            "targetClientId",
            "targetClientSecret",
            "targetClientSecretEnv",
            "targetClientAuthMethod",
            "targetClientKeyEnv",
            "targetClientKeyId",
        ],
        &codes::CLIENT,
    ),
    (
        &["parameters", "idpParameters", "targetParameters"],
        &codes::PARAMETERS,
    ),
    (&["stsErrors"], &codes::STS_ERRORS),
    (
        &[
            "audience",
            "resource",
            "scopes",
            "targetAudience",
            "targetResource",
        ],
        &codes::RESOURCE,
    ),
    (
        &[
            "subjectTokenType",
            "requestedTokenType",
            "actorTokenType",
            "grantType",
            "actorProviderName",
        ],
        &codes::TOKEN_TYPE,
    ),
    (
        &[
            "headerName",
            "headerValue",
            "headerValueEnv",
            "externalTokenHeaderName",
        ],
        &codes::HEADER,
    ),
    (
        &[
            "timeout",
            "assumedLifetime",
            "cacheSkewSeconds",
            "maxAge",
            "maxTtl",
            "expirySkew",
            "negativeTtl",
        ],
        &codes::DURATION,
    ),
    (&["tokenFrom"], &codes::TOKEN_FROM),
    (&["challenge"], &codes::CHALLENGE),
    (&["tokenCache"], &codes::TOKEN_CACHE),
    (&["identity"], &codes::IDENTITY),
    (&["authServer"], &codes::AUTH_SERVER),
    (
        &["type", "source", "outgoingAuth", "backendFrom"],
        &codes::STRATEGY,
    ),
];

/// The beginnings of texts that say more than the key does.
const BY_TEXT: &[(&str, &Code)] = &[
    ("unknown key", &codes::UNKNOWN_KEY),
    ("given twice", &codes::GIVEN_TWICE),
    ("a backend's name", &codes::BACKEND_NAME),
    ("environment variable", &codes::VARIABLE),
    ("nobody reads it", &codes::UNREAD_KEY),
];

/// The code of a problem.
pub(crate) fn of_problem(problem: &Problem) -> &'static Code {
    if let Some(rule) = problem.rule {
        return of_rule(rule);
    }
    let by_text = BY_TEXT
        .iter()
        .find(|(beginning, _)| problem.text.starts_with(beginning));
    if let Some((_, code)) = by_text {
        return code;
    }
    problem
        .path
        .steps()
        .iter()
        .rev()
        .filter_map(|step| match step {
            Step::Key(key) => BY_KEY.iter().find(|(keys, _)| keys.contains(&key.as_str())),
            Step::Index(_) => None,
        })
        .map(|(_, code)| *code)
        .next()
        .unwrap_or(&codes::CONFIGURATION)
}

fn of_rule(rule: Rule) -> &'static Code {
    match rule {
        Rule::V01 => &codes::V_01,
        Rule::V02 => &codes::V_02,
        Rule::V03 => &codes::V_03,
        Rule::V04 => &codes::V_04,
        Rule::V05 => &codes::V_05,
        Rule::V06 => &codes::V_06,
        Rule::V07 => &codes::V_07,
    }
}
