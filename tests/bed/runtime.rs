//! One tokio runtime for a whole test program: servers outlive the test that started them, and the
//! test's own thread drives the test.

use std::future::Future;
use std::sync::LazyLock;
use std::time::{Duration, Instant};

use tokio::runtime::{Builder, Runtime};

static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| {
    Builder::new_multi_thread()
        .worker_threads(2)
        .thread_name("bed")
        .enable_all()
        .build()
        .expect("a tokio runtime")
});

/// How long a condition may take that always comes true on an idle machine in well under a second:
/// long enough for a machine that is busy with something else.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Runs a future to its end on this thread, with the bed's servers running beside it.
pub fn run<F: Future>(future: F) -> F::Output {
    RUNTIME.block_on(future)
}

/// Spawns a server task that lives as long as the program or until it is aborted.
pub(crate) fn spawn<F>(future: F) -> tokio::task::JoinHandle<F::Output>
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    RUNTIME.spawn(future)
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
    let start = Instant::now();
    let mut pause = Duration::from_millis(2);
    loop {
        if let Some(found) = probe().await {
            return Ok(found);
        }
        if start.elapsed() > PATIENCE {
            return Err(format!("waited {PATIENCE:?} in vain for {what}"));
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(Duration::from_millis(50));
    }
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

/// Lets the current thread make tokio sockets, outside of a task too.
pub(crate) fn enter() -> tokio::runtime::EnterGuard<'static> {
    RUNTIME.enter()
}
