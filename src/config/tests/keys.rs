//! The keys and certificates that the cases refer to, made when the tests run.

use rcgen::{CertificateParams, KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_ECDSA_P384_SHA384};
use std::collections::BTreeMap;
use std::sync::OnceLock;

/// What is in the variable of that name.
pub(super) fn pem(variable: &str) -> Option<&'static str> {
    static ALL: OnceLock<BTreeMap<&str, String>> = OnceLock::new();
    let all = ALL.get_or_init(|| {
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap();
        let other = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap();
        let p384 = KeyPair::generate_for(&PKCS_ECDSA_P384_SHA384).unwrap();
        let certificate = |key| CertificateParams::default().self_signed(key).unwrap().pem();
        BTreeMap::from([
            ("CERTIFICATE", certificate(&key)),
            ("OTHER_CERTIFICATE", certificate(&other)),
            ("KEY", key.serialize_pem()),
            ("P384_KEY", p384.serialize_pem()),
        ])
    });
    all.get(variable).map(String::as_str)
}
