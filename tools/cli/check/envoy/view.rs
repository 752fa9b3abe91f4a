//! What of an Envoy configuration matters here, wherever it stands: in a bootstrap, in what a control
//! plane hands out, in a live `config_dump`.

use super::part::{Part, is_key};
use upstream_inject::config::Node;

/// The parts that the rules look at.
#[derive(Default)]
pub(super) struct View<'a> {
    pub(super) managers: Vec<Manager<'a>>,
    pub(super) routes: Vec<Part<'a>>,
    pub(super) clusters: Vec<Part<'a>>,
    /// The filter's own settings (`Wasm`), wherever one of ours stands.
    pub(super) filters: Vec<Part<'a>>,
    /// Whether clusters may come from elsewhere.
    pub(super) has_discovery: bool,
}

/// An HTTP connection manager.
pub(super) struct Manager<'a> {
    pub(super) part: Part<'a>,
    /// The listener's name, or as far as it has one.
    pub(super) listener: String,
}

impl<'a> View<'a> {
    pub(super) fn of(roots: &[Part<'a>]) -> Self {
        let mut view = Self::default();
        for root in roots {
            view.collect(root, "");
        }
        view
    }

    fn collect(&mut self, part: &Part<'a>, listener: &str) {
        if matches!(part.node, Node::List(_)) {
            for item in part.items() {
                self.collect(&item, listener);
            }
            return;
        }
        let is_listener = part.get("filter_chains").is_some() || part.get("address").is_some();
        let listener = match part.text("name") {
            Some(name) if is_listener => name,
            _ => listener,
        };
        if part.is("HttpConnectionManager") {
            self.managers.push(Manager {
                part: part.clone(),
                listener: listener.to_owned(),
            });
        }
        if part.get("virtual_hosts").is_some() {
            self.routes.push(part.clone());
        }
        if is_cluster(part) {
            self.clusters.push(part.clone());
        }
        if part.is("Wasm") && is_our_text(part) {
            self.filters.push(part.clone());
        }
        if part.get("cds_config").is_some() || part.get("ads_config").is_some() {
            self.has_discovery = true;
        }
        for (key, inner) in part.entries() {
            if !is_left_out(part, key) {
                self.collect(&inner, listener);
            }
        }
    }

    pub(super) fn cluster(&self, name: &str) -> Option<&Part<'a>> {
        self.clusters
            .iter()
            .find(|cluster| cluster.text("name") == Some(name))
    }

    /// The route configuration of a manager: its own, or by name.
    pub(super) fn routes_of(&self, manager: &Manager<'a>) -> Option<Part<'a>> {
        if let Some(own) = manager.part.get("route_config") {
            return Some(own);
        }
        let name = manager.part.get("rds")?.text("route_config_name")?;
        let named = self
            .routes
            .iter()
            .find(|routes| routes.text("name") == Some(name));
        named.cloned()
    }
}

/// The filter's own configuration is judged by its own rules. A live configuration repeats what the
/// bootstrap had, and shows what is on its way out.
pub(super) fn is_left_out(part: &Part<'_>, key: &str) -> bool {
    key == "configuration"
        || is_key(key, "draining_state")
        || (part.is("BootstrapConfigDump") && key == "bootstrap")
}

/// A cluster has a name, and a way to its endpoints; a share of a weighted route has only the name.
pub(super) fn is_cluster(part: &Part<'_>) -> bool {
    let has = |key: &str| part.get(key).is_some();
    let is_one = [
        "load_assignment",
        "connect_timeout",
        "lb_policy",
        "cluster_type",
        "eds_cluster_config",
    ]
    .iter()
    .any(|key| has(key))
        || part.is("Cluster")
        || (part.text("type").is_some() && !has("typed_config") && !has("address"));
    is_one && part.text("name").is_some() && !has("filter_chains")
}

/// Whether it speaks of the filter.
pub(super) fn is_our_text(part: &Part<'_>) -> bool {
    let mut has_key = false;
    part.walk(&mut |inner| has_key = has_key || inner.get("outgoingAuth").is_some());
    has_key
        || part.any_text(&|text| {
            ["upstream_inject", "upstream-inject", "outgoingAuth"]
                .iter()
                .any(|mark| text.contains(mark))
        })
}

/// Whether an entry of a filter list is the filter. What is rendered has other filters whose names
/// begin with its own.
pub(super) fn is_ours(filter: &Part<'_>) -> bool {
    let is_named = filter
        .text("name")
        .is_some_and(|name| name.contains("upstream_inject") || name.contains("upstream-inject"));
    match filter.get("typed_config") {
        Some(typed) if typed.is("Wasm") || typed.is("TypedStruct") => {
            is_named || is_our_text(&typed)
        }
        Some(typed) => matched(&typed).map_or_else(
            || is_named && typed.text("@type").is_none(),
            |inner| is_ours(&inner),
        ),
        None => is_named,
    }
}

/// The filter that a matcher stands around.
pub(super) fn matched<'a>(typed: &Part<'a>) -> Option<Part<'a>> {
    typed
        .get("extension_config")
        .filter(|_| typed.is("ExtensionWithMatcher"))
}

