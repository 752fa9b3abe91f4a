//! OpenID Connect Discovery: where an issuer's token endpoint is.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde::Deserialize;

use crate::http::{Client, is_loopback};
use crate::refresh::machine::Answer;

/// How long a document is believed.
const LIFE: Duration = Duration::from_secs(3600);

/// What an issuer has said of itself.
#[derive(Debug, Default)]
pub(super) struct Discovery {
    found: Mutex<Option<(String, Instant)>>,
}

#[derive(Deserialize)]
struct Document {
    issuer: String,
    token_endpoint: String,
}

impl Discovery {
    /// The token endpoint. One that was found is used for an hour, and longer if the issuer does
    /// not answer then.
    pub(super) async fn token_endpoint(
        &self,
        http: &Client,
        issuer: &str,
        insecure: bool,
    ) -> Result<String, Answer> {
        let known = self
            .found
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        if let Some((endpoint, at)) = &known
            && at.elapsed() < LIFE
        {
            return Ok(endpoint.clone());
        }
        match fetch(http, issuer, insecure).await {
            Ok(endpoint) => {
                let mut found = self.found.lock().unwrap_or_else(PoisonError::into_inner);
                *found = Some((endpoint.clone(), Instant::now()));
                Ok(endpoint)
            }
            Err(answer) => known.map(|(endpoint, _)| endpoint).ok_or(answer),
        }
    }
}

async fn fetch(http: &Client, issuer: &str, insecure: bool) -> Result<String, Answer> {
    let url = format!(
        "{}/.well-known/openid-configuration",
        issuer.trim_end_matches('/')
    );
    let answer = http
        .get(&url)
        .await
        .map_err(|no_answer| Answer::NotNow(no_answer.word()))?;
    if answer.status >= 500 {
        return Err(Answer::NotNow("no discovery document"));
    }
    if answer.status != 200 {
        return Err(Answer::NoUse("no discovery document"));
    }
    let document: Document = serde_json::from_slice(&answer.body)
        .map_err(|_| Answer::NoUse("a discovery document that is none"))?;
    if document.issuer != issuer {
        return Err(Answer::NoUse("a discovery document of another issuer"));
    }
    if !is_allowed(&document.token_endpoint, issuer, insecure) {
        return Err(Answer::NoUse("a token endpoint without TLS"));
    }
    Ok(document.token_endpoint)
}

/// A document must not lead from TLS to plain HTTP, nor a local issuer to another machine.
fn is_allowed(endpoint: &str, issuer: &str, insecure: bool) -> bool {
    let (Ok(endpoint), Ok(issuer)) = (url::Url::parse(endpoint), url::Url::parse(issuer)) else {
        return false;
    };
    if !matches!(endpoint.scheme(), "http" | "https") {
        return false;
    }
    if is_loopback(&issuer) {
        return is_loopback(&endpoint);
    }
    insecure || endpoint.scheme() == "https"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_document_cannot_lead_away_from_tls() {
        let https = "https://idp.example.com";
        assert!(is_allowed("https://tokens.example.net/t", https, false));
        assert!(!is_allowed("http://idp.example.com/t", https, false));
        assert!(is_allowed("http://idp.example.com/t", https, true));
        assert!(!is_allowed("file:///etc/passwd", https, true));
        assert!(!is_allowed("/token", https, true));
        let local = "http://127.0.0.1:17401";
        assert!(is_allowed("http://localhost:1/t", local, false));
        assert!(!is_allowed("https://idp.example.com/t", local, true));
    }
}
