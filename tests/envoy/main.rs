//! The compiled filter in a real Envoy, by behaviour. One Envoy per topic serves all tests of that
//! topic, which therefore use backends, users and paths of their own.
//!
//! After the last test, whatever it was, everything that the Envoys have logged and counted is
//! searched for canaries: no token and no secret of the whole run may be there.

mod plugin;
mod trial;

mod aliases;
mod bare;
mod challenges;
mod configurations;
mod door;
mod exchange_answer_table;
mod exchange_answers;
mod exchange_breaker;
mod exchange_cache;
mod exchange_credentials;
mod exchange_faults;
mod exchange_lane;
mod exchange_lifetime;
mod exchange_reload;
mod exchange_renewal;
mod exchange_request;
mod exchange_stampede;
mod exchange_timeline;
mod fallbacks;
mod features;
mod health_checks;
mod hedging;
mod identity_service;
mod mcp_conformance;
mod mcp_login;
mod mishaps;
mod own_calls;
mod placement;
mod real_mcp;
mod real_sts;
mod redirects;
mod refusals;
mod rendered;
mod selection;
mod sharing;
mod shipped;
mod static_key;
mod strategies;
mod toolhive_login;
mod traffic;
mod twice;
mod unfinished;
mod updates;
mod vendors;
mod waiting;
mod watching;
mod wrong_backend;

use std::time::Duration;

use bed::{envoy, run_within};
use libtest_mimic::{Arguments, Failed, Trial};

/// How long the search for canaries may take.
const SEARCH_LIMIT: Duration = Duration::from_secs(110);

/// How many tests, and topics, are named as the slowest after a run of more.
const SLOWEST: usize = 12;

fn main() {
    let arguments = Arguments::from_args();
    let topics = [
        bare::trials(),
        mishaps::trials(),
        strategies::trials(),
        refusals::trials(),
        health_checks::trials(),
        selection::trials(),
        sharing::trials(),
        placement::trials(),
        wrong_backend::trials(),
        door::trials(),
        features::trials(),
        fallbacks::trials(),
        redirects::trials(),
        twice::trials(),
        unfinished::trials(),
        hedging::trials(),
        own_calls::trials(),
        waiting::trials(),
        static_key::trials(),
        challenges::trials(),
        aliases::trials(),
        traffic::trials(),
        configurations::trials(),
        updates::trials(),
        vendors::trials(),
        shipped::trials(),
        identity_service::trials(),
        rendered::all_trials(),
        exchange_request::trials(),
        exchange_answers::trials(),
        exchange_cache::trials(),
        exchange_lifetime::trials(),
        exchange_stampede::trials(),
        exchange_faults::trials(),
        exchange_breaker::trials(),
        exchange_renewal::trials(),
        exchange_reload::trials(),
        exchange_credentials::trials(),
    ];
    // What other people's programs make of the filter, which is the same in any Envoy.
    let third_parties = [
        real_sts::trials(),
        real_mcp::trials(),
        mcp_login::trials(),
        watching::trials(),
        toolhive_login::trials(),
        mcp_conformance::trials(),
        rendered::kubernetes_trials(),
    ];
    let mut trials: Vec<Trial> = topics.into_iter().flatten().collect();
    let left_out = std::env::var_os("WITHOUT_THIRD_PARTIES").is_some_and(|it| !it.is_empty());
    trials.extend(
        third_parties
            .into_iter()
            .flatten()
            .map(|trial| match left_out {
                true => trial.with_ignored_flag(true),
                false => trial,
            }),
    );
    let names: Vec<String> = trials.iter().map(|trial| trial.name().to_owned()).collect();
    let name = "documentation::the_page_on_placement_names_tests_that_exist";
    trials.push(Trial::test(name, move || named_tests_exist(&names)));
    let mut conclusion = libtest_mimic::run(&arguments, trials);
    if conclusion.num_passed + conclusion.num_failed > SLOWEST as u64 {
        println!("\n{}", trial::slowest(SLOWEST));
    }
    let all = arguments.filter.is_none() && arguments.skip.is_empty();
    if !arguments.list && conclusion.num_passed + conclusion.num_failed > 0 {
        let name = "no_token_or_secret_in_logs_and_stats_of_all_envoys";
        let search = vec![Trial::test(name, move || no_canary(all))];
        let unfiltered = Arguments {
            filter: None,
            skip: Vec::new(),
            ..arguments
        };
        conclusion.num_failed += libtest_mimic::run(&unfiltered, search).num_failed;
    }
    conclusion.exit();
}

/// Every feature in the table of `docs/PLACEMENT.md` is shown by tests, which it names as
/// `topic::name`.
fn named_tests_exist(names: &[String]) -> Result<(), Failed> {
    let page = bed::repository().join("docs/PLACEMENT.md");
    let text = std::fs::read_to_string(&page).map_err(|error| error.to_string())?;
    let named: Vec<&str> = text
        .split('`')
        .skip(1)
        .step_by(2)
        .filter(|code| code.contains("::") && !code.contains(' '))
        .collect();
    if named.is_empty() {
        return Err("the page names no tests".into());
    }
    let unknown: Vec<_> = named
        .into_iter()
        .filter(|name| !names.iter().any(|known| known == name))
        .collect();
    let rows = text
        .lines()
        .skip_while(|line| !line.starts_with("| feature"));
    let rows: Vec<&str> = rows
        .skip(2)
        .take_while(|line| line.starts_with('|'))
        .collect();
    let unshown: Vec<&&str> = rows.iter().filter(|row| !row.contains("::")).collect();
    if rows.len() < 30 || !unshown.is_empty() {
        return Err(format!("rows of features that name no test: {unshown:#?}").into());
    }
    if unknown.is_empty() {
        return Ok(());
    }
    Err(format!("{} names unknown tests: {unknown:#?}", page.display()).into())
}

/// Searches the logs and stats of every Envoy that was started. After a run of `all` tests there
/// must have been something to search; some tests alone start no Envoy that serves.
fn no_canary(all: bool) -> Result<(), Failed> {
    let search = envoy::search_canaries(|_| true);
    let (searched, findings) = run_within(SEARCH_LIMIT, "the search", search)?;
    if !findings.is_empty() {
        return Err(findings.join("\n").into());
    }
    if all && searched == 0 {
        return Err("there was nothing to search".into());
    }
    Ok(())
}
