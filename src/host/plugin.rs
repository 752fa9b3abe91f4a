//! One plugin configuration in one worker, and what it does with requests.

use super::abi::{self, HostAttributes, Map};
use super::calls::Waiter;
use super::metrics;
use super::streams::{Part, Stream};
use super::turns::Turns;
use crate::attributes::{Attribute, AttributePath, Attributes};
use crate::backend::{Backend, Backends, Destination};
use crate::challenge::Challenge;
use crate::decision::{Credential, Decision, Request, decide};
use crate::exchange::engine::Engine;
use crate::identity::Identity;
use crate::observe::counters::{Counter, Counters, Outcome, stat_name};
use crate::observe::limiter::Limiter;
use crate::plan::Plan;
use crate::quote::json_string;
use crate::refusal::Refusal;
use log::debug;
use std::cell::{Cell, RefCell};
use std::hash::{BuildHasher, RandomState};

const AUTHORIZATION: &str = "authorization";
const CACHE_ENTRIES: &str = "upstream_inject.cache.entries";

/// One plugin configuration in one worker.
pub struct Plugin {
    pub(super) backends: Backends,
    pub(super) challenge: Challenge,
    pub(super) engine: RefCell<Engine<Waiter>>,
    pub(super) limiter: RefCell<Limiter>,
    pub(super) turns: Turns,
    identity: Identity,
    counters: RefCell<Counters>,
    /// How many tokens the gauge knows of.
    reported: Cell<i64>,
    response_code: Option<AttributePath>,
    response_details: Option<AttributePath>,
}

impl Plugin {
    /// The plugin that carries out `plan`.
    pub fn new(plan: Plan) -> Self {
        // The standard library draws its hash keys from the host's random numbers.
        let seed = RandomState::new().hash_one(0);
        Self {
            backends: Backends::new(plan.backend_from, plan.backends, plan.default),
            challenge: plan.challenge,
            engine: RefCell::new(Engine::new(plan.exchanges, plan.token_cache, seed)),
            limiter: RefCell::default(),
            turns: Turns::default(),
            identity: Identity::new(plan.identity),
            counters: RefCell::default(),
            reported: Cell::new(0),
            response_code: AttributePath::new(&["response", "code"]),
            response_details: AttributePath::new(&["response", "code_details"]),
        }
    }

    /// The header fields of the request `context` are there: true lets it go on.
    pub fn request(&self, context: u32) -> bool {
        let backend = match self.backends.destination(&HostAttributes) {
            Destination::Backend(backend) => backend,
            // If even that fails, the request waits for Envoy's own timeout.
            Destination::Envoy => return set_credential(Credential::None),
        };
        let request = Request::new(&self.identity, &HostAttributes);
        match decide(&backend, &request) {
            Decision::Forward(credential, outcome) => self.forward(&backend, credential, outcome),
            Decision::Exchange {
                exchange,
                subject,
                header,
            } => self.exchange(context, &backend, exchange, subject, header),
            Decision::Refuse(refusal) => self.refuse(&backend, refusal, None),
        }
    }

    /// Sets the request's one credential; true lets it go on.
    pub(super) fn forward(
        &self,
        backend: &Backend,
        credential: Credential<'_>,
        outcome: Outcome,
    ) -> bool {
        if !set_credential(credential) {
            // The credential that is there must not go on, so the request must not either.
            return self.refuse(backend, Refusal::IdentityUnreadable, None);
        }
        debug!(
            "{}: backend {}",
            outcome.as_str(),
            json_string(&backend.name)
        );
        self.count(backend.id, Counter::Backend(outcome));
        true
    }

    /// A stream of this plugin has ended.
    pub fn stream_ended(&self, context: u32, stream: Stream) {
        match stream.part {
            Part::None => {}
            Part::Waiting(key) => {
                let mut engine = self.engine.borrow_mut();
                engine.leave(&key, |waiter| waiter.context == context);
            }
            Part::Used(used) => {
                if self.backend_said_401()
                    && self.engine.borrow_mut().unauthorized(&used, abi::now())
                {
                    debug!("a backend answered 401: the exchanged token is forgotten");
                }
            }
        }
    }

    /// Whether the stream that ends was answered with 401, and by the backend.
    fn backend_said_401(&self) -> bool {
        let is = |path: &Option<AttributePath>, expected: &[u8]| match path {
            Some(path) => HostAttributes.read(path) == Attribute::Bytes(expected.to_vec()),
            None => false,
        };
        is(&self.response_code, &401i64.to_le_bytes())
            && is(&self.response_details, b"via_upstream")
    }

    /// Takes over the tokens of another plugin, where the exchange is the same.
    pub fn adopt(&self, other: &Self) {
        let mut engine = self.engine.borrow_mut();
        engine.adopt(&other.engine.borrow(), abi::now());
    }

    /// Some time has passed.
    pub fn tick(&self) {
        let overdue = self.engine.borrow_mut().tick(abi::now());
        for completion in overdue {
            self.complete(completion, true);
        }
        let held = i64::try_from(self.engine.borrow().held()).unwrap_or(i64::MAX);
        self.report(held);
        self.take_turns(std::iter::empty());
    }

    /// The plugin ends: nothing that was counted is lost, and its tokens are held no longer.
    pub fn retire(&self) {
        self.report(0);
    }

    pub(super) fn count(&self, backend: u32, counter: Counter) {
        self.counters.borrow_mut().add(backend, counter);
    }

    fn report(&self, held: i64) {
        let sums = self.counters.borrow_mut().take();
        for (backend, counter, sum) in sums {
            metrics::count(&counter.name(&self.stat_name(backend)), sum);
        }
        let difference = held.saturating_sub(self.reported.replace(held));
        if difference != 0 {
            metrics::shift(CACHE_ENTRIES, difference);
        }
    }

    pub(super) fn stat_name(&self, backend: u32) -> String {
        match self.backends.by_id(backend) {
            Some(backend) => stat_name(&backend.name),
            None => stat_name(""),
        }
    }
}

/// Removes every inbound `authorization`, and sets what the request goes on with. False if the
/// host did not do it.
fn set_credential(credential: Credential<'_>) -> bool {
    let strip = || abi::remove_header(Map::Request, AUTHORIZATION).is_ok();
    // Replacing acts on every field of the name, so that it strips as well.
    let replace = |name: &str, value: &[u8]| {
        abi::replace_header(Map::Request, name, value).is_ok() && (name == AUTHORIZATION || strip())
    };
    match credential {
        Credential::None => strip(),
        Credential::Bearer(token) => replace(AUTHORIZATION, &token.into_value_bytes()),
        Credential::BearerIn(name, value) => replace(name, value.as_bytes()),
        Credential::Header(name, value) => replace(name, value.reveal().as_bytes()),
    }
}
