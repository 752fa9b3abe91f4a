//! The configuration as JSON Schema (draft 2020-12), so that editors can complete and check it.
//!
//! Whatever the filter accepts is valid under the schema. The other way round there are rules that
//! a schema cannot express, such as V-02.
#![allow(
    clippy::indexing_slicing,
    reason = "every value that is added to is an object literal"
)]

use super::{blocks, default, text};
use serde_json::{Map, Value, json};
use upstream_inject::config::{self, Described, Shape, StrategyType};

/// The schema of a configuration in which each strategy is one of `registry`.
pub fn json_schema(registry: &'static [StrategyType]) -> Value {
    let mut document = map(config::keys(), false);
    document["$schema"] = "https://json-schema.org/draft/2020-12/schema".into();
    document["$id"] = "urn:upstream-inject:plugin-configuration".into();
    document["title"] = "upstream-inject".into();
    document["description"] = "The configuration of upstream-inject, an Envoy filter that gives \
                               every backend the credential it wants."
        .into();
    document["$defs"] = json!({"strategy": strategy(registry)});
    document
}

/// A strategy of any type.
fn strategy(registry: &'static [StrategyType]) -> Value {
    let strategies = config::strategies(registry);
    let names = || blocks(registry).into_iter().map(|block| block.name);
    let mut schema = map(blocks(registry), false);
    schema["description"] = "How requests to one backend are authenticated.".into();
    let types: Value = strategies.iter().map(|(name, _)| *name).collect();
    schema["properties"]["type"] = json!({"description": "The strategy.", "enum": types});
    schema["required"] = json!(["type"]);
    let cases = strategies.iter().map(|(name, block)| {
        let own = block.as_ref().map(|block| block.name);
        let kind = |block| match own == Some(block) {
            true => json!({"type": "object"}),
            false => json!({"type": "null"}),
        };
        let properties: Map<_, _> = names()
            .map(|block| (block.to_owned(), kind(block)))
            .collect();
        json!({
            "if": {"properties": {"type": {"const": name}}, "required": ["type"]},
            "then": {"properties": properties, "required": Vec::from_iter(own)},
        })
    });
    schema["allOf"] = cases.collect();
    schema
}

/// A map of these keys; of an `open` one, not all are declared.
fn map(keys: Vec<Described>, open: bool) -> Value {
    let required: Vec<_> = keys.iter().filter(|key| key.required).collect();
    let required: Vec<_> = required.into_iter().map(|key| key.name).collect();
    let properties: Map<_, _> = keys
        .iter()
        .map(|key| (key.name.to_owned(), of_key(key)))
        .collect();
    json!({
        "type": "object",
        "properties": properties,
        "required": required,
        "additionalProperties": open,
    })
}

fn of_key(key: &Described) -> Value {
    let mut schema = of(&key.shape);
    if !key.required {
        schema = or_null(schema);
    }
    let absent = match (key.default, default(key)) {
        (None, Some(words)) => format!(" By default {words}."),
        _ => String::new(),
    };
    schema["description"] = format!("{}{absent}", text(key)).into();
    if let Some(value) = key.default {
        schema["default"] = match key.shape {
            Shape::Boolean | Shape::Count(_) => serde_json::from_str(value).unwrap_or_default(),
            _ => value.into(),
        };
    }
    schema
}

/// `null` counts as absent.
fn or_null(mut schema: Value) -> Value {
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

fn of(shape: &Shape) -> Value {
    match shape {
        Shape::Boolean => json!({"type": "boolean"}),
        Shape::Count(most) => json!({"type": "integer", "minimum": 0, "maximum": most}),
        Shape::Text("") => json!({"type": "string"}),
        Shape::Text(pattern) => json!({"type": "string", "pattern": pattern}),
        Shape::OneOf(words) => json!({"enum": words}),
        Shape::Duration(_, from_zero) => {
            let text = json!({"type": "string", "pattern": "^[0-9]+(\\.[0-9]+)?(ms|s|m|h)$"});
            match from_zero {
                true => json!({"anyOf": [text, {"enum": [0, "0"]}]}),
                false => text,
            }
        }
        Shape::List(item, not_empty) => json!({
            "type": "array",
            "items": of(item),
            "minItems": u8::from(*not_empty),
        }),
        Shape::OneOrMany(item) => {
            let one = of(item);
            json!({"anyOf": [one, {"type": "array", "items": one}]})
        }
        Shape::Map(name, item) => json!({
            "type": "object",
            "propertyNames": {"type": "string", "pattern": name},
            "additionalProperties": or_null(of(item)),
        }),
        Shape::Object(object) => map(object.described(), object.open),
        // By reference: it occurs twice, and is long.
        Shape::Strategy => json!({"$ref": "#/$defs/strategy"}),
    }
}
