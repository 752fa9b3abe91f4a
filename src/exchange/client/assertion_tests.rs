//! What an assertion says, and that others believe it.

use super::Signer;
use super::assertion::Assertion;
use super::key::{Algorithm, SigningKey};
use super::testing::{NativeSigner, key_pair, p256, pem, rsa};
use crate::time::Time;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{DecodingKey, Validation};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

const AUDIENCE: &str = "https://sts.example.com/token";

fn rs256() -> SigningKey {
    SigningKey::from_pem(&pem("RSA PRIVATE KEY", rsa())).unwrap()
}

fn es256() -> SigningKey {
    SigningKey::from_pem(&p256().serialize_pem()).unwrap()
}

fn assertion(key: SigningKey) -> Assertion {
    Assertion {
        client_id: "envoy".to_owned(),
        audience: AUDIENCE.to_owned(),
        key,
        key_id: None,
        thumbprint: None,
    }
}

fn now() -> Time {
    Time::default().plus(SystemTime::now().duration_since(UNIX_EPOCH).unwrap())
}

/// The header and the claims, if the signature is that of the key, as a library of others has it.
fn verified(jws: &str, key: &SigningKey) -> (Value, Value) {
    let public = key_pair(key).public_key_raw().to_vec();
    let (algorithm, public) = match key.algorithm() {
        Algorithm::Rs256 => (
            jsonwebtoken::Algorithm::RS256,
            DecodingKey::from_rsa_der(&public),
        ),
        Algorithm::Es256 => (
            jsonwebtoken::Algorithm::ES256,
            DecodingKey::from_ec_der(&public),
        ),
    };
    let mut validation = Validation::new(algorithm);
    validation.set_audience(&[AUDIENCE]);
    validation.set_issuer(&["envoy"]);
    let claims = jsonwebtoken::decode::<Value>(jws, &public, &validation)
        .unwrap()
        .claims;
    let header = jws.split('.').next().unwrap();
    let header = URL_SAFE_NO_PAD.decode(header).unwrap();
    (serde_json::from_slice(&header).unwrap(), claims)
}

#[test]
fn an_assertion_says_who_it_is_for_a_minute_and_is_signed() {
    for (key, algorithm) in [(rs256(), "RS256"), (es256(), "ES256")] {
        let now = now();
        let jws = assertion(key.clone())
            .build(&NativeSigner::default(), now)
            .unwrap();
        let (header, mut claims) = verified(&jws, &key);
        assert_eq!(header, json!({"alg": algorithm, "typ": "JWT"}));
        let jti = claims.as_object_mut().unwrap().remove("jti").unwrap();
        let issued = now.since(Time::default()).as_secs();
        assert_eq!(
            claims,
            json!({
                "iss": "envoy",
                "sub": "envoy",
                "aud": AUDIENCE,
                "iat": issued,
                "exp": issued + 60,
            })
        );
        let random = URL_SAFE_NO_PAD.decode(jti.as_str().unwrap()).unwrap();
        assert_eq!(random.len(), 16);
    }
}

#[test]
fn the_header_names_the_key_and_its_certificate_if_they_have_names() {
    let key = es256();
    for (key_id, thumbprint, header) in [
        (
            Some("2026-11"),
            None,
            json!({"alg": "ES256", "typ": "JWT", "kid": "2026-11"}),
        ),
        (
            None,
            Some("abc"),
            json!({"alg": "ES256", "typ": "JWT", "x5t#S256": "abc"}),
        ),
        (
            Some("\",\"alg\":\"none\n"),
            Some("abc"),
            json!({"alg": "ES256", "typ": "JWT", "kid": "\",\"alg\":\"none\n", "x5t#S256": "abc"}),
        ),
    ] {
        let assertion = Assertion {
            key_id: key_id.map(str::to_owned),
            thumbprint: thumbprint.map(str::to_owned),
            ..assertion(key.clone())
        };
        let jws = assertion.build(&NativeSigner::default(), now()).unwrap();
        assert_eq!(verified(&jws, &key).0, header);
    }
}

#[test]
fn a_name_that_would_break_out_of_the_claims_stays_a_name() {
    let assertion = Assertion {
        client_id: r#"a","sub":"b"#.to_owned(),
        ..assertion(es256())
    };
    let jws = assertion.build(&NativeSigner::default(), now()).unwrap();
    let claims = jws.split('.').nth(1).unwrap();
    let claims: Value = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(claims).unwrap()).unwrap();
    assert_eq!(claims["sub"], r#"a","sub":"b"#);
    assert_eq!(claims["iss"], claims["sub"]);
}

