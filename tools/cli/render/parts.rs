//! The parts of a gateway in Envoy's own words. Each is the same in every target: a bootstrap holds
//! them as they are, a control plane gets them as patches.

use super::challenge::{Challenge, backend_member};
use super::gateway::{Authentication, Backend, Gateway};
use super::open_paths;
use super::template::{block, fill, scalar};
use crate::emit;
use std::fmt::Write as _;

/// What the filter is called, wherever filters have names: routes switch it off by this one.
pub(super) const FILTER: &str = "upstream_inject";

/// `jwt_authn`, as an item of `http_filters`; a route names its backend's requirement by
/// [`route_filters`].
pub(super) fn jwt_authn(
    authentication: &Authentication,
    backends: &[Backend],
    keys_cluster: &str,
    rules: &Rules<'_>,
) -> String {
    let mut requirements = String::new();
    if authentication.is_bound && matches!(rules, Rules::ByRoute) {
        requirements.push_str("# Whom a token was issued for: each backend takes its own.\n");
        requirements.push_str("requirement_map:\n");
        for backend in backends {
            let audiences: Vec<String> = backend.resource.iter().map(|url| url.url()).collect();
            let _ = writeln!(
                requirements,
                "  {}: {}",
                emit::scalar(&backend.name),
                requirement(&audiences)
            );
        }
    }
    let audiences = if authentication.audiences.is_empty() {
        String::new()
    } else {
        format!("audiences: {}", texts(&authentication.audiences))
    };
    fill(
        include_str!("templates/parts/jwt-authn.yaml"),
        &[
            ("issuer", scalar(&authentication.issuer)),
            ("audiences", block(audiences)),
            ("payload_key", scalar(&authentication.payload_key)),
            ("keys_url", text(&authentication.keys_url)),
            ("keys_cluster", text(keys_cluster)),
            ("requirements", block(requirements)),
            ("rules", block(rules.yaml(authentication, backends))),
        ],
    )
}

/// How a request finds out what its token must have been issued for.
pub(super) enum Rules<'a> {
    /// Its route says so, by [`route_filters`].
    ByRoute,
    /// Its path does, where routes are not ours to change.
    ByPath(&'a Gateway),
}

impl Rules<'_> {
    fn yaml(&self, authentication: &Authentication, backends: &[Backend]) -> String {
        let mut rules = String::new();
        if let Rules::ByPath(gateway) = self {
            for open in open_paths::of(gateway) {
                let kind = match open.is_prefix {
                    true => "path_separated_prefix",
                    false => "path",
                };
                let _ = writeln!(rules, "- match: {{{kind}: {}}}", quoted(&open.path));
            }
            for backend in backends.iter().filter(|_| authentication.is_bound) {
                let audiences: Vec<String> = backend.resource.iter().map(|url| url.url()).collect();
                let _ = writeln!(
                    rules,
                    "- match: {{path_separated_prefix: {}}}\n  requires: {}",
                    quoted(&backend.path_prefix),
                    requirement(&audiences)
                );
            }
        }
        let requires = if authentication.is_bound {
            requirement(&authentication.gateway_audiences)
        } else {
            "{provider_name: identity}".to_owned()
        };
        let _ = writeln!(rules, "- match: {{prefix: /}}\n  requires: {requires}");
        rules
    }
}

/// An item of a list by itself, under another name if one is given; comments stay.
pub(super) fn item(text: &str, name: Option<&str>) -> String {
    let mut alone = String::new();
    for line in text.lines() {
        let line = line
            .strip_prefix("- ")
            .or_else(|| line.strip_prefix("  "))
            .unwrap_or(line);
        match name {
            Some(name) if line.starts_with("name: ") => {
                let _ = writeln!(alone, "name: {name}");
            }
            _ => {
                let _ = writeln!(alone, "{line}");
            }
        }
    }
    alone
}

fn requirement(audiences: &[String]) -> String {
    format!(
        "{{provider_and_audiences: {{provider_name: identity, audiences: {}}}}}",
        texts(audiences)
    )
}

/// A flow list. Within flow collections more has a meaning than in a line of its own.
fn texts(texts: &[String]) -> String {
    let texts: Vec<String> = texts.iter().map(|text| quoted(text)).collect();
    format!("[{}]", texts.join(", "))
}

/// A text in double quotes, for flow collections.
pub(super) fn quoted(text: &str) -> String {
    let scalar = emit::scalar(text);
    if scalar.starts_with('"') {
        scalar
    } else {
        format!("\"{scalar}\"") // a bare scalar holds nothing that would need escaping
    }
}

fn text(text: &str) -> super::template::Value {
    super::template::Value::Inline(quoted(text))
}

/// `set_filter_state`, which keeps the TH-JWT, as an item of `http_filters`: after `jwt_authn`.
pub(super) fn keep_identity_token() -> &'static str {
    include_str!("templates/parts/keep-identity-token.yaml")
}

