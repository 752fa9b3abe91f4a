//! What the filter says about a configuration.

mod cases;
mod hostile;
mod keys;
mod plans;
mod secrets;
mod struct_bytes;

use super::{Environment, Node, Outcome, Problem, parse};
use crate::strategy::REGISTRY;

/// The variables that the cases refer to. Every value is a secret, which holds the word `CANARY`.
struct Variables;

impl Environment for Variables {
    fn var(&self, name: &str) -> Option<String> {
        if let Some(pem) = keys::pem(name) {
            return Some(pem.to_owned());
        }
        let value = match name {
            "SECRET" => "CANARY-s3cr3t",
            "SECRET_WITH_LINE_END" => "CANARY-s3cr3t\r\n",
            "EMPTY" => "",
            "ONLY_LINE_ENDS" => "\r\n\r\n",
            "TWO_LINES" => "CANARY-one\nCANARY-two\n",
            _ => return None,
        };
        Some(value.to_owned())
    }
}

fn plan(document: &Node, environment: &dyn Environment) -> Outcome {
    super::plan(document, REGISTRY, environment)
}

fn outcome(document: impl AsRef<[u8]>) -> Outcome {
    plan(&parse(document.as_ref()).unwrap(), &Variables)
}

fn lines(problems: &[Problem]) -> Vec<String> {
    problems.iter().map(ToString::to_string).collect()
}

#[test]
fn every_problem_is_reported_and_nothing_else() {
    for case in cases::all() {
        let outcome = outcome(&case.text);
        assert_eq!(lines(&outcome.errors), case.errors, "{}", case.text);
        assert_eq!(
            outcome.plan.is_some(),
            case.errors.is_empty(),
            "{}",
            case.text
        );
    }
}

#[test]
fn a_struct_says_the_same_as_json() {
    for case in cases::all() {
        let root = parse(case.text.as_bytes()).unwrap();
        // Only a map can be a `Struct`.
        let Some(bytes) = struct_bytes::encode(&root) else {
            continue;
        };
        assert_eq!(parse(&bytes), Ok(root), "{}", case.text);
        assert_eq!(lines(&outcome(bytes).errors), case.errors, "{}", case.text);
    }
}

/// What editors load, and `upstream-inject schema` prints.
fn json_schema() -> serde_json::Value {
    serde_json::from_str(include_str!("../../../envoy/upstream-inject.schema.json")).unwrap()
}

/// Whatever the filter accepts is valid under the schema, and whatever it refuses is not, but for
/// the rules that a schema cannot express.
#[test]
fn the_json_schema_agrees_with_the_filter() {
    let schema = jsonschema::draft202012::new(&json_schema()).unwrap();
    let disagree = |case: &cases::Case| {
        let document = serde_json::from_str(&case.text).unwrap();
        schema.is_valid(&document) != (case.errors.is_empty() || case.beyond_schema)
    };
    let disputed: Vec<_> = cases::all().into_iter().filter(disagree).collect();
    let disputed: Vec<_> = disputed.iter().map(|case| &case.text).collect();
    assert!(disputed.is_empty(), "{disputed:#?}");
}

#[test]
fn the_json_schema_is_one() {
    jsonschema::draft202012::meta::validate(&json_schema()).unwrap();
}
