//! Where the filter stands.

use super::part::Part;
use super::routes::{Route, is_auth_servers};
use super::view::{Manager, View, is_ours, own_filters};

/// Where the filter stands, for a manager's requests.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Placement {
    /// In the router's list.
    Router,
    /// In the list of each cluster that a route leads to.
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
        let backends = routes.iter().filter(|route| !is_auth_servers(&route.part));
        let mut clusters = backends.flat_map(|route| &route.clusters).peekable();
        let is_in_each = clusters.peek().is_some()
            && clusters.all(|cluster| self.before(cluster, view).is_some());
        match is_in_each {
            true => Placement::Clusters,
            false => Placement::Nowhere,
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
