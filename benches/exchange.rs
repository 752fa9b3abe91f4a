//! What a cold exchange costs the one who waits: against asking the same STS through the same Envoy
//! without the filter.

use std::time::{Duration, Instant};

use bed::{Answer, Sts};

use crate::Scale;
use crate::Wasm;
use crate::backend::Connection;
use crate::config::{self, Answered, Listener};
use crate::progress::Progress;
use crate::requests::start;
use crate::statistics::percentile;

/// How long the STS takes to answer.
pub const STS_LATENCY: Duration = Duration::from_millis(5);

/// Medians, in microseconds.
#[derive(Clone, Copy, Debug)]
pub struct ColdExchange {
    /// A round trip to the STS.
    pub bare: f64,
    /// A request whose token must be exchanged first.
    pub cold: f64,
}

/// Measures both in turn.
pub async fn measure(wasm: &Wasm, scale: &Scale, progress: &Progress) -> ColdExchange {
    let sts = Sts::start().await.expect("an STS");
    sts.set_script(|request| Answer::token_for(request).after(STS_LATENCY));
    let plugin = config::plugin(1, &config::exchanging_identity_token());
    let listeners = [
        Listener {
            name: "sts".to_owned(),
            filters: Vec::new(),
            answered: Answered::BySts,
        },
        Listener {
            name: "cold".to_owned(),
            filters: vec![config::upstream_inject(&wasm.filter, "cold", &plugin)],
            answered: Answered::AtOnce,
        },
    ];
    let bootstrap = config::bootstrap(&listeners, sts.address(), sts.address());
    let envoy = start("exchange", bootstrap).await;
    let mut bare = Connection::open(envoy.listener("sts").await).await;
    let mut cold = Connection::open(envoy.listener("cold").await).await;
    let mut micros = [Vec::new(), Vec::new()];
    for number in 0..scale.exchanges {
        progress.part(number, scale.exchanges);
        let start = Instant::now();
        bare.ask("POST", "subject_token=x", "none").await;
        micros[0].push(start.elapsed().as_secs_f64() * 1e6);
        let start = Instant::now();
        cold.ask("GET", "", &format!("subject-{number}")).await;
        micros[1].push(start.elapsed().as_secs_f64() * 1e6);
    }
    assert_eq!(
        sts.calls(),
        scale.exchanges * 2,
        "every request reaches the STS once"
    );
    let [bare, cold] = micros.map(|mut micros| percentile(&mut micros, 0.5));
    ColdExchange { bare, cold }
}
