//! Two replicas that refresh the same token, walked through every order of their steps, with one
//! fault at every place. After each walk the world must be one that users can live with.

use std::collections::BTreeSet;
use std::time::Duration;

use super::{NEED, NOW, expired, key};
use crate::refresh::machine::{Answer, Event, Machine, Outcome, Pace, Step, Tokens};
use crate::session::store::{Claim, LockState, StoreError, Written};
use crate::session::{Row, RowKey, RowState};

/// What may go wrong, once in a walk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    None,
    /// A replica's step is its last.
    Crash,
    /// The store does not do what it is asked, and says that it is away.
    Away,
    /// It does it, and the answer is lost.
    AnswerLost,
    /// It refuses.
    Refused,
    /// The lock ends before its time, as when a replica slept too long.
    LockEnds,
    /// The user's session is deleted.
    Logout,
    /// The provider does not answer, though it has redeemed the token.
    NoAnswer,
}

const FAULTS: [Fault; 8] = [
    Fault::None,
    Fault::Crash,
    Fault::Away,
    Fault::AnswerLost,
    Fault::Refused,
    Fault::LockEnds,
    Fault::Logout,
    Fault::NoAnswer,
];

/// The store and the provider.
#[derive(Clone)]
struct World {
    rows: Vec<(RowKey, Option<Row>)>,
    lock: Option<usize>,
    marked: bool,
    rotating: bool,
    /// The refresh tokens that the provider still takes.
    alive: BTreeSet<String>,
    redeemed: Vec<String>,
    issued: usize,
    logged_out: BTreeSet<RowKey>,
}

impl World {
    /// Two sessions of one user that share a refresh token.
    fn new(rotating: bool) -> Self {
        Self {
            rows: vec![(key("S1"), Some(expired())), (key("S2"), Some(expired()))],
            lock: None,
            marked: false,
            rotating,
            alive: BTreeSet::from(["rt0".to_owned()]),
            redeemed: Vec::new(),
            issued: 0,
            logged_out: BTreeSet::new(),
        }
    }

    fn row(&mut self, key: &RowKey) -> &mut Option<Row> {
        &mut self
            .rows
            .iter_mut()
            .find(|(other, _)| other == key)
            .expect("one of the two")
            .1
    }

    fn claim(&mut self, who: usize, key: &RowKey) -> Claim {
        let lock = match self.lock {
            _ if self.marked => LockState::Redeemed,
            None => {
                self.lock = Some(who);
                LockState::Ours
            }
            Some(owner) if owner == who => LockState::Ours,
            Some(_) => LockState::Held,
        };
        let row = self.row(key).clone();
        Claim {
            lock,
            row: row.map_or(RowState::Gone, |row| RowState::Read(Box::new(row))),
        }
    }

    /// What a step asks for, done.
    fn carry_out(&mut self, replica: &Replica, step: &Step) -> Event {
        let who = replica.number;
        match step {
            Step::Claim => Event::Claimed(Ok(self.claim(who, &replica.key))),
            Step::Wait(_) => Event::Waited,
            Step::Call { .. } => Event::Answered(self.redeem("rt0")),
            Step::Gather { .. } => Event::Gathered(Ok(self
                .rows
                .iter()
                .filter_map(|(key, row)| Some((key.clone(), row.clone()?)))
                .filter(|(_, row)| row.refresh_token == "rt0")
                .collect())),
            Step::Write { rows, redeemed } => {
                if self.lock != Some(who) {
                    return Event::Wrote(Ok(Written::NotOurs));
                }
                let mut written = 0;
                for replacement in rows {
                    if let Some(row) = self.row(&replacement.key)
                        && row.refresh_token == "rt0"
                    {
                        *row = replacement.row.clone();
                        written += 1;
                    }
                }
                self.marked |= redeemed.is_some();
                Event::Wrote(Ok(Written::Rows(written)))
            }
            Step::Delete(rows) => {
                if self.lock != Some(who) {
                    return Event::Wrote(Ok(Written::NotOurs));
                }
                let mut deleted = 0;
                for (key, _) in rows {
                    let row = self.row(key);
                    if row.as_ref().is_some_and(|row| row.refresh_token == "rt0") {
                        *row = None;
                        deleted += 1;
                    }
                }
                Event::Wrote(Ok(Written::Rows(deleted)))
            }
            Step::Release => {
                if self.lock == Some(who) {
                    self.lock = None;
                }
                Event::Released(Ok(()))
            }
            Step::Done(_) => unreachable!("nothing is left to do"),
        }
    }

