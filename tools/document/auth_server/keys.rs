//! Every key that ToolHive's auth server knows (its v0.44.0), so that one which it would silently
//! drop is found.

use upstream_inject::config::{Node, Path, Problem};

use super::Warning;
use crate::{entries, items, words};

/// What may stand in a map.
enum Shape {
    /// These keys, each with what is in it.
    Map(&'static [(&'static str, Shape)]),
    /// A list of such.
    List(&'static Shape),
    /// Anything: a plain value, or a map with keys of the operator's own.
    Any,
}

use Shape::{Any, List, Map};

const TLS: Shape = Map(&[("insecure_skip_verify", Any), ("ca_cert_file", Any)]);

const USER_INFO: Shape = Map(&[
    ("endpoint_url", Any),
    ("http_method", Any),
    ("additional_headers", Any),
    (
        "field_mapping",
        Map(&[
            ("subject_fields", Any),
            ("name_fields", Any),
            ("email_fields", Any),
        ]),
    ),
]);

const OIDC: Shape = Map(&[
    ("issuer_url", Any),
    ("client_id", Any),
    ("client_secret_file", Any),
    ("client_secret_env_var", Any),
    ("redirect_uri", Any),
    ("scopes", Any),
    ("userinfo_override", USER_INFO),
    ("additional_authorization_params", Any),
    ("subject_claim", Any),
    ("allow_private_ips", Any),
    ("insecure_allow_http", Any),
]);

const OAUTH2: Shape = Map(&[
    ("authorization_endpoint", Any),
    ("token_endpoint", Any),
    ("client_id", Any),
    ("client_secret_file", Any),
    ("client_secret_env_var", Any),
    ("redirect_uri", Any),
    ("scopes", Any),
    ("userinfo", USER_INFO),
    (
        "token_response_mapping",
        Map(&[
            ("access_token_path", Any),
            ("scope_path", Any),
            ("refresh_token_path", Any),
            ("expires_in_path", Any),
        ]),
    ),
    (
        "identity_from_token",
        Map(&[
            ("subject_path", Any),
            ("name_path", Any),
            ("email_path", Any),
        ]),
    ),
    ("additional_authorization_params", Any),
    (
        "dcr_config",
        Map(&[
            ("discovery_url", Any),
            ("registration_endpoint", Any),
            ("initial_access_token_file", Any),
            ("initial_access_token_env_var", Any),
            ("software_id", Any),
            ("software_statement", Any),
        ]),
    ),
    ("allow_private_ips", Any),
    ("insecure_allow_http", Any),
]);

const STORAGE: Shape = Map(&[
    ("type", Any),
    (
        "redis_config",
        Map(&[
            ("addr", Any),
            ("cluster_mode", Any),
            (
                "sentinel_config",
                Map(&[("master_name", Any), ("sentinel_addrs", Any), ("db", Any)]),
            ),
            ("auth_type", Any),
            (
                "acl_user_config",
                Map(&[("username_env_var", Any), ("password_env_var", Any)]),
            ),
            ("key_prefix", Any),
            ("dial_timeout", Any),
            ("read_timeout", Any),
            ("write_timeout", Any),
            ("tls", TLS),
            ("sentinel_tls", TLS),
        ]),
    ),
]);

const RUN_CONFIG: Shape = Map(&[
    ("schema_version", Any),
    ("issuer", Any),
    ("authorization_endpoint_base_url", Any),
    (
        "signing_key_config",
        Map(&[
            ("key_dir", Any),
            ("signing_key_file", Any),
            ("fallback_key_files", Any),
        ]),
    ),
    ("hmac_secret_files", Any),
    (
        "token_lifespans",
        Map(&[
            ("access_token_lifespan", Any),
            ("refresh_token_lifespan", Any),
            ("auth_code_lifespan", Any),
        ]),
    ),
    ("delegation_token_lifespan", Any),
    (
        "upstreams",
        List(&Map(&[
            ("name", Any),
            ("type", Any),
            ("oidc_config", OIDC),
            ("oauth2_config", OAUTH2),
        ])),
    ),
    ("scopes_supported", Any),
    ("baseline_client_scopes", Any),
    ("allowed_audiences", Any),
    ("storage", STORAGE),
    ("disable_upstream_token_injection", Any),
    (
        "cimd",
        Map(&[
            ("enabled", Any),
            ("cache_max_size", Any),
            ("cache_fallback_ttl", Any),
        ]),
    ),
    ("insecure_allow_http", Any),
    (
        "trusted_issuers",
        List(&Map(&[
            ("issuer_url", Any),
            ("expected_audience", Any),
            ("jwks_url", Any),
            ("insecure_allow_http", Any),
            ("allow_private_ips", Any),
            ("actor_claim", Any),
            ("allowed_actors", Any),
            ("allowed_delegate_clients", Any),
            ("allow_may_act", Any),
        ])),
    ),
    ("allow_confidential_client_registration", Any),
    ("force_confidential_redirect_uris", Any),
    ("insecure_allow_confidential_over_loopback_http", Any),
    (
        "delegate_clients",
        List(&Map(&[
            ("client_id", Any),
            ("client_secret_file", Any),
            ("client_secret_env_var", Any),
            ("scopes", Any),
            ("audiences", Any),
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