/// A cluster's own filters.
pub(super) fn own_filters<'a>(cluster: &Part<'a>) -> Vec<Part<'a>> {
    let options = cluster.at(&[
        "typed_extension_protocol_options",
        "envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
    ]);
    options
        .map(|options| options.list("http_filters"))
        .unwrap_or_default()
}

/// One route, with the names that it can lead to.
pub(super) struct Route<'a> {
    pub(super) part: Part<'a>,
    pub(super) clusters: Vec<String>,
    pub(super) mirrors: Vec<String>,
    /// Whether the filter is switched off on it, by itself or by its virtual host.
    pub(super) is_off: bool,
}

/// The routes of a route configuration that lead to clusters.
pub(super) fn routes_in<'a>(configuration: &Part<'a>) -> Vec<Route<'a>> {
    let mut found = Vec::new();
    for host in configuration.list("virtual_hosts") {
        let is_host_off = is_switched_off(&host);
        for route in host.list("routes") {
            let Some(action) = route.get("route") else {
                continue;
            };
            let mut clusters: Vec<String> = Vec::new();
            clusters.extend(action.text("cluster").map(str::to_owned));
            for share in action
                .get("weighted_clusters")
                .map(|weighted| weighted.list("clusters"))
                .unwrap_or_default()
            {
                clusters.extend(share.text("name").map(str::to_owned));
            }
            let mirrors = action
                .list("request_mirror_policies")
                .iter()
                .filter_map(|mirror| mirror.text("cluster").map(str::to_owned))
                .collect();
            found.push(Route {
                is_off: is_host_off || is_switched_off(&route),
                part: route,
                clusters,
                mirrors,
            });
        }
    }
    found
}

/// Whether a route's path is one of the auth server's own: a login's, or a metadata document's.
pub(super) fn is_auth_servers(route: &Part<'_>) -> bool {
    let path = route.get("match").and_then(|matched| {
        ["prefix", "path", "path_separated_prefix"]
            .iter()
            .find_map(|key| matched.text(key))
    });
    path.is_some_and(|path| {
        path == "/oauth" || path.contains("/oauth/") || path.contains("/.well-known/")
    })
}

/// The clusters to which only the auth server's own paths lead.
pub(super) fn auth_server_clusters<'a>(view: &View<'a>) -> Vec<Part<'a>> {
    let routes: Vec<Route<'a>> = view.routes.iter().flat_map(routes_in).collect();
    let leads = |route: &&Route<'a>, name: &str| route.clusters.iter().any(|to| to == name);
    view.clusters
        .iter()
        .filter(|cluster| {
            let name = cluster.text("name").unwrap_or_default();
            let mut to_it = routes.iter().filter(|route| leads(route, name)).peekable();
            to_it.peek().is_some() && to_it.all(|route| is_auth_servers(&route.part))
        })
        .cloned()
        .collect()
}

/// `FilterConfig {disabled: true}` under the filter's name.
fn is_switched_off(part: &Part<'_>) -> bool {
    let Some(settings) = part.get("typed_per_filter_config") else {
        return false;
    };
    settings
        .entries()
        .iter()
        .any(|(name, setting)| name.contains("upstream_inject") && setting.is_on("disabled"))
}
