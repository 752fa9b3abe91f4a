//! Public keys, as much of them as tells whether two are the same.

use super::der::{NULL, OBJECT_IDENTIFIER, Reader, SEQUENCE};

/// `rsaEncryption` (RFC 8017).
pub(super) const RSA: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01];
/// `id-ecPublicKey` (RFC 5480).
pub(super) const EC: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01];
/// `secp256r1`.
pub(super) const P256: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07];

/// What an `AlgorithmIdentifier` names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// RSA, not bound to one padding.
    Rsa,
    /// An elliptic curve: P-256.
    P256,
    /// Something else: `an Ed25519 key`.
    Other(&'static str),
}

/// Reads an `AlgorithmIdentifier`, next in `reader`.
pub(super) fn kind(reader: &mut Reader<'_>) -> Option<Kind> {
    let mut reader = reader.within(SEQUENCE)?;
    let kind = match reader.value(OBJECT_IDENTIFIER)? {
        RSA => {
            // Some writers leave the NULL out.
            let null = reader.optional(NULL)?;
            (null.unwrap_or_default().is_empty()).then_some(())?;
            Kind::Rsa
        }
        EC => return curve(reader),
        other => return Some(Kind::Other(name(other))),
    };
    reader.end()?;
    Some(kind)
}

/// Reads `ECParameters`, all that `reader` holds: the curve's name, or a description of it, which
/// RFC 5480 forbids.
pub(super) fn curve(mut reader: Reader<'_>) -> Option<Kind> {
    let Some(curve) = reader.optional(OBJECT_IDENTIFIER)? else {
        reader.value(SEQUENCE)?;
        reader.end()?;
        return Some(Kind::Other(
            "an EC key that describes its curve instead of naming it",
        ));
    };
    reader.end()?;
    Some(match curve {
        P256 => Kind::P256,
        other => Kind::Other(name(other)),
    })
}

/// What else an object identifier may be, for the operator who has to find another key.
fn name(identifier: &[u8]) -> &'static str {
    match identifier {
        [0x2b, 0x81, 0x04, 0x00, 0x22] => "an EC key on the curve P-384",
        [0x2b, 0x81, 0x04, 0x00, 0x23] => "an EC key on the curve P-521",
        [0x2b, 0x81, 0x04, 0x00, 0x0a] => "an EC key on the curve secp256k1",
        [0x2b, 0x65, 0x70] => "an Ed25519 key",
        [0x2b, 0x65, 0x71] => "an Ed448 key",
        [0x2b, 0x65, 0x6e] => "an X25519 key",
        [0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x0a] => "an RSA key for PSS alone",
        [0x2a, 0x86, 0x48, 0xce, 0x38, 0x04, 0x01] => "a DSA key",
        _ => "a key of another algorithm",
    }
}

/// A public key. Equal keys are equal values, however they were written.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(super) enum PublicKey {
    /// RSA: modulus and exponent, without leading zeros.
    Rsa {
        /// The modulus.
        modulus: Vec<u8>,
        /// The public exponent.
        exponent: Vec<u8>,
    },
    /// P-256: the point, compressed.
    P256(Vec<u8>),
}

impl PublicKey {
    /// A point of P-256, compressed or not (SEC 1, 2.3.3).
    pub(super) fn point(encoded: &[u8]) -> Option<Self> {
        let point = match (encoded, encoded.len()) {
            ([0x02 | 0x03, ..], 33) => encoded.to_vec(),
            ([0x04, x @ ..], 65) => {
                let (x, y) = x.split_at_checked(32)?;
                let sign = 2 | (y.last()? & 1);
                [&[sign], x].concat()
            }
            _ => return None,
        };
        Some(Self::P256(point))
    }

    /// What a `SubjectPublicKeyInfo` (RFC 5280) holds, its fields in `reader`. `Some(None)` if that
    /// is no key that can sign here.
    pub(super) fn of_subject(mut reader: Reader<'_>) -> Option<Option<Self>> {
        let kind = kind(&mut reader)?;
        let bits = reader.bytes_of_bits()?;
        reader.end()?;
        match kind {
            Kind::Rsa => {
                let mut key = Reader::sequence(bits)?;
                let (modulus, exponent) = (key.unsigned()?.to_vec(), key.unsigned()?.to_vec());
                key.end()?;
                Some(Some(Self::Rsa { modulus, exponent }))
            }
            Kind::P256 => Self::point(bits).map(Some),
            Kind::Other(_) => Some(None),
        }
    }
}
