//! Tokens that are good, and the many ways in which they are not.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use jsonwebtoken::{EncodingKey, Header, encode};
use p256::ecdsa::SigningKey;
use p256::pkcs8::EncodePrivateKey as _;
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::*;
use crate::http::Client;
use crate::metrics::Metrics;
use crate::time::now_ms;

const ISSUER: &str = "https://as.example.com";

struct Signer {
    id: String,
    key: SigningKey,
}

impl Signer {
    fn new(id: &str) -> Self {
        let mut bytes = [0; 32];
        getrandom::fill(&mut bytes).unwrap();
        bytes[0] &= 0x7f;
        Self {
            id: id.to_owned(),
            key: SigningKey::from_slice(&bytes).unwrap(),
        }
    }

    fn jwk(&self) -> Value {
        let point = self.key.verifying_key().to_sec1_point(false);
        let bytes = point.as_bytes();
        json!({
            "kty": "EC", "crv": "P-256", "use": "sig", "kid": self.id,
            "x": URL_SAFE_NO_PAD.encode(&bytes[1..33]),
            "y": URL_SAFE_NO_PAD.encode(&bytes[33..]),
        })
    }

    fn sign(&self, header: &Header, claims: &Value) -> String {
        let der = self.key.to_pkcs8_der().unwrap();
        encode(header, claims, &EncodingKey::from_ec_der(der.as_bytes())).unwrap()
    }

    /// A token with this payload, whatever it is.
    fn sign_text(&self, payload: &str) -> String {
        use p256::ecdsa::signature::Signer as _;
        let part = |text: &str| URL_SAFE_NO_PAD.encode(text);
        let head = json!({"alg": "ES256", "kid": self.id}).to_string();
        let signed = format!("{}.{}", part(&head), part(payload));
        let signature: p256::ecdsa::Signature = self.key.sign(signed.as_bytes());
        format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature.to_bytes()))
    }

    fn token(&self, change: impl FnOnce(&mut Value)) -> String {
        let mut header = Header::new(Algorithm::ES256);
        header.kid = Some(self.id.clone());
        let mut claims = claims();
        change(&mut claims);
        self.sign(&header, &claims)
    }
}

fn claims() -> Value {
    let now = now_ms() / 1000;
    json!({
        "iss": ISSUER, "aud": ["https://mcp.example.com/mcp"], "sub": "u",
        "tsid": "7CT2ISRQ3VG3FPS2O5Q6EHXSIS", "iat": now - 100, "exp": now + 600,
    })
}

/// Keys and their `max-age`, or nothing but failures.
type Serves = Arc<std::sync::Mutex<Option<(Vec<Value>, u64)>>>;

/// A server of keys: what it serves can be changed, and it counts.
struct Jwks {
    address: SocketAddr,
    serves: Serves,
    asked: Arc<AtomicU64>,
}

impl Jwks {
    async fn start(keys: Vec<Value>, max_age: u64) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let serves = Arc::new(std::sync::Mutex::new(Some((keys, max_age))));
        let asked = Arc::new(AtomicU64::new(0));
        let (serve, count) = (Arc::clone(&serves), Arc::clone(&asked));
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let mut request = vec![0; 4096];
                let _ = stream.read(&mut request).await;
                count.fetch_add(1, Ordering::Relaxed);
                let answer = match serve.lock().unwrap().clone() {
                    Some((keys, age)) => {
                        let body = json!({ "keys": keys }).to_string();
                        format!(
                            "HTTP/1.1 200 OK\r\ncache-control: public, max-age={age}\r\n\
                             content-length: {}\r\nconnection: close\r\n\r\n{body}",
                            body.len()
                        )
                    }
                    None => "HTTP/1.1 503 x\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
                        .to_owned(),
                };
                let _ = stream.write_all(answer.as_bytes()).await;
            }
        });
        Self {
            address,
            serves,
            asked,
        }
    }

    fn set(&self, serves: Option<(Vec<Value>, u64)>) {
        *self.serves.lock().unwrap() = serves;
    }

    fn verifier(&self, audiences: &[&str]) -> Verifier {
        let http = Client::new(Duration::from_secs(5)).unwrap();
        let url = format!("http://{}/jwks.json", self.address);
        Verifier::new(
            KeySet::new(url, http, Arc::new(Metrics::default())),
            Some(ISSUER.to_owned()),
            audiences.iter().map(|text| (*text).to_owned()).collect(),
        )
    }
}

