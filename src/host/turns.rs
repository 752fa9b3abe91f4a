//! Requests whose answer has come, served a few at a time.
//!
//! What a callback decides for several streams, Envoy carries out when the callback has returned,
//! one stream after the other, and not in a loop: refusing a stream ends it, its end is told to
//! this VM in a call of its own, and on *that* call's return Envoy goes on with the next stream. So
//! the stack grows with each, and some nine hundred streams that are refused together overflow it,
//! which traps the VM. The same holds for streams that go on, when the backend cannot be reached.
//!
//! Two attempts of one request (hedging, upstream) must not be decided in one callback at all:
//! carrying out the first refusal ends the request, and with it the second attempt, whose own refusal
//! Envoy would then carry out on what is no longer there. In the next callback its end is known.

use super::effective::OnStream;
use super::waiting::{RequestId, Waiter};
use crate::attributes::{Attribute, AttributePath, Attributes};
use crate::exchange::ExchangeId;
use crate::exchange::results::{Failed, Obtained};
use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;
use std::time::Duration;

/// So many streams in one callback are far from any limit of the stack.
const AT_ONCE: usize = 64;
/// So many are looked at to find those.
const LOOKED_AT: usize = 512;
/// How often counters are handed to Envoy: they lag by no more than this.
pub(super) const TICK: Duration = Duration::from_millis(500);

/// The requests whose turn has not come yet.
pub(super) struct Turns {
    queue: RefCell<VecDeque<Turn>>,
    /// How often the timer goes off.
    pub(super) period: Cell<Duration>,
    connection: Option<AttributePath>,
    began: Option<AttributePath>,
}

/// A request that has waited, and what it gets.
pub(super) struct Turn {
    pub waiter: Waiter,
    pub exchange: ExchangeId,
    pub result: Rc<Result<Obtained, Failed>>,
}

impl Default for Turns {
    fn default() -> Self {
        Self {
            queue: RefCell::default(),
            period: Cell::new(TICK),
            connection: AttributePath::new(&["connection", "id"]),
            began: AttributePath::new(&["request", "time"]),
        }
    }
}

impl Turns {
    /// Which request `stream` is an attempt of.
    pub(super) fn request_of(&self, stream: &OnStream<'_>) -> RequestId {
        let read = |path: &Option<AttributePath>| -> Option<[u8; 8]> {
            match stream.read(path.as_ref()?) {
                Attribute::Bytes(bytes) => bytes.try_into().ok(),
                _ => None,
            }
        };
        let [connection, began] = [read(&self.connection), read(&self.began)];
        RequestId(
            connection
                .zip(began)
                .and_then(|(connection, began)| [connection, began].concat().try_into().ok()),
        )
    }

    /// These requests have their turns after those that are waiting for theirs already.
    pub(super) fn add(&self, turns: impl Iterator<Item = Turn>) {
        self.queue.borrow_mut().extend(turns);
    }

    /// Whether nobody waits for a turn.
    pub(super) fn is_empty(&self) -> bool {
        self.queue.borrow().is_empty()
    }

    /// Takes the next ones out: no two of one request.
    pub(super) fn next(&self) -> Vec<Turn> {
        let mut queue = self.queue.borrow_mut();
        let (mut next, mut later): (Vec<Turn>, Vec<Turn>) = (Vec::new(), Vec::new());
        while next.len() < AT_ONCE && next.len().saturating_add(later.len()) < LOOKED_AT {
            let Some(turn) = queue.pop_front() else {
                break;
            };
            let request = turn.waiter.request;
            let is_second = |other: &Turn| request == other.waiter.request;
            match next.iter().any(is_second) {
                true => later.push(turn),
                false => next.push(turn),
            }
        }
        for turn in later.into_iter().rev() {
            queue.push_front(turn);
        }
        next
    }
}
