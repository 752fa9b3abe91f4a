//! Refusals, carried out: the answer to the client, and what operators see of it.

use super::abi::{HostClock, Map};
use super::effective::OnStream;
use super::plugin::Plugin;
use crate::backend::Backend;
use crate::exchange::ExchangeId;
use crate::exchange::answer::{FailureKind, StsError};
use crate::observe::counters::{Counter, Outcome};
use crate::observe::limiter::Line;
use crate::quote::json_string;
use crate::refusal::{About, Refusal};
use crate::time::Clock;
use log::warn;

/// What a refusal has to do with an STS, for the log line.
#[derive(Clone, Copy)]
pub(super) struct AtSts {
    /// Which exchange it was.
    pub exchange: ExchangeId,
    /// What the STS said, where it is one of the known words.
    pub error: Option<StsError>,
    /// How the call failed, if one was made for this request.
    pub kind: Option<FailureKind>,
}

impl Plugin {
    /// Answers the request of the effective context. Always false: the request does not go on.
    pub(super) fn refuse(
        &self,
        stream: &OnStream<'_>,
        backend: &Backend,
        refusal: Refusal,
        sts: Option<AtSts>,
    ) -> bool {
        let about = About {
            backend: Some(&*backend.name).filter(|name| !name.is_empty()),
            provider: backend
                .strategy
                .as_ref()
                .and_then(|strategy| strategy.provider()),
            grpc: is_grpc(stream),
        };
        let reply = refusal.reply(&about, self.challenges.of(&backend.name));
        let code = reply.code.as_str();
        self.count(backend.id, Counter::Backend(Outcome::Refused(reply.code)));
        self.warn_of(backend, &about, refusal, sts);
        let details = format!("upstream_inject:{code}");
        // Whether the access log can say why does not change the answer.
        let _ = stream.set_property("upstream_inject.outcome", code.as_bytes());
        let _ = stream.set_property("upstream_inject.backend", backend.name.as_bytes());
        let sent = stream.reply(reply.status, &details, &reply.headers, &reply.body);
        if sent.is_err() {
            warn!("{code}: Envoy did not take the answer; the request is not forwarded");
        }
        false
    }

    fn warn_of(&self, backend: &Backend, about: &About<'_>, refusal: Refusal, sts: Option<AtSts>) {
        let code = refusal.code();
        let admitted = self
            .limiter
            .borrow_mut()
            .admit(Line::Refusal(backend.id, code), HostClock.steady());
        let Some(left_out) = admitted else {
            return;
        };
        let mut line = format!("{}: backend {}", code.as_str(), json_string(&backend.name));
        if let Some(provider) = about.provider {
            line.push_str(&format!(", provider {}", json_string(provider)));
        }
        if let Some(sts) = sts {
            line.push_str(&self.described(sts));
        }
        line.push_str(": ");
        line.push_str(refusal.hint());
        if left_out > 0 {
            line.push_str(&format!(" ({left_out} more since the last such line)"));
        }
        warn!("{line}");
    }

    fn described(&self, sts: AtSts) -> String {
        let mut text = String::new();
        if let Some(exchange) = self.engine.borrow().exchange(sts.exchange) {
            text.push_str(&format!(", STS cluster {}", json_string(&exchange.cluster)));
        }
        if sts.kind == Some(FailureKind::UnknownCluster) {
            text.push_str(" (Envoy has no cluster of that name)");
        }
        if let Some(error) = sts.error {
            text.push_str(&format!(", the STS said {}", error.as_str()));
        }
        text
    }
}

/// As Envoy decides it: `application/grpc`, alone or with a suffix such as `+proto`.
fn is_grpc(stream: &OnStream<'_>) -> bool {
    let content_type = stream
        .header(Map::Request, "content-type")
        .unwrap_or_default();
    match content_type.strip_prefix(b"application/grpc") {
        Some(rest) => matches!(rest.first(), None | Some(b'+')),
        None => false,
    }
}
