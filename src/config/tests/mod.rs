//! What the filter says about a configuration: each document, and the exact lines.

mod plans;

use super::{Environment, Outcome, parse, plan};

/// The variables that the cases refer to.
pub struct Variables;

impl Environment for Variables {
    fn var(&self, name: &str) -> Option<String> {
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

/// What becomes of a JSON text.
pub fn outcome(text: &str) -> Outcome {
    plan(&parse(text.as_bytes()).unwrap(), &Variables)
}

pub fn lines(problems: &[super::Problem]) -> Vec<String> {
    problems.iter().map(ToString::to_string).collect()
}
