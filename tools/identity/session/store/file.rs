//! Sessions from a file, for trials and the demo: read once, changed in memory by refreshes.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;

use super::{
    Claim, Ended, Lock, LockState, Owner, Replacement, Rows, Store, StoreError, Wanted, Written,
};
use crate::session::{Digest, Row, RowKey, RowState, SessionId};
use crate::time::now_ms;

/// A store in memory.
#[derive(Default)]
pub(crate) struct FileStore {
    held: Mutex<Held>,
}

#[derive(Default)]
struct Held {
    rows: HashMap<RowKey, Row>,
    locks: HashMap<Digest, (Owner, i64)>,
    redeemed: HashMap<Digest, i64>,
}

impl FileStore {
    /// A store of these rows.
    #[must_use]
    pub(crate) fn new(rows: impl IntoIterator<Item = (RowKey, Row)>) -> Self {
        Self {
            held: Mutex::new(Held {
                rows: rows.into_iter().collect(),
                ..Held::default()
            }),
        }
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Held {
    fn owns(&self, lock: &Lock) -> bool {
        self.locks
            .get(&lock.token)
            .is_some_and(|(owner, until)| *owner == lock.owner && *until > now_ms())
    }

    fn holds(&self, row: &RowKey, refresh_token: &str) -> bool {
        self.rows
            .get(row)
            .is_some_and(|row| row.refresh_token == refresh_token)
    }

    fn state(&self, row: &RowKey) -> RowState {
        self.rows
            .get(row)
            .map_or(RowState::Gone, |row| RowState::Read(Box::new(row.clone())))
    }
}

impl fmt::Debug for FileStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("FileStore")
    }
}

fn end_of(life: Duration) -> i64 {
    now_ms().saturating_add(i64::try_from(life.as_millis()).unwrap_or(i64::MAX))
}

#[async_trait]
impl Store for FileStore {
    async fn read(&self, session: &SessionId, wanted: Wanted<'_>) -> Result<Rows, StoreError> {
        Ok(self
            .held()
            .rows
            .iter()
            .filter(|(key, _)| key.session == *session)
            .filter(|(key, _)| match wanted {
                Wanted::All(_) => true,
                Wanted::Named(names) => names.contains(&key.provider),
            })
            .map(|(key, row)| (key.provider.clone(), RowState::Read(Box::new(row.clone()))))
            .collect())
    }

    async fn claim(
        &self,
        lock: &Lock,
        lifetime: Duration,
        row: &RowKey,
    ) -> Result<Claim, StoreError> {
        let now = now_ms();
        let mut held = self.held();
        held.locks.retain(|_, (_, until)| *until > now);
        held.redeemed.retain(|_, until| *until > now);
        let state = if held.redeemed.contains_key(&lock.token) {
            LockState::Redeemed
        } else {
            let (owner, _) = held
                .locks
                .entry(lock.token)
                .or_insert_with(|| (lock.owner.clone(), end_of(lifetime)));
            if *owner == lock.owner {
                LockState::Ours
            } else {
                LockState::Held
            }
        };
        Ok(Claim {
            lock: state,
            row: held.state(row),
        })
    }

    async fn rows_with(
        &self,
        user: &str,
        provider: &str,
        refresh_token: &str,
    ) -> Result<Vec<(RowKey, Row)>, StoreError> {
        if user.is_empty() {
            return Ok(Vec::new());
        }
        Ok(self
            .held()
            .rows
            .iter()
            .filter(|(key, row)| {
                key.provider == provider
                    && row.user_id == user
                    && row.refresh_token == refresh_token
            })
            .map(|(key, row)| (key.clone(), row.clone()))
            .collect())
    }

    async fn write(
        &self,
        lock: &Lock,
        refresh_token: &str,
        rows: &[Replacement],
        redeemed: Option<Duration>,
    ) -> Result<Written, StoreError> {
        let mut held = self.held();
        if !held.owns(lock) {
            return Ok(Written::NotOurs);
        }
        let mut written = 0;
        for replacement in rows {
            if held.holds(&replacement.key, refresh_token) {
                held.rows
                    .insert(replacement.key.clone(), replacement.row.clone());
                written += 1;
            }
        }
        if let Some(life) = redeemed {
            held.redeemed.insert(lock.token, end_of(life));
        }
        Ok(Written::Rows(written))
    }

    async fn delete(
        &self,
        lock: &Lock,
        refresh_token: &str,
        rows: &[(RowKey, String)],
    ) -> Result<Written, StoreError> {
        let mut held = self.held();
        if !held.owns(lock) {
            return Ok(Written::NotOurs);
        }
        let mut deleted = 0;
        for (key, _) in rows {
            if held.holds(key, refresh_token) {
                held.rows.remove(key);
                deleted += 1;
            }
        }
        Ok(Written::Rows(deleted))
    }

    async fn release(&self, lock: &Lock) -> Result<(), StoreError> {
        let mut held = self.held();
        if held.owns(lock) {
            held.locks.remove(&lock.token);
        }
        Ok(())
    }

    async fn registration(&self, _id: &str) -> Result<Option<Vec<u8>>, StoreError> {
        Ok(None)
    }

    async fn end_client(
        &self,
        _session: &SessionId,
        _signature: &str,
    ) -> Result<Ended, StoreError> {
        Ok(Ended::NothingFound)
    }

    async fn ping(&self) -> Result<(), StoreError> {
        Ok(())
    }
}
