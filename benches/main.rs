//! What the filter costs, measured in a real Envoy: `./build.sh bench`.
//!
//! Everything that is compared runs in one Envoy and is measured in random order, again and again,
//! so that what else the machine does falls on all of it alike. The results are ratios; they go to
//! standard output, to `docs/bench/` as JSON and as plots, and into the tables of the documents
//! that have a place for them.

// A measurement that meets the unexpected stops with a message; its numbers are far from any limit.
#![allow(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss
)]

mod backend;
mod config;
mod exchange;
mod identity;
mod latency;
mod load;
mod loading;
mod memory;
mod plot;
mod process;
mod progress;
mod record;
mod report;
mod requests;
mod sharing;
mod sharing_report;
mod statistics;
mod streams;

use std::path::PathBuf;

use config::{Answered, Listener};
use progress::Progress;
use report::Report;

const USAGE: &str = "\
usage: ./build.sh bench [--quick] [--no-record] [--requests] [--sharing] [--identity]
                        [--also WASM]...

  --quick      a tenth of the rounds: a look, not a result; records nothing
  --no-record  leave docs/ as it is
  --requests   the CPU time of requests only; records nothing
  --sharing    what sharing saves and costs only; records its part
  --identity   the identity service only, which takes no Envoy; records its part
  --also WASM  the CPU time of upstream_inject in this other build of the filter, too";

/// How much of everything is measured.
pub struct Scale {
    /// Rounds of requests, and requests of each thing compared in a round.
    rounds: usize,
    requests: usize,
    /// Requests of each thing before the first round: V8 optimizes what has run often enough.
    warm_up: usize,
    /// Bodies of each kind.
    bodies: usize,
    /// Seconds of each listener at the fixed rate.
    latency: usize,
    /// Exchanges.
    exchanges: usize,
    /// Starts of each Envoy.
    starts: usize,
    /// Rounds of users who share.
    sharing: usize,
    /// Users who come back to an Envoy that has just started.
    users: usize,
    /// The identity service.
    identity: identity::Scale,
}

const FULL: Scale = Scale {
    rounds: 60,
    requests: 4000,
    warm_up: 150_000,
    bodies: 16,
    latency: 24,
    exchanges: 300,
    starts: 6,
    sharing: 24,
    users: 10_000,
    identity: identity::FULL,
};

const QUICK: Scale = Scale {
    rounds: 12,
    requests: 2000,
    warm_up: 100_000,
    bodies: 2,
    latency: 2,
    exchanges: 50,
    starts: 2,
    sharing: 4,
    users: 1000,
    identity: identity::QUICK,
};

/// The WebAssembly modules.
pub struct Wasm {
    /// `dist/upstream_inject.wasm`.
    filter: PathBuf,
    /// `benches/floor`, built.
    floor: PathBuf,
    /// The same, with feature `contexts`.
    floor_contexts: PathBuf,
    /// Other builds of the filter.
    also: Vec<PathBuf>,
}

fn main() {
    let mut scale = &FULL;
    let mut record = true;
    let (mut requests_only, mut sharing_only, mut identity_only) = (false, false, false);
    let mut also = Vec::new();
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        match (argument.as_str(), &mut arguments) {
            ("--quick", _) => (scale, record) = (&QUICK, false),
            ("--no-record", _) => record = false,
            ("--requests", _) => requests_only = true,
            ("--sharing", _) => sharing_only = true,
            ("--identity", _) => identity_only = true,
            ("--also", rest) => also.extend(rest.next().map(PathBuf::from)),
            _ => {
                eprintln!("{USAGE}");
                std::process::exit(2);
            }
        }
    }
    let target = std::env::var_os("CARGO_TARGET_DIR")
        .map_or_else(|| bed::repository().join("target"), PathBuf::from);
    if identity_only {
        let constant = target.join("tools/ext-authz-constant");
        let measured = bed::run(identity::measure(&constant, &scale.identity));
        let report = identity::Report::of(measured);
        report.print();
        if record {
            report.record();
        }
        return;
    }
    let wasm = Wasm {
        filter: bed::artifact(),
        floor: target.join("floor/wasm32-wasip1/release/floor.wasm"),
        floor_contexts: target.join("floor-contexts/wasm32-wasip1/release/floor.wasm"),
        also,
    };
    if requests_only {
        let progress = Progress::begin("requests");
        let added = bed::run(requests::measure(&wasm, scale, &progress));
        drop(progress);
        print!("{}", report::cost_table(&added));
        return;
    }
    if sharing_only {
        let progress = Progress::begin("sharing");
        let sharing = bed::run(sharing::measure(&wasm, scale, &progress));
        drop(progress);
        print!("{}", sharing.text());
        if record {
            sharing.record();
        }
        return;
    }
    let report = bed::run(measure(&wasm, scale));
    report.print();
    if record {
        report.record();
    }
}

async fn measure(wasm: &Wasm, scale: &Scale) -> Report {
    let added = requests::measure(wasm, scale, &Progress::begin("requests")).await;
    let backend = backend::start().await;
    let listeners = traffic(wasm);
    let envoy = requests::start("traffic", config::bootstrap(&listeners, backend, backend)).await;
    let streams = streams::measure(&envoy, scale, &Progress::begin("bodies")).await;
    let latency = latency::measure(&envoy, scale, &Progress::begin("latency")).await;
    drop(envoy);
    Report {
        machine: process::machine(),
        added,
        streams,
        latency,
        exchange: exchange::measure(wasm, scale, &Progress::begin("exchanges")).await,
        memory: memory::measure(wasm, &Progress::begin("memory")).await,
        loading: loading::measure(wasm, scale, &Progress::begin("loading")).await,
        sharing: sharing::measure(wasm, scale, &Progress::begin("sharing")).await,
        artifact: requests::size(&wasm.filter),
    }
}

/// The listeners in front of the backend.
fn traffic(wasm: &Wasm) -> Vec<Listener> {
    let plugin = config::plugin(1, &config::injecting());
    let filter = config::upstream_inject(&wasm.filter, "traffic", &plugin);
    [
        ("plain", Vec::new()),
        ("filter", vec![filter]),
        ("lua", vec![config::lua()]),
    ]
    .into_iter()
    .map(|(name, filters)| Listener {
        name: name.to_owned(),
        filters,
        answered: Answered::ByBackend,
    })
    .collect()
}
