//! What reads bytes from outside takes any bytes: it reads them or refuses them, and lives.

use crate::host::CANARY;
use crate::strategies::configuration;
use proptest::collection::vec;
use proptest::prelude::*;
use prost::Message;
use prost_types::value::Kind;
use prost_types::{ListValue, Struct, Value};
use serde_json::Value as Json;
use upstream_inject::config::{self, Environment};
use upstream_inject::exchange::jwt;
use upstream_inject::strategy::REGISTRY;

struct NoVariables;

impl Environment for NoVariables {
    fn var(&self, _: &str) -> Option<String> {
        None
    }
}

/// Reads a configuration; what is said of it must not quote it.
fn read(bytes: &[u8]) {
    let problems = match config::parse(bytes) {
        Ok(document) => {
            let outcome = config::plan(&document, REGISTRY, &NoVariables);
            assert_eq!(outcome.plan.is_some(), outcome.errors.is_empty());
            [outcome.errors, outcome.warnings].concat()
        }
        Err(problem) => vec![problem],
    };
    for problem in problems {
        assert!(!problem.to_string().contains(CANARY), "{problem}");
    }
}

/// As Envoy hands over a configuration that was written as YAML.
fn packed(json: &Json) -> Value {
    let kind = match json {
        Json::Null => Kind::NullValue(0),
        Json::Bool(truth) => Kind::BoolValue(*truth),
        Json::Number(number) => Kind::NumberValue(number.as_f64().unwrap()),
        Json::String(text) => Kind::StringValue(text.clone()),
        Json::Array(items) => Kind::ListValue(ListValue {
            values: items.iter().map(packed).collect(),
        }),
        Json::Object(fields) => Kind::StructValue(Struct {
            fields: fields
                .iter()
                .map(|(key, json)| (key.clone(), packed(json)))
                .collect(),
        }),
    };
    Value { kind: Some(kind) }
}

/// Bytes that are right but for a few.
fn almost(right: Vec<u8>) -> impl Strategy<Value = Vec<u8>> {
    let changes = vec((any::<prop::sample::Index>(), any::<u8>()), 0..4);
    (changes, any::<prop::sample::Index>(), any::<bool>()).prop_map(move |(changes, end, cut)| {
        let mut bytes = right.clone();
        for (place, byte) in changes {
            let place = place.index(bytes.len());
            bytes[place] = byte;
        }
        if cut {
            bytes.truncate(end.index(bytes.len()));
        }
        bytes
    })
}

fn text() -> Vec<u8> {
    configuration().to_string().into_bytes()
}

fn structure() -> Vec<u8> {
    let Some(Kind::StructValue(root)) = packed(&configuration()).kind else {
        panic!("a configuration is a map");
    };
    root.encode_to_vec()
}

#[test]
fn both_forms_of_a_configuration_are_the_same() {
    let plans = [text(), structure()].map(|bytes| {
        let outcome = config::plan(&config::parse(&bytes).unwrap(), REGISTRY, &NoVariables);
        let plan = outcome.plan.unwrap();
        let mut names: Vec<String> = plan.backends.keys().map(ToString::to_string).collect();
        names.sort();
        (names, plan.exchanges)
    });
    assert_eq!(plans[0], plans[1]);
    assert_eq!(plans[0].0.len(), 5);
}

proptest! {
    #[test]
    fn a_configuration_of_any_bytes(bytes in vec(any::<u8>(), 0..300)) {
        read(&bytes);
    }

    #[test]
    fn a_configuration_that_is_almost_json(bytes in almost(text())) {
        read(&bytes);
    }

    #[test]
    fn a_configuration_that_is_almost_a_struct(bytes in almost(structure())) {
        read(&bytes);
    }

    #[test]
    fn a_token_of_any_bytes_has_an_expiry_or_none(bytes in vec(any::<u8>(), 0..200)) {
        let _ = jwt::expiry(&bytes);
        let dotted: Vec<u8> = bytes.iter().map(|b| if b % 16 == 0 { b'.' } else { *b }).collect();
        let _ = jwt::expiry(&dotted);
    }
}
