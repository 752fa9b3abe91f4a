//! What `EnvoyPatchPolicy` puts into Envoy's configuration: the same for each listener.

use super::super::Rendering;
use super::super::gateway::Gateway;
use super::super::identity::Identity;
use super::super::parts::{self, Rules};
use super::super::replies::{ChallengeFrom, local_replies};
use super::super::wasm::Wasm;
use super::listeners::Listeners;
use super::routes::{AUTH_SERVER_ROUTE, DOCUMENTS_ROUTE, PROBES_ROUTE, Routes};
use super::{EXT_AUTHZ_CLUSTER, KEYS_CLUSTER};
use crate::emit;
use std::fmt::Write as _;
use upstream_inject::config::Node;

/// Filters of ours have names of their own: what other people's policies put onto a route under a
/// filter's usual name is not meant for them.
const JWT_AUTHN: &str = "upstream_inject.jwt_authn";
const EXT_AUTHZ: &str = "upstream_inject.ext_authz";
const CORS: &str = "upstream_inject.cors";
const KEEP: &str = "upstream_inject.identity_token";
const HEALTH_CHECK: &str = "upstream_inject.health_check";

const ROUTER: &str = "$..http_filters[?(@.name=='envoy.filters.http.router')]";
const MANAGER: &str = "$..filters[?(@.name=='envoy.filters.network.http_connection_manager')]";

pub(super) struct Patches<'a, 'b> {
    pub(super) target: &'a Rendering<'b>,
    pub(super) listeners: &'a Listeners,
    pub(super) routes: &'a Routes,
    /// Where there are routes for probes.
    pub(super) probes: Vec<String>,
}

impl Patches<'_, '_> {
    /// The items of `jsonPatches`.
    pub(super) fn yaml(&self, plugin: &Node) -> String {
        let mut text = String::new();
        for (name, cluster) in super::clusters(self.target) {
            Patch {
                kind: "cluster.v3.Cluster",
                name: &name,
                json_path: None,
                path: Some(""),
            }
            .write(&parts::item(&cluster, None), &mut text);
        }
        for listener in self.listeners.listener_names() {
            let _ = writeln!(text, "# ---- The listener {listener}");
            self.in_front_of_the_router(&listener, &mut text);
            self.in_the_router(&listener, plugin, &mut text);
            self.replies(&listener, &mut text);
        }
        for routes in self.listeners.route_names() {
            let _ = writeln!(text, "# ---- The routes {routes}");
            self.on_routes(&routes, &mut text);
        }
        text
    }

    /// Each goes in before the router, so they stand in this order, behind other people's filters.
    fn in_front_of_the_router(&self, listener: &str, text: &mut String) {
        let gateway = &self.target.gateway;
        let mut filters = Vec::new();
        if !gateway.cors.is_empty() {
            filters.push((CORS, parts::cors().to_owned()));
        }
        if let Some(authentication) = &gateway.authentication {
            let filter = parts::jwt_authn(
                authentication,
                &gateway.backends,
                KEYS_CLUSTER,
                &Rules::ByPath(gateway),
            );
            filters.push((JWT_AUTHN, filter));
        }
        if matches!(gateway.identity, Identity::Metadata(_)) {
            filters.push((EXT_AUTHZ, parts::ext_authz(EXT_AUTHZ_CLUSTER)));
        }
        if !self.probes.is_empty() {
            let (namespace, key) = self.target.setup.health_check_marker();
            filters.push((HEALTH_CHECK, parts::health_check((&namespace, &key))));
        }
        filters.push((KEEP, parts::keep_identity_token().to_owned()));
        for (name, filter) in filters {
            Patch {
                kind: "listener.v3.Listener",
                name: listener,
                json_path: Some(ROUTER),
                path: None,
            }
            .write(&parts::item(&filter, Some(name)), text);
        }
    }

    fn in_the_router(&self, listener: &str, plugin: &Node, text: &mut String) {
        let wasm = Wasm {
            code: format!(
                "local: {{filename: {}}}",
                parts::quoted(&super::wasm_file(self.target))
            ),
            variables: &self.target.setup.variables,
            plugin,
            version: self.target.options.envoy_version,
        };
        text.push_str(
            "# The filter runs in the router: for every attempt, for whatever cluster it goes to.\n",
        );
        Patch {
            kind: "listener.v3.Listener",
            name: listener,
            json_path: Some(ROUTER),
            path: Some("/typed_config/upstream_http_filters"),
        }
        .write(&wasm.upstream_http_filters(), text);
    }

    fn replies(&self, listener: &str, text: &mut String) {
        let gateway = &self.target.gateway;
        if gateway.authentication.is_none() {
            return;
        }
        let name_of = |backend: &str| self.routes.name_of(backend);
        let replies = local_replies(&ChallengeFrom::Path(gateway, &name_of), None);
        Patch {
            kind: "listener.v3.Listener",
            name: listener,
            json_path: Some(MANAGER),
            path: Some("/typed_config/local_reply_config"),
        }
        .write(&replies, text);
    }

