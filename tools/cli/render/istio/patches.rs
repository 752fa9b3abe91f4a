//! What `EnvoyFilter` puts into the gateway's configuration.

use super::super::Rendering;
use super::super::gateway::Gateway;
use super::super::identity::Identity;
use super::super::open_paths::{self, OpenPath};
use super::super::parts::{self, Rules, quoted};
use super::super::replies::{ChallengeFrom, local_replies};
use super::super::wasm::Wasm;
use super::services::{Hosts, cluster_name};
use std::fmt::Write as _;
use upstream_inject::config::Node;

/// Istio has a `cors` filter of its own, behind whatever refuses requests.
const CORS: &str = "upstream_inject.cors";
const EXT_AUTHZ: &str = "upstream_inject.ext_authz";
const HEALTH_CHECK: &str = "upstream_inject.health_check";

const MANAGER: &str = "listener: {filterChain: {filter: {name: \
                       envoy.filters.network.http_connection_manager}}}";

/// The items of `configPatches`.
///
/// # Errors
/// What cannot be expressed.
pub(super) fn render(
    target: &mut Rendering<'_>,
    hosts: &Hosts,
    plugin: &Node,
) -> Result<String, String> {
    let mut text = String::new();
    load_the_filter(target, plugin, &mut text);
    on_routes(target, &mut text);
    in_front_of_the_router(target, &mut text);
    in_the_router(&mut text);
    on_the_connection_manager(target, hosts, &mut text);
    Ok(text)
}

/// The filter as a resource of its own: Istio's agent fetches the code and checks its digest.
fn load_the_filter(target: &mut Rendering<'_>, plugin: &Node, text: &mut String) {
    let (image, digest) = target.image();
    let digest = digest
        .map(|digest| format!("\n  sha256: \"{digest}\""))
        .unwrap_or_default();
    let wasm = Wasm {
        code: format!(
            "# The agent fetches it, and hands Envoy a file.\nremote:\n  http_uri: {{uri: {}, \
             timeout: 30s, cluster: _}}{digest}\n",
            quoted(&format!("oci://{image}"))
        ),
        variables: &target.setup.variables,
        plugin,
        version: target.options.envoy_version,
    };
    let mut value = format!("name: {}\ntyped_config:\n", parts::FILTER);
    push_indented(&mut value, 2, &wasm.typed_config());
    patch(text, "EXTENSION_CONFIG", "", "ADD", &value);
}

fn on_routes(target: &Rendering<'_>, text: &mut String) {
    let gateway = &target.gateway;
    let mut value = format!(
        "# The door: what clients send in these reaches no cluster, whatever else is wrong.\n\
         request_headers_to_remove: {}\n",
        gateway.door_as_list()
    );
    if gateway.auth_server.is_some() {
        value.push_str(
            "# The auth server's own clients authenticate at /oauth/, whose route gives it back.\n\
             most_specific_header_mutations_wins: true\n",
        );
    }
    if !gateway.cors.is_empty() {
        value.push_str("typed_per_filter_config:\n");
        let policy = parts::cors_policy(&gateway.cors);
        let policy = policy.replacen("envoy.filters.http.cors:", &format!("{CORS}:"), 1);
        push_indented(&mut value, 2, &policy);
    }
    patch(text, "ROUTE_CONFIGURATION", "", "MERGE", &value);
    for route in open_routes(target) {
        patch(text, "HTTP_ROUTE", "", "INSERT_FIRST", &route);
    }
    if target.options.gateway_selector.is_some()
        && matches!(gateway.identity, Identity::Metadata(_))
    {
        // What the VirtualService answers by itself.
        let value = format!(
            "typed_per_filter_config:\n  {EXT_AUTHZ}: {}\n",
            parts::NOT_ASKED
        );
        for index in 0..gateway.documents.len() {
            let name = super::routes::document_name(index);
            let matched = format!("routeConfiguration: {{vhost: {{route: {{name: {name}}}}}}}");
            patch(text, "HTTP_ROUTE", &matched, "MERGE", &value);
        }
    }
}

