//! What there is in a run: workers and their engines, the store between them, the token endpoint's calls.

use super::choices::Choices;
use crate::exchange::client::ClientAuth;
use crate::exchange::engine::Engine;
use crate::exchange::grant::{self, IssuedType};
use crate::exchange::results::Used;
use crate::exchange::settings::{CachePolicy, Exchange, ExchangeId, Purpose, Terms, TokenCall};
use crate::exchange::shared::store::{Read, Slot, Store, Unavailable};
use crate::exchange::shared::{Mutant, Shared};
use crate::time::{Clocks, Time};
use crate::token::BearerToken;
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

pub(super) const TIMEOUT: Duration = Duration::from_secs(5);
pub(super) const LIFETIME: u64 = 100;
pub(super) const MAX_ENTRIES: usize = 12;
pub(super) const MAX_BYTES: usize = 64 << 10;

/// How large a run may be.
#[derive(Clone, Copy)]
pub(super) struct Size {
    pub workers: usize,
    pub users: usize,
    pub steps: usize,
    pub interruptions: usize,
    pub mishaps: usize,
}

/// A call at the token endpoint.
pub(super) struct Call {
    pub number: u32,
    pub worker: usize,
    pub user: usize,
    /// When it was first made.
    pub asked: Clocks,
    /// Until when no other may be made.
    pub alone_until: Clocks,
    /// Whether its worker has said that nobody is to wait for it.
    pub withdrawn: bool,
    pub alive: bool,
}

/// One worker's VM.
pub(super) struct Worker {
    pub engine: Engine<u32>,
    pub used: Option<(usize, Used)>,
}

pub(super) struct World {
    pub size: Size,
    pub mutant: Option<Mutant>,
    pub values: RefCell<BTreeMap<Slot, (Vec<u8>, u32)>>,
    pub versions: Cell<u32>,
    pub workers: Vec<RefCell<Option<Worker>>>,
    pub choices: RefCell<Choices>,
    pub now: Cell<Clocks>,
    pub calls: RefCell<Vec<Call>>,
    pub numbers: Cell<u32>,
    pub seeds: Cell<u64>,
    /// Requests that wait, with their workers and users.
    pub waiting: RefCell<BTreeMap<u32, (usize, usize)>>,
    /// When each token of a user ends, the newest last; emptied when it is no longer good.
    pub good: RefCell<BTreeMap<usize, Time>>,
    pub expires: RefCell<BTreeMap<String, Time>>,
    pub interruptions: Cell<usize>,
    pub mishaps: Cell<usize>,
    pub inside: Cell<bool>,
    pub wrong: RefCell<Option<String>>,
    pub told: RefCell<Vec<String>>,
}

/// What the engines see of it.
struct View(Rc<World>);

impl Store for View {
    fn get(&self, slot: Slot) -> Result<Option<Read>, Unavailable> {
        let values = self.0.values.borrow();
        let value = values.get(&slot);
        Ok(value.map(|(value, version)| Read {
            value: value.clone(),
            version: *version,
        }))
    }

    fn swap(&self, slot: Slot, version: Option<u32>, value: &[u8]) -> Result<bool, Unavailable> {
        self.0.interrupt(slot);
        let mut values = self.0.values.borrow_mut();
        if values.get(&slot).map(|(_, version)| *version) != version {
            return Ok(false);
        }
        self.0.versions.set(self.0.versions.get() + 1);
        values.insert(slot, (value.to_vec(), self.0.versions.get()));
        Ok(true)
    }
}

fn exchange(audience: &str) -> Exchange {
    let mut grant = grant::token_exchange(&grant::TokenExchange {
        subject_token_type: "urn:ietf:params:oauth:token-type:access_token",
        audience: &[audience.to_owned()],
        ..grant::TokenExchange::default()
    });
    grant.accepts.issued = IssuedType::Any;
    Exchange {
        purpose: Purpose::Backend,
        first: TokenCall {
            name: "",
            token_url: "https://sts.example.com/token".to_owned(),
            cluster: "sts".to_owned(),
            authority: "sts.example.com".to_owned(),
            path: "/token".to_owned(),
            client: ClientAuth::None { client_id: None },
            grant,
            parameters: vec![],
            sts_errors: vec![],
            timeout: TIMEOUT,
        },
        second: None,
        subject_is_identity_token: false,
        has_actor: false,
        terms: Terms::default(),
    }
}

fn policy() -> CachePolicy {
    CachePolicy {
        max_entries: MAX_ENTRIES,
        max_bytes: MAX_BYTES,
        ..CachePolicy::default()
    }
}

/// Users come in pairs: the same subject at two backends.
pub(super) fn of_user(user: usize) -> (ExchangeId, BearerToken) {
    let subject = format!("subject-{}", user / 2);
    let exchange = ExchangeId(u32::try_from(user % 2).unwrap());
    (exchange, BearerToken::new(subject.into_bytes()).unwrap())
}

impl World {
    pub(super) fn new(size: Size, mutant: Option<Mutant>, choices: Choices) -> Rc<Self> {
        let world = Rc::new(Self {
            size,
            mutant,
            values: RefCell::default(),
            versions: Cell::default(),
            workers: (0..size.workers).map(|_| RefCell::new(None)).collect(),
            choices: RefCell::new(choices),
            now: Cell::new(Clocks::at(Duration::from_secs(1_000_000))),
            calls: RefCell::default(),
            numbers: Cell::default(),
            seeds: Cell::default(),
            waiting: RefCell::default(),
            good: RefCell::default(),
            expires: RefCell::default(),
            interruptions: Cell::default(),
            mishaps: Cell::default(),
            inside: Cell::new(true),
            wrong: RefCell::default(),
            told: RefCell::default(),
        });
        for worker in 0..size.workers {
            world.start(worker);
        }
        world.inside.set(false);
        world
    }

    pub(super) fn engine(self: &Rc<Self>) -> Engine<u32> {
        self.seeds.set(self.seeds.get() + 1);
        let seed = self.seeds.get().wrapping_mul(0xd134_2543_de82_ef95);
        let mut engine = Engine::new(vec![exchange("a"), exchange("b")], policy(), seed);
        let view = Box::new(View(Rc::clone(self)));
        let mut shared = Shared::open(view, &policy(), [7; 16]).unwrap();
        shared.mutant = self.mutant;
        engine.share(shared);
        engine
    }

    pub(super) fn start(self: &Rc<Self>, worker: usize) {
        let engine = self.engine();
        let used = None;
        *self.workers[worker].borrow_mut() = Some(Worker { engine, used });
    }

    pub(super) fn choose(&self, of: usize) -> usize {
        self.choices.borrow_mut().choose(of)
    }

    pub(super) fn wrong(&self, what: impl Into<String>) {
        self.wrong.borrow_mut().get_or_insert(what.into());
    }

    /// Notes what happens, for whoever reads of a failure.
    pub(super) fn tell(&self, what: &str, who: impl std::fmt::Debug) {
        let inside = if self.inside.get() { "  " } else { "" };
        let now = self.now.get().steady.since(Default::default()).as_secs();
        self.told
            .borrow_mut()
            .push(format!("{inside}{now} {what} {who:?}"));
    }

    pub(super) fn number(&self) -> u32 {
        self.numbers.set(self.numbers.get() + 1);
        self.numbers.get()
    }
}
