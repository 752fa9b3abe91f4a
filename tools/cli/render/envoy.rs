//! A bootstrap for Envoy itself: one listener, a path for each backend.

use super::Rendering;
use super::cluster::{Cluster, Protocol};
use super::endpoint::Endpoint;
use super::setup::needs_upstream_tokens;
use super::template::{block, fill, raw, scalar};
use crate::emit;
use document::get_text;
use std::collections::BTreeSet;
use upstream_inject::host::interface;

const AUTH_SERVER_CLUSTER: &str = "embedded-auth-server";
const JWKS_CLUSTER: &str = "identity-keys";

/// Renders the bootstrap.
pub(super) fn render(target: &mut Rendering<'_>) -> Result<String, String> {
    let listen = address("--listen", &target.options.listen)?;
    let admin = address("--admin", &target.options.admin)?;
    let mut clusters = Clusters::default();
    let routes = routes(target, &mut clusters)?;
    let authentication = authentication(target, &mut clusters)?;
    for sts in &target.setup.token_endpoints {
        clusters.add(&Cluster::of_sts(sts), &target.options.ca_file)?;
    }
    let plugin = target.plugin(str::to_owned, |sts| sts.cluster.clone())?;
    let environment = environment(target);
    let example = target.setup.backends.first().map_or("NAME", String::as_str);
    Ok(fill(
        include_str!("templates/envoy.yaml"),
        &[
            ("example_backend", raw(&path_segment(example))),
            ("notes", block(target.notes_comment())),
            ("admin_host", scalar(&admin.host)),
            ("admin_port", raw(&admin.port.to_string())),
            ("listen_host", scalar(&listen.host)),
            ("listen_port", raw(&listen.port.to_string())),
            ("routes", block(routes)),
            ("authentication", block(authentication)),
            ("wasm", scalar(&target.options.wasm)),
            ("environment", block(environment)),
            ("capabilities", block(capabilities())),
            ("plugin", block(emit::block(&plugin))),
            ("clusters", block(clusters.yaml)),
        ],
    ))
}

fn address(flag: &str, text: &str) -> Result<Endpoint, String> {
    Endpoint::parse(text)
        .filter(|endpoint| endpoint.is_address() && endpoint.path.is_empty() && !endpoint.tls)
        .ok_or_else(|| format!("{flag} {text}: not an IP address and a port"))
}

/// Clusters, each under a name of its own.
#[derive(Default)]
struct Clusters {
    yaml: String,
    names: BTreeSet<String>,
}

impl Clusters {
    fn add(&mut self, cluster: &Cluster<'_>, ca_file: &str) -> Result<(), String> {
        if !self.names.insert(cluster.name.to_owned()) {
            return Err(format!(
                "two clusters would be called {}; rename the backend, or give the exchange a \
                 cluster of another name",
                serde_json::Value::from(cluster.name)
            ));
        }
        self.yaml.push_str(&cluster.yaml(ca_file));
        Ok(())
    }
}

fn routes(target: &mut Rendering<'_>, clusters: &mut Clusters) -> Result<String, String> {
    let backend_from = get_text(&target.setup.plugin, "backendFrom").map(str::to_owned);
    let mut routes = String::new();
    for name in target.setup.backends.clone() {
        let endpoint = match target.addresses.get(&name) {
            Some(address) => Endpoint::parse(address).ok_or_else(|| {
                format!("{name}: {address} is neither host:port nor an http or https URL")
            })?,
            None => {
                target.note(format!(
                    "--backend {name}=… is missing: fill in where this backend is; until then \
                     requests to it fail"
                ));
                Endpoint::unknown(&name)
            }
        };
        routes.push_str(&route(&name, &endpoint, backend_from.as_deref()));
        let cluster = Cluster {
            name: &name,
            comment: format!("The backend {name}."),
            endpoint: &endpoint,
            protocol: Protocol::Negotiated,
            detects_outliers: false,
        };
        clusters.add(&cluster, &target.options.ca_file)?;
    }
    if routes.is_empty() {
        target.note("no backend is listed: add routes and clusters, or give --backend NAME=…");
        routes.push_str("[]");
    }
    Ok(routes)
}

