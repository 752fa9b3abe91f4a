//! What a control plane would serve to its proxies, turned into a bootstrap for an Envoy that has
//! nobody to ask: routes and endpoints stand where references to them stood, every address is that of
//! a neighbour on this machine, and listeners have free ports. Nothing else is changed.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use serde_json::{Map, Value, json};

/// Who really answers at an address that the configuration names.
#[derive(Clone, Debug, Default)]
pub struct Neighbours(BTreeMap<(String, u16), SocketAddr>);

impl Neighbours {
    /// From now on `host`, a name or an address, is here at this port.
    pub fn add(&mut self, host: &str, port: u16, here: SocketAddr) {
        self.0.insert((host.to_owned(), port), here);
    }

    /// Who answers for a host at this port.
    ///
    /// # Panics
    /// Nobody does.
    #[must_use]
    pub fn here(&self, host: &str, port: u16) -> SocketAddr {
        let found = self.0.get(&(host.to_owned(), port));
        *found.unwrap_or_else(|| panic!("nobody is at {host}:{port}"))
    }

    fn find(&self, address: &Value) -> Result<SocketAddr, String> {
        let host = text(address, "address");
        let port = address["portValue"].as_u64();
        let port = port.and_then(|port| u16::try_from(port).ok()).unwrap_or(0);
        self.0
            .get(&(host.clone(), port))
            .copied()
            .ok_or_else(|| format!("the configuration leads to {host}:{port}, where nobody is"))
    }
}

/// A bootstrap of the resources in a configuration dump, in protobuf's JSON (camel case).
///
/// # Errors
/// Something is referred to that is not in there, or leads to nobody.
pub fn static_bootstrap(dump: &Value, neighbours: &Neighbours) -> Result<Value, String> {
    let resources = |kind: &str, list: &str, path: &str| -> Vec<Value> {
        let configs = dump["configs"].as_array().into_iter().flatten();
        configs
            .filter(|config| text(config, "@type").ends_with(kind))
            .flat_map(|config| config[list].as_array().into_iter().flatten())
            .filter_map(|resource| resource.pointer(path).cloned().map(untyped))
            .collect()
    };
    let routes = resources("RoutesConfigDump", "dynamicRouteConfigs", "/routeConfig");
    let endpoints = resources(
        "EndpointsConfigDump",
        "dynamicEndpointConfigs",
        "/endpointConfig",
    );
    let mut listeners = resources(
        "ListenersConfigDump",
        "dynamicListeners",
        "/activeState/listener",
    );
    for listener in &mut listeners {
        make_listener_static(listener, &routes)?;
    }
    let mut clusters = resources("ClustersConfigDump", "dynamicActiveClusters", "/cluster");
    for cluster in &mut clusters {
        make_cluster_static(cluster, &endpoints, neighbours)?;
    }
    Ok(json!({
        "admin": {"address": free_port()},
        "staticResources": {"listeners": listeners, "clusters": clusters},
    }))
}

/// The settings of every HTTP connection manager of a listener, to look at or to change.
pub fn connection_managers(listener: &mut Value) -> Vec<&mut Value> {
    let mut found = Vec::new();
    let Some(listener) = listener.as_object_mut() else {
        return found;
    };
    for (key, chains) in listener {
        let chains = match (key.as_str(), chains) {
            ("filterChains", Value::Array(chains)) => chains.as_mut_slice(),
            ("defaultFilterChain", chain) => std::slice::from_mut(chain),
            _ => continue,
        };
        for chain in chains {
            let filters = chain["filters"].as_array_mut();
            found.extend(
                filters
                    .into_iter()
                    .flatten()
                    .filter(|filter| filter["name"] == CONNECTION_MANAGER)
                    .map(|filter| &mut filter["typedConfig"]),
            );
        }
    }
    found
}

const CONNECTION_MANAGER: &str = "envoy.filters.network.http_connection_manager";

fn make_listener_static(listener: &mut Value, routes: &[Value]) -> Result<(), String> {
    for manager in connection_managers(listener) {
        let Some(reference) = manager.get("rds") else {
            continue;
        };
        let name = text(reference, "routeConfigName");
        let found = routes.iter().find(|route| text(route, "name") == name);
        let found = found.ok_or_else(|| format!("there are no routes {name}"))?;
        manager["routeConfig"] = found.clone();
        // As for routes that are discovered: one may lead to a cluster that there is not.
        manager["routeConfig"]["validateClusters"] = json!(false);
        remove(manager, "rds");
    }
    listener["address"] = free_port();
    speak_plainly(listener);
    Ok(())
}

/// The control plane's certificates come from Secrets that nobody has here; whatever TLS protected is
/// reached without it. Chains that only differ by the name in the handshake cannot be told apart then.
fn speak_plainly(listener: &mut Value) {
    let chains = listener["filterChains"].as_array_mut();
    let mut spoke_tls = false;
    for chain in chains.into_iter().flatten() {
        if remove(chain, "transportSocket") {
            remove(chain, "filterChainMatch");
            spoke_tls = true;
        }
    }
    if spoke_tls {
        remove(listener, "listenerFilters");
    }
}

