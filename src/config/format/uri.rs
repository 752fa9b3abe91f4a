//! URIs (RFC 3986).

use super::{Looks, TextFormat, TextOf};
use crate::config::problem::Wrong;
use fluent_uri::Uri;
use fluent_uri::component::{Authority, Host};

impl TextOf {
    /// An absolute URI without fragment, of any scheme.
    pub const ABSOLUTE_URI: Self = Self::new(
        "an absolute URI without fragment",
        "^[A-Za-z][A-Za-z0-9+.-]*:[!$-;=?-Z_a-z~\\[\\]]*$",
        |text| Uri::parse(text).is_ok_and(|uri| !uri.has_fragment()),
    );

    /// An absolute `https` URL.
    pub const HTTPS_URL: Self = Self::judged(
        "an absolute https URL",
        "^[Hh][Tt][Tt][Pp][Ss]://[A-Za-z0-9._~:\\[\\]-]+([/?][^#]*)?$",
        |text| {
            let is_plain = Uri::parse(text).is_ok_and(|uri| is_http(&uri));
            let plain = is_plain.then(|| Wrong::new("must be an absolute https URL"));
            Wrong::all(plain.into_iter().chain(HttpUrl.parse(text).err()))
        },
    );
}

/// Where a token endpoint is, or what else can be fetched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// The URL as written.
    pub url: String,
    /// `host[:port]` as written.
    pub authority: String,
    /// The path, `/` if there is none, and the query.
    pub path: String,
}

/// An absolute `http` or `https` URL that a request can be sent to.
#[derive(Clone, Copy, Debug)]
pub struct HttpUrl;

impl TextFormat for HttpUrl {
    type Value<'n> = Endpoint;

    fn looks(&self) -> Looks {
        Looks::new(
            "an absolute http or https URL",
            "^[Hh][Tt][Tt][Pp][Ss]?://[A-Za-z0-9._~:\\[\\]-]+([/?][^#]*)?$",
        )
    }

    fn parse(&self, text: &str) -> Result<Endpoint, Wrong> {
        endpoint(text)
    }
}

/// Whether what is sent to this URL leaves the machine for everybody to read.
pub fn leaves_in_clear(url: &str) -> bool {
    Uri::parse(url).is_ok_and(|uri| {
        is_http(&uri)
            && uri
                .authority()
                .is_some_and(|authority| !is_loopback(&authority))
    })
}

fn is_http(uri: &Uri<&str>) -> bool {
    uri.scheme().as_str().eq_ignore_ascii_case("http")
}

/// Takes a URL apart. Everything that is wrong is said without quoting the URL: it may hold a password.
fn endpoint(text: &str) -> Result<Endpoint, Wrong> {
    let Ok(uri) = Uri::parse(text) else {
        return Err(HttpUrl.looks().missed());
    };
    let authority = uri.authority();
    let is_of_http = is_http(&uri) || uri.scheme().as_str().eq_ignore_ascii_case("https");
    let host = authority.as_ref().map_or("", |authority| authority.host());
    let port = authority.as_ref().and_then(|authority| authority.port());
    let faults = [
        (!is_of_http, "must be an http or https URL"),
        (uri.has_fragment(), "must be a URL without a fragment (#…)"),
        (
            authority
                .as_ref()
                .is_some_and(|authority| authority.has_userinfo()),
            "must be a URL without a user name or a password",
        ),
        // What has another scheme need not have one.
        (host.is_empty() && is_of_http, "must be a URL with a host"),
        (
            !host.starts_with('[') && !is_plain_name(host),
            "must be a URL whose host is a name or an IP address",
        ),
        (
            port.is_some_and(|port| !port.as_str().parse::<u16>().is_ok_and(|port| port > 0)),
            "must be a URL whose port is a number from 1 to 65535",
        ),
    ];
    let found = faults.into_iter().filter(|(is_found, _)| *is_found);
    if let Some(wrong) = Wrong::all(found.map(|(_, text)| Wrong::new(text))) {
        return Err(wrong);
    }
    let path = match uri.path().as_str() {
        "" => "/",
        path => path,
    };
    Ok(Endpoint {
        url: text.to_owned(),
        authority: authority.map_or_else(String::new, |authority| authority.as_str().to_owned()),
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
            let endpoint = HttpUrl.parse(url).unwrap();
            assert_eq!(endpoint.authority, authority, "{url}");
            assert_eq!(endpoint.path, path, "{url}");
            assert!(!leaves_in_clear(url), "{url}");
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
            assert_eq!(HttpUrl.parse(url), Err(Wrong::new(why)), "{url:?}");
        }
    }

    #[test]
    fn everything_that_is_wrong_with_a_url_is_said() {
        let all = |texts: &[&str]| Wrong::all(texts.iter().map(|text| Wrong::new(*text)));
        let (fragment, user) = (
            "must be a URL without a fragment (#…)",
            "must be a URL without a user name or a password",
        );
        for (url, expected) in [
            ("https://a:b@sts/#f", &[fragment, user][..]),
            (
                "ftp://a@b,c:0/#f",
                &[
                    "must be an http or https URL",
                    fragment,
                    user,
                    "must be a URL whose host is a name or an IP address",
                    "must be a URL whose port is a number from 1 to 65535",
                ],
            ),
            ("https://a@/", &[user, "must be a URL with a host"]),
        ] {
            assert_eq!(HttpUrl.parse(url).err(), all(expected), "{url}");
        }
        assert_eq!(
            TextOf::HTTPS_URL.parse("http://a@b/").err(),
            all(&["must be an absolute https URL", user])
        );
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
            assert!(HttpUrl.parse(url).is_ok(), "{url}");
            assert_eq!(leaves_in_clear(url), !loopback, "{url}");
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
            assert_eq!(TextOf::ABSOLUTE_URI.parse(text).is_ok(), fits, "{text:?}");
        }
    }
}
