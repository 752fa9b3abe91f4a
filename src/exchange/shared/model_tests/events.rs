//! What can happen in a run, and what must be true of it.

use super::world::{Call, LIFETIME, MAX_BYTES, TIMEOUT, Worker, World, of_user};
use crate::exchange::answer::Answer;
use crate::exchange::key::Key;
use crate::exchange::results::{Answered, Completion, Found, Waits};
use crate::exchange::shared::claim_time;
use crate::exchange::shared::store::Slot;
use crate::time::Clocks;
use crate::token::BearerValue;
use std::rc::Rc;
use std::time::Duration;

impl World {
    /// Another worker comes in between a reading and the change that follows it.
    pub(super) fn interrupt(self: &Rc<Self>, slot: Slot) {
        let may = !self.inside.get() && self.interruptions.get() < self.size.interruptions;
        if !may || !matches!(slot, Slot::Bucket(_)) || self.choose(2) == 0 {
            return;
        }
        self.interruptions.set(self.interruptions.get() + 1);
        self.inside.set(true);
        self.step();
        self.inside.set(false);
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

    pub(super) fn alive(&self) -> Vec<u32> {
        let calls = self.calls.borrow();
        let alive = calls.iter().filter(|call| call.alive);
        alive.map(|call| call.number).collect()
    }

    pub(super) fn request(self: &Rc<Self>, worker: usize, user: usize) {
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
    pub(super) fn answer(self: &Rc<Self>, number: u32, how: usize) {
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

    pub(super) fn run(self: &Rc<Self>) {
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
