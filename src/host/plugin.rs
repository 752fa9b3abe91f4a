//! One plugin configuration in one worker, and what it does with requests.

use super::abi::{self, HostAttributes, HostClock, Map};
use super::credential::CredentialHeaders;
use super::effective::{OnPlugin, OnStream};
use super::metrics;
use super::shared::SharedData;
use super::streams::{self, Part, Stream, WentOn};
use super::turns::Turns;
use super::waiting::{Pursuit, Waiter};
use crate::attributes::{Attribute, AttributePath, Attributes};
use crate::backend::{Backend, Backends, Destination};
use crate::challenge::{BearerError, Challenges, FromBackends};
use crate::decision::{Credential, Decision, Request};
use crate::exchange::CachePolicy;
use crate::exchange::engine::{Engine, Polled};
use crate::exchange::shared::Shared;
use crate::identity::Identity;
use crate::observe::counters::{CACHE_ENTRIES, Counter, Counters, MISROUTED, Outcome, stat_name};
use crate::observe::limiter::{Limiter, Line};
use crate::plan::Plan;
use crate::quote::json_string;
use crate::refusal::Refusal;
use crate::time::Clock;
use log::{debug, error, warn};
use std::cell::{Cell, RefCell};
use std::hash::{BuildHasher, RandomState};

const WWW_AUTHENTICATE: &str = "www-authenticate";

/// One plugin configuration in one worker.
pub(super) struct Plugin {
    pub(super) root_id: Vec<u8>,
    pub(super) backends: Backends,
    pub(super) challenges: Challenges,
    pub(super) engine: RefCell<Engine<Waiter>>,
    pub(super) limiter: RefCell<Limiter>,
    pub(super) turns: Turns,
    pub(super) headers: CredentialHeaders,
    identity: Identity,
    /// Whether a strategy hands the TH-JWT to anybody.
    pub(super) exchanges_identity_token: bool,
    /// Whether the filter stands upstream; known from the first request on.
    upstream: Cell<Option<bool>>,
    counters: RefCell<Counters>,
    /// How many tokens the gauge knows of.
    reported: Cell<i64>,
    response_details: Option<AttributePath>,
}

impl Plugin {
    /// The plugin that carries out `plan`.
    pub(super) fn new(plan: Plan) -> Self {
        // The standard library draws its hash keys from the host's random numbers.
        let seed = RandomState::new().hash_one(0);
        let strategies = plan.backends.values().chain(&plan.default);
        let policy = plan.token_cache;
        let exchanges_identity_token = strategies
            .clone()
            .any(|strategy| strategy.exchanges_identity_token());
        let shared = shared(&policy, !plan.exchanges.is_empty(), seed);
        let mut engine = Engine::new(plan.exchanges, policy, seed);
        if let Some(shared) = shared {
            engine.share(shared);
        }
        Self {
            root_id: match read_of_plugin("plugin_root_id") {
                Attribute::Bytes(root_id) => root_id,
                _ => Vec::new(),
            },
            headers: CredentialHeaders::new(strategies.filter_map(|strategy| strategy.header())),
            engine: RefCell::new(engine),
            backends: Backends::new(plan.backend_from, plan.backends, plan.default),
            challenges: plan.challenge,
            limiter: RefCell::default(),
            turns: Turns::default(),
            identity: Identity::new(plan.identity),
            exchanges_identity_token,
            upstream: Cell::new(None),
            counters: RefCell::default(),
            reported: Cell::new(0),
            response_details: AttributePath::new(&["response", "code_details"]),
        }
    }

