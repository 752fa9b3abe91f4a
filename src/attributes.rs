//! What can be read of a request: the one door from the logic to the host.

/// Reads Envoy's attributes of the request at hand. The host layer implements it with one host
/// call per read; tests implement it with a table.
pub trait Attributes {
    /// Reads the attribute at `path`.
    fn read(&self, path: &AttributePath) -> Attribute;
}

/// A value as the host hands it over.
#[derive(Clone, PartialEq, Eq)]
pub enum Attribute {
    /// The bytes. What kind of value they stand for is not told: a text is its bytes, a number
    /// eight bytes, a boolean one, a map or list a packed form of its own.
    Bytes(Vec<u8>),
    /// There is none, or it is an empty text.
    Absent,
    /// There is one, and the host cannot pack it: a `null`, or something that holds one.
    Unpackable,
    /// The host failed.
    Failed,
}

/// The way to an attribute, in the host's own form: segments separated by NUL.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AttributePath(Box<[u8]>);

impl AttributePath {
    /// The path of `segments`; `None` if one of them is empty or holds a NUL, and so could not be
    /// told from two.
    pub fn new(segments: &[&str]) -> Option<Self> {
        let fits = |segment: &&str| !segment.is_empty() && !segment.contains('\0');
        segments
            .iter()
            .all(fits)
            .then(|| Self(segments.join("\0").into_bytes().into()))
    }

    /// The path as the host wants it.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}
