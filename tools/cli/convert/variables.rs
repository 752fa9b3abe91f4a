//! Secret references become environment variables: deterministic names, no two alike.

use super::strategy::{Secret, UsedAs};
use crate::emit;
use serde_json::json;
use std::collections::{BTreeMap, BTreeSet};

/// An entry of a container's `env:` list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Variable {
    pub(crate) name: String,
    value: Value,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Value {
    SecretKey {
        secret: String,
        key: String,
    },
    /// `Bearer ` and the value of another variable, which Kubernetes puts in.
    BearerOf(String),
}

impl Variable {
    /// As an item of a container's `env:`, indented by two.
    pub(super) fn to_yaml(&self) -> String {
        let name = emit::scalar(&self.name);
        match &self.value {
            Value::SecretKey { secret, key } => format!(
                "  - name: {name}\n    valueFrom:\n      secretKeyRef: {{name: {}, key: {}}}\n",
                emit::scalar(secret),
                emit::scalar(key)
            ),
            Value::BearerOf(token) => {
                let value = emit::scalar(&format!("Bearer $({token})"));
                format!("  - name: {name}\n    value: {value}\n")
            }
        }
    }

    /// As an entry of `env:`.
    pub(crate) fn to_json(&self) -> serde_json::Value {
        match &self.value {
            Value::SecretKey { secret, key } => json!({
                "name": self.name,
                "valueFrom": {"secretKeyRef": {"name": secret, "key": key}},
            }),
            Value::BearerOf(token) => json!({
                "name": self.name,
                "value": format!("Bearer $({token})"),
            }),
        }
    }
}

/// For each backend that takes a secret: the variable its strategy names, and what `env:` needs
/// for it, in order.
pub(super) fn assign(secrets: &[(&str, &Secret)]) -> BTreeMap<String, (String, Vec<Variable>)> {
    let mut stems: BTreeMap<String, Vec<&str>> = BTreeMap::new();
    for (backend, _) in secrets {
        stems.entry(stem(backend)).or_default().push(backend);
    }
    secrets
        .iter()
        .map(|(backend, secret)| {
            let mut stem = stem(backend);
            // `a-b` and `a.b` look alike as variables. Each of them gets a mark of its own, so that
            // no name depends on the order of the files.
            if stems.get(&stem).is_some_and(|alike| alike.len() > 1) {
                stem = format!("{stem}_{:08X}", fnv1a(backend));
            }
            ((*backend).to_owned(), variables(&stem, secret))
        })
        .collect()
}

fn variables(stem: &str, secret: &Secret) -> (String, Vec<Variable>) {
    let from_secret = |name: String| Variable {
        name,
        value: Value::SecretKey {
            secret: secret.source.name.clone(),
            key: secret.source.key.clone(),
        },
    };
    match secret.used_as {
        UsedAs::ClientSecret => {
            let name = format!("{stem}_CLIENT_SECRET");
            (name.clone(), vec![from_secret(name)])
        }
        UsedAs::HeaderValue => {
            let name = format!("{stem}_HEADER_VALUE");
            (name.clone(), vec![from_secret(name)])
        }
        UsedAs::BearerToken => {
            let token = format!("{stem}_TOKEN");
            let name = format!("{stem}_AUTHORIZATION");
            let authorization = Variable {
                name: name.clone(),
                value: Value::BearerOf(token.clone()),
            };
            (name, vec![from_secret(token), authorization])
        }
    }
}

/// A variable for what stands at `key` (`clientSecret`) of a backend, unlike all that are `taken`.
pub(crate) fn variable_name(backend: &str, key: &str, taken: &BTreeSet<String>) -> String {
    let mut suffix = String::new();
    for character in key.chars() {
        if character.is_ascii_uppercase() {
            suffix.push('_');
        }
        suffix.push(character.to_ascii_uppercase());
    }
    let name = format!("{}_{suffix}", stem(backend));
    if taken.contains(&name) {
        format!("{name}_{:08X}", fnv1a(backend))
    } else {
        name
    }
}

/// With a prefix, so that no name begins with a digit or is one that something else reads.
fn stem(backend: &str) -> String {
    let name: String = backend
        .chars()
        .map(|character| match character {
            'a'..='z' | 'A'..='Z' | '0'..='9' => character.to_ascii_uppercase(),
            _ => '_',
        })
        .collect();
    format!("UPSTREAM_INJECT_{name}")
}

/// A hash that is the same everywhere and forever (FNV-1a, 32 bits).
fn fnv1a(text: &str) -> u32 {
    text.bytes().fold(0x811c_9dc5, |hash, byte| {
        (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::convert::block::SecretKey;

    fn secret(used_as: UsedAs) -> Secret {
        Secret {
            source: SecretKey {
                name: "sts".to_owned(),
                key: "password".to_owned(),
            },
            used_as,
        }
    }

    fn names(backends: &[&str]) -> Vec<String> {
        let secret = secret(UsedAs::ClientSecret);
        let secrets: Vec<_> = backends.iter().map(|name| (*name, &secret)).collect();
        let assigned = assign(&secrets);
        backends
            .iter()
            .map(|name| assigned[*name].0.clone())
            .collect()
    }

    #[test]
    fn names_that_look_alike_are_told_apart_in_any_order() {
        assert_eq!(names(&["a-b"]), ["UPSTREAM_INJECT_A_B_CLIENT_SECRET"]);
        let one_way = names(&["a-b", "a.b", "c"]);
        let other_way = names(&["c", "a.b", "a-b"]);
        assert_ne!(one_way[0], one_way[1]);
        assert_eq!(one_way[2], "UPSTREAM_INJECT_C_CLIENT_SECRET");
        assert_eq!(one_way[0], other_way[2]);
        assert_eq!(one_way[1], other_way[1]);
    }

    #[test]
    fn a_bearer_token_gets_its_scheme_from_kubernetes() {
        let secret = secret(UsedAs::BearerToken);
        let (name, variables) = &assign(&[("api", &secret)])["api"];
        assert_eq!(name, "UPSTREAM_INJECT_API_AUTHORIZATION");
        let env: Vec<_> = variables.iter().map(Variable::to_json).collect();
        assert_eq!(
            json!(env),
            json!([
                {"name": "UPSTREAM_INJECT_API_TOKEN",
                 "valueFrom": {"secretKeyRef": {"name": "sts", "key": "password"}}},
                {"name": "UPSTREAM_INJECT_API_AUTHORIZATION",
                 "value": "Bearer $(UPSTREAM_INJECT_API_TOKEN)"},
            ])
        );
    }
}
