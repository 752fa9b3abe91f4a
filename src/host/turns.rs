//! Requests whose answer has come, served a few at a time.
//!
//! What a callback decides for several streams, Envoy carries out when the callback has returned,
//! one stream after the other, and not in a loop: refusing a stream ends it, its end is told to
//! this VM in a call of its own, and on *that* call's return Envoy goes on with the next stream. So
//! the stack grows with each, and some nine hundred streams that are refused together overflow it,
//! which traps the VM. The same holds for streams that go on, when the backend cannot be reached.

use super::abi;
use super::calls::Waiter;
use super::plugin::Plugin;
use super::streams;
use crate::exchange::results::{Failed, Obtained};
use crate::plan::ExchangeId;
use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;
use std::time::Duration;

/// So many streams in one callback are far from any limit of the stack.
const AT_ONCE: usize = 64;
/// How soon the next ones have their turn.
const SOON: Duration = Duration::from_millis(1);
/// How often counters are handed to Envoy: they lag by no more than this.
pub(super) const TICK: Duration = Duration::from_millis(500);

/// The requests whose turn has not come yet.
#[derive(Default)]
pub(super) struct Turns {
    queue: RefCell<VecDeque<Turn>>,
    soon: Cell<bool>,
}

/// A request that has waited, and what it gets.
pub(super) struct Turn {
    pub waiter: Waiter,
    pub exchange: ExchangeId,
    pub result: Rc<Result<Obtained, Failed>>,
}

impl Plugin {
    /// Serves these requests, after those that are waiting for their turn already.
    pub(super) fn take_turns(&self, turns: impl Iterator<Item = Turn>) {
        self.turns.queue.borrow_mut().extend(turns);
        // Before the effective context changes: the timer is this plugin's.
        let more = self.turns.queue.borrow().len() > AT_ONCE;
        if more != self.turns.soon.get() {
            let period = if more { SOON } else { TICK };
            // Without a faster timer the rest have their turn when the slow one goes off.
            self.turns
                .soon
                .set(abi::set_tick_period(period).is_ok() && more);
        }
        for _ in 0..AT_ONCE {
            let Some(turn) = self.turns.queue.borrow_mut().pop_front() else {
                return;
            };
            // A stream that has ended meanwhile is no longer there to be served. The host knows its
            // context for a while longer, until it deletes what it has deferred: to let the stream
            // go on in that time crashes Envoy (1.36; as an upstream filter 1.40, too).
            let context = turn.waiter.context;
            if streams::is_under_way(context) && abi::set_effective_context(context).is_ok() {
                self.serve(&turn);
            }
        }
    }
}
