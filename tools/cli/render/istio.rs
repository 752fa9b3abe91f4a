//! Resources for Istio.

use super::Rendering;
use super::endpoint::Endpoint;
use super::setup::TokenEndpoint;
use super::template::{block, fill, raw, scalar};
use crate::emit;
use std::collections::{BTreeMap, BTreeSet};

/// Renders the resources.
pub(super) fn render(target: &mut Rendering<'_>) -> Result<String, String> {
    let hosts = hosts(target)?;
    let plugin = target.plugin_as_written(
        |backend| {
            hosts
                .get(backend)
                .cloned()
                .unwrap_or_else(|| backend.to_owned())
        },
        |sts| cluster_name(&sts.endpoint),
    )?;
    let (image, _) = target.image();
    let sts = token_endpoints(target);
    let authentication = authentication(target)?;
    let mapping: String = hosts
        .iter()
        .map(|(backend, cluster)| {
            format!(
                "#   {}\n",
                crate::report::printable(&format!("{backend}: {cluster}"))
            )
        })
        .collect();
    if !target.setup.variables.is_empty() {
        target.note(
            "the gateway's own container must have the environment variables below: set them in \
             its Deployment from Secrets (`upstream-inject convert --print env` prints a list)",
        );
    }
    Ok(fill(
        include_str!("templates/istio.yaml"),
        &[
            ("mapping", block(mapping)),
            ("notes", block(target.notes_comment())),
            ("namespace", scalar(target.options.namespace())),
            ("gateway", scalar(target.options.gateway())),
            ("image", scalar(&format!("oci://{image}"))),
            ("env", block(env(target))),
            ("plugin", block(emit::block(&plugin))),
            ("sts", block(sts)),
            ("authentication", block(authentication)),
        ],
    ))
}

/// `outbound|PORT|SUBSET|HOST`, without a subset.
fn cluster_name(endpoint: &Endpoint) -> String {
    format!("outbound|{}||{}", endpoint.port, endpoint.host)
}

/// Which cluster each backend is.
fn hosts(target: &mut Rendering<'_>) -> Result<BTreeMap<String, String>, String> {
    let mut hosts = BTreeMap::new();
    for backend in target.gateway.backends.clone() {
        let name = backend.name;
        let cluster = match &backend.address {
            Some(cluster) if cluster.starts_with("outbound|") => cluster.clone(),
            Some(address) => {
                let endpoint = Endpoint::of_address(address).map_err(|_| {
                    format!(
                        "--backend {name}={address}: neither HOST:PORT of a service nor a cluster \
                         name that begins with outbound|"
                    )
                })?;
                cluster_name(&endpoint)
            }
            None if name.starts_with("outbound|") => name.clone(),
            None => {
                let host = format!("{name}.{}.svc.cluster.local", target.options.namespace());
                target.note(format!(
                    "--backend {name}=… is missing: the service {host}:80 is assumed"
                ));
                format!("outbound|80||{host}")
            }
        };
        hosts.insert(name, cluster);
    }
    Ok(hosts)
}

fn env(target: &Rendering<'_>) -> String {
    if target.setup.variables.is_empty() {
        return String::new();
    }
    let mut text =
        "vmConfig:\n  # From the environment of the gateway's own container.\n  env:\n".to_owned();
    for variable in &target.setup.variables {
        text.push_str(&format!(
            "    - {{name: {}, valueFrom: HOST}}\n",
            emit::scalar(variable)
        ));
    }
    text
}

/// Once for each place: under Istio's names, two clusters of one place are one.
fn token_endpoints(target: &Rendering<'_>) -> String {
    let mut rendered = String::new();
    let mut seen = BTreeSet::new();
    for sts in &target.setup.token_endpoints {
        if seen.insert(cluster_name(&sts.endpoint)) {
            rendered.push_str(&token_endpoint(target, sts));
        }
    }
    rendered
}

fn token_endpoint(target: &Rendering<'_>, sts: &TokenEndpoint) -> String {
    let endpoint = &sts.endpoint;
    let name = format!("sts-{}-{}", endpoint.host, endpoint.port).replace(':', "-");
    let protocol = if endpoint.tls { "HTTPS" } else { "HTTP" };
    let tls = if endpoint.tls {
        fill(
            include_str!("templates/istio-tls.yaml"),
            &[("host", scalar(&endpoint.host))],
        )
    } else {
        "# Without TLS, as the URL says.\n".to_owned()
    };
    let values = [
        ("backends", raw(&sts.backends.join(", "))),
        ("cluster", raw(&cluster_name(endpoint))),
        ("name", scalar(&name)),
        ("namespace", scalar(target.options.namespace())),
        ("host", scalar(&endpoint.host)),
        ("port", raw(&endpoint.port.to_string())),
        ("port_name", scalar(&protocol.to_ascii_lowercase())),
        ("protocol", scalar(protocol)),
        ("tls", block(tls)),
    ];
    let mut rendered = String::new();
    // What runs in the cluster is known to Istio anyway.
    if !endpoint.host.ends_with(".svc.cluster.local") {
        rendered.push_str(&fill(
            include_str!("templates/istio-service-entry.yaml"),
            &values,
        ));
    }
    rendered.push_str(&fill(
        include_str!("templates/istio-destination-rule.yaml"),
        &values,
    ));
    rendered
}

fn authentication(target: &mut Rendering<'_>) -> Result<String, String> {
    let Some(authentication) = target.gateway.authentication.clone() else {
        return Ok(String::new());
    };
    let needs_tokens = target.setup.has_auth_server() || target.setup.needs_upstream_tokens();
    let custom = if needs_tokens {
        let endpoint = target.ext_authz()?;
        fill(
            include_str!("templates/istio-custom.yaml"),
            &[
                ("service", raw(&endpoint.host)),
                ("port", raw(&endpoint.port.to_string())),
                ("namespace", scalar(target.options.namespace())),
                ("gateway", scalar(target.options.gateway())),
            ],
        )
    } else {
        String::new()
    };
    let audiences = super::audiences(target);
    Ok(fill(
        include_str!("templates/istio-authentication.yaml"),
        &[
            ("namespace", scalar(target.options.namespace())),
            ("gateway", scalar(target.options.gateway())),
            ("issuer", scalar(&authentication.issuer)),
            ("audiences", block(audiences)),
            ("jwks_url", scalar(&authentication.keys_url)),
            ("custom", block(custom)),
        ],
    ))
}
