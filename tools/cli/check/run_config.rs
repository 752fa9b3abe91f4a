//! ToolHive's auth server: what is wrong with its configuration shows only after a whole login, so it
//! is said here. The reading is the one that the identity service starts with.

use super::placeholders::placeholder;
use super::said::{Notes, quoted};
use crate::codes;
use crate::report::Severity;
use document::auth_server::{self, RunConfig, Storage};
use document::configuration::{Configuration, Form};
use document::{get, get_text, items};
use upstream_inject::config::{Node, Path};

/// Judges the auth server of `configuration`, if there is one.
pub(super) fn on(configuration: &Configuration, notes: &mut Notes) {
    let Some(run_config) = configuration.run_config() else {
        return;
    };
    let at = Path::root().key("authServer").key("runConfig");
    let is_toolhive = configuration.form == Form::ToolHive;
    on_issuer(run_config, &at, is_toolhive, notes);
    on_redirects(run_config, &at, is_toolhive, notes);
    let root = &configuration.document.root;
    on_resources(root, run_config, &at, notes);
    on_clients(root, run_config, notes);
    // Our own form may hold what the filter reads and no more; with a store in it, it is for the
    // identity service too.
    if !is_toolhive && get(run_config, "storage").is_none() {
        return;
    }
    for warning in auth_server::unknown_keys(run_config, &at) {
        notes.warn(&codes::AUTH_SERVER_KEY, warning.path, warning.text);
    }
    on_keys(run_config, &at, notes);
    match auth_server::read(run_config, &at) {
        (Ok(read), warnings) => {
            on_storage(root, &read, notes);
            for warning in warnings {
                let is_known = warning.path == at.key("issuer")
                    || notes.0.iter().any(|said| said.problem.path == warning.path);
                if !is_known {
                    notes.warn(&codes::STORAGE, warning.path, warning.text);
                }
            }
        }
        (Err(problems), _) => {
            for problem in problems {
                if !notes.is_wrong(&problem.path) {
                    notes.problem(Severity::Error, problem);
                }
            }
        }
    }
}

fn on_issuer(run_config: &Node, at: &Path, is_toolhive: bool, notes: &mut Notes) {
    let Some(issuer) = get_text(run_config, "issuer").filter(|issuer| !issuer.is_empty()) else {
        return;
    };
    let at = at.key("issuer");
    if let Some(wrong) = wrong_issuer(issuer) {
        // The filter compares it with what tokens say, whatever it is.
        return match is_toolhive {
            true => notes.error(&codes::ISSUER, at, wrong),
            false => notes.warn(&codes::ISSUER, at, wrong),
        };
    }
    if issuer.ends_with('/') {
        let text = format!(
            "ends in a slash, which ToolHive's tokens and metadata do not: write {}",
            quoted(issuer.trim_end_matches('/'))
        );
        match is_toolhive {
            true => notes.error(&codes::ISSUER, at, text),
            false => notes.warn(&codes::ISSUER, at, text),
        }
    }
}

/// What keeps `issuer` from being in a token, as it stands.
pub(super) fn wrong_issuer(issuer: &str) -> Option<String> {
    if placeholder(issuer).is_some() || issuer.contains('$') {
        return Some(
            "a placeholder that nobody has filled: tokens carry the URL itself".to_owned(),
        );
    }
    let lower = issuer.to_ascii_lowercase();
    let rest = lower
        .strip_prefix("https://")
        .or_else(|| lower.strip_prefix("http://"));
    match rest {
        None => Some("must be an absolute URL, https://HOST, as tokens have it in iss".to_owned()),
        Some(rest) if rest.is_empty() || rest.starts_with(['/', '?', '#', ':']) => {
            Some("has no host".to_owned())
        }
        Some(rest) if rest.contains(['?', '#']) => {
            Some("must have neither a query nor a fragment (RFC 8414)".to_owned())
        }
        Some(rest) if rest.contains(char::is_whitespace) => Some("has a space in it".to_owned()),
        Some(_) => None,
    }
}