    fn redeem(&mut self, token: &str) -> Answer {
        self.redeemed.push(token.to_owned());
        if !self.alive.contains(token) {
            // Reuse: the whole grant is revoked.
            self.alive.clear();
            return Answer::Dead("invalid_grant");
        }
        self.issued += 1;
        let next = self.rotating.then(|| format!("rt{}", self.issued));
        if let Some(next) = &next {
            self.alive = BTreeSet::from([next.clone()]);
        }
        Answer::Tokens(Tokens {
            access_token: format!("at{}", self.issued),
            refresh_token: next,
            id_token: None,
            expires_at: NOW / 1000 + 3600,
        })
    }
}

fn fail(step: &Step, error: StoreError) -> Option<Event> {
    Some(match step {
        Step::Claim => Event::Claimed(Err(error)),
        Step::Gather { .. } => Event::Gathered(Err(error)),
        Step::Write { .. } | Step::Delete(_) => Event::Wrote(Err(error)),
        Step::Release => Event::Released(Err(error)),
        _ => return None,
    })
}

struct Replica {
    number: usize,
    key: RowKey,
    machine: Machine,
    step: Step,
    crashed: bool,
    waits: usize,
}

impl Replica {
    fn new(number: usize, session: &str) -> Self {
        let pace = Pace::for_calls_of(Duration::from_secs(30));
        let (machine, step) = Machine::new(key(session), &expired(), NEED, pace, NOW);
        Self {
            number,
            key: key(session),
            machine,
            step,
            crashed: false,
            waits: 0,
        }
    }

    fn outcome(&self) -> Option<&Outcome> {
        match &self.step {
            Step::Done(outcome) => Some(outcome),
            _ => None,
        }
    }
}

/// One walk: which replica steps when (a bit each; replica 0 where the bits end), and which step
/// goes wrong how.
struct Walk {
    order: u32,
    fault: Fault,
    at: usize,
    rotating: bool,
}

impl Walk {
    fn describe(&self) -> String {
        format!(
            "order {:#b}, {:?} at step {}, rotating: {}",
            self.order, self.fault, self.at, self.rotating
        )
    }

    /// Runs to the end; whether the fault had its place in it.
    fn run(&self) -> bool {
        let mut world = World::new(self.rotating);
        let mut replicas = [Replica::new(0, "S1"), Replica::new(1, "S2")];
        let mut faulted = false;
        for number in 0.. {
            assert!(number < 400, "never ends: {}", self.describe());
            let wish = usize::from(self.order >> number.min(31) & 1 == 1);
            let can = |replica: &Replica| !replica.crashed && replica.outcome().is_none();
            let who = match (can(&replicas[wish]), can(&replicas[1 - wish])) {
                (true, _) => wish,
                (false, true) => 1 - wish,
                (false, false) => break,
            };
            // A waiting replica whose neighbour still works lets it: polls differ in nothing.
            let waits = matches!(replicas[who].step, Step::Wait(_)) && replicas[who].waits > 1;
            let who = if waits && can(&replicas[1 - who]) && world.lock == Some(1 - who) {
                1 - who
            } else {
                who
            };
            let fault = if number == self.at {
                self.fault
            } else {
                Fault::None
            };
            faulted |= self.step(&mut world, &mut replicas, who, fault);
        }
        self.judge(&world, &replicas, faulted);
        faulted
    }

