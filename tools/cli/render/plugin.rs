//! The filter's own configuration, as a gateway gives it: what the file says, and what follows from
//! where the filter stands.

use super::challenge::Challenge;
use super::gateway::Gateway;
use super::identity::Identity;
use super::setup::Setup;
use document::{entries, get};
use upstream_inject::config::Node;

/// With `identity.exchange` nobody reads these.
const KEYS_OF_METADATA: [&str; 3] = [
    "upstreamTokensKey",
    "upstreamIdTokensKey",
    "upstreamUnavailableKey",
];

/// The plugin configuration.
pub(super) fn complete(setup: &Setup, gateway: &Gateway) -> Node {
    let mut plugin = Vec::new();
    for (key, value) in entries(&setup.plugin) {
        match key.as_str() {
            "identity" | "challenge" => {}
            "authServer" => plugin.push((key.clone(), auth_server(value, setup.issuer.as_deref()))),
            _ => plugin.push((key.clone(), value.clone())),
        }
    }
    plugin.push(("identity".to_owned(), identity(setup, gateway)));
    plugin.push(("challenge".to_owned(), challenge(setup, gateway)));
    Node::Map(plugin)
}

/// With the issuer that `jwt_authn` is given: the filter compares.
fn auth_server(node: &Node, issuer: Option<&str>) -> Node {
    let mut run_config = get(node, "runConfig")
        .map(entries)
        .unwrap_or_default()
        .to_vec();
    if let Some(issuer) = issuer {
        run_config.retain(|(key, _)| key != "issuer");
        run_config.insert(0, text("issuer", issuer));
    }
    Node::Map(vec![("runConfig".to_owned(), Node::Map(run_config))])
}

fn identity(setup: &Setup, gateway: &Gateway) -> Node {
    let written = get(&setup.plugin, "identity")
        .map(entries)
        .unwrap_or_default();
    let is_exchange = matches!(gateway.identity, Identity::Exchange(_));
    let mut identity = Vec::new();
    if let Identity::Exchange(service) = &gateway.identity {
        identity.push(text("source", "exchange"));
        identity.push(("exchange".to_owned(), service.settings.clone()));
    }
    for (key, value) in written {
        let is_decided = ["source", "exchange", "tokenFrom"].contains(&key.as_str());
        let is_unread = is_exchange && KEYS_OF_METADATA.contains(&key.as_str());
        if !is_decided && !is_unread {
            identity.push((key.clone(), value.clone()));
        }
    }
    // The door leaves the TH-JWT nowhere else.
    identity.push(text("tokenFrom", "filter_state"));
    let is_said = identity.iter().any(|(key, _)| key == "required");
    if !is_said && !setup.has_auth_server() && gateway.authentication.is_some() {
        identity.push(("required".to_owned(), Node::Bool(true)));
    }
    Node::Map(identity)
}

/// The same URLs as in what the gateway says by itself: one backend, one URL.
fn challenge(setup: &Setup, gateway: &Gateway) -> Node {
    let written = get(&setup.plugin, "challenge");
    let mut challenge = parameters(&gateway.challenge, None);
    for (key, value) in written.map(entries).unwrap_or_default() {
        if key != "backends" && !challenge.iter().any(|(known, _)| known == key) {
            challenge.push((key.clone(), value.clone()));
        }
    }
    let of_file = written.and_then(|written| get(written, "backends"));
    let mut backends: Vec<(String, Node)> = Vec::new();
    for backend in &gateway.backends {
        let own = of_file.and_then(|backends| get(backends, &backend.name));
        let mut differs = parameters(&backend.challenge, Some(&gateway.challenge));
        for (key, value) in own.map(entries).unwrap_or_default() {
            if *value != Node::Null && !differs.iter().any(|(known, _)| known == key) {
                differs.push((key.clone(), value.clone()));
            }
        }
        if !differs.is_empty() {
            backends.push((backend.name.clone(), Node::Map(differs)));
        }
    }
    for (name, own) in of_file.map(entries).unwrap_or_default() {
        if *own != Node::Null && !gateway.backends.iter().any(|known| known.name == *name) {
            backends.push((name.clone(), own.clone()));
        }
    }
    if !backends.is_empty() {
        challenge.push(("backends".to_owned(), Node::Map(backends)));
    }
    Node::Map(challenge)
}

/// Those that are not as in `other`.
fn parameters(challenge: &Challenge, other: Option<&Challenge>) -> Vec<(String, Node)> {
    let of = |challenge: &Challenge| {
        [
            ("realm", challenge.realm.clone()),
            ("scope", challenge.scope.clone()),
            ("resourceMetadata", challenge.resource_metadata.clone()),
        ]
    };
    let other = other.map(of);
    of(challenge)
        .into_iter()
        .filter(|parameter| !other.iter().flatten().any(|same| same == parameter))
        .filter_map(|(key, value)| Some(text(key, &value?)))
        .collect()
}

fn text(key: &str, value: &str) -> (String, Node) {
    (key.to_owned(), Node::String(value.to_owned()))
}
