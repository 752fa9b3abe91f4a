//! The routes of a route configuration: where each leads, and for what of it the filter is switched off.

use super::part::Part;
use super::view::View;
use upstream_inject::config::Path;

/// One route, with the names that it can lead to.
pub(super) struct Route<'a> {
    pub(super) part: Part<'a>,
    /// The virtual host that it stands in.
    pub(super) host: Part<'a>,
    /// The clusters to which requests go through the filter, wherever that is.
    pub(super) clusters: Vec<String>,
    pub(super) mirrors: Vec<String>,
    /// The clusters for which the filter is switched off, and what does that.
    pub(super) off: Vec<(String, Path)>,
    /// Whether the filter is switched off for all that it leads to.
    pub(super) is_off: bool,
}

impl Route<'_> {
    fn leads_to(&self, name: &str) -> bool {
        let off = self.off.iter().map(|(to, _)| to);
        self.clusters.iter().chain(off).any(|to| to == name)
    }
}

/// The routes of `configuration` that lead to clusters. `filter` is the filter's own entry in the list
/// that requests to a cluster pass.
pub(super) fn routes_in<'a>(
    configuration: &Part<'a>,
    filter: &dyn Fn(&str) -> Option<Part<'a>>,
) -> Vec<Route<'a>> {
    let mut found = Vec::new();
    for host in configuration.list("virtual_hosts") {
        for route in host.list("routes") {
            let Some(action) = route.get("route") else {
                continue;
            };
            let outer = [route.clone(), host.clone(), configuration.clone()];
            let mut to = vec![(action.text("cluster"), outer.to_vec())];
            if let Some(weighted) = action.get("weighted_clusters") {
                let shares = weighted.list("clusters").into_iter();
                to = shares
                    .map(|share| (share.text("name"), [vec![share], outer.to_vec()].concat()))
                    .collect();
            }
            let (mut clusters, mut off, mut is_off) = (Vec::new(), Vec::new(), true);
            for (name, places) in to {
                let off_at = switched_off(filter(name.unwrap_or_default()), &places);
                is_off &= off_at.is_some();
                let Some(name) = name.map(str::to_owned) else {
                    continue; // a header says where
                };
                match off_at {
                    Some(path) => off.push((name, path)),
                    None => clusters.push(name),
                }
            }
            let mirrors = action
                .list("request_mirror_policies")
                .iter()
                .filter_map(|mirror| mirror.text("cluster").map(str::to_owned))
                .collect();
            found.push(Route {
                part: route,
                host: host.clone(),
                clusters,
                mirrors,
                off,
                is_off,
            });
        }
    }
    found
}

/// What switches the filter off: `FilterConfig {disabled: true}` under its name in the first of
/// `places` that names it, the most specific one; or its own entry, where none does.
fn switched_off(filter: Option<Part<'_>>, places: &[Part<'_>]) -> Option<Path> {
    let name = filter.as_ref().and_then(|filter| filter.text("name"));
    let name = name.unwrap_or("upstream_inject");
    for place in places {
        let Some(settings) = place.get("typed_per_filter_config") else {
            continue;
        };
        let entries = settings.entries();
        if let Some((_, setting)) = entries.iter().find(|(written, _)| *written == name) {
            return setting.is_on("disabled").then_some(settings.path);
        }
    }
    let filter = filter.filter(|filter| filter.is_on("disabled"))?;
    Some(filter.path_of("disabled"))
}

/// Whether a route's path is one of the auth server's own: a login's, or a metadata document's.
pub(super) fn is_auth_servers(route: &Part<'_>) -> bool {
    path_of(route).is_some_and(|path| {
        path == "/oauth" || path.contains("/oauth/") || path.contains("/.well-known/")
    })
}

/// What the proxies of Istio and Envoy Gateway tell of themselves, on listeners of their own: the cluster,
/// and the path that leads there.
const OF_THE_PROXY: [(&str, &str); 2] = [
    ("prometheus_stats", "/stats/prometheus"),
    ("agent", "/healthz/ready"),
];

/// Whether a route leads to what the proxy tells of itself.
pub(super) fn is_proxys(route: &Route<'_>) -> bool {
    let path = path_of(&route.part).unwrap_or_default();
    let is_one = |name: &String| OF_THE_PROXY.contains(&(name.as_str(), path));
    !route.clusters.is_empty() && route.clusters.iter().all(is_one)
}

fn path_of<'a>(route: &Part<'a>) -> Option<&'a str> {
    let matched = route.get("match")?;
    ["prefix", "path", "path_separated_prefix"]
        .iter()
        .find_map(|key| matched.text(key))
}

/// The clusters to which only the auth server's own paths lead.
pub(super) fn auth_server_clusters<'a>(view: &View<'a>) -> Vec<Part<'a>> {
    let whoever = |_: &str| None;
    let routes: Vec<Route<'a>> = view
        .routes
        .iter()
        .flat_map(|routes| routes_in(routes, &whoever))
        .collect();
    let leads = |route: &&Route<'a>, name: &str| route.leads_to(name);
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
