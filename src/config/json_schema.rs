//! The configuration as JSON Schema (draft 2020-12), made from [`schema`](super::schema), so that
//! editors can complete and check it.
//!
//! Whatever the filter accepts is valid under the schema. The other way round there are rules that
//! a schema cannot express, such as V-02.
#![allow(
    clippy::indexing_slicing,
    reason = "every value that is added to is an object literal, and no wasm holds this"
)]

use super::described::JsonSchema;
use super::format::{Boolean, Choice, Count, DurationIn, ListOf, MapOf, OneOrMany, TextFormat};
use super::problem::Problems;
use super::schema::ROOT;
use super::section::{Format, Keys, Nested, Optional, Reading, Required};
use super::strategies::{self, Backends, OneStrategy, StrategyType, TypeKey};
use serde_json::{Map, Value, json};
use std::time::Duration;

/// The schema of the whole document.
pub fn document(registry: &'static [StrategyType]) -> Value {
    let mut document = Nested(&ROOT).json_schema();
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
    let kinds = || registry.iter().map(|strategy| &strategy.kind);
    let blocks = || kinds().filter_map(|kind| kind.block.as_ref());
    let mut schema = keys(&[&strategies::keys(registry)]);
    schema["description"] = "How requests to one backend are authenticated.".into();
    schema["additionalProperties"] = false.into();
    schema["properties"]["type"]["enum"] = kinds().map(|kind| kind.name).collect();
    let cases = kinds().map(|kind| {
        let own = kind.block.as_ref().map(|block| block.name);
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
            "if": {"properties": {"type": {"const": kind.name}}, "required": ["type"]},
            "then": {"properties": properties, "required": Vec::from_iter(own)},
        })
    });
    schema["allOf"] = cases.collect();
    schema
}

fn keys(keys: Keys<'_>) -> Value {
    let reading = Reading {
        errors: Problems::default(),
        warnings: Problems::default(),
        kinds: &[],
        keys_of_kinds: &[],
    };
    let mut properties = Map::new();
    let mut required = Vec::new();
    for entry in keys.iter().copied().flatten() {
        let mut schema = entry.json_schema();
        if entry.missing(&reading).is_some() {
            required.push(entry.name());
        } else {
            schema = or_null(schema);
        }
        schema["description"] = entry.doc().0.trim_start().into();
        properties.insert(entry.name().to_owned(), schema);
    }
    json!({"type": "object", "properties": properties, "required": required})
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

impl<F: Format> JsonSchema for Optional<F> {
    fn json_schema(&self) -> Value {
        self.format.json_schema()
    }
}

impl<F: Format> JsonSchema for Required<F> {
    fn json_schema(&self) -> Value {
        self.format.json_schema()
    }
}

impl JsonSchema for TypeKey {
    fn json_schema(&self) -> Value {
        json!({})
    }
}

impl JsonSchema for Nested {
    fn json_schema(&self) -> Value {
        let mut schema = keys(self.0.keys);
        schema["additionalProperties"] = self.0.open.into();
        schema
    }
}

/// By reference: it occurs twice, and is long.
impl JsonSchema for OneStrategy {
    fn json_schema(&self) -> Value {
        json!({"$ref": "#/$defs/strategy"})
    }
}

impl JsonSchema for Backends {
    fn json_schema(&self) -> Value {
        json!({
            "type": "object",
            "propertyNames": {"minLength": 1},
            "additionalProperties": or_null(OneStrategy.json_schema()),
        })
    }
}

impl<F: TextFormat> JsonSchema for F {
    fn json_schema(&self) -> Value {
        match F::PATTERN {
            "" => json!({"type": "string"}),
            pattern => json!({"type": "string", "pattern": pattern}),
        }
    }
}

impl JsonSchema for Boolean {
    fn json_schema(&self) -> Value {
        json!({"type": "boolean"})
    }
}

impl JsonSchema for Count {
    fn json_schema(&self) -> Value {
        json!({"type": "integer", "minimum": 0, "maximum": self.most})
    }
}

impl<T: 'static> JsonSchema for Choice<T> {
    fn json_schema(&self) -> Value {
        let words: Vec<_> = self.0.iter().map(|(word, _)| *word).collect();
        json!({"enum": words})
    }
}

impl JsonSchema for DurationIn {
    fn json_schema(&self) -> Value {
        let text = json!({
            "type": "string",
            "pattern": "^[0-9]+(\\.[0-9]+)?(ms|s|m|h)$",
        });
        if self.least > Duration::ZERO {
            return text;
        }
        json!({"anyOf": [text, {"enum": [0, "0"]}]})
    }
}

impl<F: Format> JsonSchema for ListOf<F> {
    fn json_schema(&self) -> Value {
        json!({
            "type": "array",
            "items": self.item.json_schema(),
            "minItems": u8::from(self.not_empty.is_some()),
        })
    }
}

impl<F: Format, N: TextFormat> JsonSchema for MapOf<F, N> {
    fn json_schema(&self) -> Value {
        json!({
            "type": "object",
            "propertyNames": self.name.json_schema(),
            "additionalProperties": or_null(self.item.json_schema()),
        })
    }
}

impl<F: TextFormat> JsonSchema for OneOrMany<F> {
    fn json_schema(&self) -> Value {
        let one = self.0.json_schema();
        json!({"anyOf": [one, {"type": "array", "items": one}]})
    }
}
