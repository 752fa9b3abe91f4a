//! What Envoys leave behind: logs and stats, to explain a failure and to search for canaries.

use std::io::Write;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use super::admin;
use crate::canary;
use crate::process::Process;

/// Where stats are, in every form in which Envoy gives them out.
const STATS_PAGES: [&str; 3] = ["/stats", "/stats/prometheus", "/clusters"];

/// An Envoy that was started by this process and may still run.
#[derive(Clone)]
struct Started {
    name: String,
    directory: PathBuf,
    process: Arc<Process>,
    admin: SocketAddr,
}

static STARTED: Mutex<Vec<Started>> = Mutex::new(Vec::new());

/// Remembers an Envoy that serves, so that the canary search finds what it leaves.
pub(super) fn remember(name: &str, directory: &Path, process: &Arc<Process>, admin: SocketAddr) {
    STARTED.lock().expect("no panic in here").push(Started {
        name: name.to_owned(),
        directory: directory.to_owned(),
        process: Arc::clone(process),
        admin,
    });
}

/// Whether the Envoy with this directory was remembered.
pub(super) fn is_remembered(directory: &Path) -> bool {
    STARTED
        .lock()
        .is_ok_and(|started| started.iter().any(|other| other.directory == directory))
}

/// Leaves the stats of an Envoy that is about to end beside its logs.
pub(super) fn keep_stats(process: &Process, admin: SocketAddr, directory: &Path) {
    for page in STATS_PAGES {
        if process.ended().is_some() || process.stands_still() {
            return;
        }
        let Ok(answer) = admin::get_blocking(admin, page) else {
            return;
        };
        // If it has ended meanwhile, somebody else may have had its port, and answered.
        if process.ended().is_some() {
            return;
        }
        let file = std::fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(directory.join("stats"));
        // Without it the search still has the logs.
        let _ = file.and_then(|mut file| file.write_all(&answer));
    }
}

/// Looks for canaries in everything that the Envoys of this process have logged so far, those whose
/// names are asked for, and in their stats, which an Envoy that has been stopped has left behind. Each finding names the place
/// and shows the line. That an Envoy has ended by itself, or does not answer, is a finding too.
///
/// Not looked at: `/config_dump`, which repeats the operator's configuration, inline secrets
/// included. That is why secrets belong into environment variables.
///
/// Answers with how many places were searched, so that a search of nothing is not taken for a clean
/// one.
pub async fn search_canaries(whose: impl Fn(&str) -> bool) -> (usize, Vec<String>) {
    let started = STARTED.lock().expect("no panic in here").clone();
    let search = canary::Search::new();
    let mut searched = 0;
    let mut findings = Vec::new();
    for Started {
        name,
        directory,
        process,
        admin,
    } in started.into_iter().filter(|envoy| whose(&envoy.name))
    {
        let mut places = Vec::new();
        for file in ["stdout", "stderr", "stats"] {
            places.push((file, lossy(&directory.join(file))));
        }
        findings.extend(process.ended_by_itself());
        for page in STATS_PAGES {
            // Only one that still runs is asked: the port of another may be somebody else's by now.
            if process.ended().is_some() {
                break;
            }
            match admin::get(admin, page).await {
                _ if process.ended().is_some() => break,
                Ok(reply) => places.push((page, reply.body)),
                Err(error) => {
                    findings.push(format!("{name} cannot be searched: {error}"));
                    break;
                }
            }
        }
        for (place, text) in places {
            searched += usize::from(!text.is_empty());
            if let Some(line) = search.find(&text) {
                findings.push(format!("{name}, {place}: {line}"));
            }
        }
    }
    (searched, findings)
}

/// A file's text; nothing if there is none.
pub(super) fn lossy(path: &Path) -> String {
    std::fs::read(path)
        .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
        .unwrap_or_default()
}

/// The end of an Envoy's log.
pub(super) fn log_tail(name: &str, directory: &Path, lines: usize) -> String {
    let mut text = format!(
        "--- the end of Envoy's log ({name}, {})\n",
        directory.display()
    );
    let content = lossy(&directory.join("stderr"));
    let all: Vec<&str> = content.lines().collect();
    for line in all.iter().skip(all.len().saturating_sub(lines)) {
        text.push_str(line);
        text.push('\n');
    }
    text
}
