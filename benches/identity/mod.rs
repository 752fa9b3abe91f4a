//! What the identity service costs: on one core, against a server that answers each check with a
//! constant, in the same run (`./build.sh bench --identity`).

mod load;
mod report;
mod request;
mod scene;
mod wire;

use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::signature::{ECDSA_P256_SHA256_FIXED, UnparsedPublicKey};

use crate::process::{cpu_time, own_cpu_time};
use crate::progress::Progress;
use crate::statistics::{Shuffle, cheapest_quarter, percentile};

pub use report::Report;
use scene::{Scene, Server};

/// How much is measured.
pub struct Scale {
    /// Rounds of questions, and questions to each server in a round.
    pub rounds: usize,
    pub questions: usize,
    /// Seconds of each server at the fixed rate.
    pub seconds: usize,
}

pub const FULL: Scale = Scale {
    rounds: 20,
    questions: 6_000,
    seconds: 16,
};

pub const QUICK: Scale = Scale {
    rounds: 6,
    questions: 4_000,
    seconds: 4,
};

/// What was measured, in microseconds.
pub struct Measured {
    /// CPU time of an answer: of the constant, of the service's `ext_authz`, of its `/token` for a
    /// TH-JWT that it has seen, and for one that it has not.
    cpu: [f64; 4],
    /// CPU time of one ES256 signature that is checked.
    es256: f64,
    /// At half of what the service can do, and at half of what it must.
    latency: [Latency; 2],
}

/// How long checks take.
#[derive(Clone, Copy)]
struct Latency {
    /// At so many a second.
    rate: f64,
    /// 50 % and 99 %, of the constant and of the service's `ext_authz`.
    of: [[f64; 2]; 2],
}

/// Signatures that are checked in a round.
const SIGNATURES: usize = 500;
/// So many checks a second one core must do.
const PROMISED: f64 = 20_000.0;

/// Measures; `constant` is the program that answers a constant.
pub async fn measure(constant: &Path, scale: &Scale) -> Measured {
    let scene = Scene::start(constant).await;
    let servers = [&scene.constant, &scene.check, &scene.token, &scene.first];
    for server in servers {
        server.target.load(scale.questions);
    }
    let progress = Progress::begin("CPU time");
    let mut cpu = [const { Vec::new() }; 4];
    let mut es256 = Vec::new();
    let mut shuffle = Shuffle::default();
    for round in 0..scale.rounds {
        progress.part(round, scale.rounds);
        for place in shuffle.order(servers.len()) {
            cpu[place].push(cpu_of_one(servers[place], scale.questions));
        }
        let some = (round * SIGNATURES) % (scene.signed.len() - SIGNATURES);
        es256.push(signature(
            &scene.signed[some..some + SIGNATURES],
            &scene.point,
        ));
    }
    drop(progress);
    let cpu = cpu.each_ref().map(|all| cheapest_quarter(all));
    let rates = [1e6 / cpu[1], PROMISED].map(|most| most / 2.0);
    let progress = Progress::begin("latency");
    let mut seconds = [const { [const { [Vec::new(), Vec::new()] }; 2] }; 2];
    for round in 0..scale.seconds {
        progress.part(round, scale.seconds);
        for place in shuffle.order(2 * rates.len()) {
            let (rate, server) = (place / 2, place % 2);
            let mut samples = servers[server].target.one_second(rates[rate]);
            for (all, share) in seconds[rate][server].iter_mut().zip([0.5, 0.99]) {
                all.push(percentile(&mut samples, share));
            }
        }
    }
    let latency = |place: usize| Latency {
        rate: rates[place],
        of: seconds[place]
            .each_ref()
            .map(|shares| shares.each_ref().map(|all| cheapest_quarter(all))),
    };
    Measured {
        cpu,
        es256: cheapest_quarter(&es256),
        latency: [latency(0), latency(1)],
    }
}

/// CPU time of one answer among so many.
fn cpu_of_one(server: &Server, questions: usize) -> f64 {
    let before = cpu_time(server.pid);
    server.target.load(questions);
    (cpu_time(server.pid) - before).as_secs_f64() * 1e6 / questions as f64
}

/// CPU time of one signature that is checked, on the core where the service checks them. As there, none is
/// checked twice.
fn signature(tokens: &[String], point: &[u8]) -> f64 {
    let key = UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point);
    let signed: Vec<_> = tokens
        .iter()
        .map(|token| {
            let (signed, signature) = token.rsplit_once('.').expect("a JWT");
            let signature = URL_SAFE_NO_PAD.decode(signature).expect("base64url");
            (signed, signature)
        })
        .collect();
    std::thread::scope(|threads| {
        let checking = threads.spawn(|| {
            pin(0, true);
            let before = own_cpu_time();
            for (signed, signature) in &signed {
                key.verify(signed.as_bytes(), signature)
                    .expect("a good signature");
            }
            (own_cpu_time() - before).as_secs_f64() * 1e6 / signed.len() as f64
        });
        checking.join().expect("all are good")
    })
}

/// Lets a process run on the first core only, or on all others.
fn pin(pid: u32, first: bool) {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    assert!(
        cores > 1,
        "a core for the service, and one for all else, are needed"
    );
    // SAFETY: a set of this size is what the calls take, and it lives until they are over.
    let failed = unsafe {
        let mut set: libc::cpu_set_t = std::mem::zeroed();
        for core in 0..cores {
            if (core == 0) == first {
                libc::CPU_SET(core, &mut set);
            }
        }
        let pid = libc::pid_t::try_from(pid).expect("a process id");
        libc::sched_setaffinity(pid, size_of::<libc::cpu_set_t>(), &raw const set) != 0
    };
    assert!(!failed, "process {pid} cannot be given its core");
}

/// Leaves the first core to the server that is measured. For this thread.
fn leave_the_first_core() {
    pin(0, false);
}
