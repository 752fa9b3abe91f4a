//! The private key of a client that signs: read from PEM and judged, without any cryptography.
//!
//! What is read here decides two things: whether the key may be used, and what a wrong one is, said
//! so that an operator can tell what to do. Whether its numbers fit each other is the signer's to
//! say.

use super::certificate::Certificate;
use super::der::{self, INTEGER, NULL, OBJECT_IDENTIFIER, OCTET_STRING, Reader, SEQUENCE};
use super::pem::{self, Block};
use super::public_key::{self, Kind, PublicKey};
use std::fmt;

/// RFC 7518 §3.3 wants this many for RS256.
const RSA_MIN_BITS: usize = 2048;
const P256_BYTES: usize = 32;

/// How a key signs (RFC 7518 §3.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Algorithm {
    /// RSASSA-PKCS1-v1_5 with SHA-256.
    Rs256,
    /// ECDSA on P-256 with SHA-256.
    Es256,
}

impl Algorithm {
    /// The value of `alg`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Rs256 => "RS256",
            Self::Es256 => "ES256",
        }
    }
}

/// A private key that can sign for a client.
///
/// Its `Debug` output is always `[redacted]`, and [`SigningKey::reveal`] is the one way to its
/// bytes.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct SigningKey {
    algorithm: Algorithm,
    /// Unencrypted PKCS#8, the form that Envoy takes.
    pkcs8: Vec<u8>,
    /// `None` for an EC key whose file leaves it out: to find it would be cryptography.
    public: Option<PublicKey>,
}

/// Why a text is no key that can sign here. Says nothing of what the text holds but its kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyProblem {
    /// It is not PEM.
    Pem(pem::Problem),
    /// It is something else: `a public key`.
    Other(&'static str),
    /// It holds more than one private key.
    Several,
    /// It is encrypted.
    Encrypted,
    /// It is an RSA key of so many bits.
    RsaTooShort(usize),
    /// It is not, or not only, what its label says.
    Damaged,
}

impl fmt::Display for KeyProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Pem(problem) => write!(f, "{problem}"),
            Self::Other(what) => write!(f, "is {what}"),
            Self::Several => f.write_str("holds several private keys"),
            Self::Encrypted => f.write_str("is encrypted"),
            Self::RsaTooShort(bits) => write!(f, "is an RSA key of only {bits} bits"),
            Self::Damaged => f.write_str("is damaged: its PEM block does not hold what it says"),
        }?;
        f.write_str("; must be one private key in PEM, unencrypted (PKCS#8, PKCS#1 or SEC1): ")?;
        write!(f, "RSA with at least {RSA_MIN_BITS} bits, or EC on P-256")
    }
}

impl From<pem::Problem> for KeyProblem {
    fn from(problem: pem::Problem) -> Self {
        Self::Pem(problem)
    }
}

impl SigningKey {
    /// Reads a key file. Certificates and curve parameters may stand beside the key, as OpenSSL
    /// writes them; another private key may not.
    pub fn from_pem(pem: &str) -> Result<Self, KeyProblem> {
        let blocks = pem::blocks(pem)?;
        let mut keys = blocks
            .iter()
            .filter(|block| block.label.ends_with("PRIVATE KEY"));
        match (keys.next(), keys.next()) {
            (Some(key), None) => Self::from_block(key),
            (Some(_), Some(_)) => Err(KeyProblem::Several),
            (None, _) => Err(KeyProblem::Other(instead(&blocks))),
        }
    }

    fn from_block(block: &Block<'_>) -> Result<Self, KeyProblem> {
        if block.has_headers || block.label == "ENCRYPTED PRIVATE KEY" {
            return Err(KeyProblem::Encrypted);
        }
        let read = match block.label {
            "PRIVATE KEY" => from_pkcs8,
            "RSA PRIVATE KEY" => from_pkcs1,
            "EC PRIVATE KEY" => from_sec1,
            "OPENSSH PRIVATE KEY" => {
                return Err(KeyProblem::Other("a key in OpenSSH's own format"));
            }
            "DSA PRIVATE KEY" => return Err(KeyProblem::Other("a DSA key")),
            _ => return Err(KeyProblem::Other("a private key of an unknown kind")),
        };
        read(&block.decode()?).unwrap_or(Err(KeyProblem::Damaged))
    }

    /// How it signs.
    pub fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// The key itself, as unencrypted PKCS#8 in DER, for whoever signs with it.
    pub fn reveal(&self) -> &[u8] {
        &self.pkcs8
    }

