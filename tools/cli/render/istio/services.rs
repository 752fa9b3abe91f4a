//! Where the backends are, under the names that Istio gives their clusters.

use super::super::Rendering;
use crate::endpoint::Endpoint;
use document::{entries, get};
use upstream_inject::config::Node;
use upstream_inject::strategy::REGISTRY;

/// `outbound|PORT|SUBSET|HOST`, without a subset.
pub(super) fn cluster_name(endpoint: &Endpoint) -> String {
    subset_name(endpoint, "")
}

fn subset_name(endpoint: &Endpoint, subset: &str) -> String {
    format!("outbound|{}|{subset}|{}", endpoint.port, host_of(endpoint))
}

/// The host as Istio knows it: in lower case, and a Service has its whole name there.
pub(super) fn host_of(endpoint: &Endpoint) -> String {
    let host = endpoint.host.to_ascii_lowercase();
    if host.ends_with(".svc") {
        format!("{host}.cluster.local")
    } else {
        host
    }
}

/// Whether Istio takes it for a host (RFC 1123): other names, which resolve elsewhere, it refuses.
pub(super) fn is_host(host: &str) -> bool {
    let is_label = |label: &str| {
        (1..=63).contains(&label.len())
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
    };
    host.len() <= 253 && host.contains('.') && host.split('.').all(is_label)
}

/// Where URLs of a vMCP file lead, as services; those that no cluster is called after, or that are one
/// service, are left out.
pub(in crate::render) fn services(urls: &[(String, String)]) -> Vec<(String, String)> {
    let places: Vec<_> = urls
        .iter()
        .filter_map(|(name, url)| {
            let endpoint = Endpoint::of_url(url).ok()?;
            let is_known = !endpoint.is_address() && is_host(&endpoint.host);
            is_known.then(|| (name, format!("{}:{}", endpoint.host, endpoint.port)))
        })
        .collect();
    let is_alone = |place: &String| places.iter().filter(|(_, other)| other == place).count() == 1;
    places
        .iter()
        .filter(|(_, place)| is_alone(place))
        .map(|(name, place)| ((*name).clone(), place.clone()))
        .collect()
}

/// A backend's service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Host {
    pub(super) backend: String,
    pub(super) service: Endpoint,
    /// The subsets of its DestinationRule that routes lead to.
    subsets: Vec<String>,
}

impl Host {
    /// From `HOST:PORT`, `HOST:PORT/SUBSET/…`, or the name of a cluster.
    fn parse(backend: &str, address: &str) -> Option<Self> {
        let (host, port, subsets) = match address.strip_prefix("outbound|") {
            Some(cluster) => {
                let parts: Vec<&str> = cluster.split('|').collect();
                let [port, subset, host] = parts.as_slice() else {
                    return None;
                };
                (*host, *port, vec![*subset])
            }
            None => {
                let mut parts = address.split('/');
                let (host, port) = parts.next()?.rsplit_once(':')?;
                (host, port, parts.collect())
            }
        };
        let service = Endpoint::of_address(&format!("{host}:{port}")).ok()?;
        let is_known = !service.is_address() && is_host(&service.host);
        let subsets: Vec<String> = subsets
            .into_iter()
            .filter(|subset| !subset.is_empty())
            .map(str::to_owned)
            .collect();
        let is_label = |subset: &String| !subset.contains(['|', ' ', ':']);
        (is_known && subsets.iter().all(is_label)).then(|| Self {
            backend: backend.to_owned(),
            service,
            subsets,
        })
    }

    /// The names of its clusters: that without a subset, and one for each.
    fn names(&self) -> Vec<String> {
        let subsets = self.subsets.iter().map(String::as_str);
        [""].into_iter()
            .chain(subsets)
            .map(|subset| subset_name(&self.service, subset))
            .collect()
    }
}

/// The backends' services, in their order.
pub(super) struct Hosts(pub(super) Vec<Host>);

