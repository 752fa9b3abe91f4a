//! The TH-JWT: minted with ES256 by a key of this process, checked by Envoy's `jwt_authn` against
//! the JWKS of the same key.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use p256::ecdsa::signature::Signer;
use p256::ecdsa::{Signature, SigningKey};
use p256::elliptic_curve::Generate;
use serde_json::{Value, json};

use crate::canary;

/// The `iss` of a TH-JWT, unless told otherwise.
pub const ISSUER: &str = "https://vmcp.example.com";
/// The `aud` of a TH-JWT, unless told otherwise.
pub const AUDIENCE: &str = "https://mcp.example.com";
const KEY_ID: &str = "bed-1";

/// Signs TH-JWTs and publishes the key that checks them.
pub struct IdentityIssuer {
    key: SigningKey,
    name: String,
    audience: Value,
}

impl Default for IdentityIssuer {
    fn default() -> Self {
        Self::new()
    }
}

impl IdentityIssuer {
    /// An issuer with a fresh key.
    #[must_use]
    pub fn new() -> Self {
        Self::named(ISSUER, json!(AUDIENCE))
    }

    /// An issuer of this name, whose tokens are for this audience: a text or a list of texts.
    #[must_use]
    pub fn named(name: &str, audience: Value) -> Self {
        Self {
            key: SigningKey::generate(),
            name: name.to_owned(),
            audience,
        }
    }

    /// The `iss` of its tokens.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// A TH-JWT for `subject`'s session `tsid` that is valid for `lifetime`.
    #[must_use]
    pub fn mint(&self, subject: &str, tsid: &str, lifetime: Duration) -> String {
        self.mint_for(subject, tsid, lifetime, &self.audience)
    }

    /// The same for another audience.
    #[must_use]
    pub fn mint_for(
        &self,
        subject: &str,
        tsid: &str,
        lifetime: Duration,
        audience: &Value,
    ) -> String {
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .expect("after 1970");
        let claims = json!({
            "iss": self.name,
            "aud": audience,
            "sub": subject,
            "tsid": tsid,
            "iat": now.as_secs(),
            "exp": (now + lifetime).as_secs(),
        });
        let token = self.sign(&claims);
        canary::remember_identity(&token);
        token
    }

    /// A JWT with these claims, as they are: for tokens that are like a TH-JWT but are none.
    #[must_use]
    pub fn sign(&self, claims: &Value) -> String {
        let header = json!({"alg": "ES256", "typ": "JWT", "kid": KEY_ID});
        let signed = format!("{}.{}", part(&header), part(claims));
        let signature: Signature = self.key.sign(signed.as_bytes());
        let token = format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature.to_bytes()));
        canary::remember(&token);
        token
    }

    /// The key set that checks what [`Self::mint`] made.
    #[must_use]
    pub fn jwks(&self) -> Value {
        let point = self.key.verifying_key().to_sec1_point(false);
        // An uncompressed point is 0x04, then both coordinates of 32 bytes.
        let (x, y) = point.as_bytes()[1..].split_at(32);
        json!({"keys": [{
            "kty": "EC", "crv": "P-256", "alg": "ES256", "use": "sig", "kid": KEY_ID,
            "x": URL_SAFE_NO_PAD.encode(x),
            "y": URL_SAFE_NO_PAD.encode(y),
        }]})
    }
}

fn part(value: &Value) -> String {
    URL_SAFE_NO_PAD.encode(value.to_string())
}
