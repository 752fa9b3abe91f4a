//! Base64 (RFC 4648 §4 and §5): what is decoded has one spelling.
//!
//! Tokens and keys are short and seldom read, so it is written for size: a library's, made for speed,
//! takes seven kilobytes of the artifact.

/// One of the two alphabets.
#[derive(Clone, Copy)]
pub(super) struct Base64 {
    last_two: [u8; 2],
    padded: bool,
}

/// `base64`, with padding.
pub(super) const STANDARD: Base64 = Base64 {
    last_two: *b"+/",
    padded: true,
};

/// `base64url`, without padding, as JOSE writes it (RFC 7515 §2).
pub(super) const URL: Base64 = Base64 {
    last_two: *b"-_",
    padded: false,
};

impl Base64 {
    /// `bytes` as text.
    pub(super) fn encode(self, bytes: &[u8]) -> String {
        let mut text = String::with_capacity(bytes.len().div_ceil(3).saturating_mul(4));
        for chunk in bytes.chunks(3) {
            let byte = |place: usize| chunk.get(place).copied().unwrap_or(0);
            let mut group = u32::from_be_bytes([byte(0), byte(1), byte(2), 0]);
            for place in 0..4 {
                if place <= chunk.len() {
                    text.push(self.digit(group >> 26));
                } else if self.padded {
                    text.push('=');
                }
                group <<= 6;
            }
        }
        text
    }

    /// The bytes of `text`; `None` if it is not what [`encode`](Self::encode) makes of any.
    pub(super) fn decode(self, text: &[u8]) -> Option<Vec<u8>> {
        let digits = match self.padded {
            false => text,
            true if text.len() & 3 != 0 => return None,
            true => [&b"=="[..], b"="]
                .iter()
                .find_map(|padding| text.strip_suffix(*padding))
                .unwrap_or(text),
        };
        let mut bytes = Vec::with_capacity(digits.len().saturating_mul(3) >> 2);
        for chunk in digits.chunks(4) {
            let mut group: u32 = 0;
            for place in 0..4 {
                let value = match chunk.get(place) {
                    Some(digit) => self.value(*digit)?,
                    None => 0,
                };
                group = group << 6 | u32::from(value);
            }
            let [_, three @ ..] = group.to_be_bytes();
            // One digit alone is no byte.
            let whole = chunk.len().checked_sub(1).filter(|whole| *whole > 0)?;
            let (whole, left_over) = three.split_at_checked(whole)?;
            if left_over.iter().any(|byte| *byte != 0) {
                return None;
            }
            bytes.extend_from_slice(whole);
        }
        Some(bytes)
    }

    fn digit(self, value: u32) -> char {
        let [plus, slash] = self.last_two;
        let value = value.to_le_bytes()[0];
        char::from(match value {
            0..26 => value.wrapping_add(b'A'),
            26..52 => value.wrapping_sub(26).wrapping_add(b'a'),
            52..62 => value.wrapping_sub(52).wrapping_add(b'0'),
            62 => plus,
            _ => slash,
        })
    }

    fn value(self, digit: u8) -> Option<u8> {
        let [plus, slash] = self.last_two;
        match digit {
            b'A'..=b'Z' => Some(digit.wrapping_sub(b'A')),
            b'a'..=b'z' => Some(digit.wrapping_sub(b'a').wrapping_add(26)),
            b'0'..=b'9' => Some(digit.wrapping_sub(b'0').wrapping_add(52)),
            _ if digit == plus => Some(62),
            _ if digit == slash => Some(63),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use base64::Engine;
    use base64::engine::general_purpose as theirs;
    use proptest::prelude::*;

    #[test]
    fn texts_are_those_of_the_standard() {
        // RFC 4648 §10.
        for (bytes, standard) in [
            ("", ""),
            ("f", "Zg=="),
            ("fo", "Zm8="),
            ("foo", "Zm9v"),
            ("foob", "Zm9vYg=="),
            ("fooba", "Zm9vYmE="),
            ("foobar", "Zm9vYmFy"),
        ] {
            let url = standard.trim_end_matches('=');
            assert_eq!(STANDARD.encode(bytes.as_bytes()), standard);
            assert_eq!(URL.encode(bytes.as_bytes()), url);
            assert_eq!(STANDARD.decode(standard.as_bytes()), Some(bytes.into()));
            assert_eq!(URL.decode(url.as_bytes()), Some(bytes.into()));
        }
    }

    #[test]
    fn what_has_another_spelling_is_not_decoded() {
        for text in [
            "Z", "Zg", "Zg=", "Zg===", "Zh==", "Zm9=", "=", "====", "Zg==Zg==", "Zm9v\n", "Zm-v",
            "Zm_v", "A===", "Zm9vA===",
        ] {
            assert_eq!(STANDARD.decode(text.as_bytes()), None, "{text}");
        }
        // A digit too many is no byte, nor nothing, though its bits be zeros.
        for text in [
            "Z", "Zg==", "Zh", "Zm8=", "Zm9vY", "Zm+v", "Zm/v", "Z g", "A", "Zm9vA",
        ] {
            assert_eq!(URL.decode(text.as_bytes()), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn bytes_come_back_as_another_implementation_has_them(bytes: Vec<u8>) {
            for (ours, theirs) in [(STANDARD, theirs::STANDARD), (URL, theirs::URL_SAFE_NO_PAD)] {
                let text = ours.encode(&bytes);
                prop_assert_eq!(&text, &theirs.encode(&bytes));
                prop_assert_eq!(ours.decode(text.as_bytes()), Some(bytes.clone()));
            }
        }

        #[test]
        fn texts_are_refused_that_another_implementation_refuses(text in "[A-Da-d0-3+/=_-]{0,9}") {
            for (ours, theirs) in [(STANDARD, theirs::STANDARD), (URL, theirs::URL_SAFE_NO_PAD)] {
                prop_assert_eq!(ours.decode(text.as_bytes()), theirs.decode(&text).ok());
            }
        }
    }
}
