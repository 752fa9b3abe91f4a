//! A `VirtualMCPServer`: which workloads are behind it, what overrides their own references, who may
//! come in, and what it guards that the filter does not.

use super::block::{Block, Wrongs};
use super::resource::Resource;
use crate::kubernetes::Kind;
use document::{get, get_text};
use upstream_inject::config::{Node, Path};

/// A gateway.
pub(super) struct VirtualServer<'a> {
    pub(super) resource: Resource<'a>,
    pub(super) group: Option<&'a str>,
    /// Whether a workload's own reference is what vMCP looks at first.
    pub(super) is_discovered: bool,
    /// For workloads without a reference.
    pub(super) default: Option<Override<'a>>,
    /// Instead of workloads' references.
    pub(super) backends: Vec<(&'a str, Override<'a>)>,
    pub(super) incoming: Option<Incoming>,
    /// What it does for its users that Envoy does not, by this configuration: told where it stands.
    pub(super) losses: Wrongs,
    /// The same, of less weight.
    pub(super) notes: Vec<String>,
}

/// What `outgoingAuth` says of a backend.
#[derive(Clone)]
pub(super) struct Override<'a> {
    /// An `MCPExternalAuthConfig`; none: whatever is discovered.
    pub(super) target: Option<&'a str>,
    pub(super) at: Path,
}

/// Who may come in.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Incoming {
    pub(super) is_anonymous: bool,
    pub(super) issuer: Option<String>,
    pub(super) audience: Option<String>,
    /// What clients ask tokens for (RFC 8707): the auth server issues them for nothing else.
    pub(super) resource: Option<String>,
    pub(super) jwks_url: Option<String>,
    /// Where the issuer is to be looked up, if it is in none of the files.
    pub(super) missing: Option<String>,
}

impl Incoming {
    /// As vMCP's `incomingAuth`. An auth server of one's own issues what is checked.
    pub(super) fn node(&self, own_issuer: Option<&str>) -> Node {
        let text = |text: &str| Node::String(text.to_owned());
        if self.is_anonymous {
            return Node::Map(vec![("type".to_owned(), text("anonymous"))]);
        }
        let issuer = self.issuer.as_deref().or(own_issuer);
        let oidc = [
            ("issuer", issuer),
            ("audience", self.audience.as_deref()),
            ("resource", self.resource.as_deref()),
            ("jwksUrl", self.jwks_url.as_deref()),
        ]
        .into_iter()
        .filter_map(|(key, value)| Some((key.to_owned(), text(value?))))
        .collect();
        Node::Map(vec![
            ("type".to_owned(), text("oidc")),
            ("oidc".to_owned(), Node::Map(oidc)),
        ])
    }
}

/// Reads a gateway; `oidc_configs` are where issuers are. What an API server would not admit is in
/// the second part.
pub(super) fn read<'a>(
    resource: Resource<'a>,
    oidc_configs: &[Resource<'a>],
) -> (VirtualServer<'a>, Wrongs) {
    let block = Block::new(resource.spec, Path::root().key("spec")).open();
    block.has("authServerConfig");
    let config = block.block("config").map(Block::open);
    let old_group = config
        .as_ref()
        .and_then(|config| config.text("groupRef").or_else(|| config.text("group")));
    let group = block.reference("groupRef").or(old_group);
    let mut losses = Wrongs::new();
    let mut notes = Vec::new();
    if let Some(config) = config {
        if config.has("rateLimiting") {
            losses.push((config.at("rateLimiting"), RATE_LIMITING.to_owned()));
        }
        if config.has("audit") {
            notes.push(format!("{}: {AUDIT}", resource.title()));
        }
        if config.has("passthroughHeaders") {
            notes.push(format!("{}: {PASSTHROUGH}", resource.title()));
        }
        block.take(config);
    }
    if block.has("passthroughHeaders") {
        notes.push(format!("{}: {PASSTHROUGH}", resource.title()));
    }
    let incoming = block.block("incomingAuth").map(|incoming| {
        let incoming = incoming.open();
        for key in ["authzConfig", "authzConfigRef"] {
            if incoming.has(key) {
                losses.push((incoming.at(key), AUTHORIZATION.to_owned()));
            }
        }
        let read = read_incoming(&resource, &incoming, oidc_configs);
        block.take(incoming);
        read
    });
    let mut is_discovered = true;
    let mut default = None;
    let mut backends = Vec::new();
    if let Some(outgoing) = block.block("outgoingAuth") {
        match outgoing.text("source") {
            None | Some("discovered") => {}
            Some("inline") => is_discovered = false,
            Some(_) => outgoing.wrong("source", "must be discovered or inline".to_owned()),
        }
        default = outgoing.block("default").and_then(|own| {
            let read = read_override(&own);
            outgoing.take(own);
            read
        });
        for (name, own) in outgoing.named_blocks("backends") {
            backends.extend(read_override(&own).map(|read| (name, read)));
            outgoing.take(own);
        }
        block.take(outgoing);
    }
    let wrongs = block.finish();
    let server = VirtualServer {
        resource,
        group,
        is_discovered,
        default,
        backends,
        incoming,
        losses,
        notes,
    };
    (server, wrongs)
}

