//! What a client is told when it must log in (RFC 6750 §3, RFC 9728 §5.1).

/// A `www-authenticate` value without an error code: nobody presented anything.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Challenge(String);

impl Challenge {
    /// A challenge of these parts.
    ///
    /// # Errors
    /// If a part cannot stand in a quoted string; its name.
    pub(crate) fn new(
        realm: Option<&str>,
        scope: Option<&str>,
        resource_metadata: Option<&str>,
    ) -> Result<Self, &'static str> {
        let mut header = "Bearer".to_owned();
        let mut separator = ' ';
        for (name, value) in [
            ("realm", realm),
            ("scope", scope),
            ("resource_metadata", resource_metadata),
        ] {
            let Some(value) = value else { continue };
            let is_quotable = value
                .bytes()
                .all(|byte| matches!(byte, b' '..=b'~') && !matches!(byte, b'"' | b'\\'));
            if !is_quotable {
                return Err(name);
            }
            header.push(separator);
            header.push_str(&format!("{name}=\"{value}\""));
            separator = ',';
        }
        // A space after each comma, for people.
        Ok(Self(header.replace("\",", "\", ")))
    }

    /// The header's value.
    #[must_use]
    pub(crate) fn header(&self) -> &str {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_challenge_names_what_there_is() {
        let header = |realm, scope, metadata| {
            Challenge::new(realm, scope, metadata).map(|challenge| challenge.0)
        };
        assert_eq!(header(None, None, None).unwrap(), "Bearer");
        assert_eq!(
            header(Some("mcp"), Some("a b"), Some("https://x/y")).unwrap(),
            "Bearer realm=\"mcp\", scope=\"a b\", resource_metadata=\"https://x/y\""
        );
        assert_eq!(header(Some("a\"b"), None, None), Err("realm"));
        assert_eq!(header(None, Some("a\nb"), None), Err("scope"));
    }
}
