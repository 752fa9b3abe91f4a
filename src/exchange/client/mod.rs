//! Client authentication at a token endpoint (RFC 6749 §2.3): one table.

pub mod assertion;
pub mod certificate;
mod der;
pub mod key;
pub(crate) mod pem;
mod public_key;

#[cfg(test)]
mod assertion_tests;
#[cfg(test)]
mod key_tests;
#[cfg(test)]
mod testing;

use crate::secret::Secret;
use assertion::Assertion;
use key::SigningKey;

/// How the client authenticates.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum ClientAuth {
    /// No secret; the id, if there is one, goes into the form.
    None {
        /// `client_id`.
        client_id: Option<String>,
    },
    /// `client_secret_basic`: HTTP Basic.
    Basic {
        /// `client_id`.
        client_id: String,
        /// `client_secret`.
        client_secret: Secret,
    },
    /// `client_secret_post`: both in the form.
    Post {
        /// `client_id`.
        client_id: String,
        /// `client_secret`.
        client_secret: Secret,
    },
    /// `private_key_jwt`: an assertion that is signed anew for each call (RFC 7523 §2.2).
    PrivateKey(Assertion),
}

/// Whoever signs for a client, and has the randomness that it takes.
pub trait Signer {
    /// The signature of `text` with SHA-256: of RSA as PKCS#1 v1.5 has it, of ECDSA in DER. `None`
    /// if there is none to be had.
    fn sign(&self, key: &SigningKey, text: &[u8]) -> Option<Vec<u8>>;

    /// Bits that nobody can foresee. `None` if there are none to be had.
    fn random(&self) -> Option<[u8; 16]>;
}