    fn step(
        &self,
        world: &mut World,
        replicas: &mut [Replica; 2],
        who: usize,
        fault: Fault,
    ) -> bool {
        let replica = &mut replicas[who];
        let step = replica.step.clone();
        if let Step::Wait(_) = step {
            replica.waits += 1;
            let neighbour_is_dead = world.lock.is_some_and(|owner| owner != who);
            if neighbour_is_dead && replica.waits > 20 {
                // Whoever held it is gone, and its time is over.
                world.lock = None;
            }
        }
        let (event, faulted) = match fault {
            Fault::None => (world.carry_out(replica, &step), false),
            Fault::Crash => {
                world.carry_out(replica, &step);
                replica.crashed = true;
                return true;
            }
            Fault::Away => match fail(&step, StoreError::Away("test")) {
                Some(event) => (event, true),
                None => (world.carry_out(replica, &step), false),
            },
            Fault::Refused => match fail(&step, StoreError::Refused("OOM".to_owned())) {
                Some(event) => (event, true),
                None => (world.carry_out(replica, &step), false),
            },
            Fault::AnswerLost => {
                let done = world.carry_out(replica, &step);
                fail(&step, StoreError::Away("test")).map_or((done, false), |event| (event, true))
            }
            Fault::LockEnds => {
                let had = world.lock.take().is_some();
                (world.carry_out(replica, &step), had)
            }
            Fault::Logout => {
                let key = replica.key.clone();
                *world.row(&key) = None;
                world.logged_out.insert(key);
                (world.carry_out(replica, &step), true)
            }
            Fault::NoAnswer => {
                let done = world.carry_out(replica, &step);
                match done {
                    Event::Answered(_) => (Event::Answered(Answer::NotNow("timeout")), true),
                    done => (done, false),
                }
            }
        };
        replica.step = replica.machine.step(event, NOW);
        let is_over = replica.outcome().is_some();
        if is_over && replica.machine.owes_release() && world.lock == Some(who) {
            // The driver sees to it once the store is back.
            world.lock = None;
        }
        faulted
    }

    fn judge(&self, world: &World, replicas: &[Replica; 2], faulted: bool) {
        let walk = self.describe();
        let fault = if faulted { self.fault } else { Fault::None };
        let excused = matches!(fault, Fault::Crash | Fault::LockEnds | Fault::NoAnswer);

        if self.rotating {
            let rt0 = world
                .redeemed
                .iter()
                .filter(|token| *token == "rt0")
                .count();
            assert!(rt0 <= 1 || excused, "redeemed {rt0} times: {walk}");
        }
        for (key, row) in &world.rows {
            if world.logged_out.contains(key) {
                assert!(row.is_none(), "who was logged out is in again: {walk}");
            }
            if let (Some(row), false) = (row, excused) {
                assert!(
                    world.alive.contains(&row.refresh_token),
                    "a row holds a dead refresh token: {walk}"
                );
            }
            // A fault costs nobody else's session, and none that can be helped.
            if !world.logged_out.contains(key) && !excused {
                assert!(row.is_some(), "a row was lost: {walk}");
            }
        }
        for replica in replicas {
            if replica.crashed {
                continue;
            }
            let outcome = replica.outcome().expect("it ended");
            if let Outcome::Held(row) = outcome {
                assert!(
                    excused || !NEED.is_due(row, NOW) || fault == Fault::Logout,
                    "serves what is due: {walk}"
                );
            }
            if let (Outcome::Missing(why), false) = (outcome, excused) {
                let logged_out = world.logged_out.contains(&replica.key);
                assert!(logged_out, "missing ({why}) without a reason: {walk}");
            }
            if let (Outcome::Unavailable(why), Fault::None) = (outcome, fault) {
                panic!("unavailable ({why}) without a fault: {walk}");
            }
        }
        // A crash leaves the lock to its end.
        let may_stay = fault == Fault::Crash;
        assert!(world.lock.is_none() || may_stay, "a lock is left: {walk}");
    }
}

#[test]
fn no_order_and_no_single_fault_loses_a_session_or_redeems_twice() {
    let mut faulted = std::collections::BTreeMap::<String, usize>::new();
    for rotating in [true, false] {
        for order in 0..1 << 10 {
            for fault in FAULTS {
                for at in 0..16 {
                    let walk = Walk {
                        order,
                        fault,
                        at,
                        rotating,
                    };
                    *faulted.entry(format!("{fault:?}")).or_default() += usize::from(walk.run());
                    if fault == Fault::None {
                        break;
                    }
                }
            }
        }
    }
    for fault in &FAULTS[1..] {
        let times = faulted[&format!("{fault:?}")];
        assert!(times > 500, "{fault:?} happened only {times} times");
    }
}
