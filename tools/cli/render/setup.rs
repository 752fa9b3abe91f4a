//! What every target needs to know of a configuration.

use super::endpoint::Endpoint;
use crate::check::{KEY_VARIABLES, Kind, SECRETS, TOKEN_ENDPOINTS, providers, upstream_name};
use crate::convert::{auth_server_node, variable_name};
use document::{entries, get, get_text, items};
use std::collections::BTreeSet;
use upstream_inject::config::Node;

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
    /// Whether there is an embedded auth server, which knows the upstream tokens.
    pub(super) has_auth_server: bool,
    /// Who issues the tokens that clients present.
    pub(super) issuer: Option<String>,
    pub(super) audiences: Vec<String>,
    /// Where a vMCP file says that its backends are.
    pub(super) urls: Vec<(String, String)>,
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
            has_auth_server: get(&filter_part, "authServer").is_some(),
            issuer: issuer(root),
            audiences: audiences(root),
            urls: urls(root),
            notes: Vec::new(),
        };
        setup.variables = variables_in(&filter_part);
        let mut plugin = Vec::new();
        for (key, value) in entries(&filter_part) {
            let value = match key.as_str() {
                _ if *value == Node::Null => continue,
                "authServer" => auth_server(value),
                "outgoingAuth" => setup.outgoing(value)?,
                _ => value.clone(),
            };
            plugin.push((key.clone(), value));
        }
        setup.plugin = Node::Map(plugin);
        Ok(setup)
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
        for (_, url_key, cluster_key, _) in TOKEN_ENDPOINTS.iter().filter(|one| one.0 == block) {
            let keys = (*url_key, *cluster_key);
            if let Some(cluster) = self.token_endpoint(backend, settings, keys)? {
                written.retain(|(key, _)| key != cluster_key);
                let at = written.iter().position(|(key, _)| key == url_key);
                let at = at.map_or(0, |index| index.saturating_add(1));
                written.insert(at, ((*cluster_key).to_owned(), Node::String(cluster)));
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
        let secret = SECRETS
            .iter()
            .find(|(secret_block, secret, _)| *secret_block == block && *secret == key);
        let Some((_, _, variable_key)) = secret else {
            return (key.to_owned(), value.clone());
        };
        let variable = variable_name(backend, key, &self.variables);
        self.variables.insert(variable.clone());
        self.notes.push(format!(
            "the {key} of {backend} stands in the file in plain text; it is not repeated here: put \
             it into the environment variable {variable}"
        ));
        ((*variable_key).to_owned(), Node::String(variable))
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
        let Some(mut endpoint) = Endpoint::parse(url) else {
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

fn run_config(root: &Node) -> Option<&Node> {
    get(root, "authServer").and_then(|server| get(server, "runConfig"))
}

fn oidc(root: &Node) -> Option<&Node> {
    get(root, "incomingAuth").and_then(|incoming| get(incoming, "oidc"))
}

/// The embedded auth server's, or in a vMCP file that of the one that clients log in at.
fn issuer(root: &Node) -> Option<String> {
    let of_auth_server = run_config(root).and_then(|node| get_text(node, "issuer"));
    let of_incoming = oidc(root).and_then(|node| get_text(node, "issuer"));
    of_auth_server
        .or(of_incoming)
        .filter(|issuer| !issuer.is_empty())
        .map(str::to_owned)
}

/// What the gateway accepts: vMCP's own audience, or whatever the auth server may issue.
fn audiences(root: &Node) -> Vec<String> {
    if let Some(audience) = oidc(root).and_then(|oidc| get_text(oidc, "audience")) {
        return vec![audience.to_owned()];
    }
    run_config(root)
        .and_then(|run_config| {
            get(run_config, "allowed_audiences").or_else(|| get(run_config, "allowedAudiences"))
        })
        .map(items)
        .unwrap_or_default()
        .iter()
        .filter_map(|item| match item {
            Node::String(text) if !text.is_empty() => Some(text.clone()),
            _ => None,
        })
        .collect()
}

fn urls(root: &Node) -> Vec<(String, String)> {
    get(root, "backends")
        .map(items)
        .unwrap_or_default()
        .iter()
        .filter_map(|backend| {
            let name = get_text(backend, "name")?;
            Some((name.to_owned(), get_text(backend, "url")?.to_owned()))
        })
        .collect()
}

fn variables_in(filter_part: &Node) -> BTreeSet<String> {
    let outgoing = get(filter_part, "outgoingAuth").unwrap_or(&Node::Null);
    let default = get(outgoing, "default");
    let backends = get(outgoing, "backends").map(entries).unwrap_or_default();
    default
        .into_iter()
        .chain(backends.iter().map(|(_, strategy)| strategy))
        .flat_map(|strategy| {
            let of_secrets = SECRETS.map(|(block, _, key)| (block, key));
            of_secrets
                .into_iter()
                .chain(KEY_VARIABLES)
                .filter_map(move |(block, key)| get_text(get(strategy, block)?, key))
        })
        .filter(|name| !name.is_empty())
        .map(str::to_owned)
        .collect()
}

/// Whether any strategy of the configuration needs an upstream token.
pub(super) fn needs_upstream_tokens(plugin: &Node) -> bool {
    let outgoing = get(plugin, "outgoingAuth").unwrap_or(&Node::Null);
    let backends = get(outgoing, "backends").map(entries).unwrap_or_default();
    get(outgoing, "default")
        .into_iter()
        .chain(backends.iter().map(|(_, strategy)| strategy))
        .any(|strategy| providers(strategy).next().is_some())
}