    /// Whether `certificate` is one of this key. `None` if the key's file does not say: an EC key
    /// without its public half. Then a signature tells.
    pub fn owns(&self, certificate: &Certificate) -> Option<bool> {
        match certificate.public_key() {
            // Of a key that cannot be this one. (That of an RSA key tells itself.)
            None => Some(false),
            Some(PublicKey::Rsa { .. }) if self.algorithm == Algorithm::Es256 => Some(false),
            Some(theirs) => self.public.as_ref().map(|ours| ours == theirs),
        }
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

/// What a file without a private key is.
fn instead(blocks: &[Block<'_>]) -> &'static str {
    match blocks.first().map(|block| block.label) {
        Some("PUBLIC KEY" | "RSA PUBLIC KEY") => "a public key",
        Some("CERTIFICATE" | "TRUSTED CERTIFICATE" | "X509 CERTIFICATE") => "a certificate",
        Some("CERTIFICATE REQUEST" | "NEW CERTIFICATE REQUEST") => "a certificate request",
        Some("EC PARAMETERS") => "the parameters of a curve alone",
        _ => "no private key",
    }
}

/// A key, or what it is instead; `None` if the bytes are not what they should be.
type Read = Option<Result<SigningKey, KeyProblem>>;

/// `PrivateKeyInfo` (RFC 5208), or the `OneAsymmetricKey` that it has become (RFC 5958).
fn from_pkcs8(bytes: &[u8]) -> Read {
    let mut info = Reader::sequence(bytes)?;
    let version = info.unsigned()?;
    let kind = public_key::kind(&mut info)?;
    let key = info.value(OCTET_STRING)?;
    let _attributes = info.optional(der::context(0))?;
    let _public_key = match version {
        [] => None,
        // `[1] IMPLICIT BIT STRING`, which is not constructed.
        [1] => info.optional(0x81)?,
        _ => return None,
    };
    info.end()?;
    match kind {
        Kind::Rsa => from_pkcs1(key),
        Kind::P256 => from_ec(key, Some(Kind::P256)),
        Kind::Other(what) => Some(Err(KeyProblem::Other(what))),
    }
}

/// `RSAPrivateKey` (RFC 8017 §A.1.2), of two primes.
fn from_pkcs1(bytes: &[u8]) -> Read {
    let mut key = Reader::sequence(bytes)?;
    // The other version is that of more than two primes, which nobody signs with.
    key.unsigned()?.is_empty().then_some(())?;
    let (modulus, exponent) = (key.unsigned()?, key.unsigned()?);
    // The private exponent, both primes, their exponents and their coefficient.
    for _ in 0..6 {
        key.unsigned()?.first()?;
    }
    key.end()?;
    exponent.first()?;
    let bits = bits(modulus);
    if bits < RSA_MIN_BITS {
        return Some(Err(KeyProblem::RsaTooShort(bits)));
    }
    let algorithm = [
        der::write(OBJECT_IDENTIFIER, &[public_key::RSA]),
        der::write(NULL, &[]),
    ];
    Some(Ok(SigningKey {
        algorithm: Algorithm::Rs256,
        pkcs8: pkcs8(&algorithm, bytes),
        public: Some(PublicKey::Rsa {
            modulus: modulus.to_vec(),
            exponent: exponent.to_vec(),
        }),
    }))
}

fn from_sec1(bytes: &[u8]) -> Read {
    from_ec(bytes, None)
}

/// `ECPrivateKey` (RFC 5915), on the curve that what is around it names, or else itself.
fn from_ec(bytes: &[u8], around: Option<Kind>) -> Read {
    let mut key = Reader::sequence(bytes)?;
    if key.unsigned()? != [1] {
        return None;
    }
    let number = key.value(OCTET_STRING)?;
    let within = match key.optional(der::context(0))? {
        Some(parameters) => Some(public_key::curve(Reader::new(parameters))?),
        None => None,
    };
    let public = match key.optional(der::context(1))? {
        Some(bits) => {
            let mut bits = Reader::new(bits);
            let point = bits.bytes_of_bits()?;
            bits.end()?;
            Some(point)
        }
        None => None,
    };
    key.end()?;
    match (around, within) {
        (Some(around), Some(within)) if around != within => return None,
        (Some(Kind::Other(what)), _) | (None, Some(Kind::Other(what))) => {
            return Some(Err(KeyProblem::Other(what)));
        }
        (None, None) => {
            return Some(Err(KeyProblem::Other(
                "an EC key that does not name its curve (PKCS#8 always does)",
            )));
        }
        (Some(_), _) | (None, Some(_)) => {}
    }
    // Leading zeros belong to the form, but not every writer knew.
    if number.is_empty() || number.len() > P256_BYTES || number.iter().all(|digit| *digit == 0) {
        return None;
    }
    let algorithm = [
        der::write(OBJECT_IDENTIFIER, &[public_key::EC]),
        der::write(OBJECT_IDENTIFIER, &[public_key::P256]),
    ];
    Some(Ok(SigningKey {
        algorithm: Algorithm::Es256,
        pkcs8: pkcs8(&algorithm, bytes),
        public: match public {
            Some(point) => Some(PublicKey::point(point)?),
            None => None,
        },
    }))
}

/// `PrivateKeyInfo` in the one form that everybody reads: version 0, without attributes.
fn pkcs8([identifier, parameters]: &[Vec<u8>; 2], key: &[u8]) -> Vec<u8> {
    der::write(
        SEQUENCE,
        &[
            &der::write(INTEGER, &[&[0]]),
            &der::write(SEQUENCE, &[identifier, parameters]),
            &der::write(OCTET_STRING, &[key]),
        ],
    )
}

/// The bits of a number, by its digits without leading zeros.
fn bits(digits: &[u8]) -> usize {
    let leading = digits.first().map_or(0, |first| first.leading_zeros());
    let bits = digits.len().saturating_mul(8);
    bits.saturating_sub(usize::try_from(leading).unwrap_or(0))
}
