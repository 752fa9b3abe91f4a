//! What every target needs to know of a configuration.

use super::incoming;
use crate::check::{Kind, providers, upstream_name};
use crate::convert::{auth_server_node, variable_name};
use crate::endpoint::Endpoint;
use crate::keys::{self, Of};
use document::{entries, get, get_text, items};
use std::collections::{BTreeMap, BTreeSet};
use upstream_inject::config::{Node, Path};

/// A valid configuration, taken apart.
pub(super) struct Setup {
    /// What the filter is to be given: every secret in a variable, every STS cluster named, and of
    /// the auth server only what the filter reads.
    pub(super) plugin: Node,
    /// The backends, in the order written.
    pub(super) backends: Vec<String>,
    /// Whether other backends are served too.
    pub(super) has_default: bool,
    /// The environment variables that the filter reads.
    pub(super) variables: BTreeSet<String>,
    /// One for each cluster.
    pub(super) token_endpoints: Vec<TokenEndpoint>,
    /// Who issues the tokens that clients present.
    pub(super) issuer: Option<String>,
    /// What the file says that they are issued for.
    pub(super) audiences: Vec<String>,
    /// Where a vMCP file says that the issuer's keys are.
    pub(super) keys_url: Option<String>,
    /// The URL under which a vMCP file says that clients reach it.
    pub(super) incoming_resource: Option<String>,
    /// The scopes that a vMCP file has clients ask for.
    pub(super) incoming_scope: Option<String>,
    /// The scopes that the auth server offers, if the file has one.
    pub(super) scopes_offered: Vec<String>,
    /// Where a vMCP file says that its backends are.
    pub(super) urls: Vec<(String, String)>,
    /// Where in the file each of them stands.
    pub(super) url_paths: BTreeMap<String, Path>,
    /// What the operator should know.
    pub(super) notes: Vec<String>,
}

/// An STS, as far as the network is concerned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct TokenEndpoint {
    pub(super) cluster: String,
    pub(super) endpoint: Endpoint,
    /// Whose requests it is asked for.
    pub(super) backends: Vec<String>,
}

impl Setup {
    /// Takes a valid configuration apart.
    ///
    /// # Errors
    /// If one cluster would have to lead to two places.
    pub(super) fn of(root: &Node, kind: Kind) -> Result<Self, String> {
        let filter_part = kind.filter_part(root);
        let mut setup = Self {
            plugin: Node::Map(Vec::new()),
            backends: Vec::new(),
            has_default: false,
            variables: BTreeSet::new(),
            token_endpoints: Vec::new(),
            issuer: incoming::issuer(root),
            audiences: incoming::audiences(root),
            keys_url: incoming::keys_url(root),
            incoming_resource: incoming::resource(root),
            incoming_scope: incoming::scope(root),
            scopes_offered: incoming::scopes_offered(root),
            urls: incoming::urls(root),
            url_paths: incoming::url_paths(root),
            notes: incoming::notes(root),
        };
        setup.variables = variables_in(&filter_part);
        let mut plugin = Vec::new();
        for (key, value) in entries(&filter_part) {
            let value = match key.as_str() {
                _ if *value == Node::Null => continue,
                "authServer" => auth_server(value),
                "outgoingAuth" => setup.outgoing(value)?,
                "identity" => setup.identity(value),
                _ => value.clone(),
            };
            plugin.push((key.clone(), value));
        }
        setup.plugin = Node::Map(plugin);
        setup.add_unlisted();
        Ok(setup)
    }

    /// The backends of a vMCP file that only `default` covers, or nothing.
    fn add_unlisted(&mut self) {
        for (name, _) in &self.urls {
            if self.backends.contains(name) {
                continue;
            }
            if self.has_default {
                self.backends.push(name.clone());
            } else {
                self.notes.push(format!(
                    "the backend {name} of the file has no strategy in outgoingAuth, so there is no \
                     route to it"
                ));
            }
        }
    }

    /// The strategies, the default one without a name.
    fn strategies(&self) -> impl Iterator<Item = (Option<&str>, &Node)> {
        let outgoing = get(&self.plugin, "outgoingAuth").unwrap_or(&Node::Null);
        let backends = get(outgoing, "backends").map(entries).unwrap_or_default();
        let default = get(outgoing, "default").map(|strategy| (None, strategy));
        let named = backends
            .iter()
            .map(|(name, strategy)| (Some(name.as_str()), strategy));
        default.into_iter().chain(named)
    }

    /// The headers that the router takes off, in lower case: what clients present, and whatever a
    /// strategy sets.
    pub(super) fn door(&self) -> Vec<String> {
        let set = self.strategies().flat_map(|(_, strategy)| {
            keys::headers().filter_map(|(block, key)| get_text(get(strategy, block)?, key))
        });
        let set: BTreeSet<String> = set
            .map(str::to_ascii_lowercase)
            .filter(|name| !name.is_empty() && name != "authorization")
            .collect();
        ["authorization".to_owned()]
            .into_iter()
            .chain(set)
            .collect()
    }

