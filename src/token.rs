//! Bearer tokens that are safe to send.

use std::fmt;
use std::rc::Rc;

/// The longest token that is ever sent, in bytes.
pub const MAX_TOKEN_LEN: usize = 16_384;

/// What stands before the token in a header (RFC 6750 §2.1).
pub const SCHEME: &[u8] = b"Bearer ";

/// A token that may stand in an `authorization` header and in a form: 1 to [`MAX_TOKEN_LEN`]
/// characters of visible ASCII without `"`, `,`, `;` and `\`.
///
/// This is wider than `b64token` of RFC 6750 §2.1, because issuers in use put `:` into tokens, and
/// narrow enough that no token can end a header, start a second one, or be read as two values.
/// A `BearerToken` that exists has passed that check. `Debug` never prints it.
#[derive(Clone, PartialEq, Eq)]
pub struct BearerToken(Vec<u8>);

impl BearerToken {
    /// Takes `bytes` as a token, or `None` if they must not be sent.
    pub fn new(bytes: Vec<u8>) -> Option<Self> {
        is_sendable(&bytes).then_some(Self(bytes))
    }

    /// The token, given away.
    pub fn into_bytes(self) -> Vec<u8> {
        self.0
    }

    /// The token itself.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The value `Bearer <token>` of a header, made of the token where it lies: without a copy, if
    /// there is room for [`SCHEME`] behind it.
    pub fn into_value_bytes(self) -> Vec<u8> {
        let mut bytes = self.0;
        bytes.extend_from_slice(SCHEME);
        bytes.rotate_right(SCHEME.len());
        bytes
    }

    /// The value `Bearer <token>` of a header.
    pub fn to_value(&self) -> BearerValue {
        BearerValue([SCHEME, self.as_bytes()].concat().into())
    }

    /// Whether nobody can spell the same JWT another way.
    ///
    /// `jwt_authn` takes the first run of characters that a JWT may hold, and of its parts those that
    /// are not empty; three make a JWT. With one good token a client could so write any number of
    /// subjects, each another call to the STS. What can be read as three parts must therefore be exactly
    /// a JWT (RFC 7515 §7.1). Any other token is none to `jwt_authn`, a JWE's five parts included, and
    /// stays.
    pub fn has_one_spelling(&self) -> bool {
        let dot = |byte: &u8| *byte == b'.';
        let is_of_no_jwt =
            |byte: &u8| !byte.is_ascii_alphanumeric() && !matches!(byte, b'-' | b'_' | b'.');
        let parts = |bytes: &[u8]| {
            let parts = bytes.split(dot);
            parts.filter(|part| !part.is_empty()).count()
        };
        let runs = self.0.split(is_of_no_jwt);
        let first = runs.into_iter().find(|run| !run.is_empty());
        let first = first.unwrap_or_default();
        if parts(first) != 3 && parts(&self.0) != 3 {
            return true;
        }
        first.len() == self.0.len() && self.0.split(dot).count() == 3
    }

    /// Whether it has no more parts than a JWT.
    ///
    /// What stands before the JWT in a field, `jwt_authn` looks for anywhere in it. Where that ends as a
    /// token may, whatever is in front of the JWT could be that, too.
    pub fn has_the_parts_of_a_jwt_at_most(&self) -> bool {
        self.0.iter().filter(|byte| **byte == b'.').count() <= 2
    }

    /// Whether the last character holds no more than the bits that belong to the signature of a JWT,
    /// which begins with an object's `{` and a blank or a quote.
    ///
    /// Base64url leaves two or four bits over at its end, which decoders ignore (RFC 4648 §3.5), and so
    /// does `jwt_authn`: four or sixteen spellings of one signature. Whoever signs leaves them zero.
    pub fn has_no_bits_left_over(&self) -> bool {
        let dot = |byte: &u8| *byte == b'.';
        let mut parts = self.0.rsplitn(2, dot);
        let (Some(signature), Some(signed)) = (parts.next(), parts.next()) else {
            return true;
        };
        let begins = [&b"ey"[..], b"ew"].iter().any(|it| signed.starts_with(it));
        if !begins || !signed.iter().any(dot) {
            return true;
        }
        let last = match signature.last() {
            Some(byte @ b'A'..=b'Z') => byte.wrapping_sub(b'A'),
            Some(byte @ b'a'..=b'z') => byte.wrapping_sub(b'a').wrapping_add(26),
            Some(byte @ b'0'..=b'9') => byte.wrapping_sub(b'0').wrapping_add(52),
            Some(b'-') => 62,
            Some(b'_') => 63,
            _ => return true,
        };
        match signature.len() & 3 {
            2 => last & 0b1111 == 0,
            3 => last & 0b11 == 0,
            _ => true,
        }
    }

