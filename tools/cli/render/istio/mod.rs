//! Resources for Istio: the filter and what stands in front of it as patches of the gateway, the
//! routes, and Istio's own policies as the net below.

mod callees;
mod patches;
mod routes;
mod services;

use super::Rendering;
use super::open_paths;
use super::parts::quoted;
use super::smoke;
use super::template::{block, fill, raw, scalar};
use crate::emit;
use crate::endpoint::Endpoint;
use services::Hosts;
pub(super) use services::services;
use std::fmt::Write as _;

/// Where Istio has the checked payload, in the namespace of `jwt_authn`: its policies read it there.
pub(super) const PAYLOAD_KEY: &str = "payload";

/// The policy that refuses requests without a token, where nothing else has.
const AUTHENTICATED: &str = "upstream-inject-authenticated";

/// Renders the resources.
pub(super) fn render(target: &mut Rendering<'_>) -> Result<String, String> {
    let hosts = Hosts::of(target)?;
    let services = callees::render(target)?;
    let plugin = target.plugin(str::to_owned, |sts| services::cluster_name(&sts.endpoint))?;
    let plugin = hosts.named(&plugin)?;
    let patches = patches::render(target, &hosts, &plugin)?;
    let routes = routes::render(target, &hosts)?;
    let authentication = authentication(target);
    notes(target, &hosts);
    let public = Endpoint::of_url("https://GATEWAY").map_err(str::to_owned)?;
    let listen = target.gateway.public.clone().unwrap_or(public);
    let admin = Endpoint::of_address("127.0.0.1:15000").map_err(str::to_owned)?;
    let text = fill(
        include_str!("../templates/istio/resources.yaml"),
        &[
            ("mapping", block(hosts.comment())),
            ("notes", block(target.notes_comment())),
            (
                "try",
                block(smoke::comment(
                    &target.gateway,
                    &listen,
                    Some(&admin),
                    &|backend| hosts.name_of(backend),
                )),
            ),
            ("namespace", scalar(target.options.namespace())),
            ("annotations", block(services.annotations)),
            ("selector", block(selector(target, false))),
            ("patches", block(patches)),
            ("authentication", block(authentication)),
            ("services", block(services.yaml)),
            ("routes", block(routes)),
        ],
    );
    let trial = smoke::notes(&target.gateway, &listen, Some(&admin), &|backend| {
        hosts.name_of(backend)
    });
    target.notes.extend(trial);
    Ok(text)
}

fn notes(target: &mut Rendering<'_>, hosts: &Hosts) {
    note_backends_with_tls(target, hosts);
    if !target.setup.variables.is_empty() {
        target.note(
            "the gateway's own container must have the environment variables of the filter: set \
             them in its Deployment, from Secrets in its namespace (`upstream-inject convert \
             --print env` prints a list)",
        );
    }
    if target.gateway.authentication.is_some() {
        target.note(format!(
            "an identity service that answers ext_authz needs --payload-key {PAYLOAD_KEY}: so Istio calls \
             the checked payload"
        ));
    }
    target.note(
        "a WasmPlugin of an earlier version of this must go in the same apply, or what one obtains \
         the other exchanges again: kubectl delete wasmplugin upstream-inject",
    );
    target.note(
        "whatever selects no gateway is applied to none, without a word: see with istioctl \
         proxy-config listener that the router has upstream_http_filters",
    );
}

/// Istio begins TLS where a DestinationRule says so; those of the backends are the operator's.
fn note_backends_with_tls(target: &mut Rendering<'_>, hosts: &Hosts) {
    for host in &hosts.0 {
        let service = &host.service;
        let url = target
            .setup
            .urls
            .iter()
            .find(|(name, _)| *name == host.backend);
        let is_https = url
            .and_then(|(_, url)| Endpoint::of_url(url).ok())
            .is_some_and(|endpoint| endpoint.tls);
        let is_outside = !service.is_in_cluster();
        let (begins_tls, has_rule) = callees::rule_of(target, service);
        if begins_tls || !(is_https || is_outside && service.port == 443) {
            continue;
        }
        let entry = match is_outside {
            true => " (and a ServiceEntry that makes it known)",
            false => "",
        };
        let rule = match has_rule {
            true => "add the port to the DestinationRule that is in here for this host",
            false => "make a DestinationRule for this host",
        };
        target.note(format!(
            "the backend {}, {}:{}: nothing in here begins TLS to it, so its credentials travel in plain \
             text: {rule}{entry}, with tls.mode SIMPLE, sni, subjectAltNames and caCertificates: system",
            host.backend,
            services::host_of(service),
            service.port
        ));
    }
}

/// To which gateway a resource applies, as a key of its `spec`: by reference, or classic, by labels
/// of its pods. An EnvoyFilter has no `matchLabels` between.
fn selector(target: &Rendering<'_>, matches_labels: bool) -> String {
    match &target.options.gateway_selector {
        Some((key, value)) => {
            let (outer, inner) = if matches_labels {
                ("selector", "matchLabels")
            } else {
                ("workloadSelector", "labels")
            };
            format!(
                "{outer}: {{{inner}: {{{}: {}}}}}\n",
                quoted(key),
                quoted(value)
            )
        }
        None => format!(
            "targetRefs:\n  - {{group: gateway.networking.k8s.io, kind: Gateway, name: {}}}\n",
            emit::scalar(target.options.gateway())
        ),
    }
}

/// Istio's own check of the TH-JWT, whose `jwt_authn` a patch puts ours in the place of: where that
/// does not happen, this one still refuses.
fn authentication(target: &Rendering<'_>) -> String {
    let Some(authentication) = &target.gateway.authentication else {
        return String::new();
    };
    let audiences: Vec<String> = authentication
        .audiences
        .iter()
        .map(|audience| quoted(audience))
        .collect();
    let audiences = if audiences.is_empty() {
        String::new()
    } else {
        format!("audiences: [{}]\n", audiences.join(", "))
    };
    let mut open = String::new();
    for path in open_paths::of(&target.gateway) {
        let _ = writeln!(open, "- {}", quoted(&path.path));
        if path.is_prefix {
            let _ = writeln!(open, "- {}", quoted(&format!("{}/*", path.path)));
        }
    }
    let open = if open.is_empty() {
        open
    } else {
        let mut text = "to:\n  - operation:\n      notPaths:\n".to_owned();
        for line in open.lines() {
            let _ = writeln!(text, "        {line}");
        }
        text
    };
    fill(
        include_str!("../templates/istio/authentication.yaml"),
        &[
            ("namespace", scalar(target.options.namespace())),
            ("selector", block(selector(target, true))),
            ("issuer", scalar(&authentication.issuer)),
            ("audiences", block(audiences)),
            ("keys_url", scalar(&authentication.keys_url)),
            ("policy", raw(AUTHENTICATED)),
            ("open", block(open)),
        ],
    )
}
