//! The signed assertion by which a client authenticates (RFC 7523 §2.2): `private_key_jwt`.

use super::Signer;
use super::der::Reader;
use super::key::{Algorithm, SigningKey};
use crate::exchange::base64::URL;
use crate::quote::json_string;
use crate::time::Time;
use std::time::Duration;

/// How long an assertion is good. Token endpoints refuse what is good for long, and clocks differ.
const LIFETIME: Duration = Duration::from_secs(60);
/// Of each half of an ES256 signature (RFC 7518 §3.4).
const ES256_HALF: usize = 32;

/// What a client's assertions say, and what signs them.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Assertion {
    /// `iss` and `sub`.
    pub client_id: String,
    /// `aud`.
    pub audience: String,
    /// What signs.
    pub key: SigningKey,
    /// `kid`.
    pub key_id: Option<String>,
    /// `x5t#S256`.
    pub thumbprint: Option<String>,
}

impl Assertion {
    /// An assertion for one call, good from `now` on: a JWS in its compact form. `None` if it
    /// cannot be signed.
    pub fn build(&self, signer: &dyn Signer, now: Time) -> Option<String> {
        let mut jws = URL.encode(self.header().as_bytes());
        jws.push('.');
        jws.push_str(&URL.encode(self.claims(signer.random()?, now).as_bytes()));
        let signature = signer.sign(&self.key, jws.as_bytes())?;
        let signature = match self.key.algorithm() {
            Algorithm::Rs256 => (!signature.is_empty()).then_some(signature)?,
            Algorithm::Es256 => es256(&signature)?.to_vec(),
        };
        jws.push('.');
        jws.push_str(&URL.encode(&signature));
        Some(jws)
    }

    fn header(&self) -> String {
        let mut header = format!(r#"{{"alg":"{}","typ":"JWT""#, self.key.algorithm().as_str());
        for (name, value) in [("kid", &self.key_id), ("x5t#S256", &self.thumbprint)] {
            if let Some(value) = value {
                header.push_str(&format!(r#","{name}":{}"#, json_string(value)));
            }
        }
        header.push('}');
        header
    }

    fn claims(&self, random: [u8; 16], now: Time) -> String {
        let client = json_string(&self.client_id);
        let audience = json_string(&self.audience);
        let seconds = |time: Time| time.since(Time::default()).as_secs();
        let (issued, expires) = (seconds(now), seconds(now.plus(LIFETIME)));
        let id = URL.encode(&random);
        format!(
            r#"{{"iss":{client},"sub":{client},"aud":{audience},"iat":{issued},"exp":{expires},"jti":"{id}"}}"#
        )
    }
}

/// JOSE's form of an ECDSA signature, both numbers at full length, from DER's `ECDSA-Sig-Value`.
fn es256(der: &[u8]) -> Option<[u8; 2 * ES256_HALF]> {
    let mut numbers = Reader::sequence(der)?;
    let (r, s) = (numbers.unsigned()?, numbers.unsigned()?);
    numbers.end()?;
    let mut both = [0; 2 * ES256_HALF];
    for (number, half) in [r, s].into_iter().zip(both.chunks_mut(ES256_HALF)) {
        // Zero is no signature's.
        number.first()?;
        let zeros = half.len().checked_sub(number.len())?;
        half.get_mut(zeros..)?.copy_from_slice(number);
    }
    Some(both)
}