    /// The token of a whole `authorization` field: exactly one credential of the scheme `Bearer`
    /// in any case (RFC 6750 §2.1, RFC 9110 §11.1).
    ///
    /// Repeated fields arrive here joined by commas, which no token contains: they count as none.
    pub fn from_authorization(field: &[u8]) -> Option<Self> {
        let (scheme, rest) = field.split_at_checked(b"Bearer".len())?;
        if !scheme.eq_ignore_ascii_case(b"Bearer") || rest.first() != Some(&b' ') {
            return None;
        }
        let start = rest.iter().position(|byte| *byte != b' ')?;
        Self::new(rest.get(start..)?.to_vec())
    }
}

/// The whole value `Bearer <token>` of a header, cheap to share.
///
/// `Debug` never prints it.
#[derive(Clone, PartialEq, Eq)]
pub struct BearerValue(Rc<[u8]>);

impl BearerValue {
    /// The value itself.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The token alone.
    pub fn token_bytes(&self) -> &[u8] {
        self.0.get(SCHEME.len()..).unwrap_or_default()
    }

    /// The token alone, to be exchanged for another.
    pub fn to_token(&self) -> BearerToken {
        BearerToken(self.token_bytes().to_vec())
    }
}

impl fmt::Debug for BearerValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

impl fmt::Debug for BearerToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

fn is_sendable(bytes: &[u8]) -> bool {
    // Every byte of every token passes here: a look-up each, and no way out in between, takes a third
    // of the instructions that comparisons do; four at a time, another quarter less.
    let sendable = |byte: u8| SENDABLE.get(usize::from(byte)).is_some_and(|is| *is);
    let (fours, rest) = bytes.as_chunks();
    if bytes.is_empty() || bytes.len() > MAX_TOKEN_LEN {
        return false;
    }
    let mut all = true;
    for [a, b, c, d] in fours {
        all &= sendable(*a) & sendable(*b) & sendable(*c) & sendable(*d);
    }
    for byte in rest {
        all &= sendable(*byte);
    }
    all
}