/// Routes that only Envoy itself can have: without the filter, or answered by Envoy. The first of
/// the list is the last to match.
fn open_routes(target: &Rendering<'_>) -> Vec<String> {
    let gateway = &target.gateway;
    let asks = matches!(gateway.identity, Identity::Metadata(_));
    let mut routes = Vec::new();
    // A VirtualService can answer by itself; an HTTPRoute cannot.
    if target.options.gateway_selector.is_none() {
        for document in gateway.documents.iter().rev() {
            let mut route = format!(
                "# Where to log in (RFC 9728).\nmatch: {{path_separated_prefix: {}}}\n\
                 direct_response: {{status: 200, body: {{inline_string: {}}}}}\n\
                 response_headers_to_add:\n",
                quoted(&document.path_prefix),
                quoted(&document.body)
            );
            push_indented(&mut route, 2, parts::document_headers());
            if asks {
                let _ = writeln!(
                    route,
                    "typed_per_filter_config:\n  {EXT_AUTHZ}: {}",
                    parts::NOT_ASKED
                );
            }
            routes.push(route);
        }
    }
    if let Some(server) = &gateway.auth_server {
        let cluster = cluster_name(&server.endpoint);
        let authority = server.endpoint.authority();
        let mut of_server: Vec<String> = open_paths::of_auth_server(server)
            .iter()
            .map(|path| {
                let mut route = auth_server_route(path, &cluster, &authority);
                if asks {
                    let _ = writeln!(route, "  {EXT_AUTHZ}: {}", parts::NOT_ASKED);
                }
                route
            })
            .collect();
        of_server.reverse();
        routes.extend(of_server);
    }
    routes
}

fn auth_server_route(path: &OpenPath, cluster: &str, authority: &str) -> String {
    let kind = if path.is_prefix {
        "path_separated_prefix"
    } else {
        "path"
    };
    let mut route = format!(
        "# ToolHive's auth server: the filter is off.\nmatch: {{{kind}: {}}}\nroute:\n  cluster: {}\n  \
         timeout: 30s\n  host_rewrite_literal: {}\n",
        quoted(&path.path),
        quoted(cluster),
        quoted(authority)
    );
    if let Some(rewritten) = &path.rewritten {
        let _ = writeln!(route, "  prefix_rewrite: {}", quoted(rewritten));
    }
    if path.path.ends_with("/register") {
        route.push_str("  # It registers one client a second, and says how long to wait.\n");
        push_indented(
            &mut route,
            2,
            include_str!("../templates/envoy-register-retry.yaml")
                .split_once('\n')
                .map_or("", |(_, rest)| rest),
        );
    }
    if path.takes_credentials {
        route.push_str(
            "request_headers_to_add:\n  - {header: {key: authorization, value: \
             \"%FILTER_STATE(upstream_inject.identity_token:PLAIN)%\"}, append_action: \
             OVERWRITE_IF_EXISTS_OR_ADD}\n",
        );
    }
    let _ = write!(
        route,
        "typed_per_filter_config:\n  {}: {{\"@type\": \
         type.googleapis.com/envoy.config.route.v3.FilterConfig, disabled: true}}\n",
        parts::FILTER
    );
    route
}

fn in_front_of_the_router(target: &Rendering<'_>, text: &mut String) {
    let gateway = &target.gateway;
    if !gateway.cors.is_empty() {
        let value = item(parts::cors(), Some(CORS));
        patch(text, "HTTP_FILTER", MANAGER, "INSERT_FIRST", &value);
    }
    if let Some(authentication) = &gateway.authentication {
        let cluster = cluster_name(&authentication.keys);
        let rules = Rules::ByPath(gateway);
        let filter = parts::jwt_authn(authentication, &gateway.backends, &cluster, &rules);
        let value = item(&filter, None);
        let matched = sub_filter("envoy.filters.http.jwt_authn");
        patch(text, "HTTP_FILTER", &matched, "REPLACE", &value);
    }
    let mut filters = Vec::new();
    if let Identity::Metadata(endpoint) = &gateway.identity {
        let filter = parts::ext_authz(&cluster_name(endpoint));
        filters.push(item(&filter, Some(EXT_AUTHZ)));
    }
    if has_probes(gateway) {
        let (namespace, key) = target.setup.health_check_marker();
        let filter = parts::health_check((&namespace, &key));
        filters.push(item(&filter, Some(HEALTH_CHECK)));
    }
    filters.push(item(
        parts::keep_identity_token(),
        Some("upstream_inject.identity_token"),
    ));
    for filter in filters {
        let matched = sub_filter("envoy.filters.http.router");
        patch(text, "HTTP_FILTER", &matched, "INSERT_BEFORE", &filter);
    }
}

