//! The linear memory of a VM, at rest and with a full cache.

use bed::{Answer, Sts};

use crate::Wasm;
use crate::config::{self, Answered, Listener};
use crate::load::Load;
use crate::process::{LinearMemory, linear_memories};
use crate::progress::Progress;
use crate::requests::start;

/// As many as `tokenCache.maxEntries` allows by default.
pub const TOKENS: usize = 4096;
/// The length of each token, and of each subject token, in bytes.
pub const TOKEN_LENGTH: usize = 1024;

/// The memory of the worker's VM.
#[derive(Clone, Copy, Debug)]
pub struct Memory {
    /// With one backend, before the first request.
    pub at_rest: LinearMemory,
    /// With [`TOKENS`] tokens in the cache.
    pub full: LinearMemory,
}

/// Measures one VM.
pub async fn measure(wasm: &Wasm, progress: &Progress) -> Memory {
    let sts = Sts::start().await.expect("an STS");
    sts.set_script(|_| Answer::token(&"t".repeat(TOKEN_LENGTH)));
    let plugin = config::plugin(1, &config::exchanging_identity_token());
    let listener = Listener {
        name: "exchange".to_owned(),
        filters: vec![config::upstream_inject(&wasm.filter, "memory", &plugin)],
        answered: Answered::AtOnce,
    };
    let bootstrap = config::bootstrap(&[listener], sts.address(), sts.address());
    let envoy = start("memory", bootstrap).await;
    let at_rest = largest(envoy.pid());
    progress.part(1, 2);
    let load = Load::connect(envoy.listener("exchange").await).await;
    load.run(TOKENS, |number| format!("{number:0TOKEN_LENGTH$}"))
        .await;
    let held = "wasmcustom.upstream_inject.cache.entries";
    envoy.expect_stat(held, TOKENS as u64).await;
    Memory {
        at_rest,
        full: largest(envoy.pid()),
    }
}

/// Envoy keeps a VM for its main thread too, which serves no request: the worker's is the largest.
fn largest(pid: u32) -> LinearMemory {
    linear_memories(pid)
        .into_iter()
        .max_by_key(|memory| memory.size)
        .expect("Envoy has a VM")
}
