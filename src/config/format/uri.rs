//! URIs (RFC 3986).

use super::{Looks, TextFormat, TextOf};
use crate::config::problem::Wrong;
use crate::exchange::endpoint::{Endpoint, is_plain};
use fluent_uri::Uri;

impl TextOf {
    /// An absolute URI without fragment, of any scheme.
    pub(crate) const ABSOLUTE_URI: Self = Self::new(
        "an absolute URI without fragment",
        "^[A-Za-z][A-Za-z0-9+.-]*:[!$-;=?-Z_a-z~\\[\\]]*$",
        |text| Uri::parse(text).is_ok_and(|uri| !uri.has_fragment()),
    );

    /// An absolute `https` URL.
    pub(crate) const HTTPS_URL: Self = Self::judged(
        "an absolute https URL",
        "^[Hh][Tt][Tt][Pp][Ss]://[A-Za-z0-9._~:\\[\\]-]+([/?][^#]*)?$",
        |text| {
            let plain = || Wrong::new("must be an absolute https URL");
            let plain = is_plain(text).then(plain);
            Wrong::all(plain.into_iter().chain(HttpUrl.parse(text).err()))
        },
    );
}

/// An absolute `http` or `https` URL that a request can be sent to.
#[derive(Clone, Copy, Debug)]
pub(crate) struct HttpUrl;

impl TextFormat for HttpUrl {
    type Value<'n> = Endpoint;

    fn looks(&self) -> Looks {
        Looks::new(
            "an absolute http or https URL",
            "^[Hh][Tt][Tt][Pp][Ss]?://[A-Za-z0-9._~:\\[\\]-]+([/?][^#]*)?$",
        )
    }

    fn parse(&self, text: &str) -> Result<Endpoint, Wrong> {
        Endpoint::of(text).map_err(|faults| {
            let wrong = Wrong::all(faults.into_iter().map(Wrong::new));
            wrong.unwrap_or_else(|| self.looks().missed())
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
