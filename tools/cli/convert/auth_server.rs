//! Where the auth server's upstreams come from: V-02 compares provider names with them.

use super::block::{Block, Wrongs};
use super::resource::{self, Resource};
use crate::check;
use crate::input::Input;
use crate::kubernetes::{Kind, is_kubernetes, opened};
use crate::report::{Finding, Severity};
use document::auth_server::{SIBLING, by_toolhive};
use document::{Position, get, get_text, items};
use upstream_inject::config::path::Step;
use upstream_inject::config::{Node, Path};

/// An auth server, as far as the filter is concerned.
#[derive(Clone, Debug)]
pub(super) struct AuthServer {
    pub(super) issuer: Option<String>,
    pub(super) upstreams: Vec<String>,
    /// What its tokens may be for; empty: nobody says.
    pub(super) audiences: Vec<String>,
    /// Whether it keeps the upstream tokens to itself.
    pub(super) keeps_tokens: bool,
    /// What people call the place it was found in.
    pub(super) title: String,
    pub(super) file: String,
    pub(super) at: Position,
    /// Where upstreams stand in it: as the source calls them, and where in the file.
    places: Vec<(String, Position)>,
}

impl AuthServer {
    /// As `authServer` of a configuration: nothing but what the filter and `check` read, since the
    /// rest may name secrets.
    pub(super) fn node(&self) -> Node {
        let mut node = auth_server_node(self.issuer.as_deref(), &self.upstreams);
        if let Node::Map(server) = &mut node
            && let Some((_, Node::Map(run_config))) = server.first_mut()
            && !self.audiences.is_empty()
        {
            let audiences = self.audiences.iter().cloned().map(Node::String).collect();
            run_config.push(("allowed_audiences".to_owned(), Node::List(audiences)));
        }
        node
    }

    /// Whether tokens and upstreams are the same.
    pub(super) fn is_like(&self, other: &Self) -> bool {
        self.issuer == other.issuer && self.upstreams == other.upstreams
    }

    /// Where in its file that stands which a problem of `authServer` is about, and what the source
    /// calls it.
    pub(super) fn trace(&self, steps: &[Step]) -> (Position, Option<&str>) {
        let index = steps.iter().find_map(|step| match step {
            Step::Index(index) => Some(*index),
            Step::Key(_) => None,
        });
        let place = index.and_then(|index| self.places.get(index));
        place.map_or((self.at, None), |(path, at)| (*at, Some(path)))
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

/// From `--auth-server`: a configuration, a vMCP file, the auth server's own (as a file or in the
/// operator's ConfigMap), or a resource.
pub(super) fn from_file(input: &Input, findings: &mut Vec<Finding>) -> Vec<AuthServer> {
    let (resources, others): (Vec<_>, Vec<_>) = input
        .documents
        .iter()
        .partition(|document| is_kubernetes(&document.root));
    let mut found = Vec::new();
    for document in resources {
        let inner = opened(std::slice::from_ref(document));
        let inner = inner.as_deref().unwrap_or(std::slice::from_ref(document));
        found.extend(
            inner
                .iter()
                .filter_map(|inner| from_config_map(input, inner)),
        );
        let mut skipped = Vec::new(); // whatever else a cluster's file holds
        for resource in resource::collect(&input.name, document, findings, &mut skipped) {
            let more = match resource.kind {
                Kind::VirtualServer => from_virtual_server(&resource, findings),
                Kind::ExternalAuthConfig if get(resource.spec, "embeddedAuthServer").is_some() => {
                    from_resource(&resource, findings)
                }
                _ => None,
            };
            found.extend(more);
        }
    }
    for document in others {
        let root = Path::root();
        let as_toolhive_reads = match get(&document.root, "authServer") {
            Some(_) => document.clone(),
            None => by_toolhive(document.clone()),
        };
        let document = &as_toolhive_reads;
        let (run_config, path) =
            match get(&document.root, "authServer").and_then(|node| get(node, "runConfig")) {
                Some(run_config) => (run_config, root.key("authServer").key("runConfig")),
                None if get(&document.root, "upstreams").is_some() => (&document.root, root),
                None => continue,
            };
        let places = |index| document.position(&path.key("upstreams").index(index));
        found.push(from_run_config(run_config, &path, &input.name, places));
    }
    if found.is_empty() && findings.is_empty() {
        let text = "no authServer, no RunConfig (authserver-config.yaml), no embeddedAuthServer and \
                    no authServerConfig in here";
        findings.push(Finding::about_file(Severity::Error, None, text));
    }
    found
}

/// The operator keeps vMCP's two files in one.
fn from_config_map(input: &Input, document: &document::Document) -> Option<AuthServer> {
    let path = Path::root().key("data").key(SIBLING);
    let text = get_text(get(&document.root, "data")?, SIBLING)?;
    let mut inner = document::parse_file(text.as_bytes(), SIBLING).ok()?;
    inner.truncate(1);
    let inner = by_toolhive(inner.pop()?);
    let at = document.position(&path);
    Some(from_run_config(&inner.root, &path, &input.name, |_| at))
}

fn from_run_config(
    run_config: &Node,
    path: &Path,
    file: &str,
    place: impl Fn(usize) -> Position,
) -> AuthServer {
    let upstreams = get(run_config, "upstreams").map(items).unwrap_or_default();
    let audiences = get(run_config, "allowed_audiences")
        .or_else(|| get(run_config, "allowedAudiences"))
        .map(items)
        .unwrap_or_default();
    AuthServer {
        issuer: get_text(run_config, "issuer").map(str::to_owned),
        upstreams: upstreams
            .iter()
            .map(|upstream| check::upstream_name(upstream).to_owned())
            .collect(),
        audiences: audiences
            .iter()
            .filter_map(|audience| match audience {
                Node::String(text) if !text.is_empty() => Some(text.clone()),
                _ => None,
            })
            .collect(),
        keeps_tokens: false,
        title: "authServer".to_owned(),
        file: file.to_owned(),
        at: place(0),
        places: (0..upstreams.len())
            .map(|index| {
                let path = path.key("upstreams").index(index).key("name");
                (path.to_string(), place(index))
            })
            .collect(),
    }
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
    if issuer.as_deref().is_some_and(|issuer| !is_issuer(issuer)) {
        let text = "must be an http(s) URL without query, fragment or a slash at its end";
        block.wrong("issuer", text.to_owned());
    }
    let keeps_tokens = block.is_true("disableUpstreamTokenInjection");
    let mut wrongs = Wrongs::new();
    let mut upstreams = Vec::new();
    let mut places = Vec::new();
    for upstream in block.blocks("upstreamProviders") {
        let upstream = upstream.open();
        upstreams.push(upstream.text("name").unwrap_or("default").to_owned());
        let at = upstream.at("name");
        places.push((at.to_string(), resource.position(&at)));
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
        audiences: Vec::new(),
        keeps_tokens,
        title: resource.title(),
        file: resource.file.to_owned(),
        at: resource.start(),
        places,
    })
}

/// What the CRD's pattern admits.
fn is_issuer(issuer: &str) -> bool {
    ["https://", "http://"].iter().any(|scheme| {
        issuer.strip_prefix(scheme).is_some_and(|rest| {
            rest.len() > 1
                && !rest.ends_with('/')
                && !rest.contains(['?', '#'])
                && !rest.contains(char::is_whitespace)
        })
    })
}
