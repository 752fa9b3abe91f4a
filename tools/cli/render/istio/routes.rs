//! The routes: a VirtualService for a classic gateway, HTTPRoutes for one of the Gateway API.

use super::super::Rendering;
use super::super::gateway::Backend;
use super::super::parts::quoted;
use super::super::template::{block, fill, raw, scalar};
use super::services::{Host, Hosts, host_of};
use crate::emit;
use std::fmt::Write as _;

/// How many rules Gateway API allows in one HTTPRoute.
const MAX_RULES: usize = 16;

/// The routes, each a document of its own.
///
/// # Errors
/// What this gateway cannot express.
pub(super) fn render(target: &Rendering<'_>, hosts: &Hosts) -> Result<String, String> {
    let mut backends = target.gateway.backends.iter();
    if let Some(backend) = backends.find(|backend| !backend.probes.is_empty()) {
        return Err(format!(
            "--health-check-path {}: not for --target istio; let probes ask the service itself, not \
             the gateway",
            backend.probes.join(" ")
        ));
    }
    Ok(match target.options.gateway_selector {
        Some(_) => virtual_service(target, hosts),
        None => http_routes(target, hosts),
    })
}

/// The hosts under which clients call: the gateway's own, and those of backends that the file gives
/// another URL. None: whatever they call it.
fn public_hosts(target: &Rendering<'_>) -> Vec<String> {
    let gateway = &target.gateway;
    let of_backends = gateway
        .backends
        .iter()
        .filter_map(|backend| backend.resource.as_ref());
    let Some(public) = &gateway.public else {
        return Vec::new();
    };
    let mut hosts: Vec<String> = Vec::new();
    for url in [public].into_iter().chain(of_backends) {
        if url.is_address() {
            return Vec::new(); // a route cannot say one
        }
        let host = url.host.to_ascii_lowercase();
        if !hosts.contains(&host) {
            hosts.push(host);
        }
    }
    hosts
}

fn list(hosts: &[String]) -> String {
    let hosts: Vec<String> = hosts.iter().map(|host| quoted(host)).collect();
    format!("[{}]", hosts.join(", "))
}

/// What the route to a metadata document is called.
pub(super) fn document_name(index: usize) -> String {
    format!("upstream-inject-metadata-{}", index.saturating_add(1))
}

fn virtual_service(target: &Rendering<'_>, hosts: &Hosts) -> String {
    let mut routes = String::new();
    for (index, document) in target.gateway.documents.iter().enumerate() {
        routes.push_str(&fill(
            include_str!("../templates/istio/document.yaml"),
            &[
                ("name", raw(&document_name(index))),
                ("exact", raw(&quoted(&document.path_prefix))),
                (
                    "prefix",
                    raw(&quoted(&format!("{}/", document.path_prefix))),
                ),
                ("body", raw(&quoted(&document.body))),
            ],
        ));
    }
    for (backend, host) in target.gateway.backends.iter().zip(&hosts.0) {
        routes.push_str(&fill(
            include_str!("../templates/istio/route.yaml"),
            &[
                ("name", raw(&quoted(&backend.name))),
                ("exact", raw(&quoted(&backend.path_prefix))),
                ("prefix", raw(&quoted(&format!("{}/", backend.path_prefix)))),
                ("door", raw(&target.gateway.door_as_list())),
                ("host", scalar(&host_of(&host.service))),
                ("port", raw(&host.service.port.to_string())),
            ],
        ));
    }
    let gateway = format!(
        "{}/{}",
        target.options.namespace(),
        target.options.gateway()
    );
    let mut hosts = public_hosts(target);
    if hosts.is_empty() {
        hosts.push("*".to_owned());
    }
    fill(
        include_str!("../templates/istio/virtual-service.yaml"),
        &[
            ("namespace", scalar(target.options.namespace())),
            ("hosts", raw(&list(&hosts))),
            ("gateway", scalar(&gateway)),
            ("routes", block(routes)),
        ],
    )
}

fn http_routes(target: &Rendering<'_>, hosts: &Hosts) -> String {
    let rules: Vec<String> = target
        .gateway
        .backends
        .iter()
        .zip(&hosts.0)
        .map(|(backend, host)| rule(target, backend, host))
        .collect();
    let hostnames = match public_hosts(target).as_slice() {
        [] => String::new(),
        hosts => format!("hostnames: {}\n", list(hosts)),
    };
    let mut text = String::new();
    for (index, rules) in rules.chunks(MAX_RULES).enumerate() {
        let name = match index {
            0 => "upstream-inject".to_owned(),
            index => format!("upstream-inject-{}", index.saturating_add(1)),
        };
        text.push_str(&fill(
            include_str!("../templates/istio/http-route.yaml"),
            &[
                ("name", scalar(&name)),
                ("namespace", scalar(target.options.namespace())),
                ("gateway", scalar(target.options.gateway())),
                ("hostnames", block(hostnames.clone())),
                ("rules", block(rules.concat())),
            ],
        ));
    }
    text
}

fn rule(target: &Rendering<'_>, backend: &Backend, host: &Host) -> String {
    // Istio's own kind of reference: any host that it knows.
    let service = format!(
        "{{group: networking.istio.io, kind: Hostname, name: {}, port: {}}}",
        emit::scalar(&host_of(&host.service)),
        host.service.port
    );
    let mut text = format!(
        "# {}\n- matches:\n    - path: {{type: PathPrefix, value: {}}}\n  filters:\n",
        crate::report::printable(&backend.name),
        quoted(&backend.path_prefix)
    );
    let _ = write!(
        text,
        "    - type: RequestHeaderModifier\n      requestHeaderModifier: {{remove: {}}}\n    \
         - type: URLRewrite\n      urlRewrite: {{path: {{type: ReplacePrefixMatch, \
         replacePrefixMatch: /}}}}\n  backendRefs:\n    - {service}\n",
        target.gateway.door_as_list()
    );
    text
}
