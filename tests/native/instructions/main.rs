//! How many instructions the filter executes for one request, per strategy: a measure that noise
//! cannot fool, compared with recorded values.
//!
//! Each scenario runs in this very program under `valgrind --tool=callgrind`, once with few
//! requests and once with more; the difference, divided by the number of requests more, is what
//! one request costs once everything is warm. Counted is what the filter's own callbacks execute,
//! and what they have the filter's memory allocator do; the fake host is left out. The allocator is
//! the one that the wasm target uses, not the machine's.
//!
//! ```text
//! cargo test --release -p upstream-inject-instructions            compare with recorded.tsv
//! RECORD=1 cargo test --release -p upstream-inject-instructions   write it anew, to be committed
//!                                                                 with the change that moved it
//! ```
#![allow(
    missing_docs,
    dead_code,
    reason = "a test; the fake host can do more than it needs"
)]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects
)]

#[path = "../host/mod.rs"]
mod host;
mod recorded;
mod scenarios;

use recorded::Recorded;
use scenarios::SCENARIOS;
use std::env;
use std::process::{Command, ExitCode, Stdio};

#[global_allocator]
static ALLOCATOR: dlmalloc::GlobalDlmalloc = dlmalloc::GlobalDlmalloc;

/// Requests that warm everything up, and requests that are counted on top of them.
const WARM: u64 = 100;
const COUNTED: u64 = 400;

/// Where counting starts and, at the return, ends; within, each of [`HOST`] stops it, and what the
/// host has the filter allocate is counted again.
const FILTER: [&str; 4] = [
    "upstream_inject_on_context_create",
    "upstream_inject_on_request_headers",
    "upstream_inject_on_response_headers",
    "upstream_inject_on_delete",
];
const HOST: [&str; 11] = [
    "proxy_get_property",
    "proxy_set_property",
    "proxy_get_header_map_value",
    "proxy_replace_header_map_value",
    "proxy_remove_header_map_value",
    "proxy_send_local_response",
    "proxy_get_current_time_nanoseconds",
    "clock_time_get",
    "proxy_log",
    "proxy_get_log_level",
    "upstream_inject_on_memory_allocate",
];

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    if let [run, scenario, requests] = &arguments[..]
        && run == "run"
    {
        scenarios::run(scenario, requests.parse().unwrap());
        return ExitCode::SUCCESS;
    }
    if arguments.iter().any(|argument| argument == "--list") {
        println!("instructions: test");
        return ExitCode::SUCCESS;
    }
    if cfg!(debug_assertions) {
        return skip(
            "an unoptimized build says nothing; use: cargo test --release -p upstream-inject-instructions",
        );
    }
    if !cfg!(target_arch = "x86_64") {
        eprintln!("\n  SKIPPED: the recorded instructions per request are those of an x86-64\n");
        return ExitCode::SUCCESS;
    }
    let valgrind = Command::new("valgrind").arg("--version").output();
    match valgrind {
        Ok(output) if output.status.success() => compare(),
        _ => skip("valgrind is missing (Debian: apt-get install valgrind)"),
    }
}

/// Where it must not be skipped, `REQUIRE_VALGRIND` makes it a failure.
fn skip(why: &str) -> ExitCode {
    eprintln!("\n  SKIPPED: instructions per request are not counted: {why}\n");
    match is_set("REQUIRE_VALGRIND") {
        true => ExitCode::FAILURE,
        false => ExitCode::SUCCESS,
    }
}

fn is_set(variable: &str) -> bool {
    env::var_os(variable).is_some_and(|value| !value.is_empty())
}

fn compare() -> ExitCode {
    let counted: Vec<(&str, u64)> = SCENARIOS
        .iter()
        .map(|scenario| (scenario.name, per_request(scenario.name)))
        .collect();
    if is_set("RECORD") {
        Recorded::write(&counted);
        return ExitCode::SUCCESS;
    }
    match Recorded::read().compare(&counted) {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    }
}

/// The instructions of one request of `scenario`.
fn per_request(scenario: &str) -> u64 {
    let (few, more) = (count(scenario, WARM), count(scenario, WARM + COUNTED));
    (more - few) / COUNTED
}

/// The instructions of so many requests, and of everything before them.
fn count(scenario: &str, requests: u64) -> u64 {
    let mut valgrind = Command::new("valgrind");
    valgrind.args(["--tool=callgrind", "--callgrind-out-file=/dev/null"]);
    valgrind.args(
        FILTER
            .iter()
            .chain(&HOST)
            .map(|f| format!("--toggle-collect={f}")),
    );
    valgrind.arg(env::current_exe().unwrap());
    valgrind.args(["run", scenario, &requests.to_string()]);
    let output = valgrind.stdin(Stdio::null()).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{scenario}: {said}");
    let collected = said
        .lines()
        .find_map(|line| line.split_once("Collected : "));
    match collected.and_then(|(_, number)| number.trim().parse().ok()) {
        Some(number) => number,
        None => panic!("valgrind did not say how many: {said}"),
    }
}
