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

use super::abi;
use super::calls::Waiter;
use super::effective::{OnPlugin, OnStream};
use super::plugin::Plugin;
use crate::attributes::{Attribute, AttributePath, Attributes};
use crate::exchange::engine::Pace;
use crate::exchange::results::{Failed, Obtained};
use crate::exchange::{ExchangeId, Step};
use log::debug;
use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;
use std::time::Duration;

/// So many streams in one callback are far from any limit of the stack.
const AT_ONCE: usize = 64;
/// So many are looked at to find those.
const LOOKED_AT: usize = 512;
/// How soon the next ones have their turn.
const SOON: Duration = Duration::from_millis(1);
/// How often counters are handed to Envoy: they lag by no more than this.
pub(super) const TICK: Duration = Duration::from_millis(500);
/// How soon a worker that holds tokens hears that another has dropped one.
const HEARS: Duration = Duration::from_millis(100);
/// How often it looks whether another worker's call has ended that requests wait for here.
const LOOKS: Duration = Duration::from_millis(2);

/// The requests whose turn has not come yet.
pub(super) struct Turns {
    queue: RefCell<VecDeque<Turn>>,
    /// How often the timer goes off.
    period: Cell<Duration>,
    connection: Option<AttributePath>,
    began: Option<AttributePath>,
}

/// A request that has waited, and what it gets.
pub(super) struct Turn {
    pub waiter: Waiter,
    pub exchange: ExchangeId,
    pub step: Step,
    pub result: Rc<Result<Obtained, Failed>>,
}

/// Which of a client's requests a stream is an attempt of. Two requests may share one, if they came
/// over one connection at one moment; two attempts of one request always do.
///
/// The connection, and when the request began; `None` where the host does not say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RequestId(Option<[u8; 16]>);

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

    /// Takes the next ones out: no two of one request.
    fn next(&self) -> Vec<Turn> {
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

impl Plugin {
    /// Has the timer go off as often as there is something to do.
    pub(super) fn pace(&self) {
        let period = match self.engine.borrow().pace() {
            _ if !self.turns.queue.borrow().is_empty() => SOON,
            Pace::Watches => LOOKS,
            Pace::Holds => HEARS,
            Pace::Idle => TICK,
        };
        // Without a faster timer everything has its turn when the slow one goes off.
        if period != self.turns.period.get() && abi::set_tick_period(period).is_ok() {
            self.turns.period.set(period);
        }
    }

    /// Serves the next requests whose turn has come. Only from a callback of the plugin: in one of a
    /// stream, another attempt of that stream's request might be decided too.
    pub(super) fn serve_turns(&self, on: &mut OnPlugin) {
        let turns = self.turns.next();
        self.pace();
        for Turn {
            waiter,
            exchange,
            step,
            result,
        } in turns
        {
            if let Some(stream) = on.turn_to(waiter.context)
                && self.serve(&stream, waiter, (exchange, step), &result)
                && stream.resume().is_err()
            {
                debug!("a waiting request could not be resumed: its stream has ended");
            }
        }
    }
}
