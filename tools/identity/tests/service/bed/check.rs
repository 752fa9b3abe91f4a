//! Envoy's side of the ext_authz door, by an implementation of its messages that is not ours.

use std::collections::HashMap;

use bytes::{Buf as _, BufMut as _, Bytes};
use envoy_types::pb::envoy::config::core::v3::Metadata;
use envoy_types::pb::envoy::service::auth::v3::attribute_context::{HttpRequest, Request};
use envoy_types::pb::envoy::service::auth::v3::authorization_client::AuthorizationClient;
use envoy_types::pb::envoy::service::auth::v3::check_response::HttpResponse;
use envoy_types::pb::envoy::service::auth::v3::{AttributeContext, CheckRequest, CheckResponse};
use envoy_types::pb::google::protobuf::value::Kind;
use envoy_types::pb::google::protobuf::{ListValue, Struct, Value as ProtoValue};
use serde_json::{Map, Value};
use tonic::Status;
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::transport::{Channel, Endpoint};

/// What Envoy would send.
#[derive(Clone, Debug, Default)]
pub struct Check {
    pub payload: Option<Value>,
    pub payload_key: &'static str,
    pub providers: Option<String>,
    pub path: String,
    pub authorization: Option<String>,
}

impl Check {
    pub fn of(payload: Value) -> Self {
        Self {
            payload: Some(payload),
            payload_key: "th_jwt",
            path: "/mcp".to_owned(),
            ..Self::default()
        }
    }

    pub fn request(&self) -> CheckRequest {
        let mut metadata = Metadata::default();
        if let Some(payload) = &self.payload {
            let fields = HashMap::from([(self.payload_key.to_owned(), to_proto(payload))]);
            metadata
                .filter_metadata
                .insert("envoy.filters.http.jwt_authn".to_owned(), Struct { fields });
        }
        let mut http = HttpRequest {
            method: "POST".to_owned(),
            path: self.path.clone(),
            host: "mcp.example.com".to_owned(),
            protocol: "HTTP/2".to_owned(),
            ..HttpRequest::default()
        };
        for (name, value) in [("content-type", "application/json"), (":path", "/mcp")] {
            http.headers.insert(name.to_owned(), value.to_owned());
        }
        if let Some(authorization) = &self.authorization {
            http.headers
                .insert("authorization".to_owned(), authorization.clone());
        }
        let mut context = AttributeContext {
            request: Some(Request {
                http: Some(http),
                ..Request::default()
            }),
            metadata_context: Some(metadata),
            ..AttributeContext::default()
        };
        if let Some(providers) = &self.providers {
            context
                .context_extensions
                .insert("upstream_inject.providers".to_owned(), providers.clone());
        }
        CheckRequest {
            attributes: Some(context),
        }
    }
}

/// What Envoy would do.
#[derive(Clone, Debug, PartialEq)]
pub enum Verdict {
    /// The request goes on, with this metadata.
    Goes(Value),
    /// It is answered: status, headers, body.
    Denied(i32, HashMap<String, String>, String),
    /// The call failed.
    Failed(tonic::Code, String),
}

pub async fn client(port: u16) -> AuthorizationClient<Channel> {
    let endpoint = Endpoint::from_shared(format!("http://127.0.0.1:{port}")).expect("a URL");
    AuthorizationClient::new(endpoint.connect().await.expect("a connection"))
}

pub async fn check(client: &mut AuthorizationClient<Channel>, check: &Check) -> Verdict {
    match client.check(check.request()).await {
        Ok(response) => verdict(response.into_inner()),
        Err(status) => Verdict::Failed(status.code(), status.message().to_owned()),
    }
}

fn verdict(response: CheckResponse) -> Verdict {
    let code = response.status.expect("a status").code;
    match response.http_response {
        Some(HttpResponse::OkResponse(ok)) => {
            assert_eq!(code, 0);
            assert!(ok.headers.is_empty() && ok.headers_to_remove.is_empty());
            let metadata = response.dynamic_metadata.unwrap_or_default();
            Verdict::Goes(from_struct(metadata))
        }
        Some(HttpResponse::DeniedResponse(denied)) => {
            assert_ne!(code, 0);
            let headers = denied
                .headers
                .into_iter()
                .map(|option| option.header.expect("a header"))
                .map(|header| (header.key, header.value))
                .collect();
            Verdict::Denied(denied.status.expect("a status").code, headers, denied.body)
        }
        other => panic!("neither goes on nor is denied: {other:?}"),
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
        Value::Object(members) => Kind::StructValue(Struct {
            fields: members
                .iter()
                .map(|(name, value)| (name.clone(), to_proto(value)))
                .collect(),
        }),
    };
    ProtoValue { kind: Some(kind) }
}

fn from_struct(fields: Struct) -> Value {
    fields
        .fields
        .into_iter()
        .map(|(name, value)| (name, from_proto(value)))
        .collect::<Map<_, _>>()
        .into()
}

fn from_proto(value: ProtoValue) -> Value {
    match value.kind {
        Some(Kind::BoolValue(flag)) => flag.into(),
        Some(Kind::NumberValue(number)) => number.into(),
        Some(Kind::StringValue(text)) => text.into(),
        Some(Kind::StructValue(fields)) => from_struct(fields),
        Some(Kind::ListValue(list)) => list.values.into_iter().map(from_proto).collect(),
        _ => Value::Null,
    }
}

/// Messages as they are, whatever they are.
#[derive(Clone, Copy, Debug, Default)]
pub struct AsBytes;

impl Codec for AsBytes {
    type Encode = Bytes;
    type Decode = Bytes;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self
    }

    fn decoder(&mut self) -> Self {
        Self
    }
}

impl Encoder for AsBytes {
    type Item = Bytes;
    type Error = Status;

    fn encode(&mut self, message: Bytes, out: &mut EncodeBuf<'_>) -> Result<(), Status> {
        out.put(message);
        Ok(())
    }
}

impl Decoder for AsBytes {
    type Item = Bytes;
    type Error = Status;

    fn decode(&mut self, from: &mut DecodeBuf<'_>) -> Result<Option<Bytes>, Status> {
        Ok(Some(from.copy_to_bytes(from.remaining())))
    }
}
