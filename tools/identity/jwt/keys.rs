//! The auth server's keys: fetched when they are wanted, kept as long as it says, asked for again
//! when a token names one that is not there.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, Jwk, PublicKeyUse};
use jsonwebtoken::{Algorithm, DecodingKey};
use serde::Deserialize;
use serde_json::Value;

use crate::http::Client;
use crate::log;
use crate::metrics::Metrics;

/// A key that is not there makes us ask at most so often.
const UNKNOWN_KEY: Duration = Duration::from_secs(10);
/// After a fetch that failed.
const AFTER_FAILURE: Duration = Duration::from_secs(1);
/// How long keys are kept if nobody says.
const USUAL_LIFE: Duration = Duration::from_secs(300);
const LONGEST_LIFE: Duration = Duration::from_secs(24 * 3600);

/// Keys that may have signed a token, and the edition of the set that they are from.
pub(crate) type Candidates = (Vec<Arc<DecodingKey>>, u64);

/// There is no key set to be had.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct NoKeys;

/// A key set at a URL.
#[derive(Clone, Debug)]
pub(crate) struct KeySet {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    url: String,
    /// The URL as it may be logged.
    shown: String,
    http: Client,
    metrics: Arc<Metrics>,
    held: Mutex<Held>,
    fetching: tokio::sync::Mutex<()>,
}

#[derive(Debug, Default)]
struct Held {
    keys: Vec<Key>,
    /// Which set this is: another one each time that keys were fetched.
    edition: u64,
    /// From when to when they count.
    life: Option<(Instant, Duration)>,
    /// The last attempt to fetch.
    tried: Option<Instant>,
    /// How many have ended.
    fetches: u64,
    /// The last one for a key that was not there.
    looked_for_unknown: Option<Instant>,
    /// Whether the last one failed: what is not there may exist all the same.
    failed: bool,
}

struct Key {
    id: Option<String>,
    algorithm: Algorithm,
    key: Arc<DecodingKey>,
}

impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Key")
            .field("id", &self.id)
            .finish_non_exhaustive()
    }
}

#[derive(Deserialize)]
struct Document {
    keys: Vec<Value>,
}

impl Held {
    fn are_good(&self) -> bool {
        self.life
            .is_some_and(|(since, life)| since.elapsed() < life)
    }

    fn are_old(&self) -> bool {
        self.life
            .is_some_and(|(since, life)| since.elapsed() > life / 5 * 4)
    }

    fn may_try(&self, pause: Duration) -> bool {
        self.tried.is_none_or(|at| at.elapsed() >= pause)
    }

    fn may_look_for_unknown(&self) -> bool {
        self.looked_for_unknown
            .is_none_or(|at| at.elapsed() >= UNKNOWN_KEY)
    }

    /// A token that names no key may be of any, and a key that has no name may be anybody's.
    fn candidates(&self, id: Option<&str>, algorithm: Algorithm) -> Candidates {
        let keys = self
            .keys
            .iter()
            .filter(|key| key.algorithm == algorithm)
            .filter(|key| match (id, &key.id) {
                (Some(wanted), Some(id)) => id == wanted,
                _ => true,
            })
            .map(|key| Arc::clone(&key.key))
            .collect();
        (keys, self.edition)
    }
}

impl KeySet {
    /// The keys at `url`.
    #[must_use]
    pub(crate) fn new(url: String, http: Client, metrics: Arc<Metrics>) -> Self {
        Self {
            shared: Arc::new(Shared {
                shown: shown(&url),
                url,
                http,
                metrics,
                held: Mutex::default(),
                fetching: tokio::sync::Mutex::default(),
            }),
        }
    }

    /// Which edition of the keys counts just now, if one does.
    #[must_use]
    pub(crate) fn edition(&self) -> Option<u64> {
        let held = self.shared.held();
        if !held.are_good() {
            return None;
        }
        if held.are_old() && held.may_try(UNKNOWN_KEY) {
            let shared = Arc::clone(&self.shared);
            tokio::spawn(async move { shared.fetch(Why::Ahead).await });
        }
        Some(held.edition)
    }

    /// The keys that may have signed a token with this `kid` and algorithm.
    ///
    /// # Errors
    /// If there are none at all, or none like this, because they cannot be fetched.
    pub(crate) async fn candidates(
        &self,
        id: Option<&str>,
        algorithm: Algorithm,
    ) -> Result<Candidates, NoKeys> {
        let good = self.edition().is_some();
        let (found, edition) = self.shared.held().candidates(id, algorithm);
        if good && !found.is_empty() {
            return Ok((found, edition));
        }
        let why = if good { Why::UnknownKey } else { Why::NoKeys };
        self.shared.fetch(why).await;
        let mut held = self.shared.held();
        if !held.are_good() {
            return Err(NoKeys);
        }
        let (found, edition) = held.candidates(id, algorithm);
        if found.is_empty() && held.failed {
            return Err(NoKeys);
        }
        if found.is_empty() && why == Why::NoKeys {
            // What was fetched just now does not have this key either.
            held.looked_for_unknown = held.tried;
        }
        Ok((found, edition))
    }
}

/// Why keys are fetched.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Why {
    /// There are none that count.
    NoKeys,
    /// A token names one that is not there.
    UnknownKey,
    /// They will not count much longer.
    Ahead,
}

/// What a key set has.
enum Fetched {
    /// Keys, and how long they count.
    Keys(Vec<Key>, Duration),
    /// None that can verify anything here.
    NoneOfUse,
}

