//! Where the auth server's upstreams come from: V-02 compares provider names with them.

use super::block::{Block, Wrongs};
use super::resource::{self, Kind, Resource};
use crate::check::{self, is_kubernetes};
use crate::input::Input;
use crate::report::{Finding, Severity};
use document::{Position, get, items};
use upstream_inject::config::{Node, Path};

/// An auth server, as far as the filter is concerned.
#[derive(Debug)]
pub(super) struct AuthServer {
    pub(super) issuer: Option<String>,
    pub(super) upstreams: Vec<String>,
    /// What people call the place it was found in.
    pub(super) title: String,
    pub(super) file: String,
    pub(super) at: Position,
}

impl AuthServer {
    /// As `authServer` of a configuration: nothing but what the filter reads, since the rest may
    /// name secrets.
    pub(super) fn node(&self) -> Node {
        auth_server_node(self.issuer.as_deref(), &self.upstreams)
    }
}

/// `authServer` with an issuer and named upstreams.
pub(crate) fn auth_server_node(issuer: Option<&str>, upstreams: &[String]) -> Node {
    let map = |key: &str, value| (key.to_owned(), value);
    let upstreams = upstreams
        .iter()
        .map(|name| Node::Map(vec![map("name", Node::String(name.clone()))]))
        .collect();
    let mut run_config = Vec::new();
    if let Some(issuer) = issuer {
        run_config.push(map("issuer", Node::String(issuer.to_owned())));
    }
    run_config.push(map("upstreams", Node::List(upstreams)));
    Node::Map(vec![map("runConfig", Node::Map(run_config))])
}

/// From `--auth-server`: a configuration, a vMCP file, or a resource.
pub(super) fn from_file(input: &Input, findings: &mut Vec<Finding>) -> Vec<AuthServer> {
    let (resources, others): (Vec<_>, Vec<_>) = input
        .documents
        .iter()
        .partition(|document| is_kubernetes(&document.root));
    let mut found = Vec::new();
    for document in resources {
        for resource in resource::collect(&input.name, document, findings) {
            let more = match resource.kind {
                Kind::VirtualServer => from_virtual_server(&resource, findings),
                Kind::ExternalAuthConfig if get(resource.spec, "embeddedAuthServer").is_some() => {
                    from_resource(&resource, findings)
                }
                Kind::ExternalAuthConfig => None,
            };
            found.extend(more);
        }
    }
    for document in others {
        let run_config = get(&document.root, "authServer").and_then(|node| get(node, "runConfig"));
        let Some(run_config) = run_config else {
            continue;
        };
        let upstreams = get(run_config, "upstreams").map(items).unwrap_or_default();
        found.push(AuthServer {
            issuer: document::get_text(run_config, "issuer").map(str::to_owned),
            upstreams: upstreams
                .iter()
                .map(|upstream| check::upstream_name(upstream).to_owned())
                .collect(),
            title: "authServer".to_owned(),
            file: input.name.clone(),
            at: document.position(&Path::root().key("authServer")),
        });
    }
    if found.is_empty() && findings.is_empty() {
        let text = "no authServer, no embeddedAuthServer and no authServerConfig in here";
        findings.push(Finding::about_file(Severity::Error, None, text));
    }
    found
}

/// From an `MCPExternalAuthConfig` of type `embeddedAuthServer`.
pub(super) fn from_resource(
    resource: &Resource<'_>,
    findings: &mut Vec<Finding>,
) -> Option<AuthServer> {
    from_spec(resource, "embeddedAuthServer", findings)
}

/// From a `VirtualMCPServer`, if it has one.
pub(super) fn from_virtual_server(
    resource: &Resource<'_>,
    findings: &mut Vec<Finding>,
) -> Option<AuthServer> {
    get(resource.spec, "authServerConfig")?;
    from_spec(resource, "authServerConfig", findings)
}

/// Both are the same type in the operator's API, `EmbeddedAuthServerConfig`.
fn from_spec(
    resource: &Resource<'_>,
    key: &str,
    findings: &mut Vec<Finding>,
) -> Option<AuthServer> {
    let node = get(resource.spec, key)?;
    let block = Block::new(node, Path::root().key("spec").key(key)).open();
    let issuer = block.required_text("issuer").map(str::to_owned);
    let mut wrongs = Wrongs::new();
    let mut upstreams = Vec::new();
    for upstream in block.blocks("upstreamProviders") {
        let upstream = upstream.open();
        upstreams.push(upstream.text("name").unwrap_or("default").to_owned());
        wrongs.extend(upstream.finish());
    }
    if upstreams.is_empty() {
        let text = "at least one upstream provider is required";
        block.wrong("upstreamProviders", text.to_owned());
    }
    wrongs.extend(block.finish());
    let is_fine = wrongs.is_empty();
    findings.extend(
        wrongs
            .iter()
            .map(|(path, text)| resource.finding(Severity::Error, path, text)),
    );
    is_fine.then(|| AuthServer {
        issuer,
        upstreams,
        title: resource.title(),
        file: resource.file.to_owned(),
        at: resource.start(),
    })
}
