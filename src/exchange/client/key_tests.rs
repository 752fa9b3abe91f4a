//! Which files hold a key that can sign, and what is said of the others.

use super::certificate::{Certificate, CertificateProblem};
use super::der::{self, OBJECT_IDENTIFIER, SEQUENCE};
use super::key::{Algorithm, KeyProblem, SigningKey};
use super::pem::{self, Problem};
use super::public_key::{EC, P256, RSA};
use super::testing::{
    certificate, key_pair, p256, p256_pkcs8, pem, pkcs8, rsa, rsa_of, rsa_pkcs8, sec1,
};
use proptest::prelude::*;
use rcgen::KeyPair;

const ED25519: &[u8] = &[0x2b, 0x65, 0x70];
const P384: &[u8] = &[0x2b, 0x81, 0x04, 0x00, 0x22];
const OTHERS: [(&[u8], &str); 5] = [
    (
        &[0x2b, 0x81, 0x04, 0x00, 0x23],
        "an EC key on the curve P-521",
    ),
    (
        &[0x2b, 0x81, 0x04, 0x00, 0x0a],
        "an EC key on the curve secp256k1",
    ),
    (&[0x2b, 0x65, 0x71], "an Ed448 key"),
    (&[0x2b, 0x65, 0x6e], "an X25519 key"),
    (&[0x2a, 0x86, 0x48, 0xce, 0x38, 0x04, 0x01], "a DSA key"),
];
const PSS: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x0a];
const NULL: &[u8] = &[5, 0];
const ANY_NUMBER: [u8; 32] = [0x5a; 32];

fn oid(identifier: &[u8]) -> Vec<u8> {
    der::write(OBJECT_IDENTIFIER, &[identifier])
}

fn read(pem: &str) -> SigningKey {
    SigningKey::from_pem(pem).unwrap_or_else(|problem| panic!("{problem}\n{pem}"))
}

/// The `ECPrivateKey` in a library's PKCS#8, and the public point.
fn numbers_of(key: &KeyPair) -> ([u8; 32], Vec<u8>) {
    let info = key.serialize_der();
    let start = info.windows(2).position(|bytes| bytes == [4, 32]).unwrap() + 2;
    let number = info[start..start + 32].try_into().unwrap();
    (number, key.public_key_raw().to_vec())
}

#[test]
fn an_rsa_key_is_the_same_in_every_form() {
    let plain = pem("RSA PRIVATE KEY", rsa());
    let key = read(&plain);
    assert_eq!(key.algorithm(), Algorithm::Rs256);
    assert_eq!(key.algorithm().as_str(), "RS256");
    assert_eq!(key.reveal(), rsa_pkcs8(rsa()));
    // The library that signs in tests checks the numbers.
    key_pair(&key);
    for form in [
        pem("PRIVATE KEY", &rsa_pkcs8(rsa())),
        pem("PRIVATE KEY", &pkcs8(RSA, &[], rsa())),
        plain.replace('\n', "\r\n"),
        plain.trim_end().to_owned(),
        format!("Bag Attributes\n    friendlyName: client\n{plain}\nthe end\n"),
        format!("{plain}{}", certificate(&key_pair(&key)).pem()),
        format!("{}{plain}", certificate(&key_pair(&key)).pem()),
    ] {
        assert_eq!(read(&form), key, "{form}");
    }
}

#[test]
fn a_p256_key_is_read_in_every_form() {
    let made = p256();
    let (number, point) = numbers_of(&made);
    let of_sec1 = pem("EC PRIVATE KEY", &sec1(&number, Some(P256), Some(&point)));
    for form in [
        made.serialize_pem(),
        of_sec1.clone(),
        format!("{}{of_sec1}", pem("EC PARAMETERS", &oid(P256))),
        of_sec1.replace('\n', "\r\n"),
    ] {
        let key = read(&form);
        assert_eq!(key.algorithm(), Algorithm::Es256);
        assert_eq!(key.algorithm().as_str(), "ES256");
        assert_eq!(key_pair(&key).public_key_raw(), point, "{form}");
        assert_eq!(read(&pem("PRIVATE KEY", key.reveal())), key);
    }
    for bare in [
        pem("EC PRIVATE KEY", &sec1(&number, Some(P256), None)),
        pem("PRIVATE KEY", &p256_pkcs8(&sec1(&number, None, None))),
        pem("PRIVATE KEY", &p256_pkcs8(&sec1(&number[1..], None, None))),
    ] {
        assert_eq!(read(&bare).algorithm(), Algorithm::Es256);
    }
}

