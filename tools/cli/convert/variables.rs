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
        namespace: Option<String>,
    },
    /// `Bearer ` and the value of another variable, which Kubernetes puts in.
    BearerOf(String),
}

impl Variable {
    /// As an item of a container's `env:`, indented by two.
    pub(super) fn to_yaml(&self) -> String {
        let name = emit::scalar(&self.name);
        match &self.value {
            Value::SecretKey { secret, key, .. } => format!(
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

    /// The Secret that it is from, with its namespace if that is known.
    pub(super) fn secret(&self) -> Option<(&str, Option<&str>)> {
        match &self.value {
            Value::SecretKey {
                secret, namespace, ..
            } => Some((secret, namespace.as_deref())),
            Value::BearerOf(_) => None,
        }
    }

    /// As an entry of `env:`.
    pub(crate) fn to_json(&self) -> serde_json::Value {
        match &self.value {
            Value::SecretKey { secret, key, .. } => json!({
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

/// A secret that somebody needs.
pub(super) struct Need<'a> {
    /// What its variable is named after.
    pub(super) owner: &'a str,
    /// What tells the owner from all others; its name, where that does.
    pub(super) id: String,
    /// Where the Secret is.
    pub(super) namespace: Option<&'a str>,
    pub(super) secret: &'a Secret,
}

/// Which variable holds which secret.
#[derive(Debug, Default)]
pub(super) struct Assigned {
    names: BTreeMap<(String, UsedAs), String>,
    /// What `env:` needs, in order.
    pub(super) variables: Vec<Variable>,
}

impl Assigned {
    /// The variable that a strategy of `id` names.
    pub(super) fn name(&self, id: &str, used_as: UsedAs) -> String {
        let name = self.names.get(&(id.to_owned(), used_as));
        name.cloned().unwrap_or_default()
    }
}

/// For each secret: the variable its strategy names, and what `env:` needs for it.
pub(super) fn assign(needs: &[Need<'_>]) -> Assigned {
    let mut alike: BTreeMap<(String, UsedAs), BTreeSet<&str>> = BTreeMap::new();
    for need in needs {
        let name = (stem(need.owner), need.secret.used_as);
        alike.entry(name).or_default().insert(&need.id);
    }
    let mut assigned = Assigned::default();
    for need in needs {
        let used_as = need.secret.used_as;
        let mut stem = stem(need.owner);
        // `a-b` and `a.b` look alike as variables. Each of them gets a mark of its own, so that
        // no name depends on the order of the files.
        let others = alike.get(&(stem.clone(), used_as));
        if others.is_some_and(|others| others.len() > 1) {
            stem = format!("{stem}_{:08X}", fnv1a(&need.id));
        }
        let (name, variables) = variables(&stem, need);
        let key = (need.id.clone(), used_as);
        if assigned.names.insert(key, name).is_none() {
            assigned.variables.extend(variables);
        }
    }
    assigned
}

fn variables(stem: &str, need: &Need<'_>) -> (String, Vec<Variable>) {
    let secret = need.secret;
    let from_secret = |name: String| Variable {
        name,
        value: Value::SecretKey {
            secret: secret.source.name.clone(),
            key: secret.source.key.clone(),
            namespace: need.namespace.map(str::to_owned),
        },
    };
    let suffix = match secret.used_as {
        UsedAs::ClientSecret => "CLIENT_SECRET",
        UsedAs::IdpClientSecret => "IDP_CLIENT_SECRET",
        UsedAs::TargetClientSecret => "TARGET_CLIENT_SECRET",
        UsedAs::HeaderValue => "HEADER_VALUE",
        UsedAs::BearerToken => "AUTHORIZATION",
    };
    let name = format!("{stem}_{suffix}");
    if secret.used_as != UsedAs::BearerToken {
        return (name.clone(), vec![from_secret(name)]);
    }
    let token = format!("{stem}_TOKEN");
    let authorization = Variable {
        name: name.clone(),
        value: Value::BearerOf(token.clone()),
    };
    (name, vec![from_secret(token), authorization])
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

    fn assigned(backends: &[&str], used_as: UsedAs) -> Assigned {
        let secret = secret(used_as);
        let needs: Vec<_> = backends
            .iter()
            .map(|name| Need {
                owner: name,
                id: (*name).to_owned(),
                namespace: None,
                secret: &secret,
            })
            .collect();
        assign(&needs)
    }

    fn names(backends: &[&str]) -> Vec<String> {
        let assigned = assigned(backends, UsedAs::ClientSecret);
        backends
            .iter()
            .map(|name| assigned.name(name, UsedAs::ClientSecret))
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
        let assigned = assigned(&["api", "api"], UsedAs::BearerToken);
        let name = assigned.name("api", UsedAs::BearerToken);
        assert_eq!(name, "UPSTREAM_INJECT_API_AUTHORIZATION");
        // Two backends of one resource share its variables.
        let env: Vec<_> = assigned.variables.iter().map(Variable::to_json).collect();
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
