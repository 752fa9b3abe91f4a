//! The providers of the configuration, with their secrets.

use document::auth_server::{self, Found, RunConfig, SecretRef};

use super::{Problems, file_at};
use crate::refresh::provider::{
    ClientSecret, Kind, Mapping, OAuthClient, Upstream, key_id, upstream_id,
};

pub(super) fn upstreams(
    found: &Found,
    run_config: &RunConfig,
    problems: &mut Problems,
) -> Vec<Upstream> {
    run_config
        .upstreams
        .iter()
        .map(|upstream| Upstream {
            name: upstream.name.clone(),
            kind: kind(found, run_config, upstream, problems),
            scopes: upstream.scopes.clone(),
            mapping: upstream.mapping.as_ref().map(|mapping| Mapping {
                access_token: mapping.access_token.clone(),
                refresh_token: mapping.refresh_token.clone(),
                expires_in: mapping.expires_in.clone(),
            }),
        })
        .collect()
}

/// Providers of which nothing but the name is known. They cannot be asked to refresh.
pub(super) fn named(names: Vec<String>) -> Vec<Upstream> {
    names
        .into_iter()
        .map(|name| Upstream {
            name,
            kind: Kind::Registered { id: String::new() },
            scopes: Vec::new(),
            mapping: None,
        })
        .collect()
}

fn kind(
    found: &Found,
    run_config: &RunConfig,
    upstream: &auth_server::Upstream,
    problems: &mut Problems,
) -> Kind {
    match &upstream.kind {
        auth_server::Kind::Oidc {
            issuer_url,
            client,
            subject_claim,
            insecure,
        } => Kind::Oidc {
            issuer: issuer_url.clone(),
            insecure: *insecure,
            client: oauth_client(found, client, problems),
            subject_claim: subject_claim.clone(),
        },
        auth_server::Kind::OAuth2 {
            token_endpoint,
            client,
        } => Kind::OAuth2 {
            token_endpoint: token_endpoint.clone(),
            client: oauth_client(found, client, problems),
        },
        auth_server::Kind::Registered {
            discovery_url,
            registration_endpoint,
            redirect_uri,
        } => {
            let id = upstream_id(registration_endpoint, discovery_url);
            if id.is_none() {
                let path = upstream
                    .at
                    .key("oauth2_config")
                    .key("dcr_config")
                    .key("discovery_url");
                problems.at(found, &path, "must be an absolute URL");
            }
            Kind::Registered {
                id: key_id(
                    &run_config.issuer,
                    &id.unwrap_or_default(),
                    redirect_uri,
                    &upstream.scopes,
                ),
            }
        }
    }
}

fn oauth_client(
    found: &Found,
    client: &auth_server::Client,
    problems: &mut Problems,
) -> OAuthClient {
    let secret = match &client.secret {
        None => None,
        Some(SecretRef::File(file, path)) => file_at(found, file, path, problems)
            .map(|bytes| String::from_utf8_lossy(&bytes).trim().to_owned()),
        Some(SecretRef::Env(name, path)) => {
            let secret = std::env::var(name).unwrap_or_default();
            let secret = secret.trim_end_matches(['\r', '\n']).to_owned();
            if secret.is_empty() {
                let text = format!("environment variable {name} is not set, or empty");
                problems.at(found, path, &text);
            }
            Some(secret)
        }
    };
    OAuthClient {
        id: client.id.clone(),
        secret: secret.map(ClientSecret),
    }
}
