//! What a vMCP file, or its auth server's part, says of those who call.

use document::{get, get_text, items};
use std::collections::BTreeMap;
use upstream_inject::config::{Node, Path};

fn run_config(root: &Node) -> Option<&Node> {
    get(root, "authServer").and_then(|server| get(server, "runConfig"))
}

fn oidc(root: &Node) -> Option<&Node> {
    get(root, "incomingAuth").and_then(|incoming| get(incoming, "oidc"))
}

/// The embedded auth server's, or in a vMCP file that of the one that clients log in at.
pub(super) fn issuer(root: &Node) -> Option<String> {
    let of_auth_server = run_config(root).and_then(|node| get_text(node, "issuer"));
    let of_incoming = oidc(root).and_then(|node| get_text(node, "issuer"));
    of_auth_server
        .or(of_incoming)
        .filter(|issuer| !issuer.is_empty())
        .map(str::to_owned)
}

/// What tokens are issued for: whatever the auth server allows, and vMCP's own audience.
pub(super) fn audiences(root: &Node) -> Vec<String> {
    let allowed = run_config(root)
        .and_then(|run_config| {
            get(run_config, "allowed_audiences").or_else(|| get(run_config, "allowedAudiences"))
        })
        .map(items)
        .unwrap_or_default()
        .iter()
        .filter_map(|item| match item {
            Node::String(text) => Some(text.as_str()),
            _ => None,
        });
    let own = oidc(root).and_then(|oidc| get_text(oidc, "audience"));
    let mut audiences: Vec<String> = Vec::new();
    for audience in allowed.chain(own) {
        if !audience.is_empty() && !audiences.iter().any(|known| known == audience) {
            audiences.push(audience.to_owned());
        }
    }
    audiences
}

/// Where it says that its backends are.
pub(super) fn urls(root: &Node) -> Vec<(String, String)> {
    get(root, "backends")
        .map(items)
        .unwrap_or_default()
        .iter()
        .filter_map(|backend| {
            let name = get_text(backend, "name")?;
            Some((name.to_owned(), get_text(backend, "url")?.to_owned()))
        })
        .collect()
}

/// Where in the file each of them stands.
pub(super) fn url_paths(root: &Node) -> BTreeMap<String, Path> {
    let mut paths = BTreeMap::new();
    let list = get(root, "backends").map(items).unwrap_or_default();
    for (index, backend) in list.iter().enumerate() {
        if let (Some(name), Some(_)) = (get_text(backend, "name"), get_text(backend, "url")) {
            let path = Path::root().key("backends").index(index).key("url");
            paths.entry(name.to_owned()).or_insert(path);
        }
    }
    paths
}

/// Where the issuer's keys are.
pub(super) fn keys_url(root: &Node) -> Option<String> {
    text(root, "jwksUrl")
}

/// The URL under which clients reach vMCP, whose place the gateway takes.
pub(super) fn resource(root: &Node) -> Option<String> {
    text(root, "resource")
}

/// The scopes that clients ask for, as a challenge names them.
pub(super) fn scope(root: &Node) -> Option<String> {
    let scopes = scopes_in(oidc(root).and_then(|oidc| get(oidc, "scopes")));
    (!scopes.is_empty()).then(|| scopes.join(" "))
}

/// The scopes that the embedded auth server offers: what it says, else what ToolHive's offers by
/// itself. A client that does not ask for `offline_access` gets no refresh token there, and asks for
/// what a metadata document names. Nothing, if the file has no auth server.
pub(super) fn scopes_offered(root: &Node) -> Vec<String> {
    const TOOLHIVES: [&str; 4] = ["openid", "profile", "email", "offline_access"];
    let Some(run_config) = run_config(root) else {
        return Vec::new();
    };
    let offered = scopes_in(
        get(run_config, "scopes_supported").or_else(|| get(run_config, "scopesSupported")),
    );
    if offered.is_empty() {
        TOOLHIVES.map(str::to_owned).to_vec()
    } else {
        offered.into_iter().map(str::to_owned).collect()
    }
}

fn scopes_in(list: Option<&Node>) -> Vec<&str> {
    list.map(items)
        .unwrap_or_default()
        .iter()
        .filter_map(|item| match item {
            Node::String(scope) if is_scope(scope) => Some(scope.as_str()),
            _ => None,
        })
        .collect()
}

/// A scope-token of RFC 6749, section 3.3.
fn is_scope(scope: &str) -> bool {
    !scope.is_empty()
        && scope
            .bytes()
            .all(|byte| byte.is_ascii_graphic() && byte != b'"' && byte != b'\\')
}

/// What vMCP does with its callers and this does not.
pub(super) fn notes(root: &Node) -> Vec<String> {
    let mut notes = Vec::new();
    if text(root, "caBundlePath").is_some() {
        notes.push(
            "incomingAuth.oidc.caBundlePath is not taken over: give the authorities that Envoy \
             trusts by --ca-file"
                .to_owned(),
        );
    }
    if text(root, "introspectionUrl").is_some() {
        notes.push(
            "incomingAuth.oidc.introspectionUrl is not taken over: Envoy checks JWTs by their \
             signature, and no opaque tokens"
                .to_owned(),
        );
    }
    notes
}

fn text(root: &Node, key: &str) -> Option<String> {
    oidc(root)
        .and_then(|oidc| get_text(oidc, key))
        .filter(|text| !text.is_empty())
        .map(str::to_owned)
}
