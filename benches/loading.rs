//! What 10,000 backends cost at start.

use bed::Sts;

use crate::config::{self, Answered, Listener};
use crate::process::cpu_time;
use crate::progress::Progress;
use crate::requests::start;
use crate::statistics::cheapest_quarter;
use crate::{Scale, Wasm};

/// How many there are.
pub const BACKENDS: usize = 10_000;

/// Envoy's CPU time from its start until it is ready, in milliseconds.
#[derive(Clone, Copy, Debug)]
pub struct Loading {
    /// With one backend.
    pub one: f64,
    /// With [`BACKENDS`].
    pub many: f64,
}

/// Starts an Envoy with one worker, with one backend and with many, in turn.
pub async fn measure(wasm: &Wasm, scale: &Scale, progress: &Progress) -> Loading {
    let sts = Sts::start().await.expect("an STS");
    let mut millis = [Vec::new(), Vec::new()];
    for round in 0..scale.starts {
        progress.part(round, scale.starts);
        for (place, count) in [1, BACKENDS].into_iter().enumerate() {
            let plugin = config::plugin(count, &config::injecting());
            let listener = Listener {
                name: "only".to_owned(),
                filters: vec![config::upstream_inject(&wasm.filter, "loading", &plugin)],
                answered: Answered::AtOnce,
            };
            let bootstrap = config::bootstrap(&[listener], sts.address(), sts.address());
            let envoy = start("loading", bootstrap).await;
            millis[place].push(cpu_time(envoy.pid()).as_secs_f64() * 1e3);
        }
    }
    let [one, many] = millis.map(|millis| cheapest_quarter(&millis));
    Loading { one, many }
}
