//! Values that must never be printed.

use std::fmt;

/// A configured secret: a client secret or an injected header's value.
///
/// Its `Debug` output is always `[redacted]`, it has no `Display`, and [`Secret::reveal`] is the
/// one way to its text, so that a search for `reveal` finds every place a secret goes to.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Secret(String);

impl Secret {
    /// Wraps `text`.
    pub fn new(text: String) -> Self {
        Self(text)
    }

    /// The secret itself, for the one place that puts it on the wire.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}
