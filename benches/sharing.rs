//! What sharing saves, and what it costs: calls to the STS and CPU time per request by the number of
//! workers, the first minute of an Envoy that everybody comes back to, and how long those wait who wait
//! for another worker's call.

use std::time::{Duration, Instant};

use bed::{Answer, Envoy, Sts};
use serde_json::json;

use crate::backend::Connection;
use crate::config::{self, Answered, Listener};
use crate::exchange::STS_LATENCY;
use crate::load::Load;
use crate::process::cpu_time;
use crate::progress::Progress;
use crate::requests::start_with;
use crate::statistics::{Shuffle, cheapest_quarter, percentile};
use crate::{Scale, Wasm};

/// Numbers of workers that are compared.
const WORKERS: [u32; 3] = [1, 2, 4];
/// Connections: enough that no worker is left without.
const CONNECTIONS: usize = 24;
/// What is under way at once on each of them.
const STREAMS: usize = 2;
/// Users of each round, none of whom was there before, and the requests of each.
const USERS: usize = 200;
/// See [`USERS`].
pub const REQUESTS: usize = 20;
/// Those who come back to an Envoy that has just started, and the requests of each, at once.
const COLD_REQUESTS: usize = 4;

const LISTENER: &str = "shared";

/// Everything about sharing; of each pair the first is with it, the second without.
pub struct Sharing {
    /// By number of workers.
    pub steady: Vec<Steady>,
    /// The start.
    pub cold: [Cold; 2],
    /// How many came back.
    pub cold_users: usize,
    /// The wait.
    pub waiting: Waiting,
}

/// What a request costs where each user sends [`REQUESTS`] of them.
pub struct Steady {
    /// Of Envoy.
    pub workers: u32,
    /// Calls to the STS for each user.
    pub calls: [f64; 2],
    /// Microseconds of Envoy's CPU time for each request.
    pub micros: [f64; 2],
}

/// The start of an Envoy with four workers.
#[derive(Clone, Copy)]
pub struct Cold {
    /// Calls to the STS.
    pub calls: usize,
    /// From the first request until everybody was served.
    pub seconds: f64,
}

/// When requests were answered that came while the call was under way, in microseconds since it began:
/// half of them, and 99 of 100, no later.
pub struct Waiting {
    /// Whoever's worker made the call.
    pub owner: [f64; 2],
    /// On a connection of the same worker.
    pub joined: [f64; 2],
    /// On a connection of another one.
    pub shared: [f64; 2],
}

/// Measures everything.
pub async fn measure(wasm: &Wasm, scale: &Scale, progress: &Progress) -> Sharing {
    let sts = Sts::start().await.expect("an STS");
    let steady = steady(wasm, scale, &sts, progress).await;
    sts.set_script(|request| Answer::token_for(request).after(STS_LATENCY));
    let mut cold = Vec::new();
    for share in [true, false] {
        cold.push(cold_start(wasm, scale, &sts, share).await);
    }
    Sharing {
        steady,
        cold: [cold[0], cold[1]],
        cold_users: scale.users,
        waiting: waiting(wasm, scale, &sts).await,
    }
}

async fn envoy(wasm: &Wasm, sts: &Sts, workers: u32, share: bool) -> Envoy {
    let name = format!("sharing-{workers}-{share}");
    let mut plugin = config::plugin(1, &config::exchanging_identity_token());
    // Room for everybody, and then some: what is lost to a full bucket is not the subject here.
    plugin["tokenCache"] = json!({"share": share, "maxEntries": 100_000, "maxBytes": "512MiB"});
    let listener = Listener {
        name: LISTENER.to_owned(),
        filters: vec![config::upstream_inject(&wasm.filter, &name, &plugin)],
        answered: Answered::AtOnce,
    };
    let bootstrap = config::bootstrap(&[listener], sts.address(), sts.address());
    start_with(&name, bootstrap, workers).await
}

async fn load(envoy: &Envoy) -> Load {
    Load::with(envoy.listener(LISTENER).await, CONNECTIONS, STREAMS).await
}

