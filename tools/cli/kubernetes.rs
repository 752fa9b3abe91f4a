//! Kubernetes resources: how they come, and which ones of ToolHive's operator are known here.

use upstream_inject::config::{Node, Path};

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

/// Whether `root` is a Kubernetes resource of any kind.
pub(crate) fn is_kubernetes(root: &Node) -> bool {
    document::get_text(root, "apiVersion").is_some() && document::get_text(root, "kind").is_some()
}

/// The resources in `root`, each with its place: `kubectl get -o yaml` answers with a list.
pub(crate) fn unfold(root: &Node) -> Vec<(Path, &Node)> {
    let is_list = document::get_text(root, "kind").is_some_and(|kind| kind.ends_with("List"));
    match document::get(root, "items") {
        Some(list @ Node::List(_)) if is_list => {
            let path = Path::root().key("items");
            document::items(list)
                .iter()
                .enumerate()
                .map(|(index, item)| (path.index(index), item))
                .collect()
        }
        _ => vec![(Path::root(), root)],
    }
}
