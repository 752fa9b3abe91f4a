//! One refresh of one refresh token, as a machine without I/O: what has happened goes in, what to
//! do next comes out. `driver.rs` carries it out; `tests/orders.rs` walks it through every order of two
//! replicas' steps.

mod harvest;
mod steps;
#[cfg(test)]
mod tests;

use std::time::Duration;

use self::harvest::{Harvest, Then};
pub(crate) use self::steps::{Answer, Event, Outcome, Step, Tokens};
use super::due::Need;
use crate::session::store::{Claim, LockState, Replacement, StoreError};
use crate::session::{Row, RowKey, RowState};

/// How long the machine waits for what.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pace {
    /// How long the lock lives.
    pub lock: Duration,
    /// Between looks at a lock that another holds.
    pub look: Duration,
    /// Between attempts to write.
    pub retry: Duration,
    /// How long the mark of a redeemed token stays.
    pub mark: Duration,
}

impl Pace {
    /// For a call that may take `call`: the lock outlives it by ten seconds.
    #[must_use]
    pub(crate) fn for_calls_of(call: Duration) -> Self {
        Self {
            lock: call + Duration::from_secs(10),
            look: Duration::from_millis(100),
            retry: Duration::from_millis(50),
            mark: Duration::from_secs(3600),
        }
    }
}

/// Where one refresh stands.
pub(crate) struct Machine {
    key: RowKey,
    /// The row as it was when somebody wanted it refreshed.
    before: Row,
    need: Need,
    pace: Pace,
    state: State,
    /// When to give up waiting for another's lock.
    patience_ms: i64,
    /// What the driver must know of it, however it ends.
    redeemed: bool,
    owes_release: bool,
}

enum State {
    Claiming,
    Waiting,
    Calling {
        row: Box<Row>,
        lock_until_ms: i64,
    },
    /// The provider says that the token is dead: is it still the one in the row?
    Doubting {
        why: &'static str,
    },
    Gathering(Harvest),
    Writing(Harvest, Vec<Replacement>),
    /// Between two attempts.
    Pausing(Harvest, Then),
    /// The lock was lost: is it to be had once more?
    Reclaiming(Harvest, Vec<Replacement>),
    /// Some row had gone or changed: ours?
    Rereading(Harvest),
    Deleting(Harvest, Vec<(RowKey, String)>),
    Releasing(Outcome),
    Over,
}

impl Machine {
    /// A refresh of what `row` (at `key`) holds, begun at `now_ms`; its first step is a claim.
    #[must_use]
    pub(crate) fn new(key: RowKey, row: &Row, need: Need, pace: Pace, now_ms: i64) -> (Self, Step) {
        let machine = Self {
            key,
            before: row.clone(),
            need,
            pace,
            state: State::Claiming,
            patience_ms: now_ms.saturating_add(millis(pace.lock)),
            redeemed: false,
            owes_release: false,
        };
        (machine, Step::Claim)
    }

    /// The refresh token that all this is about.
    #[must_use]
    pub(crate) fn refresh_token(&self) -> &str {
        &self.before.refresh_token
    }

    /// Whether the provider has replaced the refresh token, whatever became of the new one.
    #[must_use]
    pub(crate) fn has_redeemed(&self) -> bool {
        self.redeemed
    }

    /// Whether, once it is over, the lock may still be this one's: a claim that was not answered may
    /// have been carried out all the same, or may yet be, and a lock may not have been given back.
    #[must_use]
    pub(crate) fn owes_release(&self) -> bool {
        self.owes_release
    }

