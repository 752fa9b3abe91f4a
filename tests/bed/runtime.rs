//! One tokio runtime for a whole test program: servers outlive the test that started them, and the
//! test's own thread drives the test.

use std::future::Future;
use std::pin::pin;
use std::sync::LazyLock;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::{Builder, Runtime};

use crate::installation;
use crate::waiting::waits_of;

static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| {
    Builder::new_multi_thread()
        .worker_threads(2)
        .thread_name("bed")
        .enable_all()
        .build()
        .expect("a tokio runtime")
});

/// How much longer than its limit a test may block its thread, before the whole run is ended.
const GRACE: Duration = Duration::from_secs(30);

/// Runs a future to its end on this thread, with the bed's servers running beside it.
pub fn run<F: Future>(future: F) -> F::Output {
    RUNTIME.block_on(future)
}

/// [`run`] for at most `limit`, in which installations do not count. If the
/// future blocks its thread, so that it cannot be stopped, this process ends.
///
/// # Errors
/// It took longer; the message says what it was waiting for.
pub fn run_within<F: Future>(limit: Duration, name: &str, future: F) -> Result<F::Output, String> {
    let thread = std::thread::current().id();
    let told = move || match waits_of(thread) {
        waits if waits.is_empty() => "nothing that has a name".to_owned(),
        waits => waits.join(", "),
    };
    let clock = Clock::start(limit);
    let (ended, end) = channel::<()>();
    let message = format!("error: {name} blocks its thread, so the run ends here");
    std::thread::spawn(move || {
        loop {
            match end.recv_timeout(clock.left() + GRACE) {
                Err(RecvTimeoutError::Timeout) if clock.left().is_zero() => break,
                Err(RecvTimeoutError::Timeout) => {}
                Ok(()) | Err(RecvTimeoutError::Disconnected) => return,
            }
        }
        eprintln!("{message}; it was waiting for: {}", told());
        std::process::exit(101);
    });
    let outcome = run(async {
        let mut future = pin!(future);
        loop {
            match tokio::time::timeout(clock.left(), &mut future).await {
                Ok(output) => return Ok(output),
                Err(_) if clock.left().is_zero() => {
                    return Err(format!("not done after {limit:?}; waiting for: {}", told()));
                }
                Err(_) => {}
            }
        }
    });
    drop(ended);
    outcome
}

/// A limit that is longer by the time that installations take meanwhile.
#[derive(Clone, Copy)]
struct Clock {
    start: Instant,
    limit: Duration,
    installing: Duration,
}

impl Clock {
    fn start(limit: Duration) -> Self {
        Self {
            start: Instant::now(),
            limit,
            installing: installation::time_spent(),
        }
    }

    fn left(&self) -> Duration {
        let excused = installation::time_spent().saturating_sub(self.installing);
        (self.limit + excused).saturating_sub(self.start.elapsed())
    }
}

/// Spawns a server task that lives as long as the program or until it is aborted.
pub(crate) fn spawn<F>(future: F) -> tokio::task::JoinHandle<F::Output>
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    RUNTIME.spawn(future)
}

/// The next connection. If there can be none at the moment (no file descriptors are left), it is
/// waited for, rather than asked for in a loop that keeps a core busy.
pub async fn accept(listener: &TcpListener) -> TcpStream {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => return stream,
            Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
        }
    }
}

/// Lets the current thread make tokio sockets, outside of a task too.
pub(crate) fn enter() -> tokio::runtime::EnterGuard<'static> {
    RUNTIME.enter()
}
