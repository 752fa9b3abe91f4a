//! Every wait of the test bed has an end, and a name: whoever runs out of time says what for.

use std::future::Future;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::ThreadId;
use std::time::{Duration, Instant};

/// How long a condition may take that always comes true on an idle machine in well under a second:
/// long enough for a machine that is busy with something else.
pub const PATIENCE: Duration = Duration::from_secs(60);

struct Wait {
    id: u64,
    thread: ThreadId,
    what: String,
    since: Instant,
}

static WAITS: Mutex<Vec<Wait>> = Mutex::new(Vec::new());

/// Something is waited for as long as this value lives.
#[derive(Debug)]
pub struct Waiting(u64);

impl Waiting {
    /// Says that this thread waits for `what` from now on.
    pub fn new(what: impl Into<String>) -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let id = NEXT.fetch_add(1, Ordering::Relaxed);
        let wait = Wait {
            id,
            thread: std::thread::current().id(),
            what: what.into(),
            since: Instant::now(),
        };
        WAITS.lock().expect("no panic in here").push(wait);
        Self(id)
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        if let Ok(mut waits) = WAITS.lock() {
            waits.retain(|wait| wait.id != self.0);
        }
    }
}

/// What a thread waits for at this moment, the oldest first, each with the time it has taken so far.
#[must_use]
pub fn waits_of(thread: ThreadId) -> Vec<String> {
    WAITS
        .lock()
        .expect("no panic in here")
        .iter()
        .filter(|wait| wait.thread == thread)
        .map(|wait| {
            format!(
                "{} ({} s so far)",
                wait.what,
                wait.since.elapsed().as_secs()
            )
        })
        .collect()
}

/// Awaits a future, but not for longer than `limit`.
///
/// # Errors
/// A sentence with `what` was waited for.
pub async fn within<F: Future>(
    limit: Duration,
    what: impl Into<String>,
    future: F,
) -> Result<F::Output, String> {
    let what = what.into();
    let _waiting = Waiting::new(&*what);
    tokio::time::timeout(limit, future)
        .await
        .map_err(|_| format!("waited {limit:?} in vain for {what}"))
}

/// Asks `probe` again and again until it answers `Some`, for at most [`PATIENCE`].
///
/// # Errors
/// A sentence with `what` was waited for.
pub async fn wait_for<T, F, Fut>(what: &str, mut probe: F) -> Result<T, String>
where
    F: FnMut() -> Fut,
    Fut: Future<Output = Option<T>>,
{
    within(PATIENCE, what, async {
        let mut pause = Duration::from_millis(2);
        loop {
            if let Some(found) = probe().await {
                return found;
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(Duration::from_millis(50));
        }
    })
    .await
}

/// [`wait_for`] for tests: panics when the condition does not come true.
pub async fn eventually<T, F, Fut>(what: &str, probe: F) -> T
where
    F: FnMut() -> Fut,
    Fut: Future<Output = Option<T>>,
{
    wait_for(what, probe)
        .await
        .unwrap_or_else(|error| panic!("{error}"))
}
