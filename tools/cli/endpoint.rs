//! Where something listens, as a URL or an address says it.

use fluent_uri::Uri;

/// A host, a port, and whether they speak TLS.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Endpoint {
    pub(crate) host: String,
    pub(crate) port: u16,
    pub(crate) tls: bool,
    /// The path of a URL, with a slash at its end if it has one there; empty for the root.
    pub(crate) path: String,
}

/// What is said of a text that is no URL at all.
pub(crate) const NO_URL: &str =
    "write an absolute URL, http://HOST[:PORT][/PATH] or https://HOST[:PORT][/PATH]";
/// What is said of a URL with a query that nothing would send.
pub(crate) const HAS_QUERY: &str = "write it without its query (?…), which nothing would send; a key \
                                    that the server wants goes into a header (header_injection)";
const NO_ADDRESS: &str = "write HOST:PORT, or a URL (http://HOST[:PORT][/PATH], https://…)";

impl Endpoint {
    /// From `http://host:port/path` or `https://…`.
    ///
    /// # Errors
    /// What to write instead. It is never quoted, since it may hold a password or a key.
    pub(crate) fn of_url(text: &str) -> Result<Self, &'static str> {
        let endpoint = Self::of_called(text)?;
        match text.contains('?') {
            true => Err(HAS_QUERY),
            false => Ok(endpoint),
        }
    }

    /// The same for a URL that is called as it stands, by whoever has the whole text: with its query.
    ///
    /// # Errors
    /// What to write instead.
    pub(crate) fn of_called(text: &str) -> Result<Self, &'static str> {
        if !text.contains("://") {
            return Err(NO_URL);
        }
        let url = Uri::parse(text).map_err(|_| NO_URL)?;
        let tls = match url.scheme().as_str().to_ascii_lowercase().as_str() {
            "https" => true,
            "http" => false,
            _ => return Err(NO_URL),
        };
        let authority = url.authority().ok_or(NO_URL)?;
        let host = authority.host();
        if host.is_empty() {
            return Err(NO_URL);
        }
        if authority.has_userinfo() {
            return Err("write it without a user name and a password, which nothing would send");
        }
        if url.has_fragment() {
            return Err("write it without its fragment (#…), which nothing would send");
        }
        let is_name_byte =
            |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~');
        if !host.starts_with('[') && !host.bytes().all(is_name_byte) {
            return Err("write one name or an IP address as its host");
        }
        let port = match authority.port().map(|port| port.as_str()) {
            None | Some("") if tls => 443,
            None | Some("") => 80,
            Some(port) => match port.parse() {
                Ok(port) if port > 0 => port,
                _ => return Err("write a port from 1 to 65535"),
            },
        };
        let path = url.path().as_str();
        Ok(Self {
            host: host.trim_matches(['[', ']']).to_owned(),
            port,
            tls,
            path: if path == "/" { "" } else { path }.to_owned(),
        })
    }

    /// From `host:port`, which means without TLS, or from a URL.
    ///
    /// # Errors
    /// What to write instead.
    pub(crate) fn of_address(text: &str) -> Result<Self, &'static str> {
        let wrong = |error| if error == NO_URL { NO_ADDRESS } else { error };
        if text.contains("://") {
            return Self::of_url(text).map_err(wrong);
        }
        let has_port = text
            .rsplit_once(':')
            .is_some_and(|(_, port)| port.parse::<u16>().is_ok());
        if !has_port || text.contains(['/', '?', '#']) {
            return Err(NO_ADDRESS);
        }
        Self::of_url(&format!("http://{text}")).map_err(wrong)
    }

    /// The same without a slash at the end of its path: something is put behind it.
    pub(crate) fn without_slash(mut self) -> Self {
        let length = self.path.trim_end_matches('/').len();
        self.path.truncate(length);
        self
    }

    /// An endpoint that no name server will ever know (RFC 6761 §6.4): until the real one is
    /// filled in, requests fail, and no credential goes astray.
    pub(crate) fn unknown(label: &str) -> Self {
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
    pub(crate) fn authority(&self) -> String {
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
    pub(crate) fn is_address(&self) -> bool {
        self.host.parse::<std::net::IpAddr>().is_ok()
    }

    /// Whether it is this machine, as the filter sees it (`insecureTokenUrl`).
    pub(crate) fn is_loopback(&self) -> bool {
        let host = self.host.to_ascii_lowercase();
        host == "localhost"
            || host.ends_with(".localhost")
            || host
                .parse::<std::net::IpAddr>()
                .is_ok_and(|address| address.is_loopback())
    }

    /// Whether it is a Service of the cluster that Envoy runs in.
    pub(crate) fn is_in_cluster(&self) -> bool {
        let host = self.host.to_ascii_lowercase();
        host.ends_with(".svc") || host.ends_with(".svc.cluster.local")
    }

    /// The whole URL; the root without a slash.
    pub(crate) fn url(&self) -> String {
        format!("{}{}", self.origin(), self.path)
    }

    /// Scheme, host and port: a URL without its path.
    pub(crate) fn origin(&self) -> String {
        let scheme = if self.tls { "https" } else { "http" };
        format!("{scheme}://{}", self.authority())
    }
}

/// An address as a message repeats it: without what can hold a password or a key.
pub(crate) fn shown(text: &str) -> String {
    if !text.contains('@') {
        return match text.split_once(['?', '#']) {
            Some((place, _)) => format!("{place}?…"),
            None => text.to_owned(),
        };
    }
    match text.split_once("://") {
        Some((scheme, _)) if !scheme.contains('@') => format!("{scheme}://…"),
        _ => "…".to_owned(),
    }
}

/// Whether Envoy, which normalizes paths, lets a request through with exactly this one.
pub(crate) fn is_normal(path: &str) -> bool {
    let lower = path.to_ascii_lowercase();
    let is_escaped = ["%2f", "%5c", "%2e"].iter().any(|one| lower.contains(one));
    let mut segments = path.split('/').skip(1);
    path.starts_with('/')
        && !path.contains('\\')
        && !is_escaped
        && !path.contains("//")
        && !segments.any(|segment| [".", ".."].contains(&segment))
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
                endpoint("a.example", 8443, true, "/mcp/"),
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
            "a:0",
            "https://a:0/mcp",
            "https://*.a/mcp",
            "https://%61/mcp",
            "https://a/mcp?key=b",
            "u:p@a:1",
        ] {
            assert!(Endpoint::of_address(text).is_err(), "{text}");
        }
        for text in ["a.example:8080", "a.example", "//a.example"] {
            assert!(Endpoint::of_url(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_query_is_kept_by_who_calls_the_whole_url() {
        let expected = endpoint("a", 443, true, "/keys");
        assert_eq!(Endpoint::of_called("https://a/keys?p=x"), Ok(expected));
    }

    #[test]
    fn nothing_that_could_be_used_is_repeated() {
        for (text, expected) in [
            ("https://a.example/mcp", "https://a.example/mcp"),
            ("https://a.example/mcp?key=b@c", "https://…"),
            ("https://a.example/mcp?key=b", "https://a.example/mcp?…"),
            ("https://a.example/#key", "https://a.example/?…"),
            ("https://u:p?a/b@a.example/mcp", "https://…"),
            ("u:p@a.example:1", "…"),
            ("u:p@a://b", "…"),
        ] {
            assert_eq!(shown(text), expected, "{text}");
        }
    }

    #[test]
    fn a_path_that_envoy_would_change_is_told_from_others() {
        for path in ["/", "/a", "/a/b/", "/a.b/..c", "/%C3%A4"] {
            assert!(is_normal(path), "{path}");
        }
        for path in [
            "",
            "a",
            "/a/../b",
            "/./a",
            "/a/..",
            "/a//b",
            "/a%2Fb",
            "/%2e%2e/a",
            "/a\\b",
        ] {
            assert!(!is_normal(path), "{path}");
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
