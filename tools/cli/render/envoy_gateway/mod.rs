//! Resources for Envoy Gateway: the filter and everything in front of it as patches of each listener,
//! the routes, and the door twice, since patches may be switched off.

mod listeners;
mod patches;
mod places;
mod routes;
mod rules;

use super::Rendering;
use super::cluster::Cluster;
use super::identity::Identity;
use super::parts;
use super::smoke;
use super::template::{block, fill, raw, scalar};
use crate::emit;
use crate::endpoint::Endpoint;
use document::{entries, get_text};
use listeners::Listeners;
use patches::Patches;
use routes::Routes;
use std::fmt::Write as _;
use upstream_inject::config::Node;
use upstream_inject::strategy::REGISTRY;

/// What this is called, wherever resources have names.
const NAME: &str = "upstream-inject";
/// Where the filter is in the proxies' containers, unless `--wasm` says otherwise: the image's one
/// file, where the image is mounted.
const MOUNTED: &str = "/etc/upstream-inject";
const FILE_IN_IMAGE: &str = "plugin.wasm";

/// Renders the resources.
pub(super) fn render(target: &mut Rendering<'_>) -> Result<String, String> {
    let listeners = Listeners::of(target)?;
    let routes = Routes::of(target, &listeners)?;
    let plugin = target.plugin(
        |backend| routes.name_of(backend),
        |endpoint| endpoint.cluster.clone(),
    )?;
    let plugin = by_route(target, &plugin)?;
    let proxy = proxy(target);
    let patches = Patches {
        target,
        listeners: &listeners,
        routes: &routes,
        probes: routes.namespaces_with_probes(&target.gateway.backends),
    }
    .yaml(&plugin);
    let written = routes.yaml(target)?;
    target.note(
        "patches are off by default: set extensionApis.enableEnvoyPatchPolicy: true in Envoy \
         Gateway's own configuration; without them no request gets a credential",
    );
    let shown = Endpoint::of_url("https://GATEWAY").map_err(str::to_owned)?;
    let listen = target.gateway.public.clone().unwrap_or(shown);
    let admin = Endpoint::of_address("127.0.0.1:19000").map_err(str::to_owned)?;
    let named = |backend: &str| routes.name_of(backend);
    let trial = smoke::comment(&target.gateway, &listen, Some(&admin), &named);
    let text = fill(
        include_str!("../templates/envoy-gateway/resources.yaml"),
        &[
            ("mapping", block(written.mapping)),
            ("notes", block(target.notes_comment())),
            ("try", block(trial)),
            ("namespace", scalar(target.options.namespace())),
            ("gateway", scalar(target.options.gateway())),
            ("proxy", block(proxy)),
            ("patches", block(patches)),
            ("routes", block(written.yaml)),
        ],
    );
    let trial = smoke::notes(&target.gateway, &listen, Some(&admin), &named);
    target.notes.extend(trial);
    Ok(text)
}

/// The plugin configuration, a backend's name being that of its route: clusters are called otherwise
/// as soon as a neighbour of theirs has no endpoints.
fn by_route(target: &mut Rendering<'_>, plugin: &Node) -> Result<Node, String> {
    if let Some(other) = get_text(&target.setup.plugin, "backendFrom")
        && other != "gateway_route"
    {
        let note = format!(
            "backendFrom: {other} becomes gateway_route: Envoy Gateway gives clusters other names \
             while it runs"
        );
        target.note(note);
    }
    let mut entries = entries(plugin).to_vec();
    entries.retain(|(key, _)| key != "backendFrom");
    let value = Node::String("gateway_route".to_owned());
    entries.push(("backendFrom".to_owned(), value));
    let plugin = Node::Map(entries);
    let outcome = upstream_inject::config::plan(&plugin, REGISTRY, &crate::check::AnyVariable);
    match outcome.errors.first() {
        None => Ok(plugin),
        Some(problem) => Err(format!("by route: {problem}")),
    }
}

/// Where the proxies find the filter.
fn wasm_file(target: &Rendering<'_>) -> String {
    match &target.options.wasm {
        Some(path) => path.clone(),
        None => format!("{MOUNTED}/{FILE_IN_IMAGE}"),
    }
}

/// `provider` of the `EnvoyProxy`: the filter's image and environment.
fn proxy(target: &mut Rendering<'_>) -> String {
    let mut container = String::new();
    if !target.setup.variables.is_empty() {
        container.push_str("env:\n");
        for variable in &target.setup.variables {
            let _ = write!(
                container,
                "  - name: {name}\n    valueFrom:\n      secretKeyRef: {{name: {NAME}, key: {name}}}\n",
                name = emit::scalar(variable)
            );
        }
        target.notes.push(format!(
            "the proxies' environment takes its values from the Secret {NAME}, which must be in the \
             namespace that the proxies run in (envoy-gateway-system, unless the gateway's own): \
             make it, or fill in the list that `upstream-inject convert --print env` prints"
        ));
    }
    let mut pod = String::new();
    if target.options.wasm.is_none() {
        let (image, _) = target.image();
        let _ = write!(
            container,
            "volumeMounts:\n  - {{name: {NAME}, mountPath: {MOUNTED}, readOnly: true}}\n"
        );
        pod = format!(
            "# The filter is the one file of this image (Kubernetes 1.35, or 1.33 with ImageVolume).\n\
             pod:\n  volumes:\n    - name: {NAME}\n      image: {{reference: {}, pullPolicy: \
             IfNotPresent}}\n",
            parts::quoted(&image)
        );
    }
    fill(
        include_str!("../templates/envoy-gateway/proxy.yaml"),
        &[
            ("namespace", scalar(target.options.namespace())),
            ("name", raw(NAME)),
            ("pod", block(pod)),
            ("container", block(container)),
        ],
    )
}

/// Whom Envoy or the filter asks: clusters that no route leads to.
fn clusters(target: &Rendering<'_>) -> Vec<(String, String)> {
    let ca_file = &target.options.ca_file;
    let mut clusters = Vec::new();
    if let Some(authentication) = &target.gateway.authentication {
        let keys = Cluster {
            name: KEYS_CLUSTER,
            comment: "The keys that TH-JWTs are signed with.".to_owned(),
            endpoint: &authentication.keys,
            protocol: super::cluster::Protocol::Http1,
            detects_outliers: false,
        };
        clusters.push((KEYS_CLUSTER.to_owned(), keys.yaml(ca_file)));
    }
    if let Identity::Metadata(endpoint) = &target.gateway.identity {
        let service = Cluster {
            name: EXT_AUTHZ_CLUSTER,
            comment: "Who puts upstream tokens into metadata (ext_authz, gRPC).".to_owned(),
            endpoint,
            protocol: super::cluster::Protocol::Http2,
            detects_outliers: false,
        };
        clusters.push((EXT_AUTHZ_CLUSTER.to_owned(), service.yaml(ca_file)));
    }
    let service = target.gateway.identity.service().map(|service| Cluster {
        comment: "The identity service, where the filter gets upstream tokens.".to_owned(),
        ..Cluster::of_sts(&service.endpoint)
    });
    let endpoints = target.setup.token_endpoints.iter().map(Cluster::of_sts);
    for cluster in endpoints.chain(service) {
        clusters.push((cluster.name.to_owned(), cluster.yaml(ca_file)));
    }
    clusters
}

const KEYS_CLUSTER: &str = "upstream_inject.keys";
const EXT_AUTHZ_CLUSTER: &str = "upstream_inject.ext_authz";
