//! The embedded authorization server, as far as Envoy sees it: a gRPC `ext_authz` service that
//! looks up the session of a checked TH-JWT and answers with its upstream tokens, and the JWKS that
//! the TH-JWT is checked with.

use std::collections::HashMap;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use envoy_types::ext_authz::v3::CheckResponseExt;
use envoy_types::ext_authz::v3::pb::{
    Authorization, AuthorizationServer, CheckRequest, CheckResponse, OkHttpResponse,
};
use envoy_types::pb::google::protobuf::value::Kind;
use envoy_types::pb::google::protobuf::{ListValue, Struct, Value as ProtoValue};
use http_body_util::Full;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use hyper_util::service::TowerToHyperService;
use serde_json::Value;
use tokio::net::TcpListener;
use tonic::{Request, Response, Status};

use crate::identity_token::IdentityIssuer;
use crate::runtime;

/// Where `jwt_authn` leaves its findings, and under which key the bed's configurations tell it to.
const JWT_NAMESPACE: &str = "envoy.filters.http.jwt_authn";
/// `payload_in_metadata` of the bed's and the demo's configurations.
pub const JWT_PAYLOAD_KEY: &str = "th_jwt";

/// A running embedded AS with its sessions.
pub struct EmbeddedAs {
    issuer: IdentityIssuer,
    sessions: Arc<Sessions>,
    grpc: SocketAddr,
    jwks: SocketAddr,
    next: AtomicU64,
    tasks: Vec<tokio::task::JoinHandle<()>>,
}

impl EmbeddedAs {
    /// Starts the gRPC service and the JWKS endpoint, each on a free port.
    ///
    /// # Errors
    /// No port can be bound.
    pub async fn start() -> std::io::Result<Self> {
        let issuer = IdentityIssuer::new();
        let sessions = Arc::new(Sessions::default());
        let (grpc, grpc_task) = serve_grpc(Arc::clone(&sessions)).await?;
        let (jwks, jwks_task) = serve_jwks(issuer.jwks().to_string()).await?;
        Ok(Self {
            issuer,
            sessions,
            grpc,
            jwks,
            next: AtomicU64::new(1),
            tasks: vec![grpc_task, jwks_task],
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

    /// Address of the JWKS endpoint (`GET /jwks.json`).
    #[must_use]
    pub fn jwks_address(&self) -> SocketAddr {
        self.jwks
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
        answer.set_dynamic_metadata(Some(to_struct(&metadata)));
        answer.set_http_response(OkHttpResponse::default());
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

fn to_struct(value: &Value) -> Struct {
    let fields = value
        .as_object()
        .into_iter()
        .flatten()
        .map(|(key, value)| (key.clone(), to_proto(value)))
        .collect();
    Struct { fields }
}

fn to_proto(value: &Value) -> ProtoValue {
    let kind = match value {
        Value::Null => Kind::NullValue(0),
        Value::Bool(flag) => Kind::BoolValue(*flag),
        Value::Number(number) => Kind::NumberValue(number.as_f64().unwrap_or_default()),
        Value::String(text) => Kind::StringValue(text.clone()),
        Value::Array(items) => Kind::ListValue(ListValue {
            values: items.iter().map(to_proto).collect(),
        }),
        Value::Object(_) => Kind::StructValue(to_struct(value)),
    };
    ProtoValue { kind: Some(kind) }
}

async fn serve_grpc(
    sessions: Arc<Sessions>,
) -> std::io::Result<(SocketAddr, tokio::task::JoinHandle<()>)> {
    let service = AuthorizationServer::new(AuthorizationService(sessions));
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    let task = runtime::spawn(async move {
        loop {
            let Ok((stream, _)) = listener.accept().await else {
                continue;
            };
            let service = TowerToHyperService::new(service.clone());
            runtime::spawn(async move {
                // How a connection ends is the peer's business.
                let _ = auto::Builder::new(TokioExecutor::new())
                    .http2_only()
                    .serve_connection(TokioIo::new(stream), service)
                    .await;
            });
        }
    });
    Ok((address, task))
}

async fn serve_jwks(jwks: String) -> std::io::Result<(SocketAddr, tokio::task::JoinHandle<()>)> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    let task = runtime::spawn(async move {
        loop {
            let Ok((stream, _)) = listener.accept().await else {
                continue;
            };
            let jwks = jwks.clone();
            let service = hyper::service::service_fn(move |_| {
                let answer = http::Response::builder()
                    .header("content-type", "application/json")
                    .body(Full::new(bytes::Bytes::from(jwks.clone())));
                async move { Ok::<_, Infallible>(answer.expect("a valid answer")) }
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
