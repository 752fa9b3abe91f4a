//! Where the filter stands, and what goes by it.

use super::door;
use super::filter::{Known, milliseconds};
use super::hazards::FORWARD_PROXY;
use super::part::Part;
use super::placement::{Entries, Placement, router};
use super::routes::{Route, is_auth_servers, is_proxys, routes_in};
use super::view::{Manager, View, is_ours, matched, own_filters};
use crate::check::said::{Notes, Said, quoted};
use crate::codes;
use std::collections::BTreeSet;

/// Judges each connection manager with its routes and clusters.
///
/// `is_list` is whether routes may rightly be elsewhere: it is a list of some of the resources.
pub(super) fn on(view: &View<'_>, is_list: bool, known: &Known, notes: &mut Notes) {
    let has_routes = view
        .routes
        .iter()
        .any(|routes| !is_in_manager(routes, view));
    let mut routed: BTreeSet<String> = BTreeSet::new();
    for manager in &view.managers {
        let entries = Entries::of(manager);
        let Some(routes) = view.routes_of(manager) else {
            let is_expected = is_list && !has_routes;
            on_unknown_routes(manager, &entries, is_expected, notes);
            continue;
        };
        let all = routes_in(&routes, &|cluster| entries.before(cluster, view));
        let leading: Vec<&Route<'_>> = all.iter().filter(|route| !route.is_off).collect();
        for route in &all {
            on_switched_off(route, &routes, !leading.is_empty(), known, notes);
        }
        if leading.iter().all(|route| is_proxys(route)) {
            continue;
        }
        for route in &leading {
            routed.extend(route.clusters.iter().cloned());
        }
        let placement = entries.placement(&leading, view);
        on_placement(manager, placement, notes);
        on_entries(&entries, &leading, view, notes);
        door::on_token(manager, placement, known, notes);
        if placement != Placement::Nowhere {
            door::on(&routes, &all, placement, known, manager, notes);
        }
        for route in leading {
            on_clusters(route, placement, view, known, notes);
            on_chosen(route, placement, notes);
            on_timeouts(route, known, notes);
        }
        on_upgrades(manager, placement, notes);
    }
    on_endpoints(view, known, &routed, notes);
}

fn is_in_manager(routes: &Part<'_>, view: &View<'_>) -> bool {
    let mut managers = view.managers.iter();
    managers.any(|manager| routes.path.steps().starts_with(manager.part.path.steps()))
}

fn on_unknown_routes(
    manager: &Manager<'_>,
    entries: &Entries<'_>,
    is_expected: bool,
    notes: &mut Notes,
) {
    let rds = manager.part.get("rds");
    let name = rds.as_ref().and_then(|rds| rds.text("route_config_name"));
    let which = name.map(|name| format!(" {}", quoted(name)));
    let text = format!(
        "the routes{} are not in this file, so that nothing is said about them, and whether they take \
         the client's token off; `check` of a live /config_dump?include_eds sees them",
        which.unwrap_or_default()
    );
    let path = manager.part.path_of("rds");
    match is_expected {
        true => notes.note(&codes::ENVOY_CONFIG, path, text),
        false => notes.warn(&codes::ENVOY_CONFIG, path, text),
    }
    for entry in entries.own().filter(|entry| entry.is_on("disabled")) {
        let text = "the filter is off here: only requests of routes that switch it on pass it";
        notes.warn(&codes::ENVOY_OFF, entry.path_of("disabled"), text);
    }
}

/// The filter's entries, each of which the routes lead through.
fn on_entries(entries: &Entries<'_>, routes: &[&Route<'_>], view: &View<'_>, notes: &mut Notes) {
    let mut ours: Vec<Part<'_>> = entries.own().cloned().collect();
    let clusters = routes.iter().flat_map(|route| &route.clusters);
    ours.extend(clusters.filter_map(|cluster| entries.before(cluster, view)));
    ours.sort_by(|one, other| one.path.cmp(&other.path));
    ours.dedup_by(|one, other| one.path == other.path);
    for entry in ours {
        if let Some(typed) = entry.get("typed_config")
            && matched(&typed).is_some()
        {
            let text = "a matcher stands around the filter: what it does not match goes by, without a \
                        credential";
            notes.warn(&codes::ENVOY_GOES_BY, typed.path_of("xds_matcher"), text);
        }
        let name = entry.text("name").unwrap_or_default();
        if name.starts_with("envoy.filters.") {
            let text = "the filter's name is its type's: give it one of its own, upstream_inject, so that \
                        FilterConfig switches off this filter and no other";
            notes.warn(&codes::ENVOY_CONFIG, entry.path_of("name"), text);
        }
    }
}

