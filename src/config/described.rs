//! What keys say of themselves to people, editors and tools. The `.wasm` holds none of it.

#[cfg(not(target_family = "wasm"))]
use serde_json::{Value, json};

/// What is said of a key besides what it is called and what it may be.
#[derive(Clone, Copy)]
pub struct Doc(#[cfg(not(target_family = "wasm"))] Said);

#[cfg(not(target_family = "wasm"))]
#[derive(Clone, Copy)]
struct Said {
    text: &'static str,
    absent: Option<&'static str>,
    role: Role,
}

/// What a tool that changes or judges a configuration must know of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Nothing.
    Plain,
    /// It is a secret, unless this other key names the environment variable that holds it.
    Secret(&'static str),
    /// It names the environment variable that holds a secret.
    SecretVariable,
    /// It names the environment variable that holds a private key.
    KeyVariable,
    /// It names the environment variable that holds a certificate.
    CertificateVariable,
    /// It is the URL of a token endpoint; the keys for its cluster, and for plain `http`, are these.
    TokenUrl(&'static str, &'static str),
    /// It names the provider whose token is used.
    Provider,
    /// It names the header that the credential goes into.
    Header,
}

#[cfg(not(target_family = "wasm"))]
impl Doc {
    /// What the key is for, as Markdown.
    pub const fn new(text: &'static str) -> Self {
        Self(Said {
            text,
            absent: None,
            role: Role::Plain,
        })
    }

    /// What takes its place when it is absent, where that is no value of its own, as Markdown.
    pub const fn absent(self, words: &'static str) -> Self {
        Self(Said {
            absent: Some(words),
            ..self.0
        })
    }

    /// What a tool must know of it.
    pub const fn is(self, role: Role) -> Self {
        Self(Said { role, ..self.0 })
    }
}

#[cfg(target_family = "wasm")]
impl Doc {
    /// Nothing.
    pub const fn new(_: &'static str) -> Self {
        Self()
    }

    /// Nothing.
    pub const fn absent(self, _: &'static str) -> Self {
        self
    }

    /// Nothing.
    pub const fn is(self, _: Role) -> Self {
        self
    }
}

/// A key of the configuration, as it is shown.
#[cfg(not(target_family = "wasm"))]
pub struct Described {
    /// What it is called.
    pub name: &'static str,
    /// What it is for, and within which bounds, as Markdown.
    pub text: String,
    /// What it is, or what takes its place, when it is absent, as Markdown.
    pub default: Option<String>,
    /// Whether it must be there.
    pub required: bool,
    /// What a tool must know of it.
    pub role: Role,
    /// The keys of the map that it is, or of the maps that it holds.
    pub keys: Vec<Described>,
    /// What it may be, as JSON Schema.
    pub schema: Value,
}

#[cfg(not(target_family = "wasm"))]
impl Described {
    /// A key that may be what `shape` says; `default` is its value where it is absent.
    pub(super) fn new(
        name: &'static str,
        doc: Doc,
        shape: &dyn Shape,
        required: bool,
        default: Option<Value>,
    ) -> Self {
        let Said { text, absent, role } = doc.0;
        let mut text = text.trim_start().to_owned();
        if let Some(bounds) = shape.bounds(&text) {
            text = format!("{text} {bounds}.");
        }
        let worded = absent.map_or(String::new(), |words| format!(" By default {words}."));
        let description = format!("{text}{worded}");
        let schema = of_key(shape, required, description, default.clone());
        let default = default.map(|value| match value {
            Value::String(word) => format!("`{word}`"),
            other => format!("`{other}`"),
        });
        Self {
            name,
            text,
            default: default.or_else(|| absent.map(str::to_owned)),
            required,
            role,
            keys: shape.keys(),
            schema,
        }
    }
}

/// A key that may be what `shape` says.
#[cfg(not(target_family = "wasm"))]
#[allow(
    clippy::indexing_slicing,
    reason = "every value that is added to is an object literal, and no wasm holds this"
)]
fn of_key(shape: &dyn Shape, required: bool, description: String, default: Option<Value>) -> Value {
    let mut schema = shape.json_schema();
    if !required {
        schema = or_null(schema);
    }
    schema["description"] = description.into();
    if let Some(default) = default {
        schema["default"] = default;
    }
    schema
}

/// `null` counts as absent.
#[cfg(not(target_family = "wasm"))]
#[allow(
    clippy::indexing_slicing,
    reason = "every value that is added to is an object literal, and no wasm holds this"
)]
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

/// What a value may be.
#[cfg(not(target_family = "wasm"))]
pub trait Shape {
    /// As JSON Schema, which may allow more than the filter does, never less.
    fn json_schema(&self) -> Value;

    /// In words, as a sentence without its full stop, if there is more to say than `text` does.
    fn bounds(&self, text: &str) -> Option<String> {
        let _ = text;
        None
    }

    /// The keys of the map that it is, or of the maps that it holds, if they are declared.
    fn keys(&self) -> Vec<Described> {
        Vec::new()
    }
}

/// Nobody asks the filter for it.
#[cfg(target_family = "wasm")]
pub trait Shape {}

#[cfg(target_family = "wasm")]
impl<T: ?Sized> Shape for T {}
