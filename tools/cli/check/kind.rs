//! What a file is, told by its top-level keys.

use crate::kubernetes::{is_kubernetes, unfold};
use document::Document;
use upstream_inject::config::{Node, Path};

/// The kinds of file that hold a configuration of the filter, or a part of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// What Envoy hands to the filter.
    Plugin,
    /// A file for vMCP itself, of which the filter needs two sections.
    Vmcp,
    /// The auth server of a vMCP, alone.
    AuthServer,
}

/// The top level of a plugin configuration.
const PLUGIN_KEYS: &[&str] = &[
    "authServer",
    "outgoingAuth",
    "backendFrom",
    "identity",
    "challenge",
    "tokenCache",
];

/// What else the top level of a vMCP file can hold (`Config` in its `pkg/vmcp/config`).
const VMCP_KEYS: &[&str] = &[
    "name",
    "group",
    "groupRef",
    "backends",
    "incomingAuth",
    "aggregation",
    "compositeTools",
    "compositeToolRefs",
    "operational",
    "metadata",
    "telemetry",
    "audit",
    "optimizer",
    "codeMode",
    "sessionStorage",
    "rateLimiting",
    "passthroughHeaders",
];

impl Kind {
    /// A single key that only vMCP knows makes a vMCP file: in a plugin configuration each of them
    /// would be an error anyway.
    pub(crate) fn of(root: &Node) -> Self {
        let is_vmcp = document::entries(root)
            .iter()
            .any(|(key, _)| VMCP_KEYS.contains(&key.as_str()));
        if is_vmcp { Kind::Vmcp } else { Kind::Plugin }
    }

    /// For people and for machines.
    pub(crate) fn words(self) -> (&'static str, &'static str) {
        match self {
            Kind::Plugin => ("a plugin configuration", "plugin"),
            Kind::Vmcp => ("a whole vMCP file", "vmcp"),
            Kind::AuthServer => ("an auth server's configuration", "auth-server"),
        }
    }

    /// What of the file the filter is to be configured with.
    pub(crate) fn filter_part(self, root: &Node) -> Node {
        match (self, root) {
            (Kind::Vmcp | Kind::AuthServer, Node::Map(entries)) => Node::Map(
                entries
                    .iter()
                    .filter(|(key, _)| PLUGIN_KEYS.contains(&key.as_str()))
                    .cloned()
                    .collect(),
            ),
            _ => root.clone(),
        }
    }
}

/// Top-level keys that neither the filter nor vMCP knows.
pub(super) fn unknown_keys(root: &Node) -> impl Iterator<Item = &str> {
    document::entries(root)
        .iter()
        .map(|(key, _)| key.as_str())
        .filter(|key| !PLUGIN_KEYS.contains(key) && !VMCP_KEYS.contains(key))
}

/// Whether `root` is, by its own keys, a configuration of the filter or of vMCP, or an auth server's: so
/// that its neighbours in a folder are left alone, and one with a slip in its first key is not.
pub(super) fn is_for_this_tool(root: &Node) -> bool {
    let has = |key| document::get(root, key).is_some();
    let is_auth_server = document::auth_server::is_run_config(root)
        && document::get(root, "upstreams").is_some_and(|list| matches!(list, Node::List(_)))
        && (has("issuer") || has("schema_version") || has("storage"));
    let has_outgoing = document::entries(root)
        .iter()
        .any(|(key, _)| document::words::meant(key, ["outgoingAuth"]).is_some());
    !is_kubernetes(root) && (has_outgoing || has("authServer") || is_auth_server)
}

/// Whether `root` is a ConfigMap with the files of a vMCP.
pub(super) fn is_vmcp_config_map(root: &Node) -> bool {
    let has =
        |key| document::get(root, "data").is_some_and(|data| document::get(data, key).is_some());
    document::auth_server::is_config_map(root)
        && (has("config.yaml") || has(document::auth_server::SIBLING))
}

/// The documents of a file with each resource of a list as one of them; none if there is no list.
pub(super) fn opened(documents: &[Document]) -> Option<Vec<Document>> {
    // One of nothing stays what it is.
    let is_list = |path: &Path| !path.steps().is_empty();
    let each: Vec<_> = documents
        .iter()
        .map(|document| (document, unfold(&document.root)))
        .collect();
    if !each
        .iter()
        .any(|(_, inner)| inner.iter().any(|(path, _)| is_list(path)))
    {
        return None;
    }
    let mut opened = Vec::new();
    for (document, inner) in each {
        match inner.as_slice() {
            [] => opened.push(document.clone()),
            inner => opened.extend(inner.iter().filter_map(|(path, _)| document.inner(path))),
        }
    }
    Some(opened)
}
