//! The client's side: requests over HTTP/1.1 or HTTP/2 with exactly the headers that a test names,
//! and raw bytes for what no HTTP library would send.

use std::net::SocketAddr;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper_util::client::legacy::Client as PoolingClient;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::canary;
use crate::echo::ECHO_HEADER;
use crate::process;
use crate::waiting::{PATIENCE, within};

type BoxError = Box<dyn std::error::Error + Send + Sync>;
type Body = UnsyncBoxBody<Bytes, BoxError>;

/// A request to be sent.
#[derive(Clone, Debug)]
pub struct Request {
    method: Method,
    path: String,
    headers: HeaderMap,
    body: Bytes,
}

impl Request {
    /// A `GET`.
    #[must_use]
    pub fn get(path: &str) -> Self {
        Self::new(Method::GET, path, Bytes::new())
    }

    /// A `POST` with a body.
    #[must_use]
    pub fn post(path: &str, body: impl Into<Bytes>) -> Self {
        Self::new(Method::POST, path, body.into())
    }

    /// A request of any method.
    #[must_use]
    pub fn new(method: Method, path: &str, body: Bytes) -> Self {
        Self {
            method,
            path: path.to_owned(),
            headers: HeaderMap::new(),
            body,
        }
    }

    /// Adds a header; one that is there already is repeated. Bytes from 0x80 on are allowed.
    #[must_use]
    pub fn header(mut self, name: &str, value: impl AsRef<[u8]>) -> Self {
        let name = HeaderName::from_bytes(name.as_bytes()).expect("a header name");
        let value = HeaderValue::from_bytes(value.as_ref()).expect("a header value");
        self.headers.append(name, value);
        self
    }

    /// Path and query.
    #[must_use]
    pub fn path(&self) -> &str {
        &self.path
    }

    /// Adds `authorization: Bearer <token>`.
    #[must_use]
    pub fn bearer(self, token: &str) -> Self {
        self.header("authorization", format!("Bearer {token}"))
    }
}

/// A complete answer.
#[derive(Clone, Debug)]
pub struct Reply {
    /// The status code.
    pub status: u16,
    /// The headers.
    pub headers: HeaderMap,
    /// The body.
    pub body: Bytes,
    /// The trailers, if there were any.
    pub trailers: Option<HeaderMap>,
}

impl Reply {
    /// The first value of a header; "" if there is none.
    #[must_use]
    pub fn header(&self, name: &str) -> String {
        let value = self
            .headers
            .get(name)
            .map(HeaderValue::as_bytes)
            .unwrap_or_default();
        String::from_utf8_lossy(value).into_owned()
    }

    /// The body as text.
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body as JSON; `null` if it is none.
    #[must_use]
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }

    /// Was it a backend that answered, and not Envoy or the filter?
    #[must_use]
    pub fn is_from_backend(&self) -> bool {
        self.headers.contains_key(ECHO_HEADER)
    }

    /// What the echo backend saw of a header, each occurrence.
    #[must_use]
    pub fn seen(&self, name: &str) -> Vec<String> {
        assert!(
            self.is_from_backend(),
            "not a backend's answer: {} {}",
            self.status,
            self.text()
        );
        self.json()["headers"]
            .as_array()
            .into_iter()
            .flatten()
            .filter(|pair| pair[0] == name)
            .filter_map(|pair| pair[1].as_str().map(str::to_owned))
            .collect()
    }

    /// Every answer that no backend gave must be free of tokens.
    fn check_canaries(&self) {
        if self.is_from_backend() {
            return;
        }
        let mut text = self.text();
        for (name, value) in &self.headers {
            text.push_str(&format!(
                "\n{name}: {}",
                String::from_utf8_lossy(value.as_bytes())
            ));
        }
        if let Some(finding) = canary::find(&text) {
            panic!("a reply holds a canary: {finding}");
        }
    }
}

/// A client with its own connections.
#[derive(Clone)]
pub struct Client {
    inner: PoolingClient<HttpConnector, Body>,
    address: SocketAddr,
}

impl Client {
    /// HTTP/1.1; one connection after the other is reused as long as requests do not overlap.
    #[must_use]
    pub fn http1(address: SocketAddr) -> Self {
        process::asks(address);
        let inner = PoolingClient::builder(TokioExecutor::new())
            .http1_max_headers(20_000)
            .build(connector());
        Self { inner, address }
    }

