//! What an operator and an orchestrator ask: metrics, and whether it is alive and ready.

use std::sync::Arc;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderValue};
use http::{Method, Request, Response, StatusCode};
use http_body::Body;
use http_body_util::Full;
use tokio::sync::watch;

use crate::core::Core;
use crate::metrics::Metrics;
use crate::serve::body::whole;

const IGNORED: usize = 64 * 1024;
const TEXT: &str = "text/plain; charset=utf-8";
const METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// The admin's door.
#[derive(Clone)]
pub(crate) struct Door {
    core: Arc<Core>,
    metrics: Arc<Metrics>,
    stop: watch::Receiver<bool>,
}

impl Door {
    /// A door that says "not ready" once `stop` is true.
    #[must_use]
    pub(crate) fn new(core: Arc<Core>, metrics: Arc<Metrics>, stop: watch::Receiver<bool>) -> Self {
        Self {
            core,
            metrics,
            stop,
        }
    }

    /// Answers a request.
    pub(crate) async fn answer<B>(&self, request: Request<B>) -> Response<Full<Bytes>>
    where
        B: Body,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let (method, path) = (request.method().clone(), request.uri().path().to_owned());
        // Nothing in it counts, but an answer before its end may be taken for a broken stream.
        let _ = whole(request.into_body(), IGNORED).await;
        if !matches!(method, Method::GET | Method::HEAD) {
            return say(
                StatusCode::METHOD_NOT_ALLOWED,
                TEXT,
                "GET only\n".to_owned(),
            );
        }
        match path.as_str() {
            "/metrics" => say(StatusCode::OK, METRICS, self.metrics.render()),
            "/healthz" => say(StatusCode::OK, TEXT, "ok\n".to_owned()),
            "/readyz" => self.ready().await,
            _ => say(
                StatusCode::NOT_FOUND,
                TEXT,
                "/metrics, /healthz and /readyz are here\n".to_owned(),
            ),
        }
    }

    async fn ready(&self) -> Response<Full<Bytes>> {
        const AWAY: StatusCode = StatusCode::SERVICE_UNAVAILABLE;
        if *self.stop.borrow() {
            return say(AWAY, TEXT, "draining\n".to_owned());
        }
        match self.core.ping().await {
            Ok(()) => say(StatusCode::OK, TEXT, "ok\n".to_owned()),
            Err(error) => say(AWAY, TEXT, format!("{error}\n")),
        }
    }
}

fn say(status: StatusCode, kind: &'static str, text: String) -> Response<Full<Bytes>> {
    let mut answer = Response::new(Full::new(Bytes::from(text)));
    *answer.status_mut() = status;
    answer
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    answer
}
