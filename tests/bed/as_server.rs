//! The embedded authorization server, as far as Envoy sees it: a gRPC `ext_authz` service that
//! looks up the session of a checked TH-JWT and answers with its upstream tokens, and over HTTP the
//! JWKS that the TH-JWT is checked with, and everything else that clients ask it for.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use envoy_types::ext_authz::v3::CheckResponseExt;
use envoy_types::ext_authz::v3::pb::{
    Authorization, AuthorizationServer, CheckRequest, CheckResponse, OkHttpResponse,
};
use envoy_types::pb::envoy::config::core::v3::{HeaderValue, HeaderValueOption};
use envoy_types::pb::google::protobuf::value::Kind;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tonic::{Request, Response, Status};

use crate::as_login::Login;
use crate::grpc;
use crate::identity_token::{AUDIENCE, ISSUER, IdentityIssuer};
use crate::runtime;
use crate::sts::wire;

/// Where `jwt_authn` leaves its findings, and under which key the bed's configurations tell it to.
const JWT_NAMESPACE: &str = "envoy.filters.http.jwt_authn";
/// `payload_in_metadata` of the bed's and the demo's configurations.
pub const JWT_PAYLOAD_KEY: &str = "th_jwt";

/// The session of whoever logs in over HTTP.
pub const LOGIN_SESSION: &str = "logged-in";

/// A running embedded AS with its sessions.
pub struct EmbeddedAs {
    issuer: Arc<IdentityIssuer>,
    sessions: Arc<Sessions>,
    asked: Arc<Mutex<Vec<Asked>>>,
    grpc: SocketAddr,
    http: SocketAddr,
    next: AtomicU64,
    tasks: Vec<tokio::task::JoinHandle<()>>,
}

/// What a client asked the embedded AS over HTTP, other than for its keys.
#[derive(Clone, Debug)]
pub struct Asked {
    /// The method.
    pub method: String,
    /// Path and query.
    pub path: String,
    /// All values of `authorization`.
    pub authorization: Vec<String>,
}

impl EmbeddedAs {
    /// Starts the gRPC service and the HTTP server, each on a free port. Its TH-JWTs are for the
    /// bed's one audience.
    ///
    /// # Errors
    /// No port can be bound.
    pub async fn start() -> std::io::Result<Self> {
        Self::issuing_for(json!(AUDIENCE)).await
    }

    /// The same, with another `aud` in its TH-JWTs.
    ///
    /// # Errors
    /// No port can be bound.
    pub async fn issuing_for(audience: Value) -> std::io::Result<Self> {
        Self::issuing(IdentityIssuer::named(ISSUER, audience)).await
    }

    /// An auth server at which clients can log in, under this URL: [`LOGIN_SESSION`] is the session
    /// of all of them.
    ///
    /// # Errors
    /// No port can be bound.
    pub async fn at(url: &str) -> std::io::Result<Self> {
        Self::issuing(IdentityIssuer::named(url, json!(url))).await
    }

    async fn issuing(issuer: IdentityIssuer) -> std::io::Result<Self> {
        let issuer = Arc::new(issuer);
        let login = Arc::new(Login::new(Arc::clone(&issuer), LOGIN_SESSION));
        let sessions = Arc::new(Sessions::default());
        let asked = Arc::new(Mutex::default());
        let service = AuthorizationService(Arc::clone(&sessions));
        let (grpc, grpc_task) = grpc::serve(AuthorizationServer::new(service)).await?;
        let (http, http_task) =
            serve_http(issuer.jwks().to_string(), login, Arc::clone(&asked)).await?;
        Ok(Self {
            issuer,
            sessions,
            asked,
            grpc,
            http,
            next: AtomicU64::new(1),
            tasks: vec![grpc_task, http_task],
        })
    }

    /// Logs a user in: remembers what `ext_authz` answers for the session, and issues the TH-JWT.
    /// `metadata` is the whole dynamic metadata, such as `{"upstream_tokens": {"github": "gho_x"}}`.
    #[must_use]
    pub fn login(&self, user: &str, metadata: Value) -> String {
        let tsid = format!(
            "session-{}-{user}",
            self.next.fetch_add(1, Ordering::Relaxed)
        );
        self.set_session(&tsid, metadata);
        self.issuer.mint(user, &tsid, Duration::from_secs(3600))
    }

    /// Sets what a session's requests get. The session `""` is that of requests without a TH-JWT;
    /// as long as it is not set, they are denied.
    pub fn set_session(&self, tsid: &str, metadata: Value) {
        self.sessions
            .by_tsid
            .lock()
            .expect("no panic in here")
            .insert(tsid.to_owned(), metadata);
    }

    /// From now on `ext_authz` puts a header on each request, as an authorization service does that
    /// knows the tenant.
    pub fn add_header(&self, name: &str, value: &str) {
        self.sessions
            .headers
            .lock()
            .expect("no panic in here")
            .push((name.to_owned(), value.to_owned()));
    }

    /// From now on `ext_authz` cannot say who anybody is, or can again.
    pub fn break_down(&self, broken: bool) {
        self.sessions.broken.store(broken, Ordering::Relaxed);
    }

    /// What was asked for over HTTP so far.
    #[must_use]
    pub fn asked(&self) -> Vec<Asked> {
        self.asked.lock().expect("no panic in here").clone()
    }

    /// The issuer of the TH-JWTs, for tokens with other claims.
    #[must_use]
    pub fn issuer(&self) -> &IdentityIssuer {
        &self.issuer
    }

