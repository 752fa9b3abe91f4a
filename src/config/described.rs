//! What keys say of themselves to people and to editors. The `.wasm` holds none of it.

/// What something in a configuration is for, in one sentence.
#[derive(Clone, Copy)]
pub struct Doc(#[cfg(not(target_family = "wasm"))] pub &'static str);

impl Doc {
    /// The sentence, if anybody can read it.
    pub const fn new(text: &'static str) -> Self {
        #[cfg(not(target_family = "wasm"))]
        {
            Self(text)
        }
        #[cfg(target_family = "wasm")]
        {
            let _ = text;
            Self()
        }
    }
}

/// What a value may be, as JSON Schema. It may allow more than the filter does, never less.
#[cfg(not(target_family = "wasm"))]
pub trait JsonSchema {
    /// The schema.
    fn json_schema(&self) -> serde_json::Value;
}

/// Nobody asks the filter for it.
#[cfg(target_family = "wasm")]
pub trait JsonSchema {}

#[cfg(target_family = "wasm")]
impl<T: ?Sized> JsonSchema for T {}
