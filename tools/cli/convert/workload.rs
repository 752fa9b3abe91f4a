//! Backends as the operator has them: where they are, and which resource says what they want.

use super::block::{Block, SecretKey, Wrongs};
use super::resource::Resource;
use crate::kubernetes::Kind;
use document::get_text;
use upstream_inject::config::{Node, Path};

/// A backend.
pub(super) struct Workload<'a> {
    pub(super) resource: Resource<'a>,
    /// The group it is in.
    pub(super) group: Option<&'a str>,
    /// The `MCPExternalAuthConfig` that it refers to, and where it does.
    pub(super) reference: Option<(&'a str, Path)>,
    /// The one with its own auth server, if that is another.
    pub(super) auth_server: Option<(&'a str, Path)>,
    pub(super) address: Option<Address>,
    /// Headers with a Secret's value that vMCP adds, and where they stand.
    pub(super) secret_headers: Vec<(&'a str, SecretKey, Path)>,
    /// Names of headers with a value of their own that vMCP adds.
    pub(super) plain_headers: Vec<&'a str>,
    /// Whether its certificate is from an authority of its own.
    pub(super) has_own_ca: bool,
}

/// Where a backend is, and what it speaks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Address {
    pub(super) url: String,
    pub(super) transport: &'static str,
}

impl Address {
    /// As an entry of vMCP's `backends`.
    pub(super) fn node(&self, name: &str) -> Node {
        let text = |key: &str, text: &str| (key.to_owned(), Node::String(text.to_owned()));
        Node::Map(vec![
            text("name", name),
            text("url", &self.url),
            text("transport", self.transport),
        ])
    }
}

/// Reads a workload; what an API server would not admit is in the second part.
pub(super) fn read(resource: Resource<'_>) -> (Workload<'_>, Wrongs) {
    let path = Path::root().key("spec");
    let block = Block::new(resource.spec, path.clone()).open();
    let reference = |key| {
        let name = block.reference(key)?;
        Some((name, block.at(key)))
    };
    let (own, auth_server) = (
        reference("externalAuthConfigRef"),
        reference("authServerRef"),
    );
    let group = block.reference("groupRef");
    let address = address(&resource, &block);
    let mut secret_headers = Vec::new();
    let mut plain_headers = Vec::new();
    if let Some(headers) = block.block("headerForward") {
        plain_headers = headers.keys("addPlaintextHeaders");
        for header in headers.blocks("addHeadersFromSecret") {
            let at = header.path().clone();
            let name = header.required_text("headerName");
            let source = header.required_secret_key("valueSecretRef");
            secret_headers.extend(name.zip(source).map(|(name, source)| (name, source, at)));
            headers.take(header);
        }
        block.take(headers);
    }
    let has_own_ca = block.has("caBundleRef");
    let wrongs = block.finish();
    let workload = Workload {
        resource,
        group,
        reference: own,
        auth_server,
        address,
        secret_headers,
        plain_headers,
        has_own_ca,
    };
    (workload, wrongs)
}

/// What the operator wrote into the status, or would.
fn address(resource: &Resource<'_>, block: &Block<'_>) -> Option<Address> {
    let transport = transport(resource.kind, block);
    // Early versions called it `port`.
    let port = block.port("proxyPort").or_else(|| block.port("port"));
    let port = port.unwrap_or(8080);
    let namespace = resource.namespace.unwrap_or("default");
    let host = |name: String| format!("http://{name}.{namespace}.svc.cluster.local:{port}");
    let name = resource.name;
    let given = resource.status.and_then(|status| get_text(status, "url"));
    let given = given.filter(|url| !url.is_empty());
    let url = match resource.kind {
        Kind::ServerEntry | Kind::RemoteProxy => {
            let remote = block.required_text("remoteUrl")?;
            if !remote.starts_with("https://") && !remote.starts_with("http://") {
                let text = "must begin with https:// or http://";
                block.wrong("remoteUrl", text.to_owned());
            }
            if resource.kind == Kind::ServerEntry {
                remote.to_owned()
            } else {
                given.map_or_else(|| host(format!("mcp-{name}-remote-proxy")), str::to_owned)
            }
        }
        _ => given.map_or_else(
            || {
                let path = if transport == "sse" { "/sse" } else { "/mcp" };
                format!("{}{path}", host(format!("mcp-{name}-proxy")))
            },
            str::to_owned,
        ),
    };
    // The fragment is for people who read lists of servers.
    let url = url.split('#').next().unwrap_or_default().to_owned();
    Some(Address { url, transport })
}

fn transport(kind: Kind, block: &Block<'_>) -> &'static str {
    let word = block.text("transport");
    let mode = block.text("proxyMode");
    let is_sse = match word {
        Some("sse") => true,
        Some("streamable-http") => false,
        // A program's standard streams, behind a proxy that speaks one or the other.
        Some("stdio") | None if kind == Kind::Server => mode == Some("sse"),
        None => false,
        Some(_) => {
            let words = if kind == Kind::Server {
                "stdio, streamable-http or sse"
            } else {
                "streamable-http or sse"
            };
            block.wrong("transport", format!("must be {words}"));
            false
        }
    };
    if is_sse { "sse" } else { "streamable-http" }
}
