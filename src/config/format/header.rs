//! What may stand in an HTTP header.

use super::{Looks, TextFormat, TextOf};
use crate::config::problem::Wrong;

/// The name of a request header that the filter may set; becomes lower case.
#[derive(Clone, Copy, Debug)]
pub(crate) struct HeaderName;

/// What belongs to one connection or frames the message, not to what is said over it (RFC 9110
/// §7.6.1 and RFC 9113 §8.2.2, and the list of RFC 2616 §13.5.1 that older proxies still strip),
/// and `host`, which routing has read by then.
const NOT_TO_BE_SET: [&str; 11] = [
    "connection",
    "content-length",
    "host",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// Three hyphens are 27 spellings.
const MOST_HYPHENS: usize = 3;

impl TextFormat for HeaderName {
    type Value<'n> = String;

    fn looks(&self) -> Looks {
        Looks::new(
            "the name of an HTTP header",
            "^[!#$%&'*+.^_`|~0-9A-Za-z-]+$",
        )
    }

    fn parse(&self, text: &str) -> Result<String, Wrong> {
        let name = text.to_ascii_lowercase();
        let bare = name.strip_prefix(':');
        let pseudo =
            bare.map(|_| Wrong::new("must not be a pseudo-header (one that starts with a colon)"));
        let is_token = bare.unwrap_or(&name).bytes().all(is_tchar) && !text.is_empty();
        let misspelt = (!is_token).then(|| self.looks().missed());
        let fixed = NOT_TO_BE_SET.contains(&name.as_str()).then(|| {
            Wrong::new(format!(
                "must not be {name}: hop-by-hop headers, host and content-length cannot be set"
            ))
        });
        let ambiguous = (name.matches('-').count() > MOST_HYPHENS).then(|| {
            Wrong::new(format!(
                "must not have more than {MOST_HYPHENS} hyphens: a server may take each for _ or ., \
                 and every such spelling that a client sends is removed"
            ))
        });
        let found = [pseudo, misspelt, fixed, ambiguous];
        Wrong::all(found.into_iter().flatten()).map_or(Ok(name), Err)
    }
}

/// `tchar` of RFC 9110 §5.6.2.
fn is_tchar(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

impl TextOf {
    /// A header's value: visible ASCII, space and tab, and something besides blanks, since blanks at
    /// the ends are no part of a value (RFC 9110 §5.5).
    pub(crate) const HEADER_VALUE: Self = Self::new(
        "a header value: visible ASCII, spaces and tabs, not only blanks",
        "^[\\t -~]*[!-~][\\t -~]*$",
        |text| {
            let printable = text.bytes().all(|byte| matches!(byte, b'\t' | b' '..=b'~'));
            printable && text.bytes().any(|byte| byte.is_ascii_graphic())
        },
    );

    /// A value for a quoted string of `www-authenticate` that needs no escape: many clients do not
    /// undo one.
    pub(crate) const CHALLENGE: Self = Self::new(
        "a string of visible ASCII, spaces and tabs without \" and \\, not empty",
        "^[\\t !#-\\[\\]-~]+$",
        |text| {
            let fits = |byte| matches!(byte, b'\t' | b' ' | b'!' | b'#'..=b'[' | b']'..=b'~');
            !text.is_empty() && text.bytes().all(fits)
        },
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_name_is_a_token_that_a_request_may_carry_end_to_end() {
        for (text, name) in [
            ("X-API-Key", Some("x-api-key")),
            ("Authorization", Some("authorization")),
            ("!#$%&'*+-.^_`|~09azAZ", Some("!#$%&'*+-.^_`|~09azaz")),
            ("Cookie", Some("cookie")),
            ("x-a-b-c", Some("x-a-b-c")),
            ("x-a-b-c-d", None),
            ("", None),
            (":authority", None),
            (":", None),
            ("x y", None),
            ("x:y", None),
            ("x-é", None),
            ("x\r\ny", None),
            ("x\0", None),
            ("Host", None),
            ("content-length", None),
            ("Transfer-Encoding", None),
            ("CONNECTION", None),
            ("keep-alive", None),
            ("proxy-connection", None),
            ("proxy-authenticate", None),
            ("Proxy-Authorization", None),
            ("TE", None),
            ("trailer", None),
            ("upgrade", None),
        ] {
            assert_eq!(HeaderName.parse(text).ok().as_deref(), name, "{text:?}");
        }
    }

    #[test]
    fn everything_that_is_wrong_with_a_name_is_said() {
        for (text, expected) in [
            (":", 1),
            (":a b", 2),
            ("x y", 1),
            ("x y-a-b-c-d", 2),
            (":x-a-b-c-d", 2),
            ("", 1),
        ] {
            let wrong = HeaderName.parse(text).unwrap_err();
            assert_eq!(wrong.count(), expected, "{text:?}");
        }
    }

    #[test]
    fn a_header_value_is_printable_ascii() {
        for (text, fits) in [
            ("k", true),
            ("two words\tand a tab", true),
            (" k ", true),
            ("~!\"\\", true),
            ("", false),
            (" \t", false),
            ("k\n", false),
            ("k\r\nx-evil: 1", false),
            ("k\0", false),
            ("k\x7f", false),
            ("ké", false),
        ] {
            assert_eq!(TextOf::HEADER_VALUE.parse(text).is_ok(), fits, "{text:?}");
        }
    }

    #[test]
    fn a_challenge_text_fits_a_quoted_string_as_it_is() {
        for (text, fits) in [
            ("mcp", true),
            ("a realm, with; all = of it\t~", true),
            ("", false),
            ("quote\"", false),
            ("back\\slash", false),
            ("line\nfeed", false),
            ("é", false),
        ] {
            assert_eq!(TextOf::CHALLENGE.parse(text).is_ok(), fits, "{text:?}");
        }
    }
}
