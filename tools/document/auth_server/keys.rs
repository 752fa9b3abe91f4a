//! Every key that ToolHive's auth server knows (its v0.44.0), so that one which it would silently
//! drop is found.

use upstream_inject::config::{Node, Path, Problem};

use super::Warning;
use crate::located::Located;
use crate::{entries, items, words};

/// What may stand in a map.
enum Shape {
    /// These keys, each with what is in it.
    Map(&'static [(&'static str, Shape)]),
    /// A list of such.
    List(&'static Shape),
    /// A text, a list of such, or a map with keys of the operator's own.
    Text,
    /// A boolean.
    Flag,
    /// A number.
    Count,
}

use Shape::{Count, Flag, List, Map, Text};

const TLS: Shape = Map(&[("insecure_skip_verify", Flag), ("ca_cert_file", Text)]);

const USER_INFO: Shape = Map(&[
    ("endpoint_url", Text),
    ("http_method", Text),
    ("additional_headers", Text),
    (
        "field_mapping",
        Map(&[
            ("subject_fields", Text),
            ("name_fields", Text),
            ("email_fields", Text),
        ]),
    ),
]);

const OIDC: Shape = Map(&[
    ("issuer_url", Text),
    ("client_id", Text),
    ("client_secret_file", Text),
    ("client_secret_env_var", Text),
    ("redirect_uri", Text),
    ("scopes", Text),
    ("userinfo_override", USER_INFO),
    ("additional_authorization_params", Text),
    ("subject_claim", Text),
    ("allow_private_ips", Flag),
    ("insecure_allow_http", Flag),
]);

const OAUTH2: Shape = Map(&[
    ("authorization_endpoint", Text),
    ("token_endpoint", Text),
    ("client_id", Text),
    ("client_secret_file", Text),
    ("client_secret_env_var", Text),
    ("redirect_uri", Text),
    ("scopes", Text),
    ("userinfo", USER_INFO),
    (
        "token_response_mapping",
        Map(&[
            ("access_token_path", Text),
            ("scope_path", Text),
            ("refresh_token_path", Text),
            ("expires_in_path", Text),
        ]),
    ),
    (
        "identity_from_token",
        Map(&[
            ("subject_path", Text),
            ("name_path", Text),
            ("email_path", Text),
        ]),
    ),
    ("additional_authorization_params", Text),
    (
        "dcr_config",
        Map(&[
            ("discovery_url", Text),
            ("registration_endpoint", Text),
            ("initial_access_token_file", Text),
            ("initial_access_token_env_var", Text),
            ("software_id", Text),
            ("software_statement", Text),
        ]),
    ),
    ("allow_private_ips", Flag),
    ("insecure_allow_http", Flag),
]);

const STORAGE: Shape = Map(&[
    ("type", Text),
    (
        "redis_config",
        Map(&[
            ("addr", Text),
            ("cluster_mode", Flag),
            (
                "sentinel_config",
                Map(&[
                    ("master_name", Text),
                    ("sentinel_addrs", Text),
                    ("db", Count),
                ]),
            ),
            ("auth_type", Text),
            (
                "acl_user_config",
                Map(&[("username_env_var", Text), ("password_env_var", Text)]),
            ),
            ("key_prefix", Text),
            ("dial_timeout", Text),
            ("read_timeout", Text),
            ("write_timeout", Text),
            ("tls", TLS),
            ("sentinel_tls", TLS),
        ]),
    ),
]);

const RUN_CONFIG: Shape = Map(&[
    ("schema_version", Text),
    ("issuer", Text),
    ("authorization_endpoint_base_url", Text),
    (
        "signing_key_config",
        Map(&[
            ("key_dir", Text),
            ("signing_key_file", Text),
            ("fallback_key_files", Text),
        ]),
    ),
    ("hmac_secret_files", Text),
    (
        "token_lifespans",
        Map(&[
            ("access_token_lifespan", Text),
            ("refresh_token_lifespan", Text),
            ("auth_code_lifespan", Text),
        ]),
    ),
    ("delegation_token_lifespan", Text),
    (
        "upstreams",
        List(&Map(&[
            ("name", Text),
            ("type", Text),
            ("oidc_config", OIDC),
            ("oauth2_config", OAUTH2),
        ])),
    ),
    ("scopes_supported", Text),
    ("baseline_client_scopes", Text),
    ("allowed_audiences", Text),
    ("storage", STORAGE),
    ("disable_upstream_token_injection", Flag),
    (
        "cimd",
        Map(&[
            ("enabled", Flag),
            ("cache_max_size", Count),
            ("cache_fallback_ttl", Text),
        ]),
    ),
    ("insecure_allow_http", Flag),
    (
        "trusted_issuers",
        List(&Map(&[
            ("issuer_url", Text),
            ("expected_audience", Text),
            ("jwks_url", Text),
            ("insecure_allow_http", Flag),
            ("allow_private_ips", Flag),
            ("actor_claim", Text),
            ("allowed_actors", Text),
            ("allowed_delegate_clients", Text),
            ("allow_may_act", Flag),
        ])),
    ),
    ("allow_confidential_client_registration", Flag),
    ("force_confidential_redirect_uris", Text),
    ("insecure_allow_confidential_over_loopback_http", Flag),
    (
        "delegate_clients",
        List(&Map(&[
            ("client_id", Text),
            ("client_secret_file", Text),
            ("client_secret_env_var", Text),
            ("scopes", Text),
            ("audiences", Text),
        ])),
    ),
]);

