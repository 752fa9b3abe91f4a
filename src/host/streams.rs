//! The streams of this worker that are under way.

use super::under_way::UnderWay;
use crate::exchange::key::Key;
use crate::exchange::results::Used;
use std::cell::{Cell, RefCell};

/// What is known of a stream.
pub(super) struct Stream {
    /// The plugin that it belongs to.
    pub root: u32,
    /// What the request went on as, until its response is there.
    pub went_on: Option<WentOn>,
    /// Its part in an exchange.
    pub part: Part,
    /// The cluster that its credential was chosen for, where the route may still change.
    pub chosen_for: Option<Box<[u8]>>,
    /// Whether it is a call of this filter's own.
    pub own_call: bool,
}

impl Stream {
    /// Whether its end is nobody's business.
    pub(super) fn is_done(&self) -> bool {
        let waits = matches!(self.part, Part::Waiting(_));
        !waits && self.chosen_for.is_none() && self.went_on.is_none()
    }
}

/// What a request went on as.
#[derive(Clone, Copy)]
pub(super) struct WentOn {
    /// The backend that it was for.
    pub backend: u32,
    /// Whether it carries the user's own credential.
    pub users_credential: bool,
}

/// A stream's part in an exchange.
pub(super) enum Part {
    /// None.
    None,
    /// It waits for this answer.
    Waiting(Key),
    /// It went on with these tokens, one made of the other.
    Used(Vec<Used>),
}

impl Part {
    /// The part of a stream that went on with what was made of these tokens.
    pub(super) fn of(used: Vec<Used>) -> Self {
        match used.is_empty() {
            true => Part::None,
            false => Part::Used(used),
        }
    }
}

thread_local! {
    static STREAMS: RefCell<UnderWay<Stream>> = const { RefCell::new(UnderWay::new()) };
    /// Whether the filter is inside a call of its own.
    static CALLING: Cell<bool> = const { Cell::new(false) };
}

/// Runs `call`, which makes a call of the filter's own. Where the cluster that is called has the
/// filter too, Envoy runs the call through it before the host function returns: a stream that begins
/// meanwhile is that call.
pub(super) fn calling<T>(call: impl FnOnce() -> T) -> T {
    CALLING.set(true);
    let result = call();
    CALLING.set(false);
    result
}

/// A stream of the plugin `root` begins.
pub(super) fn begin(context: u32, root: u32) {
    let stream = Stream {
        root,
        went_on: None,
        part: Part::None,
        chosen_for: None,
        own_call: CALLING.get(),
    };
    STREAMS.with_borrow_mut(|streams| streams.insert(context, stream));
}

/// A stream ends; `None` if `context` is no stream.
pub(super) fn end(context: u32) -> Option<Stream> {
    STREAMS.with_borrow_mut(|streams| streams.remove(context))
}

/// Whose request a stream carries.
pub(super) enum Whose {
    /// A client's, for this plugin.
    Clients(u32),
    /// The filter's own call.
    OurOwn,
}

/// Whose request the stream carries.
pub(super) fn whose(context: u32) -> Option<Whose> {
    STREAMS.with_borrow(|streams| {
        streams.get(context).map(|stream| match stream.own_call {
            true => Whose::OurOwn,
            false => Whose::Clients(stream.root),
        })
    })
}

/// The request of the stream has its response, which is not the filter's own: the plugin, and what the
/// request went on as. `None` for that if it still waits: a backend may answer a connection on which
/// nothing has been sent yet.
pub(super) fn responded(context: u32) -> Option<(u32, Option<WentOn>)> {
    STREAMS.with_borrow_mut(|streams| {
        let stream = streams.get_mut(context)?;
        let went_on = stream.went_on.take();
        let waits = matches!(stream.part, Part::Waiting(_));
        (went_on.is_some() || waits).then_some((stream.root, went_on))
    })
}

/// The tokens that the stream's request went on with, if they were obtained for it.
pub(super) fn used(context: u32) -> Vec<Used> {
    STREAMS.with_borrow(
        |streams| match streams.get(context).map(|stream| &stream.part) {
            Some(Part::Used(used)) => used.clone(),
            Some(Part::None | Part::Waiting(_)) | None => Vec::new(),
        },
    )
}

/// Whether the stream has not ended.
pub(super) fn is_under_way(context: u32) -> bool {
    STREAMS.with_borrow(|streams| streams.get(context).is_some())
}

/// Changes what is known of the stream, if it has not ended.
pub(super) fn update(context: u32, change: impl FnOnce(&mut Stream)) {
    STREAMS.with_borrow_mut(|streams| {
        if let Some(stream) = streams.get_mut(context) {
            change(stream);
        }
    });
}

/// The stream's part in an exchange changes.
pub(super) fn set_part(context: u32, part: Part) {
    update(context, |stream| stream.part = part);
}