    fn on_routes(&self, routes: &str, text: &mut String) {
        let gateway = &self.target.gateway;
        let mut patch = |json_path: Option<&str>, path: &str, value: &str| {
            Patch {
                kind: "route.v3.RouteConfiguration",
                name: routes,
                json_path,
                path: Some(path),
            }
            .write(value, text);
        };
        let door = gateway.door_as_list() + "\n";
        patch(None, "/request_headers_to_remove", &door);
        if gateway.auth_server.is_some() {
            patch(None, "/most_specific_header_mutations_wins", "true\n");
            let routes = to_auth_server(self.target.options.namespace(), gateway);
            patch(
                Some(&routes),
                &format!("/typed_per_filter_config/{}", parts::FILTER),
                "{\"@type\": type.googleapis.com/envoy.config.route.v3.FilterConfig, disabled: true}\n",
            );
            // The first rule registers clients.
            let register = routes.replace(".rule/)]", ".rule.0.match/)]");
            let retry = include_str!("../templates/envoy-register-retry.yaml");
            let (comment, policy) = retry.split_once('\n').unwrap_or_default();
            let policy = format!("{comment}\n{}", value_of_first_entry(policy));
            patch(Some(&register), "/route/retry_policy", &policy);
        }
        if !gateway.documents.is_empty() {
            // A direct response of Envoy Gateway's leaves the headers of its route out.
            let routes = route_name_begins(self.target.options.namespace(), DOCUMENTS_ROUTE);
            let headers = parts::document_headers();
            patch(Some(&routes), "/response_headers_to_add", headers);
        }
        for namespace in &self.probes {
            let routes = route_name_is(namespace, PROBES_ROUTE);
            patch(
                Some(&routes),
                &format!("/typed_per_filter_config/{HEALTH_CHECK}"),
                "{\"@type\": type.googleapis.com/envoy.config.route.v3.FilterConfig, config: {}}\n",
            );
        }
        if matches!(gateway.identity, Identity::Metadata(_)) {
            for routes in self.open_routes() {
                let path = format!("/typed_per_filter_config/{EXT_AUTHZ}");
                patch(Some(&routes), &path, &format!("{}\n", parts::NOT_ASKED));
            }
        }
        if !gateway.cors.is_empty() {
            let policy = parts::cors_policy(&gateway.cors);
            let value = value_of_first_entry(&policy);
            patch(None, &format!("/typed_per_filter_config/{CORS}"), &value);
        }
    }

    /// Those that ask for no token.
    fn open_routes(&self) -> Vec<String> {
        let gateway = &self.target.gateway;
        let namespace = self.target.options.namespace();
        let documents =
            (!gateway.documents.is_empty()).then(|| route_name_begins(namespace, DOCUMENTS_ROUTE));
        let auth_server = gateway
            .auth_server
            .as_ref()
            .map(|_| to_auth_server(namespace, gateway));
        let probes = self.probes.iter();
        let probes = probes.map(|namespace| route_name_is(namespace, PROBES_ROUTE));
        documents
            .into_iter()
            .chain(auth_server)
            .chain(probes)
            .collect()
    }
}

/// The routes of the HTTPRoute to the auth server, which stands beside its Service.
fn to_auth_server(namespace: &str, gateway: &Gateway) -> String {
    let server = gateway.auth_server.as_ref();
    let service = server.and_then(|server| super::places::service_of(&server.endpoint.host));
    let namespace = service.map_or_else(|| namespace.to_owned(), |(_, namespace)| namespace);
    route_name_is(&namespace, AUTH_SERVER_ROUTE)
}

/// Envoy Gateway calls routes `httproute/NAMESPACE/NAME/rule/…`; a slash would end the expression.
fn route_name_is(namespace: &str, route: &str) -> String {
    route_name_begins(namespace, &format!("{route}/rule"))
}

fn route_name_begins(namespace: &str, route: &str) -> String {
    let escaped = |name: &str| name.replace('.', "\\.").replace('/', ".");
    format!(
        "$.virtual_hosts[*].routes[?(@.name =~ /^httproute.{}.{}/)]",
        escaped(namespace),
        escaped(route)
    )
}

/// One operation, always `add`.
struct Patch<'a> {
    kind: &'static str,
    name: &'a str,
    json_path: Option<&'a str>,
    path: Option<&'a str>,
}

impl Patch<'_> {
    fn write(&self, value: &str, text: &mut String) {
        let _ = write!(
            text,
            "- type: type.googleapis.com/envoy.config.{}\n  name: {}\n  operation:\n    op: add\n",
            self.kind,
            emit::scalar(self.name)
        );
        for (key, path) in [("jsonPath", self.json_path), ("path", self.path)] {
            if let Some(path) = path {
                let _ = writeln!(text, "    {key}: {}", parts::quoted(path));
            }
        }
        text.push_str("    value:\n");
        for line in value.lines() {
            let _ = writeln!(text, "      {line}");
        }
    }
}

/// What stands below the first key of a map.
fn value_of_first_entry(text: &str) -> String {
    text.lines()
        .skip(1)
        .map(|line| format!("{}\n", line.strip_prefix("  ").unwrap_or(line)))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_route_is_found_by_its_name_and_namespace() {
        assert_eq!(
            route_name_is("mcp", "a.b"),
            "$.virtual_hosts[*].routes[?(@.name =~ /^httproute.mcp.a\\.b.rule/)]"
        );
    }
}
