//! The TH-JWT at the `token` door: whose it is, verified.

pub(crate) mod keys;
mod signatures;

use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use jsonwebtoken::{Algorithm, DecodingKey, crypto};
use lru::LruCache;
use serde::{Deserialize, Deserializer};
use serde_json::Value;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use self::keys::{KeySet, NoKeys};
use crate::session::{Digest, SessionId};
use crate::time::now_ms;

/// Clocks may differ by so many seconds, as `jwt_authn` allows.
const SKEW: f64 = 60.0;

const NO_JWT: Unverified = Unverified::Token("not a JWT");

/// Longer tokens are not looked at.
const LONGEST: usize = 16 * 1024;

/// So many tokens are remembered as verified; the oldest go first.
pub(crate) const KEPT: NonZeroUsize = NonZeroUsize::new(16_384).expect("not zero");

/// What a verified token says.
#[derive(Clone, Debug)]
pub(crate) struct Identity {
    /// Its session, if it names one that can be one.
    pub session: Option<SessionId>,
    /// The time of the login, in Unix seconds.
    pub login: Option<i64>,
}

/// Why a token was not verified.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unverified {
    /// It is not good. The words are for the log: the client learns no more than that.
    Token(&'static str),
    /// The keys cannot be had.
    NoKeys,
}

/// What tokens must be.
#[derive(Debug)]
pub(crate) struct Verifier {
    keys: KeySet,
    issuer: Option<String>,
    audiences: Vec<String>,
    /// Tokens whose signature was checked, by their digests. The same one comes for each of a user's
    /// providers, from each Envoy, and again and again.
    kept: Mutex<LruCache<Digest, Kept>>,
}

/// A token whose signature was checked.
#[derive(Debug)]
struct Kept {
    /// By which edition of the keys: a key that has gone may be what signed it.
    edition: u64,
    signed: Signed,
}

/// What a token says, signed by the auth server for whom it should be. Only time can spoil it.
#[derive(Clone, Debug)]
struct Signed {
    identity: Identity,
    /// `nbf` and `exp`, in Unix seconds.
    from: Option<f64>,
    until: f64,
}

impl Signed {
    fn now(&self) -> Result<Identity, Unverified> {
        #[allow(clippy::cast_precision_loss)] // far from any limit
        let now = now_ms() as f64 / 1000.0;
        if self.until < now - SKEW {
            return Err(Unverified::Token("expired"));
        }
        if self.from.is_some_and(|from| from > now + SKEW) {
            return Err(Unverified::Token("not valid yet"));
        }
        Ok(self.identity.clone())
    }
}

#[derive(Deserialize)]
struct Head {
    alg: String,
    kid: Option<String>,
    #[serde(default, deserialize_with = "present")]
    crit: Option<Value>,
}

#[derive(Deserialize)]
struct Claims {
    #[serde(default)]
    iss: Value,
    #[serde(default)]
    tsid: Value,
    #[serde(default)]
    iat: Value,
    #[serde(default)]
    exp: Value,
    #[serde(default, deserialize_with = "present")]
    nbf: Option<Value>,
    #[serde(default)]
    aud: Value,
}

impl Verifier {
    /// Tokens of `issuer` (`None`: any, for trials with sessions from a file) for one of
    /// `audiences` (none: any).
    #[must_use]
    pub(crate) fn new(keys: KeySet, issuer: Option<String>, audiences: Vec<String>) -> Self {
        signatures::check_with_ring();
        Self {
            keys,
            issuer,
            audiences,
            kept: Mutex::new(LruCache::new(KEPT)),
        }
    }

    /// Verifies a token.
    ///
    /// # Errors
    /// If it is not good, or nobody can say.
    pub(crate) async fn verify(&self, token: &str) -> Result<Identity, Unverified> {
        if token.len() > LONGEST {
            return Err(Unverified::Token("too long"));
        }
        let digest = Digest::of(token);
        if let Some(edition) = self.keys.edition()
            && let Some(kept) = self.kept().get(&digest)
            && kept.edition == edition
        {
            return kept.signed.now();
        }
        let (signed, edition) = self.signed(token).await?;
        let identity = signed.now()?;
        self.kept().put(digest, Kept { edition, signed });
        Ok(identity)
    }

