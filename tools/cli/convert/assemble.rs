//! From backends to the configuration, with the variables that hold its secrets.

use super::backends::Backend;
use super::gateway::Gateway;
use super::resource::Resource;
use super::variables::{self, Assigned, Need};
use super::{Conversion, Work};
use crate::kubernetes::Kind;
use std::collections::{BTreeMap, BTreeSet};
use upstream_inject::config::Node;

impl Work {
    pub(super) fn assemble(&mut self, backends: &[Backend<'_>], gateway: &Gateway) -> Conversion {
        let ids = Ids::of(backends);
        let assigned = variables::assign(&needs(backends, &ids));
        self.note_secrets(&assigned);
        let mut outgoing = vec![("source".to_owned(), Node::String("inline".to_owned()))];
        let mut listed = Vec::new();
        for backend in backends {
            let Some(strategy) = &backend.strategy else {
                continue;
            };
            let id = ids.of_resource(backend.origin);
            let node = strategy.node(|secret| assigned.name(&id, secret.used_as));
            match &backend.name {
                Some(name) => listed.push((name.clone(), node)),
                None => outgoing.push(("default".to_owned(), node)),
            }
        }
        if !listed.is_empty() {
            outgoing.push(("backends".to_owned(), Node::Map(listed)));
        }
        let mut entries = Vec::new();
        if let Some(auth_server) = &gateway.auth_server {
            entries.push(("authServer".to_owned(), auth_server.node()));
        }
        entries.push(("outgoingAuth".to_owned(), Node::Map(outgoing)));
        let places: Vec<_> = backends
            .iter()
            .filter_map(|backend| Some((backend.name.as_deref()?, backend.address?)))
            .collect();
        // Beside an auth server, a file of vMCP's shape must say who may come in.
        let is_whole = gateway.incoming.is_some() || gateway.auth_server.is_none();
        let (addresses, options) = if is_whole {
            (
                places.iter().map(|(name, at)| at.node(name)).collect(),
                Vec::new(),
            )
        } else {
            let option = |(name, at): &(&str, &super::workload::Address)| {
                format!("--backend {name}={}", at.url)
            };
            (Vec::new(), places.iter().map(option).collect())
        };
        Conversion {
            config: Node::Map(entries),
            incoming: gateway.incoming.clone(),
            addresses,
            options,
            origins: backends
                .iter()
                .map(|backend| {
                    let name = backend.name.as_deref().unwrap_or("(default)");
                    let default = if backend.strategy.is_none() {
                        " by the default"
                    } else {
                        ""
                    };
                    (name.to_owned(), format!("{}{default}", backend.title))
                })
                .collect(),
            env: assigned.variables,
            notes: Vec::new(),
        }
    }

    /// A container reads Secrets of its own namespace alone.
    fn note_secrets(&mut self, assigned: &Assigned) {
        let mut namespaces: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
        for (secret, namespace) in assigned
            .variables
            .iter()
            .filter_map(variables::Variable::secret)
        {
            let names = namespaces.entry(namespace.unwrap_or_default()).or_default();
            names.insert(secret);
        }
        for (namespace, names) in namespaces {
            if !namespace.is_empty() {
                let names: Vec<_> = names.into_iter().collect();
                self.notes.push(format!(
                    "Secrets in the namespace {namespace}: {}. Envoy's pod reads those of its own \
                     namespace only: copy them there if that is another.",
                    names.join(", ")
                ));
            }
        }
        let has_bearer = assigned
            .variables
            .iter()
            .any(|variable| variable.secret().is_none());
        if has_bearer {
            self.notes.push(
                "A bearerToken Secret holds the token alone. The header's value is made of it by \
                 Kubernetes, which puts $(NAME) in; elsewhere, set the _AUTHORIZATION variable to \
                 \"Bearer \" and the token yourself."
                    .to_owned(),
            );
        }
    }
}

/// What resources are known by: their names, with the namespace where two have one.
struct Ids(BTreeMap<String, BTreeSet<Option<String>>>);

impl Ids {
    fn of(backends: &[Backend<'_>]) -> Self {
        let mut namespaces: BTreeMap<String, BTreeSet<Option<String>>> = BTreeMap::new();
        for backend in backends {
            let namespace = backend.origin.namespace.map(str::to_owned);
            let name = backend.origin.name.to_owned();
            namespaces.entry(name).or_default().insert(namespace);
        }
        Self(namespaces)
    }

    fn of_resource(&self, resource: &Resource<'_>) -> String {
        let is_shared = self
            .0
            .get(resource.name)
            .is_some_and(|namespaces| namespaces.len() > 1);
        let mark = match resource.kind {
            Kind::ExternalAuthConfig => "",
            _ => " (workload)", // which may have the name of a resource
        };
        match resource.namespace.filter(|_| is_shared) {
            Some(namespace) => format!("{namespace}/{}{mark}", resource.name),
            None => format!("{}{mark}", resource.name),
        }
    }
}

fn needs<'a>(backends: &'a [Backend<'a>], ids: &Ids) -> Vec<Need<'a>> {
    let mut needs = Vec::new();
    for backend in backends {
        for secret in backend
            .strategy
            .iter()
            .flat_map(|strategy| strategy.secrets())
        {
            needs.push(Need {
                owner: backend.origin.name,
                id: ids.of_resource(backend.origin),
                namespace: backend.origin.namespace,
                secret,
            });
        }
    }
    needs
}
