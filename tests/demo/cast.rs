//! Who takes part: two users with what they are logged in at, and the STS that knows them.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use bed::scene::Neighbours;
use bed::{Answer, StsRequest};
use serde_json::{Value, json};

/// A user with a session of the auth server.
pub struct User {
    /// The name.
    pub name: &'static str,
    /// The TH-JWT that the user's client sends.
    pub identity_token: String,
    /// Provider → upstream token.
    pub upstream_tokens: HashMap<&'static str, String>,
}

impl User {
    /// The session that the TH-JWT names.
    pub fn session(&self) -> Result<String, String> {
        let claims = self.identity_token.split('.').nth(1).unwrap_or_default();
        let claims = URL_SAFE_NO_PAD
            .decode(claims)
            .map_err(|error| error.to_string())?;
        let claims: Value = serde_json::from_slice(&claims).map_err(|error| error.to_string())?;
        let session = claims["tsid"].as_str().ok_or("no tsid in the TH-JWT")?;
        Ok(session.to_owned())
    }
}

/// Everyone, with all the secrets of this run.
pub struct Cast {
    users: Vec<User>,
    client_secret: String,
    api_key: String,
}

const GRANT_TYPE: &str = "urn:ietf:params:oauth:grant-type:token-exchange";

impl Cast {
    /// Logs both users in and tells the STS whom it knows. Bob has not logged in at Atlassian.
    pub fn introduce(neighbours: &Neighbours) -> Self {
        let users: Vec<User> = [
            (
                "alice",
                vec![
                    ("github", "gho"),
                    ("atlassian", "atl"),
                    ("corporate-idp", "idp"),
                ],
            ),
            ("bob", vec![("github", "gho"), ("corporate-idp", "idp")]),
        ]
        .into_iter()
        .map(|(name, providers)| {
            let upstream_tokens: HashMap<_, _> = providers
                .into_iter()
                .map(|(provider, prefix)| (provider, secret(&format!("{prefix}_{name}"))))
                .collect();
            // What the session holds is the identity service's to know.
            let identity_token = neighbours.embedded_as.login(name, json!({}));
            User {
                name,
                identity_token,
                upstream_tokens,
            }
        })
        .collect();
        let cast = Self {
            users,
            client_secret: secret("sts-client"),
            api_key: secret("key"),
        };
        cast.teach(neighbours);
        cast
    }

    /// The users.
    pub fn users(&self) -> &[User] {
        &self.users
    }

    /// What Envoy authenticates with at the STS.
    pub fn client_secret(&self) -> &str {
        &self.client_secret
    }

    /// What internal-api wants.
    pub fn api_key(&self) -> &str {
        &self.api_key
    }

    /// The STS exchanges what the corporate IdP issued, for the client that it knows, and nothing
    /// else. What it issues begins with `corp_` and the user's name.
    fn teach(&self, neighbours: &Neighbours) {
        let issued: HashMap<String, String> = self
            .users
            .iter()
            .filter_map(|user| {
                let subject = user.upstream_tokens.get("corporate-idp")?.clone();
                Some((subject, secret(&format!("corp_{}", user.name))))
            })
            .collect();
        let client = STANDARD.encode(format!("envoy:{}", self.client_secret));
        neighbours
            .sts
            .set_script(move |request| exchange(request, &client, &issued));
    }
}

fn exchange(request: &StsRequest, client: &str, issued: &HashMap<String, String>) -> Answer {
    let error = |status, code: &str| Answer::json(status, &json!({"error": code}));
    if request.header("authorization") != format!("Basic {client}") {
        return error(401, "invalid_client");
    }
    if request.parameter("grant_type") != GRANT_TYPE {
        return error(400, "unsupported_grant_type");
    }
    if request.parameter("audience") != "https://corp-api.example.com" {
        return error(400, "invalid_target");
    }
    match issued.get(&request.parameter("subject_token")) {
        Some(token) => Answer::json(200, &Answer::token_body(token, Value::from(600))),
        None => error(400, "invalid_grant"),
    }
}

/// A value that no one could know before this run.
fn secret(prefix: &str) -> String {
    format!("{prefix}_{:016x}", RandomState::new().hash_one(prefix))
}
