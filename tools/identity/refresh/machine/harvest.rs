//! What a call brought, on its way into the store: whose rows it belongs in, and what becomes of it
//! where they cannot be written.

use super::steps::{Outcome, Step, Tokens};
use super::{Machine, State, millis};
use crate::session::store::{Claim, LockState, Replacement, StoreError, Written};
use crate::session::{Row, RowKey, RowState};

/// So many refusals, and a write is given up.
const TRIES: u32 = 3;

/// What is tried again after a pause.
pub(super) enum Then {
    Gather,
    Write(Vec<Replacement>),
    Delete(Vec<(RowKey, String)>),
}

/// What a call brought, on its way into the store.
pub(super) struct Harvest {
    pub(super) tokens: Tokens,
    /// Our row as it was.
    pub(super) row: Box<Row>,
    pub(super) rotated: bool,
    /// The tokens are somebody else's: rows go instead of being replaced.
    pub(super) foreign: bool,
    pub(super) refusals: u32,
    pub(super) failures: u32,
    pub(super) lock_until_ms: i64,
    pub(super) reclaimed: bool,
}

impl Machine {
    pub(super) fn gather(&mut self, harvest: Harvest) -> Step {
        let user = harvest.row.user_id.clone();
        self.state = State::Gathering(harvest);
        Step::Gather { user }
    }

    pub(super) fn gathered(
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

    pub(super) fn wrote(
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

    pub(super) fn reclaimed(
        &mut self,
        mut harvest: Harvest,
        rows: Vec<Replacement>,
        claim: Result<Claim, StoreError>,
        now_ms: i64,
    ) -> Step {
        let Ok(claim) = claim else {
            let outcome = self.refreshed(&harvest);
            return self.unclaimed(outcome);
        };
        if let RowState::Read(row) = &claim.row
            && row.refresh_token != self.before.refresh_token
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

    pub(super) fn reread(&mut self, harvest: &Harvest, claim: Result<Claim, StoreError>) -> Step {
        let outcome = match claim.map(|claim| claim.row) {
            Ok(RowState::Read(row)) => Outcome::Held(row),
            Ok(RowState::Gone) => Outcome::Missing(Outcome::GONE),
            Ok(RowState::Unreadable) => Outcome::Unavailable(Outcome::UNREADABLE),
            Err(_) => self.refreshed(harvest),
        };
        self.end(true, outcome)
    }

    fn delete(&mut self, harvest: Harvest, rows: impl Iterator<Item = (RowKey, String)>) -> Step {
        let rows: Vec<_> = rows.collect();
        self.state = State::Deleting(harvest, rows.clone());
        Step::Delete(rows)
    }

    pub(super) fn deleted(
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

    pub(super) fn resume(&mut self, harvest: Harvest, then: Then) -> Step {
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
