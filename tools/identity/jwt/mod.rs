//! The TH-JWT at the `token` door: whose it is, verified.

pub mod keys;

use jsonwebtoken::{Algorithm, Validation, decode};
use serde::Deserialize;
use serde_json::Value;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use self::keys::{KeySet, NoKeys};
use crate::session::SessionId;

/// Clocks may differ by so many seconds, as `jwt_authn` allows.
const SKEW: u64 = 60;

/// Longer tokens are not looked at.
const LONGEST: usize = 16 * 1024;

/// What a verified token says.
#[derive(Debug)]
pub struct Identity {
    /// Its session, if it names one that can be one.
    pub session: Option<SessionId>,
    /// The time of the login, in Unix seconds.
    pub login: Option<i64>,
}

/// Why a token was not verified.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unverified {
    /// It is not good. The words are for the log: the client learns no more than that.
    Token(&'static str),
    /// The keys cannot be had.
    NoKeys,
}

/// What tokens must be.
#[derive(Debug)]
pub struct Verifier {
    keys: KeySet,
    issuer: Option<String>,
    audiences: Vec<String>,
}

#[derive(Deserialize)]
struct Head {
    alg: String,
    kid: Option<String>,
    #[serde(default)]
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
}

impl Verifier {
    /// Tokens of `issuer` (`None`: any, for trials with sessions from a file) for one of
    /// `audiences` (none: any).
    #[must_use]
    pub fn new(keys: KeySet, issuer: Option<String>, audiences: Vec<String>) -> Self {
        Self {
            keys,
            issuer,
            audiences,
        }
    }

    /// Verifies a token.
    ///
    /// # Errors
    /// If it is not good, or nobody can say.
    pub async fn verify(&self, token: &str) -> Result<Identity, Unverified> {
        if token.len() > LONGEST {
            return Err(Unverified::Token("too long"));
        }
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
        let keys = self
            .keys
            .candidates(head.kid.as_deref(), algorithm)
            .await
            .map_err(|NoKeys| Unverified::NoKeys)?;
        if keys.is_empty() {
            return Err(Unverified::Token(
                "a key that the auth server does not have",
            ));
        }
        let validation = self.validation(algorithm);
        let mut why = "not signed by the auth server";
        for key in keys {
            match decode::<Claims>(token, &key, &validation) {
                Ok(verified) => return self.identity(&verified.claims),
                Err(error) => why = word(error.kind()).unwrap_or(why),
            }
        }
        Err(Unverified::Token(why))
    }

    fn validation(&self, algorithm: Algorithm) -> Validation {
        let mut validation = Validation::new(algorithm);
        validation.leeway = SKEW;
        validation.validate_nbf = true;
        validation.set_required_spec_claims(&["exp"]);
        if self.audiences.is_empty() {
            validation.validate_aud = false;
        } else {
            validation.set_required_spec_claims(&["exp", "aud"]);
            validation.set_audience(&self.audiences);
        }
        validation
    }

    fn identity(&self, claims: &Claims) -> Result<Identity, Unverified> {
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
        Ok(Identity {
            session: claims.tsid.as_str().and_then(SessionId::parse),
            login,
        })
    }
}

fn head(token: &str) -> Result<Head, Unverified> {
    const NONE: Unverified = Unverified::Token("not a JWT");
    if token.split('.').count() != 3 {
        return Err(NONE);
    }
    let head = token.split('.').next().ok_or(NONE)?;
    let head = URL_SAFE_NO_PAD.decode(head).map_err(|_| NONE)?;
    serde_json::from_slice(&head).map_err(|_| NONE)
}

fn word(error: &jsonwebtoken::errors::ErrorKind) -> Option<&'static str> {
    use jsonwebtoken::errors::ErrorKind as Kind;
    Some(match error {
        Kind::ExpiredSignature => "expired",
        Kind::ImmatureSignature => "not valid yet",
        Kind::InvalidAudience => "for another audience",
        Kind::MissingRequiredClaim(_) => "a claim is missing",
        Kind::InvalidSignature | Kind::InvalidAlgorithm => return None,
        _ => "not a JWT",
    })
}

#[cfg(test)]
mod tests;
