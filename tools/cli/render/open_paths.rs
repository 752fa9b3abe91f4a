//! What is open to clients without a token, as a control plane has it: by path.

use super::challenge::WELL_KNOWN;
use super::gateway::{AuthServer, Gateway};

/// A path that asks for no token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct OpenPath {
    pub(super) path: String,
    /// Whether everything below it is open, too.
    pub(super) is_prefix: bool,
    /// What the auth server is asked instead, where its issuer has a path of its own.
    pub(super) rewritten: Option<String>,
    /// Whether the auth server's own clients authenticate there.
    pub(super) takes_credentials: bool,
}

/// ToolHive's auth server, and nothing else of it. The first one registers clients.
pub(super) fn of_auth_server(server: &AuthServer) -> Vec<OpenPath> {
    let issuer_path = &server.issuer_path;
    let below = |path: &str, is_prefix, takes_credentials| OpenPath {
        path: format!("{issuer_path}{path}"),
        is_prefix,
        rewritten: (!issuer_path.is_empty()).then(|| path.to_owned()),
        takes_credentials,
    };
    let mut paths = vec![
        below("/oauth/register", false, true),
        below("/oauth", true, true),
    ];
    for document in [
        "/.well-known/oauth-authorization-server",
        "/.well-known/openid-configuration",
    ] {
        paths.push(OpenPath {
            path: document.to_owned(),
            is_prefix: true,
            rewritten: None,
            takes_credentials: false,
        });
        if !issuer_path.is_empty() {
            paths.push(below(document, true, false));
        }
    }
    paths.push(below("/.well-known/jwks.json", false, false));
    paths
}

/// Every open path of a gateway: the metadata documents', the auth server's, the probes'.
pub(super) fn of(gateway: &Gateway) -> Vec<OpenPath> {
    let plain = |path: &str, is_prefix| OpenPath {
        path: path.to_owned(),
        is_prefix,
        rewritten: None,
        takes_credentials: false,
    };
    let mut paths = Vec::new();
    if !gateway.documents.is_empty() {
        paths.push(plain(WELL_KNOWN, true));
    }
    paths.extend(gateway.auth_server.iter().flat_map(of_auth_server));
    for backend in &gateway.backends {
        paths.extend(backend.probes.iter().map(|probe| plain(probe, false)));
    }
    paths
}
