//! What `render` writes for Envoy Gateway and Istio, carried out as these control planes do and run in
//! a real Envoy: who saw what, also with other people's policies beside ours.
//!
//! Envoy Gateway is the real one (its translator, built with Go; without Go those tests say that they
//! are left out). Istio's binaries cannot be had as a library: what `istiod` would do with the
//! rendered patches is done by `merger`, to a gateway's configuration of the shape that it has there.

#[path = "../envoy/trial.rs"]
#[allow(dead_code)] // no bed is shared here
mod trial;

mod egctl;
mod envoy_gateway;
mod envoy_gateway_neighbours;
mod istio;
mod merger;
mod page;
mod resources;
mod world;

use std::time::Duration;

use bed::{envoy, run_within};
use libtest_mimic::{Arguments, Failed, Trial};

/// How long the search for canaries may take.
const SEARCH_LIMIT: Duration = Duration::from_secs(110);

fn main() {
    let arguments = Arguments::from_args();
    let mut trials = istio::trials();
    if egctl::is_there() {
        trials.extend(envoy_gateway::trials());
        trials.extend(envoy_gateway_neighbours::trials());
        trials.extend(page::trials());
    }
    let mut conclusion = libtest_mimic::run(&arguments, trials);
    if !arguments.list && conclusion.num_passed + conclusion.num_failed > 0 {
        let name = "no_token_or_secret_in_logs_and_stats_of_all_envoys";
        let search = vec![Trial::test(name, no_canary)];
        let unfiltered = Arguments {
            filter: None,
            skip: Vec::new(),
            ..arguments
        };
        conclusion.num_failed += libtest_mimic::run(&unfiltered, search).num_failed;
    }
    conclusion.exit();
}

fn no_canary() -> Result<(), Failed> {
    let search = envoy::search_canaries(|_| true);
    let (_, findings) = run_within(SEARCH_LIMIT, "the search", search)?;
    if findings.is_empty() {
        Ok(())
    } else {
        Err(findings.join("\n").into())
    }
}
