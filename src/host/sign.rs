//! Signs with Envoy's cryptography: its foreign function `sign`, of 1.37 and later; and has it verify
//! what was signed.

use super::abi::{self, Status};
use crate::exchange::client::Signer;
use crate::exchange::client::certificate::Certificate;
use crate::exchange::client::key::SigningKey;
use std::fmt;

/// What Envoy calls the functions.
const SIGN: &str = "sign";
const VERIFY: &str = "verify_signature";
const HASH: &str = "sha256";
/// What is signed to see whether it can be done.
const TRIAL: &[u8] = b"upstream-inject";

/// The wire tags of fields with bytes: number << 3 | type 2, before a length and the bytes. Both
/// functions take their arguments as such fields, each in its own order.
mod field {
    pub(super) const FIRST: u8 = 1 << 3 | 2;
    pub(super) const SECOND: u8 = 2 << 3 | 2;
    pub(super) const THIRD: u8 = 3 << 3 | 2;
    pub(super) const FOURTH: u8 = 4 << 3 | 2;
}

/// What both answer with: whether it was done, a number, first. A signature comes second, and an
/// error last.
const DONE: u8 = 1 << 3;

/// Signs with Envoy's cryptography.
#[derive(Clone, Copy, Debug)]
pub struct HostSigner;

impl Signer for HostSigner {
    fn sign(&self, key: &SigningKey, text: &[u8]) -> Option<Vec<u8>> {
        sign(key, text).ok()
    }

    fn random(&self) -> Option<[u8; 16]> {
        abi::random()
    }
}

/// Why this Envoy cannot sign with a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CannotSign {
    /// It has no such function.
    TooOld,
    /// It does not let the filter call it.
    NotAllowed,
    /// It does not sign with this key.
    KeyRefused,
    /// It answers something that is no answer.
    Malformed,
    /// It gives no random numbers.
    NoRandom,
}

impl fmt::Display for CannotSign {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::TooOld => "this Envoy cannot sign: private_key_jwt needs Envoy 1.37 or later",
            Self::NotAllowed => {
                "this Envoy does not let the filter sign: private_key_jwt needs Envoy 1.37 or \
                 later, and proxy_call_foreign_function among the plugin's allowed_capabilities"
            }
            Self::KeyRefused => {
                "Envoy does not sign with this key: its numbers do not belong together"
            }
            Self::Malformed => "Envoy was asked to sign, and its answer is no signature",
            Self::NoRandom => {
                "this Envoy gives the filter no random numbers: private_key_jwt needs random_get \
                 among the plugin's allowed_capabilities"
            }
        })
    }
}

/// Tries, once and when the configuration loads, whether this Envoy signs with `key`: no request
/// should be the first to find out.
pub fn can_sign(key: &SigningKey) -> Result<(), CannotSign> {
    HostSigner.random().ok_or(CannotSign::NoRandom)?;
    sign(key, TRIAL).map(|_| ())
}

/// Whether what `key` signs is what `certificate` verifies; `None` if this Envoy does not sign.
/// Whatever is no clear yes is a no.
pub fn owns(key: &SigningKey, certificate: &Certificate) -> Option<bool> {
    let signature = sign(key, TRIAL).ok()?;
    let arguments = message(&[
        (field::FIRST, HASH.as_bytes()),
        (field::SECOND, certificate.subject_key()),
        (field::THIRD, &signature),
        (field::FOURTH, TRIAL),
    ]);
    let answer = abi::call_foreign_function(VERIFY, &arguments).ok();
    let read = answer.as_deref().and_then(read_result);
    Some(read.is_some_and(|(verified, _)| verified))
}

fn sign(key: &SigningKey, text: &[u8]) -> Result<Vec<u8>, CannotSign> {
    let arguments = message(&[
        (field::FIRST, HASH.as_bytes()),
        (field::SECOND, key.reveal()),
        (field::THIRD, text),
    ]);
    match abi::call_foreign_function(SIGN, &arguments) {
        Ok(result) => signature(&result),
        Err(Status::NOT_FOUND) => Err(CannotSign::TooOld),
        Err(Status::BAD_ARGUMENT) => Err(CannotSign::KeyRefused),
        // What is not among the capabilities fails so.
        Err(_) => Err(CannotSign::NotAllowed),
    }
}

/// The signature in a `SignResult`. A key that Envoy's cryptography does not take is a result of
/// false, and no status.
fn signature(message: &[u8]) -> Result<Vec<u8>, CannotSign> {
    let (signed, signature) = read_result(message).ok_or(CannotSign::Malformed)?;
    match (signed, signature.is_empty()) {
        (true, false) => Ok(signature.to_vec()),
        (false, _) => Err(CannotSign::KeyRefused),
        (true, true) => Err(CannotSign::Malformed),
    }
}

/// Whether it was done, and what the second field holds.
fn read_result(mut message: &[u8]) -> Option<(bool, &[u8])> {
    let mut done = false;
    let mut second: &[u8] = &[];
    while let Some((tag, rest)) = message.split_first() {
        let (number, rest) = read_varint(rest)?;
        message = rest;
        match *tag {
            DONE => done = number == 1,
            field::SECOND | field::THIRD => {
                let (value, rest) = rest.split_at_checked(number)?;
                message = rest;
                if *tag == field::SECOND {
                    second = value;
                }
            }
            _ => return None,
        }
    }
    Some((done, second))
}

fn message(fields: &[(u8, &[u8])]) -> Vec<u8> {
    let mut message = Vec::new();
    for (tag, value) in fields {
        message.push(*tag);
        write_varint(&mut message, value.len());
        message.extend_from_slice(value);
    }
    message
}

fn write_varint(message: &mut Vec<u8>, mut number: usize) {
    while number >= 0x80 {
        message.push(number as u8 | 0x80);
        number >>= 7;
    }
    message.push(number as u8);
}

/// A number of at most 28 bits, which is room for any signature, and what follows it.
fn read_varint(bytes: &[u8]) -> Option<(usize, &[u8])> {
    let mut number = 0;
    for (shift, (index, byte)) in [0, 7, 14, 21].into_iter().zip(bytes.iter().enumerate()) {
        number |= usize::from(byte & 0x7f) << shift;
        if *byte < 0x80 {
            return Some((number, bytes.get(index.checked_add(1)?..)?));
        }
    }
    None
}