impl Hosts {
    /// As the options say, or a guess.
    ///
    /// # Errors
    /// An address that Istio has no name for.
    pub(super) fn of(target: &mut Rendering<'_>) -> Result<Self, String> {
        let namespace = target.options.namespace();
        let mut hosts: Vec<Host> = Vec::new();
        let mut assumed = Vec::new();
        for backend in &target.gateway.backends {
            let name = &backend.name;
            let address = match &backend.address {
                Some(address) => address.clone(),
                None if name.starts_with("outbound|") => name.clone(),
                None => {
                    let host = format!("{name}.{namespace}.svc.cluster.local:80");
                    assumed.push(host.clone());
                    host
                }
            };
            let host = Host::parse(name, &address).ok_or_else(|| {
                let what = match &backend.address {
                    Some(address) => format!("{name}={address}:"),
                    None => format!("{name}=… is missing, and no Service can have its name:"),
                };
                format!(
                    "--backend {what} write the service as Istio knows it, \
                     NAME.NAMESPACE.svc.cluster.local:PORT or the host and port of a ServiceEntry, \
                     with the subsets that routes lead to behind it (HOST:PORT/v1/v2)"
                )
            })?;
            if let Some(other) = hosts.iter().find(|other| other.service == host.service) {
                return Err(format!(
                    "--backend {name}={address}: {} is there, too; one service is one backend",
                    other.backend
                ));
            }
            hosts.push(host);
        }
        if !assumed.is_empty() {
            target.note(format!(
                "--backend is missing for some; these services are assumed: {}",
                assumed.join(", ")
            ));
        }
        Ok(Self(hosts))
    }

    /// The cluster that a backend is, without a subset.
    pub(super) fn name_of(&self, backend: &str) -> String {
        let host = self.0.iter().find(|host| host.backend == backend);
        host.map_or_else(|| backend.to_owned(), |host| cluster_name(&host.service))
    }

    /// Which backend is which cluster, as comment lines.
    pub(super) fn comment(&self) -> String {
        let lines = self.0.iter().map(|host| {
            let line = format!("{}: {}", host.backend, host.names().join(", "));
            format!("#   {}\n", crate::report::printable(&line))
        });
        lines.collect()
    }

    /// The plugin configuration, each backend under every name that its clusters have.
    ///
    /// # Errors
    /// If it is not valid under these names.
    pub(super) fn named(&self, plugin: &Node) -> Result<Node, String> {
        let named = at(plugin, "outgoingAuth", |outgoing| {
            at(outgoing, "backends", |backends| self.renamed(backends))
        });
        let named = at(&named, "challenge", |challenge| {
            at(challenge, "backends", |backends| self.renamed(backends))
        });
        let outcome = upstream_inject::config::plan(&named, REGISTRY, &crate::check::AnyVariable);
        match outcome.errors.first() {
            None => Ok(named),
            Some(problem) => Err(format!("under the names of clusters: {problem}")),
        }
    }

    fn renamed(&self, backends: &Node) -> Node {
        let mut renamed = Vec::new();
        for (name, value) in entries(backends) {
            match self.0.iter().find(|host| host.backend == *name) {
                Some(host) => {
                    let names = host.names().into_iter();
                    renamed.extend(names.map(|name| (name, value.clone())));
                }
                None => renamed.push((name.clone(), value.clone())),
            }
        }
        Node::Map(renamed)
    }
}

/// `map` with another value at `key`, if there is one.
fn at(map: &Node, key: &str, change: impl Fn(&Node) -> Node) -> Node {
    if get(map, key).is_none() {
        return map.clone();
    }
    let changed = entries(map).iter().map(|(name, value)| {
        let value = if name == key {
            change(value)
        } else {
            value.clone()
        };
        (name.clone(), value)
    });
    Node::Map(changed.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_service_is_a_cluster_for_each_of_its_subsets() {
        let github = "github.mcp.svc.cluster.local";
        for (address, names) in [
            ("github.mcp.svc.cluster.local:8080", vec!["outbound|8080||"]),
            (
                "github.mcp.svc.cluster.local:8080/v1/v2",
                vec!["outbound|8080||", "outbound|8080|v1|", "outbound|8080|v2|"],
            ),
            (
                "outbound|8080|v1|github.mcp.svc.cluster.local",
                vec!["outbound|8080||", "outbound|8080|v1|"],
            ),
        ] {
            let host = Host::parse("x", address).unwrap();
            let names: Vec<String> = names.iter().map(|name| format!("{name}{github}")).collect();
            assert_eq!(host.names(), names, "{address}");
        }
        let short = Endpoint::of_url("http://identity.mcp.svc:9193").unwrap();
        assert_eq!(
            cluster_name(&short),
            "outbound|9193||identity.mcp.svc.cluster.local"
        );
        for address in [
            "github:8080",
            "10.0.0.5:80",
            "https://a.example",
            "a.b",
            "outbound|1|a.b",
            "x_y.default.svc.cluster.local:80",
            "-x.default.svc.cluster.local:80",
            "x..svc.cluster.local:80",
            &format!("{}.default.svc.cluster.local:80", "x".repeat(64)),
        ] {
            assert_eq!(Host::parse("x", address), None, "{address}");
        }
    }
}
