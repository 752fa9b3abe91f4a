//! The routes of a bootstrap: probes, the auth server, the metadata documents, the backends, and
//! what is left.

use super::super::Rendering;
use super::super::backend::is_below;
use super::super::challenge::MetadataDocument;
use super::super::gateway::{AuthServer, Backend, Gateway};
use super::super::identity::Identity;
use super::super::parts::{self, quoted};
use super::super::template::{block, fill, raw, scalar};
use super::AUTH_SERVER_CLUSTER;
use crate::emit;
use crate::endpoint::Endpoint;
use std::cmp::Reverse;

/// The virtual hosts: one, or one for each backend and one for the rest.
pub(super) fn virtual_hosts(target: &Rendering<'_>, places: &[Endpoint]) -> String {
    let routes = Routes {
        gateway: &target.gateway,
        has_ext_authz: matches!(target.gateway.identity, Identity::Metadata(_)),
    };
    let backends = || routes.gateway.backends.iter().zip(places);
    let mut hosts = String::new();
    let mut shared = routes.auth_server();
    for document in &routes.gateway.documents {
        if document.host.is_none() {
            shared.push_str(&routes.document(document));
        }
    }
    // By what their paths begin with: what is longer stands first, and so nothing hides it.
    let mut by_path = Vec::new();
    for (backend, place) in backends() {
        let to_backend = routes.to_backend(backend, place, &backend.path_prefix);
        match &backend.host {
            None => by_path.push((&backend.path_prefix, to_backend)),
            Some(host) => {
                let documents = routes.gateway.documents.iter();
                let of_backend = documents
                    .filter(|document| document.host.as_ref() == Some(host))
                    .map(|document| routes.document(document));
                let content = of_backend.collect::<String>() + &to_backend;
                let domains = format!("[{}, {}]", quoted(host), quoted(&format!("{host}:*")));
                hosts.push_str(&routes.virtual_host(&backend.name, &domains, &content));
            }
        }
    }
    let is_free = |path: &&String| backends().all(|(backend, _)| backend.path_prefix != **path);
    for (backend, place) in backends() {
        if let Some(also) = backend.also.as_ref().filter(is_free) {
            by_path.push((also, routes.to_backend(backend, place, also)));
        }
    }
    by_path.sort_by_key(|(prefix, _)| Reverse(prefix.matches('/').count()));
    shared.extend(by_path.into_iter().map(|(_, of_prefix)| of_prefix));
    shared.push_str(&routes.rest());
    hosts.push_str(&routes.virtual_host("gateway", "[\"*\"]", &shared));
    hosts
}

struct Routes<'a> {
    gateway: &'a Gateway,
    has_ext_authz: bool,
}

