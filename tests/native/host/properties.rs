//! Attributes, as Envoy reads and packs them.

use super::metadata;
use super::packed::pack;
use super::state::{Stream, status};
use serde_json::Value;

/// What a stream's attributes are read from.
#[derive(Clone, Default)]
pub struct Attributes {
    pub cluster_name: Option<String>,
    pub route_name: Option<String>,
    /// `filter_metadata` of the route: namespace, key, value.
    pub route_metadata: Value,
    /// `filter_metadata` of the stream: namespace, key, value.
    pub metadata: Value,
    pub response_code: Option<i64>,
    /// Which of the client's requests the stream is an attempt of: when it began.
    pub began: u64,
    /// Which of the client's requests it is a pass and an attempt of, where that is not told by when it
    /// began.
    pub request: Option<u64>,
    /// Whether it came over no connection: the copy of a request that goes to a mirror, say.
    pub without_connection: bool,
    pub response_details: Option<String>,
    /// Attributes that the host fails to read: their first two segments, joined by dots.
    pub failing: Vec<String>,
}

/// Reads the attribute at `path` (segments separated by NUL) of a stream that is the so-manieth
/// attempt of its request, or says why not.
pub fn read(stream: &Stream, path: &str, attempts: u64) -> Result<Vec<u8>, u32> {
    let path: Vec<&str> = path.split('\0').collect();
    let attributes = &stream.attributes;
    let beginning = path.iter().take(2).copied().collect::<Vec<_>>().join(".");
    if attributes.failing.contains(&beginning) {
        return Err(status::INTERNAL_FAILURE);
    }
    let text = |text: &Option<String>| match text {
        Some(text) => Ok(text.clone().into_bytes()),
        None => Err(status::NOT_FOUND),
    };
    match &path[..] {
        ["upstream", "request_attempt_count"] => Ok(attempts.to_le_bytes().to_vec()),
        ["xds", "cluster_name"] => text(&attributes.cluster_name),
        ["xds", "route_name"] => text(&attributes.route_name),
        ["xds", "route_metadata"] => Ok(metadata::encode(&attributes.route_metadata)),
        ["xds", "route_metadata", "filter_metadata", way @ ..] => {
            walk(&attributes.route_metadata, way)
        }
        ["metadata"] => Ok(metadata::encode(&attributes.metadata)),
        ["metadata", "filter_metadata", way @ ..] => walk(&attributes.metadata, way),
        // Envoy lends the header fields until the request has gone on.
        ["request", "headers", _] if stream.went_on => Err(status::NOT_FOUND),
        ["request", "headers", name] => joined(stream, name),
        ["request", "time"] => Ok(attributes.began.to_le_bytes().to_vec()),
        ["connection", "id"] if attributes.without_connection => Err(status::NOT_FOUND),
        ["connection", "id"] => Ok(7u64.to_le_bytes().to_vec()),
        ["filter_state", name] => match stream.filter_state.get(*name) {
            Some(value) => Ok(value.clone()),
            None => Err(status::NOT_FOUND),
        },
        ["response", "code"] => match attributes.response_code {
            Some(code) => Ok(code.to_le_bytes().to_vec()),
            None => Err(status::NOT_FOUND),
        },
        ["response", "code_details"] => text(&attributes.response_details),
        _ => Err(status::NOT_FOUND),
    }
}

/// Repeated fields are one attribute.
fn joined(stream: &Stream, name: &str) -> Result<Vec<u8>, u32> {
    let fields: Vec<&[u8]> = stream
        .request
        .iter()
        .filter(|(field, _)| field == name)
        .map(|(_, value)| &value[..])
        .collect();
    match fields.is_empty() {
        true => Err(status::NOT_FOUND),
        false => Ok(fields.join(&b","[..])),
    }
}

fn walk(from: &Value, way: &[&str]) -> Result<Vec<u8>, u32> {
    let mut value = from;
    for segment in way {
        value = match value {
            Value::Object(fields) => fields.get(*segment),
            Value::Array(items) => segment
                .trim()
                .parse()
                .ok()
                .and_then(|place: usize| items.get(place)),
            _ => None,
        }
        .ok_or(status::NOT_FOUND)?;
    }
    packed(value)
}

/// A value without its type.
fn packed(value: &Value) -> Result<Vec<u8>, u32> {
    Ok(match value {
        Value::Null => return Err(status::SERIALIZATION_FAILURE),
        Value::Bool(truth) => vec![u8::from(*truth)],
        Value::Number(number) => number.as_f64().unwrap().to_le_bytes().to_vec(),
        Value::String(text) => text.clone().into_bytes(),
        Value::Array(items) => {
            let items = items.iter().map(|item| Ok((packed(item)?, Vec::new())));
            pack(&items.collect::<Result<Vec<_>, u32>>()?)
        }
        Value::Object(fields) => {
            let fields = fields
                .iter()
                .map(|(key, value)| Ok((key.clone().into_bytes(), packed(value)?)));
            pack(&fields.collect::<Result<Vec<_>, u32>>()?)
        }
    })
}
