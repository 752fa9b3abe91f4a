//! Requests that Envoy itself sends on: an internal redirect, an error page of `custom_response`.
//!
//! Their second pass begins with the header fields of the first: an upstream filter edits the map that
//! Envoy keeps, and cannot take back what it has set, because Envoy lends it that map only until the
//! request has gone on. So where the TH-JWT was, whoever checks and keeps it finds the credential of the
//! first backend, and if the check is lenient it would be exchanged for the second. What tells the two
//! passes apart must be left while the first one lasts, in the one state that outlives it: a property
//! that names, by its digest, the TH-JWT that the request began with. A later attempt of the same pass
//! finds the same TH-JWT.
//!
//! It is left when Envoy may be about to send the request on, which is never where all is well: at a
//! response that is no success, and at the end of a stream that got none. It is asked for when a token
//! is to be obtained, and never where one is in hand: nobody obtained that for a credential of ours.

use super::abi::{self, Status};
use super::effective::OnStream;
use super::plugin::Plugin;
use crate::backend::Backend;
use crate::identity::FIRST_TOKEN;
use crate::refusal::Refusal;
use log::warn;

/// Envoy's foreign function that says how long a property lives, and whether it can be written again.
const DECLARE: &str = "declare_property";

/// Has Envoy keep the property as long as the client's request lasts, and as it was written first.
pub(super) fn prepare() {
    match abi::call_foreign_function(DECLARE, &declaration()) {
        // A plugin that is configured once more has declared it before.
        Ok(_) | Err(Status::BAD_ARGUMENT) => {}
        Err(_) => warn!(
            "this Envoy does not let the filter tell requests that Envoy itself sends on \
             (internal_redirect_policy, custom_response): have neither on routes to backends; it needs \
             proxy_call_foreign_function among the plugin's allowed_capabilities"
        ),
    }
}

/// A `DeclarePropertyArguments`: the name, to be written once, for the life of the client's request.
fn declaration() -> Vec<u8> {
    const NAME: u8 = 1 << 3 | 2;
    const READ_ONLY: u8 = 2 << 3;
    const SPAN: u8 = 5 << 3;
    const OF_REQUEST: u8 = 1;
    let name = FIRST_TOKEN.as_bytes();
    let length = u8::try_from(name.len()).unwrap_or_default();
    [&[NAME, length], name, &[READ_ONLY, 1, SPAN, OF_REQUEST]].concat()
}

impl Plugin {
    /// Envoy may be about to send the request of `stream` on.
    pub(super) fn may_be_sent_on(&self, stream: &OnStream<'_>) {
        if self.exchanges_identity_token {
            let name = self.request_on(stream).name_of_identity_token();
            // What is there already stays: the first pass knows the client's own.
            let _ = stream.set_property(FIRST_TOKEN, &name);
        }
    }

    /// Refuses to have exchanged what is not the TH-JWT that the request began with.
    pub(super) fn require_first_token(
        &self,
        stream: &OnStream<'_>,
        backend: &Backend,
    ) -> Result<(), Refusal> {
        let strategy = backend.strategy.as_ref();
        match strategy.is_some_and(|strategy| strategy.exchanges_identity_token()) {
            true => self.request_on(stream).require_first_token(),
            false => Ok(()),
        }
    }
}