/// `ext_authz`, as an item of `http_filters`: after `jwt_authn`.
pub(super) fn ext_authz(cluster: &str) -> String {
    fill(
        include_str!("templates/parts/ext-authz.yaml"),
        &[("cluster", text(cluster))],
    )
}

/// What a route says to `ext_authz` that asks for no token: of whom could it tell?
pub(super) const NOT_ASKED: &str = "{\"@type\": type.googleapis.com/envoy.extensions.filters.http.ext_authz.v3.ExtAuthzPerRoute, disabled: true}";

/// `cors`, as an item of `http_filters`: the first.
pub(super) fn cors() -> &'static str {
    include_str!("templates/parts/cors.yaml")
}

/// The entry of `typed_per_filter_config` that `cors` needs on a virtual host.
pub(super) fn cors_policy(origins: &[String]) -> String {
    let origins: String = origins
        .iter()
        .map(|origin| format!("- {{exact: {}}}\n", quoted(origin)))
        .collect();
    fill(
        include_str!("templates/parts/cors-policy.yaml"),
        &[("origins", block(origins))],
    )
}

/// `metadata` of a route: whose it is, and what its first challenge says.
pub(super) fn route_metadata(backend: Option<&str>, challenge: &Challenge) -> String {
    let mut metadata = "metadata:\n  filter_metadata:\n    upstream_inject:\n".to_owned();
    if let Some(backend) = backend {
        let _ = writeln!(metadata, "      backend: {}", quoted(backend));
        // As a whole, so that the body of the first challenge has none where there is none.
        let member = backend_member(backend);
        let _ = writeln!(metadata, "      backend_member: {}", emit::scalar(&member));
    }
    let _ = writeln!(
        metadata,
        "      challenge: {}",
        quoted(&challenge.parameters())
    );
    metadata
}

/// What a route to a backend says to the filters in front of the router: the entries of
/// `typed_per_filter_config`, none at all included.
pub(super) fn route_filters(gateway: &Gateway, backend: &Backend, has_ext_authz: bool) -> String {
    let mut filters = String::new();
    let is_bound = gateway
        .authentication
        .as_ref()
        .is_some_and(|authentication| authentication.is_bound);
    if is_bound {
        let _ = write!(
            filters,
            "envoy.filters.http.jwt_authn:\n  \"@type\": \
             type.googleapis.com/envoy.extensions.filters.http.jwt_authn.v3.PerRouteConfig\n  \
             requirement_name: {}\n",
            emit::scalar(&backend.name)
        );
    }
    if has_ext_authz {
        let _ = write!(
            filters,
            "envoy.filters.http.ext_authz:\n  \"@type\": \
             type.googleapis.com/envoy.extensions.filters.http.ext_authz.v3.ExtAuthzPerRoute\n  \
             check_settings: {{context_extensions: {{upstream_inject.providers: {}}}}}\n",
            quoted(&backend.providers.join(","))
        );
    }
    filters
}

/// The entries of `typed_per_filter_config` of a route that asks for no token. `to_backend`: the
/// filter stays, as for probes.
pub(super) fn open_route_filters(
    gateway: &Gateway,
    has_ext_authz: bool,
    to_backend: bool,
) -> String {
    let mut filters = String::new();
    if gateway.authentication.is_some() {
        filters.push_str(
            "envoy.filters.http.jwt_authn:\n  \"@type\": \
             type.googleapis.com/envoy.extensions.filters.http.jwt_authn.v3.PerRouteConfig\n  \
             disabled: true\n",
        );
    }
    if has_ext_authz {
        filters.push_str(
            "envoy.filters.http.ext_authz:\n  \"@type\": \
             type.googleapis.com/envoy.extensions.filters.http.ext_authz.v3.ExtAuthzPerRoute\n  \
             disabled: true\n",
        );
    }
    if to_backend {
        // An empty config switches a filter on that is off elsewhere.
        filters.push_str(
            "envoy.filters.http.set_metadata: {\"@type\": \
             type.googleapis.com/envoy.config.route.v3.FilterConfig, config: {}}\n",
        );
    } else {
        let _ = writeln!(
            filters,
            "{FILTER}: {{\"@type\": type.googleapis.com/envoy.config.route.v3.FilterConfig, \
             disabled: true}}"
        );
    }
    filters
}

/// `set_metadata`, off by default, as an item of `http_filters`: marks the requests of probes.
pub(super) fn health_check((namespace, key): (&str, &str)) -> String {
    fill(
        include_str!("templates/parts/health-check.yaml"),
        &[("namespace", text(namespace)), ("key", text(key))],
    )
}

/// `response_headers_to_add` of a metadata document: the `cors` filter does nothing for it.
pub(super) fn document_headers() -> &'static str {
    include_str!("templates/parts/document-headers.yaml")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_item_stands_alone_under_another_name() {
        let text = "# Why.\n- name: a\n  b:\n    - name: c\n";
        assert_eq!(item(text, None), "# Why.\nname: a\nb:\n  - name: c\n");
        assert_eq!(item(text, Some("x")), "# Why.\nname: x\nb:\n  - name: c\n");
    }
}
