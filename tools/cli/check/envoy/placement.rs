//! Where the filter stands.

use super::part::Part;
use super::routes::{Route, is_auth_servers};
use super::view::{Manager, View, is_ours, own_filters};
use crate::check::said::Notes;
use crate::codes;

/// Where the filter stands, for a manager's requests.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Placement {
    /// In the router's list.
    Router,
    /// In the list of each cluster that a route leads to, as far as routes name them.
    Clusters,
    /// In the manager's own list, before the router.
    Downstream,
    /// In none.
    Nowhere,
}

/// The filter's entries in a manager's lists.
pub(super) struct Entries<'a> {
    downstream: Option<Part<'a>>,
    router: Option<Part<'a>>,
}

impl<'a> Entries<'a> {
    pub(super) fn of(manager: &Manager<'a>) -> Self {
        let filters = manager.part.list("http_filters");
        let router = router(&filters).map(|router| router.list("upstream_http_filters"));
        Self {
            router: router.unwrap_or_default().into_iter().find(is_ours),
            downstream: filters.into_iter().find(is_ours),
        }
    }

    /// Those in the manager's own lists.
    pub(super) fn own(&self) -> impl Iterator<Item = &Part<'a>> {
        self.downstream.iter().chain(&self.router)
    }

    /// The one that requests to this cluster pass.
    pub(super) fn before(&self, cluster: &str, view: &View<'a>) -> Option<Part<'a>> {
        self.downstream.clone().or_else(|| {
            let own = view.cluster(cluster).map(own_filters).unwrap_or_default();
            match own.is_empty() {
                true => self.router.clone(),
                false => own.into_iter().find(is_ours),
            }
        })
    }

    /// Where the filter stands for these routes.
    pub(super) fn placement(&self, routes: &[&Route<'a>], view: &View<'a>) -> Placement {
        if self.downstream.is_some() {
            return Placement::Downstream;
        }
        if self.router.is_some() {
            return Placement::Router;
        }
        let is_backends = |route: &&&Route<'a>| !is_auth_servers(&route.part);
        let backends: Vec<_> = routes.iter().filter(is_backends).collect();
        let mut clusters = backends.iter().flat_map(|route| &route.clusters).peekable();
        let is_in_clusters = match clusters.peek() {
            Some(_) => clusters.all(|cluster| self.before(cluster, view).is_some()),
            // Requests say where they go.
            None => !backends.is_empty() && entries_in_clusters(view).next().is_some(),
        };
        match is_in_clusters {
            true => Placement::Clusters,
            false => Placement::Nowhere,
        }
    }
}

/// Whether the filter stands before a router, where Envoy may route anew after it.
pub(super) fn is_downstream(view: &View<'_>) -> bool {
    let mut managers = view.managers.iter();
    managers.any(|manager| Entries::of(manager).downstream.is_some())
}

fn entries_in_clusters<'a>(view: &View<'a>) -> impl Iterator<Item = Part<'a>> {
    let filters = view.clusters.iter().flat_map(own_filters);
    filters.filter(is_ours)
}

/// The filter's entries, wherever it stands, that say what it is or where that is said.
pub(super) fn entries_in<'a>(view: &View<'a>) -> Vec<Part<'a>> {
    let mut found = Vec::new();
    for manager in &view.managers {
        found.extend(Entries::of(manager).own().cloned());
    }
    found.extend(entries_in_clusters(view));
    let has = |entry: &Part<'a>, key| entry.get(key).is_some();
    found.retain(|entry| has(entry, "typed_config") || has(entry, "config_discovery"));
    found
}

/// The filter stands here, and what it is configured with is nowhere in the file.
pub(super) fn on_settings_elsewhere(view: &View<'_>, notes: &mut Notes) {
    for entry in entries_in(view) {
        if entry.get("config_discovery").is_some() {
            let text = "the filter's configuration comes by itself (ECDS) and is not in this file, so that \
                        nothing is said about it; `check` of a live /config_dump?include_eds sees it";
            let path = entry.path_of("config_discovery");
            notes.note(&codes::ENVOY_CONFIG, path, text);
        } else {
            let text = "the filter stands here, and its configuration is in no form that is read here, so \
                        that nothing is said about it: write it as a Wasm filter's";
            let path = entry.path_of("typed_config");
            notes.warn(&codes::ENVOY_CONFIG, path, text);
        }
    }
}

/// The router's settings among `filters`.
pub(super) fn router<'a>(filters: &[Part<'a>]) -> Option<Part<'a>> {
    filters
        .iter()
        .filter_map(|filter| filter.get("typed_config"))
        .find(|typed| typed.is("Router"))
}