    fn kept(&self) -> MutexGuard<'_, LruCache<Digest, Kept>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Checks who has signed a token, and for whom; and by which edition of the keys.
    async fn signed(&self, token: &str) -> Result<(Signed, u64), Unverified> {
        let head = head(token)?;
        let algorithm = match head.alg.as_str() {
            "ES256" => Algorithm::ES256,
            "RS256" => Algorithm::RS256,
            _ => return Err(Unverified::Token("another algorithm than ES256 and RS256")),
        };
        // None of the extensions that a token may insist on is known here.
        if head.crit.is_some() {
            return Err(Unverified::Token("an extension that is not known (crit)"));
        }
        let (keys, edition) = self
            .keys
            .candidates(head.kid.as_deref(), algorithm)
            .await
            .map_err(|NoKeys| Unverified::NoKeys)?;
        if keys.is_empty() {
            return Err(Unverified::Token(
                "a key that the auth server does not have",
            ));
        }
        let (signed, signature) = token.rsplit_once('.').ok_or(NO_JWT)?;
        let is_signed = |key: &Arc<DecodingKey>| {
            crypto::verify(signature, signed.as_bytes(), key, algorithm).unwrap_or(false)
        };
        if !keys.iter().any(is_signed) {
            return Err(Unverified::Token("not signed by the auth server"));
        }
        let (_, payload) = signed.split_once('.').ok_or(NO_JWT)?;
        let claims = URL_SAFE_NO_PAD.decode(payload).map_err(|_| NO_JWT)?;
        let claims = serde_json::from_slice(&claims).map_err(|_| NO_JWT)?;
        Ok((self.judge(&claims)?, edition))
    }

    /// What these claims, which are signed, say, if they are what they must be.
    fn judge(&self, claims: &Claims) -> Result<Signed, Unverified> {
        let until = claims
            .exp
            .as_f64()
            .ok_or(Unverified::Token("a claim is missing"))?;
        let from = match &claims.nbf {
            None => None,
            Some(nbf) => Some(nbf.as_f64().ok_or(NO_JWT)?),
        };
        if !self.audiences.is_empty() && !self.is_for_us(&claims.aud) {
            return Err(Unverified::Token("for another audience"));
        }
        if let Some(issuer) = &self.issuer
            && claims.iss.as_str() != Some(issuer)
        {
            return Err(Unverified::Token("another issuer"));
        }
        #[allow(clippy::cast_possible_truncation)] // saturates, as wanted
        let login = claims
            .iat
            .as_i64()
            .or_else(|| claims.iat.as_f64().map(|iat| iat as i64));
        Ok(Signed {
            identity: Identity {
                session: claims.tsid.as_str().and_then(SessionId::parse),
                login,
            },
            from,
            until,
        })
    }

    /// Whether the audience, or one of several, is one of ours.
    fn is_for_us(&self, audience: &Value) -> bool {
        let is_ours = |one: &Value| {
            one.as_str()
                .is_some_and(|one| self.audiences.iter().any(|ours| ours == one))
        };
        match audience {
            Value::Array(several) => several.iter().any(is_ours),
            one => is_ours(one),
        }
    }
}

/// A member that is there counts, even if it is `null`.
fn present<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Value>, D::Error> {
    Value::deserialize(from).map(Some)
}

fn head(token: &str) -> Result<Head, Unverified> {
    if token.split('.').count() != 3 {
        return Err(NO_JWT);
    }
    let head = token.split('.').next().ok_or(NO_JWT)?;
    let head = URL_SAFE_NO_PAD.decode(head).map_err(|_| NO_JWT)?;
    serde_json::from_slice(&head).map_err(|_| NO_JWT)
}

#[cfg(test)]
mod tests;
