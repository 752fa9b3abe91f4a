//! Where the filter stands.

use super::part::Part;
use super::view::{Manager, is_ours};

/// Where the filter stands in a manager.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Placement {
    /// In the router's list.
    Router,
    /// In the manager's own list, before the router.
    Downstream,
    /// In neither.
    Nowhere,
}

/// Where the filter stands in `manager`.
pub(super) fn placement(manager: &Manager<'_>) -> Placement {
    let filters = manager.part.list("http_filters");
    if filters.iter().any(is_ours) {
        return Placement::Downstream;
    }
    match router(&filters) {
        Some(router) if router.list("upstream_http_filters").iter().any(is_ours) => {
            Placement::Router
        }
        _ => Placement::Nowhere,
    }
}

/// The router's settings among `filters`.
pub(super) fn router<'a>(filters: &[Part<'a>]) -> Option<Part<'a>> {
    filters
        .iter()
        .filter_map(|filter| filter.get("typed_config"))
        .find(|typed| typed.is("Router"))
}
