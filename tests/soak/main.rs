//! Mixed traffic for a long time: an Envoy with two workers, several thousand users, an STS that
//! fails in every way, clients that leave, and a new configuration twice a minute. What must hold:
//! nobody ever gets another user's credential, counters add up, memory does not grow, and when the
//! faults are over everybody is served. `--sharing`: what workers share, again and again.

mod ledger;
mod sharing;
mod traffic;

use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bed::{Bed, PluginConfig, canary, envoy, run};
use serde_json::{Value, json};

use crate::ledger::Ledger;
use crate::traffic::{BACKENDS, Faults, Users};

const USAGE: &str = "\
usage: soak [MINUTES]
       soak --sharing [RUNS]

  MINUTES   how long there is traffic (30)
  RUNS      how often 40 new users send 1,000 requests to 4 workers, which must cost 40 calls (100)
";
/// How many requests are under way at a time.
const CLIENTS: u64 = 8;
/// How often there is a new configuration.
const BETWEEN_CONFIGURATIONS: Duration = Duration::from_secs(30);
/// How often memory is looked at.
const BETWEEN_LOOKS: Duration = Duration::from_secs(5);

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1).peekable();
    let sharing = arguments.next_if_eq("--sharing").is_some();
    let number = match arguments.next().map(|argument| argument.parse()) {
        None => {
            if sharing {
                100
            } else {
                30
            }
        }
        Some(Ok(number @ 1..=1440)) => number,
        Some(_) => {
            eprint!("{USAGE}");
            return ExitCode::from(2);
        }
    };
    let flaws = if sharing {
        run(sharing::again_and_again(number))
    } else {
        run(soak(Duration::from_secs(60 * number as u64)))
    };
    for flaw in &flaws {
        eprintln!("not as it should be: {flaw}");
    }
    if flaws.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

async fn soak(duration: Duration) -> Vec<String> {
    let bed = Arc::new(start().await);
    let users = Arc::new(Users::log_in(&bed));
    let ledger = Arc::new(Ledger::default());
    let faults = Faults::start(&bed.sts);
    let end = Instant::now() + duration;
    let clients: Vec<_> = (0..CLIENTS)
        .map(|seed| traffic::client(seed, end, &bed, &users, &ledger))
        .map(tokio::spawn)
        .collect();
    let mut memory = Vec::new();
    let mut flaws = Vec::new();
    let mut configured = Instant::now();
    let mut version = 0;
    while Instant::now() < end {
        tokio::time::sleep(BETWEEN_LOOKS).await;
        memory.push(bed.envoy.resident_memory());
        // Two hours of requests would not fit into this process.
        bed.sts.forget();
        for name in BACKENDS {
            bed.backend(name).forget();
        }
        if configured.elapsed() >= BETWEEN_CONFIGURATIONS {
            configured = Instant::now();
            version += 1;
            if !bed
                .reconfigure(PluginConfig::Json(configuration(version)), &environment())
                .await
            {
                flaws.push(format!("configuration {version} was refused"));
            }
            eprintln!("{}", ledger.line(end, memory.last()));
        }
    }
    for client in clients {
        if client.await.is_err() {
            flaws.push("a client has panicked (its message is above)".to_owned());
        }
    }
    faults.stop(&bed.sts);
    flaws.extend(traffic::everybody_is_served(&bed, &users).await);
    flaws.extend(ledger.flaws());
    flaws.extend(growth(&memory));
    flaws.extend(counted(&bed, &ledger).await);
    flaws.extend(idle(&bed).await);
    drop(bed);
    flaws.extend(envoy::search_canaries(|_| true).await.1);
    eprintln!("{}", ledger.line(end, memory.last()));
    flaws
}

async fn start() -> Bed {
    let mut plan = Bed::with("soak", PluginConfig::Json(configuration(0)))
        .concurrency(2)
        .reloadable()
        .options(|options| {
            // What a configuration leaves behind is gone soon, so that memory can be compared.
            options.arguments = ["--drain-time-s", "5"].map(str::to_owned).to_vec();
            options.component_log_level = "wasm:warning,main:warning".to_owned();
        });
    for (name, value) in environment() {
        plan = plan.environment(name, value);
    }
    let plan = BACKENDS.iter().fold(plan, |plan, name| plan.backend(name));
    plan.start().await
}

