//! The `ext_authz` door: Envoy tells whose request it is, and learns which tokens are theirs.

pub(crate) mod answer;
pub(crate) mod bearer;
pub(crate) mod grpc;
pub(crate) mod request;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Instant;

use http::{Request, Response};
use tonic::{Code, Status};

use self::grpc::Framed;
use self::request::{Check, as_text, struct_field};
use crate::challenge::Challenge;
use crate::core::{Core, DeadEnd, Found, Token};
use crate::metrics::Metrics;
use crate::session::SessionId;
use crate::session::store::StoreError;

/// The method that is served.
pub(crate) const METHOD: &str = "/envoy.service.auth.v3.Authorization/Check";

/// How requests are judged.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    /// Where in `jwt_authn`'s namespace the payload is.
    pub payload_key: String,
    /// The auth server's issuer: a payload of another one is none. Not known: a payload of anybody.
    pub issuer: Option<String>,
    /// Paths of requests that are health checks.
    pub health_check_paths: Vec<String>,
    /// What a client is told when it must log in.
    pub challenge: Challenge,
}

/// The door.
#[derive(Clone)]
pub(crate) struct Door {
    core: Arc<Core>,
    settings: Arc<Settings>,
    metrics: Arc<Metrics>,
}

impl Door {
    /// A door to this core.
    #[must_use]
    pub(crate) fn new(core: Arc<Core>, settings: Settings, metrics: Arc<Metrics>) -> Self {
        Self {
            core,
            settings: Arc::new(settings),
            metrics,
        }
    }

    /// Answers a call of [`METHOD`].
    pub(crate) async fn answer<B>(&self, request: Request<B>) -> Response<tonic::body::Body>
    where
        B: http_body::Body,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let began = Instant::now();
        let (outcome, answer) = match grpc::message(request).await {
            Ok(message) => self.check(&message).await,
            Err(status) => ("invalid", Err(status)),
        };
        self.metrics.answered("check", outcome, began.elapsed());
        grpc::answer(answer)
    }

    /// Answers a serialized `CheckRequest` with a `CheckResponse`: `UNAVAILABLE` if the store cannot
    /// say, `INVALID_ARGUMENT` to what is no request. The word is for the metrics.
    async fn check(&self, message: &[u8]) -> (&'static str, Result<Framed, Status>) {
        let Ok(check) = request::read(message, &self.settings.payload_key) else {
            let status = Status::new(Code::InvalidArgument, "not a CheckRequest");
            return ("invalid", Err(status));
        };
        let health = self.is_health_check(&check);
        let Some(payload) = check.payload.filter(|payload| self.is_ours(payload)) else {
            return if health {
                ("health_check", Ok(answer::allowed(&[], true)))
            } else {
                ("denied", Ok(answer::denied(&self.settings.challenge)))
            };
        };
        let session = struct_field(payload, b"tsid")
            .ok()
            .flatten()
            .and_then(as_text)
            .and_then(SessionId::parse);
        let Some(session) = session else {
            return ("no_session", Ok(answer::allowed(&[], health)));
        };
        let named: Option<Vec<String>> = check.providers.map(|names| {
            names
                .split(',')
                .map(|name| name.trim().to_owned())
                .filter(|name| !name.is_empty())
                .collect()
        });
        if named.as_ref().is_some_and(Vec::is_empty) {
            return ("ok", Ok(answer::allowed(&[], health)));
        }
        match self.core.tokens(&session, named.as_deref(), None).await {
            Ok(found) => {
                if let Some(named) = &named {
                    self.end_dead_ends(&session, named, &found, payload, &check)
                        .await;
                }
                let outcome = if found.is_empty() {
                    "unknown_session"
                } else {
                    "ok"
                };
                (outcome, Ok(answer::allowed(&found, health)))
            }
            Err(error) => {
                let outcome = match error {
                    StoreError::UnknownForm(_) => "unknown_form",
                    _ => "unavailable",
                };
                let text = "the session store cannot say";
                (outcome, Err(Status::new(Code::Unavailable, text)))
            }
        }
    }

    fn is_health_check(&self, check: &Check<'_>) -> bool {
        let path = check.path.split('?').next().unwrap_or_default();
        self.settings
            .health_check_paths
            .iter()
            .any(|known| known == path)
    }

    /// Whether the payload says who issued the token, and that is the auth server, where it is known:
    /// what the filter itself takes for a checked payload.
    fn is_ours(&self, payload: &[u8]) -> bool {
        let issuer = struct_field(payload, b"iss")
            .ok()
            .flatten()
            .and_then(as_text)
            .filter(|issuer| !issuer.is_empty());
        match (&self.settings.issuer, issuer) {
            (Some(ours), Some(theirs)) => theirs == ours,
            (None, Some(_)) => true,
            (_, None) => false,
        }
    }

    async fn end_dead_ends(
        &self,
        session: &SessionId,
        named: &[String],
        found: &[Found],
        payload: &[u8],
        check: &Check<'_>,
    ) {
        let is_missing = |name: &String| {
            self.core.knows(name)
                && found
                    .iter()
                    .find(|found| found.provider == *name)
                    .is_none_or(|found| found.access == Token::Missing)
        };
        if !named.iter().any(is_missing) {
            return;
        }
        let signature = check
            .one_authorization()
            .and_then(|header| bearer::signature_of_checked(header, payload));
        let Some(signature) = signature else {
            return;
        };
        #[allow(clippy::cast_possible_truncation)] // saturates, as wanted
        let login = bearer::number(payload, "iat").map(|iat| iat as i64);
        self.core
            .end(DeadEnd {
                session,
                signature,
                login,
            })
            .await;
    }
}
