//! The configuration as JSON Schema (draft 2020-12), made from [`schema`](super::schema), so that
//! editors can complete and check it.
//!
//! Whatever the filter accepts is valid under the schema. The other way round there are rules that
//! a schema cannot express, such as V-02.
#![allow(
    clippy::indexing_slicing,
    reason = "every value that is added to is an object literal, and no wasm holds this"
)]

use super::described::{Described, Shape, or_null};
use super::format::{Boolean, Choice, Count, DurationIn, ListOf, MapOf, OneOrMany, TextFormat};
use super::schema::ROOT;
use super::section::{Format, Keys, Nested};
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

pub(super) fn described(keys: Keys<'_>) -> Vec<Described> {
    let keys = keys.iter().copied().flatten();
    keys.map(|key| key.described()).collect()
}

fn keys(keys: Keys<'_>) -> Value {
    let keys = described(keys);
    let required = keys.iter().filter(|key| key.required).map(|key| key.name);
    let required: Vec<_> = required.collect();
    let properties: Map<_, _> = keys
        .into_iter()
        .map(|key| (key.name.to_owned(), key.schema))
        .collect();
    json!({"type": "object", "properties": properties, "required": required})
}

impl Shape for TypeKey {
    fn json_schema(&self) -> Value {
        json!({})
    }
}

impl Shape for Nested {
    fn json_schema(&self) -> Value {
        let mut schema = keys(self.0.keys);
        schema["additionalProperties"] = self.0.open.into();
        schema
    }

    fn keys(&self) -> Vec<Described> {
        described(self.0.keys)
    }
}

/// By reference: it occurs twice, and is long.
impl Shape for OneStrategy {
    fn json_schema(&self) -> Value {
        json!({"$ref": "#/$defs/strategy"})
    }
}

impl Shape for Backends {
    fn json_schema(&self) -> Value {
        json!({
            "type": "object",
            "propertyNames": {"minLength": 1},
            "additionalProperties": or_null(OneStrategy.json_schema()),
        })
    }
}

impl<F: TextFormat> Shape for F {
    fn json_schema(&self) -> Value {
        match F::PATTERN {
            "" => json!({"type": "string"}),
            pattern => json!({"type": "string", "pattern": pattern}),
        }
    }
}

impl Shape for Boolean {
    fn json_schema(&self) -> Value {
        json!({"type": "boolean"})
    }
}

impl Shape for Count {
    fn json_schema(&self) -> Value {
        json!({"type": "integer", "minimum": 0, "maximum": self.most})
    }

    fn bounds(&self, _: &str) -> Option<String> {
        Some(format!("From 0 to {}", self.most))
    }
}

impl<T: 'static> Shape for Choice<T> {
    fn json_schema(&self) -> Value {
        let words: Vec<_> = self.0.iter().map(|(word, _)| *word).collect();
        json!({"enum": words})
    }

    fn bounds(&self, text: &str) -> Option<String> {
        let mut words = self.0.iter().map(|(word, _)| format!("`{word}`"));
        if words.clone().all(|word| text.contains(&word)) {
            return None;
        }
        let last = words.next_back()?;
        let others: Vec<_> = words.collect();
        Some(match others.is_empty() {
            true => format!("Nothing but {last}"),
            false => format!("{} or {last}", others.join(", ")),
        })
    }
}

impl Shape for DurationIn {
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

    fn bounds(&self, _: &str) -> Option<String> {
        Some(self.bounds.replacen('f', "F", 1))
    }
}

impl<F: Format> Shape for ListOf<F> {
    fn json_schema(&self) -> Value {
        json!({
            "type": "array",
            "items": self.item.json_schema(),
            "minItems": u8::from(self.not_empty.is_some()),
        })
    }

    fn keys(&self) -> Vec<Described> {
        self.item.keys()
    }
}

impl<F: Format, N: TextFormat> Shape for MapOf<F, N> {
    fn json_schema(&self) -> Value {
        json!({
            "type": "object",
            "propertyNames": self.name.json_schema(),
            "additionalProperties": or_null(self.item.json_schema()),
        })
    }

    fn keys(&self) -> Vec<Described> {
        self.item.keys()
    }
}

impl<F: TextFormat> Shape for OneOrMany<F> {
    fn json_schema(&self) -> Value {
        let one = self.0.json_schema();
        json!({"anyOf": [one, {"type": "array", "items": one}]})
    }
}
