//! The rules of HTTPRoutes, as text.

use super::super::Rendering;
use super::super::gateway::Backend;
use super::super::open_paths::OpenPath;
use super::super::parts::quoted;
use std::fmt::Write as _;

/// What takes off, by the route itself, whatever clients may not send on.
pub(super) fn door(target: &Rendering<'_>) -> String {
    let headers = target.gateway.door_as_list();
    format!("- type: RequestHeaderModifier\n  requestHeaderModifier: {{remove: {headers}}}\n")
}

/// Another path, as `key` of a rewrite of this `kind`.
pub(super) fn rewrite(kind: &str, key: &str, path: &str) -> String {
    format!(
        "- type: URLRewrite\n  urlRewrite: {{path: {{type: {kind}, {key}: {}}}}}\n",
        quoted(path)
    )
}

/// The rule that leads to a backend.
pub(super) fn backend_rule(
    target: &Rendering<'_>,
    backend: &Backend,
    rule_name: Option<&str>,
    service: &str,
) -> String {
    rule(
        &format!(
            "{{type: PathPrefix, value: {}}}",
            quoted(&backend.path_prefix)
        ),
        rule_name,
        &[
            door(target),
            rewrite("ReplacePrefixMatch", "replacePrefixMatch", "/"),
        ],
        // MCP's streams have no natural end.
        "0s",
        service,
    )
}

/// The rule that leads to a path of the auth server.
pub(super) fn auth_server_rule(target: &Rendering<'_>, path: &OpenPath, service: &str) -> String {
    let kind = if path.is_prefix {
        "PathPrefix"
    } else {
        "Exact"
    };
    let headers = if path.takes_credentials {
        // The auth server's own clients authenticate there; the router has taken it off.
        "- type: RequestHeaderModifier\n  requestHeaderModifier:\n    set: [{name: authorization, \
         value: \"%FILTER_STATE(upstream_inject.identity_token:PLAIN)%\"}]\n"
            .to_owned()
    } else {
        door(target)
    };
    let mut filters = vec![headers];
    if let Some(rewritten) = &path.rewritten {
        filters.push(if path.is_prefix {
            rewrite("ReplacePrefixMatch", "replacePrefixMatch", rewritten)
        } else {
            rewrite("ReplaceFullPath", "replaceFullPath", rewritten)
        });
    }
    rule(
        &format!("{{type: {kind}, value: {}}}", quoted(&path.path)),
        None,
        &filters,
        "30s",
        service,
    )
}

/// Any rule.
pub(super) fn rule(
    path: &str,
    name: Option<&str>,
    filters: &[String],
    timeout: &str,
    service: &str,
) -> String {
    let mut text = format!("- matches:\n    - path: {path}\n");
    if let Some(name) = name {
        let _ = writeln!(text, "  name: {}", quoted(name));
    }
    text.push_str("  filters:\n");
    for line in filters.iter().flat_map(|filter| filter.lines()) {
        let _ = writeln!(text, "    {line}");
    }
    let _ = write!(
        text,
        "  timeouts: {{request: {timeout}}}\n  backendRefs:\n    - {service}\n"
    );
    text
}
