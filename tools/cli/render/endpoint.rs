//! Where something listens, as a URL or an address says it.

use fluent_uri::Uri;

/// A host, a port, and whether they speak TLS.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Endpoint {
    pub(super) host: String,
    pub(super) port: u16,
    pub(super) tls: bool,
    /// The path of a URL, without a slash at its end; empty for the root.
    pub(super) path: String,
}

impl Endpoint {
    /// From `http://host:port/path`, `https://…`, or `host:port`, which means without TLS.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let url = if text.contains("://") {
            text.to_owned()
        } else {
            format!("http://{text}")
        };
        let url = Uri::parse(url.as_str()).ok()?;
        let scheme = url.scheme().as_str().to_ascii_lowercase();
        let tls = match scheme.as_str() {
            "https" => true,
            "http" => false,
            _ => return None,
        };
        let authority = url.authority()?;
        let host = authority.host();
        if host.is_empty() || authority.userinfo().is_some() {
            return None;
        }
        let port = match authority.port().map(|port| port.as_str()) {
            None | Some("") if tls => 443,
            None | Some("") => 80,
            Some(port) => port.parse().ok()?,
        };
        Some(Self {
            host: host.trim_matches(['[', ']']).to_owned(),
            port,
            tls,
            path: url.path().as_str().trim_end_matches('/').to_owned(),
        })
    }

    /// An endpoint that no name server will ever know (RFC 6761 §6.4): until the real one is
    /// filled in, requests fail, and no credential goes astray.
    pub(super) fn unknown(label: &str) -> Self {
        let label: String = label
            .chars()
            .map(|character| match character {
                'a'..='z' | '0'..='9' => character,
                'A'..='Z' => character.to_ascii_lowercase(),
                _ => '-',
            })
            .collect();
        let label = label
            .trim_matches('-')
            .get(..63)
            .unwrap_or(label.trim_matches('-'));
        let label = if label.is_empty() { "unknown" } else { label };
        Self {
            host: format!("{}.invalid", label.trim_matches('-')),
            port: 443,
            tls: true,
            path: String::new(),
        }
    }

    /// The host, and the port if it is not the scheme's own: what a server expects as `host`.
    pub(super) fn authority(&self) -> String {
        match (self.tls, self.port) {
            (true, 443) | (false, 80) => self.host.clone(),
            _ => format!("{}:{}", self.host, self.port),
        }
    }

    /// Whether the host is an address and not a name: then there is no server name to indicate.
    pub(super) fn is_address(&self) -> bool {
        self.host.parse::<std::net::IpAddr>().is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn endpoint(host: &str, port: u16, tls: bool, path: &str) -> Endpoint {
        Endpoint {
            host: host.to_owned(),
            port,
            tls,
            path: path.to_owned(),
        }
    }

    #[test]
    fn endpoints_are_read() {
        for (text, expected) in [
            ("a.example:8080", endpoint("a.example", 8080, false, "")),
            ("a.example", endpoint("a.example", 80, false, "")),
            ("HTTPS://a.example", endpoint("a.example", 443, true, "")),
            (
                "https://a.example:8443/mcp/",
                endpoint("a.example", 8443, true, "/mcp"),
            ),
            ("http://[::1]:1/", endpoint("::1", 1, false, "")),
            ("127.0.0.1:9001", endpoint("127.0.0.1", 9001, false, "")),
        ] {
            assert_eq!(Endpoint::parse(text).as_ref(), Some(&expected), "{text}");
        }
        for text in [
            "",
            "ftp://a",
            "a:b",
            "https://",
            "https://u:p@a",
            "a:70000",
            "a b",
        ] {
            assert_eq!(Endpoint::parse(text), None, "{text}");
        }
    }

    #[test]
    fn an_unknown_endpoint_resolves_nowhere() {
        assert_eq!(Endpoint::unknown("A.b/c").host, "a-b-c.invalid");
        assert_eq!(Endpoint::unknown("::").host, "unknown.invalid");
        assert!(Endpoint::unknown(&"x".repeat(80)).host.len() <= 63 + 8);
    }
}
