//! The clusters of a bootstrap: the backends, and everyone that Envoy and the filter ask.

use super::super::Rendering;
use super::super::cluster::{Cluster, Protocol};
use super::super::gateway::{Authentication, Gateway};
use super::super::identity::Identity;
use super::{AUTH_SERVER_CLUSTER, EXT_AUTHZ_CLUSTER, KEYS_CLUSTER};
use crate::endpoint::{Endpoint, shown};
use std::collections::BTreeSet;

/// Where each backend is, in their order.
pub(super) fn places(target: &mut Rendering<'_>) -> Result<Vec<Endpoint>, String> {
    let mut places = Vec::new();
    let mut missing = Vec::new();
    for backend in &target.gateway.backends {
        let name = &backend.name;
        places.push(match &backend.address {
            Some(address) => Endpoint::of_address(address)
                .map_err(|error| format!("--backend {name}={}: {error}", shown(address)))?,
            None => {
                missing.push(format!(
                    "--backend {name}=… is missing: fill in where this backend is; until then \
                     requests to it fail"
                ));
                Endpoint::unknown(name)
            }
        });
    }
    target.notes.extend(missing);
    Ok(places)
}

/// The cluster that the keys are fetched through.
pub(super) fn keys_cluster(gateway: &Gateway, authentication: &Authentication) -> &'static str {
    let is_auth_server = gateway
        .auth_server
        .as_ref()
        .is_some_and(|server| is_same_place(&server.endpoint, &authentication.keys));
    if is_auth_server {
        AUTH_SERVER_CLUSTER
    } else {
        KEYS_CLUSTER
    }
}

fn is_same_place(one: &Endpoint, other: &Endpoint) -> bool {
    (&one.host, one.port, one.tls) == (&other.host, other.port, other.tls)
}

/// All clusters, each under a name of its own.
pub(super) fn render(target: &Rendering<'_>, places: &[Endpoint]) -> Result<String, String> {
    let gateway = &target.gateway;
    let mut clusters = Clusters {
        ca_file: &target.options.ca_file,
        yaml: String::new(),
        names: BTreeSet::new(),
    };
    for (backend, place) in gateway.backends.iter().zip(places) {
        let comment = format!("The backend {}.", backend.name);
        clusters.add(&backend.name, comment, place, Protocol::Negotiated)?;
    }
    if let Some(server) = &gateway.auth_server {
        let comment = "ToolHive's auth server.".to_owned();
        clusters.add(
            AUTH_SERVER_CLUSTER,
            comment,
            &server.endpoint,
            Protocol::Http1,
        )?;
    }
    if let Some(authentication) = &gateway.authentication
        && keys_cluster(gateway, authentication) == KEYS_CLUSTER
    {
        let comment = "The keys that TH-JWTs are signed with.".to_owned();
        clusters.add(KEYS_CLUSTER, comment, &authentication.keys, Protocol::Http1)?;
    }
    match &gateway.identity {
        Identity::Unused => {}
        Identity::Exchange(service) => {
            let comment = "The identity service, where the filter gets upstream tokens.".to_owned();
            let endpoint = &service.endpoint;
            clusters.add(
                &endpoint.cluster,
                comment,
                &endpoint.endpoint,
                Protocol::Http1,
            )?;
        }
        Identity::Metadata(endpoint) => {
            let comment = "Who puts upstream tokens into metadata (ext_authz, gRPC).".to_owned();
            clusters.add(EXT_AUTHZ_CLUSTER, comment, endpoint, Protocol::Http2)?;
        }
    }
    for sts in &target.setup.token_endpoints {
        clusters.push(&Cluster::of_sts(sts))?;
    }
    Ok(clusters.yaml)
}

struct Clusters<'a> {
    ca_file: &'a str,
    yaml: String,
    names: BTreeSet<String>,
}

impl Clusters<'_> {
    fn add(
        &mut self,
        name: &str,
        comment: String,
        endpoint: &Endpoint,
        protocol: Protocol,
    ) -> Result<(), String> {
        self.push(&Cluster {
            name,
            comment,
            endpoint,
            protocol,
            detects_outliers: false,
        })
    }

    fn push(&mut self, cluster: &Cluster<'_>) -> Result<(), String> {
        if !self.names.insert(cluster.name.to_owned()) {
            return Err(format!(
                "two clusters would be called {}; rename the backend, or give the exchange a \
                 cluster of another name",
                serde_json::Value::from(cluster.name)
            ));
        }
        self.yaml.push_str(&cluster.yaml(self.ca_file));
        Ok(())
    }
}