/// The browser comes back to the auth server, whose URLs all begin with its issuer.
fn on_redirects(run_config: &Node, at: &Path, is_toolhive: bool, notes: &mut Notes) {
    let Some(issuer) = get_text(run_config, "issuer") else {
        return;
    };
    let issuer = issuer.trim_end_matches('/');
    let upstreams = get(run_config, "upstreams").map(items).unwrap_or_default();
    for (index, upstream) in upstreams.iter().enumerate() {
        let at = at.key("upstreams").index(index);
        for block in ["oidc_config", "oauth2_config"] {
            let Some(settings) = get(upstream, block) else {
                continue;
            };
            let at = at.key(block);
            let redirect = get_text(settings, "redirect_uri").filter(|uri| !uri.is_empty());
            let begins = |uri: &str| {
                let rest = uri.strip_prefix(issuer);
                rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(['/', '?']))
            };
            match redirect {
                // Our own form need not have it: the filter does not read it.
                None if !is_toolhive || get(settings, "dcr_config").is_some() => {}
                None => {
                    let text = format!(
                        "missing; vmcp serve wants it, though ToolHive's page says otherwise: \
                         {issuer}/oauth/callback"
                    );
                    notes.warn(&codes::REDIRECT_URI, at.key("redirect_uri"), text);
                }
                Some(uri) if !begins(uri) => {
                    let text = format!(
                        "does not begin with the issuer, {}: the browser does not come back to \
                         this auth server; write {issuer}/oauth/callback",
                        quoted(issuer)
                    );
                    notes.error(&codes::REDIRECT_URI, at.key("redirect_uri"), text);
                }
                Some(_) => {}
            }
        }
    }
}

/// What metadata documents name as `resource` is what clients ask tokens for.
fn on_resources(root: &Node, run_config: &Node, at: &Path, notes: &mut Notes) {
    let Some(allowed) = get(run_config, "allowed_audiences") else {
        return;
    };
    let allowed: Vec<&str> = items(allowed)
        .iter()
        .filter_map(|audience| match audience {
            Node::String(text) => Some(text.as_str()),
            _ => None,
        })
        .collect();
    let mut resources = Vec::new();
    let challenge = Path::root().key("challenge");
    if let Some(settings) = get(root, "challenge") {
        resources.push((challenge.clone(), settings));
        let backends = get(settings, "backends");
        for (name, settings) in backends.map(document::entries).unwrap_or_default() {
            resources.push((challenge.key("backends").key(name), settings));
        }
    }
    for (path, settings) in resources {
        let key = "resourceMetadata";
        let resource = get_text(settings, key).and_then(described_resource);
        let missing = resource.iter();
        for (severity, missing) in missing.flat_map(|name| missing_audiences(name, &allowed)) {
            let text = format!(
                "clients of the document there ask for a token for {}, which is not in \
                 {at}.allowed_audiences: the auth server refuses it",
                quoted(&missing)
            );
            let path = path.key(key);
            match severity {
                Severity::Error => notes.error(&codes::ALLOWED_AUDIENCE, path, text),
                _ => notes.warn(&codes::ALLOWED_AUDIENCE, path, text),
            }
        }
    }
    let oidc = get(root, "incomingAuth").and_then(|incoming| get(incoming, "oidc"));
    if let Some(resource) = oidc.and_then(|oidc| get_text(oidc, "resource"))
        && !allowed.contains(&resource)
        && !allowed.is_empty()
    {
        let path = Path::root().key("incomingAuth").key("oidc").key("resource");
        let text = format!(
            "{} is not in {at}.allowed_audiences, letter by letter: clients ask for a token for it, \
             and the auth server refuses",
            quoted(resource)
        );
        notes.error(&codes::ALLOWED_AUDIENCE, path, text);
    }
}

/// The resource that the metadata document at `url` describes (RFC 9728 §3.1): its well-known part
/// stands between host and path.
pub(crate) fn described_resource(url: &str) -> Option<String> {
    let (origin, path) = url.split_once("/.well-known/oauth-protected-resource")?;
    (path.is_empty() || path.starts_with('/')).then(|| format!("{origin}{path}"))
}

/// What of `resource` is not among `allowed`: an error if it is the resource itself. An origin is asked
/// for with and without a slash, since clients write it either way.
pub(crate) fn missing_audiences(resource: &str, allowed: &[&str]) -> Vec<(Severity, String)> {
    let bare = resource.trim_end_matches('/');
    let is_origin = bare
        .split_once("://")
        .is_some_and(|(_, rest)| !rest.contains('/'));
    let other = match resource == bare {
        true => format!("{bare}/"),
        false => bare.to_owned(),
    };
    let other = is_origin.then_some((Severity::Warning, other));
    std::iter::once((Severity::Error, resource.to_owned()))
        .chain(other)
        .filter(|(_, wanted)| !allowed.contains(&wanted.as_str()))
        .collect()
}

