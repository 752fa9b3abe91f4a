//! What was sent and what came back.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::Instant;

/// What the clients did and saw.
#[derive(Default)]
pub struct Ledger(Mutex<Entries>);

#[derive(Default)]
struct Entries {
    sent: BTreeMap<&'static str, u64>,
    answered: BTreeMap<&'static str, u64>,
    statuses: BTreeMap<(&'static str, u16), u64>,
    broken: u64,
    left: u64,
    flaws: Vec<String>,
}

/// How a request ended for its client.
pub enum Ended {
    /// It was answered with this status.
    Answered(u16),
    /// The client left.
    Left,
    /// The connection broke.
    Broken,
}

impl Ledger {
    /// A request begins.
    pub fn sent(&self, backend: &'static str) {
        *self.entries().sent.entry(backend).or_default() += 1;
    }

    /// A request ended.
    pub fn ended(&self, backend: &'static str, how: &Ended) {
        let mut entries = self.entries();
        match how {
            Ended::Answered(status) => {
                *entries.answered.entry(backend).or_default() += 1;
                *entries.statuses.entry((backend, *status)).or_default() += 1;
            }
            Ended::Left => entries.left += 1,
            Ended::Broken => entries.broken += 1,
        }
    }

    /// Something was not as it should be. The first hundred tell enough.
    pub fn flaw(&self, flaw: String) {
        let mut entries = self.entries();
        if entries.flaws.len() < 100 {
            entries.flaws.push(flaw);
        }
    }

    /// Answers to, and requests to a backend.
    pub fn requests_to(&self, backend: &str) -> (u64, u64) {
        let entries = self.entries();
        let of = |map: &BTreeMap<&str, u64>| map.get(backend).copied().unwrap_or(0);
        (of(&entries.answered), of(&entries.sent))
    }

    /// What was not as it should be.
    pub fn flaws(&self) -> Vec<String> {
        let entries = self.entries();
        let mut flaws = entries.flaws.clone();
        let sent: u64 = entries.sent.values().sum();
        // Connections of a configuration that drains are closed; a request may cross that.
        if entries.broken * 200 > sent {
            flaws.push(format!("{} of {sent} connections broke", entries.broken));
        }
        for backend in crate::traffic::BACKENDS {
            if !entries.statuses.contains_key(&(backend, 200)) {
                flaws.push(format!("nobody was served by {backend}"));
            }
        }
        flaws
    }

    /// One line of progress.
    pub fn line(&self, end: Instant, memory: Option<&u64>) -> String {
        let entries = self.entries();
        let left = end.saturating_duration_since(Instant::now()).as_secs();
        let statuses: Vec<String> = entries
            .statuses
            .iter()
            .map(|((backend, status), count)| format!("{backend} {status}: {count}"))
            .collect();
        format!(
            "{left} s left, {} MiB, {} clients left, {} connections broke, {} flaws; {}",
            memory.copied().unwrap_or(0) >> 20,
            entries.left,
            entries.broken,
            entries.flaws.len(),
            statuses.join(", "),
        )
    }

    fn entries(&self) -> std::sync::MutexGuard<'_, Entries> {
        self.0.lock().expect("no panic in here")
    }
}