#[test]
fn a_key_of_pkcs8s_second_version_becomes_one_of_the_first() {
    let (number, point) = numbers_of(&p256());
    let inner = sec1(&number, None, Some(&point));
    let first = p256_pkcs8(&inner);
    let attributes = der::write(der::context(0), &[]);
    let public = der::write(0x81, &[&[0], &point]);
    let second = |version: u8, behind: &[&[u8]]| {
        let mut info = der::Reader::new(&first);
        let within = info.value(SEQUENCE).unwrap();
        let rest = [&within[3..]].into_iter().chain(behind.iter().copied());
        let rest: Vec<&[u8]> = rest.collect();
        let rest = rest.concat();
        der::write(SEQUENCE, &[&[2, 1, version], &rest])
    };
    let key = read(&pem("PRIVATE KEY", &first));
    for bytes in [
        second(0, &[&attributes]),
        second(1, &[]),
        second(1, &[&public]),
        second(1, &[&attributes, &public]),
    ] {
        assert_eq!(read(&pem("PRIVATE KEY", &bytes)), key);
    }
    for bytes in [second(0, &[&public]), second(2, &[]), second(1, &[&[5, 0]])] {
        let refused = SigningKey::from_pem(&pem("PRIVATE KEY", &bytes));
        assert_eq!(refused, Err(KeyProblem::Damaged));
    }
}

