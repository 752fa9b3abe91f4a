//! Kubernetes resources: how they come, and which ones of ToolHive's operator are known here.

pub(crate) use document::kubernetes::{is_kubernetes, opened, unfold};

/// What a resource is good for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Becomes a strategy, or supplies the auth server.
    ExternalAuthConfig,
    /// Says which workloads belong together, and may supply the auth server.
    VirtualServer,
    /// A backend: a container behind the operator's proxy.
    Server,
    /// A backend: the operator's proxy before a server elsewhere.
    RemoteProxy,
    /// A backend: a server elsewhere, without a proxy.
    ServerEntry,
    /// Who issues the tokens that clients present.
    OidcConfig,
}

/// The kinds of resources that `convert` takes, by name.
pub(crate) const KINDS: [(&str, Kind); 6] = [
    ("MCPExternalAuthConfig", Kind::ExternalAuthConfig),
    ("VirtualMCPServer", Kind::VirtualServer),
    ("MCPServer", Kind::Server),
    ("MCPRemoteProxy", Kind::RemoteProxy),
    ("MCPServerEntry", Kind::ServerEntry),
    ("MCPOIDCConfig", Kind::OidcConfig),
];

/// Whether `convert` makes something of resources of this kind.
pub(crate) fn is_converted(kind: &str) -> bool {
    KINDS.iter().any(|(name, _)| *name == kind)
}