fn environment() -> [(&'static str, &'static str); 1] {
    [("STS_CLIENT_SECRET", "cAnArYcAnArY-soak-secret")]
}

/// The configuration in its `version`: what users get stays the same, caches and keys differ.
fn configuration(version: usize) -> Value {
    let exchange = |audience: &str| {
        json!({"type": "token_exchange", "tokenExchange": {
            "tokenUrl": "http://localhost:9/token",
            "cluster": "sts",
            "clientId": "envoy",
            "clientSecretEnv": "STS_CLIENT_SECRET",
            "audience": format!("{audience}-{}", version % 3),
            "subjectProviderName": "corp",
            "timeout": "1s",
        }})
    };
    let max_entries = [4096, 300, 0, 1000][version % 4];
    json!({
        "authServer": {"runConfig": {
            "issuer": "https://vmcp.example.com",
            "upstreams": [{"name": "corp"}, {"name": "github"}],
        }},
        "outgoingAuth": {"source": "inline", "backends": {
            "inject": {"type": "upstream_inject", "upstreamInject": {"providerName": "github"}},
            "exchange": exchange("one"),
            "other": exchange("two"),
            "key": {"type": "header_injection", "headerInjection": {
                "headerName": "x-api-key", "headerValue": canary::token("key-", "soak"),
            }},
            "open": {"type": "unauthenticated"},
        }},
        "tokenCache": {
            "maxEntries": max_entries,
            "expirySkew": "1s",
            "negativeTtl": "2s",
            "refreshAhead": version.is_multiple_of(2),
        },
    })
}

/// Memory may not grow once everything has been used: the last quarter against the second.
fn growth(samples: &[u64]) -> Option<String> {
    const ALLOWANCE: u64 = 8 << 20;
    let median = |from: usize, to: usize| -> Option<u64> {
        let mut part = samples.get(from..to)?.to_vec();
        part.sort_unstable();
        part.get(part.len() / 2).copied()
    };
    let quarter = samples.len() / 4;
    let before = median(quarter, 2 * quarter)?;
    let after = median(samples.len() - quarter, samples.len())?;
    eprintln!("memory: {} MiB, later {} MiB", before >> 20, after >> 20);
    (after > before + before / 10 + ALLOWANCE)
        .then(|| format!("memory grew from {before} to {after} bytes"))
}

/// What the filter counted is what the clients saw. Requests of clients that left may be counted
/// or not.
async fn counted(bed: &Bed, ledger: &Ledger) -> Vec<String> {
    // The filter hands its counters over twice a second.
    tokio::time::sleep(Duration::from_secs(2)).await;
    let mut flaws = Vec::new();
    for name in BACKENDS {
        let regex = format!("upstream_inject\\.backend\\.{name}\\.");
        let outcomes = bed.envoy.stats(&regex).await;
        let sum: u64 = outcomes.iter().map(|(_, value)| value).sum();
        let (answered, sent) = ledger.requests_to(name);
        if !(answered..=sent).contains(&sum) {
            flaws.push(format!(
                "{name}: {answered} answers to {sent} requests, and the filter counted {sum}: {outcomes:?}"
            ));
        }
    }
    flaws
}

/// Nothing is under way any more.
async fn idle(bed: &Bed) -> Vec<String> {
    let mut flaws = Vec::new();
    for gauge in ["downstream_rq_active", "cluster\\.sts\\.upstream_rq_active"] {
        let busy = || async {
            let gauges = bed.envoy.stats(gauge).await;
            let sum: u64 = gauges
                .iter()
                .filter(|(name, _)| !name.contains("admin"))
                .map(|(_, value)| value)
                .sum();
            (sum == 0).then_some(())
        };
        if let Err(error) = bed::wait_for(&format!("{gauge} to be 0"), busy).await {
            flaws.push(error);
        }
    }
    let entries = bed
        .envoy
        .stat("wasmcustom.upstream_inject.cache.entries")
        .await;
    // Two workers, and never more than the largest configuration allows.
    if entries > 2 * 4096 {
        flaws.push(format!(
            "{entries} cached tokens, as if some had never been given up"
        ));
    }
    flaws
}
