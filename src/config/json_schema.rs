//! The configuration as JSON Schema (draft 2020-12), made from [`schema`](super::schema), so that
//! editors can complete and check it.
//!
//! Whatever the filter accepts is valid under the schema. The other way round there are rules that
//! a schema cannot express, such as V-02.
#![allow(
    clippy::indexing_slicing,
    reason = "every value that is added to is an object literal, and no wasm holds this"
)]

use super::schema::ROOT;
use super::shape::{Entry, Object};
use super::strategies::{StrategyType, TypeKey};
use serde_json::{Map, Value, json};

/// The schema of the whole document.
pub fn document(registry: &'static [StrategyType]) -> Value {
    let mut document = object(&ROOT);
    document["$schema"] = "https://json-schema.org/draft/2020-12/schema".into();
    document["$id"] = "urn:upstream-inject:plugin-configuration".into();
    document["title"] = "upstream-inject".into();
    document["description"] = "The configuration of upstream-inject, an Envoy filter that gives \
                               every backend the credential it wants."
        .into();
    document["$defs"] = json!({"strategy": strategy_definition(registry)});
    document
}

/// A map with declared keys.
pub(super) fn object(object: &Object) -> Value {
    let mut schema = keys(object.keys);
    schema["additionalProperties"] = object.open.into();
    schema
}

/// A strategy, by reference: it occurs twice, and is long.
pub(super) fn strategy() -> Value {
    json!({"$ref": "#/$defs/strategy"})
}

/// `outgoingAuth.backends`.
pub(super) fn backends() -> Value {
    json!({
        "type": "object",
        "propertyNames": {"minLength": 1},
        "additionalProperties": or_null(strategy()),
    })
}

fn strategy_definition(registry: &'static [StrategyType]) -> Value {
    let blocks = || {
        registry
            .iter()
            .filter_map(|strategy| strategy.block.as_ref())
    };
    let type_key = TypeKey { registry };
    let mut entries: Vec<&dyn Entry> = vec![&type_key];
    entries.extend(blocks().map(|block| block as &dyn Entry));
    let mut schema = keys(&entries);
    schema["description"] = "How requests to one backend are authenticated.".into();
    schema["additionalProperties"] = false.into();
    let cases = registry.iter().map(|strategy| {
        let own = strategy.block.as_ref().map(|block| block.name);
        let properties: Map<_, _> = blocks()
            .map(|block| {
                let kind = if own == Some(block.name) {
                    "object"
                } else {
                    "null"
                };
                (block.name.to_owned(), json!({"type": kind}))
            })
            .collect();
        json!({
            "if": {"properties": {"type": {"const": strategy.name}}, "required": ["type"]},
            "then": {"properties": properties, "required": Vec::from_iter(own)},
        })
    });
    schema["allOf"] = cases.collect();
    schema
}

fn keys(entries: &[&dyn Entry]) -> Value {
    let mut properties = Map::new();
    let mut required = Vec::new();
    for entry in entries {
        let mut schema = entry.json_schema();
        if entry.missing().is_some() {
            required.push(entry.name());
        } else {
            schema = or_null(schema);
        }
        schema["description"] = entry.meaning().into();
        properties.insert(entry.name().to_owned(), schema);
    }
    json!({"type": "object", "properties": properties, "required": required})
}

/// `null` counts as absent.
pub(super) fn or_null(mut schema: Value) -> Value {
    let absent = json!({"type": "null"});
    if let Some(kind) = schema.get("type").cloned() {
        schema["type"] = json!([kind, "null"]);
        schema
    } else if let Some(Value::Array(words)) = schema.get_mut("enum") {
        words.push(Value::Null);
        schema
    } else if let Some(Value::Array(ways)) = schema.get_mut("anyOf") {
        ways.push(absent);
        schema
    } else {
        json!({"anyOf": [schema, absent]})
    }
}
