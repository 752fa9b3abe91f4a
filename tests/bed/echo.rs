//! A backend that tells what reached it: it answers every request with what it saw, and remembers
//! it for the test.
//!
//! The last parts of the path ask for something else than the echo:
//! `/status/503` that status, `/bytes/1000000` a body of that size, `/events` a stream of
//! server-sent events that the test feeds. A gRPC request is answered by `grpc.health.v1.Health`.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http::{HeaderMap, Response, StatusCode, Version};
use http_body_util::channel::{Channel, Sender};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tokio::net::TcpListener;
use tonic::codegen::Service;
use tonic_health::pb::health_server::HealthServer;
use tonic_health::server::{HealthReporter, HealthService};

use crate::{canary, eventually, runtime};

/// The response header that shows that an answer comes from a backend and not from the filter.
pub const ECHO_HEADER: &str = "x-echo-backend";

type BoxError = Box<dyn std::error::Error + Send + Sync>;
type Body = UnsyncBoxBody<Bytes, BoxError>;

/// What a backend saw of one request.
#[derive(Clone, Debug)]
pub struct Recorded {
    /// The method.
    pub method: String,
    /// Path and query.
    pub path: String,
    /// The protocol version, such as `HTTP/1.1`.
    pub version: String,
    /// All headers; of a repeated one each occurrence.
    pub headers: Vec<(String, Vec<u8>)>,
    /// Length of the body in bytes.
    pub body_length: usize,
    /// SHA-256 of the body, in hexadecimal.
    pub body_sha256: String,
    /// The names of the fields behind the body.
    pub trailers: Vec<String>,
}

impl Recorded {
    /// All values of a header, in order.
    #[must_use]
    pub fn values(&self, name: &str) -> Vec<String> {
        self.headers
            .iter()
            .filter(|(found, _)| found == name)
            .map(|(_, value)| String::from_utf8_lossy(value).into_owned())
            .collect()
    }

    fn to_json(&self, backend: &str) -> Value {
        let headers: Vec<Value> = self
            .headers
            .iter()
            .map(|(name, value)| json!([name, String::from_utf8_lossy(value)]))
            .collect();
        json!({
            "backend": backend,
            "method": self.method,
            "path": self.path,
            "version": self.version,
            "headers": headers,
            "body": {"length": self.body_length, "sha256": self.body_sha256},
        })
    }
}

/// A running echo backend.
pub struct Echo {
    state: Arc<State>,
    address: SocketAddr,
    task: tokio::task::JoinHandle<()>,
}

struct State {
    name: String,
    seen: Mutex<Vec<Recorded>>,
    scripted: Mutex<VecDeque<Scripted>>,
    streams: Mutex<VecDeque<EventStream>>,
    health: HealthServer<HealthService>,
}

/// An answer that a test has asked for.
struct Scripted {
    status: u16,
    headers: HeaderMap,
}

/// The sending end of one server-sent event stream; dropping it ends the stream.
pub struct EventStream(Sender<Bytes, BoxError>);

impl EventStream {
    /// Sends one chunk; false when the client is gone.
    pub async fn send(&mut self, chunk: impl Into<Bytes>) -> bool {
        self.0.send_data(chunk.into()).await.is_ok()
    }
}

