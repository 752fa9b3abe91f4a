//! The compiled filter in a real Envoy, by behaviour. One Envoy per topic serves all tests of that
//! topic, which therefore use backends, users and paths of their own.
//!
//! After the last test, whatever it was, everything that the Envoys have logged and counted is
//! searched for canaries: no token and no secret of the whole run may be there.

mod plugin;
mod trial;

mod bare;
mod real_mcp;
mod real_sts;
mod refusals;
mod strategies;
mod traffic;

use bed::{envoy, run};
use libtest_mimic::{Arguments, Failed, Trial};

fn main() {
    let arguments = Arguments::from_args();
    let topics = [
        bare::trials(),
        strategies::trials(),
        refusals::trials(),
        traffic::trials(),
        real_sts::trials(),
        real_mcp::trials(),
    ];
    let trials = topics.into_iter().flatten().collect();
    let mut conclusion = libtest_mimic::run(&arguments, trials);
    if !arguments.list {
        let last = vec![Trial::test(
            "no_token_or_secret_in_logs_and_stats_of_all_envoys",
            no_canary,
        )];
        let unfiltered = Arguments {
            filter: None,
            skip: Vec::new(),
            ..arguments
        };
        let search = libtest_mimic::run(&unfiltered, last);
        conclusion.num_failed += search.num_failed;
    }
    conclusion.exit();
}

fn no_canary() -> Result<(), Failed> {
    let (searched, findings) = run(envoy::search_canaries());
    match findings.as_slice() {
        [] if searched == 0 => Err("there was nothing to search".into()),
        [] => Ok(()),
        findings => Err(findings.join("\n").into()),
    }
}
