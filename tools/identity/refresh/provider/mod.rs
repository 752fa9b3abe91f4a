//! One upstream provider: how its token endpoint is found, and how it is asked to refresh.

pub(crate) mod answer;
mod discovery;
mod registration;
pub(crate) mod subject;

use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

pub(crate) use self::answer::Mapping;
use self::answer::{Judged, judge};
use self::discovery::Discovery;
use self::registration::Registration;
pub(crate) use self::registration::{key_id, upstream_id};
use super::machine::{Answer, Tokens};
use crate::http::{Client, NoAnswer, Raw};
use crate::session::store::Store;
use crate::time::now_ms;

/// A client's secret. It cannot be printed.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct ClientSecret(pub String);

impl fmt::Debug for ClientSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ClientSecret([redacted])")
    }
}

/// The client that ToolHive is at a provider.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct OAuthClient {
    /// Its id.
    pub id: String,
    /// Its secret, if it has one.
    pub secret: Option<ClientSecret>,
}

/// How an upstream's token endpoint and client are found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// By OpenID Connect Discovery.
    Oidc {
        /// The provider's issuer.
        issuer: String,
        /// Whether its endpoints may be without TLS.
        insecure: bool,
        /// The client.
        client: OAuthClient,
        /// The claim that says whose an ID token is.
        subject_claim: String,
    },
    /// As configured.
    OAuth2 {
        /// The token endpoint.
        token_endpoint: String,
        /// The client.
        client: OAuthClient,
    },
    /// In the store, where the auth server has put what it registered.
    Registered {
        /// What follows `dcr:` in the key.
        id: String,
    },
}

/// An upstream as configured.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Upstream {
    /// Its name.
    pub name: String,
    /// How it is reached.
    pub kind: Kind,
    /// The scopes that are asked for again.
    pub scopes: Vec<String>,
    /// The dialect of its answers, if it has one.
    pub mapping: Option<Mapping>,
}

/// How the client says who it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Style {
    Body,
    Basic,
}

/// What a call brought, and when to come again if it brought nothing.
pub(crate) struct Redeemed {
    /// The answer.
    pub answer: Answer,
    /// The provider's own wish.
    pub retry_after: Option<Duration>,
}

/// An upstream with what has been learnt of it.
#[derive(Debug)]
pub(crate) struct Provider {
    upstream: Upstream,
    discovery: Discovery,
    registration: Registration,
    /// It refused the configured scopes, and did well without.
    without_scope: AtomicBool,
    /// It refused the credential in the body, and took it as Basic.
    basic: AtomicBool,
    /// How long its newest access token lives, in milliseconds; 0 if it has not been seen.
    life_ms: AtomicI64,
}

/// Where to send what, as whom.
struct Target {
    endpoint: String,
    client: OAuthClient,
    style: Style,
}

/// How one redemption is tried: what it has learnt of the provider while it was refused.
struct Attempt {
    without_scope: bool,
    /// The client's way to say who it is, if the usual one was refused.
    style: Option<Style>,
    /// What was registered must be read anew.
    read_again: bool,
}

impl Provider {
    /// A provider of which nothing is known yet but its configuration.
    #[must_use]
    pub(crate) fn new(upstream: Upstream) -> Self {
        Self {
            upstream,
            discovery: Discovery::default(),
            registration: Registration::default(),
            without_scope: AtomicBool::new(false),
            basic: AtomicBool::new(false),
            life_ms: AtomicI64::new(0),
        }
    }

    /// Its name.
    #[must_use]
    pub(crate) fn name(&self) -> &str {
        &self.upstream.name
    }

    /// Whether its logins can bring an ID token that anybody has checked.
    #[must_use]
    pub(crate) fn is_oidc(&self) -> bool {
        matches!(self.upstream.kind, Kind::Oidc { .. })
    }

    /// How long its newest access token lives, if one has been seen.
    #[must_use]
    pub(crate) fn life_ms(&self) -> Option<i64> {
        let life = self.life_ms.load(Ordering::Relaxed);
        (life > 0).then_some(life)
    }

    /// Redeems `refresh_token`, which belongs to the user whom the provider calls `subject`
    /// (RFC 6749 §6).
    pub(crate) async fn redeem(
        &self,
        http: &Client,
        store: &dyn Store,
        refresh_token: &str,
        subject: &str,
    ) -> Redeemed {
        let mut attempt = Attempt {
            without_scope: self.without_scope.load(Ordering::Relaxed),
            style: None,
            read_again: false,
        };
        // A provider can refuse the scopes, the style and an old registration, each once; what it
        // has refused it has not redeemed.
        for _ in 0..4 {
            let target = match self.target(http, store, &attempt).await {
                Ok(target) => target,
                Err(answer) => return answer.into(),
            };
            let raw = match self.ask(http, &target, &attempt, refresh_token).await {
                Ok(raw) => raw,
                Err(no_answer) => return Answer::NotNow(no_answer.word()).into(),
            };
            let judged = judge(&raw, self.upstream.mapping.as_ref(), now_ms());
            if let Judged::Refused(word) = judged
                && self.can_ask_otherwise(word, &target, &mut attempt)
            {
                continue;
            }
            if let Judged::Tokens(_) = judged {
                self.basic
                    .store(target.style == Style::Basic, Ordering::Relaxed);
            }
            return Redeemed {
                answer: self.conclude(judged, subject),
                retry_after: raw.retry_after,
            };
        }
        Answer::NoUse("refused in every way").into()
    }

