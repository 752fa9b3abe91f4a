//! Resources for Envoy Gateway.

use super::Rendering;
use super::cluster::Cluster;
use super::template::{block, fill, raw, scalar};
use crate::emit;
use std::collections::BTreeMap;
use std::fmt::Write as _;

/// Renders the resources.
pub(super) fn render(target: &mut Rendering<'_>) -> Result<String, String> {
    let routes = routes(target)?;
    let plugin = target.plugin_as_written(
        |backend| {
            routes
                .get(backend)
                .cloned()
                .unwrap_or_else(|| backend.to_owned())
        },
        |sts| sts.cluster.clone(),
    )?;
    let (image, digest) = target.image();
    let security_policy = security_policy(target)?;
    let sha256 = digest
        .map(|digest| format!("sha256: {}", emit::scalar(&digest)))
        .unwrap_or_default();
    let mapping: String = routes
        .iter()
        .map(|(backend, cluster)| {
            format!(
                "#   {}\n",
                crate::report::printable(&format!("{backend}: {cluster}"))
            )
        })
        .collect();
    note_environment(target);
    Ok(fill(
        include_str!("templates/envoy-gateway.yaml"),
        &[
            ("mapping", block(mapping)),
            ("notes", block(target.notes_comment())),
            ("namespace", scalar(target.options.namespace())),
            ("gateway", scalar(target.options.gateway())),
            ("image", scalar(&image)),
            ("sha256", block(sha256)),
            ("provider", block(provider(target))),
            ("bootstrap", block(bootstrap(target))),
            ("env", block(env(target))),
            ("plugin", block(emit::block(&plugin))),
            ("security_policy", block(security_policy)),
        ],
    ))
}

/// Which cluster each backend is.
fn routes(target: &mut Rendering<'_>) -> Result<BTreeMap<String, String>, String> {
    let mut routes = BTreeMap::new();
    for backend in target.gateway.backends.clone() {
        let name = backend.name;
        let cluster = match &backend.address {
            Some(route) => cluster_of(route).ok_or_else(|| {
                format!(
                    "--backend {name}={route}: not NAMESPACE/HTTPROUTE, NAMESPACE/HTTPROUTE/RULE, \
                     or a cluster name that begins with httproute/ or grpcroute/"
                )
            })?,
            None if name.starts_with("httproute/") || name.starts_with("grpcroute/") => {
                name.clone()
            }
            None => {
                let namespace = target.options.namespace().to_owned();
                target.note(format!(
                    "--backend {name}=… is missing: the first rule of the HTTPRoute \
                     {namespace}/{name} is assumed"
                ));
                format!("httproute/{namespace}/{name}/rule/0")
            }
        };
        routes.insert(name, cluster);
    }
    Ok(routes)
}

fn cluster_of(route: &str) -> Option<String> {
    if route.starts_with("httproute/") || route.starts_with("grpcroute/") {
        return Some(route.to_owned());
    }
    let parts: Vec<&str> = route.split('/').collect();
    let (namespace, name, rule) = match parts.as_slice() {
        [namespace, name] => (*namespace, *name, 0),
        [namespace, name, rule] => (*namespace, *name, rule.parse::<u32>().ok()?),
        _ => return None,
    };
    (!namespace.is_empty() && !name.is_empty())
        .then(|| format!("httproute/{namespace}/{name}/rule/{rule}"))
}

fn note_environment(target: &mut Rendering<'_>) {
    if !target.setup.variables.is_empty() {
        target.note(
            "the environment of the proxies takes its values from Secrets: fill in which, or take \
             the list that `upstream-inject convert --print env` prints",
        );
    }
}

/// The proxies' environment, from Secrets that only the operator knows.
fn provider(target: &Rendering<'_>) -> String {
    if target.setup.variables.is_empty() {
        return String::new();
    }
    let mut text = "provider:\n  type: Kubernetes\n  kubernetes:\n    envoyDeployment:\n      \
                    container:\n        env:\n"
        .to_owned();
    for variable in &target.setup.variables {
        let _ = write!(
            text,
            "          - name: {}\n            valueFrom:\n              secretKeyRef: {{name: \
             upstream-inject, key: {}}}\n",
            emit::scalar(variable),
            emit::scalar(variable)
        );
    }
    text
}

/// Envoy Gateway makes clusters of routes, and nothing routes to an STS. What the bootstrap holds
/// needs neither a route nor the leave to patch what the control plane sends.
fn bootstrap(target: &Rendering<'_>) -> String {
    if target.setup.token_endpoints.is_empty() {
        return String::new();
    }
    let mut clusters = String::new();
    for sts in &target.setup.token_endpoints {
        clusters.push_str(&Cluster::of_sts(sts).yaml(&target.options.ca_file));
    }
    fill(
        "# Added to the clusters of Envoy Gateway's own bootstrap.\n\
         bootstrap:\n  type: Merge\n  value: |\n    static_resources:\n      clusters:\n        \
         {{>clusters}}\n",
        &[("clusters", block(clusters))],
    )
}

fn env(target: &Rendering<'_>) -> String {
    if target.setup.variables.is_empty() {
        return String::new();
    }
    let variables: Vec<String> = target
        .setup
        .variables
        .iter()
        .map(|variable| emit::scalar(variable))
        .collect();
    format!("env:\n  hostKeys: [{}]\n", variables.join(", "))
}

fn security_policy(target: &mut Rendering<'_>) -> Result<String, String> {
    let Some(authentication) = target.gateway.authentication.clone() else {
        return Ok(String::new());
    };
    let needs_tokens = target.setup.has_auth_server() || target.setup.needs_upstream_tokens();
    let ext_auth = if needs_tokens {
        ext_auth(target)?
    } else {
        String::new()
    };
    let audiences = super::audiences(target);
    Ok(fill(
        include_str!("templates/envoy-gateway-security.yaml"),
        &[
            ("namespace", scalar(target.options.namespace())),
            ("gateway", scalar(target.options.gateway())),
            ("issuer", scalar(&authentication.issuer)),
            ("audiences", block(audiences)),
            ("jwks_url", scalar(&authentication.keys_url)),
            ("ext_auth", block(ext_auth)),
        ],
    ))
}

/// A Service, as `name.namespace[.svc…]:port`.
fn ext_auth(target: &mut Rendering<'_>) -> Result<String, String> {
    let endpoint = target.ext_authz()?;
    let mut labels = endpoint.host.split('.');
    let service = labels.next().unwrap_or_default();
    let namespace = labels
        .next()
        .filter(|label| *label != "invalid")
        .unwrap_or(target.options.namespace());
    Ok(fill(
        include_str!("templates/envoy-gateway-ext-auth.yaml"),
        &[
            ("service", scalar(service)),
            ("service_namespace", scalar(namespace)),
            ("port", raw(&endpoint.port.to_string())),
        ],
    ))
}
