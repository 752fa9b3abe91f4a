//! How one behaviour becomes one named test.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use bed::{Bed, run_within};
use libtest_mimic::{Failed, Trial};
use tokio::sync::OnceCell;

/// A test's body: runs on the thread that the test runs on.
pub type Body = Pin<Box<dyn Future<Output = ()>>>;

/// Makes a list of named tests from async functions: a function that is written but not listed is
/// reported as dead code. `name from 39` is a test of what Envoy can do since 1.39; with an older one
/// it counts as ignored.
macro_rules! trials {
    ($topic:literal: $($body:ident $(from $minor:literal)?),+ $(,)?) => {
        /// The tests of this topic.
        pub fn trials() -> Vec<libtest_mimic::Trial> {
            vec![$(
                $crate::trial::trial($topic, stringify!($body), || Box::pin($body()))
                    $(.with_ignored_flag(bed::envoy::minor_version() < $minor))?
            ),+]
        }
    };
}
pub(crate) use trials;

/// How long one test may take; the longest takes half a minute on an idle machine.
const LIMIT: Duration = Duration::from_secs(110);

/// One named test.
pub fn trial(topic: &str, name: &str, body: impl FnOnce() -> Body + Send + 'static) -> Trial {
    let name = format!("{topic}::{name}");
    Trial::test(name.clone(), move || {
        let began = Instant::now();
        let outcome = outcome_within(LIMIT, &name, body);
        if let Ok(mut took) = TOOK.lock() {
            took.push((began.elapsed(), name));
        }
        outcome
    })
}

/// How long each test has taken, whatever came of it.
static TOOK: Mutex<Vec<(Duration, String)>> = Mutex::new(Vec::new());

/// The tests that took longest, a line each, and then the topics: where a suite's time can be won.
pub fn slowest(count: usize) -> String {
    let took = TOOK.lock().map(|took| took.clone()).unwrap_or_default();
    let mut topics: BTreeMap<&str, Duration> = BTreeMap::new();
    for (duration, name) in &took {
        let topic = name
            .split_once("::")
            .map_or(name.as_str(), |(topic, _)| topic);
        *topics.entry(topic).or_default() += *duration;
    }
    let tests = took
        .iter()
        .map(|(duration, name)| (*duration, name.as_str()));
    let topics = topics
        .into_iter()
        .map(|(topic, duration)| (duration, topic));
    format!(
        "the slowest:\n{}\ntopics, by what their tests took together:\n{}",
        longest(tests.collect(), count),
        longest(topics.collect(), count)
    )
}

/// The longest of these, a line each.
fn longest(mut took: Vec<(Duration, &str)>, count: usize) -> String {
    took.sort_unstable_by(|one, other| other.cmp(one));
    took.iter()
        .take(count)
        .map(|(duration, name)| format!("{:7.1} s  {name}\n", duration.as_secs_f64()))
        .collect()
}

/// Runs a test's body; a failure says what broke around it, and shows the end of Envoy's log.
pub fn outcome_within(
    limit: Duration,
    name: &str,
    body: impl FnOnce() -> Body,
) -> Result<(), Failed> {
    USED.set(None);
    bed::begin_test();
    let outcome = catch_unwind(AssertUnwindSafe(|| run_within(limit, name, body())));
    let message = match outcome {
        Ok(Ok(())) => return Ok(()),
        Ok(Err(late)) => late,
        Err(panic) => panic
            .downcast_ref::<String>()
            .map(String::as_str)
            .or_else(|| panic.downcast_ref::<&str>().copied())
            .unwrap_or("a panic without a message")
            .to_owned(),
    };
    let mishaps = bed::mishaps();
    let log = USED
        .get()
        .map(|bed| bed.envoy.log_tail(40))
        .unwrap_or_default();
    Err([vec![message], mishaps, vec![log]]
        .concat()
        .join("\n")
        .into())
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
