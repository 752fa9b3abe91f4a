//! Whom the filter or Envoy asks: what makes them known to Istio, and how they are called.

use super::super::Rendering;
use super::super::identity::Identity;
use super::super::parts::quoted;
use super::super::template::{block, fill, raw, scalar};
use super::services::{cluster_name, host_of, is_host};
use crate::endpoint::Endpoint;
use crate::report::printable;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

/// What makes services known, and how they are called.
pub(super) struct Services {
    pub(super) yaml: String,
    /// `annotations` of the EnvoyFilter: where a gateway is sent only the clusters that its routes
    /// use, these are sent, too.
    pub(super) annotations: String,
}

/// Resources for everyone that the filter or Envoy asks.
///
/// # Errors
/// An address that Istio has no name for, or that would be asked with TLS and without.
pub(super) fn render(target: &Rendering<'_>) -> Result<Services, String> {
    let hosts = Callee::all(target)?;
    let mut services = Services {
        yaml: String::new(),
        annotations: String::new(),
    };
    for host in &hosts {
        services.yaml.push_str(&host.yaml(target));
    }
    let names: BTreeSet<&str> = hosts.iter().map(|host| host.host.as_str()).collect();
    if !names.is_empty() {
        let names: Vec<&str> = names.into_iter().collect();
        let _ = write!(
            services.annotations,
            "annotations:\n  # With PILOT_FILTER_GATEWAY_CLUSTER_CONFIG no route leads to these.\n  \
             envoyfilter.istio.io/referenced-services: {}\n",
            quoted(&names.join(","))
        );
    }
    Ok(services)
}

/// Who is asked, and what for, in the order in which they are written.
fn asked<'a>(target: &'a Rendering<'_>) -> Vec<(String, &'a Endpoint)> {
    let mut asked: Vec<(String, &Endpoint)> = Vec::new();
    for sts in &target.setup.token_endpoints {
        asked.push((
            format!("The STS of {}", sts.backends.join(", ")),
            &sts.endpoint,
        ));
    }
    match &target.gateway.identity {
        Identity::Unused => {}
        Identity::Exchange(service) => {
            let endpoint = &service.endpoint.endpoint;
            asked.push(("The identity service".to_owned(), endpoint));
        }
        Identity::Metadata(endpoint) => {
            asked.push(("Who answers ext_authz".to_owned(), endpoint));
        }
    }
    if let Some(authentication) = &target.gateway.authentication {
        asked.push(("The keys of the issuer".to_owned(), &authentication.keys));
    }
    if let Some(server) = &target.gateway.auth_server {
        asked.push(("ToolHive's auth server".to_owned(), &server.endpoint));
    }
    asked
}

/// A host with all its ports: Istio keeps one DestinationRule's policy of a host, so a second one's
/// TLS would be lost without a word.
struct Callee<'a> {
    host: String,
    ports: BTreeMap<u16, Port<'a>>,
}

struct Port<'a> {
    endpoint: &'a Endpoint,
    what: Vec<String>,
}

impl<'a> Callee<'a> {
    fn all(target: &'a Rendering<'_>) -> Result<Vec<Self>, String> {
        let mut hosts: Vec<Self> = Vec::new();
        for (what, endpoint) in asked(target) {
            refuse_what_has_no_name(&what, endpoint)?;
            let host = host_of(endpoint);
            let at = hosts.iter().position(|known| known.host == host);
            let at = at.unwrap_or_else(|| {
                hosts.push(Self {
                    host,
                    ports: BTreeMap::new(),
                });
                hosts.len().saturating_sub(1)
            });
            if let Some(known) = hosts.get_mut(at) {
                known.add(what, endpoint)?;
            }
        }
        Ok(hosts)
    }

    fn add(&mut self, what: String, endpoint: &'a Endpoint) -> Result<(), String> {
        let port = self.ports.entry(endpoint.port).or_insert_with(|| Port {
            endpoint,
            what: Vec::new(),
        });
        if port.endpoint.tls != endpoint.tls {
            return Err(format!(
                "{what}, {}: {} is at the same port, one with TLS and one without; write https:// of \
                 both, or of neither",
                endpoint.origin(),
                port.what.join(", ")
            ));
        }
        if !port.what.contains(&what) {
            port.what.push(what);
        }
        Ok(())
    }

