//! Bodies: the filter must not touch them.

use std::time::Instant;

use bed::Envoy;

use crate::Scale;
use crate::backend::{BODY, Connection, EVENTS};
use crate::process::cpu_time;
use crate::progress::Progress;
use crate::statistics::{Shuffle, cheapest_quarter};

/// One kind of body, without and with the filter: `[without, with]`.
#[derive(Clone, Debug)]
pub struct Stream {
    /// In words.
    pub what: &'static str,
    /// Units a second: bytes or events.
    pub throughput: [f64; 2],
    /// Envoy's CPU time per unit, in nanoseconds.
    pub cpu_nanos: [f64; 2],
}

const KINDS: [(&str, usize); 3] = [
    ("256 MB down", BODY),
    ("256 MB up", BODY),
    ("10,000 server-sent events", EVENTS),
];

/// Measures all kinds through the listeners `plain` and `filter`.
pub async fn measure(envoy: &Envoy, scale: &Scale, progress: &Progress) -> Vec<Stream> {
    let mut connections = [
        Connection::open(envoy.listener("plain").await).await,
        Connection::open(envoy.listener("filter").await).await,
    ];
    let mut seconds = vec![[Vec::new(), Vec::new()]; KINDS.len()];
    let mut cpu = seconds.clone();
    let mut shuffle = Shuffle::default();
    for round in 0..scale.bodies {
        progress.part(round, scale.bodies);
        for place in shuffle.order(KINDS.len() * 2) {
            let (kind, side) = (place / 2, place % 2);
            let (start, before) = (Instant::now(), cpu_time(envoy.pid()));
            match kind {
                0 => connections[side].download().await,
                1 => connections[side].upload().await,
                _ => connections[side].events().await,
            }
            seconds[kind][side].push(start.elapsed().as_secs_f64());
            cpu[kind][side].push((cpu_time(envoy.pid()) - before).as_secs_f64());
        }
    }
    KINDS
        .iter()
        .enumerate()
        .map(|(kind, (what, units))| {
            let units = *units as f64;
            let best = |values: &[Vec<f64>; 2]| [0, 1].map(|side| cheapest_quarter(&values[side]));
            Stream {
                what,
                throughput: best(&seconds[kind]).map(|seconds| units / seconds),
                cpu_nanos: best(&cpu[kind]).map(|seconds| seconds * 1e9 / units),
            }
        })
        .collect()
}
