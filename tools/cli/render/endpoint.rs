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
    /// From `http://host:port/path` or `https://…`.
    ///
    /// # Errors
    /// What to write instead.
    pub(super) fn of_url(text: &str) -> Result<Self, &'static str> {
        const EXPECTED: &str =
            "write an absolute URL, http://HOST[:PORT][/PATH] or https://HOST[:PORT][/PATH]";
        if !text.contains("://") {
            return Err(EXPECTED);
        }
        let url = Uri::parse(text).map_err(|_| EXPECTED)?;
        let tls = match url.scheme().as_str().to_ascii_lowercase().as_str() {
            "https" => true,
            "http" => false,
            _ => return Err(EXPECTED),
        };
        let authority = url.authority().ok_or(EXPECTED)?;
        let host = authority.host();
        if host.is_empty() || authority.userinfo().is_some() || url.fragment().is_some() {
            return Err(EXPECTED);
        }
        let port = match authority.port().map(|port| port.as_str()) {
            None | Some("") if tls => 443,
            None | Some("") => 80,
            Some(port) => port.parse().map_err(|_| EXPECTED)?,
        };
        Ok(Self {
            host: host.trim_matches(['[', ']']).to_owned(),
            port,
            tls,
            path: url.path().as_str().trim_end_matches('/').to_owned(),
        })
    }

    /// From `host:port`, which means without TLS, or from a URL.
    ///
    /// # Errors
    /// What to write instead.
    pub(super) fn of_address(text: &str) -> Result<Self, &'static str> {
        const EXPECTED: &str = "write HOST:PORT, or a URL (http://HOST[:PORT][/PATH], https://…)";
        if text.contains("://") {
            return Self::of_url(text).map_err(|_| EXPECTED);
        }
        let has_port = text
            .rsplit_once(':')
            .is_some_and(|(_, port)| port.parse::<u16>().is_ok());
        if !has_port || text.contains(['/', '?', '#']) {
            return Err(EXPECTED);
        }
        Self::of_url(&format!("http://{text}")).map_err(|_| EXPECTED)
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
        let host = if self.host.contains(':') {
            format!("[{}]", self.host)
        } else {
            self.host.clone()
        };
        match (self.tls, self.port) {
            (true, 443) | (false, 80) => host,
            _ => format!("{host}:{}", self.port),
        }
    }

    /// Whether the host is an address and not a name: then there is no server name to indicate.
    pub(super) fn is_address(&self) -> bool {
        self.host.parse::<std::net::IpAddr>().is_ok()
    }

    /// Whether it is this machine, as the filter sees it (`insecureTokenUrl`).
    pub(super) fn is_loopback(&self) -> bool {
        let host = self.host.to_ascii_lowercase();
        host == "localhost"
            || host.ends_with(".localhost")
            || host
                .parse::<std::net::IpAddr>()
                .is_ok_and(|address| address.is_loopback())
    }

    /// Whether it is a Service of the cluster that Envoy runs in.
    pub(super) fn is_in_cluster(&self) -> bool {
        let host = self.host.to_ascii_lowercase();
        host.ends_with(".svc") || host.ends_with(".svc.cluster.local")
    }

    /// The whole URL, without a slash at its end.
    pub(super) fn url(&self) -> String {
        format!("{}{}", self.origin(), self.path)
    }

    /// Scheme, host and port: a URL without its path.
    pub(super) fn origin(&self) -> String {
        let scheme = if self.tls { "https" } else { "http" };
        format!("{scheme}://{}", self.authority())
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
            ("HTTPS://a.example", endpoint("a.example", 443, true, "")),
            (
                "https://a.example:8443/mcp/",
                endpoint("a.example", 8443, true, "/mcp"),
            ),
            ("http://[::1]:1/", endpoint("::1", 1, false, "")),
            ("[::1]:9001", endpoint("::1", 9001, false, "")),
            ("127.0.0.1:9001", endpoint("127.0.0.1", 9001, false, "")),
        ] {
            assert_eq!(Endpoint::of_address(text).as_ref(), Ok(&expected), "{text}");
        }
        for text in [
            "",
            "ftp://a",
            "a:b",
            "a.example",
            "notaport",
            "a:1/mcp",
            "https://",
            "https://u:p@a",
            "https://a/#b",
            "a:70000",
            "a b",
            "a b:1",
        ] {
            assert!(Endpoint::of_address(text).is_err(), "{text}");
        }
        for text in ["a.example:8080", "a.example", "//a.example"] {
            assert!(Endpoint::of_url(text).is_err(), "{text}");
        }
    }

    #[test]
    fn where_tokens_may_go_without_tls_is_told_by_the_host() {
        for (text, is_loopback, is_in_cluster) in [
            ("127.0.0.1:1", true, false),
            ("[::1]:1", true, false),
            ("x.localhost:1", true, false),
            ("identity.mcp.svc:1", false, true),
            ("identity.mcp.svc.cluster.local:1", false, true),
            ("identity.svc.example:1", false, false),
            ("10.0.0.1:1", false, false),
        ] {
            let endpoint = Endpoint::of_address(text).unwrap();
            assert_eq!(
                (endpoint.is_loopback(), endpoint.is_in_cluster()),
                (is_loopback, is_in_cluster),
                "{text}"
            );
        }
    }

    #[test]
    fn an_unknown_endpoint_resolves_nowhere() {
        assert_eq!(Endpoint::unknown("A.b/c").host, "a-b-c.invalid");
        assert_eq!(Endpoint::unknown("::").host, "unknown.invalid");
        assert!(Endpoint::unknown(&"x".repeat(80)).host.len() <= 63 + 8);
    }
}
