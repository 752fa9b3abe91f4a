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