async fn refused(verifier: &Verifier, token: &str) -> &'static str {
    match verifier.verify(token).await {
        Err(Unverified::Token(why)) => why,
        other => panic!("{other:?} for {token}"),
    }
}

#[tokio::test]
async fn a_good_token_names_its_session_and_its_login() {
    let signer = Signer::new("k1");
    let jwks = Jwks::start(vec![json!({"kty": "OKP"}), signer.jwk()], 3600).await;
    let verifier = jwks.verifier(&["https://mcp.example.com/mcp", "https://other"]);
    for _ in 0..3 {
        let identity = verifier.verify(&signer.token(|_| {})).await.unwrap();
        assert_eq!(
            identity.session.unwrap().as_str(),
            "7CT2ISRQ3VG3FPS2O5Q6EHXSIS"
        );
        assert!(identity.login.unwrap() < now_ms() / 1000 - 90);
    }
    assert_eq!(jwks.asked.load(Ordering::Relaxed), 1, "keys are kept");
}

#[tokio::test]
async fn within_the_skew_clocks_may_differ() {
    let signer = Signer::new("k1");
    let jwks = Jwks::start(vec![signer.jwk()], 3600).await;
    let verifier = jwks.verifier(&[]);
    let now = now_ms() / 1000;
    for token in [
        signer.token(|claims| claims["exp"] = json!(now - 50)),
        signer.token(|claims| claims["nbf"] = json!(now + 50)),
        signer.token(|claims| claims["aud"] = json!("anything")),
    ] {
        assert!(verifier.verify(&token).await.is_ok());
    }
}

