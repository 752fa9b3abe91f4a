//! What is kept of a request while it waits for a token, and what becomes of the token then.

use crate::backend::Backend;
use crate::decision::{Obtain, Source};
use crate::exchange::ExchangeId;
use crate::exchange::results::Used;
use crate::observe::counters::Outcome;
use crate::token::BearerToken;
use std::rc::Rc;

/// A request that waits for an answer.
pub(super) struct Waiter {
    /// Its stream.
    pub context: u32,
    /// Which of the client's requests it is an attempt of.
    pub request: RequestId,
    pub(super) backend: Rc<Backend>,
    pub(super) then: Then,
    pub(super) header: String,
    pub(super) outcome: Outcome,
    /// The identity's tokens that it has used so far.
    pub(super) used: Vec<Used>,
    pub(super) has_more: bool,
}

/// What becomes of the token that a request waits for.
pub(super) enum Then {
    /// It goes to the backend.
    Forward,
    /// It is the subject of what comes next.
    Subject(Option<Source>, Option<ExchangeId>),
    /// It is the actor of what comes next.
    Actor(BearerToken, Option<ExchangeId>),
}

impl Then {
    /// What to report of the token `used` if the backend answers 401.
    pub(super) fn of_it(&self, used: Used) -> Used {
        match self {
            Then::Forward | Then::Subject(_, None) => used,
            Then::Subject(_, Some(_)) | Then::Actor(..) => used.not_sent(),
        }
    }
}

/// A request on its way to its token.
pub(super) struct Pursuit<'a> {
    /// Where it goes.
    pub backend: &'a Rc<Backend>,
    /// What is left to obtain.
    pub obtain: Obtain<'a>,
    /// The identity's tokens that it has used so far.
    pub used: Vec<Used>,
    /// Whether more than header fields follows.
    pub has_more: bool,
}

/// Which of a client's requests a stream is an attempt of. Two requests may share one, if they came
/// over one connection at one moment; two attempts of one request always do.
///
/// The connection, and when the request began; `None` where the host does not say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct RequestId(pub(super) Option<[u8; 16]>);
