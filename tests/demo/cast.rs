//! Who takes part: two users with what they are logged in at, and the servers that know them: the
//! corporate STS, Microsoft Entra, the corporate identity provider and a partner's authorization
//! server. One process plays all four, each on a path of its own.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use bed::scene::Neighbours;
use bed::{Answer, StsRequest, identity_assertion};
use serde_json::{Value, json};

/// A user with a session of the auth server.
pub struct User {
    /// The name.
    pub name: &'static str,
    /// The TH-JWT that the user's client sends.
    pub identity_token: String,
    /// Provider → upstream token.
    pub upstream_tokens: HashMap<&'static str, String>,
    /// Provider → ID token.
    pub id_tokens: HashMap<&'static str, String>,
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

const TOKEN_EXCHANGE: &str = "urn:ietf:params:oauth:grant-type:token-exchange";
const JWT_BEARER: &str = "urn:ietf:params:oauth:grant-type:jwt-bearer";
const ID_JAG: &str = "urn:ietf:params:oauth:token-type:id-jag";

/// The token endpoints, as `envoy/demo.yaml` has their paths.
pub mod endpoint {
    /// The corporate STS.
    pub const STS: &str = "/token";
    /// Microsoft Entra.
    pub const ENTRA: &str = "/entra/token";
    /// The corporate identity provider.
    pub const IDP: &str = "/idp/token";
    /// The partner's authorization server.
    pub const PARTNER: &str = "/partner/token";
}

const PARTNER: &str = "https://as.partner.example";
const PARTNER_RESOURCE: &str = "https://mcp.partner.example/mcp";

impl Cast {
    /// Logs both users in and tells the token endpoints whom they know. Bob has not logged in at Atlassian.
    pub fn introduce(neighbours: &Neighbours) -> Self {
        let users: Vec<User> = [
            (
                "alice",
                vec![
                    ("github", "gho"),
                    ("atlassian", "atl"),
                    ("corporate-idp", "idp"),
                    ("entra", "entra"),
                ],
            ),
            (
                "bob",
                vec![
                    ("github", "gho"),
                    ("corporate-idp", "idp"),
                    ("entra", "entra"),
                ],
            ),
        ]
        .into_iter()
        .map(|(name, providers)| {
            let upstream_tokens: HashMap<_, _> = providers
                .into_iter()
                .map(|(provider, prefix)| (provider, secret(&format!("{prefix}_{name}"))))
                .collect();
            let id_tokens = HashMap::from([("corporate-idp", id_token(name))]);
            // What the session holds is the identity service's to know.
            let identity_token = neighbours.embedded_as.login(name, json!({}));
            User {
                name,
                identity_token,
                upstream_tokens,
                id_tokens,
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

    /// Each server takes what it should for the client that it knows, and nothing else. What it issues
    /// begins with its name and the user's.
    fn teach(&self, neighbours: &Neighbours) {
        let (mut at_sts, mut at_entra, mut at_idp, mut at_partner) = (
            HashMap::new(),
            HashMap::new(),
            HashMap::new(),
            HashMap::new(),
        );
        for user in &self.users {
            let issued = |prefix: &str| secret(&format!("{prefix}_{}", user.name));
            let signature = secret("assertion");
            let assertion = identity_assertion(user.name, PARTNER, PARTNER_RESOURCE, &signature);
            at_sts.insert(
                user.upstream_tokens["corporate-idp"].clone(),
                issued("corp"),
            );
            at_entra.insert(user.upstream_tokens["entra"].clone(), issued("graph"));
            at_idp.insert(user.id_tokens["corporate-idp"].clone(), assertion.clone());
            at_partner.insert(assertion, issued("partner"));
        }
        let secret = self.client_secret.clone();
        neighbours.sts.set_script(move |request| {
            let path = request.line().split(' ').nth(1).unwrap_or_default();
            match path {
                endpoint::STS => exchange(request, &secret, &at_sts),
                endpoint::ENTRA => on_behalf_of(request, &secret, &at_entra),
                endpoint::IDP => assert_identity(request, &secret, &at_idp),
                endpoint::PARTNER => accept_assertion(request, &secret, &at_partner),
                _ => Answer::raw(404, ""),
            }
        });
    }
}

/// What a server has for each subject.
type Known = HashMap<String, String>;

fn exchange(request: &StsRequest, secret: &str, issued: &Known) -> Answer {
    let expected = [
        ("grant_type", TOKEN_EXCHANGE),
        ("audience", "https://corp-api.example.com"),
    ];
    let subject = request.parameter("subject_token");
    judged(request, ("envoy", secret), &expected, || {
        let token = issued.get(&subject)?;
        Some(Answer::json(
            200,
            &Answer::token_body(token, Value::from(600)),
        ))
    })
}

fn on_behalf_of(request: &StsRequest, secret: &str, issued: &Known) -> Answer {
    let expected = [
        ("grant_type", JWT_BEARER),
        ("requested_token_use", "on_behalf_of"),
        ("scope", "https://graph.microsoft.com/User.Read"),
        ("client_id", "envoy"),
        ("client_secret", secret),
    ];
    wanted(request, &expected, || {
        bearer(issued.get(&request.parameter("assertion"))?)
    })
}

fn assert_identity(request: &StsRequest, secret: &str, issued: &Known) -> Answer {
    let expected = [
        ("grant_type", TOKEN_EXCHANGE),
        ("requested_token_type", ID_JAG),
        ("audience", PARTNER),
        ("resource", PARTNER_RESOURCE),
    ];
    let subject = request.parameter("subject_token");
    judged(request, ("corp-login", secret), &expected, || {
        let assertion = issued.get(&subject)?;
        Some(Answer::assertion(assertion))
    })
}

fn accept_assertion(request: &StsRequest, secret: &str, issued: &Known) -> Answer {
    let expected = [("grant_type", JWT_BEARER), ("scope", "files.read")];
    let assertion = request.parameter("assertion");
    judged(request, ("envoy-at-partner", secret), &expected, || {
        bearer(issued.get(&assertion)?)
    })
}

/// The answer to a client that authenticates by Basic.
fn judged(
    request: &StsRequest,
    (id, secret): (&str, &str),
    expected: &[(&str, &str)],
    answer: impl FnOnce() -> Option<Answer>,
) -> Answer {
    let client = STANDARD.encode(format!("{id}:{secret}"));
    if request.header("authorization") != format!("Basic {client}") {
        return Answer::error(401, "invalid_client");
    }
    wanted(request, expected, answer)
}

/// The answer to a form with these parameters.
fn wanted(
    request: &StsRequest,
    expected: &[(&str, &str)],
    answer: impl FnOnce() -> Option<Answer>,
) -> Answer {
    let mut expected = expected.iter();
    if !expected.all(|(name, value)| request.parameter(name) == *value) {
        return Answer::error(400, "invalid_request");
    }
    answer().unwrap_or_else(|| Answer::error(400, "invalid_grant"))
}

/// What RFC 6749 asks for, and no more.
fn bearer(token: &str) -> Option<Answer> {
    let body = json!({"access_token": token, "token_type": "Bearer", "expires_in": 600});
    Some(Answer::json(200, &body))
}

/// What the corporate identity provider says of a login.
fn id_token(user: &str) -> String {
    let header = json!({"alg": "ES256", "typ": "JWT"}).to_string();
    let claims = json!({"iss": "https://idp.example.com", "aud": "corp-login", "sub": user});
    [header, claims.to_string(), secret("signature")]
        .map(|part| URL_SAFE_NO_PAD.encode(part))
        .join(".")
}

/// A value that no one could know before this run.
fn secret(prefix: &str) -> String {
    format!("{prefix}_{:016x}", RandomState::new().hash_one(prefix))
}
