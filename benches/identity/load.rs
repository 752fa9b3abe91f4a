//! Load for one server: four connections with sixteen streams each, as Envoy's workers have them. One
//! thread has all four: several would take the core from one another, and from the store.

use std::array;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use super::wire::{Connection, Fields, Question, wait};

/// Connections.
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

    /// So many questions on each connection, at this rate over all of them.
    fn run(&self, each: usize, rate: Option<f64>) -> Vec<f64> {
        let target = self.clone();
        std::thread::spawn(move || target.drive(each, rate))
            .join()
            .expect("every question is answered")
    }

    fn drive(&self, each: usize, rate: Option<f64>) -> Vec<f64> {
        super::leave_the_first_core();
        // SAFETY: a plain system call, for this thread alone: waits end when they should, not up to
        // fifty microseconds later.
        unsafe { libc::prctl(libc::PR_SET_TIMERSLACK, 1_000) };
        let count = each * CONNECTIONS;
        let first = self.put.fetch_add(count, Ordering::Relaxed);
        let mut connections: [_; CONNECTIONS] =
            array::from_fn(|_| Connection::open(self.address, &self.fields));
        let mut sent = [0; CONNECTIONS];
        let start = Instant::now() + Duration::from_millis(5);
        // Every fourth question is a connection's.
        let due = |number: usize| {
            start
                + rate.map_or(Duration::ZERO, |rate| {
                    Duration::from_secs_f64(number as f64 / rate)
                })
        };
        let mut samples = Vec::with_capacity(count);
        while samples.len() < count {
            let now = Instant::now();
            let mut next = None;
            for (place, connection) in connections.iter_mut().enumerate() {
                while sent[place] < each && connection.waiting() < STREAMS {
                    let number = sent[place] * CONNECTIONS + place;
                    if due(number) > now {
                        next = next.into_iter().chain([due(number)]).min();
                        break;
                    }
                    let question = (first + number) % self.questions.len();
                    connection.ask(&self.questions, question, due(number));
                    sent[place] += 1;
                }
                connection.flush();
            }
            let readable = wait(&connections, next);
            for (connection, _) in connections.iter_mut().zip(readable).filter(|(_, is)| *is) {
                connection.read(&self.questions, |due| {
                    samples.push(due.elapsed().as_secs_f64() * 1e6);
                });
            }
        }
        samples
    }
}
