//! How one behaviour becomes one named test.

use std::cell::Cell;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;

use bed::{Bed, run};
use libtest_mimic::{Failed, Trial};
use tokio::sync::OnceCell;

/// A test's body: runs on the thread that the test runs on.
type Body = Pin<Box<dyn Future<Output = ()>>>;

/// Makes a list of named tests from async functions: a function that is written but not listed is
/// reported as dead code.
macro_rules! trials {
    ($topic:literal: $($body:ident),+ $(,)?) => {
        /// The tests of this topic.
        pub fn trials() -> Vec<libtest_mimic::Trial> {
            vec![$($crate::trial::trial($topic, stringify!($body), || Box::pin($body()))),+]
        }
    };
}
pub(crate) use trials;

/// One named test.
pub fn trial(topic: &str, name: &str, body: impl FnOnce() -> Body + Send + 'static) -> Trial {
    Trial::test(format!("{topic}::{name}"), move || {
        USED.set(None);
        let outcome = catch_unwind(AssertUnwindSafe(|| run(body())));
        outcome.map_err(|panic| {
            let message = panic
                .downcast_ref::<String>()
                .map(String::as_str)
                .or_else(|| panic.downcast_ref::<&str>().copied())
                .unwrap_or("a panic without a message");
            let log = USED
                .get()
                .map(|bed| bed.envoy.log_tail(40))
                .unwrap_or_default();
            Failed::from(format!("{message}\n{log}"))
        })
    })
}

thread_local! {
    /// The shared bed that this thread's test has used last: its log explains a failure.
    static USED: Cell<Option<&'static Bed>> = const { Cell::new(None) };
}

/// A bed that the tests of one topic share, started by the first of them.
pub struct SharedBed {
    cell: OnceCell<Bed>,
}

impl SharedBed {
    /// A bed that is not started yet.
    pub const fn new() -> Self {
        Self {
            cell: OnceCell::const_new(),
        }
    }

    /// The bed; `start` makes it if no test has needed it yet.
    pub async fn get<F: Future<Output = Bed>>(
        &'static self,
        start: impl FnOnce() -> F,
    ) -> &'static Bed {
        let bed = self.cell.get_or_init(start).await;
        USED.set(Some(bed));
        bed
    }
}