#[test]
fn no_two_assertions_have_the_same_name() {
    let assertion = assertion(es256());
    let now = Time::default().plus(Duration::from_secs(1));
    let names: BTreeSet<String> = (0..100)
        .map(|_| {
            let jws = assertion.build(&NativeSigner::default(), now).unwrap();
            let claims = jws.split('.').nth(1).unwrap();
            let claims = URL_SAFE_NO_PAD.decode(claims).unwrap();
            let claims: Value = serde_json::from_slice(&claims).unwrap();
            claims["jti"].to_string()
        })
        .collect();
    assert_eq!(names.len(), 100);
}

/// About one signature in 128 has a number that is a byte short, and half of the numbers have a
/// leading zero in DER.
#[test]
fn every_ecdsa_signature_is_told_in_the_form_of_jose() {
    let key = es256();
    let assertion = assertion(key.clone());
    for _ in 0..40 {
        let jws = assertion.build(&NativeSigner::default(), now()).unwrap();
        verified(&jws, &key);
    }
}

/// Says this to everything.
struct Says(Option<Vec<u8>>);

impl Signer for Says {
    fn sign(&self, _key: &SigningKey, _text: &[u8]) -> Option<Vec<u8>> {
        self.0.clone()
    }

    fn random(&self) -> Option<[u8; 16]> {
        Some([7; 16])
    }
}

#[test]
fn numbers_of_an_ecdsa_signature_are_padded_and_a_malformed_one_is_none() {
    let assertion = assertion(es256());
    let signed = |der: &[u8]| {
        let jws = assertion.build(&Says(Some(der.to_vec())), now())?;
        let signature = jws.rsplit('.').next().unwrap();
        Some(URL_SAFE_NO_PAD.decode(signature).unwrap())
    };
    let padded = |number: &[u8]| [&vec![0; 32 - number.len()], number].concat();
    let full = [
        &[0x30, 70, 2, 33, 0][..],
        &[0xff; 32],
        &[2, 33, 0],
        &[0xee; 32],
    ]
    .concat();
    assert_eq!(signed(&full), Some([[0xff; 32], [0xee; 32]].concat()));
    let short = [0x30, 7, 2, 1, 1, 2, 2, 0, 0x80];
    assert_eq!(
        signed(&short),
        Some([padded(&[1]), padded(&[0x80])].concat())
    );
    let too_long = [&[0x30, 38, 2, 33, 1][..], &[0xff; 32], &[2, 1, 1]].concat();
    for malformed in [
        &[][..],
        &too_long,
        &full[..full.len() - 1],
        &[0x30, 6, 2, 1, 0, 2, 1, 1],
        &[0x30, 6, 2, 1, 1, 2, 1, 0],
        &[0x30, 6, 2, 1, 0x80, 2, 1, 1],
        &[0x30, 7, 2, 2, 0, 1, 2, 1, 1],
        &[0x30, 3, 2, 1, 1],
        &[0x30, 9, 2, 1, 1, 2, 1, 1, 2, 1, 1],
        &[0x30, 6, 2, 1, 1, 2, 1, 1, 0],
        &[0x30, 0x81, 6, 2, 1, 1, 2, 1, 1],
        &[7; 64],
    ] {
        assert_eq!(signed(malformed), None, "{malformed:x?}");
    }
}

#[test]
fn there_is_no_assertion_without_a_signature_or_without_randomness() {
    let gave_up = NativeSigner::default();
    gave_up.gives_up.set(true);
    let lacking = NativeSigner {
        lacks_randomness: true,
        ..NativeSigner::default()
    };
    for key in [rs256(), es256()] {
        let assertion = assertion(key);
        let signers: [&dyn Signer; 4] = [&gave_up, &lacking, &Says(None), &Says(Some(vec![]))];
        for signer in signers {
            assert_eq!(assertion.build(signer, now()), None);
        }
    }
}

#[test]
fn an_assertion_shows_nothing_of_its_key() {
    let shown = format!("{:?}", assertion(es256()));
    assert!(shown.contains("key: [redacted]"), "{shown}");
}