fn make_cluster_static(
    cluster: &mut Value,
    endpoints: &[Value],
    neighbours: &Neighbours,
) -> Result<(), String> {
    let name = text(cluster, "name");
    if cluster["type"] == "EDS" {
        let service = match text(&cluster["edsClusterConfig"], "serviceName") {
            service if service.is_empty() => name.clone(),
            service => service,
        };
        let found = endpoints
            .iter()
            .find(|assignment| text(assignment, "clusterName") == service);
        // A cluster without endpoints answers 503, and it may be there.
        let nobody = json!({"clusterName": service});
        cluster["loadAssignment"] = found.unwrap_or(&nobody).clone();
        remove(cluster, "edsClusterConfig");
    }
    for key in ["clusterType", "dnsLookupFamily", "dnsRefreshRate"] {
        remove(cluster, key);
    }
    cluster["type"] = json!("STATIC");
    let localities = cluster["loadAssignment"]["endpoints"].as_array_mut();
    for locality in localities.into_iter().flatten() {
        for endpoint in locality["lbEndpoints"].as_array_mut().into_iter().flatten() {
            let address = &mut endpoint["endpoint"]["address"]["socketAddress"];
            let here = neighbours
                .find(address)
                .map_err(|error| format!("cluster {name}: {error}"))?;
            *address = json!({"address": here.ip().to_string(), "portValue": here.port()});
        }
    }
    Ok(())
}

fn free_port() -> Value {
    json!({"socketAddress": {"address": "127.0.0.1", "portValue": 0}})
}

/// A message that stood in an `Any` and stands in its own field now.
fn untyped(mut message: Value) -> Value {
    remove(&mut message, "@type");
    message
}

fn remove(message: &mut Value, key: &str) -> bool {
    message
        .as_object_mut()
        .map_or_else(|| Map::new().remove(key), |fields| fields.remove(key))
        .is_some()
}

fn text(message: &Value, key: &str) -> String {
    message[key].as_str().unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dump(cluster: Value) -> Value {
        json!({"configs": [
            {"@type": "type.googleapis.com/envoy.admin.v3.ListenersConfigDump", "dynamicListeners": [{
                "activeState": {"listener": {
                    "@type": "type.googleapis.com/envoy.config.listener.v3.Listener",
                    "name": "a/b/c",
                    "address": {"socketAddress": {"address": "0.0.0.0", "portValue": 8443}},
                    "listenerFilters": [{"name": "envoy.filters.listener.tls_inspector"}],
                    "filterChains": [{
                        "filterChainMatch": {"serverNames": ["x"]},
                        "transportSocket": {"name": "tls"},
                        "filters": [{"name": CONNECTION_MANAGER, "typedConfig": {"rds": {"routeConfigName": "r"}}}],
                    }],
                }},
            }]},
            {"@type": "type.googleapis.com/envoy.admin.v3.RoutesConfigDump", "dynamicRouteConfigs": [
                {"routeConfig": {"@type": "x", "name": "r", "virtualHosts": []}},
            ]},
            {"@type": "type.googleapis.com/envoy.admin.v3.EndpointsConfigDump", "dynamicEndpointConfigs": [
                {"endpointConfig": {"@type": "x", "clusterName": "e", "endpoints": [{"lbEndpoints": [
                    {"endpoint": {"address": {"socketAddress": {"address": "10.0.0.1", "portValue": 80}}}},
                ]}]}},
            ]},
            {"@type": "type.googleapis.com/envoy.admin.v3.ClustersConfigDump", "dynamicActiveClusters": [{"cluster": cluster}]},
        ]})
    }

    #[test]
    fn references_are_filled_in_and_addresses_are_ours() {
        let cluster = json!({"@type": "x", "name": "c", "type": "EDS", "edsClusterConfig": {"serviceName": "e"}});
        let mut neighbours = Neighbours::default();
        neighbours.add("10.0.0.1", 80, SocketAddr::from(([127, 0, 0, 1], 7)));
        let bootstrap =
            static_bootstrap(&dump(cluster.clone()), &neighbours).expect("all is there");
        let listener = &bootstrap["staticResources"]["listeners"][0];
        assert_eq!(listener["address"]["socketAddress"]["portValue"], 0);
        let chain = &listener["filterChains"][0];
        let manager = &chain["filters"][0]["typedConfig"];
        assert_eq!(
            manager,
            &json!({"routeConfig": {"name": "r", "validateClusters": false, "virtualHosts": []}})
        );
        assert_eq!(chain.as_object().map(Map::len), Some(1), "no TLS: {chain}");
        let found = &bootstrap["staticResources"]["clusters"][0];
        assert_eq!(found["type"], "STATIC");
        let endpoint = &found["loadAssignment"]["endpoints"][0]["lbEndpoints"][0];
        let address = &endpoint["endpoint"]["address"]["socketAddress"];
        assert_eq!(address, &json!({"address": "127.0.0.1", "portValue": 7}));

        let error = static_bootstrap(&dump(cluster), &Neighbours::default()).expect_err("nobody");
        assert_eq!(
            error,
            "cluster c: the configuration leads to 10.0.0.1:80, where nobody is"
        );
    }

    #[test]
    fn what_is_not_there_is_an_error() {
        let mut without = dump(json!({"name": "c", "type": "STRICT_DNS"}));
        without["configs"][1]["dynamicRouteConfigs"] = json!([]);
        let error = static_bootstrap(&without, &Neighbours::default()).expect_err("no routes");
        assert_eq!(error, "there are no routes r");
    }
}