impl Echo {
    /// Starts a backend on a free port.
    ///
    /// # Errors
    /// No port can be bound.
    pub async fn start(name: &str) -> std::io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let state = Arc::new(State {
            name: name.to_owned(),
            seen: Mutex::default(),
            scripted: Mutex::default(),
            streams: Mutex::default(),
            health: HealthServer::new(HealthService::from_health_reporter(HealthReporter::new())),
        });
        let accepting = Arc::clone(&state);
        let task = runtime::spawn(async move {
            loop {
                let stream = runtime::accept(&listener).await;
                // Small events must leave at once.
                let _ = stream.set_nodelay(true);
                runtime::spawn(serve(stream, Arc::clone(&accepting)));
            }
        });
        Ok(Self {
            state,
            address,
            task,
        })
    }

    /// Where it listens: HTTP/1.1 and HTTP/2, both without TLS.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Everything that was received so far, in order of completion.
    #[must_use]
    pub fn requests(&self) -> Vec<Recorded> {
        self.state.seen.lock().expect("no panic in here").clone()
    }

    /// Forgets what was received so far, for runs of millions.
    pub fn forget(&self) {
        self.state.seen.lock().expect("no panic in here").clear();
    }

    /// The requests whose path holds `part`.
    #[must_use]
    pub fn requests_with(&self, part: &str) -> Vec<Recorded> {
        self.requests()
            .into_iter()
            .filter(|request| request.path.contains(part))
            .collect()
    }

    /// Answers the next requests with these statuses, one each, then as before.
    pub fn answer_next(&self, statuses: impl IntoIterator<Item = u16>) {
        for status in statuses {
            self.answer_with(status, &[]);
        }
    }

    /// Answers the next request with this status and these headers, then as before.
    pub fn answer_with(&self, status: u16, headers: &[(&'static str, &str)]) {
        let headers = headers
            .iter()
            .map(|(name, value)| {
                let value = http::HeaderValue::from_str(value).expect("a header value");
                (http::HeaderName::from_static(name), value)
            })
            .collect();
        self.state
            .scripted
            .lock()
            .expect("no panic in here")
            .push_back(Scripted { status, headers });
    }

    /// Forgets the answers that [`Self::answer_with`] has asked for and that nobody got.
    pub fn answer_as_before(&self) {
        self.state
            .scripted
            .lock()
            .expect("no panic in here")
            .clear();
    }

    /// The next event stream that a client opened; waits for it.
    pub async fn next_stream(&self) -> EventStream {
        eventually("a client to open an event stream", || async {
            self.state
                .streams
                .lock()
                .expect("no panic in here")
                .pop_front()
        })
        .await
    }
}

impl Drop for Echo {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(stream: tokio::net::TcpStream, state: Arc<State>) {
    let service = hyper::service::service_fn(move |request| {
        let state = Arc::clone(&state);
        async move { Ok::<_, Infallible>(respond(&state, request).await) }
    });
    let mut server = auto::Builder::new(TokioExecutor::new());
    server.http1().max_headers(20_000).max_buf_size(8 << 20);
    // A crowd of requests may wait on one connection.
    server
        .http2()
        .max_header_list_size(8 << 20)
        .max_concurrent_streams(10_000);
    // How a connection ends is the peer's business.
    let _ = server.serve_connection(TokioIo::new(stream), service).await;
}

async fn respond(state: &State, request: http::Request<Incoming>) -> Response<Body> {
    let (head, body) = request.into_parts();
    let mut recorded = Recorded {
        method: head.method.to_string(),
        path: head
            .uri
            .path_and_query()
            .map_or_else(String::new, ToString::to_string),
        version: version(head.version).to_owned(),
        headers: head
            .headers
            .iter()
            .map(|(name, value)| (name.to_string(), value.as_bytes().to_vec()))
            .collect(),
        body_length: 0,
        body_sha256: String::new(),
        trailers: Vec::new(),
    };
    let leaked = recorded
        .headers
        .iter()
        .any(|(_, value)| canary::holds_identity_token(value));
    let grpc = recorded
        .values("content-type")
        .iter()
        .any(|t| t.starts_with("application/grpc"));
    let mut response = if leaked {
        plain(
            StatusCode::INTERNAL_SERVER_ERROR,
            "a TH-JWT reached a backend",
        )
    } else if grpc {
        state.record(recorded.clone());
        grpc_response(state, http::Request::from_parts(head, body)).await
    } else {
        match read(body, &mut recorded).await {
            Ok(()) => {
                state.record(recorded.clone());
                requested(state, &recorded)
            }
            // The client went away in the middle of its body; nobody reads this answer.
            Err(_) => plain(StatusCode::BAD_REQUEST, "the body broke off"),
        }
    };
    if leaked {
        state.record(recorded);
    }
    let name = http::HeaderValue::from_str(&state.name).expect("a backend's name fits a header");
    response.headers_mut().insert(ECHO_HEADER, name);
    response
}

impl State {
    fn record(&self, request: Recorded) {
        self.seen.lock().expect("no panic in here").push(request);
    }
}

async fn grpc_response(state: &State, request: http::Request<Incoming>) -> Response<Body> {
    let mut service = state.health.clone();
    let Ok(response) = service.call(request).await;
    response.map(|body| body.map_err(Into::into).boxed_unsync())
}

async fn read(mut body: Incoming, recorded: &mut Recorded) -> Result<(), hyper::Error> {
    let mut hash = Sha256::new();
    while let Some(frame) = body.frame().await {
        match frame?.into_data() {
            Ok(data) => {
                recorded.body_length += data.len();
                hash.update(&data);
            }
            Err(frame) => {
                let trailers = frame.into_trailers().unwrap_or_default();
                recorded
                    .trailers
                    .extend(trailers.keys().map(ToString::to_string));
            }
        }
    }
    let hex = hash.finalize();
    recorded.body_sha256 = hex.iter().map(|byte| format!("{byte:02x}")).collect();
    Ok(())
}

/// Answers as the path asks.
fn requested(state: &State, recorded: &Recorded) -> Response<Body> {
    let path = recorded.path.split('?').next().unwrap_or_default();
    let mut parts = path.rsplit('/');
    let (last, before) = (
        parts.next().unwrap_or_default(),
        parts.next().unwrap_or_default(),
    );
    let number = last.parse::<usize>().ok();
    let asked_for = number
        .filter(|_| before == "status")
        .and_then(|code| u16::try_from(code).ok())
        .map(|status| Scripted {
            status,
            headers: HeaderMap::new(),
        });
    let scripted = state.scripted.lock().expect("no panic in here").pop_front();
    if let Some(Scripted { status, headers }) = scripted.or(asked_for) {
        let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut response = plain(status, "as asked for");
        response.headers_mut().extend(headers);
        return response;
    }
    if let Some(length) = number.filter(|_| before == "bytes") {
        let body = Full::new(Bytes::from(vec![b'x'; length]));
        return Response::new(body.map_err(Into::into).boxed_unsync());
    }
    if last == "events" {
        return event_stream(state);
    }
    let body = Full::new(Bytes::from(recorded.to_json(&state.name).to_string()));
    Response::builder()
        .header("content-type", "application/json")
        .body(body.map_err(Into::into).boxed_unsync())
        .expect("a valid answer")
}

fn event_stream(state: &State) -> Response<Body> {
    let (sender, stream) = Channel::new(16);
    state
        .streams
        .lock()
        .expect("no panic in here")
        .push_back(EventStream(sender));
    Response::builder()
        .header("content-type", "text/event-stream")
        .header("cache-control", "no-store")
        .body(stream.boxed_unsync())
        .expect("a valid answer")
}

fn plain(status: StatusCode, text: &'static str) -> Response<Body> {
    let body = Full::new(Bytes::from_static(text.as_bytes()))
        .map_err(Into::into)
        .boxed_unsync();
    let mut response = Response::new(body);
    *response.status_mut() = status;
    response
}

fn version(version: Version) -> &'static str {
    match version {
        Version::HTTP_10 => "HTTP/1.0",
        Version::HTTP_11 => "HTTP/1.1",
        Version::HTTP_2 => "HTTP/2",
        _ => "unknown",
    }
}