fn on_placement(manager: &Manager<'_>, placement: Placement, notes: &mut Notes) {
    if placement == Placement::Nowhere {
        let text = format!(
            "the filter is not in the router of listener {}, whose routes lead to clusters: requests go \
             on with whatever is on them; put it into the router's upstream_http_filters",
            quoted(&manager.listener)
        );
        let filters = manager.part.get("http_filters");
        let path = filters.map_or_else(|| manager.part.path.clone(), |filters| filters.path);
        notes.error(&codes::ENVOY_NO_FILTER, path, text);
        return;
    }
    let list = manager.part.list("http_filters");
    for filter in &list {
        let typed = filter.get("typed_config");
        let is_a = |name: &str, kind: &str| {
            filter.text("name") == Some(name) || typed.as_ref().is_some_and(|typed| typed.is(kind))
        };
        if is_a("envoy.filters.http.cache", "CacheConfig")
            || is_a("envoy.filters.http.cache_v2", "CacheV2Config")
        {
            let text =
                "this filter sends requests on by itself, and no upstream filter runs for them";
            notes.warn(&codes::ENVOY_GOES_BY, filter.path_of("name"), text);
        }
        if is_a("envoy.filters.http.mcp_router", "McpRouter") {
            let text = "this filter ends the chain itself: what is on the request goes out; a \
                        header_mutation before it must take authorization off";
            notes.warn(&codes::ENVOY_DOOR, filter.path_of("name"), text);
        }
    }
}

fn on_clusters(
    route: &Route<'_>,
    placement: Placement,
    view: &View<'_>,
    known: &Known,
    notes: &mut Notes,
) {
    for name in route.clusters.iter().chain(&route.mirrors) {
        let own = view.cluster(name).map(own_filters).unwrap_or_default();
        let goes_by = placement == Placement::Router && !own.is_empty() && !own.iter().any(is_ours);
        // The auth server is no backend: it may have filters of its own, which the filter goes by.
        if is_auth_servers(&route.part) && (goes_by || !known.has_default) {
            if !goes_by && is_unlisted(name, known) {
                on_unlisted(name, route, notes);
            }
        } else if goes_by {
            let text = format!(
                "cluster {} has http_filters of its own, so that requests to it go by the filter: put \
                 it into that list too, or take the list out",
                quoted(name)
            );
            notes.error(&codes::ENVOY_GOES_BY, route.part.path_of("route"), text);
        } else if is_unlisted(name, known) && route.clusters.contains(name) {
            on_unlisted(name, route, notes);
        }
    }
}

/// In clusters the filter is only where a route names one of them.
fn on_chosen(route: &Route<'_>, placement: Placement, notes: &mut Notes) {
    let is_named = !route.clusters.is_empty() || is_auth_servers(&route.part);
    if placement == Placement::Clusters && !is_named {
        let text = "requests say to which cluster they go, and the filter stands in clusters: those to one \
                    without it go by it, without a credential";
        notes.warn(&codes::ENVOY_GOES_BY, route.part.path_of("route"), text);
    }
}

fn is_unlisted(name: &str, known: &Known) -> bool {
    known.by_cluster
        && !known.has_default
        && !known.backends.is_empty()
        && !known.backends.contains(name)
}

fn on_unlisted(name: &str, route: &Route<'_>, notes: &mut Notes) {
    let text = format!(
        "leads to cluster {}, for which no strategy is configured: each request gets 500 \
         backend_not_configured; list it, or switch the filter off here if it is no backend",
        quoted(name)
    );
    notes.warn(&codes::ENVOY_BACKEND, route.part.path_of("route"), text);
}

/// `is_on_elsewhere` is whether the filter is on for any of the routes.
fn on_switched_off(
    route: &Route<'_>,
    routes: &Part<'_>,
    is_on_elsewhere: bool,
    known: &Known,
    notes: &mut Notes,
) {
    for (name, path) in &route.off {
        if known.backends.contains(name) {
            let text = format!(
                "the filter is off here for requests to the backend {}: they get no credential",
                quoted(name)
            );
            notes.error(&codes::ENVOY_OFF, path.clone(), text);
            continue;
        }
        // Where backends have other names than clusters, or need none, any cluster can be one. Off for
        // all routes may be meant for those alone that do not switch it on; the auth server is told by
        // its paths.
        let is_within = |part: &Part<'_>| path.steps().starts_with(part.path.steps());
        let may_be_one = known.has_default || !known.by_cluster;
        let is_own = !is_within(routes);
        let is_meant = is_within(&route.host) || is_own && is_on_elsewhere;
        if may_be_one && !is_meant && !is_auth_servers(&route.part) {
            let text = format!(
                "the filter is off here for requests to cluster {}: if that is a backend, they get no \
                 credential",
                quoted(name)
            );
            notes.warn(&codes::ENVOY_OFF, path.clone(), text);
        }
    }
}

