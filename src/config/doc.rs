//! What is said of keys to people, editors and tools. The `.wasm` holds none of it.

/// What is said of a key besides what it is called and what it may be.
#[derive(Clone, Copy, Debug)]
pub struct Doc {
    /// What the key is for, as Markdown.
    pub text: &'static str,
    /// What takes its place when it is absent, where that is no value of its own, as Markdown.
    pub absent: Option<&'static str>,
    /// What a tool must know of it.
    pub role: Role,
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
    /// It says who calls a token endpoint, and how that is proved.
    Client,
    /// It holds further form fields of a call to a token endpoint.
    Parameters,
    /// It names the provider whose token is used.
    Provider,
    /// It names the header that the credential goes into.
    Header,
}

impl Doc {
    /// What the key is for, and nothing else.
    pub const fn new(text: &'static str) -> Self {
        let (absent, role) = (None, Role::Plain);
        Self { text, absent, role }
    }

    /// The same, and what takes its place when it is absent.
    pub const fn absent(self, words: &'static str) -> Self {
        let absent = Some(words);
        Self { absent, ..self }
    }

    /// The same, and what a tool must know of it.
    pub const fn is(self, role: Role) -> Self {
        Self { role, ..self }
    }
}
