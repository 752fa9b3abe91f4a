//! Refusals, carried out: the answer to the client, and what operators see of it.

use super::abi::{self, Map};
use super::plugin::Plugin;
use crate::backend::Backend;
use crate::exchange::answer::StsError;
use crate::observe::counters::{Counter, Outcome};
use crate::observe::limiter::Limiter;
use crate::refusal::{About, Refusal};
use log::warn;

impl Plugin {
    /// Answers the request of the effective context. `error` is what the STS said, if it was asked.
    /// Always false: the request does not go on.
    pub(super) fn refuse(
        &self,
        backend: &Backend,
        refusal: Refusal,
        error: Option<StsError>,
    ) -> bool {
        let about = About {
            backend: Some(&*backend.name).filter(|name| !name.is_empty()),
            provider: backend
                .strategy
                .as_ref()
                .and_then(|strategy| strategy.provider()),
            grpc: is_grpc(),
        };
        let reply = refusal.reply(&about, &self.challenge);
        let code = reply.code.as_str();
        self.count(backend.id, Counter::Backend(Outcome::Refused(reply.code)));
        warn_of(
            &mut self.limiter.borrow_mut(),
            backend,
            &about,
            refusal,
            error,
        );
        let details = format!("upstream_inject:{code}");
        // Whether the access log can say why does not change the answer.
        let _ = abi::set_property("upstream_inject.outcome", code.as_bytes());
        let _ = abi::set_property("upstream_inject.backend", backend.name.as_bytes());
        if abi::send_local_response(reply.status, &details, &reply.headers, &reply.body).is_err() {
            warn!("{code}: Envoy did not take the answer; the request is not forwarded");
        }
        false
    }
}

fn warn_of(
    limiter: &mut Limiter,
    backend: &Backend,
    about: &About<'_>,
    refusal: Refusal,
    error: Option<StsError>,
) {
    let code = refusal.code();
    let Some(left_out) = limiter.admit(backend.id, code, abi::now()) else {
        return;
    };
    let mut line = format!("{}: backend {:?}", code.as_str(), backend.name);
    if let Some(provider) = about.provider {
        line.push_str(&format!(", provider {provider:?}"));
    }
    if let Some(error) = error {
        line.push_str(&format!(", the STS said {}", error.as_str()));
    }
    line.push_str(": ");
    line.push_str(refusal.hint());
    if left_out > 0 {
        line.push_str(&format!(" ({left_out} more since the last such line)"));
    }
    warn!("{line}");
}

/// As Envoy decides it: `application/grpc`, alone or with a suffix such as `+proto`.
fn is_grpc() -> bool {
    let content_type = abi::header(Map::Request, "content-type").unwrap_or_default();
    match content_type.strip_prefix(b"application/grpc") {
        Some(rest) => matches!(rest.first(), None | Some(b'+')),
        None => false,
    }
}