    /// Address of the `ext_authz` gRPC service (HTTP/2 without TLS).
    #[must_use]
    pub fn grpc_address(&self) -> SocketAddr {
        self.grpc
    }

    /// Address of the HTTP server: the keys are at `/jwks.json`, the rest is for logins.
    #[must_use]
    pub fn http_address(&self) -> SocketAddr {
        self.http
    }

    /// How many requests were checked so far.
    #[must_use]
    pub fn checks(&self) -> u64 {
        self.sessions.checks.load(Ordering::Relaxed)
    }
}

impl Drop for EmbeddedAs {
    fn drop(&mut self) {
        for task in &self.tasks {
            task.abort();
        }
    }
}

#[derive(Default)]
struct Sessions {
    by_tsid: Mutex<HashMap<String, Value>>,
    headers: Mutex<Vec<(String, String)>>,
    broken: AtomicBool,
    checks: AtomicU64,
}

/// The gRPC face of the sessions.
struct AuthorizationService(Arc<Sessions>);

#[tonic::async_trait]
impl Authorization for AuthorizationService {
    async fn check(
        &self,
        request: Request<CheckRequest>,
    ) -> Result<Response<CheckResponse>, Status> {
        self.0.checks.fetch_add(1, Ordering::Relaxed);
        if self.0.broken.load(Ordering::Relaxed) {
            return Err(Status::unavailable("the sessions are not at hand"));
        }
        let tsid = session_id(request.get_ref()).unwrap_or_default();
        let session = self
            .0
            .by_tsid
            .lock()
            .expect("no panic in here")
            .get(&tsid)
            .cloned();
        let Some(metadata) = session else {
            return Ok(Response::new(CheckResponse::with_status(
                Status::unauthenticated("unknown session"),
            )));
        };
        let mut answer = CheckResponse::with_status(Status::ok(""));
        answer.set_dynamic_metadata(Some(grpc::to_struct(&metadata)));
        let mut ok = OkHttpResponse::default();
        let headers = self.0.headers.lock().expect("no panic in here");
        ok.headers = headers.iter().map(to_option).collect();
        answer.set_http_response(ok);
        Ok(Response::new(answer))
    }
}

/// Reads `tsid` from the payload that `jwt_authn` has checked; the token itself is not looked at.
fn session_id(request: &CheckRequest) -> Option<String> {
    let metadata = &request
        .attributes
        .as_ref()?
        .metadata_context
        .as_ref()?
        .filter_metadata;
    let Kind::StructValue(payload) = metadata
        .get(JWT_NAMESPACE)?
        .fields
        .get(JWT_PAYLOAD_KEY)?
        .kind
        .as_ref()?
    else {
        return None;
    };
    match payload.fields.get("tsid")?.kind.as_ref()? {
        Kind::StringValue(tsid) => Some(tsid.clone()),
        _ => None,
    }
}

fn to_option((name, value): &(String, String)) -> HeaderValueOption {
    HeaderValueOption {
        header: Some(HeaderValue {
            key: name.clone(),
            value: value.clone(),
            ..HeaderValue::default()
        }),
        ..HeaderValueOption::default()
    }
}

async fn serve_http(
    jwks: String,
    login: Arc<Login>,
    asked: Arc<Mutex<Vec<Asked>>>,
) -> std::io::Result<(SocketAddr, tokio::task::JoinHandle<()>)> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    let task = runtime::spawn(async move {
        loop {
            let stream = runtime::accept(&listener).await;
            let (jwks, login, asked) = (jwks.clone(), Arc::clone(&login), Arc::clone(&asked));
            let service = hyper::service::service_fn(move |request: http::Request<Incoming>| {
                let (jwks, login, asked) = (jwks.clone(), Arc::clone(&login), Arc::clone(&asked));
                async move {
                    if request.uri().path().ends_with("/jwks.json") {
                        return Ok(answer(http::StatusCode::OK, None, jwks));
                    }
                    asked.lock().expect("no panic in here").push(note(&request));
                    let (head, body) = request.into_parts();
                    let form = body.collect().await.map(|it| it.to_bytes())?;
                    let mut parameters = pairs(head.uri.query().unwrap_or_default().as_bytes());
                    parameters.extend(pairs(&form));
                    let (status, header, body) = login.answer(head.uri.path(), &parameters);
                    Ok::<_, hyper::Error>(answer(status, header, body.to_string()))
                }
            });
            runtime::spawn(async move {
                let _ = auto::Builder::new(TokioExecutor::new())
                    .serve_connection(TokioIo::new(stream), service)
                    .await;
            });
        }
    });
    Ok((address, task))
}

fn answer(
    status: http::StatusCode,
    header: Option<(&'static str, String)>,
    body: String,
) -> http::Response<Full<bytes::Bytes>> {
    let mut builder = http::Response::builder()
        .status(status)
        .header("content-type", "application/json");
    if let Some((name, value)) = header {
        builder = builder.header(name, value);
    }
    builder
        .body(Full::new(bytes::Bytes::from(body)))
        .expect("a valid answer")
}

fn pairs(form: &[u8]) -> HashMap<String, String> {
    let pairs = wire::decode_form(&String::from_utf8_lossy(form));
    pairs.into_iter().collect()
}

fn note(request: &http::Request<Incoming>) -> Asked {
    Asked {
        method: request.method().to_string(),
        path: request
            .uri()
            .path_and_query()
            .map_or_else(String::new, ToString::to_string),
        authorization: request
            .headers()
            .get_all("authorization")
            .iter()
            .map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned())
            .collect(),
    }
}
