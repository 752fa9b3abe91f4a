//! Refusals, carried out: the answer to the client, and what operators see of it.

use super::abi::{HostClock, Map};
use super::effective::OnStream;
use super::plugin::Plugin;
use super::streams;
use crate::backend::Backend;
use crate::exchange::answer::{Detail, Failure, FailureKind};
use crate::exchange::{ExchangeId, Purpose};
use crate::observe::counters::{Counter, Outcome};
use crate::observe::limiter::Line;
use crate::quote::json_string;
use crate::refusal::{About, Refusal};
use crate::time::Clock;
use log::warn;

/// What a refusal has to do with an STS, for the log line.
pub(super) struct AtSts {
    /// Which exchange it was.
    pub exchange: ExchangeId,
    /// How it failed, or why it was not even asked for.
    pub failure: Failure,
}

impl Plugin {
    /// Answers the request of the effective context. Always false: the request does not go on.
    pub(super) fn refuse(
        &self,
        stream: &OnStream<'_>,
        backend: &Backend,
        refusal: Refusal,
        provider: Option<&str>,
        sts: Option<AtSts>,
    ) -> bool {
        let about = About {
            backend: Some(&*backend.name).filter(|name| !name.is_empty()),
            provider: provider.or_else(|| backend.strategy.as_ref()?.provider()),
            grpc: is_grpc(stream),
        };
        let reply = refusal.reply(&about, self.challenges.of(&backend.name));
        let code = reply.code.as_str();
        self.count(backend.id, Counter::Backend(Outcome::Refused(reply.code)));
        if refusal.is_of_absence() {
            self.count(backend.id, Counter::IdentityAbsent);
        }
        self.warn_of(backend, &about, &refusal, sts);
        let details = format!("upstream_inject:{code}");
        // Whether the access log can say why does not change the answer.
        let _ = stream.set_property("upstream_inject.outcome", code.as_bytes());
        let _ = stream.set_property("upstream_inject.backend", backend.name.as_bytes());
        // Nothing goes anywhere that the tripwire could be about.
        streams::update(stream.context(), |stream| stream.chosen_for = None);
        let sent = stream.reply(reply.status, &details, &reply.headers, &reply.body);
        if sent.is_err() {
            // It waits for Envoy's own timeout, and bare, whatever the plugin's options are.
            self.headers.clear(stream);
            warn!("{code}: Envoy did not take the answer; the request is not forwarded");
        }
        false
    }

    fn warn_of(&self, backend: &Backend, about: &About<'_>, refusal: &Refusal, sts: Option<AtSts>) {
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
            line.push_str(&self.described(&sts));
        }
        line.push_str(": ");
        line.push_str(refusal.hint());
        if left_out > 0 {
            line.push_str(&format!(" ({left_out} more since the last such line)"));
        }
        warn!("{line}");
    }

    /// Which endpoint it was and what it answered, in words that no endpoint can choose freely.
    fn described(&self, sts: &AtSts) -> String {
        let failure = &sts.failure;
        let mut text = String::new();
        if let Some(exchange) = self.engine.borrow().exchange(sts.exchange)
            && let Some(call) = exchange.call(failure.step)
        {
            let whose = match exchange.purpose {
                Purpose::Backend => "STS",
                Purpose::Identity { .. } => "identity service",
            };
            text.push_str(&format!(", {whose} cluster {}", json_string(&call.cluster)));
            if !call.name.is_empty() {
                text.push_str(&format!(" ({})", call.name));
            }
        }
        if failure.kind == FailureKind::UnknownCluster {
            text.push_str(" (Envoy has no cluster of that name)");
        }
        match failure.detail {
            Detail::Status(status) => text.push_str(&format!(", status {status}")),
            Detail::Check(check) => text.push_str(&format!(", what is wrong: {}", check.as_str())),
            Detail::None => {}
        }
        if let Some(error) = failure.error {
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
