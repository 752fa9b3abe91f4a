//! Configurations, and exactly what is said about each: the specification that the validator, the
//! JSON Schema and the decoder of `Struct`s are all held against.

mod document;
mod exchange;
mod grants;
mod providers;
mod several;
mod strategy;

/// One configuration.
pub(super) struct Case {
    /// The JSON text.
    pub text: String,
    /// The lines of its errors.
    pub errors: Vec<&'static str>,
    /// Whether its errors are beyond what a JSON Schema can express.
    pub beyond_schema: bool,
}

impl Case {
    fn beyond_schema(mut self) -> Self {
        self.beyond_schema = true;
        self
    }
}

fn valid(text: impl Into<String>) -> Case {
    invalid(text, &[])
}

fn invalid(text: impl Into<String>, errors: &[&'static str]) -> Case {
    Case {
        text: text.into(),
        errors: errors.to_vec(),
        beyond_schema: false,
    }
}

/// Every case.
pub(super) fn all() -> Vec<Case> {
    [
        document::cases(),
        strategy::cases(),
        providers::cases(),
        several::cases(),
        exchange::cases(),
        grants::cases(),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// A valid document with more keys at its top.
fn document(fields: &str) -> String {
    let comma = if fields.is_empty() { "" } else { "," };
    format!(r#"{{"outgoingAuth":{{"default":{{"type":"unauthenticated"}}}}{comma}{fields}}}"#)
}

/// A document with one backend, `b`, under an auth server with the upstreams `github` and
/// `corporate-idp`.
fn backend(strategy: &str) -> String {
    format!(
        r#"{{"authServer":{{"runConfig":{{"upstreams":[{{"name":"github"}},{{"name":"corporate-idp"}}]}}}},
            "outgoingAuth":{{"backends":{{"b":{strategy}}}}}}}"#
    )
}
