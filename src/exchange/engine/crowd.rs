//! Who waits, all together and for each backend: so many and no more.

use crate::table::Table;

/// The most requests of one backend that wait in one worker: each holds a place among the backend's
/// own requests, and users who have their token must find one.
pub(super) const MAX_WAITING_PER_BACKEND: u32 = 512;
/// The most requests that wait in one worker, and the most exchanges under way.
pub(crate) const MAX_WAITING: usize = 8192;

/// A request that waits.
pub(super) struct Waiting<W> {
    pub backend: u32,
    pub waiter: W,
}

/// How many requests wait.
pub(super) struct Crowd {
    pub all: usize,
    pub of_backend: Table<u32, u32>,
}

impl Crowd {
    /// Nobody. `seed` is random.
    pub(super) fn new(seed: u64) -> Self {
        Self {
            all: 0,
            of_backend: Table::new(seed),
        }
    }

    /// Whether one more may wait for `backend`.
    pub(super) fn has_room(&self, backend: u32) -> bool {
        let of_backend = self.of_backend.get(&backend).copied().unwrap_or(0);
        self.all < MAX_WAITING && of_backend < MAX_WAITING_PER_BACKEND
    }

    /// A request of `backend` comes to wait.
    pub(super) fn comes(&mut self, backend: u32) {
        self.all = self.all.saturating_add(1);
        if let Some(of_backend) = self.of_backend.or_insert(backend, 0) {
            *of_backend = of_backend.saturating_add(1);
        }
    }

    /// One of `backend` waits no longer.
    pub(super) fn goes(&mut self, backend: u32) {
        self.all = self.all.saturating_sub(1);
        if let Some(of_backend) = self.of_backend.get_mut(&backend) {
            *of_backend = of_backend.saturating_sub(1);
            if *of_backend == 0 {
                self.of_backend.remove(&backend);
            }
        }
    }

    /// All of these wait no longer: here they are.
    pub(super) fn all_go<W>(&mut self, waiting: Vec<Waiting<W>>) -> Vec<W> {
        for one in &waiting {
            self.goes(one.backend);
        }
        waiting.into_iter().map(|one| one.waiter).collect()
    }
}
