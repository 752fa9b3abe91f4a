//! What Envoy asks, as it asks it for an MCP client: the header fields and claims that there usually
//! are, in messages that an implementation encodes which is not ours.

use std::collections::HashMap;

use bed::to_struct;
use envoy_types::pb::envoy::config::core::v3::address::Address as AddressKind;
use envoy_types::pb::envoy::config::core::v3::socket_address::PortSpecifier;
use envoy_types::pb::envoy::config::core::v3::{Address, Metadata, SocketAddress};
use envoy_types::pb::envoy::service::auth::v3::attribute_context::{HttpRequest, Peer, Request};
use envoy_types::pb::envoy::service::auth::v3::check_response::HttpResponse;
use envoy_types::pb::envoy::service::auth::v3::{
    AttributeContext, CheckRequest, CheckResponse, OkHttpResponse,
};
use envoy_types::pb::google::protobuf::Timestamp;
use envoy_types::pb::google::rpc::Status;
use prost::Message;
use serde_json::{Value, json};

/// A `CheckRequest` for a request with this TH-JWT, whose claims `jwt_authn` has checked.
pub fn check(th_jwt: &str, claims: &Value) -> Vec<u8> {
    let headers = [
        (":authority", "mcp.example.com"),
        (":method", "POST"),
        (":path", "/github-tools/mcp"),
        (":scheme", "https"),
        ("accept", "application/json, text/event-stream"),
        ("accept-encoding", "gzip, deflate, br"),
        ("authorization", &format!("Bearer {th_jwt}")),
        ("content-length", "183"),
        ("content-type", "application/json"),
        ("mcp-protocol-version", "2025-06-18"),
        ("mcp-session-id", "3f6a8cf0c9cf4a0e9f6f4d9a4ad4b1f2"),
        ("user-agent", "python-httpx/0.28.1"),
        ("x-envoy-external-address", "203.0.113.17"),
        ("x-forwarded-for", "203.0.113.17"),
        ("x-forwarded-proto", "https"),
        ("x-request-id", "5d3f3a07-7a3f-4d5e-9f4b-2c1de9a1b7c4"),
    ];
    let peer = |address: &str, port: u32| Peer {
        address: Some(Address {
            address: Some(AddressKind::SocketAddress(SocketAddress {
                address: address.to_owned(),
                port_specifier: Some(PortSpecifier::PortValue(port)),
                ..SocketAddress::default()
            })),
        }),
        ..Peer::default()
    };
    let attributes = AttributeContext {
        source: Some(peer("203.0.113.17", 51_324)),
        destination: Some(peer("10.0.0.7", 10_000)),
        request: Some(Request {
            time: Some(Timestamp {
                seconds: 1_795_643_866,
                nanos: 530_019_000,
            }),
            http: Some(HttpRequest {
                id: "11846293716512".to_owned(),
                method: "POST".to_owned(),
                headers: headers
                    .map(|(name, value)| (name.to_owned(), value.to_owned()))
                    .into(),
                path: "/github-tools/mcp".to_owned(),
                host: "mcp.example.com".to_owned(),
                scheme: "https".to_owned(),
                size: 183,
                protocol: "HTTP/2".to_owned(),
                ..HttpRequest::default()
            }),
        }),
        metadata_context: Some(Metadata {
            filter_metadata: HashMap::from([(
                "envoy.filters.http.jwt_authn".to_owned(),
                to_struct(&json!({"th_jwt": claims})),
            )]),
            ..Metadata::default()
        }),
        route_metadata_context: Some(Metadata::default()),
        ..AttributeContext::default()
    };
    CheckRequest {
        attributes: Some(attributes),
    }
    .encode_to_vec()
}

/// The `CheckResponse` with these tokens that lets the request go on.
pub fn answer(metadata: &Value) -> Vec<u8> {
    CheckResponse {
        status: Some(Status::default()),
        http_response: Some(HttpResponse::OkResponse(OkHttpResponse::default())),
        dynamic_metadata: Some(to_struct(metadata)),
    }
    .encode_to_vec()
}

/// A message as gRPC has it in a body: not compressed, its length, itself.
pub fn grpc(message: &[u8]) -> Vec<u8> {
    let length = u32::try_from(message.len()).expect("short");
    [&[0], &length.to_be_bytes()[..], message].concat()
}
