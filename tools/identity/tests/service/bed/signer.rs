//! Whoever signs TH-JWTs.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use p256::ecdsa::SigningKey;
use p256::pkcs8::EncodePrivateKey as _;
use serde_json::{Value, json};

pub struct Signer {
    id: String,
    key: SigningKey,
}

impl Signer {
    pub fn new(id: &str) -> Self {
        let mut bytes = [0; 32];
        getrandom::fill(&mut bytes).expect("random numbers");
        bytes[0] &= 0x7f;
        Self {
            id: id.to_owned(),
            key: SigningKey::from_slice(&bytes).expect("a key"),
        }
    }

    pub fn jwks(&self) -> Value {
        let point = self.key.verifying_key().to_sec1_point(false);
        let bytes = point.as_bytes();
        json!({"keys": [{
            "kty": "EC", "crv": "P-256", "use": "sig", "alg": "ES256", "kid": self.id,
            "x": URL_SAFE_NO_PAD.encode(&bytes[1..33]),
            "y": URL_SAFE_NO_PAD.encode(&bytes[33..]),
        }]})
    }

    pub fn sign(&self, claims: &Value) -> String {
        let mut header = Header::new(Algorithm::ES256);
        header.kid = Some(self.id.clone());
        let der = self.key.to_pkcs8_der().expect("a key in DER");
        encode(&header, claims, &EncodingKey::from_ec_der(der.as_bytes())).expect("a token")
    }
}

/// A JWT that nobody can verify: only its claims matter.
pub fn unsigned(claims: &Value) -> String {
    format!("e30.{}.c2ln", URL_SAFE_NO_PAD.encode(claims.to_string()))
}
