//! Installs what the tests are run against, Envoy and the programs of third parties, by scripts that
//! print where it is. Each is asked for once in a process; what cannot be had fails at once whoever
//! needs it, and nobody else.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::Command;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use crate::process;
use crate::repository;

/// How long it may take to install something: the scripts have limits of their own, of half an hour
/// at most.
const LIMIT: Duration = Duration::from_secs(1900);

type Outcome = Result<PathBuf, String>;

static OUTCOMES: Mutex<BTreeMap<(&str, &str), Outcome>> = Mutex::new(BTreeMap::new());

/// Finished installations, and the start of the one that is under way.
static CLOCK: Mutex<(Duration, Option<Instant>)> = Mutex::new((Duration::ZERO, None));

/// How long this process has spent on installing so far.
pub(crate) fn time_spent() -> Duration {
    let (finished, under_way) = *CLOCK.lock().expect("no panic in here");
    finished + under_way.map_or(Duration::ZERO, |start| start.elapsed())
}

/// Runs a script of `tests/` with an argument ("" for none) and answers with the path on the last
/// line that it prints.
///
/// # Errors
/// It fails or does not end in time; what it said is in the message.
pub(crate) fn install(script: &'static str, part: &'static str) -> Outcome {
    let mut outcomes = OUTCOMES.lock().expect("no panic in here");
    let outcome = outcomes.entry((script, part)).or_insert_with(|| {
        CLOCK.lock().expect("no panic in here").1 = Some(Instant::now());
        let outcome = run(script, part);
        let mut clock = CLOCK.lock().expect("no panic in here");
        let took = clock
            .1
            .take()
            .map_or(Duration::ZERO, |start| start.elapsed());
        clock.0 += took;
        outcome
    });
    outcome.clone()
}

fn run(script: &str, part: &str) -> Outcome {
    let mut command = Command::new("bash");
    command.arg(repository().join("tests").join(script));
    if !part.is_empty() {
        command.arg(part);
    }
    let what = format!("{script} {part}");
    let output = process::output(what.trim_end(), LIMIT, command)?;
    match String::from_utf8_lossy(&output.stdout).lines().last() {
        Some(path) if output.status.success() => Ok(PathBuf::from(path)),
        _ => Err(format!(
            "{} failed:\n{}",
            what.trim_end(),
            String::from_utf8_lossy(&output.stderr)
        )),
    }
}
