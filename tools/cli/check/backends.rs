//! The two lists of a vMCP file, where backends are and what they get, and the names in them.

use super::said::{Notes, quoted};
use crate::codes;
use crate::endpoint::{Endpoint, HAS_QUERY, NO_URL};
use document::{entries, get, get_text, items, words};
use std::collections::HashSet;
use upstream_inject::config::{Node, Path};

const MOST_COMPARISONS: usize = 100_000;

/// Compares `backends` with `outgoingAuth.backends`, where the file has both.
pub(super) fn on_lists(root: &Node, notes: &mut Notes) {
    let outgoing = get(root, "outgoingAuth");
    let strategies = outgoing.and_then(|outgoing| get(outgoing, "backends"));
    let strategies: HashSet<&str> = strategies
        .map(entries)
        .unwrap_or_default()
        .iter()
        .map(|(name, _)| name.as_str())
        .collect();
    let has_default = outgoing.is_some_and(|outgoing| get(outgoing, "default").is_some());
    let Some(list) = get(root, "backends") else {
        return;
    };
    let at = Path::root().key("backends");
    let mut listed: HashSet<&str> = HashSet::new();
    for (index, backend) in items(list).iter().enumerate() {
        let at = at.index(index);
        on_address(backend, &at, notes);
        let Some(name) = get_text(backend, "name") else {
            continue;
        };
        if !listed.insert(name) {
            let text = format!("{} is listed twice; which address counts?", quoted(name));
            notes.warn(&codes::BACKEND_LIST, at.key("name"), text);
        } else if !strategies.contains(name) && !has_default {
            let text = format!(
                "{} has no strategy, and there is no default: each request is refused with \
                 backend_not_configured, where vMCP goes on without a credential; write default: \
                 {{type: unauthenticated}} if that is meant",
                quoted(name)
            );
            notes.warn(&codes::BACKEND_LIST, at.key("name"), text);
        }
    }
    if listed.is_empty() {
        return;
    }
    let mut unlisted: Vec<&str> = strategies.difference(&listed).copied().collect();
    unlisted.sort_unstable();
    let unserved: Vec<&str> = listed
        .iter()
        .copied()
        .filter(|name| !strategies.contains(name))
        .collect();
    // A slip shows among a few names; among thousands, comparing all with all takes minutes.
    let is_few = unserved.len().saturating_mul(unlisted.len()) <= MOST_COMPARISONS;
    for name in unlisted {
        let candidates = unserved.iter().copied().filter(|_| is_few);
        let meant = words::meant(name, candidates)
            .map_or_else(String::new, |meant| format!("; did you mean {meant}?"));
        let text = format!("is not among the backends of this file{meant}");
        let path = Path::root().key("outgoingAuth").key("backends").key(name);
        notes.warn(&codes::BACKEND_LIST, path, text);
    }
}

fn on_address(backend: &Node, at: &Path, notes: &mut Notes) {
    let Some(url) = get_text(backend, "url") else {
        return;
    };
    let path = at.key("url");
    match Endpoint::of_url(url) {
        Ok(_) => {}
        Err(NO_URL) => {
            let text = "must be an absolute http or https URL with a host";
            notes.warn(&codes::BACKEND_URL, path, text);
        }
        // vMCP sends it; who can read the file, or an access log, has what is in it.
        Err(HAS_QUERY) => {
            let text = "its query is sent by vMCP, and by nothing here: write it without; a key that the \
                        backend wants goes into a header (header_injection)";
            notes.warn(&codes::BACKEND_URL, path, text);
        }
        Err(text) => notes.error(&codes::BACKEND_URL, path, text),
    }
}

/// Nothing is called what ends a line or moves a cursor; it would break out of what is made of it.
pub(super) fn on_names(root: &Node, notes: &mut Notes) {
    let backends = get(root, "outgoingAuth").and_then(|outgoing| get(outgoing, "backends"));
    let challenge = get(root, "challenge").and_then(|challenge| get(challenge, "backends"));
    let lists = [
        (Path::root().key("outgoingAuth").key("backends"), backends),
        (Path::root().key("challenge").key("backends"), challenge),
    ];
    for (at, list) in lists {
        for (name, _) in list.map(entries).unwrap_or_default() {
            if name.chars().any(crate::emit::is_deceptive) {
                let text = "a backend's name must not have control characters or line separators: \
                            nothing is called so";
                notes.error(&codes::BACKEND_NAME, at.key(name), text);
            } else if name.chars().count() > 253 {
                let text = "longer than 253 characters; no name of a service or a route is";
                notes.warn(&codes::BACKEND_NAME, at.key(name), text);
            }
        }
    }
}