/// Every file that is no key, and what is said of it.
fn refused() -> Vec<(String, KeyProblem)> {
    let other = KeyProblem::Other;
    let p256_key = p256();
    let (number, point) = numbers_of(&p256_key);
    let p256_der = p256_key.serialize_der();
    let rsa_pem = pem("RSA PRIVATE KEY", rsa());
    let modulus = |bits: usize| {
        let mut digits = vec![0xff; bits.div_ceil(8)];
        digits[0] >>= (8 - bits % 8) % 8;
        if digits[0] >= 0x80 {
            digits.insert(0, 0);
        }
        digits
    };
    let ed25519 = KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap();
    let p384 = KeyPair::generate_for(&rcgen::PKCS_ECDSA_P384_SHA384).unwrap();
    let damaged_rsa = |bytes: &[u8]| (pem("RSA PRIVATE KEY", bytes), KeyProblem::Damaged);
    let damaged_ec = |bytes: &[u8]| (pem("EC PRIVATE KEY", bytes), KeyProblem::Damaged);
    let damaged = |bytes: &[u8]| (pem("PRIVATE KEY", bytes), KeyProblem::Damaged);
    let described = {
        let curve = der::write(SEQUENCE, &[&[2, 1, 1]]);
        pem(
            "PRIVATE KEY",
            &pkcs8(EC, &curve, &sec1(&number, None, None)),
        )
    };
    vec![
        (String::new(), KeyProblem::Pem(Problem::NoBlock)),
        ("garbage".to_owned(), KeyProblem::Pem(Problem::NoBlock)),
        (
            rsa_pem.chars().take(rsa_pem.len() / 2).collect(),
            KeyProblem::Pem(Problem::Unfinished),
        ),
        (
            rsa_pem.trim_end().replace('\n', r"\n"),
            KeyProblem::Pem(Problem::NoLineBreaks),
        ),
        (
            rsa_pem.replace("MII", "M*I"),
            KeyProblem::Pem(Problem::NotBase64),
        ),
        (format!("{rsa_pem}{rsa_pem}"), KeyProblem::Several),
        (
            format!("{rsa_pem}{}", p256_key.serialize_pem()),
            KeyProblem::Several,
        ),
        (p256_key.public_key_pem(), other("a public key")),
        (certificate(&p256_key).pem(), other("a certificate")),
        (
            pem("CERTIFICATE REQUEST", b"any"),
            other("a certificate request"),
        ),
        (
            pem("EC PARAMETERS", &oid(P256)),
            other("the parameters of a curve alone"),
        ),
        (pem("CANARY", b"any"), other("no private key")),
        (
            pem("CANARY PRIVATE KEY", b"any"),
            other("a private key of an unknown kind"),
        ),
        (
            pem("OPENSSH PRIVATE KEY", b"openssh-key-v1"),
            other("a key in OpenSSH's own format"),
        ),
        (pem("DSA PRIVATE KEY", b"any"), other("a DSA key")),
        (
            pem("ENCRYPTED PRIVATE KEY", &p256_der),
            KeyProblem::Encrypted,
        ),
        (
            rsa_pem.replacen(
                '\n',
                "\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-128-CBC,00112233445566778899AABBCCDDEEFF\n\n",
                1,
            ),
            KeyProblem::Encrypted,
        ),
        (ed25519.serialize_pem(), other("an Ed25519 key")),
        (
            pem("PRIVATE KEY", &pkcs8(ED25519, &[], b"any")),
            other("an Ed25519 key"),
        ),
        (p384.serialize_pem(), other("an EC key on the curve P-384")),
        (
            pem("EC PRIVATE KEY", &sec1(&[7; 48], Some(P384), None)),
            other("an EC key on the curve P-384"),
        ),
        (
            pem("PRIVATE KEY", &pkcs8(PSS, &[], rsa())),
            other("an RSA key for PSS alone"),
        ),
        (
            pem("PRIVATE KEY", &pkcs8(&[0x2a], NULL, rsa())),
            other("a key of another algorithm"),
        ),
        (
            described,
            other("an EC key that describes its curve instead of naming it"),
        ),
        (
            pem("EC PRIVATE KEY", &sec1(&number, None, Some(&point))),
            other("an EC key that does not name its curve (PKCS#8 always does)"),
        ),
        (
            pem("RSA PRIVATE KEY", &rsa_of(&modulus(1024))),
            KeyProblem::RsaTooShort(1024),
        ),
        (
            pem("PRIVATE KEY", &rsa_pkcs8(&rsa_of(&modulus(2047)))),
            KeyProblem::RsaTooShort(2047),
        ),
        (
            pem("RSA PRIVATE KEY", &rsa_of(&[0])),
            KeyProblem::RsaTooShort(0),
        ),
        damaged(b""),
        damaged(rsa()),
        damaged(&[p256_der.as_slice(), &[0]].concat()),
        damaged(&pkcs8(RSA, &oid(P256), rsa())),
        damaged(&pkcs8(RSA, &[NULL, NULL].concat(), rsa())),
        damaged(&pkcs8(EC, &[], &sec1(&number, None, None))),
        damaged(&pkcs8(EC, NULL, &sec1(&number, None, None))),
        damaged(&rsa_pkcs8(&sec1(&number, None, None))),
        damaged(&p256_pkcs8(rsa())),
        damaged(&p256_pkcs8(&sec1(&number, Some(P384), None))),
        damaged(&p256_pkcs8(&sec1(&[], None, None))),
        damaged(&p256_pkcs8(&sec1(&[0; 32], None, None))),
        damaged(&p256_pkcs8(&sec1(&[1; 33], None, None))),
        damaged(&p256_pkcs8(&sec1(&number, None, Some(&point[1..])))),
        damaged(&p256_pkcs8(&sec1(&number, None, Some(&[9; 65])))),
        damaged_rsa(&rsa_pkcs8(rsa())),
        damaged_rsa(&[rsa(), &[0]].concat()),
        damaged_rsa(&rsa_of(&modulus(2048)[1..])),
        damaged_ec(&p256_der),
        damaged_ec(rsa()),
    ]
}

