//! What is legal but unwise.

use super::placeholders;
use super::said::Notes;
use super::vendors;
use crate::codes;
use crate::endpoint::Endpoint;
use crate::keys::{self, Of};
use crate::secret_names::is_secret;
use document::{entries, get, get_text, items};
use std::collections::{BTreeSet, HashMap};
use upstream_inject::config::doc::Role;
use upstream_inject::config::{Node, Path};
use upstream_inject::observe::counters::stat_name;

/// Everything worth a warning in the filter's part of a configuration.
pub(super) fn on(root: &Node, notes: &mut Notes) {
    let strategies: Vec<_> = strategies(root).collect();
    for (path, strategy) in &strategies {
        on_calls(Of::Strategy, path, strategy, notes);
        on_header(path, strategy, notes);
        placeholders::on_scheme(path, strategy, notes);
        vendors::on(path, strategy, notes);
    }
    if let Some(identity) = get(root, "identity") {
        on_calls(Of::Identity, &Path::root().key("identity"), identity, notes);
    }
    on_unused_upstreams(root, &strategies, notes);
    on_shared_stat_names(root, notes);
    placeholders::on(root, notes);
}

/// The default strategy and those of the backends, each with its path.
pub(super) fn strategies(root: &Node) -> impl Iterator<Item = (Path, &Node)> {
    let path = Path::root().key("outgoingAuth");
    let outgoing = get(root, "outgoingAuth");
    let default = outgoing
        .and_then(|outgoing| get(outgoing, "default"))
        .map(|strategy| (path.key("default"), strategy));
    let path = path.key("backends");
    let backends = outgoing
        .and_then(|outgoing| get(outgoing, "backends"))
        .map(entries)
        .unwrap_or_default();
    default.into_iter().chain(
        backends
            .iter()
            .map(move |(name, strategy)| (path.key(name), strategy)),
    )
}

/// Whoever calls a token endpoint, and with which secrets.
fn on_calls(of: Of, path: &Path, node: &Node, notes: &mut Notes) {
    on_secrets(of, path, node, notes);
    on_named_secrets(of, path, node, notes);
    on_unsigned(of, path, node, notes);
    on_variables(of, path, node, notes);
    on_token_url(of, path, node, notes);
}

fn on_secrets(of: Of, path: &Path, strategy: &Node, notes: &mut Notes) {
    for (block, key, variable) in keys::secrets(of) {
        if get(strategy, block).is_some_and(|block| get(block, key).is_some()) {
            let text = format!("a secret in plain text; {variable} takes it from the environment");
            notes.warn(&codes::PLAIN_SECRET, path.key(block).key(key), text);
        }
    }
}

/// What is a secret by its name, where there is no variable for it.
fn on_named_secrets(of: Of, path: &Path, strategy: &Node, notes: &mut Notes) {
    let text = "a secret by its name, in plain text, and so it stands in what `render` writes: a client's own \
                belongs into clientSecretEnv; else keep both files as one keeps a secret";
    for (block, key) in keys::parameters(of) {
        let parameters = get(strategy, block).and_then(|block| get(block, key));
        for (name, _) in parameters.map(entries).unwrap_or_default() {
            if is_secret(name) {
                let path = path.key(block).key(key).key(name);
                notes.warn(&codes::PLAIN_SECRET, path, text);
            }
        }
    }
    for (block, key, _) in keys::token_endpoints(of) {
        let url = get(strategy, block).and_then(|block| get_text(block, key));
        let query = url
            .and_then(|url| url.split_once('?'))
            .map(|(_, query)| query);
        let mut names = query
            .unwrap_or_default()
            .split('&')
            .filter_map(|pair| pair.split_once('='));
        if names.any(|(name, _)| is_secret(name)) {
            let text = format!("in its query {text}");
            notes.warn(&codes::PLAIN_SECRET, path.key(block).key(key), text);
        }
    }
}

/// What belongs to a signature of the client, and no key to sign with.
fn on_unsigned(of: Of, path: &Path, strategy: &Node, notes: &mut Notes) {
    for (block, key, role) in keys::variables(of) {
        if role == Role::KeyVariable
            && let Some(settings) = get(strategy, block)
        {
            on_unsigned_by(key, settings, &path.key(block), notes);
        }
    }
}

fn on_unsigned_by(key: &str, settings: &Node, path: &Path, notes: &mut Notes) {
    let has = |key: &str| get_text(settings, key).is_some_and(|text| !text.is_empty());
    let Some(client) = key.strip_suffix("KeyEnv").filter(|_| !has(key)) else {
        return;
    };
    // Without a key that is an error.
    if get_text(settings, &format!("{client}AuthMethod")) == Some("private_key_jwt") {
        return;
    }
    for of_key in ["KeyId", "CertificateEnv", "AssertionAudience"] {
        let of_key = format!("{client}{of_key}");
        if has(&of_key) {
            let text = format!(
                "belongs to a signed assertion, and without {key} nothing is signed: name the variable that \
                 holds the key in {key}, or leave this out"
            );
            notes.warn(&codes::CLIENT, path.key(&of_key), text);
        }
    }
}