impl Routes<'_> {
    fn virtual_host(&self, name: &str, domains: &str, routes: &str) -> String {
        let cors = if self.gateway.cors.is_empty() {
            String::new()
        } else {
            per_filter(&parts::cors_policy(&self.gateway.cors))
        };
        fill(
            include_str!("../templates/envoy-virtual-host.yaml"),
            &[
                ("name", scalar(name)),
                ("domains", raw(domains)),
                ("cors", block(cors)),
                ("routes", block(routes)),
            ],
        )
    }

    /// What has no route is a 404 for who has a token, and for others the gateway's challenge.
    fn rest(&self) -> String {
        let metadata = parts::route_metadata(None, &self.gateway.challenge);
        let mut route = "# Nothing of ours.\n- match: {prefix: /}\n".to_owned();
        for line in metadata.lines() {
            route.push_str(&format!("  {line}\n"));
        }
        route.push_str("  direct_response: {status: 404}\n");
        route
    }

    fn document(&self, document: &MetadataDocument) -> String {
        let comment = match &document.backend {
            Some(backend) => format!(
                "# Where to log in for {} (RFC 9728).\n",
                crate::report::printable(backend)
            ),
            None => {
                "# The same for the gateway as a whole, whatever else is asked for.\n".to_owned()
            }
        };
        let route = fill(
            include_str!("../templates/envoy-document.yaml"),
            &[
                ("prefix", raw(&quoted(&document.path_prefix))),
                ("body", raw(&quoted(&document.body))),
                ("headers", block(parts::document_headers())),
                ("open", block(self.open(false))),
            ],
        );
        comment + &route
    }

    fn open(&self, to_backend: bool) -> String {
        parts::open_route_filters(self.gateway, self.has_ext_authz, to_backend)
    }

    /// To a backend from all paths that begin so, its probes' first.
    fn to_backend(&self, backend: &Backend, place: &Endpoint, prefix: &str) -> String {
        let mut routes = String::new();
        for probe in &backend.probes {
            if !is_below(probe, prefix) {
                continue;
            }
            routes.push_str("# A probe brings no token: this path goes on without a credential.\n");
            let rewrite = rewrite(&beginning(prefix), "/");
            let matches = format!("{{path: {}}}", quoted(probe));
            routes.push_str(&self.backend_route(backend, place, &matches, rewrite, true));
        }
        routes.push_str(&self.below(backend, place, prefix));
        routes
    }

    fn below(&self, backend: &Backend, place: &Endpoint, prefix: &str) -> String {
        let mut routes = String::new();
        if !place.path.is_empty() && !prefix.is_empty() {
            let whole = match place.path.strip_suffix('/') {
                // Without its slash the backend would answer with a redirect, past the prefix.
                Some(path) => format!("{}(?:{})?/?", escaped(prefix), escaped(path)),
                None => format!("{}/?", escaped(prefix)),
            };
            let matches = format!("{{safe_regex: {{regex: {}}}}}", quoted(&whole));
            let rewrite = rewrite(&format!("^{whole}$"), &place.path);
            routes.push_str(&self.backend_route(backend, place, &matches, rewrite, false));
        }
        let matches = if prefix.is_empty() {
            "{prefix: /}".to_owned()
        } else {
            format!("{{path_separated_prefix: {}}}", quoted(prefix))
        };
        let rewrite = rewrite(&beginning(prefix), "/");
        routes.push_str(&self.backend_route(backend, place, &matches, rewrite, false));
        routes
    }

    fn backend_route(
        &self,
        backend: &Backend,
        place: &Endpoint,
        matches: &str,
        rewrite: String,
        is_probe: bool,
    ) -> String {
        let filters = if is_probe {
            self.open(true)
        } else {
            parts::route_filters(self.gateway, backend, self.has_ext_authz)
        };
        fill(
            include_str!("../templates/envoy-route.yaml"),
            &[
                ("name", scalar(&backend.name)),
                ("match", raw(matches)),
                (
                    "metadata",
                    block(parts::route_metadata(
                        Some(&backend.name),
                        &backend.challenge,
                    )),
                ),
                ("cluster", scalar(&backend.name)),
                ("rewrite", block(rewrite)),
                ("host_rewrite", block(host_rewrite(place))),
                ("filters", block(per_filter(&filters))),
            ],
        )
    }

    /// The auth server's own paths; where its issuer has a path, that is ours to take off.
    fn auth_server(&self) -> String {
        let Some(server) = &self.gateway.auth_server else {
            return String::new();
        };
        let below = &server.issuer_path;
        let stripped = |path: &'static str| (format!("{below}{path}"), Some(path));
        let mut routes =
            "# ToolHive's auth server, where clients log in, and nothing else of it:\n# no token is \
             asked for, and the filter is off.\n"
                .to_owned();
        let (path, to) = stripped("/oauth/register");
        routes.push_str(&self.open_route(server, "path", &path, to, true));
        let (path, to) = stripped("/oauth/");
        routes.push_str(&self.open_route(server, "prefix", &path, to, true));
        for document in [
            "/.well-known/oauth-authorization-server",
            "/.well-known/openid-configuration",
        ] {
            routes.push_str(&self.open_route(
                server,
                "path_separated_prefix",
                document,
                None,
                false,
            ));
            if !below.is_empty() {
                let (path, to) = stripped(document);
                routes.push_str(&self.open_route(
                    server,
                    "path_separated_prefix",
                    &path,
                    to,
                    false,
                ));
            }
        }
        let (path, to) = stripped("/.well-known/jwks.json");
        routes.push_str(&self.open_route(server, "path", &path, to, false));
        routes
    }

    fn open_route(
        &self,
        server: &AuthServer,
        kind: &str,
        path: &str,
        rewritten: Option<&str>,
        is_for_clients: bool,
    ) -> String {
        let rewrite = rewritten
            .filter(|rewritten| *rewritten != path)
            .map(|rewritten| format!("prefix_rewrite: {}", quoted(rewritten)))
            .unwrap_or_default();
        let retry = if path.ends_with("/register") {
            include_str!("../templates/envoy-register-retry.yaml")
        } else {
            ""
        };
        let give_back = if is_for_clients {
            "request_headers_to_add:\n  - {header: {key: authorization, value: \
             \"%FILTER_STATE(upstream_inject.identity_token:PLAIN)%\"}, append_action: \
             OVERWRITE_IF_EXISTS_OR_ADD}\n"
        } else {
            ""
        };
        fill(
            include_str!("../templates/envoy-open-route.yaml"),
            &[
                ("match", raw(&format!("{{{kind}: {}}}", quoted(path)))),
                ("cluster", scalar(AUTH_SERVER_CLUSTER)),
                ("rewrite", block(rewrite)),
                ("host_rewrite", block(host_rewrite(&server.endpoint))),
                ("retry", block(retry)),
                ("give_back", block(give_back)),
                ("open", block(self.open(false))),
            ],
        )
    }
}

/// What paths begin with, as a regular expression; empty where all are meant.
fn beginning(prefix: &str) -> String {
    match prefix {
        "" => String::new(),
        prefix => format!("^{}/?", escaped(prefix)),
    }
}

/// What matches becomes `to`.
fn rewrite(pattern: &str, to: &str) -> String {
    if pattern.is_empty() {
        return String::new();
    }
    format!(
        "regex_rewrite: {{pattern: {{regex: {}}}, substitution: {}}}\n",
        quoted(pattern),
        quoted(&to.replace('\\', "\\\\"))
    )
}

/// A path as a regular expression that matches it alone.
fn escaped(path: &str) -> String {
    let mut escaped = String::new();
    for character in path.chars() {
        if character.is_ascii_punctuation() && !"/-_%~".contains(character) {
            escaped.push('\\');
        }
        escaped.push(character);
    }
    escaped
}

fn host_rewrite(place: &Endpoint) -> String {
    if place.is_address() {
        return String::new();
    }
    format!(
        "host_rewrite_literal: {}\n",
        emit::scalar(&place.authority())
    )
}

fn per_filter(entries: &str) -> String {
    if entries.is_empty() {
        return String::new();
    }
    let mut text = "typed_per_filter_config:\n".to_owned();
    for line in entries.lines() {
        text.push_str(&format!("  {line}\n"));
    }
    text
}
