//! Load for one server: four connections with sixteen streams each, as Envoy's workers have them.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use super::wire::{Connection, Fields, Question};

/// Connections, a thread each.
pub const CONNECTIONS: usize = 4;
/// Questions that wait for an answer at once, on each connection.
pub const STREAMS: usize = 16;

/// What is asked, and of whom.
#[derive(Clone)]
pub struct Target {
    /// The server.
    pub address: SocketAddr,
    /// Its path and whatever else is in the header.
    pub fields: Arc<Fields>,
    /// The questions, one after the other, and from the first one again.
    pub questions: Arc<Vec<Question>>,
    /// How many have been put.
    put: Arc<AtomicUsize>,
}

impl Target {
    /// Questions for whoever is at this address.
    pub fn new(
        address: SocketAddr,
        fields: Vec<(&'static str, String)>,
        questions: Vec<Question>,
    ) -> Self {
        Self {
            address,
            fields: Arc::new(fields),
            questions: Arc::new(questions),
            put: Arc::default(),
        }
    }

    /// Puts so many questions, as fast as they are answered.
    pub fn load(&self, count: usize) {
        self.run(count / CONNECTIONS, None);
    }

    /// Puts questions for a second, so many a second; how long each answer took since its question
    /// was due, in microseconds.
    pub fn one_second(&self, rate: f64) -> Vec<f64> {
        self.run((rate / CONNECTIONS as f64) as usize, Some(rate))
    }

    fn run(&self, each: usize, rate: Option<f64>) -> Vec<f64> {
        let start = Instant::now() + Duration::from_millis(5);
        let first = self.put.fetch_add(each * CONNECTIONS, Ordering::Relaxed);
        let threads: Vec<_> = (0..CONNECTIONS)
            .map(|number| {
                let target = self.clone();
                std::thread::spawn(move || target.drive(first + number, each, start, rate))
            })
            .collect();
        threads
            .into_iter()
            .flat_map(|thread| thread.join().expect("every question is answered"))
            .collect()
    }

    /// One connection's share: every fourth question from the `first` on.
    fn drive(&self, first: usize, count: usize, start: Instant, rate: Option<f64>) -> Vec<f64> {
        super::leave_the_first_core();
        // SAFETY: a plain system call, for this thread alone: waits end when they should, not up to
        // fifty microseconds later.
        unsafe { libc::prctl(libc::PR_SET_TIMERSLACK, 1_000) };
        let due = |place: usize| {
            let place = (place * CONNECTIONS + first % CONNECTIONS) as f64;
            start + rate.map_or(Duration::ZERO, |rate| Duration::from_secs_f64(place / rate))
        };
        let mut connection = Connection::open(self.address, &self.fields);
        let mut samples = Vec::with_capacity(count);
        let mut sent = 0;
        while samples.len() < count {
            let now = Instant::now();
            while sent < count && connection.waiting() < STREAMS && due(sent) <= now {
                let question = (first + sent * CONNECTIONS) % self.questions.len();
                connection.ask(&self.questions, question, due(sent));
                sent += 1;
            }
            connection.flush();
            let until = (sent < count && connection.waiting() < STREAMS).then(|| due(sent));
            connection.read(&self.questions, until, |due| {
                samples.push(due.elapsed().as_secs_f64() * 1e6);
            });
        }
        samples
    }
}
