//! Signs with Envoy's cryptography: its foreign function `sign`, of 1.37 and later.

use super::abi::{self, Status};
use crate::exchange::client::Signer;
use crate::exchange::client::key::SigningKey;
use std::fmt;

/// What Envoy calls the function.
const FUNCTION: &str = "sign";
const HASH: &str = "sha256";

/// The fields of its message `SignArguments`, as wire tags: number << 3 | type 2, a length and bytes.
mod arguments {
    pub const HASH_FUNCTION: u8 = 1 << 3 | 2;
    pub const PRIVATE_KEY: u8 = 2 << 3 | 2;
    pub const TEXT: u8 = 3 << 3 | 2;
}

/// The fields of its message `SignResult`; the first is a number, of type 0.
mod result {
    pub const RESULT: u8 = 1 << 3;
    pub const SIGNATURE: u8 = 2 << 3 | 2;
    pub const ERROR: u8 = 3 << 3 | 2;
}

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
    /// It does not take the key.
    KeyRefused,
    /// It took the key and gave no signature.
    Failed,
    /// It gives no random numbers.
    NoRandom,
}

impl fmt::Display for CannotSign {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::TooOld => "this Envoy cannot sign: private_key_jwt needs Envoy 1.37 or later",
            Self::NotAllowed => {
                "this Envoy does not let the filter sign: private_key_jwt needs \
                 proxy_call_foreign_function among the plugin's allowed_capabilities"
            }
            Self::KeyRefused => {
                "Envoy's cryptography does not take the key: its numbers do not belong together"
            }
            Self::Failed => "Envoy took the key and did not sign with it",
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
    sign(key, b"upstream-inject").map(|_| ())
}

fn sign(key: &SigningKey, text: &[u8]) -> Result<Vec<u8>, CannotSign> {
    let mut message = Vec::new();
    for (tag, value) in [
        (arguments::HASH_FUNCTION, HASH.as_bytes()),
        (arguments::PRIVATE_KEY, key.reveal()),
        (arguments::TEXT, text),
    ] {
        message.push(tag);
        write_varint(&mut message, value.len());
        message.extend_from_slice(value);
    }
    match abi::call_foreign_function(FUNCTION, &message) {
        Ok(result) => signature(&result).ok_or(CannotSign::Failed),
        Err(Status::NOT_FOUND) => Err(CannotSign::TooOld),
        Err(Status::BAD_ARGUMENT) => Err(CannotSign::KeyRefused),
        Err(_) => Err(CannotSign::NotAllowed),
    }
}

/// The signature in a `SignResult`, if it says that there is one.
fn signature(mut message: &[u8]) -> Option<Vec<u8>> {
    let mut signed = false;
    let mut signature = None;
    while let Some((tag, rest)) = message.split_first() {
        let (number, rest) = read_varint(rest)?;
        message = rest;
        match *tag {
            result::RESULT => signed = number == 1,
            result::SIGNATURE | result::ERROR => {
                let (value, rest) = rest.split_at_checked(number)?;
                message = rest;
                if *tag == result::SIGNATURE {
                    signature = Some(value.to_vec());
                }
            }
            _ => return None,
        }
    }
    signature.filter(|signature| signed && !signature.is_empty())
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
