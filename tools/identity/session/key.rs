//! The names of everything in the store, and what may become part of one.

use std::fmt;

use sha2::{Digest as _, Sha256};

/// The id of a session, `tsid`, in a form that is safe within a key. It is a credential: whoever
/// has it can be taken for the user, so it can be neither printed nor logged.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct SessionId(String);

impl SessionId {
    /// Takes what a token claims to be its session, if that can be one. ToolHive's are 26
    /// characters of Base32; what matters here is that nothing in it can end one part of a key and
    /// begin another, and that it is not the word under which the indexes stand.
    #[must_use]
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let sound = (1..=128).contains(&text.len())
            && text
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
            && text != "idx";
        sound.then(|| Self(text.to_owned()))
    }

    /// The id itself, to build a key with or to compare.
    #[must_use]
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SessionId([redacted])")
    }
}

/// One provider's row of one session.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct RowKey {
    /// Whose session.
    pub session: SessionId,
    /// Which provider's tokens.
    pub provider: String,
}

/// The SHA-256 of a refresh token, by which it is named wherever it must not be written down.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Digest([u8; 32]);

impl Digest {
    /// The digest of `secret`.
    #[must_use]
    pub(crate) fn of(secret: &str) -> Self {
        Self(Sha256::digest(secret.as_bytes()).into())
    }

    /// The digest of a refresh token of this provider. Others may have issued the same text.
    #[must_use]
    pub(crate) fn of_refresh_token(provider: &str, refresh_token: &str) -> Self {
        // The length says where the name ends.
        Self::of(&format!("{}:{provider}:{refresh_token}", provider.len()))
    }

    fn hex(self) -> String {
        use fmt::Write as _;
        self.0
            .iter()
            .fold(String::with_capacity(64), |mut hex, byte| {
                // Writing to a string does not fail.
                let _ = write!(hex, "{byte:02x}");
                hex
            })
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Digest([redacted])")
    }
}

/// The keys of one auth server: each begins with its prefix, taken literally.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Keys {
    prefix: String,
}

impl Keys {
    /// Keys under `prefix`, usually `thv:auth:{namespace:name}:`.
    #[must_use]
    pub(crate) fn new(prefix: impl Into<String>) -> Self {
        Self {
            prefix: prefix.into(),
        }
    }

    /// The prefix as configured.
    #[must_use]
    pub(crate) fn prefix(&self) -> &str {
        &self.prefix
    }

    /// The SET that names the rows of a session.
    #[must_use]
    pub(crate) fn index(&self, session: &SessionId) -> String {
        format!("{}upstream:idx:{}", self.prefix, session.0)
    }

    /// What the keys of all rows of a session begin with; the provider's name follows.
    #[must_use]
    pub(crate) fn rows_of(&self, session: &SessionId) -> String {
        format!("{}upstream:{}:", self.prefix, session.0)
    }

    /// One row.
    #[must_use]
    pub(crate) fn row(&self, row: &RowKey) -> String {
        format!("{}upstream:{}:{}", self.prefix, row.session.0, row.provider)
    }

    /// Reads a row's key back; `None` for anything else.
    #[must_use]
    pub(crate) fn parse_row(&self, key: &str) -> Option<RowKey> {
        let (session, provider) = key
            .strip_prefix(self.prefix.as_str())?
            .strip_prefix("upstream:")?
            .split_once(':')?;
        if provider.is_empty() {
            return None;
        }
        Some(RowKey {
            session: SessionId::parse(session)?,
            provider: provider.to_owned(),
        })
    }

    /// The SET of all rows of a user, over all sessions.
    #[must_use]
    pub(crate) fn user_rows(&self, user: &str) -> String {
        format!("{}user:upstream:{user}", self.prefix)
    }

    /// Who is redeeming this refresh token just now.
    #[must_use]
    pub(crate) fn lock(&self, token: Digest) -> String {
        format!("{}lock:refresh:{}", self.prefix, token.hex())
    }

    /// The mark that this refresh token has been redeemed and replaced.
    #[must_use]
    pub(crate) fn redeemed(&self, token: Digest) -> String {
        format!("{}lock:redeemed:{}", self.prefix, token.hex())
    }

    /// What a `dcr_config` upstream has registered.
    #[must_use]
    pub(crate) fn registration(&self, id: &str) -> String {
        format!("{}dcr:{id}", self.prefix)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn session(text: &str) -> SessionId {
        SessionId::parse(text).expect("a session id")
    }

    #[test]
    fn what_could_name_another_key_is_no_session() {
        for hostile in [
            "",
            "idx",
            "idx:7CT2ISRQ3VG3FPS2O5Q6EHXSIS",
            "7CT2ISRQ3VG3FPS2O5Q6EHXSIS:github",
            "7CT2*",
            "7CT2?",
            "{x}",
            "a b",
            "a\nb",
            "ä",
            "\0",
            &"A".repeat(129),
        ] {
            assert_eq!(SessionId::parse(hostile), None, "{hostile:?}");
        }
        assert!(SessionId::parse("7CT2ISRQ3VG3FPS2O5Q6EHXSIS").is_some());
    }

    #[test]
    fn keys_are_toolhives() {
        let keys = Keys::new("thv:auth:{trial:vmcp}:");
        let row = RowKey {
            session: session("7CT2ISRQ3VG3FPS2O5Q6EHXSIS"),
            provider: "corp:eu".to_owned(),
        };
        assert_eq!(
            keys.row(&row),
            "thv:auth:{trial:vmcp}:upstream:7CT2ISRQ3VG3FPS2O5Q6EHXSIS:corp:eu"
        );
        assert_eq!(keys.parse_row(&keys.row(&row)), Some(row.clone()));
        assert_eq!(
            keys.index(&row.session),
            "thv:auth:{trial:vmcp}:upstream:idx:7CT2ISRQ3VG3FPS2O5Q6EHXSIS"
        );
        assert_eq!(keys.user_rows("u"), "thv:auth:{trial:vmcp}:user:upstream:u");
    }

    #[test]
    fn what_is_no_row_is_not_taken_for_one() {
        let keys = Keys::new("p:");
        for other in [
            "upstream:S:github",
            "p:upstream:S",
            "p:upstream:S:",
            "p:upstream:idx:S",
            "p:user:upstream:S",
            "q:upstream:S:github",
        ] {
            assert_eq!(keys.parse_row(other), None, "{other}");
        }
    }

    #[test]
    fn keys_of_ours_stand_under_lock_alone() {
        let keys = Keys::new("p:");
        let digest = Digest::of("rt");
        assert!(keys.lock(digest).starts_with("p:lock:"));
        assert!(keys.redeemed(digest).starts_with("p:lock:"));
        assert!(!keys.lock(digest).contains("rt:"));
    }

    #[test]
    fn neither_session_nor_digest_can_be_printed() {
        let key = RowKey {
            session: session("SECRETSESSION"),
            provider: "github".to_owned(),
        };
        assert!(!format!("{key:?}").contains("SECRETSESSION"));
        assert_eq!(format!("{:?}", Digest::of("x")), "Digest([redacted])");
    }
}
