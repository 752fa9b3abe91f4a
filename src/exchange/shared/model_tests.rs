//! Plays engines of several workers against each other on one store, in every order of events that is
//! short enough, and in many that are not: workers that come in between at every change of the store,
//! crash, get another configuration; claims that run out; clocks that are set.
//!
//! Each run is told by the choices that were made in it, so that a failure names the run that led to it.

use super::super::answer::Answer;
use super::super::client::ClientAuth;
use super::super::engine::Engine;
use super::super::grant::{self, IssuedType};
use super::super::key::Key;
use super::super::results::{Answered, Completion, Found, Used, Waits};
use super::super::settings::{CachePolicy, Exchange, ExchangeId, Purpose, Terms, TokenCall};
use super::store::{Read, Slot, Store, Unavailable};
use super::{Mutant, Shared, claim_time};
use crate::time::{Clocks, Time};
use crate::token::{BearerToken, BearerValue};
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

const TIMEOUT: Duration = Duration::from_secs(5);
const LIFETIME: u64 = 100;
const MAX_ENTRIES: usize = 12;
const MAX_BYTES: usize = 64 << 10;

/// Who decides what happens next.
enum Choices {
    /// Every way, one after the other: what was chosen, of how many.
    Every {
        made: Vec<(usize, usize)>,
        next: usize,
    },
    /// Some ways.
    Random(u64),
}

impl Choices {
    fn choose(&mut self, of: usize) -> usize {
        match self {
            Self::Every { made, next } => {
                if *next == made.len() {
                    made.push((0, of));
                }
                *next += 1;
                assert_eq!(made[*next - 1].1, of, "the run does not repeat itself");
                made[*next - 1].0
            }
            Self::Random(state) => {
                *state ^= *state << 13;
                *state ^= *state >> 7;
                *state ^= *state << 17;
                (*state >> 11) as usize % of
            }
        }
    }

    /// Turns to the next way; false if there is none.
    fn turn(&mut self) -> bool {
        let Self::Every { made, next } = self else {
            return true;
        };
        *next = 0;
        while let Some((chosen, of)) = made.pop() {
            if chosen + 1 < of {
                made.push((chosen + 1, of));
                return true;
            }
        }
        false
    }
}

/// How large a run may be.
#[derive(Clone, Copy)]
struct Size {
    workers: usize,
    users: usize,
    steps: usize,
    interruptions: usize,
    mishaps: usize,
}

/// A call at the token endpoint.
struct Call {
    number: u32,
    worker: usize,
    user: usize,
    /// When it was first made.
    asked: Clocks,
    /// Until when no other may be made.
    alone_until: Clocks,
    /// Whether its worker has said that nobody is to wait for it.
    withdrawn: bool,
    alive: bool,
}

/// One worker's VM.
struct Worker {
    engine: Engine<u32>,
    used: Option<(usize, Used)>,
}

