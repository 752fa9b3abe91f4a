//! CPU time per request: everything in one Envoy, in random order, over and over.
//!
//! Each filter stands [`COPIES`] times in its chain, which divides the noise by as much. The machine
//! may be busy with something else: that makes rounds dearer, never cheaper, so the mean of the
//! cheapest quarter of all rounds counts.

use std::path::Path;

use bed::{Envoy, EnvoyOptions, Sts};
use serde_json::Value;

use crate::config::{self, Answered, Listener, READS};
use crate::load::Load;
use crate::process::cpu_time;
use crate::progress::Progress;
use crate::statistics::{Shuffle, cheapest_quarter};
use crate::{Scale, Wasm};

/// How often a filter stands in its chain.
const COPIES: usize = 4;

/// What is compared, by key.
pub const NOTHING: &str = "nothing";
/// See [`NOTHING`].
pub const EMPTY: &str = "empty";
/// See [`NOTHING`].
pub const BARE: &str = "bare";
/// See [`NOTHING`].
pub const READING: &str = "reading";
/// See [`NOTHING`].
pub const CONTRACT: &str = "contract";
/// See [`NOTHING`].
pub const INJECT: &str = "inject";
/// See [`NOTHING`].
pub const INJECT_20: &str = "inject-20";
/// See [`NOTHING`].
pub const INJECT_10000: &str = "inject-10000";
/// See [`NOTHING`].
pub const CACHED: &str = "cached";
/// See [`NOTHING`].
pub const HEADER: &str = "header";
/// See [`NOTHING`].
pub const LUA: &str = "lua";
/// See [`NOTHING`].
pub const MUTATION: &str = "header-mutation";

/// What one filter adds to a request.
#[derive(Clone, Debug)]
pub struct Added {
    /// Which filter.
    pub key: String,
    /// In words.
    pub what: String,
    /// Microseconds of Envoy's CPU time.
    pub micros: f64,
    /// Half the difference between the even and the odd rounds.
    pub uncertainty: f64,
}

struct Compared {
    key: String,
    what: String,
    filters: Vec<Value>,
}

fn compared(wasm: &Wasm) -> Vec<Compared> {
    let mut all = Vec::new();
    let mut add = |key: &str, what: &str, filter: Option<Value>| {
        all.push(Compared {
            key: key.to_owned(),
            what: what.to_owned(),
            filters: filter.map_or_else(Vec::new, |filter| vec![filter; COPIES]),
        });
    };
    let floor = |key: &str, reads: &[&str]| Some(config::floor(&wasm.floor, key, reads));
    let ours = |key: &str, count: usize, strategy: &Value| {
        let plugin = config::plugin(count, strategy);
        Some(config::upstream_inject(&wasm.filter, key, &plugin))
    };
    let inject = config::injecting();
    add(NOTHING, "no filter", None);
    add(MUTATION, "header_mutation", Some(config::header_mutation()));
    add(EMPTY, "empty wasm filter", floor(EMPTY, &[]));
    add(
        BARE,
        "bare floor: token read, header set",
        floor(BARE, &READS[2..]),
    );
    add(
        READING,
        "floor that also reads cluster and health check",
        floor(READING, &READS),
    );
    add(
        CONTRACT,
        "the same, told of each stream's begin and end",
        Some(config::floor(&wasm.floor_contexts, CONTRACT, &READS)),
    );
    add(LUA, "Lua, without any check", Some(config::lua()));
    add(INJECT, "upstream_inject", ours(INJECT, 1, &inject));
    add(
        INJECT_20,
        "upstream_inject, 20 backends",
        ours(INJECT_20, 20, &inject),
    );
    add(
        INJECT_10000,
        "upstream_inject, 10,000 backends",
        ours(INJECT_10000, 10_000, &inject),
    );
    let cached = config::exchanging_upstream_token();
    add(CACHED, "token_exchange, cached", ours(CACHED, 1, &cached));
    add(
        HEADER,
        "header_injection",
        ours(HEADER, 1, &config::header_injection()),
    );
    for (number, other) in wasm.also.iter().enumerate() {
        let (key, plugin) = (format!("also-{number}"), config::plugin(1, &inject));
        let what = format!("upstream_inject, {}", other.display());
        add(
            &key,
            &what,
            Some(config::upstream_inject(other, &key, &plugin)),
        );
    }
    all
}

/// Measures everything.
pub async fn measure(wasm: &Wasm, scale: &Scale, progress: &Progress) -> Vec<Added> {
    let sts = Sts::start().await.expect("an STS");
    let compared = compared(wasm);
    let listeners: Vec<Listener> = compared
        .iter()
        .map(|one| Listener {
            name: one.key.clone(),
            filters: one.filters.clone(),
            answered: Answered::AtOnce,
        })
        .collect();
    // No request of this part gets as far as the backend.
    let bootstrap = config::bootstrap(&listeners, sts.address(), sts.address());
    let envoy = start("requests", bootstrap).await;
    let mut loads = Vec::new();
    for one in &compared {
        let load = Load::connect(envoy.listener(&one.key).await).await;
        load.run(scale.warm_up, identity_token).await;
        loads.push(load);
    }
    let mut rounds: Vec<Vec<f64>> = vec![Vec::new(); compared.len()];
    let mut shuffle = Shuffle::default();
    for round in 0..scale.rounds {
        progress.part(round, scale.rounds);
        for place in shuffle.order(compared.len()) {
            let before = cpu_time(envoy.pid());
            loads[place].run(scale.requests, identity_token).await;
            let spent = cpu_time(envoy.pid()) - before;
            rounds[place].push(spent.as_secs_f64() * 1e6 / scale.requests as f64);
        }
    }
    summarize(&compared, &rounds)
}

fn identity_token(_: usize) -> String {
    "th-jwt-0123456789abcdef0123456789abcdef".to_owned()
}

fn summarize(compared: &[Compared], rounds: &[Vec<f64>]) -> Vec<Added> {
    let every = |which: fn(usize) -> bool, place: usize| {
        let picked: Vec<f64> = rounds[place]
            .iter()
            .enumerate()
            .filter(|(round, _)| which(*round))
            .map(|(_, micros)| *micros)
            .collect();
        cheapest_quarter(&picked)
    };
    compared
        .iter()
        .enumerate()
        .map(|(place, one)| {
            let copies = one.filters.len().max(1) as f64;
            let base = if one.filters.is_empty() { 0.0 } else { 1.0 };
            let added =
                |which: fn(usize) -> bool| (every(which, place) - base * every(which, 0)) / copies;
            Added {
                key: one.key.clone(),
                what: one.what.clone(),
                micros: added(|_| true),
                uncertainty: (added(|round| round % 2 == 0) - added(|round| round % 2 == 1)).abs()
                    / 2.0,
            }
        })
        .collect()
}

/// Starts an Envoy at the log level that operators run it at.
pub async fn start(name: &str, bootstrap: String) -> Envoy {
    start_with(name, bootstrap, 1).await
}

/// The same with so many workers.
pub async fn start_with(name: &str, bootstrap: String, workers: u32) -> Envoy {
    let mut options = EnvoyOptions::new(&format!("bench-{name}"), bootstrap);
    options.concurrency = workers;
    options.component_log_level = "wasm:info,main:warning".to_owned();
    Envoy::start(options)
        .await
        .unwrap_or_else(|error| panic!("{error}"))
}

/// The size of a file.
pub fn size(path: &Path) -> u64 {
    std::fs::metadata(path).map_or(0, |metadata| metadata.len())
}
