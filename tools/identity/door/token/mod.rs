//! The token door: `POST /token`, one provider's token for a TH-JWT (RFC 8693).

pub(crate) mod client;
pub(crate) mod form;

use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use http::header::{
    AUTHORIZATION, CACHE_CONTROL, CONTENT_TYPE, HeaderValue, PRAGMA, RETRY_AFTER, WWW_AUTHENTICATE,
};
use http::{Method, Request, Response, StatusCode};
use http_body_util::Full;
use serde::Serialize;

use self::client::Credentials;
use self::form::{Form, Kind};
use crate::core::{Core, DeadEnd, Found, Token};
use crate::jwt::{Identity, Unverified, Verifier};
use crate::log;
use crate::metrics::Metrics;
use crate::serve::body::whole;
use crate::session::store::StoreError;
use crate::time::now_ms;

/// The path that is served.
pub(crate) const PATH: &str = "/token";

/// Larger requests are refused: a TH-JWT of 16 KiB fits.
const LARGEST: usize = 64 * 1024;
/// What is told to a client that shall come again.
const COME_AGAIN: &str = "5";

/// A refusal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Refusal {
    status: StatusCode,
    word: &'static str,
    text: &'static str,
}

impl Refusal {
    const fn new(status: StatusCode, word: &'static str, text: &'static str) -> Self {
        Self { status, word, text }
    }

    const fn bad(word: &'static str, text: &'static str) -> Self {
        Self::new(StatusCode::BAD_REQUEST, word, text)
    }

    const fn later(word: &'static str, text: &'static str) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, word, text)
    }
}

const NOT_FOUND: Refusal = Refusal::bad(
    "upstream_token_not_found",
    "the session has no such token, and only a login brings one",
);
const STORE_AWAY: Refusal = Refusal::later(
    "temporarily_unavailable",
    "the session store cannot say just now",
);

/// What goes out.
type Answer = Response<Full<Bytes>>;

/// The door.
#[derive(Clone)]
pub(crate) struct Door {
    core: Arc<Core>,
    verifier: Arc<Verifier>,
    credentials: Option<Arc<Credentials>>,
    metrics: Arc<Metrics>,
}

struct Granted {
    token: String,
    kind: Kind,
    expires_at: Option<i64>,
}

impl Door {
    /// A door to this core; whoever asks must present `credentials`, if there are any.
    #[must_use]
    pub(crate) fn new(
        core: Arc<Core>,
        verifier: Verifier,
        credentials: Option<Credentials>,
        metrics: Arc<Metrics>,
    ) -> Self {
        Self {
            core,
            verifier: Arc::new(verifier),
            credentials: credentials.map(Arc::new),
            metrics,
        }
    }