/// Names every key of a `RunConfig` that ToolHive does not know.
#[must_use]
pub fn unknown(node: &Node, at: &Path) -> Vec<Warning> {
    let mut warnings = Vec::new();
    look(node, &RUN_CONFIG, at, &mut warnings);
    warnings
}

/// Makes of plain scalars what ToolHive's reader does, which knows what each key holds: where it wants a
/// text it takes what is written, and where it wants a boolean the words of YAML 1.1 as well.
pub(super) fn settle(node: &mut Node, located: &Located) {
    settle_as(node, located, &RUN_CONFIG);
}

fn settle_as(node: &mut Node, located: &Located, shape: &Shape) {
    let inner = located.inner.iter();
    match (shape, node) {
        (Map(known), Node::Map(entries)) => {
            for ((name, value), located) in entries.iter_mut().zip(inner) {
                if let Some((_, shape)) = known.iter().find(|(key, _)| key == name) {
                    settle_as(value, located, shape);
                }
            }
        }
        (List(shape), Node::List(items)) => {
            for (item, located) in items.iter_mut().zip(inner) {
                settle_as(item, located, shape);
            }
        }
        (Text, Node::Map(entries)) => {
            for ((_, value), located) in entries.iter_mut().zip(inner) {
                settle_as(value, located, shape);
            }
        }
        (Text, Node::List(items)) => {
            for (item, located) in items.iter_mut().zip(inner) {
                settle_as(item, located, shape);
            }
        }
        (Text, node @ (Node::Number(_) | Node::Bool(_))) => {
            if let Some(written) = &located.written {
                *node = Node::String(written.as_ref().to_owned());
            }
        }
        (Flag, node) => {
            let flag = match node {
                Node::String(text) => flag_of_yaml_1_1(text),
                _ => None,
            };
            if let Some(flag) = flag {
                *node = Node::Bool(flag);
            }
        }
        _ => {}
    }
}

/// The words that `true` and `false` are not (<https://yaml.org/type/bool.html>).
fn flag_of_yaml_1_1(text: &str) -> Option<bool> {
    match text {
        "y" | "Y" | "yes" | "Yes" | "YES" | "on" | "On" | "ON" => Some(true),
        "n" | "N" | "no" | "No" | "NO" | "off" | "Off" | "OFF" => Some(false),
        _ => None,
    }
}

/// Names every key that stands twice in its map, which ToolHive's reader refuses.
#[must_use]
pub fn twice(node: &Node, at: &Path) -> Vec<Problem> {
    let mut problems = Vec::new();
    look_for_twins(node, at, &mut problems);
    problems
}

fn look_for_twins(node: &Node, at: &Path, problems: &mut Vec<Problem>) {
    let members = entries(node);
    for (place, (name, value)) in members.iter().enumerate() {
        let path = at.key(name);
        look_for_twins(value, &path, problems);
        // Said once, however often it stands there.
        let earlier = members
            .iter()
            .take(place)
            .filter(|(other, _)| other == name);
        if earlier.count() == 1 {
            problems.push(Problem {
                path,
                rule: None,
                text: "given twice".to_owned(),
            });
        }
    }
    for (index, item) in items(node).iter().enumerate() {
        look_for_twins(item, &at.index(index), problems);
    }
}

fn look(node: &Node, shape: &Shape, at: &Path, warnings: &mut Vec<Warning>) {
    match (shape, node) {
        (Map(known), Node::Map(_)) => {
            for (name, value) in entries(node) {
                match known.iter().find(|(key, _)| key == name) {
                    Some((_, shape)) => look(value, shape, &at.key(name), warnings),
                    None => warnings.push(Warning {
                        path: at.key(name),
                        text: unknown_key(name, known),
                    }),
                }
            }
        }
        (List(shape), Node::List(items)) => {
            for (index, item) in items.iter().enumerate() {
                look(item, shape, &at.index(index), warnings);
            }
        }
        _ => {}
    }
}

fn unknown_key(name: &str, known: &[(&str, Shape)]) -> String {
    let meant = words::meant(name, known.iter().map(|(key, _)| *key));
    let meant = meant.map_or_else(String::new, |key| format!("; did you mean {key}?"));
    format!("unknown key, which ToolHive drops without a word{meant}")
}
