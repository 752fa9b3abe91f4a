//! One refresh of one refresh token, as a machine without I/O: what has happened goes in, what to
//! do next comes out. `driver.rs` carries it out; `orders.rs` walks it through every order of two
//! replicas' steps.

use std::time::Duration;

use super::due::Need;
use crate::session::store::{Claim, LockState, Replacement, StoreError, Written};
use crate::session::{Row, RowKey, RowState};

/// How long the machine waits for what.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
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
    pub fn for_calls_of(call: Duration) -> Self {
        Self {
            lock: call + Duration::from_secs(10),
            look: Duration::from_millis(100),
            retry: Duration::from_millis(50),
            mark: Duration::from_secs(3600),
        }
    }
}

/// So many refusals, and a write is given up.
const TRIES: u32 = 3;

/// What the provider said.
#[derive(Clone, PartialEq, Eq)]
pub enum Answer {
    /// New tokens.
    Tokens(Tokens),
    /// New tokens, but their ID token is somebody else's.
    OtherSubject(Tokens),
    /// The refresh token is dead.
    Dead(&'static str),
    /// Nothing that can be used, though it answered: it refuses us, or talks nonsense.
    NoUse(&'static str),
    /// No answer at all, or one that says "not now".
    NoAnswer(&'static str),
}

/// What a provider issued. They cannot be printed.
#[derive(Clone, PartialEq, Eq)]
pub struct Tokens {
    /// The new access token.
    pub access_token: String,
    /// The next refresh token, if it says so.
    pub refresh_token: Option<String>,
    /// The new ID token, if there is one.
    pub id_token: Option<String>,
    /// When the access token expires, in Unix seconds; 0 if it does not say.
    pub expires_at: i64,
}

impl Tokens {
    /// The row with these tokens in it; what the answer lacks stays, and whose it is.
    fn put_into(&self, row: &Row) -> Row {
        let mut row = row.clone();
        row.access_token.clone_from(&self.access_token);
        row.expires_at = self.expires_at;
        if let Some(refresh_token) = &self.refresh_token {
            row.refresh_token.clone_from(refresh_token);
        }
        if let Some(id_token) = &self.id_token {
            row.id_token.clone_from(id_token);
        }
        row
    }
}

/// What the machine wants done next.
#[derive(Clone, Debug)]
pub enum Step {
    /// Take the lock, and read the row.
    Claim,
    /// Wait.
    Wait(Duration),
    /// Redeem the refresh token for the user that the row names.
    Call {
        /// The provider's name for the user.
        subject: String,
    },
    /// Find the rows of this user that hold the refresh token.
    Gather {
        /// The auth server's name for the user.
        user: String,
    },
    /// Replace rows.
    Write {
        /// Which, and by what.
        rows: Vec<Replacement>,
        /// Whether to leave the mark that the token has been redeemed, and for how long.
        redeemed: Option<Duration>,
    },
    /// Delete rows; each with its user.
    Delete(Vec<(RowKey, String)>),
    /// Give the lock back.
    Release,
    /// Nothing more: this is the result.
    Done(Outcome),
}

/// What has happened. Each answers one [`Step`].
#[derive(Clone)]
pub enum Event {
    /// To [`Step::Claim`].
    Claimed(Result<Claim, StoreError>),
    /// To [`Step::Wait`].
    Waited,
    /// To [`Step::Call`].
    Answered(Answer),
    /// To [`Step::Gather`].
    Gathered(Result<Vec<(RowKey, Row)>, StoreError>),
    /// To [`Step::Write`] and [`Step::Delete`].
    Wrote(Result<Written, StoreError>),
    /// To [`Step::Release`], however it went.
    Released,
}

/// What came of it.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    /// This row is to be used: refreshed here, by another, or not due after all.
    Held(Box<Row>),
    /// Only a login brings a token back.
    Missing(&'static str),
    /// Nobody can say just now.
    Unavailable(&'static str),
}

/// Where one refresh stands.
pub struct Machine {
    key: RowKey,
    refresh_token: String,
    need: Need,
    pace: Pace,
    state: State,
    /// When to give up waiting for another's lock.
    patience_ms: i64,
    /// What the driver must know of it, however it ends.
    redeemed: bool,
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

enum Then {
    Gather,
    Write(Vec<Replacement>),
    Delete(Vec<(RowKey, String)>),
}

/// What a call brought, on its way into the store.
struct Harvest {
    tokens: Tokens,
    /// Our row as it was.
    row: Box<Row>,
    rotated: bool,
    /// The tokens are somebody else's: rows go instead of being replaced.
    foreign: bool,
    refusals: u32,
    failures: u32,
    lock_until_ms: i64,
    reclaimed: bool,
}

impl Outcome {
    /// Why a token is missing: its row has gone.
    pub const GONE: &'static str = "gone";
    /// Why a token is missing: the refresh token was rotated, and the new one could not be kept.
    pub const NOT_KEPT: &'static str = "the rotated refresh token could not be kept";
    /// Why a token is missing or unavailable: the provider answered with somebody else's.
    pub const FOREIGN: &'static str = "an ID token of somebody else";
}

impl Machine {
    /// A refresh of what `row` (at `key`) holds, begun at `now_ms`; its first step is a claim.
    #[must_use]
    pub fn new(key: RowKey, row: &Row, need: Need, pace: Pace, now_ms: i64) -> (Self, Step) {
        let machine = Self {
            key,
            refresh_token: row.refresh_token.clone(),
            need,
            pace,
            state: State::Claiming,
            patience_ms: now_ms.saturating_add(millis(pace.lock)),
            redeemed: false,
        };
        (machine, Step::Claim)
    }

    /// The refresh token that all this is about.
    #[must_use]
    pub fn refresh_token(&self) -> &str {
        &self.refresh_token
    }

    /// Whether the provider has replaced the refresh token, whatever became of the new one.
    #[must_use]
    pub fn has_redeemed(&self) -> bool {
        self.redeemed
    }

    /// Takes in what has happened, and says what is next. An event that does not answer the last
    /// step changes nothing but the result, which is then "unavailable".
    pub fn step(&mut self, event: Event, now_ms: i64) -> Step {
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
            (State::Releasing(outcome), Event::Released) => Step::Done(outcome),
            _ => Step::Done(Outcome::Unavailable("out of step")),
        }
    }

    fn claimed(&mut self, claim: Result<Claim, StoreError>, now_ms: i64) -> Step {
        let claim = match claim {
            Ok(claim) => claim,
            Err(_) => return Step::Done(Outcome::Unavailable("store")),
        };
        let ours = claim.lock == LockState::Ours;
        let row = match claim.row {
            RowState::Read(row) => row,
            RowState::Gone => return self.end(ours, Outcome::Missing(Outcome::GONE)),
            RowState::Unreadable => return self.end(ours, Outcome::Unavailable("unreadable")),
        };
        if row.refresh_token != self.refresh_token || !self.need.is_due(&row, now_ms) {
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
            Answer::NoUse(why) | Answer::NoAnswer(why) => {
                return self.end(true, Outcome::Unavailable(why));
            }
        };
        let rotated = tokens
            .refresh_token
            .as_ref()
            .is_some_and(|next| *next != self.refresh_token);
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
            }) if row.refresh_token != self.refresh_token => Outcome::Held(row),
            _ => Outcome::Missing(why),
        };
        self.end(true, outcome)
    }

    fn gather(&mut self, harvest: Harvest) -> Step {
        let user = harvest.row.user_id.clone();
        self.state = State::Gathering(harvest);
        Step::Gather { user }
    }

    fn gathered(
        &mut self,
        mut harvest: Harvest,
        rows: Result<Vec<(RowKey, Row)>, StoreError>,
        now_ms: i64,
    ) -> Step {
        let mut rows = match rows {
            Ok(rows) => rows,
            Err(error) if harvest.is_worth_another_try(&error, now_ms) => {
                return self.pause(harvest, Then::Gather);
            }
            // Whose other rows there are cannot be known; ours can be written all the same.
            Err(_) => Vec::new(),
        };
        if !rows.iter().any(|(key, _)| *key == self.key) {
            rows.push((self.key.clone(), (*harvest.row).clone()));
        }
        harvest.failures = 0;
        harvest.refusals = 0;
        if harvest.foreign {
            return self.delete(
                harvest,
                rows.into_iter().map(|(key, row)| (key, row.user_id)),
            );
        }
        let replacements = rows
            .into_iter()
            .map(|(key, row)| Replacement {
                row: Row {
                    provider_id: key.provider.clone(),
                    ..harvest.tokens.put_into(&row)
                },
                key,
            })
            .collect();
        self.write(harvest, replacements)
    }

    fn write(&mut self, harvest: Harvest, rows: Vec<Replacement>) -> Step {
        let step = Step::Write {
            rows: rows.clone(),
            redeemed: harvest.rotated.then_some(self.pace.mark),
        };
        self.state = State::Writing(harvest, rows);
        step
    }

    fn wrote(
        &mut self,
        mut harvest: Harvest,
        rows: Vec<Replacement>,
        written: Result<Written, StoreError>,
        now_ms: i64,
    ) -> Step {
        match written {
            Ok(Written::Rows(count)) if usize::try_from(count) == Ok(rows.len()) => {
                let outcome = self.refreshed(&harvest);
                self.end(true, outcome)
            }
            Ok(Written::Rows(_)) => {
                self.state = State::Rereading(harvest);
                Step::Claim
            }
            Ok(Written::NotOurs) if harvest.reclaimed => Step::Done(self.refreshed(&harvest)),
            Ok(Written::NotOurs) => {
                self.state = State::Reclaiming(harvest, rows);
                Step::Claim
            }
            Err(error) => {
                let again = harvest.is_worth_another_try(&error, now_ms);
                if again {
                    self.pause(harvest, Then::Write(rows))
                } else if harvest.rotated {
                    // The refresh token in the rows is dead, and its reuse locks the user out.
                    harvest.refusals = 0;
                    self.delete(
                        harvest,
                        rows.into_iter().map(|row| (row.key, row.row.user_id)),
                    )
                } else {
                    let outcome = self.refreshed(&harvest);
                    self.end(true, outcome)
                }
            }
        }
    }

    fn reclaimed(
        &mut self,
        mut harvest: Harvest,
        rows: Vec<Replacement>,
        claim: Result<Claim, StoreError>,
        now_ms: i64,
    ) -> Step {
        let Ok(claim) = claim else {
            return Step::Done(self.refreshed(&harvest));
        };
        if let RowState::Read(row) = &claim.row
            && row.refresh_token != self.refresh_token
        {
            let ours = claim.lock == LockState::Ours;
            return self.end(ours, Outcome::Held(row.clone()));
        }
        match claim.lock {
            LockState::Ours => {
                harvest.reclaimed = true;
                harvest.lock_until_ms = now_ms.saturating_add(millis(self.pace.lock));
                self.write(harvest, rows)
            }
            // Whoever has it now decides. The access token is ours all the same, this once.
            LockState::Held | LockState::Redeemed => Step::Done(self.refreshed(&harvest)),
        }
    }

    fn reread(&mut self, harvest: &Harvest, claim: Result<Claim, StoreError>) -> Step {
        let outcome = match claim.map(|claim| claim.row) {
            Ok(RowState::Read(row)) => Outcome::Held(row),
            Ok(RowState::Gone) => Outcome::Missing(Outcome::GONE),
            Ok(RowState::Unreadable) => Outcome::Unavailable("unreadable"),
            Err(_) => self.refreshed(harvest),
        };
        self.end(true, outcome)
    }

    fn delete(&mut self, harvest: Harvest, rows: impl Iterator<Item = (RowKey, String)>) -> Step {
        let rows: Vec<_> = rows.collect();
        self.state = State::Deleting(harvest, rows.clone());
        Step::Delete(rows)
    }

    fn deleted(
        &mut self,
        mut harvest: Harvest,
        rows: Vec<(RowKey, String)>,
        written: Result<Written, StoreError>,
        now_ms: i64,
    ) -> Step {
        if let Err(error) = &written
            && harvest.is_worth_another_try(error, now_ms)
        {
            return self.pause(harvest, Then::Delete(rows));
        }
        let why = if harvest.foreign {
            Outcome::FOREIGN
        } else {
            Outcome::NOT_KEPT
        };
        self.end(true, Outcome::Missing(why))
    }

    fn pause(&mut self, mut harvest: Harvest, then: Then) -> Step {
        harvest.failures += 1;
        // 50 ms between the first attempts, then up to half a second: a store that restarts takes
        // its time.
        let factor = harvest.failures.saturating_sub(TRIES).clamp(1, 10);
        self.state = State::Pausing(harvest, then);
        Step::Wait(self.pace.retry * factor)
    }

    fn resume(&mut self, harvest: Harvest, then: Then) -> Step {
        match then {
            Then::Gather => self.gather(harvest),
            Then::Write(rows) => self.write(harvest, rows),
            Then::Delete(rows) => self.delete(harvest, rows.into_iter()),
        }
    }

    fn refreshed(&self, harvest: &Harvest) -> Outcome {
        Outcome::Held(Box::new(Row {
            provider_id: self.key.provider.clone(),
            ..harvest.tokens.put_into(&harvest.row)
        }))
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

impl Harvest {
    /// Whether a failed write is tried again. A store that refuses is asked three times. One that
    /// is away is waited for: with a rotated token in hand as long as the lock lives, since the
    /// session would be lost; else three times as well, for the old one is still good.
    fn is_worth_another_try(&mut self, error: &StoreError, now_ms: i64) -> bool {
        match error {
            StoreError::Away(_) if self.rotated => now_ms < self.lock_until_ms,
            _ => {
                self.refusals += 1;
                self.refusals < TRIES
            }
        }
    }
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

impl std::fmt::Debug for Tokens {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Tokens([redacted])")
    }
}

impl std::fmt::Debug for Answer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Tokens(_) => f.write_str("Tokens"),
            Self::OtherSubject(_) => f.write_str("OtherSubject"),
            Self::Dead(why) => write!(f, "Dead({why})"),
            Self::NoUse(why) => write!(f, "NoUse({why})"),
            Self::NoAnswer(why) => write!(f, "NoAnswer({why})"),
        }
    }
}
