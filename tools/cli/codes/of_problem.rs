//! Which code a problem of the filter's own rules has: its rule's, or that of the key it is about.

use super::{self as codes, Code};
use document::keys::{blocks, keys_of};
use std::collections::BTreeMap;
use std::sync::LazyLock;
use upstream_inject::config::doc::Role;
use upstream_inject::config::path::Step;
use upstream_inject::config::{self, Described, Problem, Rule, Shape};
use upstream_inject::strategy::REGISTRY;

/// Keys whose code does not follow from what the table of keys says of them.
const BY_KEY: &[(&[&str], &Code)] = &[
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
    (&["cacheSkewSeconds"], &codes::DURATION),
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

/// The code of every other key that has one.
static BY_MEANING: LazyLock<BTreeMap<&str, &Code>> = LazyLock::new(|| {
    let mut codes = BTreeMap::new();
    gather(config::keys(), &mut codes);
    gather(blocks(REGISTRY), &mut codes);
    codes
});

/// The codes of the keys of one map, and of the maps in it.
fn gather(keys: Vec<Described>, codes: &mut BTreeMap<&str, &Code>) {
    let has_endpoint = keys
        .iter()
        .any(|key| matches!(key.doc.role, Role::TokenUrl(..)));
    for key in keys {
        if let Some(code) = by_meaning(&key, has_endpoint) {
            codes.insert(key.name, code);
        }
        gather(keys_of(&key.shape), codes);
    }
}

fn by_meaning(key: &Described, has_endpoint: bool) -> Option<&'static Code> {
    Some(match key.doc.role {
        Role::TokenUrl(..) => &codes::TOKEN_URL,
        Role::Client | Role::KeyVariable | Role::CertificateVariable => &codes::CLIENT,
        Role::Secret(_) | Role::SecretVariable if has_endpoint => &codes::CLIENT,
        Role::Secret(_) | Role::SecretVariable | Role::Header => &codes::HEADER,
        Role::Parameters => &codes::PARAMETERS,
        Role::Plain if matches!(key.shape, Shape::Duration(..)) => &codes::DURATION,
        Role::Plain | Role::Provider => return None,
    })
}

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
        .find_map(|step| match step {
            Step::Key(key) => of_key(key),
            Step::Index(_) => None,
        })
        .unwrap_or(&codes::CONFIGURATION)
}

fn of_key(key: &str) -> Option<&'static Code> {
    let by_key = BY_KEY.iter().find(|(keys, _)| keys.contains(&key));
    let by_key = by_key.map(|(_, code)| *code);
    by_key.or_else(|| BY_MEANING.get(key).copied())
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

#[cfg(test)]
mod tests {
    use super::*;

    fn names(keys: Vec<Described>) -> Vec<&'static str> {
        let names = |key: Described| [vec![key.name], names(keys_of(&key.shape))].concat();
        keys.into_iter().flat_map(names).collect()
    }

    #[test]
    fn every_key_that_is_named_here_is_one_of_the_table() {
        let known = [names(config::keys()), names(blocks(REGISTRY)), vec!["type"]].concat();
        for key in BY_KEY.iter().flat_map(|(keys, _)| *keys) {
            assert!(known.contains(key), "{key}");
        }
    }

    #[test]
    fn a_key_has_the_code_of_what_it_means() {
        for (key, code) in [
            ("idpTokenUrl", &codes::TOKEN_URL),
            ("clientId", &codes::CLIENT),
            ("targetClientSecretEnv", &codes::CLIENT),
            ("idpClientAuthMethod", &codes::CLIENT),
            ("clientKeyId", &codes::CLIENT),
            ("clientCertificateEnv", &codes::CLIENT),
            ("clientAssertionAudience", &codes::CLIENT),
            ("targetParameters", &codes::PARAMETERS),
            ("headerName", &codes::HEADER),
            ("headerValue", &codes::HEADER),
            ("headerValueEnv", &codes::HEADER),
            ("externalTokenHeaderName", &codes::HEADER),
            ("timeout", &codes::DURATION),
            ("maxAge", &codes::DURATION),
            ("negativeTtl", &codes::DURATION),
            ("cacheSkewSeconds", &codes::DURATION),
        ] {
            assert_eq!(of_key(key), Some(code), "{key}");
        }
        assert_eq!(of_key("nobodyKnows"), None);
    }
}