/// The ID token of `xaa` was issued to the client that the upstream is configured with.
fn on_clients(root: &Node, run_config: &Node, notes: &mut Notes) {
    let upstreams = get(run_config, "upstreams").map(items).unwrap_or_default();
    for (path, strategy) in super::strategies(root) {
        let Some(xaa) = get(strategy, "xaa") else {
            continue;
        };
        let (Some(id), Some(provider)) = (
            get_text(xaa, "idpClientId"),
            get_text(xaa, "subjectProviderName"),
        ) else {
            continue;
        };
        let upstream = upstreams
            .iter()
            .find(|upstream| super::upstream_name(upstream) == provider);
        let client = upstream.and_then(|upstream| {
            ["oidc_config", "oauth2_config"].iter().find_map(|block| {
                get(upstream, block).and_then(|block| get_text(block, "client_id"))
            })
        });
        if let Some(client) = client.filter(|client| *client != id) {
            let text = format!(
                "is not {}, the client_id of the upstream {}: the IdP refuses an ID token that was \
                 issued to another client",
                quoted(client),
                quoted(provider)
            );
            let path = path.key("xaa").key("idpClientId");
            notes.warn(&codes::IDP_CLIENT, path, text);
        }
    }
}

fn on_keys(run_config: &Node, at: &Path, notes: &mut Notes) {
    let signing_key = get(run_config, "signing_key_config");
    let names_a_file = signing_key
        .and_then(|config| get_text(config, "signing_key_file"))
        .is_some_and(|file| !file.is_empty());
    let secrets = get(run_config, "hmac_secret_files");
    let signing_key_at = at.key("signing_key_config");
    let signing_key_at = match signing_key {
        Some(Node::Map(_)) => signing_key_at.key("signing_key_file"),
        _ => signing_key_at,
    };
    for (is_there, path, wrong, what) in [
        (names_a_file, signing_key_at, "missing", "a signing key"),
        (
            secrets.is_some_and(|secrets| !items(secrets).is_empty()),
            at.key("hmac_secret_files"),
            secrets.map_or("missing", |_| "without a file"),
            "HMAC secrets",
        ),
    ] {
        if !is_there {
            let text = format!(
                "{wrong}: each start makes {what} of its own, so that after a restart everybody logs \
                 in again, and replicas refuse each other's tokens"
            );
            notes.warn(&codes::SIGNING_KEYS, path, text);
        }
    }
}

fn on_storage(root: &Node, read: &RunConfig, notes: &mut Notes) {
    let Storage::Memory(path) = &read.storage else {
        return;
    };
    let by_exchange =
        get(root, "identity").and_then(|identity| get_text(identity, "source")) == Some("exchange");
    let text = "memory lives inside the auth server: the identity service cannot read it there; \
                write redis";
    match by_exchange {
        true => notes.error(&codes::STORAGE_MEMORY, path.clone(), text),
        false => notes.warn(&codes::STORAGE_MEMORY, path.clone(), text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_issuer_is_what_tokens_carry() {
        for (issuer, is_right) in [
            ("https://a.example", true),
            ("http://127.0.0.1:17500", true),
            ("https://a.example/tenant", true),
            ("$ISSUER", false),
            ("https://${HOST}", false),
            ("a.example", false),
            ("ftp://a.example", false),
            ("https://", false),
            ("https:///x", false),
            ("https://a.example?x", false),
        ] {
            assert_eq!(wrong_issuer(issuer).is_none(), is_right, "{issuer}");
        }
    }

    #[test]
    fn a_metadata_document_describes_its_resource() {
        for (url, resource) in [
            (
                "https://a.example/.well-known/oauth-protected-resource/x/mcp",
                Some("https://a.example/x/mcp"),
            ),
            (
                "https://a.example/.well-known/oauth-protected-resource",
                Some("https://a.example"),
            ),
            (
                "https://a.example/.well-known/oauth-protected-resources",
                None,
            ),
            ("https://a.example/metadata", None),
        ] {
            assert_eq!(described_resource(url).as_deref(), resource, "{url}");
        }
        let allowed = ["https://a.example", "https://a.example/x"];
        let missing = |resource: &str| missing_audiences(resource, &allowed);
        let other = (Severity::Warning, "https://a.example/".to_owned());
        assert_eq!(missing("https://a.example"), [other]);
        assert!(missing("https://a.example/x").is_empty());
        let itself = (Severity::Error, "https://a.example/x/".to_owned());
        assert_eq!(missing("https://a.example/x/"), [itself]);
    }
}