    fn yaml(&self, target: &Rendering<'_>) -> String {
        let ports = self.ports.keys().map(u16::to_string);
        // The first of them suffices to be the only one of that name.
        let first = ports.clone().next().unwrap_or_default();
        let name = format!("upstream-inject-{}-{first}", self.host);
        let values = |comment: String, ports: String| {
            [
                ("comment", block(comment)),
                ("name", scalar(&name)),
                ("namespace", scalar(target.options.namespace())),
                ("host", scalar(&self.host)),
                ("ports", block(ports)),
            ]
        };
        let mut text = String::new();
        // What runs in the cluster is known to Istio anyway.
        if !self.is_in_cluster() {
            text.push_str(&fill(
                include_str!("../templates/istio/service-entry.yaml"),
                &values(
                    self.comment(|port| format!(": the cluster {}", cluster_name(port.endpoint))),
                    self.names_of_ports(),
                ),
            ));
        }
        text.push_str(&fill(
            include_str!("../templates/istio/destination-rule.yaml"),
            &values(self.comment(|_| String::new()), self.policies()),
        ));
        text
    }

    fn is_in_cluster(&self) -> bool {
        self.ports
            .values()
            .all(|port| port.endpoint.is_in_cluster())
    }

    fn comment(&self, more: impl Fn(&Port<'_>) -> String) -> String {
        let lines = self.ports.values().map(|port| {
            let line = format!("{}{}.", port.what.join("; "), more(port));
            format!("# {}\n", printable(&line))
        });
        lines.collect()
    }

    /// `ports` of the ServiceEntry. Their names must differ.
    fn names_of_ports(&self) -> String {
        let mut text = String::new();
        for (number, port) in &self.ports {
            let protocol = if port.endpoint.tls { "HTTPS" } else { "HTTP" };
            let mut name = protocol.to_ascii_lowercase();
            if self.ports.len() > 1 {
                let _ = write!(name, "-{number}");
            }
            let _ = writeln!(
                text,
                "- {{number: {number}, name: {name}, protocol: {protocol}}}"
            );
        }
        text
    }

    /// `portLevelSettings` of the DestinationRule.
    fn policies(&self) -> String {
        let mut text = String::new();
        for (number, port) in &self.ports {
            let tls = if port.endpoint.tls {
                fill(
                    include_str!("../templates/istio/tls.yaml"),
                    &[("host", scalar(&self.host))],
                )
            } else {
                "# Without TLS, as the URL says.\n".to_owned()
            };
            text.push_str(&fill(
                include_str!("../templates/istio/port-policy.yaml"),
                &[("port", raw(&number.to_string())), ("tls", block(tls))],
            ));
        }
        text
    }
}

/// Istio names a cluster after a host; of an address or a short name there is none.
fn refuse_what_has_no_name(what: &str, endpoint: &Endpoint) -> Result<(), String> {
    let authority = endpoint.authority();
    if endpoint.is_address() {
        return Err(format!(
            "{what}, {authority}: Istio knows services by name; write one, such as \
             NAME.NAMESPACE.svc.cluster.local:{port}, or make a ServiceEntry with a host for this \
             address and write that host",
            port = endpoint.port
        ));
    }
    if !endpoint.host.contains('.') {
        return Err(format!(
            "{what}, {authority}: a short name means nothing to Istio; write \
             {}.NAMESPACE.svc.cluster.local",
            endpoint.host
        ));
    }
    // Resources are called after it.
    if !is_host(&endpoint.host) || endpoint.host.len() > MAX_HOST {
        return Err(format!(
            "{what}, {authority}: Istio takes this for no host: between dots letters, digits and - are \
             allowed, up to 63, and {MAX_HOST} characters in all; write another name of it, or make a \
             ServiceEntry with a host for it and write that host"
        ));
    }
    Ok(())
}

/// As much of a host as the name of a resource holds, beside ours and a port.
const MAX_HOST: usize = 230;

/// Whether a DestinationRule in here begins TLS to it, and whether there is one for its host.
pub(super) fn rule_of(target: &Rendering<'_>, service: &Endpoint) -> (bool, bool) {
    let host = host_of(service);
    let of_host: Vec<&Endpoint> = asked(target)
        .into_iter()
        .map(|(_, endpoint)| endpoint)
        .filter(|endpoint| host_of(endpoint) == host)
        .collect();
    let begins_tls = of_host
        .iter()
        .any(|endpoint| endpoint.tls && endpoint.port == service.port);
    (begins_tls, !of_host.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_istio_has_no_name_for_is_refused_with_what_to_write() {
        for (url, hint) in [
            ("https://10.0.0.5:9193", "ServiceEntry"),
            (
                "https://identity:9193",
                "identity.NAMESPACE.svc.cluster.local",
            ),
            (
                "https://sts_2.example.com/token",
                "Istio takes this for no host",
            ),
            ("https://sts.example.com.", "Istio takes this for no host"),
        ] {
            let endpoint = Endpoint::of_url(url).unwrap();
            let error = refuse_what_has_no_name("It", &endpoint).unwrap_err();
            assert!(error.contains(hint), "{error}");
        }
    }
}
