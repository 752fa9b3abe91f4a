//! Later attempts of the filter's own calls, where the cluster that they go to has the filter too.
//!
//! The first attempt begins inside the call. Where the cluster retries (a `retry_policy` of its own), a
//! later one begins at any time, and looks like a client's request. What tells it is a property that the
//! first attempt leaves: all attempts of one call share a filter state, which is no client's, and nothing
//! that a client sends becomes a property. It is asked for only in a VM whose calls run through the
//! filter.

use super::effective::OnStream;
use crate::attributes::{Attribute, AttributePath, Attributes};
use std::cell::Cell;

const MARK: &str = "upstream_inject.own_call";
const MARKED: &[u8] = b"1";

thread_local! {
    /// Whether a call of its own has ever run through it.
    static COME_BY: Cell<bool> = const { Cell::new(false) };
}

/// The first attempt of a call is there.
pub(super) fn mark(stream: &OnStream<'_>) {
    COME_BY.set(true);
    // If that fails, a later attempt is served as a client's.
    let _ = stream.set_property(MARK, MARKED);
}

/// Whether `stream`, which began outside of any call, is a later attempt of one.
pub(super) fn is_later_attempt(stream: &OnStream<'_>) -> bool {
    COME_BY.get()
        && AttributePath::new(&[MARK])
            .is_some_and(|path| stream.read(&path) == Attribute::Bytes(MARKED.to_vec()))
}