    /// The providers whose tokens a backend's strategy needs.
    pub(super) fn providers_of(&self, backend: &str) -> Vec<String> {
        let of = |wanted: Option<&str>| self.strategies().find(|(name, _)| *name == wanted);
        let strategy = of(Some(backend)).or_else(|| of(None));
        let names: BTreeSet<&str> = strategy
            .into_iter()
            .flat_map(|(_, strategy)| providers(strategy))
            .collect();
        names.into_iter().map(str::to_owned).collect()
    }

    /// Whether any strategy needs an upstream token.
    pub(super) fn needs_upstream_tokens(&self) -> bool {
        self.strategies()
            .any(|(_, strategy)| providers(strategy).next().is_some())
    }

    /// Where the filter looks for the checked payload.
    pub(super) fn payload_key(&self) -> String {
        get(&self.plugin, "identity")
            .and_then(|identity| get_text(identity, "payloadKey"))
            .unwrap_or("th_jwt")
            .to_owned()
    }

    /// From now on the filter looks for the checked payload under `key`, where the target has it.
    pub(super) fn use_payload_key(&mut self, key: &str) {
        let known = get(&self.plugin, "identity")
            .map(entries)
            .unwrap_or_default();
        let mut identity = known.to_vec();
        let other = identity
            .iter()
            .find(|(known, value)| known == "payloadKey" && *value != Node::String(key.to_owned()));
        if other.is_some() {
            self.notes.push(format!(
                "identity.payloadKey becomes {key}, where Istio has the payload"
            ));
        }
        identity.retain(|(known, _)| known != "payloadKey");
        identity.push(("payloadKey".to_owned(), Node::String(key.to_owned())));
        if let Node::Map(plugin) = &mut self.plugin {
            plugin.retain(|(known, _)| known != "identity");
            plugin.push(("identity".to_owned(), Node::Map(identity)));
        }
    }

    /// Where the filter looks for the mark of a health check: a namespace of metadata, and a key.
    pub(super) fn health_check_marker(&self) -> (String, String) {
        let text = |key: &str, default: &str| {
            get(&self.plugin, "identity")
                .and_then(|identity| get_text(identity, key))
                .unwrap_or(default)
                .to_owned()
        };
        (
            text("metadataNamespace", "envoy.filters.http.ext_authz"),
            text("healthCheckKey", "health_check"),
        )
    }

    /// `identity`, the secret of its client in a variable.
    fn identity(&mut self, identity: &Node) -> Node {
        let mut written = Vec::new();
        for (key, value) in entries(identity) {
            let value = match (key.as_str(), value) {
                (_, Node::Null) => continue,
                ("exchange", Node::Map(settings)) => Node::Map(
                    settings
                        .iter()
                        .filter(|(_, value)| *value != Node::Null)
                        // Its keys are those of a token exchange.
                        .map(|(key, value)| {
                            self.without_secret("identity", "tokenExchange", key, value)
                        })
                        .collect(),
                ),
                _ => value.clone(),
            };
            written.push((key.clone(), value));
        }
        Node::Map(written)
    }

    /// Whether there is an embedded auth server, which knows the upstream tokens.
    pub(super) fn has_auth_server(&self) -> bool {
        get(&self.plugin, "authServer").is_some()
    }

    /// Leaves `backendFrom` to its default, the cluster's name; true if it was anything else.
    pub(super) fn leave_out_backend_from(&mut self) -> bool {
        let Node::Map(entries) = &mut self.plugin else {
            return false;
        };
        let before = entries.len();
        entries.retain(|(key, value)| {
            key != "backendFrom" || *value == Node::String("cluster_name".to_owned())
        });
        entries.len() < before
    }

    fn outgoing(&mut self, outgoing: &Node) -> Result<Node, String> {
        let mut written = Vec::new();
        for (key, value) in entries(outgoing) {
            let value = match key.as_str() {
                _ if *value == Node::Null => continue,
                "default" => {
                    self.has_default = true;
                    self.strategy("default", value)?
                }
                "backends" => {
                    let mut backends = Vec::new();
                    for (name, strategy) in entries(value) {
                        if *strategy == Node::Null {
                            continue;
                        }
                        self.backends.push(name.clone());
                        backends.push((name.clone(), self.strategy(name, strategy)?));
                    }
                    Node::Map(backends)
                }
                _ => value.clone(),
            };
            written.push((key.clone(), value));
        }
        Ok(Node::Map(written))
    }

