//! The local reply that a refusal becomes.

use super::code::Code;
use super::{Refusal, StepUp};
use crate::challenge::Challenge;
use crate::quote::json_string;

/// What a refusal is about.
#[derive(Clone, Copy, Debug)]
pub struct About<'a> {
    /// The backend, where the request has one that can be named.
    pub backend: Option<&'a str>,
    /// The provider that the backend's strategy names.
    pub provider: Option<&'a str>,
    /// Whether the client speaks gRPC.
    pub grpc: bool,
}

/// A local reply.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// The HTTP status.
    pub status: u16,
    /// The refusal's code.
    pub code: Code,
    /// The header fields.
    pub headers: Vec<(&'static str, String)>,
    /// The body.
    pub body: Vec<u8>,
}

impl Refusal {
    /// The whole answer to the client.
    pub fn reply(&self, about: &About<'_>, challenge: &Challenge) -> Reply {
        let row = self.row(about.provider);
        let description = printable(&row.description);
        let mut headers = vec![("cache-control", "no-store".to_owned())];
        if let Some(error) = row.challenge {
            let mut value = challenge.header(error, &description);
            if let Refusal::StepUp(step_up) = self {
                value.push_str(&step_up.parameters(challenge));
            }
            headers.push(("www-authenticate", value));
        }
        if let Refusal::ExchangeUnavailable { retry_after }
        | Refusal::UpstreamTokenUnavailable { retry_after } = self
        {
            headers.push(("retry-after", retry_after.to_string()));
        }
        let body = match about.grpc {
            // Envoy turns the body into `grpc-message`, and sets the content type itself.
            true => description,
            false => {
                headers.push(("content-type", "application/json".to_owned()));
                body(row.code, &description, about, self.interaction_uri())
            }
        };
        Reply {
            status: row.status,
            code: row.code,
            headers,
            body: body.into_bytes(),
        }
    }

    fn interaction_uri(&self) -> Option<&str> {
        match self {
            Refusal::StepUp(step_up) => step_up.interaction_uri.as_deref(),
            _ => None,
        }
    }
}

impl StepUp {
    /// What goes along in the challenge.
    fn parameters(&self, challenge: &Challenge) -> String {
        let parameters = [
            ("claims", self.claims.as_deref()),
            (
                "authorization_uri",
                challenge
                    .authorization_uri
                    .as_deref()
                    .filter(|_| !self.insufficient_authentication),
            ),
            ("max_age", self.max_age.as_deref()),
            ("acr_values", self.acr_values.as_deref()),
        ];
        parameters
            .into_iter()
            .filter_map(|(name, value)| Some(format!(", {name}=\"{}\"", value?)))
            .collect()
    }
}

fn body(code: Code, description: &str, about: &About<'_>, link: Option<&str>) -> String {
    let members = [
        ("error", Some(code.as_str())),
        ("error_description", Some(description)),
        ("backend", about.backend),
        ("provider", about.provider),
        ("interaction_uri", link),
    ];
    let members: Vec<String> = members
        .into_iter()
        .filter_map(|(name, text)| Some(format!("\"{name}\":{}", json_string(text?))))
        .collect();
    format!("{{{}}}", members.join(","))
}

/// `text` with each character that RFC 6750 §3 forbids in `error_description` replaced.
fn printable(text: &str) -> String {
    let mut printable = String::with_capacity(text.len());
    for letter in text.chars() {
        printable.push(match letter {
            '"' | '\\' => '?',
            ' '..='~' => letter,
            _ => '?',
        });
    }
    printable
}