async fn steady(wasm: &Wasm, scale: &Scale, sts: &Sts, progress: &Progress) -> Vec<Steady> {
    let mut all = Vec::new();
    for workers in WORKERS {
        for share in [true, false] {
            let envoy = envoy(wasm, sts, workers, share).await;
            let load = load(&envoy).await;
            load.run(scale.warm_up / 2, |_| "warm".to_owned()).await;
            all.push((envoy, load, 0, Vec::new()));
        }
    }
    let (mut shuffle, mut seen) = (Shuffle::default(), 0);
    for round in 0..scale.sharing {
        progress.part(round, scale.sharing);
        for place in shuffle.order(all.len()) {
            let (envoy, load, calls, micros) = &mut all[place];
            sts.forget();
            let before = cpu_time(envoy.pid());
            let (first, count) = (seen, USERS * REQUESTS);
            // Each user is back when everybody else was there, on whichever connection is free.
            load.run(count, move |number| subject(first + number % USERS))
                .await;
            let spent = cpu_time(envoy.pid()) - before;
            micros.push(spent.as_secs_f64() * 1e6 / count as f64);
            *calls += sts.calls();
            seen += USERS;
        }
    }
    let users = (scale.sharing * USERS) as f64;
    all.chunks(2)
        .zip(WORKERS)
        .map(|(pair, workers)| Steady {
            workers,
            calls: [0, 1].map(|side| pair[side].2 as f64 / users),
            micros: [0, 1].map(|side| cheapest_quarter(&pair[side].3)),
        })
        .collect()
}

async fn cold_start(wasm: &Wasm, scale: &Scale, sts: &Sts, share: bool) -> Cold {
    let envoy = envoy(wasm, sts, 4, share).await;
    let load = load(&envoy).await;
    sts.forget();
    let begin = Instant::now();
    load.run(scale.users * COLD_REQUESTS, |number| {
        subject(number / COLD_REQUESTS)
    })
    .await;
    Cold {
        calls: sts.calls(),
        seconds: begin.elapsed().as_secs_f64(),
    }
}

/// One user after the other comes on three connections at once: one of the worker that calls, a second
/// one of that worker, and one of another worker.
async fn waiting(wasm: &Wasm, scale: &Scale, sts: &Sts) -> Waiting {
    let envoy = envoy(wasm, sts, 4, true).await;
    let address = envoy.listener(LISTENER).await;
    let mut owner = Connection::open(address).await;
    let (mut joined, mut shared) = (None, None);
    for number in 0.. {
        if joined.is_some() && shared.is_some() {
            break;
        }
        assert!(number < 100, "a connection of each kind");
        let mut other = Connection::open(address).await;
        match waits_for_another(&envoy, sts, &mut owner, &mut other, number).await {
            true => shared = Some(other),
            false => joined = Some(other),
        }
    }
    let (mut joined, mut shared) = (joined.expect("found"), shared.expect("found"));
    let mut micros = [Vec::new(), Vec::new(), Vec::new()];
    for number in 0..scale.exchanges {
        let subject = format!("waiting-{number}");
        // The first to come is the one who calls. The others come at any point between two looks of
        // theirs; the runtime's own timers know whole milliseconds alone.
        let lead = Duration::from_micros(500 + (number as u64 * 619) % 2000);
        sts.forget();
        let begin = Instant::now();
        let timed = async |connection: &mut Connection| {
            connection.ask("GET", "", &subject).await;
            begin.elapsed().as_secs_f64() * 1e6
        };
        let after = async |connection: &mut Connection| {
            let pause = tokio::task::spawn_blocking(move || std::thread::sleep(lead));
            pause.await.expect("it only sleeps");
            timed(connection).await
        };
        let (one, two, three) =
            tokio::join!(timed(&mut owner), after(&mut joined), after(&mut shared));
        for (all, one) in micros.iter_mut().zip([one, two, three]) {
            all.push(one);
        }
        assert_eq!(sts.calls(), 1, "one call for all three");
    }
    let [owner, joined, shared] =
        micros.map(|mut all| [0.5, 0.99].map(|share| percentile(&mut all, share)));
    Waiting {
        owner,
        joined,
        shared,
    }
}

/// Whether `other` is a connection of another worker than `owner`, as the filter counts it.
async fn waits_for_another(
    envoy: &Envoy,
    sts: &Sts,
    owner: &mut Connection,
    other: &mut Connection,
    number: usize,
) -> bool {
    let result = |name: &str| format!("wasmcustom.upstream_inject.sts.{}.{name}", config::BACKEND);
    let (joined, shared) = (result("joined"), result("shared"));
    let before = envoy.stat(&shared).await;
    let both = before + envoy.stat(&joined).await;
    let subject = format!("probe-{number}");
    sts.forget();
    sts.hold();
    let (_, _, found) = tokio::join!(
        owner.ask("GET", "", &subject),
        async {
            sts.reached(1).await;
            other.ask("GET", "", &subject).await;
        },
        async {
            let found = bed::eventually("the other one to wait", || async {
                let now = envoy.stat(&shared).await;
                (now + envoy.stat(&joined).await > both).then_some(now > before)
            })
            .await;
            sts.release();
            found
        }
    );
    found
}

fn subject(user: usize) -> String {
    format!("th-jwt-of-user-{user:08}-0123456789abcdef0123456789abcdef")
}
