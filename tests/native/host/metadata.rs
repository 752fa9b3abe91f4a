//! `envoy.config.core.v3.Metadata`, encoded by prost.

use prost::Message;
use prost_types::value::Kind;
use prost_types::{ListValue, Struct, Value};
use serde_json::Value as Json;
use std::collections::BTreeMap;

#[derive(Clone, PartialEq, Message)]
struct Metadata {
    #[prost(btree_map = "string, message", tag = "1")]
    filter_metadata: BTreeMap<String, Struct>,
}

/// The message whose `filter_metadata` is `namespaces`, a map of maps.
pub fn encode(namespaces: &Json) -> Vec<u8> {
    let filter_metadata = namespaces
        .as_object()
        .into_iter()
        .flatten()
        .map(|(name, fields)| (name.clone(), structure(fields)))
        .collect();
    Metadata { filter_metadata }.encode_to_vec()
}

fn structure(json: &Json) -> Struct {
    let fields = json.as_object().into_iter().flatten();
    Struct {
        fields: fields
            .map(|(key, json)| (key.clone(), value(json)))
            .collect(),
    }
}

fn value(json: &Json) -> Value {
    let kind = match json {
        Json::Null => Kind::NullValue(0),
        Json::Bool(truth) => Kind::BoolValue(*truth),
        Json::Number(number) => Kind::NumberValue(number.as_f64().unwrap()),
        Json::String(text) => Kind::StringValue(text.clone()),
        Json::Array(items) => Kind::ListValue(ListValue {
            values: items.iter().map(value).collect(),
        }),
        Json::Object(_) => Kind::StructValue(structure(json)),
    };
    Value { kind: Some(kind) }
}
