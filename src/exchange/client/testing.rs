//! Keys that are made when a test runs, in every form, and a signer that needs no Envoy.

use super::Signer;
use super::der::{self, BIT_STRING, INTEGER, NULL, OBJECT_IDENTIFIER, OCTET_STRING, SEQUENCE};
use super::key::{Algorithm, SigningKey};
use super::public_key::{EC, P256, RSA};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rcgen::{CertificateParams, KeyPair, SigningKey as _};
use rsa::RsaPrivateKey;
use rsa::pkcs1::EncodeRsaPrivateKey;
use rsa::rand_core::{OsRng, RngCore};
use std::cell::Cell;
use std::sync::OnceLock;

/// `bytes` as one PEM block.
pub(super) fn pem(label: &str, bytes: &[u8]) -> String {
    let base64 = STANDARD.encode(bytes);
    let lines: Vec<&str> = base64
        .as_bytes()
        .chunks(64)
        .map(|line| std::str::from_utf8(line).unwrap())
        .collect();
    format!(
        "-----BEGIN {label}-----\n{}\n-----END {label}-----\n",
        lines.join("\n")
    )
}

/// An RSA key of 2048 bits as PKCS#1, the same for all tests: it takes its time.
pub(super) fn rsa() -> &'static [u8] {
    static KEY: OnceLock<Vec<u8>> = OnceLock::new();
    KEY.get_or_init(|| {
        let key = RsaPrivateKey::new(&mut OsRng, 2048).unwrap();
        key.to_pkcs1_der().unwrap().as_bytes().to_vec()
    })
}

/// A new P-256 key.
pub(super) fn p256() -> KeyPair {
    KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap()
}

/// The `RSAPrivateKey` of that modulus, with other numbers that are none.
pub(super) fn rsa_of(modulus: &[u8]) -> Vec<u8> {
    let small = der::write(INTEGER, &[&[3]]);
    let mut parts = vec![
        der::write(INTEGER, &[&[0]]),
        der::write(INTEGER, &[modulus]),
    ];
    parts.extend(std::iter::repeat_n(small, 7));
    let parts: Vec<&[u8]> = parts.iter().map(Vec::as_slice).collect();
    der::write(SEQUENCE, &parts)
}

/// `ECPrivateKey` with these parts.
pub(super) fn sec1(number: &[u8], curve: Option<&[u8]>, point: Option<&[u8]>) -> Vec<u8> {
    let curve = curve.map_or(Vec::new(), |curve| {
        der::write(der::context(0), &[&der::write(OBJECT_IDENTIFIER, &[curve])])
    });
    let point = point.map_or(Vec::new(), |point| {
        der::write(der::context(1), &[&der::write(BIT_STRING, &[&[0], point])])
    });
    let version = der::write(INTEGER, &[&[1]]);
    let number = der::write(OCTET_STRING, &[number]);
    der::write(SEQUENCE, &[&version, &number, &curve, &point])
}

/// `PrivateKeyInfo` with these parts.
pub(super) fn pkcs8(algorithm: &[u8], parameters: &[u8], key: &[u8]) -> Vec<u8> {
    let identifier = der::write(OBJECT_IDENTIFIER, &[algorithm]);
    der::write(
        SEQUENCE,
        &[
            &der::write(INTEGER, &[&[0]]),
            &der::write(SEQUENCE, &[&identifier, parameters]),
            &der::write(OCTET_STRING, &[key]),
        ],
    )
}

/// `PrivateKeyInfo` of an RSA key.
pub(super) fn rsa_pkcs8(key: &[u8]) -> Vec<u8> {
    pkcs8(RSA, &der::write(NULL, &[]), key)
}

/// `PrivateKeyInfo` of a key on P-256.
pub(super) fn p256_pkcs8(key: &[u8]) -> Vec<u8> {
    pkcs8(EC, &der::write(OBJECT_IDENTIFIER, &[P256]), key)
}

/// A certificate of a key.
pub(super) fn certificate(key: &KeyPair) -> rcgen::Certificate {
    let names = vec!["client.example.com".to_owned()];
    let parameters = CertificateParams::new(names).unwrap();
    parameters.self_signed(key).unwrap()
}

/// The key as the library that signs here has it.
pub(super) fn key_pair(key: &SigningKey) -> KeyPair {
    let algorithm = match key.algorithm() {
        Algorithm::Rs256 => &rcgen::PKCS_RSA_SHA256,
        Algorithm::Es256 => &rcgen::PKCS_ECDSA_P256_SHA256,
    };
    KeyPair::from_pkcs8_der_and_sign_algo(&key.reveal().into(), algorithm).unwrap()
}

/// Signs as Envoy does, with another library.
#[derive(Debug, Default)]
pub(super) struct NativeSigner {
    /// Signs nothing more.
    pub gives_up: Cell<bool>,
    /// Has no random numbers.
    pub lacks_randomness: bool,
}

impl Signer for NativeSigner {
    fn sign(&self, key: &SigningKey, text: &[u8]) -> Option<Vec<u8>> {
        (!self.gives_up.get()).then(|| key_pair(key).sign(text).unwrap())
    }

    fn random(&self) -> Option<[u8; 16]> {
        let mut bytes = [0; 16];
        OsRng.fill_bytes(&mut bytes);
        (!self.lacks_randomness).then_some(bytes)
    }
}