    /// HTTP/2 without TLS: all requests share one connection.
    #[must_use]
    pub fn http2(address: SocketAddr) -> Self {
        process::asks(address);
        let inner = PoolingClient::builder(TokioExecutor::new())
            .http2_only(true)
            .build(connector());
        Self { inner, address }
    }

    /// Where it connects to.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Sends a request and reads the whole answer.
    ///
    /// # Errors
    /// The connection failed or broke, or the answer is not whole after [`PATIENCE`].
    pub async fn try_send(&self, request: Request) -> Result<Reply, BoxError> {
        let what = format!("the answer to {}", self.named(&request));
        within(PATIENCE, what, self.send_patiently(request)).await?
    }

    async fn send_patiently(&self, request: Request) -> Result<Reply, BoxError> {
        let (head, body) = self.open_patiently(request).await?.into_parts();
        let collected = body.collect().await?;
        let trailers = collected.trailers().cloned();
        let reply = Reply {
            status: head.status.as_u16(),
            headers: head.headers,
            body: collected.to_bytes(),
            trailers,
        };
        reply.check_canaries();
        Ok(reply)
    }

    /// [`Self::try_send`] for tests that expect an answer.
    pub async fn send(&self, request: Request) -> Reply {
        let shown = format!("{} {}", request.method, request.path);
        self.try_send(request)
            .await
            .unwrap_or_else(|error| panic!("{shown}: {}", chain(&*error)))
    }

    /// Sends a request and returns as soon as the headers of the answer are there.
    ///
    /// # Errors
    /// The connection failed or broke, or the headers are not there after [`PATIENCE`].
    pub async fn try_open(&self, request: Request) -> Result<http::Response<Incoming>, BoxError> {
        let what = format!("the headers of the answer to {}", self.named(&request));
        within(PATIENCE, what, self.open_patiently(request)).await?
    }

    fn named(&self, request: &Request) -> String {
        format!("{} {} at {}", request.method, request.path, self.address)
    }

    async fn open_patiently(&self, request: Request) -> Result<http::Response<Incoming>, BoxError> {
        process::asks(self.address);
        let uri = format!("http://{}{}", self.address, request.path);
        let body = Full::new(request.body).map_err(Into::into).boxed_unsync();
        let mut sent = http::Request::builder()
            .method(request.method)
            .uri(uri)
            .body(body)?;
        *sent.headers_mut() = request.headers;
        Ok(self.inner.request(sent).await?)
    }

    /// The connection pool, as the transport of a generated gRPC client (HTTP/2 only).
    #[must_use]
    pub fn grpc_transport(&self) -> PoolingClient<HttpConnector, tonic::body::Body> {
        PoolingClient::builder(TokioExecutor::new())
            .http2_only(true)
            .build(connector())
    }
}

fn connector() -> HttpConnector {
    let mut connector = HttpConnector::new();
    connector.set_nodelay(true);
    connector
}

/// An error with everything that caused it.
pub(crate) fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(&format!(": {error}"));
        cause = error.source();
    }
    text
}

/// Sends bytes on a fresh connection and reads until the peer closes or `enough` says so.
///
/// # Errors
/// The connection cannot be made, or neither happens within [`PATIENCE`]; that the connection breaks
/// ends the answer.
pub async fn raw_exchange(
    address: SocketAddr,
    bytes: &[u8],
    enough: impl Fn(&[u8]) -> bool,
) -> std::io::Result<Vec<u8>> {
    process::asks(address);
    let what = format!("the answer to {} bytes at {address}", bytes.len());
    let exchange = async {
        let mut stream = TcpStream::connect(address).await?;
        // The peer may answer and close before it has read everything.
        let _ = stream.write_all(bytes).await;
        let mut answer = Vec::new();
        let mut buffer = vec![0; 64 * 1024];
        while !enough(&answer) {
            match stream.read(&mut buffer).await {
                Ok(length) if length > 0 => answer.extend_from_slice(&buffer[..length]),
                _ => break,
            }
        }
        Ok(answer)
    };
    within(PATIENCE, what, exchange)
        .await
        .map_err(std::io::Error::other)?
}
