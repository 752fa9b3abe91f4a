//! Calls to others: token endpoints, discovery documents, key sets.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use reqwest::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderValue, RETRY_AFTER};
use reqwest::redirect::Policy;
use rustls::{ClientConfig, RootCertStore};

/// Larger answers are cut off: no token response or key set is.
const LARGEST: usize = 1024 * 1024;
const CONNECT: Duration = Duration::from_secs(10);

/// An answer as it came.
#[derive(Clone)]
pub(crate) struct Raw {
    /// Its status.
    pub status: u16,
    /// Its `content-type`, in lower case.
    pub content_type: String,
    /// Its body.
    pub body: Vec<u8>,
    /// Its `retry-after`, if that is a number of seconds.
    pub retry_after: Option<Duration>,
}

/// Why there was no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NoAnswer {
    /// Not in time.
    Timeout,
    /// No connection, or one that broke.
    Connection,
    /// More than anybody would send.
    TooLarge,
    /// Not even asked: the URL or a header is none.
    NotAsked,
}

impl NoAnswer {
    /// One word for a log line.
    #[must_use]
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Timeout => "timeout",
            Self::Connection => "no connection",
            Self::TooLarge => "an answer of more than 1 MiB",
            Self::NotAsked => "a URL that is none",
        }
    }
}

/// A client that follows no redirect, keeps no cookie, and bounds every call.
#[derive(Clone)]
pub(crate) struct Client {
    /// For most of the world, through the proxy that the environment names.
    far: reqwest::Client,
    /// For this machine, which no proxy reaches, whatever `NO_PROXY` says.
    near: reqwest::Client,
}

impl Client {
    /// A client whose calls take at most `timeout`. Proxies are taken from the environment, as
    /// ToolHive's client does; authorities are the system's.
    ///
    /// # Errors
    /// If TLS cannot be set up.
    pub(crate) fn new(timeout: Duration) -> Result<Self, String> {
        let mut roots = RootCertStore::empty();
        let found = rustls_native_certs::load_native_certs();
        roots.add_parsable_certificates(found.certs);
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let tls = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| error.to_string())?
            .with_root_certificates(roots)
            .with_no_client_auth();
        let builder = || {
            reqwest::Client::builder()
                .tls_backend_preconfigured(tls.clone())
                .redirect(Policy::none())
                .connect_timeout(CONNECT.min(timeout))
                .timeout(timeout)
                .user_agent(concat!(
                    "upstream-inject-identity/",
                    env!("CARGO_PKG_VERSION")
                ))
        };
        let build = |builder: reqwest::ClientBuilder| {
            builder
                .build()
                .map_err(|_| "the HTTP client cannot be made".to_owned())
        };
        Ok(Self {
            far: build(builder())?,
            near: build(builder().no_proxy())?,
        })
    }

    fn towards(&self, url: &str) -> &reqwest::Client {
        let is_near = url::Url::parse(url).is_ok_and(|url| is_loopback(&url));
        if is_near { &self.near } else { &self.far }
    }

    /// Posts a form.
    ///
    /// # Errors
    /// If there is no answer.
    pub(crate) async fn post_form(
        &self,
        url: &str,
        form: String,
        authorization: Option<String>,
    ) -> Result<Raw, NoAnswer> {
        let mut headers = HeaderMap::new();
        headers.insert(
            CONTENT_TYPE,
            HeaderValue::from_static("application/x-www-form-urlencoded"),
        );
        headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
        if let Some(authorization) = authorization {
            let mut value =
                HeaderValue::from_str(&authorization).map_err(|_| NoAnswer::NotAsked)?;
            value.set_sensitive(true);
            headers.insert(AUTHORIZATION, value);
        }
        let request = self.towards(url).post(url).headers(headers).body(form);
        read(request).await.map(|(raw, _)| raw)
    }

    /// Gets a document.
    ///
    /// # Errors
    /// If there is no answer.
    pub(crate) async fn get(&self, url: &str) -> Result<Raw, NoAnswer> {
        self.get_with_headers(url).await.map(|(raw, _)| raw)
    }

    /// Gets a document and the headers that came with it.
    ///
    /// # Errors
    /// If there is no answer.
    pub(crate) async fn get_with_headers(&self, url: &str) -> Result<(Raw, HeaderMap), NoAnswer> {
        read(
            self.towards(url)
                .get(url)
                .header(ACCEPT, "application/json"),
        )
        .await
    }
}

async fn read(request: reqwest::RequestBuilder) -> Result<(Raw, HeaderMap), NoAnswer> {
    let mut response = request.send().await.map_err(|error| judge(&error))?;
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(|error| judge(&error))? {
        if body.len() + chunk.len() > LARGEST {
            return Err(NoAnswer::TooLarge);
        }
        body.extend_from_slice(&chunk);
    }
    let text = |name| {
        response
            .headers()
            .get(name)
            .and_then(|value: &HeaderValue| value.to_str().ok())
    };
    let raw = Raw {
        status: response.status().as_u16(),
        content_type: text(CONTENT_TYPE).unwrap_or_default().to_ascii_lowercase(),
        retry_after: text(RETRY_AFTER)
            .and_then(|value| value.trim().parse().ok())
            .map(Duration::from_secs),
        body,
    };
    Ok((raw, response.headers().clone()))
}

fn judge(error: &reqwest::Error) -> NoAnswer {
    if error.is_timeout() {
        NoAnswer::Timeout
    } else if error.is_builder() {
        NoAnswer::NotAsked
    } else {
        NoAnswer::Connection
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Client")
    }
}

/// Whether a URL leads to this machine.
#[must_use]
pub(crate) fn is_loopback(url: &url::Url) -> bool {
    match url.host() {
        Some(url::Host::Domain(name)) => name == "localhost" || name.ends_with(".localhost"),
        Some(url::Host::Ipv4(address)) => address.is_loopback(),
        Some(url::Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    }
}
