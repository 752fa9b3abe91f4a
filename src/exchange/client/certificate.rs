//! The certificate of a client's key: which key it is for, and the name that an assertion gives it.

use super::der::{self, INTEGER, Reader, SEQUENCE};
use super::pem;
use super::public_key::PublicKey;
use crate::exchange::digest;
use std::fmt;

/// An X.509 certificate. Nothing in it is verified: the token endpoint knows it, or does not.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Certificate {
    thumbprint: String,
    /// The `SubjectPublicKeyInfo`, for whoever verifies with it.
    subject_key: Vec<u8>,
    /// `None` for a key that cannot sign here.
    public: Option<PublicKey>,
}

/// Why a text is no certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CertificateProblem {
    /// It is not PEM.
    Pem(pem::Problem),
    /// It is something else.
    None,
    /// It is not what its label says.
    Damaged,
}

impl fmt::Display for CertificateProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Pem(problem) => write!(f, "{problem}"),
            Self::None => f.write_str("holds no certificate"),
            Self::Damaged => f.write_str("is damaged: its PEM block does not hold a certificate"),
        }?;
        f.write_str("; must be the certificate of the client's key in PEM")
    }
}

impl From<pem::Problem> for CertificateProblem {
    fn from(problem: pem::Problem) -> Self {
        Self::Pem(problem)
    }
}

impl Certificate {
    /// Reads a certificate file. Of a chain, the first is the client's; a private key may stand
    /// beside it.
    pub fn from_pem(pem: &str) -> Result<Self, CertificateProblem> {
        let blocks = pem::blocks(pem)?;
        let block = blocks.iter().find(|block| block.label == "CERTIFICATE");
        let bytes = block.ok_or(CertificateProblem::None)?.decode()?;
        let key = subject_key(&bytes).ok_or(CertificateProblem::Damaged)?;
        let public = PublicKey::of_subject(Reader::new(key));
        Ok(Self {
            thumbprint: digest::sha256_base64url(&bytes),
            subject_key: der::write(SEQUENCE, &[key]),
            public: public.ok_or(CertificateProblem::Damaged)?,
        })
    }

    /// `x5t#S256` (RFC 7515 §4.1.8): the digest of the certificate's bytes.
    pub fn thumbprint(&self) -> &str {
        &self.thumbprint
    }

    /// The key that it is for, as `SubjectPublicKeyInfo` (RFC 5280) in DER.
    pub fn subject_key(&self) -> &[u8] {
        &self.subject_key
    }

    /// The key that it is for, if that can sign here.
    pub(super) fn public_key(&self) -> Option<&PublicKey> {
        self.public.as_ref()
    }
}

impl fmt::Debug for Certificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Certificate({})", self.thumbprint)
    }
}

/// What the `SubjectPublicKeyInfo` in a `Certificate` holds (RFC 5280 §4.1).
fn subject_key(bytes: &[u8]) -> Option<&[u8]> {
    let mut certificate = Reader::sequence(bytes)?;
    let mut signed = certificate.within(SEQUENCE)?;
    let _algorithm = certificate.value(SEQUENCE)?;
    let _signature = certificate.bytes_of_bits()?;
    certificate.end()?;

    let _version = signed.optional(der::context(0))?;
    let _serial_number = signed.value(INTEGER)?;
    let _algorithm = signed.value(SEQUENCE)?;
    let _issuer = signed.value(SEQUENCE)?;
    let _validity = signed.value(SEQUENCE)?;
    let _subject = signed.value(SEQUENCE)?;
    signed.value(SEQUENCE)
}