    fn strategy(&mut self, backend: &str, strategy: &Node) -> Result<Node, String> {
        let mut written = Vec::new();
        for (key, value) in entries(strategy) {
            let value = match value {
                Node::Null => continue,
                Node::Map(_) => self.block(backend, key, value)?,
                _ => value.clone(),
            };
            written.push((key.clone(), value));
        }
        Ok(Node::Map(written))
    }

    fn block(&mut self, backend: &str, block: &str, settings: &Node) -> Result<Node, String> {
        let mut written: Vec<_> = entries(settings)
            .iter()
            .filter(|(_, value)| *value != Node::Null)
            .map(|(key, value)| self.without_secret(backend, block, key, value))
            .collect();
        let endpoints = keys::token_endpoints(Of::Strategy).filter(|of| of.0 == block);
        for (_, url_key, (cluster_key, _)) in endpoints {
            let keys = (url_key, cluster_key);
            if let Some(cluster) = self.token_endpoint(backend, settings, keys)? {
                written.retain(|(key, _)| key != cluster_key);
                let at = written.iter().position(|(key, _)| key == url_key);
                let at = at.map_or(0, |index| index.saturating_add(1));
                written.insert(at, (cluster_key.to_owned(), Node::String(cluster)));
            }
        }
        Ok(Node::Map(written))
    }

    /// A secret in plain text is not written a second time: it becomes a variable.
    fn without_secret(
        &mut self,
        backend: &str,
        block: &str,
        key: &str,
        value: &Node,
    ) -> (String, Node) {
        let secret =
            keys::secrets(Of::Strategy).find(|secret| (secret.0, secret.1) == (block, key));
        let Some((_, _, variable_key)) = secret else {
            return (key.to_owned(), value.clone());
        };
        let variable = variable_name(backend, key, &self.variables);
        self.variables.insert(variable.clone());
        self.notes.push(format!(
            "the {key} of {backend} stands in the file in plain text; it is not repeated here: put \
             it into the environment variable {variable}"
        ));
        (variable_key.to_owned(), Node::String(variable))
    }

    /// The cluster of an exchange.
    fn token_endpoint(
        &mut self,
        backend: &str,
        settings: &Node,
        (url_key, cluster_key): (&str, &str),
    ) -> Result<Option<String>, String> {
        let Some(url) = get_text(settings, url_key) else {
            return Ok(None);
        };
        let Ok(mut endpoint) = Endpoint::of_called(url) else {
            return Err(format!("{backend}: a {url_key} without a host and a port"));
        };
        endpoint.path = String::new();
        let cluster = get_text(settings, cluster_key)
            .map(str::to_owned)
            .unwrap_or_else(|| authority(url));
        match self
            .token_endpoints
            .iter_mut()
            .find(|known| known.cluster == cluster)
        {
            Some(known) if known.endpoint == endpoint => known.backends.push(backend.to_owned()),
            Some(known) => {
                return Err(format!(
                    "{} and {backend} name the same cluster, {}, for token endpoints in different \
                     places",
                    known.backends.join(", "),
                    serde_json::Value::from(cluster)
                ));
            }
            None => self.token_endpoints.push(TokenEndpoint {
                cluster: cluster.clone(),
                endpoint,
                backends: vec![backend.to_owned()],
            }),
        }
        Ok(Some(cluster))
    }
}

/// What the filter falls back to without `cluster`: the URL's host, and its port if it has one.
fn authority(url: &str) -> String {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    rest.get(..end).unwrap_or_default().to_owned()
}

fn auth_server(node: &Node) -> Node {
    let run_config = get(node, "runConfig").unwrap_or(&Node::Null);
    let upstreams: Vec<String> = get(run_config, "upstreams")
        .map(items)
        .unwrap_or_default()
        .iter()
        .map(|upstream| upstream_name(upstream).to_owned())
        .collect();
    auth_server_node(get_text(run_config, "issuer"), &upstreams)
}

fn variables_in(filter_part: &Node) -> BTreeSet<String> {
    let outgoing = get(filter_part, "outgoingAuth").unwrap_or(&Node::Null);
    let default = get(outgoing, "default");
    let backends = get(outgoing, "backends").map(entries).unwrap_or_default();
    let exchange = get(filter_part, "identity").and_then(|identity| get(identity, "exchange"));
    let of_identity = exchange.into_iter().flat_map(|exchange| {
        keys::variables(Of::Identity).filter_map(|(_, key, _)| get_text(exchange, key))
    });
    default
        .into_iter()
        .chain(backends.iter().map(|(_, strategy)| strategy))
        .flat_map(|strategy| {
            keys::variables(Of::Strategy)
                .filter_map(|(block, key, _)| get_text(get(strategy, block)?, key))
        })
        .chain(of_identity)
        .filter(|name| !name.is_empty())
        .map(str::to_owned)
        .collect()
}