fn route(name: &str, endpoint: &Endpoint, backend_from: Option<&str>) -> String {
    let prefix = format!("/{}", path_segment(name));
    let pattern = format!("^{}", escape_regex(&prefix));
    let (pattern, substitution) = if endpoint.path.is_empty() {
        (format!("{pattern}/?"), "/".to_owned())
    } else {
        (pattern, endpoint.path.replace('\\', "\\\\"))
    };
    let metadata = match backend_from {
        Some("route_metadata") => format!(
            "metadata:\n  filter_metadata:\n    upstream_inject: {{backend: {}}}\n",
            emit::scalar(name)
        ),
        _ => String::new(),
    };
    let host_rewrite = if endpoint.is_address() {
        String::new()
    } else {
        format!(
            "host_rewrite_literal: {}",
            emit::scalar(&endpoint.authority())
        )
    };
    fill(
        include_str!("templates/envoy-route.yaml"),
        &[
            ("name", scalar(name)),
            ("prefix", scalar(&prefix)),
            ("metadata", block(metadata)),
            ("cluster", scalar(name)),
            ("pattern", scalar(&pattern)),
            ("substitution", scalar(&substitution)),
            ("host_rewrite", block(host_rewrite)),
        ],
    )
}

/// A backend's name as one segment of a path.
fn path_segment(name: &str) -> String {
    percent_encoding::utf8_percent_encode(name, percent_encoding::NON_ALPHANUMERIC)
        .to_string()
        .replace("%2D", "-")
        .replace("%5F", "_")
        .replace("%2E", ".")
}

fn escape_regex(text: &str) -> String {
    text.replace('.', "\\.")
}

fn authentication(target: &mut Rendering<'_>, clusters: &mut Clusters) -> Result<String, String> {
    let mut filters = String::new();
    match target.setup.issuer.clone() {
        Some(issuer) => {
            let url = target.jwks_url(&issuer);
            let endpoint = Endpoint::parse(&url)
                .ok_or_else(|| format!("{url}: not a URL that keys can be fetched from"))?;
            filters.push_str(&fill(
                include_str!("templates/envoy-jwt.yaml"),
                &[
                    ("issuer", scalar(&issuer)),
                    ("audiences", block(super::audiences(target))),
                    ("jwks_url", scalar(&url)),
                    ("cluster", scalar(JWKS_CLUSTER)),
                ],
            ));
            let cluster = Cluster {
                name: JWKS_CLUSTER,
                comment: "The keys that TH-JWTs are signed with.".to_owned(),
                endpoint: &endpoint,
                protocol: Protocol::Http1,
                detects_outliers: false,
            };
            clusters.add(&cluster, &target.options.ca_file)?;
        }
        None => target.note_missing_issuer(),
    }
    if target.setup.has_auth_server || needs_upstream_tokens(&target.setup.plugin) {
        let endpoint = target.ext_authz()?;
        filters.push_str(&fill(
            include_str!("templates/envoy-ext-authz.yaml"),
            &[("cluster", scalar(AUTH_SERVER_CLUSTER))],
        ));
        let cluster = Cluster {
            name: AUTH_SERVER_CLUSTER,
            comment: "The embedded auth server's ext_authz service (gRPC).".to_owned(),
            endpoint: &endpoint,
            protocol: Protocol::Http2,
            detects_outliers: false,
        };
        clusters.add(&cluster, &target.options.ca_file)?;
    }
    Ok(filters)
}

fn environment(target: &Rendering<'_>) -> String {
    if target.setup.variables.is_empty() {
        return String::new();
    }
    let mut text =
        "# Read from Envoy's own environment; the filter refuses to start without them.\n\
                    environment_variables:\n  host_env_keys:\n"
            .to_owned();
    for variable in &target.setup.variables {
        text.push_str(&format!("    - {}\n", emit::scalar(variable)));
    }
    text
}

fn capabilities() -> String {
    interface::capabilities()
        .into_iter()
        .map(|capability| format!("{capability}: {{}}\n"))
        .collect()
}
