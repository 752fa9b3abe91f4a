//! Messages read and written here, against code that is generated from their definition.

use std::collections::HashMap;

use envoy_types::pb::envoy::config::core::v3::{HeaderMap, HeaderValue, Metadata};
use envoy_types::pb::envoy::service::auth::v3::attribute_context::{HttpRequest, Peer, Request};
use envoy_types::pb::envoy::service::auth::v3::check_response::HttpResponse;
use envoy_types::pb::envoy::service::auth::v3::{
    AttributeContext, CheckRequest, CheckResponse, OkHttpResponse,
};
use envoy_types::pb::google::protobuf::value::Kind;
use envoy_types::pb::google::protobuf::{ListValue, Struct, Timestamp, Value};
use proptest::collection::{hash_map, vec};
use proptest::prelude::*;
use prost::Message as _;

use super::answer::allowed;
use super::request::{Check, as_text, read, struct_field};
use crate::core::{Found, Token};

const NAMESPACE: &str = "envoy.filters.http.jwt_authn";
const PROVIDERS: &str = "upstream_inject.providers";

/// A name that matters, or one that does not.
fn name(known: &'static [&'static str]) -> impl Strategy<Value = String> {
    prop_oneof![
        proptest::sample::select(known).prop_map(str::to_owned),
        "\\PC{0,12}",
    ]
}

fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(None),
        Just(Some(Kind::NullValue(0))),
        any::<bool>().prop_map(|flag| Some(Kind::BoolValue(flag))),
        (-1e9..1e9).prop_map(|number| Some(Kind::NumberValue(number))),
        "\\PC{0,200}".prop_map(|text| Some(Kind::StringValue(text))),
    ]
    .prop_map(|kind| Value { kind });
    leaf.prop_recursive(3, 24, 6, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..4).prop_map(|values| Value {
                kind: Some(Kind::ListValue(ListValue { values }))
            }),
            structure(inner).prop_map(|fields| Value {
                kind: Some(Kind::StructValue(fields))
            }),
        ]
    })
}

fn structure(value: impl Strategy<Value = Value>) -> impl Strategy<Value = Struct> {
    hash_map(name(&["th_jwt", "tsid", "iss"]), value, 0..5).prop_map(|fields| Struct { fields })
}

fn metadata() -> impl Strategy<Value = Metadata> {
    hash_map(name(&[NAMESPACE]), structure(value()), 0..3).prop_map(|filter_metadata| Metadata {
        filter_metadata,
        ..Metadata::default()
    })
}

fn http() -> impl Strategy<Value = HttpRequest> {
    let headers = hash_map(name(&["authorization", ":path"]), "\\PC{0,40}", 0..4);
    let one = (
        name(&["authorization", "Authorization"]),
        "\\PC{0,20}",
        "\\PC{0,20}",
    );
    let header_map = proptest::option::of(vec(one, 0..3));
    (headers, header_map, "\\PC{0,40}", any::<i64>()).prop_map(
        |(headers, header_map, path, size)| HttpRequest {
            headers,
            header_map: header_map.map(|headers| HeaderMap {
                headers: headers
                    .into_iter()
                    .map(|(key, value, raw)| HeaderValue {
                        key,
                        value,
                        raw_value: raw.into_bytes(),
                    })
                    .collect(),
            }),
            path,
            size,
            ..HttpRequest::default()
        },
    )
}

fn check_request() -> impl Strategy<Value = CheckRequest> {
    let request =
        (proptest::option::of(http()), any::<i64>()).prop_map(|(http, seconds)| Request {
            http,
            time: Some(Timestamp { seconds, nanos: 7 }),
        });
    let extensions = hash_map(name(&[PROVIDERS]), "\\PC{0,30}", 0..3);
    let attributes = (
        proptest::option::of(request),
        proptest::option::of(metadata()),
        extensions,
        any::<bool>(),
    )
        .prop_map(
            |(request, metadata_context, context_extensions, peer)| AttributeContext {
                source: peer.then(Peer::default),
                request,
                metadata_context,
                context_extensions,
                ..AttributeContext::default()
            },
        );
    proptest::option::of(attributes).prop_map(|attributes| CheckRequest { attributes })
}

