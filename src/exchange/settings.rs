//! What an exchange is configured to be, and what may be remembered of it.

use super::client::ClientAuth;
use super::grant::Grant;
use crate::table::Places;
use std::hash::{Hash, Hasher};
use std::time::Duration;

/// One way to obtain a token: the token endpoints and every parameter that could make their answers
/// differ. Two equal values are the same exchange and may share answers; any difference keeps them
/// apart.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Exchange {
    /// What the token is for.
    pub purpose: Purpose,
    /// The call that the subject token goes into.
    pub first: TokenCall,
    /// The call that what the first one brought goes into, if there is one.
    pub second: Option<TokenCall>,
    /// Whether the subject is the TH-JWT, which no answer may hand back: it would go to a backend.
    pub subject_is_identity_token: bool,
    /// Whether the key has an actor token too.
    pub has_actor: bool,
    /// What the backend's own settings say of the token's life.
    pub terms: Terms,
}

/// What a token is for, and so what a failure means.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Purpose {
    /// It goes to a backend.
    Backend,
    /// It is the user's upstream token of that provider.
    Identity {
        /// The provider.
        provider: String,
    },
}

impl Purpose {
    /// The provider whose token it is, if it is one's.
    pub fn provider(&self) -> Option<&str> {
        match self {
            Purpose::Backend => None,
            Purpose::Identity { provider } => Some(provider),
        }
    }
}

impl Exchange {
    /// The call of that step.
    pub fn call(&self, step: Step) -> Option<&TokenCall> {
        match step {
            Step::First => Some(&self.first),
            Step::Second => self.second.as_ref(),
        }
    }

    /// The longest time that all calls together may take.
    pub fn timeout(&self) -> Duration {
        let second = self.second.as_ref();
        let second = second.map_or(Duration::ZERO, |call| call.timeout);
        self.first.timeout.saturating_add(second)
    }

    /// All of it as bytes: two are equal if and only if the exchanges are.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut parts = Parts(Vec::new());
        self.hash(&mut parts);
        parts.0
    }
}

/// Takes down what is fed to a hash. The derived `Hash` feeds every field that the derived equality
/// compares, each so that no two values feed the same, so that no parameter can be forgotten here.
struct Parts(Vec<u8>);

impl Hasher for Parts {
    // Once, and not at each of the many fields: it runs when a configuration loads.
    #[inline(never)]
    fn write(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
    }

    fn finish(&self) -> u64 {
        0
    }
}

/// Which of an exchange's calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Step {
    /// The one that the subject token goes into.
    First,
    /// The one that follows.
    Second,
}

/// One call to a token endpoint.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct TokenCall {
    /// What log lines call it, where an exchange has two: `idp` or `target`.
    pub name: &'static str,
    /// The token endpoint as configured: with the cluster, what the breaker and log lines name.
    pub token_url: String,
    /// The Envoy cluster that reaches it.
    pub cluster: String,
    /// `:authority` of the call.
    pub authority: String,
    /// `:path` of the call, with the query.
    pub path: String,
    /// How the client authenticates.
    pub client: ClientAuth,
    /// What is sent, and what counts as an answer.
    pub grant: Grant,
    /// `parameters`: further form fields, by name; the values of one in the order configured.
    pub parameters: Vec<(String, String)>,
    /// `stsErrors`: what error words of this endpoint mean, before the table.
    pub sts_errors: Vec<(String, Meaning)>,
    /// How long to wait for the answer.
    pub timeout: Duration,
}

/// What an error word of a token endpoint means.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Meaning {
    /// The subject is refused: log in again.
    Rejected,
    /// The target, or the scope, is denied.
    Forbidden,
    /// The user must do more than to log in.
    StepUp,
    /// This client, or its request, is refused.
    Misconfigured,
    /// The endpoint cannot serve just now.
    Unavailable,
    /// The user has no token of this provider.
    NotFound,
}

/// What a backend's own settings say of its token's life; what they leave open, [`CachePolicy`] says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Terms {
    /// How long a token lives of which nobody says.
    pub assumed_lifetime: Option<Duration>,
    /// The longest time a token is kept.
    pub max_age: Option<Duration>,
    /// A token is not used in this last part of its life.
    pub expiry_skew: Option<Duration>,
    /// Whether a token in use is renewed ahead.
    pub refresh_ahead: Option<bool>,
    /// Whether the subject's own end bounds the token's life only if the endpoint says nothing.
    pub subject_bounds_only_unstated: bool,
}

/// The place of an [`Exchange`] in the plan. Backends whose exchange is the same in every parameter
/// share one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ExchangeId(pub u32);

/// Every distinct exchange of a plan, each in the place that its [`ExchangeId`] says.
#[derive(Debug, Default)]
pub struct Exchanges {
    distinct: Vec<Exchange>,
    places: Places,
}

impl Exchanges {
    /// The id of `exchange`; equal ones share one.
    pub fn add(&mut self, exchange: Exchange) -> ExchangeId {
        let distinct = &mut self.distinct;
        let hash = self.places.hash(&exchange.to_bytes());
        let is_it = |place: usize| distinct.get(place) == Some(&exchange);
        let place = self.places.find(hash, is_it).unwrap_or_else(|| {
            let place = distinct.len();
            self.places.insert(hash, place);
            distinct.push(exchange);
            place
        });
        // A document in 32-bit memory has no room for more.
        ExchangeId(u32::try_from(place).unwrap_or(u32::MAX))
    }

    /// All of them, in the order of their ids.
    pub fn into_vec(self) -> Vec<Exchange> {
        self.distinct
    }
}

/// `tokenCache`: bounds on what is remembered of exchanges, by each worker, and by all together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CachePolicy {
    /// The most tokens; 0 turns caching off.
    pub max_entries: usize,
    /// The most bytes of keys and tokens together.
    pub max_bytes: usize,
    /// Whether one exchange serves all workers of the Envoy.
    pub share: bool,
    /// The longest time a token is kept.
    pub max_ttl: Duration,
    /// A token is not used in this last part of its life.
    pub expiry_skew: Duration,
    /// Whether a token in use is renewed in the last fifth of its usable life.
    pub refresh_ahead: bool,
    /// How long a refused subject is remembered; zero turns it off.
    pub negative_ttl: Duration,
}

/// What holds unless the configuration says otherwise, for tests of what a policy does.
#[cfg(test)]
impl Default for CachePolicy {
    fn default() -> Self {
        Self {
            max_entries: 4096,
            max_bytes: 64 << 20,
            share: true,
            max_ttl: Duration::from_secs(3600),
            expiry_skew: Duration::from_secs(15),
            refresh_ahead: true,
            negative_ttl: Duration::from_secs(10),
        }
    }
}
