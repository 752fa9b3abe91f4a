//! What the auth server registered at a `dcr_config` upstream: kept in the store, nothing of it is
//! in the file.

use std::sync::{Mutex, PoisonError};

use serde::Deserialize;
use sha2::{Digest as _, Sha256};

use super::{ClientSecret, OAuthClient, Style, Target};
use crate::refresh::machine::Answer;
use crate::session::store::Store;

/// The registration that was read last.
#[derive(Debug, Default)]
pub(super) struct Registration {
    known: Mutex<Option<Registered>>,
}

#[derive(Clone, Deserialize)]
struct Registered {
    #[serde(default)]
    client_id: String,
    #[serde(default)]
    client_secret: String,
    #[serde(default)]
    token_endpoint_auth_method: String,
    #[serde(default)]
    token_endpoint: String,
}

impl std::fmt::Debug for Registered {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Registered([redacted])")
    }
}

impl Registration {
    /// Where to send a refresh, as whom. With `read_again`, what was read before does not count:
    /// the auth server may have registered anew.
    pub(super) async fn target(
        &self,
        store: &dyn Store,
        id: &str,
        read_again: bool,
    ) -> Result<Target, Answer> {
        let known = self
            .known
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        let registered = match known {
            Some(known) if !read_again => known,
            _ => {
                let row = store
                    .registration(id)
                    .await
                    .map_err(|_| Answer::NotNow("store"))?
                    .ok_or(Answer::NoUse("no registration in the store"))?;
                let registered: Registered = serde_json::from_slice(&row)
                    .map_err(|_| Answer::NoUse("a registration that cannot be read"))?;
                if registered.client_id.is_empty() || registered.token_endpoint.is_empty() {
                    return Err(Answer::NoUse("a registration that cannot be read"));
                }
                *self.known.lock().unwrap_or_else(PoisonError::into_inner) =
                    Some(registered.clone());
                registered
            }
        };
        let style = match registered.token_endpoint_auth_method.as_str() {
            "client_secret_basic" => Style::Basic,
            "client_secret_post" | "none" | "" => Style::Body,
            _ => return Err(Answer::NoUse("a client authentication that is not known")),
        };
        let is_public = registered.token_endpoint_auth_method == "none";
        Ok(Target {
            endpoint: registered.token_endpoint,
            style,
            client: OAuthClient {
                id: registered.client_id,
                secret: (!registered.client_secret.is_empty() && !is_public)
                    .then_some(ClientSecret(registered.client_secret)),
            },
        })
    }
}

/// What follows `dcr:` in the key of a registration.
#[must_use]
pub(crate) fn key_id(
    issuer: &str,
    upstream_id: &str,
    redirect_uri: &str,
    scopes: &[String],
) -> String {
    let mut sorted: Vec<&str> = scopes.iter().map(String::as_str).collect();
    sorted.sort_unstable();
    sorted.dedup();
    let digest = Sha256::digest(sorted.join("\n").as_bytes());
    let hex: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
    format!(
        "{}:{issuer}:{}:{upstream_id}:{}:{redirect_uri}:{hex}",
        issuer.len(),
        upstream_id.len(),
        redirect_uri.len()
    )
}

/// The id under which ToolHive keeps the registration of an upstream: the endpoint where it
/// registered, else the issuer that the discovery URL belongs to.
#[must_use]
pub(crate) fn upstream_id(registration_endpoint: &str, discovery_url: &str) -> Option<String> {
    const WELL_KNOWN: [&str; 2] = [
        "/.well-known/oauth-authorization-server",
        "/.well-known/openid-configuration",
    ];
    if !registration_endpoint.is_empty() {
        return Some(registration_endpoint.to_owned());
    }
    let (scheme, rest) = discovery_url.split_once("://")?;
    let rest = rest.split(['?', '#']).next()?;
    let (host, path) = match rest.find('/') {
        Some(at) => rest.split_at(at),
        None => (rest, ""),
    };
    if scheme.is_empty() || host.is_empty() {
        return None;
    }
    // Appended to the issuer, or put between its host and its path (RFC 8414 §3.1); any other URL
    // stands for its origin.
    let issuer_path = WELL_KNOWN
        .iter()
        .find_map(|known| path.strip_suffix(known))
        .or_else(|| {
            WELL_KNOWN.iter().find_map(|known| {
                path.strip_prefix(known)
                    .filter(|tenant| tenant.starts_with('/'))
                    .map(|tenant| if tenant == "/" { "" } else { tenant })
            })
        })
        .unwrap_or_default();
    Some(format!("{scheme}://{host}{issuer_path}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_id_of_an_upstream_is_the_issuer_behind_its_discovery_url() {
        for (url, id) in [
            (
                "https://a.example/.well-known/oauth-authorization-server",
                "https://a.example",
            ),
            (
                "https://a.example/t/1/.well-known/openid-configuration",
                "https://a.example/t/1",
            ),
            (
                "https://a.example/.well-known/oauth-authorization-server/v1/mcp",
                "https://a.example/v1/mcp",
            ),
            (
                "https://a.example/.well-known/openid-configuration/",
                "https://a.example",
            ),
            ("https://a.example/custom/metadata", "https://a.example"),
            ("https://a.example:8443", "https://a.example:8443"),
        ] {
            assert_eq!(upstream_id("", url).as_deref(), Some(id), "{url}");
        }
        assert_eq!(
            upstream_id("https://a.example/register", "https://b.example").as_deref(),
            Some("https://a.example/register")
        );
        assert_eq!(upstream_id("", "nonsense"), None);
    }

    #[test]
    fn the_key_is_the_one_that_toolhive_used() {
        // As a real auth server left it in Redis.
        let id = key_id(
            "http://127.0.0.1:17484",
            "http://127.0.0.1:17404",
            "http://127.0.0.1:17484/oauth/callback",
            &["repo".to_owned()],
        );
        assert_eq!(
            id,
            "22:http://127.0.0.1:17484:22:http://127.0.0.1:17404:\
             37:http://127.0.0.1:17484/oauth/callback:\
             071ca2227754705837aa3ef9748ed59e9f8a015fd765c42f391a4cbc271c6d5e"
        );
        let scopes = ["openid", "profile", "email", "offline_access"].map(str::to_owned);
        let doubled: Vec<String> = scopes.iter().rev().chain(&scopes).cloned().collect();
        assert_eq!(
            key_id("i", "u", "r", &scopes),
            key_id("i", "u", "r", &doubled),
            "neither order nor doubles count"
        );
    }
}
