//! Latency at a fixed rate.
//!
//! Requests are due at fixed points in time, whatever became of the ones before, and each is timed
//! from when it was due: an answer that comes late makes the next ones late too, and that is
//! counted (wrk2 calls it correcting for coordinated omission).
//!
//! What else the machine does makes a second of requests slower, never faster, and would be all that
//! shows: so each second has its own percentiles, and the mean of the best quarter of them counts.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use bed::Envoy;

use crate::Scale;
use crate::progress::Progress;
use crate::statistics::{Shuffle, cheapest_quarter, percentile};

/// Requests a second.
pub const RATE: u32 = 1000;
/// Connections, each with its share of the rate.
const CONNECTIONS: u32 = 4;

/// The percentiles that are reported.
pub const SHARES: [f64; 3] = [0.5, 0.9, 0.99];

/// The latency through one listener, in microseconds.
#[derive(Clone, Debug)]
pub struct Latency {
    /// Of which listener.
    pub what: &'static str,
    /// At each of [`SHARES`].
    pub micros: [f64; 3],
}

/// Measures the listeners of `envoy` in turn.
pub async fn measure(envoy: &Envoy, scale: &Scale, progress: &Progress) -> Vec<Latency> {
    let all = [
        ("plain", "no filter"),
        ("filter", "upstream_inject"),
        ("lua", "Lua"),
    ];
    let mut seconds = vec![[const { Vec::new() }; SHARES.len()]; all.len()];
    let mut shuffle = Shuffle::default();
    for round in 0..scale.latency {
        progress.part(round, scale.latency);
        for place in shuffle.order(all.len()) {
            let address = envoy.listener(all[place].0).await;
            let mut samples = one_second(address);
            for (percentiles, share) in seconds[place].iter_mut().zip(SHARES) {
                percentiles.push(percentile(&mut samples, share));
            }
        }
    }
    all.iter()
        .zip(&seconds)
        .map(|((_, what), percentiles)| Latency {
            what,
            micros: percentiles.each_ref().map(|all| cheapest_quarter(all)),
        })
        .collect()
}

/// One second of requests; their latencies in microseconds.
fn one_second(address: SocketAddr) -> Vec<f64> {
    let start = Instant::now() + Duration::from_millis(20);
    let threads: Vec<_> = (0..CONNECTIONS)
        .map(|first| std::thread::spawn(move || connection(address, start, first)))
        .collect();
    threads
        .into_iter()
        .flat_map(|thread| thread.join().expect("every request is answered"))
        .collect()
}

fn connection(address: SocketAddr, start: Instant, first: u32) -> Vec<f64> {
    // SAFETY: a plain system call, for this thread alone: sleeps end when they should, not up to
    // fifty microseconds later.
    unsafe { libc::prctl(libc::PR_SET_TIMERSLACK, 1_000) };
    let mut stream = TcpStream::connect(address).expect("the listener's port");
    stream.set_nodelay(true).expect("a socket option");
    let request = b"GET /hello HTTP/1.1\r\nhost: bench\r\nauthorization: Bearer th-jwt\r\n\r\n";
    let mut answer = [0; 4096];
    (first..RATE)
        .step_by(CONNECTIONS as usize)
        .map(|number| {
            let due = start + Duration::from_secs(1) * number / RATE;
            std::thread::sleep(due.saturating_duration_since(Instant::now()));
            stream.write_all(request).expect("an open connection");
            let mut size = 0;
            while !answer[..size].ends_with(b"\r\n\r\nok") {
                let read = stream.read(&mut answer[size..]).expect("an answer");
                assert!(
                    read > 0,
                    "an answer that ends: {}",
                    String::from_utf8_lossy(&answer[..size])
                );
                size += read;
            }
            assert!(answer.starts_with(b"HTTP/1.1 200"));
            due.elapsed().as_secs_f64() * 1e6
        })
        .collect()
}
