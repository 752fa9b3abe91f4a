//! Where a token endpoint is: URLs that can be called (RFC 3986).

use fluent_uri::Uri;
use fluent_uri::component::{Authority, Host};

/// An absolute `http` or `https` URL that a request can be sent to, taken apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Endpoint {
    /// The URL as written.
    pub url: String,
    /// `host[:port]` as written.
    pub authority: String,
    /// The path, `/` if there is none, and the query.
    pub path: String,
}

impl Endpoint {
    /// Takes a URL apart.
    ///
    /// # Errors
    /// Everything that is wrong with it, or nothing if it is no URL at all. It is never quoted, since it
    /// may hold a password.
    pub(crate) fn of(text: &str) -> Result<Self, Vec<&'static str>> {
        let uri = Uri::parse(text).map_err(|_| Vec::new())?;
        let authority = uri.authority();
        let is_of_http = is_http(&uri) || uri.scheme().as_str().eq_ignore_ascii_case("https");
        let host = authority.as_ref().map_or("", |authority| authority.host());
        let port = authority.as_ref().and_then(|authority| authority.port());
        let has_user = authority.as_ref().is_some_and(Authority::has_userinfo);
        let is_port = |port: &str| port.parse::<u16>().is_ok_and(|port| port > 0);
        let faults = [
            (!is_of_http, "must be an http or https URL"),
            (uri.has_fragment(), "must be a URL without a fragment (#…)"),
            (has_user, "must be a URL without a user name or a password"),
            // What has another scheme need not have one.
            (host.is_empty() && is_of_http, "must be a URL with a host"),
            (
                !host.starts_with('[') && !is_plain_name(host),
                "must be a URL whose host is a name or an IP address",
            ),
            (
                port.is_some_and(|port| !is_port(port.as_str())),
                "must be a URL whose port is a number from 1 to 65535",
            ),
        ];
        let found = faults.iter().filter(|(is_found, _)| *is_found);
        let found: Vec<_> = found.map(|(_, fault)| *fault).collect();
        if !found.is_empty() {
            return Err(found);
        }
        let path = match uri.path().as_str() {
            "" => "/",
            path => path,
        };
        Ok(Self {
            url: text.to_owned(),
            authority: authority.map_or_else(String::new, |it| it.as_str().to_owned()),
            path: match uri.query() {
                Some(query) => format!("{path}?{}", query.as_str()),
                None => path.to_owned(),
            },
        })
    }
}

/// Whether it is a URL of plain `http`, whatever else is wrong with it.
pub(crate) fn is_plain(url: &str) -> bool {
    Uri::parse(url).is_ok_and(|uri| is_http(&uri))
}

/// Whether what is sent to this URL leaves the machine for everybody to read.
pub(crate) fn leaves_in_clear(url: &str) -> bool {
    let is_far = |uri: Uri<&str>| uri.authority().is_some_and(|it| !is_loopback(&it));
    is_plain(url) && Uri::parse(url).is_ok_and(is_far)
}

fn is_http(uri: &Uri<&str>) -> bool {
    uri.scheme().as_str().eq_ignore_ascii_case("http")
}

/// `localhost`, `*.localhost` (RFC 6761 §6.3), 127.0.0.0/8 and ::1.
fn is_loopback(authority: &Authority<'_>) -> bool {
    match authority.host_parsed() {
        Host::Ipv4(address) => address.is_loopback(),
        Host::Ipv6(address) => address.is_loopback(),
        _ => {
            let host = authority.host().to_ascii_lowercase();
            host == "localhost" || host.ends_with(".localhost")
        }
    }
}

/// RFC 3986 allows percent-encoding and punctuation in a registered name; `:authority` does not
/// mean the same by them.
fn is_plain_name(host: &str) -> bool {
    host.bytes()
        .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_url_says_where_to_call() {
        for (url, authority, path) in [
            ("https://sts.example.com/token", "sts.example.com", "/token"),
            ("https://sts.example.com", "sts.example.com", "/"),
            ("https://sts.example.com/", "sts.example.com", "/"),
            ("https://sts.example.com?a=b", "sts.example.com", "/?a=b"),
            (
                "HTTPS://STS.Example.com:8443/a/../b%20c;d?x=1&y=%2F",
                "STS.Example.com:8443",
                "/a/../b%20c;d?x=1&y=%2F",
            ),
            ("https://10.0.0.1:1/t", "10.0.0.1:1", "/t"),
            (
                "https://[2001:db8::1]:65535/t?",
                "[2001:db8::1]:65535",
                "/t?",
            ),
            ("https://under_score/t", "under_score", "/t"),
        ] {
            let endpoint = Endpoint::of(url).unwrap();
            assert_eq!(endpoint.authority, authority, "{url}");
            assert_eq!(endpoint.path, path, "{url}");
            assert!(!leaves_in_clear(url), "{url}");
        }
    }

    #[test]
    fn loopback_is_what_never_leaves_the_machine() {
        for (url, loopback) in [
            ("http://localhost/", true),
            ("http://LocalHost:8080/", true),
            ("http://sts.localhost/", true),
            ("http://127.0.0.1/", true),
            ("http://127.255.1.2:99/", true),
            ("http://[::1]/", true),
            ("http://[0:0:0:0:0:0:0:1]:80/", true),
            ("http://[::0.0.0.1]/", true),
            ("http://[::1:1]/", false),
            ("http://[1::]/", false),
            ("http://[::11]/", false),
            ("http://[::127.0.0.1]/", false),
            ("http://notlocalhost/", false),
            ("http://localhost.example.com/", false),
            ("http://127.0.0.1.example.com/", false),
            ("http://127.1/", false),
            ("http://128.0.0.1/", false),
            ("http://0.0.0.0/", false),
            ("http://[::]/", false),
            ("http://[::ffff:127.0.0.1]/", false),
            ("http://sts/", false),
        ] {
            assert!(Endpoint::of(url).is_ok(), "{url}");
            assert_eq!(leaves_in_clear(url), !loopback, "{url}");
        }
    }
}
