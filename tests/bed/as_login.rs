//! The embedded AS as MCP clients log in there: metadata (RFC 8414), registration (RFC 7591), the
//! authorization code with PKCE, and refresh tokens. Whoever comes to the authorization endpoint is
//! one and the same user, who agrees at once.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::StatusCode;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::canary;
use crate::identity_token::IdentityIssuer;

/// What the auth server knows of logins.
pub(crate) struct Login {
    issuer: Arc<IdentityIssuer>,
    tsid: String,
    /// What was handed out and can be redeemed once: a code, or a refresh token.
    grants: Mutex<HashMap<String, Grant>>,
    next: AtomicU64,
}

#[derive(Clone)]
struct Grant {
    /// `code_challenge`, of a code.
    challenge: Option<String>,
    /// What the access token is for.
    resource: String,
}

/// An answer: status, a header, and a JSON body.
pub(crate) type Answer = (StatusCode, Option<(&'static str, String)>, Value);

impl Login {
    /// Logins whose tokens are those of this session.
    pub(crate) fn new(issuer: Arc<IdentityIssuer>, tsid: &str) -> Self {
        Self {
            issuer,
            tsid: tsid.to_owned(),
            grants: Mutex::default(),
            next: AtomicU64::new(1),
        }
    }

    /// Answers a request; `parameters` are those of its query or its form.
    pub(crate) fn answer(&self, path: &str, parameters: &HashMap<String, String>) -> Answer {
        let ok = |body| (StatusCode::OK, None, body);
        if path.starts_with("/.well-known/") {
            return ok(self.metadata());
        }
        match path {
            "/oauth/register" => {
                let client = json!({
                    "client_id": format!("client-{}", self.number()),
                    "redirect_uris": ["http://localhost:1/callback"],
                    "token_endpoint_auth_method": "none",
                    "grant_types": ["authorization_code", "refresh_token"],
                    "response_types": ["code"],
                });
                (StatusCode::CREATED, None, client)
            }
            "/oauth/authorize" => self.authorize(parameters),
            "/oauth/token" => self.redeem(parameters).map_or_else(refuse, ok),
            _ => (StatusCode::NOT_FOUND, None, json!({})),
        }
    }

    fn metadata(&self) -> Value {
        let at = |path: &str| format!("{}{path}", self.issuer.name());
        json!({
            "issuer": self.issuer.name(),
            "authorization_endpoint": at("/oauth/authorize"),
            "token_endpoint": at("/oauth/token"),
            "registration_endpoint": at("/oauth/register"),
            "jwks_uri": at("/.well-known/jwks.json"),
            "response_types_supported": ["code"],
            "grant_types_supported": ["authorization_code", "refresh_token"],
            "code_challenge_methods_supported": ["S256"],
            "token_endpoint_auth_methods_supported": ["none"],
        })
    }

    fn authorize(&self, parameters: &HashMap<String, String>) -> Answer {
        let get = |name: &str| parameters.get(name).cloned().unwrap_or_default();
        let (redirect, state) = (get("redirect_uri"), get("state"));
        // As ToolHive has it.
        if redirect.is_empty() || state.len() < 8 || get("code_challenge").is_empty() {
            return refuse("invalid_request");
        }
        let code = canary::token("code-", &self.number().to_string());
        let grant = Grant {
            challenge: Some(get("code_challenge")),
            resource: get("resource"),
        };
        self.remember(&code, grant);
        let to = format!(
            "{redirect}?code={code}&state={state}&iss={}",
            self.issuer.name()
        );
        (StatusCode::FOUND, Some(("location", to)), json!({}))
    }

    fn redeem(&self, parameters: &HashMap<String, String>) -> Result<Value, &'static str> {
        let get = |name: &str| parameters.get(name).cloned().unwrap_or_default();
        let presented = match get("grant_type").as_str() {
            "authorization_code" => get("code"),
            "refresh_token" => get("refresh_token"),
            _ => return Err("unsupported_grant_type"),
        };
        let grant = self
            .grants
            .lock()
            .expect("no panic in here")
            .remove(&presented);
        let Some(mut grant) = grant else {
            return Err("invalid_grant");
        };
        if let Some(challenge) = grant.challenge.take() {
            let digest = Sha256::digest(get("code_verifier").as_bytes());
            if URL_SAFE_NO_PAD.encode(digest) != challenge {
                return Err("invalid_grant");
            }
        }
        if !get("resource").is_empty() {
            grant.resource = get("resource");
        }
        let refresh_token = canary::token("refresh-", &self.number().to_string());
        self.remember(&refresh_token, grant.clone());
        let lifetime = Duration::from_secs(3600);
        Ok(json!({
            "access_token": self.issuer.mint_for("user", &self.tsid, lifetime, &json!(grant.resource)),
            "token_type": "Bearer",
            "expires_in": lifetime.as_secs(),
            "refresh_token": refresh_token,
        }))
    }

    fn remember(&self, handle: &str, grant: Grant) {
        let mut grants = self.grants.lock().expect("no panic in here");
        grants.insert(handle.to_owned(), grant);
    }

    fn number(&self) -> u64 {
        self.next.fetch_add(1, Ordering::Relaxed)
    }
}

fn refuse(error: &str) -> Answer {
    (StatusCode::BAD_REQUEST, None, json!({"error": error}))
}
