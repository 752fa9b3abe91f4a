//! Which stream host calls act on, told by types.
//!
//! Envoy hands a stream's header fields to whatever context is the effective one. A call that acts
//! after a turn to a stream has failed would change another stream's: so what acts on a stream asks
//! for an [`OnStream`], and only the stream's own callback and a turn that succeeded make one.

use super::abi::{self, HostAttributes, Map, Status};
use super::streams;
use crate::attributes::{Attribute, AttributePath, Attributes};
use std::marker::PhantomData;

/// Host calls act on this stream.
pub(super) struct OnStream<'c> {
    context: u32,
    within: PhantomData<&'c mut ()>,
}

/// A plugin's own callback: from here one can turn to its streams, one at a time.
pub(super) struct OnPlugin {
    root: u32,
}

impl OnPlugin {
    /// For the callbacks of the plugin `root`.
    pub(super) fn in_callback(root: u32) -> Self {
        Self { root }
    }

    /// The plugin.
    pub(super) fn root(&self) -> u32 {
        self.root
    }

    /// Turns to the stream `context`; `None` if it has ended.
    ///
    /// A stream that has ended is no longer there to be served. The host knows its context for a
    /// while longer, until it deletes what it has deferred: to let the stream go on in that time
    /// crashes Envoy (1.36; as an upstream filter 1.40, too).
    pub(super) fn turn_to(&mut self, context: u32) -> Option<OnStream<'_>> {
        let turned = streams::is_under_way(context) && abi::set_effective_context(context).is_ok();
        turned.then_some(OnStream {
            context,
            within: PhantomData,
        })
    }
}

impl OnStream<'_> {
    /// For the callbacks of the stream `context`.
    pub(super) fn in_callback(context: u32) -> OnStream<'static> {
        OnStream {
            context,
            within: PhantomData,
        }
    }

    /// The stream.
    pub(super) fn context(&self) -> u32 {
        self.context
    }

    /// The first field of that name.
    pub(super) fn header(&self, map: Map, name: &str) -> Option<Vec<u8>> {
        abi::header(map, name)
    }

    /// Makes `value` the only field of that name. False if the host did not do it.
    pub(super) fn replace_header(&self, map: Map, name: &str, value: &[u8]) -> bool {
        abi::replace_header(map, name, value).is_ok()
    }

    /// Removes every field of that name. False if the host did not do it.
    pub(super) fn remove_header(&self, map: Map, name: &str) -> bool {
        abi::remove_header(map, name).is_ok()
    }

    /// Leaves `value` in the filter state, where access logs find it.
    pub(super) fn set_property(&self, path: &str, value: &[u8]) -> Result<(), Status> {
        abi::set_property(path, value)
    }

    /// Answers the request. Ends its stream once the callback returns.
    pub(super) fn reply(
        &self,
        status: u16,
        details: &str,
        headers: &[(&'static str, String)],
        body: &[u8],
    ) -> Result<(), Status> {
        abi::send_local_response(status, details, headers, body)
    }

    /// Lets the paused request go on, once the callback returns.
    pub(super) fn resume(self) -> Result<(), Status> {
        abi::resume_request()
    }
}

impl Attributes for OnStream<'_> {
    fn read(&self, path: &AttributePath) -> Attribute {
        HostAttributes.read(path)
    }
}
