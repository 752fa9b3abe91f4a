//! A bootstrap for Envoy itself: one listener, and a path or a host for each backend.

mod clusters;
mod routes;

use super::Rendering;
use super::identity::Identity;
use super::options::EnvoyVersion;
use super::parts::{self, Rules};
use super::replies::{ChallengeFrom, local_replies};
use super::smoke;
use super::template::{block, fill, raw, scalar};
use super::wasm::Wasm;
use crate::endpoint::{Endpoint, shown};
use crate::keys;
use document::get_text;
use std::net::SocketAddr;
use upstream_inject::config::Node;

const AUTH_SERVER_CLUSTER: &str = "toolhive-auth-server";
const EXT_AUTHZ_CLUSTER: &str = "embedded-auth-server";
const KEYS_CLUSTER: &str = "identity-keys";

/// Renders the bootstrap.
pub(super) fn render(target: &mut Rendering<'_>) -> Result<String, String> {
    refuse_what_does_not_fit(target)?;
    let listen = address("--listen", target.options.listen())?;
    let admin = address("--admin", target.options.admin())?;
    refuse_one_place(&listen, &admin)?;
    let places = clusters::places(target)?;
    let clusters = clusters::render(target, &places)?;
    let plugin = target.plugin(str::to_owned, |endpoint| endpoint.cluster.clone())?;
    let wasm = Wasm {
        code: format!(
            "local: {{filename: {}}}",
            parts::quoted(target.options.wasm())
        ),
        variables: &target.setup.variables,
        plugin: &plugin,
        version: target.options.envoy_version,
    };
    let virtual_hosts = routes::virtual_hosts(target, &places);
    let mutations = if target.gateway.auth_server.is_some() {
        "# The auth server's own clients authenticate at /oauth/, whose route gives it back.\n\
         most_specific_header_mutations_wins: true\n"
    } else {
        ""
    };
    let text = fill(
        include_str!("../templates/envoy.yaml"),
        &[
            ("intro", block(intro(target))),
            ("notes", block(target.notes_comment())),
            (
                "try",
                block(smoke::comment(
                    &target.gateway,
                    &listen,
                    Some(&admin),
                    &str::to_owned,
                )),
            ),
            ("admin_host", scalar(&admin.host)),
            ("admin_port", raw(&admin.port.to_string())),
            ("listen_host", scalar(&listen.host)),
            ("listen_port", raw(&listen.port.to_string())),
            (
                "local_replies",
                block(local_replies(&ChallengeFrom::Route, None)),
            ),
            ("door", raw(&target.gateway.door_as_list())),
            ("mutations", block(mutations)),
            ("virtual_hosts", block(virtual_hosts)),
            ("filters", block(filters(target))),
            ("upstream_filters", block(wasm.upstream_http_filters())),
            ("clusters", block(clusters)),
        ],
    );
    let trial = smoke::notes(&target.gateway, &listen, Some(&admin), &str::to_owned);
    target.notes.extend(trial);
    Ok(text)
}

fn refuse_what_does_not_fit(target: &Rendering<'_>) -> Result<(), String> {
    if get_text(&target.setup.plugin, "backendFrom") == Some("gateway_route") {
        return Err(
            "backendFrom: gateway_route is what Envoy Gateway writes into routes; leave it out for \
             --target envoy"
                .to_owned(),
        );
    }
    let is_too_old = target
        .options
        .envoy_version
        .is_some_and(|version| version < EnvoyVersion::SIGNS);
    if is_too_old && signs(&target.setup.plugin) {
        return Err(
            "private_key_jwt: Envoy signs from 1.37 on, and in an older one the filter refuses to load \
             with a client that has a key (clientKeyEnv); take a newer one (--envoy-version), or a client \
             secret"
                .to_owned(),
        );
    }
    Ok(())
}

/// Whether a client has a key to sign with, or is said to sign.
fn signs(node: &Node) -> bool {
    match node {
        Node::List(items) => items.iter().any(signs),
        Node::Map(entries) => entries.iter().any(|(key, value)| match value {
            Node::String(text) => {
                text == "private_key_jwt" || (!text.is_empty() && keys::is_of_private_key(key))
            }
            _ => signs(value),
        }),
        _ => false,
    }
}

/// What Envoy listens on; port 0 is any that is free.
fn address(flag: &str, text: &str) -> Result<Endpoint, String> {
    let address: SocketAddr = text.parse().map_err(|_| {
        let text = shown(text);
        format!("{flag} {text}: not an IP address and a port, such as 127.0.0.1:10000")
    })?;
    Ok(Endpoint {
        host: address.ip().to_string(),
        port: address.port(),
        tls: false,
        path: String::new(),
    })
}

/// Two listeners cannot share a port of one address.
fn refuse_one_place(listen: &Endpoint, admin: &Endpoint) -> Result<(), String> {
    let is_any = |endpoint: &Endpoint| ["0.0.0.0", "::"].contains(&endpoint.host.as_str());
    let is_host = listen.host == admin.host || is_any(listen) || is_any(admin);
    if listen.port == admin.port && listen.port > 0 && is_host {
        return Err(format!(
            "--listen and --admin: both would be on port {}; give one of them another",
            listen.port
        ));
    }
    Ok(())
}

fn intro(target: &Rendering<'_>) -> String {
    let example = target.gateway.backends.first();
    let (place, path) = match example {
        Some(backend) => (
            backend.host.clone().unwrap_or_default(),
            backend.path_prefix.clone(),
        ),
        None => (String::new(), "/NAME".to_owned()),
    };
    let (way, limit) = if target.options.by_host {
        (
            format!("# Each backend has a host of its own, such as {place}."),
            "# Its paths are the backend's own.",
        )
    } else {
        (
            format!(
                "# A request comes in under the name of its backend: {path}/… goes there without that \
                 first part."
            ),
            "# What a backend says about its own paths (a redirect, the older SSE transport's \
             endpoint) leads\n# clients past that part; --by-host gives each backend a host instead.",
        )
    };
    let text = format!("{way}\n{limit}\n");
    // Names may hold anything, lines may not.
    text.lines()
        .map(|line| format!("{}\n", crate::report::printable(line)))
        .collect()
}

/// The filters in front of the router, in their order.
fn filters(target: &Rendering<'_>) -> String {
    let gateway = &target.gateway;
    let mut filters = String::new();
    if !gateway.cors.is_empty() {
        filters.push_str(parts::cors());
    }
    if let Some(authentication) = &gateway.authentication {
        let cluster = clusters::keys_cluster(gateway, authentication);
        filters.push_str(&parts::jwt_authn(
            authentication,
            &gateway.backends,
            cluster,
            &Rules::ByRoute,
        ));
    }
    if matches!(gateway.identity, Identity::Metadata(_)) {
        filters.push_str(&parts::ext_authz(EXT_AUTHZ_CLUSTER));
    }
    if gateway
        .backends
        .iter()
        .any(|backend| !backend.probes.is_empty())
    {
        let (namespace, key) = target.setup.health_check_marker();
        filters.push_str(&parts::health_check((&namespace, &key)));
    }
    filters.push_str(parts::keep_identity_token());
    filters
}