const AUTHORIZATION: &str = "authorization policies are not enforced by Envoy with this filter: \
                             everyone with a valid token gets through to every backend. Keep vMCP \
                             in front, or see docs/MIGRATION.md, \"What guards users\"";
const RATE_LIMITING: &str = "rate limits are not enforced by the filter: Envoy's own rate limit \
                             filters take their place (docs/MIGRATION.md, \"What guards users\")";
const AUDIT: &str =
    "audit is vMCP's; Envoy's access log and the filter's WARN lines take its place";
const PASSTHROUGH: &str = "passthroughHeaders lists what vMCP lets through; Envoy forwards every \
                           header of the client, so take off in the routes what backends should \
                           not see";

fn read_override<'a>(block: &Block<'a>) -> Option<Override<'a>> {
    let at = block.at("externalAuthConfigRef");
    let target = block.reference("externalAuthConfigRef");
    match block.required_text("type")? {
        "discovered" => Some(Override { target: None, at }),
        "externalAuthConfigRef" | "external_auth_config_ref" => {
            if target.is_none() {
                block.wrong("externalAuthConfigRef", "is required".to_owned());
            }
            target.map(|_| Override { target, at })
        }
        _ => {
            let text = "must be discovered or externalAuthConfigRef";
            block.wrong("type", text.to_owned());
            None
        }
    }
}

fn read_incoming(
    resource: &Resource<'_>,
    block: &Block<'_>,
    oidc_configs: &[Resource<'_>],
) -> Incoming {
    let mut incoming = Incoming::default();
    match block.required_text("type") {
        Some("anonymous") => incoming.is_anonymous = true,
        Some("oidc") | None => {}
        Some(_) => block.wrong("type", "must be oidc or anonymous".to_owned()),
    }
    let owned = |text: Option<&str>| text.map(str::to_owned);
    if let Some(reference) = block.block("oidcConfigRef").map(Block::open) {
        incoming.audience = owned(reference.text("audience"));
        incoming.resource = owned(reference.text("resourceUrl"));
        if let Some(name) = reference.required_text("name") {
            let config = oidc_configs
                .iter()
                .find(|config| config.name == name && config.is_neighbour_of(resource));
            match config {
                Some(config) => read_issuer(config.spec, &mut incoming),
                None => incoming.missing = Some(format!("MCPOIDCConfig {name}")),
            }
        }
        block.take(reference);
    } else if let Some(own) = block.block("oidcConfig").map(Block::open) {
        // Before there was MCPOIDCConfig.
        incoming.resource = owned(own.text("resourceUrl"));
        if let Some(inline) = own.block("inline").map(Block::open) {
            incoming.audience = owned(inline.text("audience"));
            incoming.issuer = owned(inline.text("issuer"));
            incoming.jwks_url = owned(inline.text("jwksUrl"));
            own.take(inline);
        }
        block.take(own);
    } else if block.text("type") == Some("oidc") {
        let text = "is required when type is oidc";
        block.wrong("oidcConfigRef", text.to_owned());
    }
    incoming
}

/// Of an `MCPOIDCConfig`.
fn read_issuer(spec: &Node, incoming: &mut Incoming) {
    let source = get(spec, "inline").or_else(|| get(spec, "kubernetesServiceAccount"));
    let text = |key| {
        let text = source.and_then(|source| get_text(source, key));
        text.filter(|text| !text.is_empty()).map(str::to_owned)
    };
    incoming.issuer = text("issuer");
    incoming.jwks_url = text("jwksUrl");
    if incoming.issuer.is_none() && get(spec, "kubernetesServiceAccount").is_some() {
        incoming.issuer = Some("https://kubernetes.default.svc".to_owned());
    }
}

/// The ones that a name given by `--virtual-server` means.
pub(super) fn is_meant(resource: &Resource<'_>, given: Option<&str>) -> bool {
    resource.kind == Kind::VirtualServer
        && given.is_none_or(|given| match given.split_once('/') {
            Some((namespace, name)) => {
                resource.name == name && resource.namespace == Some(namespace)
            }
            None => resource.name == given,
        })
}