#[test]
fn what_is_no_key_that_can_sign_is_said_to_be_what_it_is() {
    for (file, problem) in refused() {
        assert_eq!(SigningKey::from_pem(&file), Err(problem), "{file}");
    }
    // Of an algorithm, and of a curve.
    for (identifier, what) in OTHERS {
        let on_the_curve = pkcs8(EC, &oid(identifier), &sec1(&ANY_NUMBER, None, None));
        for bytes in [pkcs8(identifier, &[], b"any"), on_the_curve] {
            let read = SigningKey::from_pem(&pem("PRIVATE KEY", &bytes));
            assert_eq!(read, Err(KeyProblem::Other(what)));
        }
    }
    let long_enough = rsa_of(&[&[0][..], &[0xff; 256]].concat());
    assert!(SigningKey::from_pem(&pem("RSA PRIVATE KEY", &long_enough)).is_ok());
}

#[test]
fn a_key_cut_off_anywhere_is_damaged() {
    let p256 = p256().serialize_der();
    for (label, whole) in [("RSA PRIVATE KEY", rsa()), ("PRIVATE KEY", &p256)] {
        for length in 0..whole.len() {
            let cut = pem(label, &whole[..length]);
            assert_eq!(SigningKey::from_pem(&cut), Err(KeyProblem::Damaged));
        }
        let text = pem(label, whole);
        for length in 0..text.trim_end().len() {
            let cut: String = text.chars().take(length).collect();
            assert!(SigningKey::from_pem(&cut).is_err());
        }
    }
}

#[test]
fn a_problem_says_what_is_allowed_and_nothing_of_the_file() {
    const BEFORE: &str = "; must be one private key in PEM, unencrypted (PKCS#8, PKCS#1 or SEC1): \
                          RSA with at least 2048 bits, or EC on P-256";
    for (file, problem) in refused() {
        let said = problem.to_string();
        let reason = said.strip_suffix(BEFORE).expect(&said);
        for line in file.lines().filter(|line| !line.starts_with("-----")) {
            assert!(line.len() < 8 || !said.contains(line), "{said}");
        }
        assert!(!said.contains("CANARY"), "{said}");
        assert!(!reason.is_empty());
    }
    let says = |problem: KeyProblem, reason: &str| {
        assert_eq!(problem.to_string(), format!("{reason}{BEFORE}"));
    };
    says(
        KeyProblem::RsaTooShort(1024),
        "is an RSA key of only 1024 bits",
    );
    says(KeyProblem::Other("an Ed25519 key"), "is an Ed25519 key");
    says(
        KeyProblem::Pem(Problem::Unfinished),
        "is truncated: a PEM block in it has no -----END …----- of its own",
    );
}

#[test]
fn a_key_shows_nothing_of_itself() {
    let key = read(&pem("RSA PRIVATE KEY", rsa()));
    assert_eq!(format!("{key:?} {key:#?}"), "[redacted] [redacted]");
}

#[test]
fn a_certificate_is_named_by_the_digest_of_its_bytes() {
    let key = p256();
    let (first, second) = (certificate(&key), certificate(&p256()));
    let name = crate::exchange::digest::sha256_base64url(first.der());
    for file in [
        first.pem(),
        first.pem().replace('\n', "\r\n"),
        format!("subject=CN = client\n{}", first.pem()),
        format!("{}{}", first.pem(), second.pem()),
        format!("{}{}", key.serialize_pem(), first.pem()),
    ] {
        let read = Certificate::from_pem(&file).unwrap();
        assert_eq!(read.thumbprint(), name, "{file}");
        assert_eq!(read.thumbprint().len(), 43);
    }
    let key_alone = key.serialize_pem();
    let bytes = first.der().as_ref();
    for (file, problem) in [
        ("".to_owned(), CertificateProblem::Pem(Problem::NoBlock)),
        (key_alone, CertificateProblem::None),
        (
            pem("CERTIFICATE", &bytes[..bytes.len() - 1]),
            CertificateProblem::Damaged,
        ),
        (
            pem("CERTIFICATE", &[bytes, &[0]].concat()),
            CertificateProblem::Damaged,
        ),
        (pem("CERTIFICATE", b"any"), CertificateProblem::Damaged),
    ] {
        assert_eq!(Certificate::from_pem(&file), Err(problem), "{file}");
        let said = problem.to_string();
        let allowed = "; must be the certificate of the client's key in PEM";
        assert!(said.ends_with(allowed), "{said}");
    }
}

