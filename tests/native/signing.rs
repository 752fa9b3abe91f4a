//! Signed client assertions, with Envoy's own function: what goes to it, and what may come back.

use crate::host::{SignResult, status, worker};
use jsonwebtoken::{DecodingKey, Validation};
use prost::Message;
use rcgen::{CertificateParams, KeyPair};
use serde_json::Value;
use std::time::Duration;
use upstream_inject::exchange::client::Signer;
use upstream_inject::exchange::client::assertion::Assertion;
use upstream_inject::exchange::client::certificate::Certificate;
use upstream_inject::exchange::client::key::SigningKey;
use upstream_inject::host::sign::{CannotSign, HostSigner, can_sign, owns};
use upstream_inject::time::Time;

const AUDIENCE: &str = "https://sts.example.com/token";

fn key_pair() -> KeyPair {
    KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap()
}

fn key() -> SigningKey {
    SigningKey::from_pem(&key_pair().serialize_pem()).unwrap()
}

#[test]
fn an_assertion_that_envoy_signed_is_believed() {
    worker(|envoy| {
        let pair = key_pair();
        let assertion = Assertion {
            client_id: "envoy".to_owned(),
            audience: AUDIENCE.to_owned(),
            key: SigningKey::from_pem(&pair.serialize_pem()).unwrap(),
            key_id: None,
            thumbprint: None,
        };
        assert_eq!(can_sign(&assertion.key), Ok(()));
        let now = Time::default().plus(Duration::from_secs(envoy.now()));
        let jws = assertion.build(&HostSigner, now).unwrap();
        let mut validation = Validation::new(jsonwebtoken::Algorithm::ES256);
        validation.set_audience(&[AUDIENCE]);
        validation.validate_exp = false;
        let public = DecodingKey::from_ec_der(pair.public_key_raw());
        let claims = jsonwebtoken::decode::<Value>(&jws, &public, &validation)
            .unwrap()
            .claims;
        assert_eq!(claims["exp"], 1_700_000_060);
    });
}

#[test]
fn random_numbers_are_not_the_same_twice() {
    worker(|_| {
        let (first, second) = (HostSigner.random(), HostSigner.random());
        assert!(first.is_some());
        assert_ne!(first, second);
    });
}

#[test]
fn an_envoy_that_does_not_sign_is_said_to_be_what_it_is() {
    let failing = |function, status| {
        worker(|envoy| {
            envoy.fails(function, Some(status));
            can_sign(&key()).unwrap_err()
        })
    };
    for (function, status, problem) in [
        (
            "call_foreign_function",
            status::NOT_FOUND,
            CannotSign::TooOld,
        ),
        // What Envoy answers in place of a function that is not allowed.
        (
            "call_foreign_function",
            status::INTERNAL_FAILURE,
            CannotSign::NotAllowed,
        ),
        (
            "call_foreign_function",
            status::BAD_ARGUMENT,
            CannotSign::KeyRefused,
        ),
        ("random_get", 76, CannotSign::NoRandom),
    ] {
        assert_eq!(failing(function, status), problem);
    }
    let said = CannotSign::TooOld.to_string();
    assert!(said.contains("Envoy 1.37 or later"), "{said}");
    let said = CannotSign::NotAllowed.to_string();
    assert!(said.contains("proxy_call_foreign_function"), "{said}");
    let said = CannotSign::NoRandom.to_string();
    assert!(said.contains("random_get"), "{said}");
}

#[test]
fn a_certificate_is_the_keys_only_if_envoy_says_yes() {
    let pair = key_pair();
    let certificate = CertificateParams::default().self_signed(&pair).unwrap();
    let certificate = Certificate::from_pem(&certificate.pem()).unwrap();
    let told = |script: &(dyn Fn(&crate::host::Envoy) + Sync)| {
        worker(|envoy| {
            script(envoy);
            owns(&key(), &certificate)
        })
    };
    let yes = SignResult {
        result: true,
        signature: vec![7; 70],
        error: String::new(),
    };
    assert_eq!(
        told(&|envoy| envoy.foreign_functions_answer(&yes.encode_to_vec())),
        Some(true)
    );
    // This host signs, and has no function that verifies.
    assert_eq!(told(&|_| ()), Some(false));
    let failing = "call_foreign_function";
    assert_eq!(
        told(&|envoy| envoy.fails(failing, Some(status::NOT_FOUND))),
        None
    );
}

#[test]
fn an_answer_without_a_signature_is_none() {
    let result = |result, signature: &[u8], error: &str| {
        let result = SignResult {
            result,
            signature: signature.to_vec(),
            error: error.to_owned(),
        };
        result.encode_to_vec()
    };
    let long = result(true, &[7; 512], "");
    let signed = |answer: &[u8]| {
        worker(|envoy| {
            let key = key();
            envoy.foreign_functions_answer(answer);
            let signature = HostSigner.sign(&key, b"text");
            let problem = can_sign(&key).err();
            assert_eq!(signature.is_some(), problem.is_none());
            signature.ok_or(problem)
        })
    };
    assert_eq!(signed(&long), Ok(vec![7; 512]));
    for (answer, problem) in [
        (
            result(false, &[], "Failed to initialize digest sign."),
            CannotSign::KeyRefused,
        ),
        (result(false, &[7; 64], ""), CannotSign::KeyRefused),
        (vec![], CannotSign::KeyRefused),
        (result(true, &[], ""), CannotSign::Malformed),
        (long[..long.len() - 1].to_vec(), CannotSign::Malformed),
        (vec![0x08], CannotSign::Malformed),
        (vec![0x08, 1, 0x12], CannotSign::Malformed),
        (vec![0x08, 1, 0x12, 5, 7], CannotSign::Malformed),
        (vec![0x08, 1, 0x22, 1, 7], CannotSign::Malformed),
        (
            vec![0x08, 1, 0x12, 0xff, 0xff, 0xff, 0xff, 0x0f],
            CannotSign::Malformed,
        ),
    ] {
        assert_eq!(signed(&answer), Err(Some(problem)), "{answer:x?}");
    }
}
