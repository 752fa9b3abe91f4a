//! What the bed's gRPC services have in common: how they are served, and JSON as messages have it.

use std::convert::Infallible;
use std::net::SocketAddr;

use envoy_types::pb::google::protobuf::value::Kind;
use envoy_types::pb::google::protobuf::{ListValue, Struct, Value as ProtoValue};
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use hyper_util::service::TowerToHyperService;
use serde_json::Value;
use tokio::net::TcpListener;
use tonic::codegen::{Service, http};

use crate::runtime;

/// Serves `service` on a free port: HTTP/2 without TLS.
pub(crate) async fn serve<S>(
    service: S,
) -> std::io::Result<(SocketAddr, tokio::task::JoinHandle<()>)>
where
    S: Service<
            http::Request<Incoming>,
            Response = http::Response<tonic::body::Body>,
            Error = Infallible,
        > + Clone
        + Send
        + 'static,
    S::Future: Send,
{
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    let task = runtime::spawn(async move {
        loop {
            let stream = runtime::accept(&listener).await;
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

/// A JSON object as a message; of anything else, an empty one.
#[must_use]
pub fn to_struct(value: &Value) -> Struct {
    let members = value.as_object().into_iter().flatten();
    let fields = members.map(|(key, value)| (key.clone(), to_proto(value)));
    Struct {
        fields: fields.collect(),
    }
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