fn on_variables(of: Of, path: &Path, strategy: &Node, notes: &mut Notes) {
    for (block, key, _) in keys::variables(of) {
        let name = get(strategy, block).and_then(|block| get_text(block, key));
        if name.is_some_and(|name| !name.is_empty() && !is_variable_name(name)) {
            let text = "no shell and no Kubernetes container can set a variable of this name; use \
                        letters, digits and _, not beginning with a digit";
            notes.warn(&codes::VARIABLE_NAME, path.key(block).key(key), text);
        }
    }
}

/// Whether `name` is what POSIX and Kubernetes both call an environment variable.
pub(crate) fn is_variable_name(name: &str) -> bool {
    !name.starts_with(|first: char| first.is_ascii_digit())
        && !name.is_empty()
        && name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

fn on_token_url(of: Of, path: &Path, strategy: &Node, notes: &mut Notes) {
    for (block, url, (_, insecure)) in keys::token_endpoints(of) {
        let Some(exchange) = get(strategy, block) else {
            continue;
        };
        if get(exchange, insecure) == Some(&Node::Bool(true)) {
            let called = get_text(exchange, url);
            let is_http = called
                .and_then(|url| url.get(..5))
                .is_some_and(|scheme| scheme.eq_ignore_ascii_case("http:"));
            // `render` writes the switch itself for an identity service in the cluster.
            let is_in_cluster = called
                .and_then(|url| Endpoint::of_called(url).ok())
                .is_some_and(|endpoint| endpoint.is_in_cluster());
            if of == Of::Identity && is_http && is_in_cluster {
                continue;
            }
            let text = if is_http {
                "users' tokens and the client secret travel unencrypted".to_owned()
            } else {
                format!("allows what {url} does not do; leave it out")
            };
            notes.warn(
                &codes::INSECURE_TOKEN_URL,
                path.key(block).key(insecure),
                text,
            );
        }
    }
}

/// Before the router, Envoy routes a request anew when the filter has changed a header. Where the filter
/// stands, and whether a route matches on a header, is not in this file; that one matches on a header made for credentials is unlikely.
fn on_header(path: &Path, strategy: &Node, notes: &mut Notes) {
    for (block, key) in keys::headers() {
        let name = get(strategy, block).and_then(|block| get_text(block, key));
        if name.is_some_and(|name| !name.is_empty() && !is_made_for_credentials(name)) {
            // The name is not repeated: where it and the value are swapped, it is the secret.
            let text = "where the filter stands before the router (downstream), and a route matches on this \
                        header, the request is routed anew after the filter has set it, and the credential \
                        goes to another backend; in the router nothing is routed anew";
            notes.note(&codes::ROUTED_HEADER, path.key(block).key(key), text);
        }
    }
}

fn is_made_for_credentials(header: &str) -> bool {
    let header = header.to_ascii_lowercase();
    [
        "auth",
        "key",
        "token",
        "secret",
        "credential",
        "password",
        "signature",
    ]
    .iter()
    .any(|word| header.contains(word))
}

fn on_unused_upstreams(root: &Node, strategies: &[(Path, &Node)], notes: &mut Notes) {
    let used: BTreeSet<&str> = strategies
        .iter()
        .flat_map(|(_, strategy)| providers(strategy))
        .collect();
    let Some(upstreams) = get(root, "authServer")
        .and_then(|server| get(server, "runConfig"))
        .and_then(|run_config| get(run_config, "upstreams"))
    else {
        return;
    };
    let path = Path::root()
        .key("authServer")
        .key("runConfig")
        .key("upstreams");
    // The first one says who the user is, whether or not its tokens are used.
    for (index, upstream) in items(upstreams).iter().enumerate().skip(1) {
        let name = upstream_name(upstream);
        if !used.contains(name) {
            let text = format!(
                "no backend uses the provider {}: every user logs in there for nothing",
                serde_json::Value::from(name)
            );
            notes.warn(&codes::UNUSED_UPSTREAM, path.index(index), text);
        }
    }
}

/// An upstream without a name, or with an empty one, is called `default`.
pub(crate) fn upstream_name(upstream: &Node) -> &str {
    get_text(upstream, "name")
        .filter(|name| !name.is_empty())
        .unwrap_or("default")
}

/// The providers whose tokens a strategy needs.
pub(crate) fn providers(strategy: &Node) -> impl Iterator<Item = &str> {
    keys::providers()
        .filter_map(|(block, key)| get_text(get(strategy, block)?, key))
        .filter(|name| !name.is_empty())
}

fn on_shared_stat_names(root: &Node, notes: &mut Notes) {
    let Some(backends) = get(root, "outgoingAuth").and_then(|outgoing| get(outgoing, "backends"))
    else {
        return;
    };
    let path = Path::root().key("outgoingAuth").key("backends");
    let mut first_of: HashMap<String, &str> = HashMap::new();
    for (name, _) in entries(backends) {
        let first = *first_of.entry(stat_name(name)).or_insert(name);
        if first != name {
            let text = format!(
                "shares its stats, as {}, with the backend {}",
                stat_name(name),
                serde_json::Value::from(first)
            );
            notes.warn(&codes::SHARED_STATS, path.key(name), text);
        }
    }
}