#[test]
fn a_key_knows_its_certificates_if_its_file_has_the_public_half() {
    let read_certificate = |key: &KeyPair| Certificate::from_pem(&certificate(key).pem()).unwrap();
    let rsa_key = read(&pem("RSA PRIVATE KEY", rsa()));
    let (ours, other) = (p256(), p256());
    let (number, point) = numbers_of(&ours);
    let ec_key = read(&ours.serialize_pem());
    let compressed = [&[2 | point[64] & 1], &point[1..33]].concat();
    let compressed = p256_pkcs8(&sec1(&number, None, Some(&compressed)));
    let compressed = read(&pem("PRIVATE KEY", &compressed));
    let bare = read(&pem("EC PRIVATE KEY", &sec1(&number, Some(P256), None)));
    let other_rsa = read(&pem("RSA PRIVATE KEY", &rsa_of(&[0x7f; 300])));
    let ed25519 = KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap();

    let of_rsa = read_certificate(&key_pair(&rsa_key));
    let (of_ec, of_other) = (read_certificate(&ours), read_certificate(&other));
    let of_ed25519 = read_certificate(&ed25519);
    for (key, certificate, owns) in [
        (&rsa_key, &of_rsa, Some(true)),
        (&other_rsa, &of_rsa, Some(false)),
        (&ec_key, &of_rsa, Some(false)),
        (&bare, &of_rsa, Some(false)),
        (&rsa_key, &of_ec, Some(false)),
        (&ec_key, &of_ec, Some(true)),
        (&compressed, &of_ec, Some(true)),
        (&ec_key, &of_other, Some(false)),
        (&compressed, &of_other, Some(false)),
        (&bare, &of_ec, None),
        (&bare, &of_ed25519, Some(false)),
        (&rsa_key, &of_ed25519, Some(false)),
    ] {
        assert_eq!(key.owns(certificate), owns);
    }
}

/// Bytes with some of them changed, gone or doubled.
fn mutated(bytes: Vec<u8>) -> impl Strategy<Value = Vec<u8>> {
    let change = (any::<proptest::sample::Index>(), any::<u8>(), 0..3u8);
    proptest::collection::vec(change, 1..4).prop_map(move |changes| {
        let mut bytes = bytes.clone();
        for (at, byte, how) in changes {
            let at = at.index(bytes.len());
            match how {
                0 => bytes[at] = byte,
                1 => drop(bytes.remove(at)),
                _ => bytes.insert(at, byte),
            }
        }
        bytes
    })
}

fn label() -> impl Strategy<Value = &'static str> {
    prop_oneof![
        Just("PRIVATE KEY"),
        Just("RSA PRIVATE KEY"),
        Just("EC PRIVATE KEY")
    ]
}

fn a_key() -> impl Strategy<Value = Vec<u8>> {
    let (number, point) = numbers_of(&p256());
    prop_oneof![
        mutated(rsa().to_vec()),
        mutated(rsa_pkcs8(rsa())),
        mutated(sec1(&number, Some(P256), Some(&point))),
        mutated(p256_pkcs8(&sec1(&ANY_NUMBER, None, Some(&point)))),
        proptest::collection::vec(any::<u8>(), 0..80),
    ]
}

proptest! {
    #[test]
    fn whatever_is_taken_for_a_key_is_one_to_the_next_reader(bytes in a_key(), label in label()) {
        if let Ok(key) = SigningKey::from_pem(&pem(label, &bytes)) {
            let again = SigningKey::from_pem(&pem("PRIVATE KEY", key.reveal()));
            prop_assert_eq!(again, Ok(key));
        }
    }

    #[test]
    fn no_certificate_is_too_strange(
        bytes in mutated(certificate(&p256()).der().to_vec()),
    ) {
        let read = Certificate::from_pem(&pem("CERTIFICATE", &bytes));
        prop_assert!(!matches!(read, Err(CertificateProblem::None)));
    }

    #[test]
    fn no_file_is_too_strange(text in any::<String>()) {
        prop_assert!(SigningKey::from_pem(&text).is_err());
        prop_assert!(Certificate::from_pem(&text).is_err());
        let _ = pem::blocks(&text);
    }
}