#[tokio::test]
async fn a_token_that_is_not_good_is_refused() {
    let signer = Signer::new("k1");
    let forger = Signer::new("k1");
    let jwks = Jwks::start(vec![signer.jwk()], 3600).await;
    let verifier = jwks.verifier(&["https://mcp.example.com/mcp"]);
    let now = now_ms() / 1000;
    let with = |header: Value| {
        let encode = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let message = format!("{}.{}", encode(&header), encode(&claims()));
        let signature = signer.token(|_| {}).rsplit('.').next().unwrap().to_owned();
        format!("{message}.{signature}")
    };
    let good = signer.token(|_| {});
    let mut altered = good.clone().into_bytes();
    let at = good.find('.').unwrap() + 5;
    altered[at] = if altered[at] == b'A' { b'B' } else { b'A' };
    for (what, token) in [
        (
            "expired",
            signer.token(|claims| claims["exp"] = json!(now - 70)),
        ),
        (
            "without exp",
            signer.token(|claims| claims["exp"] = json!(null)),
        ),
        (
            "exp as text",
            signer.token(|claims| claims["exp"] = json!("9999999999")),
        ),
        (
            "not valid yet",
            signer.token(|claims| claims["nbf"] = json!(now + 90)),
        ),
        (
            "nbf as text",
            signer.token(|claims| claims["nbf"] = json!("0")),
        ),
        (
            "nbf that is null",
            signer.token(|claims| claims["nbf"] = json!(null)),
        ),
        (
            "another issuer",
            signer.token(|claims| claims["iss"] = json!("https://evil")),
        ),
        (
            "no issuer",
            signer.token(|claims| claims["iss"] = json!(null)),
        ),
        (
            "issuer in a list",
            signer.token(|claims| claims["iss"] = json!([ISSUER])),
        ),
        (
            "another audience",
            signer.token(|claims| claims["aud"] = json!(["x"])),
        ),
        (
            "no audience",
            signer.token(|claims| claims["aud"] = json!([])),
        ),
        (
            "an audience that is no text",
            signer.token(|claims| claims["aud"] = json!({"https://mcp.example.com/mcp": 1})),
        ),
        ("claims that are none", signer.sign_text("[]")),
        (
            "a claim twice",
            signer.sign_text(r#"{"exp":1,"exp":9999999999}"#),
        ),
        ("forged", forger.token(|_| {})),
        ("altered", String::from_utf8(altered).unwrap()),
        ("no algorithm", with(json!({"alg": "none", "kid": "k1"}))),
        (
            "an HMAC with the public key",
            with(json!({"alg": "HS256", "kid": "k1"})),
        ),
        (
            "the other algorithm",
            with(json!({"alg": "RS256", "kid": "k1"})),
        ),
        (
            "crit",
            with(json!({"alg": "ES256", "kid": "k1", "crit": ["b64"]})),
        ),
        (
            "crit that is null",
            with(json!({"alg": "ES256", "kid": "k1", "crit": null})),
        ),
        (
            "no signature",
            format!("{}.", good.rsplit_once('.').unwrap().0),
        ),
        ("two parts", good.rsplit_once('.').unwrap().0.to_owned()),
        ("four parts", format!("{good}.x")),
        ("empty", String::new()),
        ("no JWT", "gho_token".to_owned()),
        ("too long", format!("{}.{}.x", "e30", "A".repeat(20_000))),
    ] {
        assert!(
            matches!(verifier.verify(&token).await, Err(Unverified::Token(_))),
            "{what}"
        );
    }
}

#[tokio::test]
async fn a_token_without_a_session_is_verified_all_the_same() {
    let signer = Signer::new("k1");
    let jwks = Jwks::start(vec![signer.jwk()], 3600).await;
    let verifier = jwks.verifier(&[]);
    for tsid in [json!(null), json!(5), json!("a:b"), json!(["x"]), json!("")] {
        let token = signer.token(|claims| claims["tsid"] = tsid);
        assert!(verifier.verify(&token).await.unwrap().session.is_none());
    }
}

#[tokio::test]
async fn a_flood_of_unknown_keys_costs_one_fetch() {
    let signer = Signer::new("k1");
    let jwks = Jwks::start(vec![signer.jwk()], 3600).await;
    let verifier = jwks.verifier(&[]);
    let began = std::time::Instant::now();
    for number in 0..50 {
        let stranger = Signer::new(&format!("unknown-{number}"));
        refused(&verifier, &stranger.token(|_| {})).await;
    }
    // One in ten seconds, however long a busy machine takes for this.
    let allowed = 1 + began.elapsed().as_secs() / 10;
    assert!(jwks.asked.load(Ordering::Relaxed) <= allowed);
    assert!(verifier.verify(&signer.token(|_| {})).await.is_ok());
}

#[tokio::test]
async fn a_key_that_is_new_is_fetched_at_once_and_then_not_for_ten_seconds() {
    let (old, new) = (Signer::new("old"), Signer::new("new"));
    let jwks = Jwks::start(vec![old.jwk()], 3600).await;
    let verifier = jwks.verifier(&[]);
    assert!(verifier.verify(&old.token(|_| {})).await.is_ok());
    jwks.set(Some((vec![new.jwk()], 3600)));
    let token = new.token(|_| {});
    let verified = futures_util::future::join_all((0..20).map(|_| verifier.verify(&token))).await;
    assert!(verified.iter().all(Result::is_ok));
    assert_eq!(jwks.asked.load(Ordering::Relaxed), 2, "one for all of them");
    refused(&verifier, &Signer::new("unknown").token(|_| {})).await;
    assert_eq!(jwks.asked.load(Ordering::Relaxed), 2);
    refused(&verifier, &old.token(|_| {})).await;
}

#[tokio::test]
async fn keys_rotate_and_those_that_have_gone_verify_nothing() {
    let (old, new) = (Signer::new("old"), Signer::new("new"));
    let jwks = Jwks::start(vec![old.jwk()], 1).await;
    let verifier = jwks.verifier(&[]);
    assert!(verifier.verify(&old.token(|_| {})).await.is_ok());
    jwks.set(Some((vec![new.jwk()], 1)));
    tokio::time::sleep(Duration::from_millis(1100)).await;
    assert!(verifier.verify(&new.token(|_| {})).await.is_ok());
    refused(&verifier, &old.token(|_| {})).await;

    jwks.set(None);
    tokio::time::sleep(Duration::from_millis(2200)).await;
    assert_eq!(
        verifier.verify(&new.token(|_| {})).await.unwrap_err(),
        Unverified::NoKeys,
        "old keys do not count, and there are no new ones"
    );
}

#[tokio::test]
async fn a_key_that_may_have_been_missed_is_no_stranger() {
    let (old, new) = (Signer::new("old"), Signer::new("new"));
    let jwks = Jwks::start(vec![old.jwk()], 3600).await;
    let verifier = jwks.verifier(&[]);
    assert!(verifier.verify(&old.token(|_| {})).await.is_ok());
    jwks.set(None);
    for _ in 0..20 {
        assert_eq!(
            verifier.verify(&new.token(|_| {})).await.unwrap_err(),
            Unverified::NoKeys
        );
    }
    assert!(verifier.verify(&old.token(|_| {})).await.is_ok());
    assert!(
        jwks.asked.load(Ordering::Relaxed) <= 3,
        "at most once in ten seconds"
    );
}

#[tokio::test]
async fn a_key_set_without_a_key_of_use_drops_those_that_were_there() {
    let (old, new) = (Signer::new("old"), Signer::new("new"));
    let jwks = Jwks::start(vec![old.jwk()], 3600).await;
    let verifier = jwks.verifier(&[]);
    let token = old.token(|_| {});
    assert!(verifier.verify(&token).await.is_ok());
    jwks.set(Some((Vec::new(), 3600)));
    for token in [new.token(|_| {}), token] {
        assert_eq!(
            verifier.verify(&token).await.unwrap_err(),
            Unverified::NoKeys
        );
    }
}

#[tokio::test]
async fn a_token_that_was_verified_before_still_ends() {
    let signer = Signer::new("k1");
    let jwks = Jwks::start(vec![signer.jwk()], 3600).await;
    let verifier = jwks.verifier(&[]);
    // A machine that stands still may get to it only after the minute that clocks may differ.
    let mut token = String::new();
    for attempt in 1.. {
        let exp = now_ms() / 1000 - 57;
        token = signer.token(|claims| claims["exp"] = json!(exp));
        if verifier.verify(&token).await.is_ok() {
            break;
        }
        let is_over = now_ms() >= (exp + 60) * 1000;
        assert!(is_over && attempt < 5, "within the skew");
    }
    let deadline = std::time::Instant::now() + Duration::from_secs(20);
    while verifier.verify(&token).await.is_ok() {
        assert!(std::time::Instant::now() < deadline, "it never ends");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert_eq!(refused(&verifier, &token).await, "expired");
}

#[tokio::test]
async fn a_token_that_was_verified_before_goes_with_its_key() {
    let (old, new) = (Signer::new("old"), Signer::new("new"));
    let jwks = Jwks::start(vec![old.jwk()], 1).await;
    let verifier = jwks.verifier(&[]);
    let token = old.token(|_| {});
    for _ in 0..2 {
        assert!(verifier.verify(&token).await.is_ok());
    }
    let altered = format!("{token}A");
    refused(&verifier, &altered).await;
    jwks.set(Some((vec![new.jwk()], 1)));
    let deadline = std::time::Instant::now() + Duration::from_secs(20);
    while verifier.verify(&token).await.is_ok() {
        assert!(std::time::Instant::now() < deadline, "it never goes");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}