    /// Answers a request.
    pub(crate) async fn answer<B>(&self, request: Request<B>) -> Answer
    where
        B: http_body::Body + Send,
        B::Data: Send,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let began = Instant::now();
        let (outcome, answer) = match self.grant(request).await {
            Ok(granted) => ("ok", granted.into_answer()),
            Err(refusal) => (refusal.word, refusal.into_answer()),
        };
        self.metrics.answered("token", outcome, began.elapsed());
        answer
    }

    async fn grant<B>(&self, request: Request<B>) -> Result<Granted, Refusal>
    where
        B: http_body::Body + Send,
        B::Data: Send,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let (head, body) = request.into_parts();
        // Whatever is refused is read first: many a client takes an answer to what it has not sent
        // yet for a broken stream.
        let body = whole(body, LARGEST).await;
        if head.uri.path() != PATH {
            return Err(Refusal::new(
                StatusCode::NOT_FOUND,
                "invalid_request",
                "the token endpoint is /token",
            ));
        }
        if head.method != Method::POST {
            return Err(Refusal::new(
                StatusCode::METHOD_NOT_ALLOWED,
                "invalid_request",
                "the token endpoint takes POST",
            ));
        }
        let is_form = head
            .headers
            .get(CONTENT_TYPE)
            .and_then(|value| value.to_str().ok())
            .and_then(|value| value.split(';').next())
            .is_some_and(|kind| {
                kind.trim()
                    .eq_ignore_ascii_case("application/x-www-form-urlencoded")
            });
        if !is_form {
            return Err(Refusal::bad(
                "invalid_request",
                "the body must be application/x-www-form-urlencoded",
            ));
        }
        let body = body.ok_or(Refusal::bad(
            "invalid_request",
            "the body broke off, is too large or takes too long",
        ))?;
        let form = Form::parse(&body).map_err(|text| Refusal::bad("invalid_request", text))?;
        if let Some(credentials) = &self.credentials {
            let authorization: Vec<HeaderValue> = head
                .headers
                .get_all(AUTHORIZATION)
                .iter()
                .cloned()
                .collect();
            credentials
                .check(&authorization, &form)
                .map_err(|why| match why {
                    client::Refused::Twice => Refusal::bad(
                        "invalid_request",
                        "the client authenticates in more than one way",
                    ),
                    client::Refused::Wrong => Refusal::new(
                        StatusCode::UNAUTHORIZED,
                        "invalid_client",
                        "client authentication failed",
                    ),
                })?;
        }
        let asked = form
            .exchange()
            .map_err(|(word, text)| Refusal::bad(word, text))?;
        if !self.core.knows(asked.provider) {
            return Err(Refusal::bad(
                "invalid_target",
                "audience is the name of no upstream of the auth server",
            ));
        }
        let identity = self.identify(asked.subject_token).await?;
        self.token(&asked, &identity).await
    }

    async fn identify(&self, token: &str) -> Result<Identity, Refusal> {
        self.verifier.verify(token).await.map_err(|why| match why {
            Unverified::Token(why) => {
                log::limited(
                    log::Level::Warn,
                    why,
                    "a subject token was refused",
                    &[("reason", &why)],
                );
                Refusal::bad("invalid_grant", "the subject token is not valid")
            }
            Unverified::NoKeys => Refusal::later(
                "temporarily_unavailable",
                "the auth server's keys cannot be had just now",
            ),
        })
    }

    async fn token(
        &self,
        asked: &form::Exchange<'_>,
        identity: &Identity,
    ) -> Result<Granted, Refusal> {
        let Some(session) = &identity.session else {
            return Err(NOT_FOUND);
        };
        let wanted = [asked.provider.to_owned()];
        let found = self
            .core
            .tokens(session, Some(&wanted), asked.rejected)
            .await
            .map_err(|error| match error {
                StoreError::Away(_) | StoreError::Refused(_) | StoreError::UnknownForm(_) => {
                    STORE_AWAY
                }
            })?;
        let found = found.into_iter().next();
        let token = found
            .as_ref()
            .map_or(&Token::Missing, |found| match asked.kind {
                Kind::Access => &found.access,
                Kind::Id => &found.id,
            });
        match token {
            Token::Held { token, expires_at } => Ok(Granted {
                token: token.clone(),
                kind: asked.kind,
                expires_at: *expires_at,
            }),
            Token::Unavailable => Err(Refusal::later(
                "upstream_token_unavailable",
                "the provider's token cannot be had just now",
            )),
            Token::Missing => {
                if self.login_helps(asked, found.as_ref()) {
                    self.core
                        .end(DeadEnd {
                            session,
                            signature: asked.subject_token.rsplit('.').next().unwrap_or_default(),
                            login: identity.login,
                        })
                        .await;
                }
                Err(NOT_FOUND)
            }
        }
    }

    /// No login brings an ID token of a provider that issues none.
    fn login_helps(&self, asked: &form::Exchange<'_>, found: Option<&Found>) -> bool {
        asked.kind == Kind::Access
            || (self.core.has_id_tokens(asked.provider)
                && found.is_none_or(|found| !found.without_id))
    }
}

/// The body of what is granted (RFC 8693 §2.2.1).
#[derive(Serialize)]
struct Body<'a> {
    access_token: &'a str,
    issued_token_type: &'a str,
    token_type: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    expires_in: Option<i64>,
}

impl Granted {
    fn into_answer(self) -> Answer {
        let now = now_ms() / 1000;
        json(
            StatusCode::OK,
            &Body {
                access_token: &self.token,
                issued_token_type: self.kind.uri(),
                token_type: self.kind.token_type(),
                expires_in: self.expires_at.map(|end| end.saturating_sub(now).max(0)),
            },
        )
    }
}

impl Refusal {
    fn into_answer(self) -> Answer {
        let mut answer = json(
            self.status,
            &serde_json::json!({"error": self.word, "error_description": self.text}),
        );
        let headers = answer.headers_mut();
        match self.status {
            StatusCode::SERVICE_UNAVAILABLE => {
                headers.insert(RETRY_AFTER, HeaderValue::from_static(COME_AGAIN));
            }
            StatusCode::UNAUTHORIZED => {
                headers.insert(
                    WWW_AUTHENTICATE,
                    HeaderValue::from_static("Basic realm=\"upstream-inject-identity\""),
                );
            }
            StatusCode::METHOD_NOT_ALLOWED => {
                headers.insert(http::header::ALLOW, HeaderValue::from_static("POST"));
            }
            _ => {}
        }
        answer
    }
}

fn json(status: StatusCode, body: &impl Serialize) -> Answer {
    // Texts and numbers can always be written.
    let body = serde_json::to_vec(body).unwrap_or_default();
    let mut answer = Response::new(Full::new(Bytes::from(body)));
    *answer.status_mut() = status;
    let headers = answer.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(PRAGMA, HeaderValue::from_static("no-cache"));
    answer
}
