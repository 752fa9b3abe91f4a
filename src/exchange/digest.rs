//! SHA-256, for names of things: a certificate in an assertion, a token that was refused.

use super::base64::URL;
use sha2::{Digest, Sha256};

/// The SHA-256 digest of `bytes`.
pub(crate) fn sha256(bytes: &[u8]) -> [u8; 32] {
    Sha256::digest(bytes).into()
}

/// The same as text: base64url without padding, as JOSE writes digests.
pub(crate) fn sha256_base64url(bytes: &[u8]) -> String {
    URL.encode(&sha256(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digests_are_those_of_the_standard() {
        // FIPS 180-2, appendix B, and the digest of nothing.
        for (text, digest) in [
            ("", "47DEQpj8HBSa-_TImW-5JCeuQeRkm5NMpJWZG3hSuFU"),
            ("abc", "ungWv48Bz-pBQUDeXa4iI7ADYaOWF3qctBD_YfIAFa0"),
            (
                "abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq",
                "JI1qYdIGOLjlwCaTDD5gOaM85Flk_yFn9uzt1BnbBsE",
            ),
        ] {
            assert_eq!(sha256_base64url(text.as_bytes()), digest, "{text}");
        }
    }
}
