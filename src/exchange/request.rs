//! The token request (RFC 8693 §2.1), as bytes.

use super::{ClientAuth, Exchange};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
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

const GRANT_TYPE: &str = "urn:ietf:params:oauth:grant-type:token-exchange";

/// Everything of a token request but the subject token, encoded once.
///
/// Has no `Debug`: it holds the client's secret.
pub struct TokenRequest {
    cluster: String,
    headers: Vec<(&'static str, String)>,
    before_subject: String,
    after_subject: String,
    timeout: Duration,
}

impl TokenRequest {
    /// The request that `exchange` describes.
    pub fn new(exchange: &Exchange) -> Self {
        let mut headers = vec![
            (":method", "POST".to_owned()),
            (":path", exchange.path.clone()),
            (":authority", exchange.authority.clone()),
            (
                "content-type",
                "application/x-www-form-urlencoded".to_owned(),
            ),
            ("accept", "application/json".to_owned()),
        ];
        if let ClientAuth::Basic {
            client_id,
            client_secret,
        } = &exchange.client
        {
            headers.push(("authorization", basic(client_id, client_secret.reveal())));
        }
        Self {
            cluster: exchange.cluster.clone(),
            headers,
            before_subject: form(&[("grant_type", GRANT_TYPE)]) + "&subject_token=",
            after_subject: format!(
                "&{}",
                form(&parameters(exchange, &exchange.scopes.join(" ")))
            ),
            timeout: exchange.timeout,
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

    /// The form that exchanges `subject`.
    pub fn body(&self, subject: &[u8]) -> Vec<u8> {
        let mut body = String::with_capacity(
            self.before_subject
                .len()
                .saturating_add(subject.len())
                .saturating_add(self.after_subject.len()),
        );
        body.push_str(&self.before_subject);
        body.extend(percent_encode(subject, FORM));
        body.push_str(&self.after_subject);
        body.into_bytes()
    }

    /// How long to wait for the answer.
    pub fn timeout(&self) -> Duration {
        self.timeout
    }
}

fn parameters<'a>(exchange: &'a Exchange, scope: &'a str) -> Vec<(&'static str, &'a str)> {
    let mut parameters = vec![("subject_token_type", exchange.subject_token_type.as_str())];
    parameters.extend(
        exchange
            .requested_token_type
            .as_deref()
            .map(|requested| ("requested_token_type", requested)),
    );
    parameters.extend(
        exchange
            .audience
            .iter()
            .map(|one| ("audience", one.as_str())),
    );
    parameters.extend(
        exchange
            .resource
            .iter()
            .map(|one| ("resource", one.as_str())),
    );
    if !scope.is_empty() {
        parameters.push(("scope", scope));
    }
    match &exchange.client {
        ClientAuth::None { client_id } => {
            parameters.extend(client_id.as_deref().map(|id| ("client_id", id)));
        }
        ClientAuth::Basic { .. } => {}
        ClientAuth::Post {
            client_id,
            client_secret,
        } => {
            parameters.push(("client_id", client_id));
            parameters.push(("client_secret", client_secret.reveal()));
        }
    }
    parameters
}

fn form(parameters: &[(&str, &str)]) -> String {
    let pairs: Vec<String> = parameters
        .iter()
        .map(|(name, value)| format!("{name}={}", encode(value)))
        .collect();
    pairs.join("&")
}

/// RFC 6749 §2.3.1: both parts are form-encoded first, so that a `:` in the id stays in the id.
fn basic(client_id: &str, client_secret: &str) -> String {
    let credentials = format!("{}:{}", encode(client_id), encode(client_secret));
    format!("Basic {}", STANDARD.encode(credentials))
}

fn encode(text: &str) -> String {
    percent_encode(text.as_bytes(), FORM).to_string()
}

#[cfg(test)]
#[path = "request_tests.rs"]
mod tests;