/// Which bytes a token may hold.
static SENDABLE: [bool; 256] = {
    let mut table = [false; 256];
    let mut rest: &mut [bool] = &mut table;
    let mut byte: u8 = 0;
    while let [first, after @ ..] = rest {
        *first = byte.is_ascii_graphic() && !matches!(byte, b'"' | b',' | b';' | b'\\');
        byte = byte.wrapping_add(1);
        rest = after;
    }
    table
};

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::collection::vec;
    use proptest::prelude::*;

    #[test]
    fn a_token_is_visible_ascii_that_cannot_end_a_header_value() {
        for (bytes, sendable) in [
            (&b"gho_abc"[..], true),
            (b"a", true),
            (b"issuer:with:colons~and/+=", true),
            (b"", false),
            (b"two words", false),
            (b"tab\there", false),
            (b"quote\"", false),
            (b"comma,", false),
            (b"semi;", false),
            (b"back\\slash", false),
            (b"line\r\nfeed", false),
            (b"nul\0", false),
            (b"del\x7f", false),
            ("tökén".as_bytes(), false),
            (b"\x01\0\0\0\x06\0\0\0", false),
        ] {
            assert_eq!(
                BearerToken::new(bytes.to_vec()).is_some(),
                sendable,
                "{:?}",
                String::from_utf8_lossy(bytes)
            );
        }
        assert!(BearerToken::new(vec![b'a'; MAX_TOKEN_LEN]).is_some());
        assert!(BearerToken::new(vec![b'a'; MAX_TOKEN_LEN + 1]).is_none());
    }

    #[test]
    fn an_authorization_field_holds_one_bearer_token_or_none() {
        for (field, token) in [
            (&b"Bearer abc"[..], Some(&b"abc"[..])),
            (b"bearer abc", Some(b"abc")),
            (b"BEARER  abc", Some(b"abc")),
            (b"Bearer", None),
            (b"Bearer ", None),
            (b"Bearerabc", None),
            (b"Bearer\tabc", None),
            (b"Basic YTpi", None),
            (b"Bearer abc def", None),
            (b"Bearer abc,Bearer def", None),
            (b"Bearer abc,", None),
            (b",Bearer abc", None),
            (b"", None),
            (b"\xff\xfe", None),
        ] {
            assert_eq!(
                BearerToken::from_authorization(field)
                    .as_ref()
                    .map(BearerToken::as_bytes),
                token,
                "{:?}",
                String::from_utf8_lossy(field)
            );
        }
    }

    #[test]
    fn a_jwt_has_one_spelling() {
        for (token, one) in [
            ("eyJhbGciOiJFUzI1NiJ9.eyJzdWIiOiJhIn0.c2ln-_", true),
            ("opaque:token/with+marks=", true),
            ("two.parts", true),
            (":::a.b.c", false),
            ("a.b.c.", false),
            ("a..b.c", false),
            (".a.b.c", false),
            ("a.b.c!1", false),
            ("a.b.c=", false),
            ("~a.b.c", false),
            // What is cut off may have parts of its own.
            ("a.b.c~x.y", false),
            ("~.a..b.c.!d.e.f", false),
            ("a.b~c", true),
            ("a.b~c.d", false),
            ("a~a.b.c.d", true),
            // More parts are no JWT: an encrypted one, a PASETO with its footer.
            ("a.b.c.d.e", true),
            ("v4.public.cGF5bG9hZA.Zm9vdGVy", true),
            ("a.b.c.d", true),
            ("a..b.c.d.", true),
            ("...", true),
        ] {
            let token = BearerToken::new(token.into()).unwrap();
            assert_eq!(token.has_one_spelling(), one, "{:?}", token.as_bytes());
        }
    }

    #[test]
    fn the_end_of_a_signature_has_one_spelling() {
        for (token, one) in [
            // Nothing is left over, and nobody could decode these.
            ("eyJ.b.abcd", true),
            ("eyJ.b.abcde", true),
            // Two bits.
            ("eyJ.b.abA", true),
            ("eyJ.b.abE", true),
            ("eyJ.b.ab8", true),
            ("eyJ.b.abB", false),
            ("eyJ.b.ab9", false),
            ("eyJ.b.ab_", false),
            // Four bits.
            ("eyJ.b.aQ", true),
            ("eyJ.b.ag", true),
            ("eyJ.b.aw", true),
            ("eyJ.b.aR", false),
            ("eyJ.b.ah", false),
            ("eyJ.b.aE", false),
            ("eyJ.b.a-", false),
            ("ew0K.b.aR", false),
            // No JWT.
            ("aR", true),
            ("eyJ.aR", true),
            ("a.b.aR", true),
            ("eyJ.b.a!", true),
            ("eyJ.b.", true),
        ] {
            let bytes = BearerToken::new(token.into()).unwrap();
            assert_eq!(bytes.has_no_bits_left_over(), one, "{token}");
        }
    }

    proptest! {
        #[test]
        fn a_token_is_exactly_what_the_set_allows(bytes in vec(any::<u8>(), 0..40)) {
            let allowed = (b'!'..=b'~').filter(|byte| !b"\",;\\".contains(byte));
            let allowed: Vec<u8> = allowed.collect();
            let expected = !bytes.is_empty() && bytes.iter().all(|byte| allowed.contains(byte));
            prop_assert_eq!(BearerToken::new(bytes).is_some(), expected);
        }

        #[test]
        fn what_is_sent_as_a_field_is_read_from_it(token in "[!#-+--:<-Z\\[\\]-~]{1,60}") {
            let token = BearerToken::new(token.into_bytes()).unwrap();
            let read = BearerToken::from_authorization(token.to_value().as_bytes());
            prop_assert_eq!(read, Some(token));
        }

        #[test]
        fn no_field_at_all_is_read_as_an_unsendable_token(field in vec(any::<u8>(), 0..60)) {
            for field in [field.clone(), [b"Bearer ", &field[..]].concat()] {
                if let Some(token) = BearerToken::from_authorization(&field) {
                    prop_assert!(is_sendable(token.as_bytes()));
                    prop_assert!(field.ends_with(token.as_bytes()));
                }
            }
        }
    }

    #[test]
    fn a_header_value_is_the_scheme_and_the_token() {
        for token in ["a", "gho_abc", &"x".repeat(MAX_TOKEN_LEN)] {
            let token = BearerToken::new(token.into()).unwrap();
            let value = [b"Bearer ", token.as_bytes()].concat();
            assert_eq!(token.to_value().as_bytes(), value);
            assert_eq!(token.into_value_bytes(), value);
        }
    }

    #[test]
    fn debug_never_prints_a_token() {
        let token = BearerToken::new(b"CANARY".to_vec()).unwrap();
        assert_eq!(format!("{token:?}"), "[redacted]");
    }
}
