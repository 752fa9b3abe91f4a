//! Signed client assertions, with Envoy's own function: what goes to it, and what may come back.

use crate::host::{Answer, Request, SignResult, number_of, status, worker};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use jsonwebtoken::{DecodingKey, Validation};
use prost::Message;
use rcgen::{CertificateParams, KeyPair};
use serde_json::{Value, json};
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
    // Another key's; and an Envoy that has no function that verifies.
    assert_eq!(told(&|_| ()), Some(false));
    assert_eq!(
        told(&|envoy| envoy.fails("verify_signature", Some(status::NOT_FOUND))),
        Some(false)
    );
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

/// Lets a variable into the VM, as Envoy's `environment_variables` do. Each test has names of its own.
fn variable(name: &str, value: &str) -> String {
    let name = format!("UPSTREAM_INJECT_TEST_{name}");
    // SAFETY: whatever reads the environment here does so by the standard library, under its lock.
    unsafe { std::env::set_var(&name, value) };
    name
}

/// A backend whose STS knows its client by a key in that variable, and by a certificate if it has one.
fn configuration(key: &str, certificate: Option<&str>) -> Value {
    json!({
        "authServer": {"runConfig": {"upstreams": [{"name": "corp"}]}},
        "outgoingAuth": {"backends": {"api": {"type": "token_exchange", "tokenExchange": {
            "tokenUrl": AUDIENCE,
            "cluster": "sts",
            "subjectProviderName": "corp",
            "clientId": "envoy",
            "clientKeyEnv": key,
            "clientCertificateEnv": certificate,
        }}}},
    })
}

fn of(user: &str) -> Request {
    Request::to("api").tokens(&json!({"corp": format!("CANARY-{user}")}))
}

fn certificate_of(pair: &KeyPair) -> String {
    let certificate = CertificateParams::default().self_signed(pair).unwrap();
    certificate.pem()
}

/// `ECPrivateKey` without the public half.
fn without_public_half(pair: &KeyPair) -> String {
    let key = pair.serialize_der();
    let curve = [0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07];
    let parts: [&[u8]; 4] = [
        &[0x30, 49, 2, 1, 1, 4, 32],
        number_of(&key).unwrap(),
        &[0xa0, 10, 6, 8],
        &curve,
    ];
    let text = STANDARD.encode(parts.concat());
    format!("-----BEGIN EC PRIVATE KEY-----\n{text}\n-----END EC PRIVATE KEY-----\n")
}

#[test]
fn a_client_whose_key_lies_in_the_environment_signs_for_the_sts() {
    let pair = key_pair();
    let certificate = certificate_of(&pair);
    let thumbprint = Certificate::from_pem(&certificate).unwrap();
    let key = variable("KEY", &pair.serialize_pem());
    let certificate = variable("CERTIFICATE", &certificate);
    worker(|envoy| {
        let plugin = envoy.plugin(&configuration(&key, Some(&certificate)));
        let stream = plugin.request(&of("alice"));
        let call = envoy.call();
        assert_eq!(call.parameter("client_id"), Some("envoy"));
        let mut validation = Validation::new(jsonwebtoken::Algorithm::ES256);
        validation.set_audience(&[AUDIENCE]);
        validation.validate_exp = false;
        let public = DecodingKey::from_ec_der(pair.public_key_raw());
        let jws = call.parameter("client_assertion").unwrap();
        let read = jsonwebtoken::decode::<Value>(jws, &public, &validation).unwrap();
        assert_eq!(read.claims["sub"], "envoy");
        let named = read.header.x5t_s256.unwrap();
        assert_eq!(named, thumbprint.thumbprint());
        call.answer(&Answer::token("CANARY-exchanged", 300));
        let expected = ["Bearer CANARY-exchanged"];
        assert_eq!(stream.received("authorization"), expected);
    });
}

#[test]
fn a_key_that_this_envoy_does_not_sign_with_is_refused_with_the_configuration() {
    let key = variable("KEY_OF_AN_OLD_ENVOY", &key_pair().serialize_pem());
    worker(|envoy| {
        envoy.fails("call_foreign_function", Some(status::NOT_FOUND));
        let configuration = configuration(&key, None).to_string();
        assert!(envoy.configure(configuration.as_bytes()).is_none());
        let lines = envoy.warnings().concat();
        assert!(lines.contains("clientKeyEnv: "), "{lines}");
        assert!(lines.contains("needs Envoy 1.37 or later"), "{lines}");
    });
}

/// The file of an EC key may leave its public half out: what it signs tells whose it is.
#[test]
fn a_key_without_its_public_half_knows_its_certificate_by_a_signature() {
    let (pair, other) = (key_pair(), key_pair());
    let key = variable("BARE_KEY", &without_public_half(&pair));
    let own = variable("OWN_CERTIFICATE", &certificate_of(&pair));
    let others = variable("OTHERS_CERTIFICATE", &certificate_of(&other));
    for (certificate, verifies, accepted) in [
        (&own, true, true),
        (&others, true, false),
        // Whoever cannot tell does not say yes.
        (&own, false, false),
    ] {
        worker(|envoy| {
            envoy.knows_key(&pair.serialize_der());
            if !verifies {
                envoy.fails("verify_signature", Some(status::NOT_FOUND));
            }
            let configuration = configuration(&key, Some(certificate)).to_string();
            let plugin = envoy.configure(configuration.as_bytes());
            let lines = envoy.warnings();
            assert_eq!(plugin.is_some(), accepted, "{lines:?}");
            let told = "is not the certificate of the key in clientKeyEnv";
            assert_eq!(lines.concat().contains(told), !accepted, "{lines:?}");
        });
    }
}

/// A probe that could not even be sent says nothing of the STS: its breaker stays open, and lets the next
/// one try.
#[test]
fn a_call_that_cannot_be_signed_says_nothing_of_the_sts() {
    let key = variable("KEY_OF_A_PROBE", &key_pair().serialize_pem());
    worker(|envoy| {
        let plugin = envoy.plugin(&configuration(&key, None));
        for n in 0..5 {
            plugin.request(&of(&format!("user-{n}")));
            envoy.call().answer(&Answer::new(503, ""));
        }
        envoy.advance(Duration::from_secs(1));
        envoy.log();
        envoy.fails("call_foreign_function", Some(status::INTERNAL_FAILURE));
        let unsigned = plugin.request(&of("alice")).refusal();
        envoy.fails("call_foreign_function", None);
        assert_eq!(unsigned, (502, "token_exchange_misconfigured".to_owned()));
        assert!(envoy.calls().is_empty());
        let lines = envoy.warnings().concat();
        assert!(lines.contains("Envoy could not sign"), "{lines}");
        let probe = plugin.request(&of("bob"));
        let call = envoy.call();
        let stopped = plugin.request(&of("carol")).refusal();
        assert_eq!(stopped, (503, "token_exchange_unavailable".to_owned()));
        assert!(envoy.calls().is_empty(), "one probe at a time");
        call.answer(&Answer::token("CANARY-exchanged", 300));
        let expected = ["Bearer CANARY-exchanged"];
        assert_eq!(probe.received("authorization"), expected);
    });
}
