//! The whole key of an answer, the same for all workers: every parameter of the exchange, its client's
//! credential included, the subject token and the actor token.

use super::super::digest::sha256;
use super::super::settings::Exchange;
use std::fmt;
use std::rc::Rc;

/// An exchange as bytes: two are equal if and only if the exchanges are.
#[derive(Clone)]
pub(crate) struct ExchangeBytes {
    bytes: Rc<[u8]>,
    digest: [u8; 32],
}

impl ExchangeBytes {
    /// The bytes of `exchange`.
    pub(crate) fn of(exchange: &Exchange) -> Self {
        let bytes = exchange.to_bytes();
        Self {
            digest: sha256(&bytes),
            bytes: bytes.into(),
        }
    }
}

/// Where an answer lies, and what it must lie under.
///
/// `Debug` prints nothing of it.
#[derive(Clone)]
pub(crate) struct Address {
    /// The whole key.
    pub key: Rc<[u8]>,
    /// Tells which bucket, and names calls under way. Nobody is sent a token because of it.
    pub digest: [u8; 32],
}

impl Address {
    /// The address of exchanging `subject` and `actor` as `exchange` says. Who does not know `seed`
    /// cannot tell where keys lie.
    pub(crate) fn new(
        seed: &[u8],
        exchange: &ExchangeBytes,
        subject: &[u8],
        actor: Option<&[u8]>,
    ) -> Self {
        let length = |bytes: &[u8]| u32::try_from(bytes.len()).unwrap_or(u32::MAX).to_le_bytes();
        let tokens = [
            &length(subject)[..],
            subject,
            &[u8::from(actor.is_some())],
            actor.unwrap_or_default(),
        ]
        .concat();
        let key = [&length(&exchange.bytes)[..], &exchange.bytes, &tokens].concat();
        Self {
            digest: sha256(&[seed, &exchange.digest, &tokens].concat()),
            key: key.into(),
        }
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}
