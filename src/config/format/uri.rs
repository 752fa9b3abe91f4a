//! URIs (RFC 3986).

use super::{TextFormat, must_be};
use crate::config::problem::Wrong;
use fluent_uri::Uri;
use fluent_uri::component::{Authority, Host};

/// An absolute URI without fragment, of any scheme.
#[derive(Clone, Copy, Debug)]
pub struct AbsoluteUri;

impl TextFormat for AbsoluteUri {
    type Value<'n> = &'n str;
    const ALLOWED: &'static str = "an absolute URI without fragment";
    const PATTERN: &'static str = "^[A-Za-z][A-Za-z0-9+.-]*:[!$-;=?-Z_a-z~\\[\\]]*$";

    fn parse<'n>(&self, text: &'n str) -> Result<&'n str, Wrong> {
        match Uri::parse(text) {
            Ok(uri) if !uri.has_fragment() => Ok(text),
            _ => Err(must_be(self)),
        }
    }
}

/// Where a token endpoint is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// The URL as written.
    pub url: String,
    /// Whether plain `http` is acceptable without further ado: it never leaves the machine.
    pub loopback: bool,
    /// Whether the scheme is `https`.
    pub secure: bool,
    /// `host[:port]` as written.
    pub authority: String,
    /// The path, `/` if there is none, and the query.
    pub path: String,
}

/// `tokenUrl`: an absolute `http` or `https` URL that a request can be sent to.
#[derive(Clone, Copy, Debug)]
pub struct TokenUrl;

impl TextFormat for TokenUrl {
    type Value<'n> = Endpoint;
    const ALLOWED: &'static str = "an absolute http or https URL";
    const PATTERN: &'static str = HttpUrl::PATTERN;

    fn parse(&self, text: &str) -> Result<Endpoint, Wrong> {
        endpoint(text)
    }
}

/// An absolute `http` or `https` URL that a client can fetch.
#[derive(Clone, Copy, Debug)]
pub struct HttpUrl;

impl TextFormat for HttpUrl {
    type Value<'n> = &'n str;
    const ALLOWED: &'static str = TokenUrl::ALLOWED;
    const PATTERN: &'static str = "^[Hh][Tt][Tt][Pp][Ss]?://[A-Za-z0-9._~:\\[\\]-]+([/?][^#]*)?$";

    fn parse<'n>(&self, text: &'n str) -> Result<&'n str, Wrong> {
        endpoint(text).map(|_| text)
    }
}

/// An absolute `https` URL.
#[derive(Clone, Copy, Debug)]
pub struct HttpsUrl;

impl TextFormat for HttpsUrl {
    type Value<'n> = &'n str;
    const ALLOWED: &'static str = "an absolute https URL";
    const PATTERN: &'static str = "^[Hh][Tt][Tt][Pp][Ss]://[A-Za-z0-9._~:\\[\\]-]+([/?][^#]*)?$";

    fn parse<'n>(&self, text: &'n str) -> Result<&'n str, Wrong> {
        match endpoint(text)?.secure {
            true => Ok(text),
            false => Err(must_be(self)),
        }
    }
}