/// What `read` should find: the payload as a struct, what else it says, and the session's id.
#[derive(Debug, PartialEq)]
struct Expected {
    payload: Option<Struct>,
    session: Option<String>,
    providers: Option<String>,
    path: String,
    authorization: Option<String>,
    authorizations: Vec<String>,
}

fn expected(message: &CheckRequest) -> Expected {
    let attributes = message.attributes.clone().unwrap_or_default();
    let http = attributes
        .request
        .and_then(|request| request.http)
        .unwrap_or_default();
    let payload = attributes
        .metadata_context
        .and_then(|metadata| metadata.filter_metadata.get(NAMESPACE).cloned())
        .and_then(|fields| fields.fields.get("th_jwt")?.kind.clone())
        .and_then(|kind| match kind {
            Kind::StructValue(payload) => Some(payload),
            _ => None,
        });
    let session = payload
        .as_ref()
        .and_then(|payload| payload.fields.get("tsid")?.kind.clone())
        .and_then(|kind| match kind {
            Kind::StringValue(text) => Some(text),
            _ => None,
        });
    Expected {
        payload,
        session,
        providers: attributes.context_extensions.get(PROVIDERS).cloned(),
        path: http.path,
        authorization: http.headers.get("authorization").cloned(),
        authorizations: http
            .header_map
            .unwrap_or_default()
            .headers
            .into_iter()
            .filter(|header| header.key.eq_ignore_ascii_case("authorization"))
            .map(|header| match header.raw_value.as_slice() {
                [] => header.value,
                raw => String::from_utf8(raw.to_vec()).expect("made of text"),
            })
            .collect(),
    }
}

/// What it does find; nothing, if the payload is refused where the door looks into it.
fn found(check: &Check<'_>) -> Option<Expected> {
    let session = match check.payload {
        Some(payload) => struct_field(payload, b"tsid").ok()?,
        None => None,
    };
    Some(Expected {
        session: session.and_then(as_text).map(str::to_owned),
        payload: check
            .payload
            .map(|payload| Struct::decode(payload).expect("a struct")),
        providers: check.providers.map(str::to_owned),
        path: check.path.to_owned(),
        authorization: check.authorization.map(str::to_owned),
        authorizations: check
            .authorizations
            .iter()
            .map(|text| (*text).to_owned())
            .collect(),
    })
}

/// A token, or a text that stands for the lack of one: tokens cannot be printed.
fn token() -> impl Strategy<Value = String> {
    prop_oneof![
        "[ -~]{0,40}",
        "[a-z]{120,140}",
        "[a-z]{16380,16390}",
        Just("missing".to_owned()),
        Just("unavailable".to_owned()),
    ]
}

fn as_token(token: String) -> Token {
    match token.as_str() {
        "missing" => Token::Missing,
        "unavailable" => Token::Unavailable,
        _ => Token::Held {
            token,
            expires_at: None,
        },
    }
}

fn answer_of(found: &[Found], health_check: bool) -> CheckResponse {
    let map = |token: fn(&Found) -> &Token| -> HashMap<String, Value> {
        found
            .iter()
            .filter_map(|found| match token(found) {
                Token::Held { token, .. } => Some((
                    found.provider.clone(),
                    Value {
                        kind: Some(Kind::StringValue(token.clone())),
                    },
                )),
                _ => None,
            })
            .collect()
    };
    let truth = || Value {
        kind: Some(Kind::BoolValue(true)),
    };
    let unavailable = found
        .iter()
        .filter(|found| found.access == Token::Unavailable || found.id == Token::Unavailable)
        .map(|found| (found.provider.clone(), truth()))
        .collect();
    let mut fields: HashMap<String, Value> = [
        ("upstream_tokens", map(|found| &found.access)),
        ("upstream_id_tokens", map(|found| &found.id)),
        ("upstream_unavailable", unavailable),
    ]
    .into_iter()
    .filter(|(_, fields)| !fields.is_empty())
    .map(|(name, fields)| {
        let kind = Some(Kind::StructValue(Struct { fields }));
        (name.to_owned(), Value { kind })
    })
    .collect();
    if health_check {
        fields.insert("health_check".to_owned(), truth());
    }
    CheckResponse {
        status: Some(envoy_types::pb::google::rpc::Status::default()),
        http_response: Some(HttpResponse::OkResponse(OkHttpResponse::default())),
        dynamic_metadata: (!fields.is_empty()).then_some(Struct { fields }),
    }
}

