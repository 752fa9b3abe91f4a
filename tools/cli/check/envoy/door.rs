//! The door: who keeps the client's token for the filter, and that the routes take it off.

use super::filter::Known;
use super::hazards::TOKEN_OBJECT;
use super::part::Part;
use super::placement::Placement;
use super::routes::Route;
use super::view::Manager;
use crate::check::said::{Notes, quoted};
use crate::codes;
use upstream_inject::config::Node;

const AUTHORIZATION: &str = "authorization";

/// Where a strategy needs the client's token, somebody must keep it before the door takes it off.
pub(super) fn on_token(
    manager: &Manager<'_>,
    placement: Placement,
    known: &Known,
    notes: &mut Notes,
) {
    if !known.needs_token || placement == Placement::Nowhere {
        return;
    }
    let path = manager.part.path_of("http_filters");
    if !known.from_filter_state {
        if placement != Placement::Downstream {
            let text = "a strategy needs the client's token, and behind the door the filter refuses to take \
                        it from the header: write identity.tokenFrom: filter_state, and keep the token \
                        with set_filter_state";
            notes.error(&codes::TOKEN_FROM, path, text);
        }
        return;
    }
    let keeps = |filter: &Part<'_>| filter.any_text(&|text| text == TOKEN_OBJECT);
    let filters = manager.part.list("http_filters");
    if let Some(keeper) = filters.iter().position(keeps) {
        on_taken(filters.get(..keeper).unwrap_or_default(), notes);
    } else {
        let text = "a strategy needs the client's token from the filter state, and nobody keeps it there: \
                    put envoy.filters.http.set_filter_state with the object \
                    upstream_inject.identity_token after jwt_authn";
        notes.error(&codes::TOKEN_FROM, path, text);
    }
}

/// Filters that take the client's token off before somebody keeps it.
fn on_taken(before: &[Part<'_>], notes: &mut Notes) {
    let checks = before
        .iter()
        .filter_map(|filter| filter.get("typed_config"));
    for checks in checks.filter(|typed| typed.is("JwtAuthentication")) {
        let Some(providers) = checks.get("providers") else {
            continue;
        };
        for (_, provider) in providers.entries() {
            if !provider.is_on("forward") {
                let text = "without forward: true jwt_authn takes the token off before \
                            set_filter_state can keep it: each request that needs it is refused";
                notes.error(&codes::TOKEN_FROM, provider.path_of("forward"), text);
            }
        }
    }
}

/// What the routes take off, for every cluster.
pub(super) fn on(
    routes: &Part<'_>,
    all: &[Route<'_>],
    placement: Placement,
    known: &Known,
    manager: &Manager<'_>,
    notes: &mut Notes,
) {
    let removed = removed_in(routes);
    let at = routes.path_of("request_headers_to_remove");
    let has = |name: &str| {
        removed
            .iter()
            .any(|removed| removed.eq_ignore_ascii_case(name))
    };
    if placement == Placement::Downstream {
        if has(AUTHORIZATION) {
            let text = "the filter stands before the router, which takes its credential off again: put \
                        the filter into the router, or take the door before the filter \
                        (header_mutation)";
            notes.error(&codes::ENVOY_DOOR, at, text);
        }
        return;
    }
    if !has(AUTHORIZATION) {
        let everywhere = !all.is_empty()
            && all.iter().all(|route| {
                removed_in(&route.part)
                    .iter()
                    .any(|removed| removed.eq_ignore_ascii_case(AUTHORIZATION))
            });
        if !everywhere {
            let text = format!(
                "the routes of listener {} do not take the client's token off: write \
                 request_headers_to_remove: [authorization]",
                quoted(&manager.listener)
            );
            notes.error(&codes::ENVOY_DOOR, at, text);
        }
        return;
    }
    for header in known.headers.iter().filter(|header| !has(header)) {
        let text = format!(
            "a strategy sets {header}, and the routes do not take it off: a later attempt or a \
             redirect would carry the key; add it to the list"
        );
        notes.warn(&codes::ENVOY_DOOR, at.clone(), text);
    }
}

fn removed_in(part: &Part<'_>) -> Vec<String> {
    part.list("request_headers_to_remove")
        .iter()
        .filter_map(|item| match item.node {
            Node::String(name) => Some(name.clone()),
            _ => None,
        })
        .collect()
}