struct World {
    size: Size,
    mutant: Option<Mutant>,
    values: RefCell<BTreeMap<Slot, (Vec<u8>, u32)>>,
    versions: Cell<u32>,
    workers: Vec<RefCell<Option<Worker>>>,
    choices: RefCell<Choices>,
    now: Cell<Clocks>,
    calls: RefCell<Vec<Call>>,
    numbers: Cell<u32>,
    seeds: Cell<u64>,
    /// Requests that wait, with their workers and users.
    waiting: RefCell<BTreeMap<u32, (usize, usize)>>,
    /// When each token of a user ends, the newest last; emptied when it is no longer good.
    good: RefCell<BTreeMap<usize, Time>>,
    expires: RefCell<BTreeMap<String, Time>>,
    interruptions: Cell<usize>,
    mishaps: Cell<usize>,
    inside: Cell<bool>,
    wrong: RefCell<Option<String>>,
    told: RefCell<Vec<String>>,
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
fn of_user(user: usize) -> (ExchangeId, BearerToken) {
    let subject = format!("subject-{}", user / 2);
    let exchange = ExchangeId(u32::try_from(user % 2).unwrap());
    (exchange, BearerToken::new(subject.into_bytes()).unwrap())
}

impl World {
    fn new(size: Size, mutant: Option<Mutant>, choices: Choices) -> Rc<Self> {
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

    fn engine(self: &Rc<Self>) -> Engine<u32> {
        self.seeds.set(self.seeds.get() + 1);
        let seed = self.seeds.get().wrapping_mul(0xd134_2543_de82_ef95);
        let mut engine = Engine::new(vec![exchange("a"), exchange("b")], policy(), seed);
        let view = Box::new(View(Rc::clone(self)));
        let mut shared = Shared::open(view, &policy(), [7; 16]).unwrap();
        shared.mutant = self.mutant;
        engine.share(shared);
        engine
    }

    fn start(self: &Rc<Self>, worker: usize) {
        let engine = self.engine();
        let used = None;
        *self.workers[worker].borrow_mut() = Some(Worker { engine, used });
    }

    fn choose(&self, of: usize) -> usize {
        self.choices.borrow_mut().choose(of)
    }

    fn wrong(&self, what: impl Into<String>) {
        self.wrong.borrow_mut().get_or_insert(what.into());
    }

    /// Another worker comes in between a reading and the change that follows it.
    fn interrupt(self: &Rc<Self>, slot: Slot) {
        let may = !self.inside.get() && self.interruptions.get() < self.size.interruptions;
        if !may || !matches!(slot, Slot::Bucket(_)) || self.choose(2) == 0 {
            return;
        }
        self.interruptions.set(self.interruptions.get() + 1);
        self.inside.set(true);
        self.step();
        self.inside.set(false);
    }

    /// Notes what happens, for whoever reads of a failure.
    fn tell(&self, what: &str, who: impl std::fmt::Debug) {
        let inside = if self.inside.get() { "  " } else { "" };
        let now = self.now.get().steady.since(Default::default()).as_secs();
        self.told
            .borrow_mut()
            .push(format!("{inside}{now} {what} {who:?}"));
    }

    fn number(&self) -> u32 {
        self.numbers.set(self.numbers.get() + 1);
        self.numbers.get()
    }

    /// One thing happens.
    fn step(self: &Rc<Self>) {
        let kinds = match self.mishaps.get() < self.size.mishaps {
            true => 9,
            false => 3,
        };
        let worker = |world: &Self| world.choose(world.size.workers);
        match self.choose(kinds) {
            0 => {
                let (worker, user) = (worker(self), self.choose(self.size.users));
                self.request(worker, user);
            }
            1 => {
                let alive: Vec<u32> = self.alive();
                if !alive.is_empty() {
                    let number = alive[self.choose(alive.len())];
                    self.answer(number, 0);
                }
            }
            2 => self.tick(worker(self)),
            mishap => {
                self.mishaps.set(self.mishaps.get() + 1);
                match mishap {
                    3 => self.crash(worker(self)),
                    4 => self.reconfigure(worker(self)),
                    5 => self.advance([1, 6, 8, 90][self.choose(4)]),
                    6 => self.set_clock(),
                    7 => self.unauthorized(worker(self)),
                    _ => {
                        let alive: Vec<u32> = self.alive();
                        if !alive.is_empty() {
                            let number = alive[self.choose(alive.len())];
                            self.answer(number, 1 + self.choose(3));
                        }
                    }
                }
            }
        }
    }

    fn alive(&self) -> Vec<u32> {
        let calls = self.calls.borrow();
        let alive = calls.iter().filter(|call| call.alive);
        alive.map(|call| call.number).collect()
    }

    fn request(self: &Rc<Self>, worker: usize, user: usize) {
        let Ok(mut borrowed) = self.workers[worker].try_borrow_mut() else {
            return;
        };
        let Some(this) = borrowed.as_mut() else {
            return;
        };
        let id = self.number();
        self.tell("request", (worker, user, id));
        let (exchange, subject) = of_user(user);
        let now = self.now.get();
        match this
            .engine
            .find(exchange, subject, None, 0, &|_| true, &now)
        {
            Found::Token {
                value, used, renew, ..
            } => {
                self.served(user, &value, true);
                this.used = Some((user, used));
                if let Some(key) = renew {
                    self.called(now, worker, this, key, user, true);
                }
            }
            Found::Refused(_) => {}
            Found::Nothing(key) => {
                match this.engine.wait(&key, 0, || id, &now) {
                    Waits::Refused(_) => return,
                    Waits::Joins | Waits::Elsewhere => {}
                    Waits::Calls => self.called(now, worker, this, key, user, false),
                }
                self.waiting.borrow_mut().insert(id, (worker, user));
            }
        }
    }

    /// A call goes out, of a worker that read the clocks at `now`: the others may have had their turns
    /// since.
    fn called(
        &self,
        now: Clocks,
        worker: usize,
        this: &mut Worker,
        key: Key,
        user: usize,
        renewal: bool,
    ) {
        let number = self.number();
        self.tell("calls", (worker, user, number));
        let mut calls = self.calls.borrow_mut();
        let other = calls.iter().any(|call| {
            call.user == user && !call.withdrawn && now.steady < call.alone_until.steady
        });
        if other {
            self.wrong(format!("two calls for user {user} at once"));
        }
        let is_good = self
            .good
            .borrow()
            .get(&user)
            .is_some_and(|end| now.wall < *end);
        if is_good && !renewal {
            self.wrong(format!("a call for user {user} although a token is there"));
        }
        let mut alone_until = now;
        alone_until.steady = now.steady.plus(claim_time(TIMEOUT));
        calls.push(Call {
            number,
            worker,
            user,
            asked: now,
            alone_until,
            withdrawn: false,
            alive: true,
        });
        this.engine.called(number, key);
    }

    /// The endpoint answers: with a token, a refusal, nothing usable, or a reset.
    fn answer(self: &Rc<Self>, number: u32, how: usize) {
        let found = {
            let calls = self.calls.borrow();
            let call = calls.iter().find(|call| call.number == number);
            call.map(|call| (call.worker, call.user, call.asked, call.alone_until))
        };
        let Some((worker, user, asked, alone_until)) = found else {
            return;
        };
        let Ok(mut borrowed) = self.workers[worker].try_borrow_mut() else {
            return;
        };
        let Some(this) = borrowed.as_mut() else {
            return;
        };
        self.tell("answer", (worker, number, how));
        let now = self.now.get();
        let token = format!("token-{user}-{number}");
        let body = format!(
            r#"{{"access_token":"{token}","token_type":"Bearer","issued_token_type":"x","expires_in":{LIFETIME}}}"#
        );
        let answer = match how {
            0 => Answer::Http(200, Some(body.as_bytes())),
            1 => Answer::Http(400, Some(br#"{"error":"invalid_grant"}"#)),
            2 => Answer::Http(200, Some(b"{}")),
            _ => Answer::Http(503, None),
        };
        // While it is told, it is neither under way nor is its token good.
        self.calls.borrow_mut().retain(|call| call.number != number);
        if how == 1 {
            self.good.borrow_mut().remove(&user);
        }
        if how == 0 {
            let expires = asked.wall.plus(Duration::from_secs(LIFETIME));
            self.expires.borrow_mut().insert(token, expires);
        }
        match this.engine.answered(number, answer, &now) {
            Answered::Done(completion) => {
                if how == 0 && self.mishaps.get() == 0 {
                    let usable = Duration::from_secs(LIFETIME - 15);
                    self.good.borrow_mut().insert(user, now.wall.plus(usable));
                }
                self.completed(completion, this);
            }
            Answered::Call(key) => {
                self.called(now, worker, this, key, user, true);
                if let Some(again) = self.calls.borrow_mut().last_mut() {
                    again.asked = asked;
                    again.alone_until = alone_until;
                }
            }
            Answered::Nobody => {}
        }
    }

    fn completed(&self, completion: Completion<u32>, this: &mut Worker) {
        for id in completion.waiting {
            let Some((_, user)) = self.waiting.borrow_mut().remove(&id) else {
                self.wrong(format!("request {id} is told twice"));
                return;
            };
            if let Ok(obtained) = &completion.result {
                self.served(user, &obtained.value, false);
                this.used = obtained.used.clone().map(|used| (user, used));
            }
        }
    }

    /// A request goes on with a token.
    fn served(&self, user: usize, value: &BearerValue, is_held: bool) {
        let token = String::from_utf8(value.token_bytes().to_vec()).unwrap();
        if !token.starts_with(&format!("token-{user}-")) {
            self.wrong(format!("user {user} got {token}"));
        }
        let expires = self.expires.borrow().get(&token).copied();
        if is_held && expires.is_none_or(|expires| expires <= self.now.get().wall) {
            self.wrong(format!("{token} is used past its end"));
        }
    }

    fn tick(self: &Rc<Self>, worker: usize) {
        let Ok(mut borrowed) = self.workers[worker].try_borrow_mut() else {
            return;
        };
        let Some(this) = borrowed.as_mut() else {
            return;
        };
        self.tell("tick", worker);
        let now = self.now.get();
        for completion in this.engine.tick(&now) {
            self.completed(completion, this);
        }
        let polled = this.engine.poll(&now);
        for completion in polled.done {
            self.completed(completion, this);
        }
        for key in polled.calls {
            let (exchange, subject) = (key.exchange(), key.tokens(false).0.to_vec());
            let user = (0..self.size.users).find(|user| {
                let of = of_user(*user);
                (of.0, of.1.as_bytes()) == (exchange, &subject[..])
            });
            self.called(now, worker, this, key, user.unwrap(), false);
        }
    }

    /// A worker's VM is gone, and another takes its place.
    fn crash(self: &Rc<Self>, worker: usize) {
        let Ok(mut borrowed) = self.workers[worker].try_borrow_mut() else {
            return;
        };
        self.tell("crash", worker);
        *borrowed = None;
        drop(borrowed);
        self.waiting.borrow_mut().retain(|_, (of, _)| *of != worker);
        for call in self.calls.borrow_mut().iter_mut() {
            call.alive &= call.worker != worker;
        }
        self.start(worker);
    }

    fn reconfigure(self: &Rc<Self>, worker: usize) {
        let Ok(mut borrowed) = self.workers[worker].try_borrow_mut() else {
            return;
        };
        let Some(this) = borrowed.as_mut() else {
            return;
        };
        self.tell("reconfigure", worker);
        let now = self.now.get();
        let mut engine = self.engine();
        engine.take_over(&mut this.engine, &now);
        for call in self.calls.borrow_mut().iter_mut() {
            call.withdrawn |= call.worker == worker;
            call.alive &= call.worker != worker;
        }
        this.engine.retire();
        *this = Worker { engine, used: None };
        self.waiting.borrow_mut().retain(|_, (of, _)| *of != worker);
    }

    fn advance(&self, seconds: u64) {
        self.tell("time passes", seconds);
        let mut now = self.now.get();
        now.wall = now.wall.plus(Duration::from_secs(seconds));
        now.steady = now.steady.plus(Duration::from_secs(seconds));
        self.now.set(now);
    }

    /// The clock on the wall is set; nothing is known any more of which tokens are good.
    fn set_clock(&self) {
        let mut now = self.now.get();
        let hour = Duration::from_secs(3600);
        now.wall = match self.choose(2) {
            0 => now.wall.plus(hour),
            _ => now.wall.minus(hour),
        };
        self.now.set(now);
        self.tell("the clock is set", now.wall);
        self.good.borrow_mut().clear();
    }

    fn unauthorized(self: &Rc<Self>, worker: usize) {
        let Ok(mut borrowed) = self.workers[worker].try_borrow_mut() else {
            return;
        };
        if let Some(this) = borrowed.as_mut()
            && let Some((user, used)) = this.used.take()
        {
            self.tell("401", (worker, user));
            self.good.borrow_mut().remove(&user);
            this.engine.unauthorized(&used, &self.now.get());
        }
    }

    fn check(&self) {
        let values = self.values.borrow();
        let buckets = values
            .iter()
            .filter(|(slot, _)| matches!(slot, Slot::Bucket(_)));
        let bytes: usize = buckets.map(|(_, (value, _))| value.len()).sum();
        if bytes > MAX_BYTES {
            self.wrong(format!("{bytes} bytes are held"));
        }
    }

    /// From here on nothing goes wrong, and everybody must be told soon.
    fn settle(self: &Rc<Self>) {
        self.inside.set(true);
        for _ in 0..12 {
            for number in self.alive() {
                self.answer(number, 0);
            }
            for worker in 0..self.size.workers {
                self.tick(worker);
            }
            self.advance(2);
        }
        let waiting = self.waiting.borrow().len();
        if waiting > 0 {
            self.wrong(format!("{waiting} requests are never told"));
        }
    }

    fn run(self: &Rc<Self>) {
        for _ in 0..self.size.steps {
            self.step();
            self.check();
            if self.wrong.borrow().is_some() {
                return;
            }
        }
        self.settle();
    }
}

/// What goes wrong in `runs` runs at most, if anything does, and how many there were.
fn explore(
    size: Size,
    mutant: Option<Mutant>,
    mut choices: Choices,
    runs: usize,
) -> (Option<String>, usize) {
    for run in 1..=runs {
        let told = match &choices {
            Choices::Every { made, .. } => format!("{made:?}"),
            Choices::Random(state) => format!("seed {state}"),
        };
        let world = World::new(size, mutant, choices);
        world.run();
        if let Some(wrong) = world.wrong.take() {
            let happened = world.told.take().join("\n");
            return (Some(format!("{wrong}; run {run}: {told}\n{happened}")), run);
        }
        // The workers hold the world, and the world them.
        for worker in &world.workers {
            worker.take();
        }
        let Ok(world) = Rc::try_unwrap(world).map_err(|_| ()) else {
            panic!("somebody holds on to a world that is over");
        };
        choices = world.choices.into_inner();
        if !choices.turn() {
            return (None, run);
        }
    }
    (None, runs)
}

fn every() -> Choices {
    Choices::Every {
        made: Vec::new(),
        next: 0,
    }
}

/// Two workers, one user, everything that can happen in three steps, one of them a mishap, with the
/// other worker coming in between once.
const SMALL: Size = Size {
    workers: 2,
    users: 1,
    steps: 3,
    interruptions: 1,
    mishaps: 1,
};

/// The same in more steps, without a mishap.
const LONGER: Size = Size {
    steps: 4,
    mishaps: 0,
    ..SMALL
};

/// The same, with a mishap, and nobody coming in between.
const TROUBLED: Size = Size {
    steps: 4,
    interruptions: 0,
    ..SMALL
};

const LARGE: Size = Size {
    workers: 4,
    users: 4,
    steps: 40,
    interruptions: 10,
    mishaps: 6,
};

#[test]
fn every_order_of_a_few_events_keeps_the_promises() {
    for size in [SMALL, LONGER, TROUBLED] {
        let (wrong, runs) = explore(size, None, every(), usize::MAX);
        assert_eq!(wrong, None);
        assert!(runs > 500, "only {runs} runs");
    }
}

#[test]
fn many_orders_of_many_events_keep_the_promises() {
    for seed in 1..=4 {
        let (wrong, _) = explore(LARGE, None, Choices::Random(seed), 250);
        assert!(wrong.is_none(), "{}", wrong.unwrap());
    }
}

#[test]
fn after_a_step_back_of_the_clock_one_call_serves_all_workers_again() {
    let world = World::new(SMALL, None, every());
    for seconds_back in [0, 3600] {
        let mut now = world.now.get();
        now.wall = now.wall.minus(Duration::from_secs(seconds_back));
        now.steady = now.steady.plus(Duration::from_secs(1));
        world.now.set(now);
        world.good.borrow_mut().clear();
        world.request(0, 0);
        let calls = world.alive();
        assert_eq!(calls.len(), 1, "{seconds_back}");
        world.answer(calls[0], 0);
        world.request(1, 0);
        assert!(world.alive().is_empty(), "{seconds_back}");
        assert_eq!(world.wrong.take(), None);
    }
}

#[test]
fn users_whose_keys_lie_together_get_their_own() {
    let size = Size {
        users: 2,
        steps: 4,
        mishaps: 0,
        interruptions: 0,
        ..SMALL
    };
    assert_eq!(explore(size, None, every(), usize::MAX).0, None);
    let (wrong, _) = explore(size, Some(Mutant::ComparesNothing), every(), usize::MAX);
    let wrong = wrong.unwrap();
    assert!(wrong.contains("got token-"), "{wrong}");
}

#[test]
fn a_protocol_that_ignores_others_is_seen_to_call_twice() {
    let (wrong, _) = explore(SMALL, Some(Mutant::IgnoresOthers), every(), usize::MAX);
    let wrong = wrong.unwrap();
    assert!(wrong.contains("two calls"), "{wrong}");
}

#[test]
fn a_protocol_that_forgets_to_look_again_is_seen_to_lose_requests() {
    let (wrong, _) = explore(SMALL, Some(Mutant::SleepsOn), every(), usize::MAX);
    let wrong = wrong.unwrap();
    assert!(wrong.contains("never told"), "{wrong}");
}
