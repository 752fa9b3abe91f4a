//! The door: who keeps the client's token for the filter, and that the routes take it off.

use super::filter::{AUTHORIZATION, Known};
use super::hazards::TOKEN_OBJECT;
use super::part::Part;
use super::placement::Placement;
use super::routes::Route;
use super::view::{Manager, is_ours};
use crate::check::said::{Notes, quoted};
use crate::codes;
use upstream_inject::config::{Node, Path};

/// What a route, its virtual host and its configuration take off.
const REMOVED: &str = "request_headers_to_remove";

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

/// What is taken off requests, wherever they go.
pub(super) fn on(
    routes: &Part<'_>,
    all: &[Route<'_>],
    placement: Placement,
    known: &Known,
    manager: &Manager<'_>,
    notes: &mut Notes,
) {
    if placement == Placement::Downstream {
        let passing: Vec<&Route<'_>> = all.iter().filter(|route| !route.is_off).collect();
        on_taken_again(routes, &passing, known, notes);
        on_chain(manager, known, notes);
        return;
    }
    let at = routes.path_of(REMOVED);
    let has = |name: &str| {
        let by_each = |route: &Route<'_>| removes(&route.part, name) || removes(&route.host, name);
        removes(routes, name) || !all.is_empty() && all.iter().all(by_each)
    };
    if !has(AUTHORIZATION) {
        let text = format!(
            "the routes of listener {} do not take the client's token off: write \
             request_headers_to_remove: [authorization]",
            quoted(&manager.listener)
        );
        notes.error(&codes::ENVOY_DOOR, at, text);
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

/// In the manager's list the filter comes before the router. `passing` are the routes for which it is on.
fn on_taken_again(routes: &Part<'_>, passing: &[&Route<'_>], known: &Known, notes: &mut Notes) {
    let mut places: Vec<&Part<'_>> = vec![routes];
    for route in passing {
        places.extend([&route.host, &route.part]);
    }
    places.sort_by(|one, other| one.path.cmp(&other.path));
    places.dedup_by(|one, other| one.path == other.path);
    for place in places {
        let others = known.headers.iter().map(String::as_str);
        let mut is_sure: Option<bool> = None;
        for name in std::iter::once(AUTHORIZATION).chain(others) {
            if !removes(place, name) {
                continue;
            }
            for route in passing {
                if route.part.path.steps().starts_with(place.path.steps()) {
                    is_sure = is_sure.max(known.sets(name, &route.clusters));
                }
            }
        }
        let path = place.path_of(REMOVED);
        match is_sure {
            Some(true) => {
                let text = "the filter stands before the router, which takes its credential off again: \
                            put the filter into the router, or take the door before the filter \
                            (header_mutation)";
                notes.error(&codes::ENVOY_DOOR, path, text);
            }
            Some(false) => {
                let text = "the filter stands before the router, which takes this off behind it: where a \
                            strategy sets it, the backend gets no credential; take the door before the \
                            filter (header_mutation)";
                notes.warn(&codes::ENVOY_DOOR, path, text);
            }
            None => {}
        }
    }
}

/// The door of the manager's list: right before the filter, behind all that read the token.
fn on_chain(manager: &Manager<'_>, known: &Known, notes: &mut Notes) {
    let filters = manager.part.list("http_filters");
    let ours = filters.iter().position(is_ours).unwrap_or(filters.len());
    let reads = |filter: &Part<'_>| {
        let typed = filter.get("typed_config");
        keeps(filter)
            || typed.is_some_and(|typed| typed.is("JwtAuthentication") || typed.is("ExtAuthz"))
    };
    let before = filters.get(..ours).unwrap_or_default();
    let door = before
        .iter()
        .rposition(reads)
        .map_or(0, |last| last.saturating_add(1));
    let has = |name: &str| {
        let mut door = before.get(door..).unwrap_or_default().iter();
        door.any(|filter| takes_off(filter, name))
    };
    let path = manager.part.path_of("http_filters");
    if !has(AUTHORIZATION) {
        on_no_door(before, path, notes);
        return;
    }
    for header in known.headers.iter().filter(|header| !has(header)) {
        let text = format!(
            "a strategy sets {header}, and the header_mutation before the filter does not take off what \
             clients send in it: add it"
        );
        notes.warn(&codes::ENVOY_DOOR, path.clone(), text);
    }
}

/// Right before the filter nothing takes the client's token off.
fn on_no_door(before: &[Part<'_>], path: Path, notes: &mut Notes) {
    let takes_it_off = |filter: &&Part<'_>| takes_off(filter, AUTHORIZATION);
    if let Some(early) = before.iter().rfind(takes_it_off) {
        let text = "takes the client's token off too early: a filter behind it reads the token, or may put \
                    it on again; move it right before the filter";
        notes.warn(&codes::ENVOY_DOOR, early.path.clone(), text);
    } else if before.iter().any(takes_what_it_checks) {
        let text = "only jwt_authn takes the client's token off, and only where it checks one: wherever \
                    the filter is switched off, what nobody has checked goes on; put \
                    envoy.filters.http.header_mutation with request_mutations: [{remove: authorization}] \
                    right before the filter";
        notes.warn(&codes::ENVOY_DOOR, path, text);
    } else {
        let text = "nothing takes the client's token off before the filter: wherever that is switched off \
                    the token goes on; put envoy.filters.http.header_mutation with request_mutations: \
                    [{remove: authorization}] right before the filter";
        notes.error(&codes::ENVOY_DOOR, path, text);
    }
}

/// Whether a filter is a `jwt_authn` that takes each token off that it has found good.
fn takes_what_it_checks(filter: &Part<'_>) -> bool {
    let typed = filter
        .get("typed_config")
        .filter(|typed| typed.is("JwtAuthentication") && !filter.is_on("disabled"));
    let providers = typed.and_then(|typed| typed.get("providers"));
    let providers = providers.map(|providers| providers.entries());
    let providers = providers.unwrap_or_default();
    let is_taken = |provider: &Part<'_>| !provider.is_on("forward") && is_of_header(provider);
    !providers.is_empty() && providers.iter().all(|(_, provider)| is_taken(provider))
}

/// Whether a provider of `jwt_authn` looks for tokens in `authorization`, as it does unless told otherwise.
fn is_of_header(provider: &Part<'_>) -> bool {
    let headers = provider.list("from_headers");
    let is_told = ["from_headers", "from_params", "from_cookies"]
        .iter()
        .any(|key| !provider.list(key).is_empty());
    !is_told
        || headers
            .iter()
            .filter_map(|header| header.text("name"))
            .any(|name| name.eq_ignore_ascii_case(AUTHORIZATION))
}

/// Whether a filter is a `header_mutation` that takes this header off every request.
fn takes_off(filter: &Part<'_>, name: &str) -> bool {
    let typed = filter
        .get("typed_config")
        .filter(|typed| typed.is("HeaderMutation") && !filter.is_on("disabled"));
    let mutations = typed.and_then(|typed| typed.get("mutations"));
    mutations.is_some_and(|mutations| {
        let all = mutations.list("request_mutations");
        all.iter()
            .filter_map(|mutation| mutation.text("remove"))
            .any(|removed| removed.eq_ignore_ascii_case(name))
    })
}

fn removes(part: &Part<'_>, name: &str) -> bool {
    part.list(REMOVED).iter().any(
        |item| matches!(item.node, Node::String(removed) if removed.eq_ignore_ascii_case(name)),
    )
}

/// Whether a filter keeps the client's token for ours.
fn keeps(filter: &Part<'_>) -> bool {
    filter.any_text(&|text| text == TOKEN_OBJECT)
}
