//! A request to a token endpoint, as bytes.

use super::base64::STANDARD;
use super::client::ClientAuth;
use super::settings::TokenCall;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_encode};
use std::time::Duration;

/// RFC 3986's unreserved characters stay as they are. A space becomes `%20`, which every decoder of
/// forms reads, where `+` failed at one provider; and `~` stays, for the servers that do not decode
/// Basic credentials at all.
const FORM: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

/// RFC 7523 §2.2.
const ASSERTION_TYPE: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

/// Common firewalls refuse a call that does not say who calls.
const USER_AGENT: &str = concat!("upstream-inject/", env!("CARGO_PKG_VERSION"));

/// The form fields that may be set here, by one grant or another.
pub(crate) const FIELDS: [&str; 16] = [
    "grant_type",
    "subject_token",
    "subject_token_type",
    "actor_token",
    "actor_token_type",
    "requested_token_type",
    "requested_token_use",
    "assertion",
    "audience",
    "resource",
    "scope",
    "client_id",
    "client_secret",
    "client_assertion",
    "client_assertion_type",
    "rejected_token_hash",
];

/// Everything of a token request that is the same each time, encoded once.
///
/// Has no `Debug`: it holds the client's secret.
pub struct TokenRequest {
    cluster: String,
    headers: Vec<(&'static str, String)>,
    before_subject: String,
    after_subject: String,
    before_actor: String,
    timeout: Duration,
}

/// What is different each time.
#[derive(Clone, Copy, Default)]
pub struct Tokens<'a> {
    /// The subject token, or what the call before brought.
    pub subject: &'a [u8],
    /// The actor token.
    pub actor: Option<&'a [u8]>,
    /// The client's signed assertion (RFC 7523 §2.2).
    pub client_assertion: Option<&'a str>,
    /// The digest of the token that a backend did not accept.
    pub rejected: Option<&'a str>,
}

impl TokenRequest {
    /// The request that `call` describes.
    pub fn new(call: &TokenCall) -> Self {
        let mut headers = vec![
            (":method", "POST".to_owned()),
            (":path", call.path.clone()),
            (":authority", call.authority.clone()),
            (
                "content-type",
                "application/x-www-form-urlencoded".to_owned(),
            ),
            ("accept", "application/json".to_owned()),
            ("user-agent", USER_AGENT.to_owned()),
        ];
        if let ClientAuth::Basic {
            client_id,
            client_secret,
        } = &call.client
        {
            headers.push(("authorization", basic(client_id, client_secret.reveal())));
        }
        let grant = &call.grant;
        let form = |parameters: &[(&str, &str)]| -> String {
            let each = parameters.iter();
            each.map(|(name, value)| format!("&{}={}", encode(name), encode(value)))
                .collect()
        };
        let mut after: Vec<(&str, &str)> = Vec::new();
        after.extend(
            grant
                .parameters
                .iter()
                .map(|(name, value)| (*name, value.as_str())),
        );
        after.extend(
            call.parameters
                .iter()
                .map(|(name, value)| (&**name, value.as_str())),
        );
        after.extend(in_form(&call.client));
        Self {
            cluster: call.cluster.clone(),
            headers,
            before_subject: format!(
                "grant_type={}&{}=",
                encode(&grant.grant_type),
                grant.subject
            ),
            after_subject: form(&after),
            before_actor: match &grant.actor_token_type {
                Some(kind) => form(&[("actor_token_type", kind.as_str()), ("actor_token", "")]),
                None => String::new(),
            },
            timeout: call.timeout,
        }
    }

    /// The Envoy cluster.
    pub fn cluster(&self) -> &str {
        &self.cluster
    }

    /// The header fields, pseudo-header fields first.
    pub fn headers(&self) -> Vec<(&str, &str)> {
        self.headers
            .iter()
            .map(|(name, value)| (*name, value.as_str()))
            .collect()
    }

    /// The form that carries `tokens`.
    pub fn body(&self, tokens: Tokens<'_>) -> Vec<u8> {
        let mut body = String::with_capacity(
            self.before_subject
                .len()
                .saturating_add(tokens.subject.len())
                .saturating_add(self.after_subject.len()),
        );
        body.push_str(&self.before_subject);
        body.extend(percent_encode(tokens.subject, FORM));
        body.push_str(&self.after_subject);
        if let Some(actor) = tokens.actor {
            body.push_str(&self.before_actor);
            body.extend(percent_encode(actor, FORM));
        }
        for (name, value) in [
            ("client_assertion", tokens.client_assertion),
            ("rejected_token_hash", tokens.rejected),
        ] {
            if let Some(value) = value {
                body.push('&');
                body.push_str(name);
                body.push('=');
                body.push_str(value);
            }
        }
        body.into_bytes()
    }

    /// How long to wait for the answer.
    pub fn timeout(&self) -> Duration {
        self.timeout
    }
}

/// What the client's credential is in the form.
fn in_form(client: &ClientAuth) -> Vec<(&'static str, &str)> {
    match client {
        ClientAuth::None { client_id } => {
            let id = client_id.as_deref();
            id.map(|id| ("client_id", id)).into_iter().collect()
        }
        ClientAuth::Basic { .. } => Vec::new(),
        ClientAuth::PrivateKey(assertion) => vec![
            ("client_id", assertion.client_id.as_str()),
            ("client_assertion_type", ASSERTION_TYPE),
        ],
        ClientAuth::Post {
            client_id,
            client_secret,
        } => vec![
            ("client_id", client_id.as_str()),
            ("client_secret", client_secret.reveal()),
        ],
    }
}

/// RFC 6749 §2.3.1: both parts are form-encoded first, so that a `:` in the id stays in the id.
fn basic(client_id: &str, client_secret: &str) -> String {
    let credentials = format!("{}:{}", encode(client_id), encode(client_secret));
    format!("Basic {}", STANDARD.encode(credentials.as_bytes()))
}

fn encode(text: &str) -> String {
    percent_encode(text.as_bytes(), FORM).to_string()
}

#[cfg(test)]
#[path = "request_tests.rs"]
mod tests;