/// While the filter waits, the request counts as the backend's.
fn on_timeouts(route: &Route<'_>, known: &Known, notes: &mut Notes) {
    let waits = known
        .waits
        .iter()
        .filter(|(name, _)| route.clusters.contains(name))
        .map(|(_, wait)| *wait)
        .fold(0.0, f64::max);
    let Some(action) = route.part.get("route").filter(|_| waits > 0.0) else {
        return;
    };
    // A route's own takes the place of that of its virtual host, where `render` writes it.
    let retries = action
        .get("retry_policy")
        .or_else(|| route.host.get("retry_policy"));
    let settings = [
        (Some(action.clone()), "timeout", Some(15_000.0)),
        (retries.clone(), "per_try_timeout", None),
        (retries, "per_try_idle_timeout", None),
    ];
    for (part, key, usual) in settings {
        let Some(part) = part else { continue };
        let written = part.text(key).and_then(milliseconds);
        let Some(timeout) = written.or(usual).filter(|timeout| *timeout > 0.0) else {
            continue;
        };
        if timeout <= waits {
            let text = format!(
                "{key} of {timeout} ms is not longer than the exchange may take, {waits} ms: a slow STS \
                 counts as the backend's failure and ejects it; write more, or 0s"
            );
            let path = part.path_of(key);
            // One policy of a virtual host is that of many routes.
            let is_said = |said: &Said| said.problem.path == path && said.problem.text == text;
            if !notes.0.iter().any(is_said) {
                notes.warn(&codes::ENVOY_TIMEOUT, path, text);
            }
        }
    }
}

/// Another chain for upgraded requests needs the filter too.
fn on_upgrades(manager: &Manager<'_>, placement: Placement, notes: &mut Notes) {
    if matches!(placement, Placement::Nowhere | Placement::Clusters) {
        return;
    }
    for upgrade in manager.part.list("upgrade_configs") {
        let filters = upgrade.list("filters");
        let in_router = router(&filters)
            .is_some_and(|router| router.list("upstream_http_filters").iter().any(is_ours));
        if !filters.is_empty() && !filters.iter().any(is_ours) && !in_router {
            let text = "this upgrade has a chain of its own, and the filter is not in it";
            notes.error(&codes::ENVOY_NO_FILTER, upgrade.path_of("filters"), text);
        }
    }
}

fn on_endpoints(view: &View<'_>, known: &Known, routed: &BTreeSet<String>, notes: &mut Notes) {
    let has_clusters = !view.clusters.is_empty();
    for name in &known.endpoints {
        match view.cluster(name) {
            Some(cluster) if routed.contains(name) => {
                let text = format!(
                    "cluster {} is a backend and reaches a token endpoint: give the endpoint a cluster \
                     of its own",
                    quoted(name)
                );
                notes.warn(&codes::ENVOY_STS, cluster.path_of("name"), text);
            }
            Some(_) => {}
            None if has_clusters && !view.has_discovery => {
                let text = format!(
                    "no cluster is called {}, by which the filter reaches a token endpoint: every \
                     exchange is refused with 503",
                    quoted(name)
                );
                let path = view.filters.first().map(|filter| filter.path.clone());
                notes.error(&codes::ENVOY_STS_CLUSTER, path.unwrap_or_default(), text);
            }
            None => {}
        }
    }
    for cluster in &view.clusters {
        let Some(name) = cluster.text("name").filter(|name| routed.contains(*name)) else {
            continue;
        };
        let kind = cluster
            .get("cluster_type")
            .and_then(|kind| kind.text("name"));
        let by_header = cluster
            .get("original_dst_lb_config")
            .is_some_and(|settings| settings.is_on("use_http_header"));
        let by_type = cluster
            .at(&["cluster_type", "typed_config", "@type"])
            .is_some_and(|kind| kind.any_text(&|kind| kind.contains(FORWARD_PROXY)));
        if kind == Some("envoy.clusters.dynamic_forward_proxy") || by_type || by_header {
            let text = format!(
                "the client chooses where cluster {} leads, and so who gets the credential: name the \
                 backends",
                quoted(name)
            );
            notes.error(&codes::ENVOY_TARGET, cluster.path_of("name"), text);
        }
    }
}