/// Takes a URL apart. What is wrong is said without quoting the URL: it may hold a password.
fn endpoint(text: &str) -> Result<Endpoint, Wrong> {
    let wrong = |text: &str| Err(Wrong::new(text));
    let Ok(uri) = Uri::parse(text) else {
        return wrong("must be an absolute http or https URL");
    };
    let scheme = uri.scheme().as_str();
    let secure = scheme.eq_ignore_ascii_case("https");
    if !secure && !scheme.eq_ignore_ascii_case("http") {
        return wrong("must be an http or https URL");
    }
    if uri.has_fragment() {
        return wrong("must be a URL without a fragment (#…)");
    }
    let Some(authority) = uri.authority() else {
        return wrong("must be a URL with a host");
    };
    if authority.has_userinfo() {
        return wrong("must be a URL without a user name or a password");
    }
    let host = authority.host();
    if host.is_empty() {
        return wrong("must be a URL with a host");
    }
    if !host.starts_with('[') && !is_plain_name(host) {
        return wrong("must be a URL whose host is a name or an IP address");
    }
    if let Some(port) = authority.port()
        && !port.as_str().parse::<u16>().is_ok_and(|port| port > 0)
    {
        return wrong("must be a URL whose port is a number from 1 to 65535");
    }
    let path = match uri.path().as_str() {
        "" => "/",
        path => path,
    };
    Ok(Endpoint {
        url: text.to_owned(),
        loopback: is_loopback(&authority),
        secure,
        authority: authority.as_str().to_owned(),
        path: match uri.query() {
            Some(query) => format!("{path}?{}", query.as_str()),
            None => path.to_owned(),
        },
    })
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
            let endpoint = TokenUrl.parse(url).unwrap();
            assert_eq!(endpoint.authority, authority, "{url}");
            assert_eq!(endpoint.path, path, "{url}");
            assert!(endpoint.secure, "{url}");
            assert!(!endpoint.loopback, "{url}");
        }
    }

    #[test]
    fn a_token_url_that_cannot_be_called_is_refused_without_being_quoted() {
        for (url, why) in [
            ("", "must be an absolute http or https URL"),
            ("sts.example.com", "must be an absolute http or https URL"),
            ("/token", "must be an absolute http or https URL"),
            ("//sts/token", "must be an absolute http or https URL"),
            (
                "https://sts/to ken",
                "must be an absolute http or https URL",
            ),
            ("https://sts/\n", "must be an absolute http or https URL"),
            ("https://sté/", "must be an absolute http or https URL"),
            ("https://[::1/", "must be an absolute http or https URL"),
            ("https://sts:http/", "must be an absolute http or https URL"),
            ("https://sts:-1/", "must be an absolute http or https URL"),
            ("https://sts/%zz", "must be an absolute http or https URL"),
            ("ftp://sts/token", "must be an http or https URL"),
            ("sts:8080/token", "must be an http or https URL"),
            ("https://sts/t#f", "must be a URL without a fragment (#…)"),
            ("https://sts/t#", "must be a URL without a fragment (#…)"),
            ("https:/token", "must be a URL with a host"),
            ("https:token", "must be a URL with a host"),
            ("https:///token", "must be a URL with a host"),
            ("https://:443/token", "must be a URL with a host"),
            (
                "https://user:pass@sts/",
                "must be a URL without a user name or a password",
            ),
            (
                "https://@sts/",
                "must be a URL without a user name or a password",
            ),
            (
                "https://%73ts/",
                "must be a URL whose host is a name or an IP address",
            ),
            (
                "https://a,b/",
                "must be a URL whose host is a name or an IP address",
            ),
            (
                "https://sts:0/",
                "must be a URL whose port is a number from 1 to 65535",
            ),
            (
                "https://sts:65536/",
                "must be a URL whose port is a number from 1 to 65535",
            ),
            (
                "https://sts:/",
                "must be a URL whose port is a number from 1 to 65535",
            ),
        ] {
            assert_eq!(TokenUrl.parse(url), Err(Wrong::new(why)), "{url:?}");
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
            assert_eq!(TokenUrl.parse(url).unwrap().loopback, loopback, "{url}");
        }
    }

    #[test]
    fn a_resource_is_an_absolute_uri_without_fragment() {
        for (text, fits) in [
            ("https://api.example.com", true),
            ("urn:example:api", true),
            ("api:x?y", true),
            ("https://user@api/", true),
            ("", false),
            ("api", false),
            ("/api", false),
            ("https://api#f", false),
            ("https://api/a b", false),
            ("1urn:x", false),
        ] {
            assert_eq!(AbsoluteUri.parse(text).is_ok(), fits, "{text:?}");
        }
    }
}