impl Shared {
    fn held(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Fetches the keys, unless somebody has just tried. Whoever comes while a fetch is under way
    /// waits for it.
    async fn fetch(&self, why: Why) {
        let before = self.held().fetches;
        let _turn = self.fetching.lock().await;
        {
            let mut held = self.held();
            let is_done = held.fetches != before;
            let may = match why {
                Why::NoKeys => held.may_try(AFTER_FAILURE),
                Why::UnknownKey => held.may_look_for_unknown(),
                Why::Ahead => held.may_try(UNKNOWN_KEY),
            };
            if is_done || !may {
                return;
            }
            held.tried = Some(Instant::now());
            if why == Why::UnknownKey {
                held.looked_for_unknown = held.tried;
            }
        }
        let began = Instant::now();
        let fetched = self.ask().await;
        let mut held = self.held();
        held.fetches += 1;
        held.failed = fetched.is_err();
        match fetched {
            Ok(Fetched::Keys(keys, life)) => {
                held.keys = keys;
                held.edition += 1;
                held.life = Some((began, life));
                self.metrics.fetched_keys("ok");
            }
            Ok(Fetched::NoneOfUse) => {
                // The auth server's word: those that were there have gone.
                held.keys.clear();
                held.edition += 1;
                held.life = None;
                self.failed(&mut held, "no key for ES256 or RS256");
            }
            Err(why) => {
                if !held.are_good() {
                    held.keys.clear();
                }
                self.failed(&mut held, why);
            }
        }
    }

    fn failed(&self, held: &mut Held, why: &'static str) {
        held.tried = Some(Instant::now());
        self.metrics.fetched_keys("failed");
        log::limited(
            log::Level::Warn,
            "jwks",
            "the auth server's keys cannot be fetched",
            &[("url", &self.shown), ("reason", &why)],
        );
    }

    async fn ask(&self) -> Result<Fetched, &'static str> {
        let (answer, headers) = self
            .http
            .get_with_headers(&self.url)
            .await
            .map_err(|no_answer| no_answer.word())?;
        if answer.status != 200 {
            return Err("another status than 200");
        }
        let document: Document =
            serde_json::from_slice(&answer.body).map_err(|_| "not a key set")?;
        let keys: Vec<Key> = document.keys.into_iter().filter_map(key).collect();
        if keys.is_empty() {
            return Ok(Fetched::NoneOfUse);
        }
        let life = headers
            .get("cache-control")
            .and_then(|value| value.to_str().ok())
            .map_or(USUAL_LIFE, life);
        Ok(Fetched::Keys(keys, life))
    }
}

/// The URL without what may be a credential.
fn shown(url: &str) -> String {
    url::Url::parse(url).map_or_else(
        |_| "a URL that is none".to_owned(),
        |url| format!("{}{}", url.origin().ascii_serialization(), url.path()),
    )
}

fn life(cache_control: &str) -> Duration {
    let directive = |name: &str| {
        cache_control.split(',').find_map(|part| {
            let (key, value) = part.trim().split_once('=').unwrap_or((part.trim(), ""));
            key.eq_ignore_ascii_case(name)
                .then_some(value.trim_matches('"'))
        })
    };
    if directive("no-store").is_some() || directive("no-cache").is_some() {
        return Duration::from_secs(1);
    }
    directive("max-age")
        .and_then(|age| age.parse().ok())
        .map_or(USUAL_LIFE, Duration::from_secs)
        .clamp(Duration::from_secs(1), LONGEST_LIFE)
}

/// A key of the set that can verify, its algorithm told by its type. Others are of no use here, and
/// spoil nothing.
fn key(value: Value) -> Option<Key> {
    let stated = value.get("alg").and_then(Value::as_str).map(str::to_owned);
    let jwk: Jwk = serde_json::from_value(value).ok()?;
    if matches!(jwk.common.public_key_use, Some(PublicKeyUse::Encryption)) {
        return None;
    }
    let (algorithm, name) = match &jwk.algorithm {
        AlgorithmParameters::EllipticCurve(curve) if curve.curve == EllipticCurve::P256 => {
            (Algorithm::ES256, "ES256")
        }
        AlgorithmParameters::RSA(_) => (Algorithm::RS256, "RS256"),
        _ => return None,
    };
    if stated.is_some_and(|stated| stated != name) {
        return None;
    }
    Some(Key {
        id: jwk.common.key_id.clone(),
        algorithm,
        key: Arc::new(DecodingKey::from_jwk(&jwk).ok()?),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_credential_of_a_url_is_shown() {
        for (url, wanted) in [
            (
                "https://user:secret@as.example:8443/jwks.json?key=secret#secret",
                "https://as.example:8443/jwks.json",
            ),
            ("http://127.0.0.1:1/", "http://127.0.0.1:1/"),
            ("secret", "a URL that is none"),
        ] {
            assert_eq!(shown(url), wanted);
        }
    }

    #[test]
    fn keys_live_as_long_as_the_auth_server_says() {
        for (header, seconds) in [
            ("public, max-age=3600", 3600),
            ("Max-Age=\"60\"", 60),
            ("max-age=0", 1),
            ("no-store, max-age=60", 1),
            ("private", 300),
            ("max-age=soon", 300),
            ("max-age=99999999", 86_400),
        ] {
            assert_eq!(life(header), Duration::from_secs(seconds), "{header}");
        }
    }
}
