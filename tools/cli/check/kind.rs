//! What a file is, told by its top-level keys.

use upstream_inject::config::Node;

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