fn has_probes(gateway: &Gateway) -> bool {
    gateway
        .backends
        .iter()
        .any(|backend| !backend.probes.is_empty())
}

fn in_the_router(text: &mut String) {
    let value = format!(
        "name: envoy.filters.http.router\ntyped_config:\n  \"@type\": \
         type.googleapis.com/envoy.extensions.filters.http.router.v3.Router\n  \
         # Runs for every attempt, for whatever cluster it goes to.\n  \
         upstream_http_filters:\n    - name: {}\n      config_discovery:\n        config_source: {{ads: \
         {{}}, resource_api_version: V3, initial_fetch_timeout: 0s}}\n        \
         # Wasm alone: with RBAC beside it, as Istio has it, Envoy 1.36 and 1.38 refuse the listener.\n        \
         type_urls: [type.googleapis.com/envoy.extensions.filters.http.wasm.v3.Wasm]\n",
        parts::FILTER
    );
    let mut value = value;
    push_indented(
        &mut value,
        4,
        include_str!("../templates/parts/upstream-codec.yaml"),
    );
    let matched = sub_filter("envoy.filters.http.router");
    patch(text, "HTTP_FILTER", &matched, "MERGE", &value);
}

fn on_the_connection_manager(target: &Rendering<'_>, hosts: &Hosts, text: &mut String) {
    let gateway = &target.gateway;
    let mut value = "name: envoy.filters.network.http_connection_manager\ntyped_config:\n  \"@type\": \
                     type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager\n  \
                     # One spelling of each path, whatever the mesh says.\n  \
                     normalize_path: true\n  merge_slashes: true\n  \
                     path_with_escaped_slashes_action: REJECT_REQUEST\n  \
                     # Many servers read x_api_key as x-api-key.\n  \
                     common_http_protocol_options: {headers_with_underscores_action: REJECT_REQUEST}\n"
        .to_owned();
    if gateway.authentication.is_some() {
        value.push_str("  local_reply_config:\n");
        // The net below refuses with 403, which no client acts on.
        let net = format!(
            "response.code == 403 && response.code_details.contains('policy[{}]')",
            super::AUTHENTICATED
        );
        let name_of = |backend: &str| hosts.name_of(backend);
        let replies = local_replies(&ChallengeFrom::Path(gateway, &name_of), Some(&net));
        push_indented(&mut value, 4, &replies);
    }
    patch(text, "NETWORK_FILTER", MANAGER, "MERGE", &value);
}

fn sub_filter(name: &str) -> String {
    format!(
        "listener: {{filterChain: {{filter: {{name: envoy.filters.network.http_connection_manager, \
         subFilter: {{name: {name}}}}}}}}}"
    )
}

fn patch(text: &mut String, apply_to: &str, matched: &str, operation: &str, value: &str) {
    let matched = match matched {
        "" => "context: GATEWAY".to_owned(),
        more => format!("context: GATEWAY, {more}"),
    };
    let _ = write!(
        text,
        "- applyTo: {apply_to}\n  match: {{{matched}}}\n  patch:\n    operation: {operation}\n    value:\n"
    );
    push_indented(text, 6, value);
}

fn item(text: &str, name: Option<&str>) -> String {
    parts::item(text, name)
}

fn push_indented(text: &mut String, indent: usize, lines: &str) {
    for line in lines.lines() {
        let _ = writeln!(text, "{:indent$}{line}", "");
    }
}
