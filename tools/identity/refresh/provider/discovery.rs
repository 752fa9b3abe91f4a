//! OpenID Connect Discovery: where an issuer's token endpoint is.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde::Deserialize;
use tokio::time::timeout;

use crate::http::{Client, is_loopback};
use crate::refresh::machine::Answer;

/// How long a document is believed.
const LIFE: Duration = Duration::from_secs(3600);
/// How long an issuer whose endpoint is known may take to say it again: the endpoint needs the rest
/// of a call's time.
const PATIENCE: Duration = Duration::from_secs(3);
/// An issuer that does not say it again is left alone for so long.
const PAUSE: Duration = Duration::from_secs(60);

/// What an issuer has said of itself.
#[derive(Debug)]
pub(super) struct Discovery {
    found: Mutex<Option<Found>>,
    patience: Duration,
}

#[derive(Clone, Debug)]
struct Found {
    endpoint: String,
    /// Until when nobody asks for it again.
    until: Instant,
}

impl Default for Discovery {
    fn default() -> Self {
        Self {
            found: Mutex::default(),
            patience: PATIENCE,
        }
    }
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
        let known = self.found().clone();
        let Some(known) = known else {
            let endpoint = fetch(http, issuer, insecure).await?;
            return Ok(self.keep(endpoint, LIFE));
        };
        if Instant::now() < known.until {
            return Ok(known.endpoint);
        }
        let again = timeout(self.patience, fetch(http, issuer, insecure)).await;
        Ok(match again {
            Ok(Ok(endpoint)) => self.keep(endpoint, LIFE),
            Ok(Err(_)) | Err(_) => self.keep(known.endpoint, PAUSE),
        })
    }

    fn keep(&self, endpoint: String, life: Duration) -> String {
        *self.found() = Some(Found {
            endpoint: endpoint.clone(),
            until: Instant::now() + life,
        });
        endpoint
    }

    fn found(&self) -> MutexGuard<'_, Option<Found>> {
        self.found.lock().unwrap_or_else(PoisonError::into_inner)
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

    #[tokio::test]
    async fn an_issuer_that_hangs_leaves_the_endpoint_that_is_known_its_time() {
        let _ = rustls::crypto::ring::default_provider().install_default();
        // Connections are accepted, and never answered.
        let deaf = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let issuer = format!("http://{}", deaf.local_addr().unwrap());
        let known = format!("{issuer}/token");
        let discovery = Discovery {
            found: Mutex::new(Some(Found {
                endpoint: known.clone(),
                until: Instant::now(),
            })),
            patience: Duration::from_millis(50),
        };
        let http = Client::new(Duration::from_secs(30)).unwrap();
        let began = Instant::now();
        for _ in 0..20 {
            let endpoint = discovery.token_endpoint(&http, &issuer, false).await;
            assert!(matches!(endpoint, Ok(endpoint) if endpoint == known));
        }
        assert!(
            began.elapsed() < Duration::from_secs(5),
            "{:?}",
            began.elapsed()
        );
        let again = discovery.found().as_ref().unwrap().until - began;
        assert!(again < LIFE, "asked again sooner than after an hour");
    }

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
