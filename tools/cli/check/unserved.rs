//! What vMCP has and the filter has not: strategies that are not served, and what guards users at
//! vMCP's own door.

use super::said::Notes;
use crate::codes;
use crate::report::Severity;
use document::{get, get_text};
use std::collections::HashMap;
use upstream_inject::config::path::Step;
use upstream_inject::config::{Node, Path};

/// Types of vMCP's registry that no filter can serve, their block, and what to do instead.
const TYPES: &[(&str, &str, &str)] = &[
    (
        "aws_sts",
        "awsSts",
        "AWS signs each request as a whole, body included, which a filter cannot; Envoy's own \
         aws_request_signing can, or keep vMCP in front of this backend",
    ),
    (
        "externalAuthConfigRef",
        "externalAuthConfigRef",
        "the strategy is in a resource of the cluster; `upstream-inject convert` reads it from there",
    ),
    (
        "external_auth_config_ref",
        "externalAuthConfigRef",
        "the strategy is in a resource of the cluster; `upstream-inject convert` reads it from there",
    ),
];

/// Replaces what the filter says about a type of vMCP's by what an operator can do about it.
pub(super) fn explain(root: &Node, notes: &mut Notes) {
    let mut known: HashMap<Path, (&str, String)> = HashMap::new();
    for (path, strategy) in super::strategies(root) {
        let written = get_text(strategy, "type").unwrap_or_default();
        if let Some((_, block, reason)) = TYPES.iter().find(|(name, ..)| *name == written) {
            let text = format!("vMCP knows {written}, this filter does not serve it: {reason}");
            known.insert(path, (block, text));
        }
    }
    let outgoing = Path::root().key("outgoingAuth");
    let source = outgoing.key("source");
    let is_discovered = get(root, "outgoingAuth").and_then(|outgoing| get_text(outgoing, "source"))
        == Some("discovered");
    if known.is_empty() && !is_discovered {
        return;
    }
    notes.0.retain(|said| {
        let about = &said.problem.path;
        let is_known = strategy_of(about).is_some_and(|(path, key)| {
            known
                .get(&path)
                .is_some_and(|(block, _)| key == "type" || key == *block)
        });
        // Nothing can be inline where everything is discovered.
        let is_of_discovery = is_discovered && (*about == source || *about == outgoing);
        !(said.severity == Severity::Error && (is_known || is_of_discovery))
    });
    let mut known: Vec<_> = known.into_iter().collect();
    known.sort();
    for (path, (_, text)) in known {
        notes.error(&codes::NOT_SERVED, path.key("type"), text);
    }
    if is_discovered {
        let text = "discovered: the strategies are in the cluster's resources, which no filter can \
                    ask; `upstream-inject convert` makes inline ones of them";
        notes.error(&codes::NOT_SERVED, source, text);
    }
}

/// The strategy that a value belongs to, and under which of its keys it is.
fn strategy_of(path: &Path) -> Option<(Path, &str)> {
    let root = Path::root();
    match path.steps() {
        [
            Step::Key(outgoing),
            Step::Key(list),
            Step::Key(name),
            Step::Key(key),
            ..,
        ] if list == "backends" => Some((root.key(outgoing).key(list).key(name), key)),
        [Step::Key(outgoing), Step::Key(default), Step::Key(key), ..] if default == "default" => {
            Some((root.key(outgoing).key(default), key))
        }
        _ => None,
    }
}

/// What of a vMCP file guards users and is not enforced here.
const GUARDS: &[(&[&str], bool, &str)] = &[
    (
        &["incomingAuth", "authz"],
        true,
        "these policies do not hold behind Envoy: every valid user gets through to every backend; \
         put rbac, ext_authz or an AuthorizationPolicy in front, or keep vMCP there",
    ),
    (
        &["rateLimiting"],
        true,
        "these limits do not hold behind Envoy; local_ratelimit or ratelimit takes their place",
    ),
    (
        &["incomingAuth", "oidc", "jwksUrl"],
        true,
        "the filter does not fetch keys: jwt_authn in front of it must ask there (render: --jwks-url)",
    ),
    (
        &["incomingAuth", "oidc", "caBundlePath"],
        true,
        "not read here: the cluster that fetches the issuer's keys must trust these authorities \
         (render: --ca-file)",
    ),
    (
        &["incomingAuth", "oidc", "introspectionUrl"],
        true,
        "jwt_authn checks signed tokens and asks no introspection endpoint: opaque tokens are refused",
    ),
    (
        &["passthroughHeaders"],
        false,
        "Envoy forwards the client's headers, all but authorization and those that strategies set",
    ),
    (
        &["audit"],
        false,
        "vMCP's audit log ends here; Envoy's access log and the filter's WARN lines take its place",
    ),
];

/// One line for each of them.
pub(super) fn on_guards(root: &Node, notes: &mut Notes) {
    for (keys, is_warning, text) in GUARDS {
        let value = keys.iter().try_fold(root, |node, key| get(node, key));
        let is_off = value.is_some_and(|value| {
            get(value, "enabled") == Some(&Node::Bool(false))
                || get_text(value, "type") == Some("none")
        });
        if value.is_none() || is_off || value == Some(&Node::String(String::new())) {
            continue;
        }
        let path = keys.iter().fold(Path::root(), |path, key| path.key(key));
        let code = match keys.get(1) {
            Some(&"oidc") => &codes::INCOMING_AUTH,
            _ => &codes::DROPPED_POLICY,
        };
        match is_warning {
            true => notes.warn(code, path, *text),
            false => notes.note(code, path, *text),
        }
    }
}
