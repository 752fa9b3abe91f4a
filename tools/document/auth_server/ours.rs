//! What of the documents around belongs to a vMCP or to the filter: told by what is in it.

use upstream_inject::config::Node;

use crate::kubernetes::is_kubernetes;
use crate::{entries, get, get_text, parse_file, words};

/// The file that vMCP reads beside its own, and the key of the operator's ConfigMap.
pub const SIBLING: &str = "authserver-config.yaml";
/// The other key of that ConfigMap.
pub(super) const VMCP_KEY: &str = "config.yaml";

/// A `RunConfig` by itself: keys that no other file has at its top.
#[must_use]
pub fn is_run_config(root: &Node) -> bool {
    let has = |key| get(root, key).is_some();
    !has("outgoingAuth")
        && !has("incomingAuth")
        && (has("upstreams") || has("issuer") || has("schema_version") || has("storage"))
}

/// Whether `root` is, by its own keys, a configuration of the filter or of vMCP, or an auth server's: so
/// that its neighbours in a folder are left alone, and one with a slip in its first key is not.
#[must_use]
pub fn is_ours(root: &Node) -> bool {
    let has = |key| get(root, key).is_some();
    let is_auth_server = is_run_config(root)
        && get(root, "upstreams").is_some_and(|list| matches!(list, Node::List(_)))
        && (has("issuer") || has("schema_version") || has("storage"));
    let has_outgoing = entries(root)
        .iter()
        .any(|(key, _)| words::meant(key, ["outgoingAuth"]).is_some());
    !is_kubernetes(root) && (has_outgoing || has("authServer") || is_auth_server)
}

/// Whether `root` is a ConfigMap.
#[must_use]
pub fn is_config_map(root: &Node) -> bool {
    get_text(root, "kind") == Some("ConfigMap")
}

/// Whether `root` is a ConfigMap with keys that are called like the files of a vMCP.
#[must_use]
pub fn is_vmcp_config_map(root: &Node) -> bool {
    let has = |key| get(root, "data").is_some_and(|data| get(data, key).is_some());
    is_config_map(root) && (has(VMCP_KEY) || has(SIBLING))
}

/// Everybody calls a key of a ConfigMap `config.yaml`: what stands there tells.
#[must_use]
pub fn is_our_config_map(root: &Node) -> bool {
    let is_in = |text: &str| match parse_file(text.as_bytes(), VMCP_KEY) {
        Ok(documents) => documents.iter().any(|document| is_ours(&document.root)),
        Err(_) => has_our_keys(text),
    };
    is_config_map(root) && (has_sibling(root) || data(root, VMCP_KEY).is_some_and(is_in))
}

/// Whether the ConfigMap `root` has the auth server's file.
#[must_use]
pub fn has_sibling(root: &Node) -> bool {
    data(root, SIBLING).is_some()
}

fn data<'a>(config_map: &'a Node, key: &str) -> Option<&'a str> {
    get(config_map, "data").and_then(|data| get_text(data, key))
}

/// Whether a text that is broken has keys that only these configurations have, or one of them at a line's
/// beginning that has lost its colon. One in UTF-16 has a zero beside each letter.
#[must_use]
pub fn has_our_keys(text: &str) -> bool {
    let text = text.replace('\0', "");
    let has = |key: &str| {
        text.split(key).skip(1).any(|rest| {
            rest.trim_start_matches(['\\', '"', '\'', ' '])
                .starts_with(':')
        })
    };
    ["outgoingAuth", "authServer", "upstreamInject", SIBLING]
        .iter()
        .any(|key| has(key))
        || (has("upstreams") && has("issuer"))
        || text.lines().any(begins_like_ours)
}

fn begins_like_ours(line: &str) -> bool {
    let line = line.trim_start_matches([' ', '\t', '"', '\'']);
    ["outgoingAuth", "authServer"].iter().any(|key| {
        line.strip_prefix(key).is_some_and(|rest| {
            !rest.starts_with(|next: char| next.is_alphanumeric() || "_-.".contains(next))
        })
    })
}