proptest! {
    #[test]
    fn a_check_is_read_as_generated_code_reads_it(message in check_request()) {
        let bytes = message.encode_to_vec();
        prop_assert_eq!(found(&read(&bytes, "th_jwt").unwrap()), Some(expected(&message)));
    }

    /// Whatever is broken in it: it is refused, or it is read as generated code reads it.
    #[test]
    fn a_broken_check_is_refused_or_read_alike(
        message in check_request(),
        changes in vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
        cut in any::<prop::sample::Index>(),
    ) {
        let mut bytes = message.encode_to_vec();
        if !bytes.is_empty() {
            for (place, byte) in changes {
                let place = place.index(bytes.len());
                bytes[place] = byte;
            }
            if bytes.len() > 40 {
                bytes.truncate(cut.index(bytes.len()).max(20));
            }
        }
        if let (Ok(check), Ok(message)) = (read(&bytes, "th_jwt"), CheckRequest::decode(&*bytes))
            && let (Some(found), Some(expected)) = (found(&check), readable(&message))
        {
            prop_assert_eq!(found, expected);
        }
    }

    #[test]
    fn any_bytes_are_refused_or_read_alike(bytes in vec(any::<u8>(), 0..200)) {
        if let (Ok(check), Ok(message)) = (read(&bytes, "th_jwt"), CheckRequest::decode(&*bytes))
            && let (Some(found), Some(expected)) = (found(&check), readable(&message))
        {
            prop_assert_eq!(found, expected);
        }
    }

    #[test]
    fn an_answer_is_written_as_generated_code_reads_it(
        tokens in vec((token(), token()), 0..4),
        health_check in any::<bool>(),
    ) {
        let found: Vec<Found> = tokens
            .into_iter()
            .enumerate()
            .map(|(number, (access, id))| Found {
                provider: format!("provider-{number}"),
                access: as_token(access),
                id: as_token(id),
                without_id: false,
            })
            .collect();
        let framed = allowed(&found, health_check);
        let bytes = framed.message();
        let message = CheckResponse::decode(bytes).unwrap();
        prop_assert_eq!(&message, &answer_of(&found, health_check));
        prop_assert_eq!(message.encoded_len(), bytes.len());
    }
}

/// What generated code finds, unless it holds raw header bytes that are no text.
fn readable(message: &CheckRequest) -> Option<Expected> {
    let headers = message
        .attributes
        .as_ref()
        .and_then(|attributes| {
            attributes
                .request
                .as_ref()?
                .http
                .as_ref()?
                .header_map
                .as_ref()
        })
        .map_or(&[][..], |map| &map.headers);
    headers
        .iter()
        .all(|header| std::str::from_utf8(&header.raw_value).is_ok())
        .then(|| expected(message))
}

#[test]
fn of_the_kinds_of_a_value_the_last_one_counts() {
    let one = |kind| Value { kind: Some(kind) }.encode_to_vec();
    let text = |text: &str| one(Kind::StringValue(text.to_owned()));
    assert_eq!(as_text(&text("one")), Some("one"));
    assert_eq!(as_text(&[text("one"), text("two")].concat()), Some("two"));
    let number = one(Kind::NumberValue(1.0));
    assert_eq!(as_text(&[text("one"), number.clone()].concat()), None);
    assert_eq!(as_text(&[number, text("one")].concat()), Some("one"));
}