    /// The header fields of a request are there, and `has_more` than those: true lets it go on.
    pub(super) fn request(&self, stream: &OnStream<'_>, has_more: bool) -> bool {
        let cluster = self.backends.cluster(stream);
        let destination = self.backends.destination(&cluster, stream);
        let cluster = match cluster {
            Attribute::Bytes(cluster) => cluster,
            _ => Vec::new(),
        };
        if self.is_upstream(stream) {
            abi::give_back(cluster);
        } else {
            streams::update(stream.context(), |stream| {
                stream.chosen_for = Some(cluster.into());
            });
        }
        let backend = match destination {
            Destination::Backend(backend) => backend,
            // If even that fails, the request waits for Envoy's own timeout.
            Destination::Envoy => return self.headers.clear(stream),
        };
        match backend.decide(&self.request_on(stream)) {
            Decision::Forward(credential, outcome) => {
                self.forward(stream, &backend, credential, outcome, has_more)
            }
            Decision::Obtain(obtain) => self.pursue(
                stream,
                Pursuit {
                    backend: &backend,
                    obtain,
                    used: Vec::new(),
                    has_more,
                },
            ),
            Decision::Refuse(refusal, provider) => {
                self.refuse(stream, &backend, refusal, provider, None)
            }
        }
    }

    /// What strategies may ask of the request of `stream`.
    pub(super) fn request_on<'a>(&'a self, stream: &'a OnStream<'_>) -> Request<'a> {
        Request::new(&self.identity, stream)
    }

    /// Sets the request's one credential; true lets it go on.
    pub(super) fn forward(
        &self,
        stream: &OnStream<'_>,
        backend: &Backend,
        credential: Credential<'_>,
        outcome: Outcome,
        has_more: bool,
    ) -> bool {
        let users_credential = credential.is_the_users();
        if !self.headers.set(stream, credential, has_more) {
            // The credential that is there must not go on, so the request must not either.
            return self.refuse(stream, backend, Refusal::IdentityUnreadable, None, None);
        }
        debug!(
            "{}: backend {}",
            outcome.as_str(),
            json_string(&backend.name)
        );
        self.count(backend.id, Counter::Backend(outcome));
        streams::update(stream.context(), |stream| {
            stream.went_on = Some(WentOn {
                backend: backend.id,
                users_credential,
            });
        });
        true
    }

    /// The header fields of a response are there: to a request that went on, or that still waits.
    ///
    /// A backend's own challenge sends a client to log in wherever the backend says, so it does not
    /// reach the client; where the backend means the user's login, ours takes its place.
    pub(super) fn response(&self, stream: &OnStream<'_>, went_on: Option<WentOn>) {
        let replaces = self.challenges.from_backends == FromBackends::Replace;
        let status = stream.header(Map::Response, ":status").unwrap_or_default();
        let (is_success, is_401) = (matches!(*status, [b'2', _, _]), *status == *b"401");
        abi::give_back(status);
        if !is_success {
            self.may_be_sent_on(stream);
        }
        let challenges = || stream.header(Map::Response, WWW_AUTHENTICATE).is_some();
        let concerns_us = is_401 || (replaces && challenges());
        if !concerns_us || !self.is_the_backends(stream) {
            return;
        }
        if is_401 {
            self.backend_said_401(stream.context());
        }
        match went_on {
            _ if !replaces => {}
            Some(went_on) if is_401 && went_on.users_credential => {
                let ours = self.challenge_after_401(went_on.backend);
                stream.replace_header(Map::Response, WWW_AUTHENTICATE, ours.as_bytes());
            }
            _ => {
                stream.remove_header(Map::Response, WWW_AUTHENTICATE);
            }
        }
    }

    /// Ours, in the place of that backend's.
    fn challenge_after_401(&self, backend: u32) -> String {
        let backend = self.backends.by_id(backend);
        let name = backend.as_ref().map_or("", |backend| &backend.name);
        let description = "the backend did not accept the credential: log in again";
        let challenge = self.challenges.of(name);
        challenge.header(BearerError::InvalidToken, description)
    }

    /// Whether a backend gave the response. Upstream nobody else can have, but the filter itself;
    /// downstream Envoy says so.
    fn is_the_backends(&self, stream: &OnStream<'_>) -> bool {
        self.is_upstream(stream)
            || self.response_details.as_ref().map(|path| stream.read(path))
                == Some(Attribute::Bytes(b"via_upstream".to_vec()))
    }

    /// Whether the filter stands upstream, where the route cannot change any more.
    fn is_upstream(&self, stream: &OnStream<'_>) -> bool {
        if let Some(upstream) = self.upstream.get() {
            return upstream;
        }
        let upstream = self.identity.is_upstream(stream);
        self.upstream.set(Some(upstream));
        upstream
    }

    /// The tokens that were obtained for the request are not used again: an attempt that follows
    /// obtains fresh ones.
    fn backend_said_401(&self, context: u32) {
        for used in streams::used(context) {
            if self.engine.borrow_mut().unauthorized(&used, &HostClock) {
                debug!("a backend answered 401: the token obtained for it is forgotten");
            }
        }
    }

    /// A stream of this plugin has ended.
    pub(super) fn stream_ended(&self, on: &OnStream<'_>, stream: Stream) {
        if let Part::Waiting(key) = &stream.part {
            let mut engine = self.engine.borrow_mut();
            engine.leave(key, |waiter| waiter.context == on.context());
        }
        // Of a request that got no response, Envoy makes an error, or has made a redirect.
        if stream.went_on.is_some() {
            self.may_be_sent_on(on);
        }
        if let Some(chosen_for) = &stream.chosen_for
            && let Attribute::Bytes(taken) = self.backends.cluster(on)
            && **chosen_for != *taken
        {
            self.misrouted(chosen_for, &taken);
        }
    }

    /// The tripwire: nothing can be done about it any more but to tell.
    fn misrouted(&self, chosen_for: &[u8], taken: &[u8]) {
        metrics::count(MISROUTED, 1);
        let now = HostClock.steady();
        let admitted = self.limiter.borrow_mut().admit(Line::Misrouted, now);
        if let Some(left_out) = admitted {
            let name = |bytes| json_string(&String::from_utf8_lossy(bytes));
            error!(
                "misrouted: a request went to cluster {} with what was chosen for cluster {}; a \
                 filter changed the route after this one had read it: move this filter into the \
                 router's upstream_http_filters ({left_out} more since the last such line)",
                name(taken),
                name(chosen_for),
            );
        }
    }

    /// Takes the tokens of another plugin over, where the exchange is the same.
    pub(super) fn take_over(&self, other: &Self) {
        let mut engine = self.engine.borrow_mut();
        engine.take_over(&mut other.engine.borrow_mut(), &HostClock);
    }

    /// Some time has passed.
    pub(super) fn tick(&self, on: &mut OnPlugin) {
        let overdue = self.engine.borrow_mut().tick(&HostClock);
        for completion in overdue {
            self.complete(completion, true);
        }
        let Polled { done, calls } = self.engine.borrow_mut().poll(&HostClock);
        for completion in done {
            self.complete(completion, false);
        }
        for key in calls {
            if let Some(completion) = self.call(key) {
                self.complete(completion, false);
            }
        }
        let held = i64::try_from(self.engine.borrow().held()).unwrap_or(i64::MAX);
        self.report(held);
        self.serve_turns(on);
    }

    /// The plugin ends: nothing that was counted is lost, its tokens are held no longer, and nobody
    /// waits for its calls.
    pub(super) fn retire(&self) {
        self.engine.borrow_mut().retire();
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

/// What this worker shares with the others, if it is to and Envoy lets it.
fn shared(policy: &CachePolicy, has_exchanges: bool, seed: u64) -> Option<Shared> {
    if !policy.share || policy.max_entries == 0 || !has_exchanges {
        return None;
    }
    // Only whoever comes first needs it: an Envoy that gives none has refused more than this.
    let random = abi::random().unwrap_or_else(|| u128::from(seed).to_le_bytes());
    let shared = match abi::monotonic() {
        Some(_) => Shared::open(Box::new(SharedData), policy, random).ok(),
        None => None,
    };
    if shared.is_none() {
        warn!(
            "tokenCache.share: this Envoy does not let the filter share: each worker exchanges for \
             itself; let proxy_get_shared_data, proxy_set_shared_data and clock_time_get be among \
             the plugin's allowed_capabilities, or configure share: false"
        );
    }
    shared
}

fn read_of_plugin(name: &str) -> Attribute {
    match AttributePath::new(&[name]) {
        Some(path) => HostAttributes.read(&path),
        None => Attribute::Failed,
    }
}
