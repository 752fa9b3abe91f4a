//! From the configuration's bytes to a [`Plan`], or to every problem in them.
//!
//! ```text
//! bytes ──▶ Node ──▶ Section by Section, key by key, against the table of keys ──▶ Plan
//!  json.rs            section/              schema.rs, strategy/, endpoint/
//!  proto_struct.rs    rules.rs, strategy/                     format/
//! ```

pub mod doc;
pub(crate) mod draft;
pub(crate) mod endpoint;
pub(crate) mod format;
mod json;
pub mod path;
pub(crate) mod problem;
mod proto_struct;
mod rules;
mod schema;
pub(crate) mod section;
mod strategies;
#[cfg(test)]
mod tests;
mod tree;

pub use path::Path;
pub use problem::{Problem, Rule, is_slip};
pub use rules::plan;
pub use section::{Described, Shape};
pub use strategies::StrategyType;
pub use tree::Node;

use crate::exchange::client::certificate::Certificate;
use crate::exchange::client::key::SigningKey;
use crate::plan::Plan;

/// Where `clientSecretEnv` and `headerValueEnv` are looked up.
pub trait Environment {
    /// The variable `name`, or `None` if it is not set or not UTF-8.
    fn var(&self, name: &str) -> Option<String>;

    /// The same where it must hold a key or a certificate: for an environment of stand-ins.
    fn pem(&self, name: &str) -> Option<String> {
        self.var(name)
    }

    /// Whether assertions can be signed with `key`; else what is in the way.
    ///
    /// # Errors
    /// What is in the way, and what to do.
    fn can_sign(&self, key: &SigningKey) -> Result<(), String> {
        let _ = key;
        Ok(())
    }

    /// Whether what `key` signs is what `certificate` verifies; `None` if nobody can tell here.
    fn owns(&self, key: &SigningKey, certificate: &Certificate) -> Option<bool> {
        let _ = (key, certificate);
        None
    }
}

/// What became of a configuration.
#[derive(Debug)]
pub struct Outcome {
    /// The plan, if and only if there are no errors.
    pub plan: Option<Plan>,
    /// Everything that is wrong, in the order of the paths.
    pub errors: Vec<Problem>,
    /// What is allowed, but probably not meant, in the order of the paths.
    pub warnings: Vec<Problem>,
}

/// Reads a plugin configuration: a JSON text (Envoy hands over the content of a `StringValue`), or
/// the serialized `google.protobuf.Struct` that a configuration written as YAML arrives as. No
/// bytes at all are an empty map.
///
/// # Errors
/// If the bytes are neither. The text never quotes them: they may hold a secret.
pub fn parse(bytes: &[u8]) -> Result<Node, Problem> {
    // A text may begin with a line feed, which is also how every `Struct` begins; but no `Struct`
    // is JSON, because the tag of a map entry's value, 0x12, is no part of any JSON text.
    if bytes.is_empty() {
        return Ok(Node::Map(Vec::new()));
    }
    let not_json = match json::parse(bytes) {
        Ok(root) => return Ok(root),
        Err(error) => error,
    };
    let not_a_struct = match proto_struct::decode(bytes) {
        Ok(root) => return Ok(root),
        Err(error) => error,
    };
    let text = if begins_like_text(bytes) {
        format!("not JSON: {not_json}")
    } else {
        format!("neither JSON ({not_json}) nor a google.protobuf.Struct ({not_a_struct})")
    };
    Err(Problem {
        path: Path::root(),
        rule: None,
        text,
    })
}

/// Every key outside of strategies, for whoever shows it or makes a schema of it.
#[cfg(not(target_family = "wasm"))]
pub fn keys() -> Vec<Described> {
    schema::ROOT.described()
}

/// Each type of strategy, and its block, if it has one.
#[cfg(not(target_family = "wasm"))]
pub fn strategies(registry: &'static [StrategyType]) -> Vec<(&'static str, Option<Described>)> {
    let kinds = registry.iter().map(|strategy| &strategy.kind);
    let block = |kind: &'static section::Kind| kind.block.as_ref().map(section::Entry::described);
    kinds.map(|kind| (kind.name, block(kind))).collect()
}

/// A `Struct` has a control character near its beginning: the length of the first key, or the tag
/// of the first value.
fn begins_like_text(bytes: &[u8]) -> bool {
    bytes
        .iter()
        .take(64)
        .all(|byte| !byte.is_ascii_control() || matches!(byte, b'\t' | b'\n' | b'\r'))
}