    /// Takes in what has happened, and says what is next. An event that does not answer the last
    /// step changes nothing but the result, which is then "unavailable".
    pub(crate) fn step(&mut self, event: Event, now_ms: i64) -> Step {
        match (std::mem::replace(&mut self.state, State::Over), event) {
            (State::Claiming, Event::Claimed(claim)) => self.claimed(claim, now_ms),
            (State::Waiting, Event::Waited) => {
                self.state = State::Claiming;
                Step::Claim
            }
            (State::Calling { row, lock_until_ms }, Event::Answered(answer)) => {
                self.answered(answer, row, lock_until_ms)
            }
            (State::Doubting { why }, Event::Claimed(claim)) => self.doubted(why, claim),
            (State::Gathering(harvest), Event::Gathered(rows)) => {
                self.gathered(harvest, rows, now_ms)
            }
            (State::Pausing(harvest, then), Event::Waited) => self.resume(harvest, then),
            (State::Writing(harvest, rows), Event::Wrote(written)) => {
                self.wrote(harvest, rows, written, now_ms)
            }
            (State::Reclaiming(harvest, rows), Event::Claimed(claim)) => {
                self.reclaimed(harvest, rows, claim, now_ms)
            }
            (State::Rereading(harvest), Event::Claimed(claim)) => self.reread(&harvest, claim),
            (State::Deleting(harvest, rows), Event::Wrote(written)) => {
                self.deleted(harvest, rows, written, now_ms)
            }
            (State::Releasing(outcome), Event::Released(released)) => {
                self.owes_release = released.is_err();
                Step::Done(outcome)
            }
            _ => Step::Done(Outcome::Unavailable("out of step")),
        }
    }

    fn claimed(&mut self, claim: Result<Claim, StoreError>, now_ms: i64) -> Step {
        let claim = match claim {
            Ok(claim) => claim,
            Err(_) => return self.unclaimed(Outcome::Unavailable("store")),
        };
        let ours = claim.lock == LockState::Ours;
        let row = match claim.row {
            RowState::Read(row) => row,
            RowState::Gone => return self.end(ours, Outcome::Missing(Outcome::GONE)),
            RowState::Unreadable => {
                return self.end(ours, Outcome::Unavailable(Outcome::UNREADABLE));
            }
        };
        if row.refresh_token != self.before.refresh_token
            || !self.need.is_due_since(&self.before, &row, now_ms)
        {
            return self.end(ours, Outcome::Held(row));
        }
        match claim.lock {
            LockState::Ours => {
                let subject = row.upstream_subject.clone();
                self.state = State::Calling {
                    row,
                    lock_until_ms: now_ms.saturating_add(millis(self.pace.lock)),
                };
                Step::Call { subject }
            }
            LockState::Redeemed => Step::Done(Outcome::Missing("redeemed before")),
            LockState::Held if now_ms >= self.patience_ms => Step::Done(Outcome::Unavailable(
                "another replica's refresh takes too long",
            )),
            LockState::Held => {
                self.state = State::Waiting;
                Step::Wait(self.pace.look)
            }
        }
    }

    fn answered(&mut self, answer: Answer, row: Box<Row>, lock_until_ms: i64) -> Step {
        let (tokens, foreign) = match answer {
            Answer::Tokens(tokens) => (tokens, false),
            Answer::OtherSubject(tokens) => (tokens, true),
            Answer::Dead(why) => {
                self.state = State::Doubting { why };
                return Step::Claim;
            }
            Answer::NoUse(why) | Answer::NotNow(why) => {
                return self.end(true, Outcome::Unavailable(why));
            }
        };
        let rotated = tokens
            .refresh_token
            .as_ref()
            .is_some_and(|next| *next != self.before.refresh_token);
        self.redeemed = rotated;
        if foreign && !rotated {
            return self.end(true, Outcome::Unavailable(Outcome::FOREIGN));
        }
        self.gather(Harvest {
            tokens,
            row,
            rotated,
            foreign,
            refusals: 0,
            failures: 0,
            lock_until_ms,
            reclaimed: false,
        })
    }

    /// Somebody without a lock (a vMCP that serves `/mcp` itself) may have been quicker.
    fn doubted(&mut self, why: &'static str, claim: Result<Claim, StoreError>) -> Step {
        let outcome = match claim {
            Ok(Claim {
                row: RowState::Read(row),
                ..
            }) if row.refresh_token != self.before.refresh_token => Outcome::Held(row),
            _ => Outcome::Missing(why),
        };
        self.end(true, outcome)
    }

    /// Ends with this result after a claim that failed, which nobody waits any longer for.
    fn unclaimed(&mut self, outcome: Outcome) -> Step {
        self.owes_release = true;
        Step::Done(outcome)
    }

    /// Ends with this result, giving the lock back first if it is ours.
    fn end(&mut self, ours: bool, outcome: Outcome) -> Step {
        if !ours {
            self.state = State::Over;
            return Step::Done(outcome);
        }
        self.state = State::Releasing(outcome);
        Step::Release
    }
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}