    /// Whether something else is worth asking after this refusal. What counts is how this request
    /// was made: others may be under way, and have learnt the same.
    fn can_ask_otherwise(&self, word: &str, target: &Target, attempt: &mut Attempt) -> bool {
        match word {
            "invalid_scope" => {
                self.without_scope.store(true, Ordering::Relaxed);
                !self.upstream.scopes.is_empty()
                    && !std::mem::replace(&mut attempt.without_scope, true)
            }
            "invalid_client" => match self.upstream.kind {
                Kind::OAuth2 { .. } => {
                    let other = match target.style {
                        Style::Body => Style::Basic,
                        Style::Basic => Style::Body,
                    };
                    target.client.secret.is_some() && attempt.style.replace(other).is_none()
                }
                Kind::Registered { .. } => !std::mem::replace(&mut attempt.read_again, true),
                Kind::Oidc { .. } => false,
            },
            _ => false,
        }
    }

    fn conclude(&self, judged: Judged, subject: &str) -> Answer {
        match judged {
            Judged::Tokens(tokens) => self.check_subject(tokens, subject),
            Judged::Dead(word) => Answer::Dead(word),
            Judged::Refused(word) | Judged::Nonsense(word) => Answer::NoUse(word),
            Judged::NotNow(word) => Answer::NotNow(word),
        }
    }

    fn check_subject(&self, tokens: Tokens, subject: &str) -> Answer {
        let life = tokens
            .expires_at
            .saturating_mul(1000)
            .saturating_sub(now_ms());
        self.life_ms.store(life.max(0), Ordering::Relaxed);
        match (&self.upstream.kind, &tokens.id_token) {
            (Kind::Oidc { subject_claim, .. }, Some(id_token))
                if !subject::is(id_token, subject_claim, subject) =>
            {
                Answer::OtherSubject(tokens)
            }
            _ => Answer::Tokens(tokens),
        }
    }

    async fn target(
        &self,
        http: &Client,
        store: &dyn Store,
        attempt: &Attempt,
    ) -> Result<Target, Answer> {
        match &self.upstream.kind {
            Kind::Oidc {
                issuer,
                insecure,
                client,
                ..
            } => Ok(Target {
                endpoint: self
                    .discovery
                    .token_endpoint(http, issuer, *insecure)
                    .await?,
                client: client.clone(),
                style: Style::Body,
            }),
            Kind::OAuth2 {
                token_endpoint,
                client,
            } => Ok(Target {
                endpoint: token_endpoint.clone(),
                client: client.clone(),
                style: attempt
                    .style
                    .unwrap_or(if self.basic.load(Ordering::Relaxed) {
                        Style::Basic
                    } else {
                        Style::Body
                    }),
            }),
            Kind::Registered { id } => {
                self.registration
                    .target(store, id, attempt.read_again)
                    .await
            }
        }
    }

    async fn ask(
        &self,
        http: &Client,
        target: &Target,
        attempt: &Attempt,
        refresh_token: &str,
    ) -> Result<Raw, NoAnswer> {
        let (form, basic) = self.form(target, attempt, refresh_token);
        http.post_form(&target.endpoint, form, basic).await
    }

    /// What is sent: the form, and the `authorization` header if the credential is not in it.
    fn form(
        &self,
        target: &Target,
        attempt: &Attempt,
        refresh_token: &str,
    ) -> (String, Option<String>) {
        let mut form = form_urlencoded::Serializer::new(String::new());
        form.append_pair("grant_type", "refresh_token")
            .append_pair("refresh_token", refresh_token);
        if !self.upstream.scopes.is_empty() && !attempt.without_scope {
            form.append_pair("scope", &self.upstream.scopes.join(" "));
        }
        let mut basic = None;
        match (target.style, &target.client.secret) {
            (Style::Basic, Some(secret)) => {
                basic = Some(credentials(&target.client.id, &secret.0));
            }
            (_, secret) => {
                form.append_pair("client_id", &target.client.id);
                if let Some(secret) = secret {
                    form.append_pair("client_secret", &secret.0);
                }
            }
        }
        (form.finish(), basic)
    }
}

/// Basic credentials of RFC 6749 §2.3.1: both parts form-encoded, a space as `%20`, since some
/// servers take `+` for itself.
fn credentials(id: &str, secret: &str) -> String {
    let encode = |text: &str| {
        form_urlencoded::byte_serialize(text.as_bytes())
            .collect::<String>()
            .replace('+', "%20")
    };
    format!(
        "Basic {}",
        STANDARD.encode(format!("{}:{}", encode(id), encode(secret)))
    )
}

impl From<Answer> for Redeemed {
    fn from(answer: Answer) -> Self {
        Self {
            answer,
            retry_after: None,
        }
    }
}
