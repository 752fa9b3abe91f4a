//! A breaker that knows whose calls failed, so that one user whom the STS refuses does not stop the
//! exchange for everybody else.
//!
//! As long as all failures are one user's, it cannot tell whether the endpoint is down or that user is
//! the reason. So it opens and closes as ever; but from the second pause on, the probe is left to
//! somebody else for a moment, if anybody else has asked; and once somebody else's call has closed it,
//! the next failure of that one costs a pause for that one alone, longer than the last, unless it comes
//! so late that it has nothing to do with what was.
//!
//! A probe that decides nothing leaves the next call to be the probe, and somebody else's for a moment, if
//! somebody else was stopped meanwhile: else whoever asks most would have every probe.

use super::breaker::{Admitted, Breaker, FIRST_PAUSE, LONGEST_PAUSE, Stopped};
use super::results::whole_seconds;
use crate::time::Steady;
use std::time::Duration;

/// The part of a pause after the first for which the probe is left to others, as a divisor.
const LEFT_TO_OTHERS: u32 = 10;

/// A breaker, and whose failures it counts. Users are told apart by a number of the caller's choice.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct FairBreaker {
    breaker: Breaker,
    failures_of: FailuresOf,
    /// Whether somebody else was stopped while the failures were one's.
    others_wait: bool,
    /// Who alone has opened it, and whom the next failure alone stops.
    suspect: Option<One>,
    /// Whose the last probe was, and whether somebody else was stopped since.
    probe_of: Option<(u64, bool)>,
    /// Whose last probe decided nothing, and until when the next one is left to others.
    passed_over: Option<(u64, Steady)>,
}

/// Whose failures in a row were counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum FailuresOf {
    #[default]
    Nobody,
    One(u64),
    Several,
}

/// One user whose failures concern nobody else, and until when that one is stopped for them.
#[derive(Clone, Copy, Debug)]
struct One {
    who: u64,
    until: Steady,
    pause: Duration,
}

impl FairBreaker {
    /// Asks for a call for `who`. Whoever gets `Ok` must make it and report how it ended.
    pub(super) fn admit(&mut self, who: u64, now: Steady) -> Result<Admitted, Stopped> {
        let is_the_one = self.failures_of == FailuresOf::One(who);
        if let (Breaker::Probing { .. }, Some((prober, others))) =
            (self.breaker, &mut self.probe_of)
        {
            *others |= *prober != who;
        }
        if let Some(until) = self
            .alone_until(who, is_the_one)
            .filter(|until| now < *until)
        {
            let retry_after = until.since(now);
            return Err(Stopped { retry_after });
        }
        let admitted = self.breaker.admit(now);
        self.others_wait |= admitted.is_err() && !is_the_one;
        if admitted == Ok(Admitted::AsProbe) {
            self.probe_of = Some((who, false));
        }
        admitted
    }

    /// Until when `who` is stopped although others are not.
    fn alone_until(&self, who: u64, is_the_one: bool) -> Option<Steady> {
        let alone = self
            .suspect
            .filter(|one| one.who == who)
            .map(|one| one.until);
        let passed_over = self.passed_over.filter(|(one, _)| *one == who);
        let alone = alone.max(passed_over.map(|(_, until)| until));
        match self.breaker {
            Breaker::Open { until, pause }
                if is_the_one && self.others_wait && pause > FIRST_PAUSE =>
            {
                let left = pause.checked_div(LEFT_TO_OTHERS).unwrap_or(pause);
                alone.max(Some(until.plus(left)))
            }
            _ => alone,
        }
    }

    /// The answer to a call for `who` was one that closes it.
    pub(super) fn answered(&mut self, who: u64, now: Steady) {
        let pause = match self.breaker {
            Breaker::Open { pause, .. } | Breaker::Probing { pause } => Some(pause),
            Breaker::Closed { .. } => None,
        };
        match (self.failures_of, pause) {
            (FailuresOf::One(one), Some(pause)) if one != who => {
                // It is closed for that one, too: only another failure stops it.
                self.suspect = Some(One {
                    who: one,
                    until: now,
                    pause,
                });
            }
            _ if self.suspect.is_some_and(|one| one.who == who) => self.suspect = None,
            _ => {}
        }
        self.breaker.answered();
        self.passed_over = None;
        self.failures_of = FailuresOf::Nobody;
        self.others_wait = false;
    }

    /// The answer to a call for `who`, or that there was none, was a failure.
    pub(super) fn failed(&mut self, who: u64, admitted: Admitted, now: Steady) {
        let before = self.breaker;
        self.breaker.failed(admitted, now);
        self.suspect = self
            .suspect
            .filter(|one| now < one.until.plus(LONGEST_PAUSE));
        if let Some(one) = self.suspect.filter(|one| one.who == who) {
            let pause = Breaker::doubled(one.pause);
            let until = now.plus(pause);
            self.suspect = Some(One { who, until, pause });
        }
        if before == self.breaker {
            return;
        }
        self.failures_of = match self.failures_of {
            FailuresOf::Nobody => FailuresOf::One(who),
            FailuresOf::One(one) if one == who => FailuresOf::One(one),
            FailuresOf::One(_) | FailuresOf::Several => FailuresOf::Several,
        };
        self.others_wait = false;
    }

    /// The call for `who`, made or not, told nothing of the STS.
    pub(super) fn undecided(&mut self, who: u64, admitted: Admitted, now: Steady) {
        if let Breaker::Probing { pause } = self.breaker
            && admitted == Admitted::AsProbe
        {
            let left = pause.checked_div(LEFT_TO_OTHERS).unwrap_or(pause);
            let others_wait = self.probe_of.is_some_and(|(_, others)| others);
            self.passed_over = others_wait.then(|| (who, now.plus(left)));
        }
        self.breaker.undecided(admitted, now);
    }

    /// How long until a call for `who` may go out, in whole seconds.
    pub(super) fn retry_after(&self, who: u64, now: Steady) -> u32 {
        let is_the_one = self.failures_of == FailuresOf::One(who);
        let alone = self
            .alone_until(who, is_the_one)
            .map_or(Duration::ZERO, |until| until.since(now));
        self.breaker.retry_after(now).max(whole_seconds(alone))
    }
}

/// The breaker of one token endpoint, and its word for how long it wants to be left alone.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Endpoint {
    breaker: FairBreaker,
    /// Until when no call is made, whatever the breaker says.
    left_alone: Option<Steady>,
}

impl Endpoint {
    /// Asks for a call for `who`. Whoever gets `Ok` must make it and report how it ended.
    pub(super) fn admit(&mut self, who: u64, now: Steady) -> Result<Admitted, Stopped> {
        match self.left_alone {
            Some(until) if now < until => Err(Stopped {
                retry_after: until.since(now),
            }),
            _ => self.breaker.admit(who, now),
        }
    }

    /// The endpoint wants to be left alone for so long. Of calls that were under way together, one
    /// answer may ask for less than another.
    pub(super) fn leave_alone(&mut self, wait: Duration, now: Steady) {
        self.left_alone = self.left_alone.max(Some(now.plus(wait)));
    }

    /// What tells the breaker how calls went.
    pub(super) fn breaker(&mut self) -> &mut FairBreaker {
        &mut self.breaker
    }

    /// How long until a call for `who` may go out, in whole seconds.
    pub(super) fn retry_after(&self, who: u64, now: Steady) -> u32 {
        let left = self
            .left_alone
            .map_or(Duration::ZERO, |until| until.since(now));
        self.breaker.retry_after(who, now).max(whole_seconds(left))
    }
}

#[cfg(test)]
mod tests {
    use super::Admitted::{AsProbe, Freely};
    use super::*;

    const MALLORY: u64 = 1;
    const ALICE: u64 = 2;
    const BOB: u64 = 3;

    fn at(millis: u64) -> Steady {
        Steady::default().plus(Duration::from_millis(millis))
    }

    fn opened_by(users: &[u64]) -> FairBreaker {
        let mut breaker = FairBreaker::default();
        for user in users {
            assert_eq!(breaker.admit(*user, at(0)), Ok(Freely));
            breaker.failed(*user, Freely, at(0));
        }
        breaker
    }

    #[test]
    fn one_users_failures_stop_everybody_until_another_succeeds_and_then_that_one_alone() {
        let mut breaker = opened_by(&[MALLORY; 5]);
        assert!(breaker.admit(ALICE, at(500)).is_err());
        assert_eq!(breaker.admit(ALICE, at(1000)), Ok(AsProbe));
        breaker.answered(ALICE, at(1010));
        // One success closes it, for everybody.
        assert_eq!(breaker.admit(BOB, at(1010)), Ok(Freely));
        assert_eq!(breaker.admit(MALLORY, at(1010)), Ok(Freely));
        breaker.failed(MALLORY, Freely, at(1010));
        let mut now = 1010;
        for pause in [2, 4, 8, 16, 30, 30] {
            let end = now + pause * 1000;
            assert!(breaker.admit(MALLORY, at(end - 1)).is_err(), "{pause}");
            assert_eq!(breaker.admit(BOB, at(end - 1)), Ok(Freely), "{pause}");
            breaker.answered(BOB, at(end - 1));
            assert_eq!(breaker.admit(MALLORY, at(end)), Ok(Freely), "{pause}");
            breaker.failed(MALLORY, Freely, at(end));
            now = end;
        }
        assert_eq!(breaker.admit(MALLORY, at(now + 30_000)), Ok(Freely));
        breaker.answered(MALLORY, at(now + 30_000));
        // A success clears the name.
        breaker.failed(MALLORY, Freely, at(now + 30_000));
        assert_eq!(breaker.admit(MALLORY, at(now + 30_000)), Ok(Freely));
    }

    #[test]
    fn a_failure_long_after_another_has_closed_it_is_one_of_five_again() {
        let mut closed = opened_by(&[MALLORY; 5]);
        assert_eq!(closed.admit(ALICE, at(1000)), Ok(AsProbe));
        closed.answered(ALICE, at(1000));
        for (when, stops) in [(30_999, true), (31_000, false)] {
            let mut breaker = closed;
            assert_eq!(breaker.admit(MALLORY, at(when)), Ok(Freely));
            breaker.failed(MALLORY, Freely, at(when));
            assert_eq!(breaker.admit(MALLORY, at(when)).is_err(), stops, "{when}");
            let wait = if stops { 2 } else { 1 };
            assert_eq!(breaker.retry_after(MALLORY, at(when)), wait, "{when}");
            assert_eq!(breaker.retry_after(ALICE, at(when)), 1, "{when}");
        }
    }

    #[test]
    fn from_the_second_pause_on_the_probe_is_left_to_others_for_a_moment() {
        let mut breaker = opened_by(&[MALLORY; 5]);
        assert!(breaker.admit(ALICE, at(500)).is_err());
        assert_eq!(breaker.admit(MALLORY, at(1000)), Ok(AsProbe));
        breaker.failed(MALLORY, AsProbe, at(1000));
        assert!(breaker.admit(ALICE, at(2000)).is_err());
        assert_eq!(breaker.retry_after(ALICE, at(2000)), 1);
        assert_eq!(breaker.retry_after(MALLORY, at(2000)), 2);
        assert!(breaker.admit(MALLORY, at(3199)).is_err());
        let mut by_another = breaker;
        assert_eq!(by_another.admit(ALICE, at(3100)), Ok(AsProbe));
        assert_eq!(breaker.admit(MALLORY, at(3200)), Ok(AsProbe));
        breaker.failed(MALLORY, AsProbe, at(3200));
        assert_eq!(
            breaker.admit(MALLORY, at(7200)),
            Ok(AsProbe),
            "nobody asked"
        );
    }

    #[test]
    fn nothing_is_left_to_others_where_only_that_one_asks() {
        let mut breaker = opened_by(&[MALLORY; 5]);
        assert!(breaker.admit(MALLORY, at(500)).is_err());
        assert_eq!(breaker.admit(MALLORY, at(1000)), Ok(AsProbe));
        breaker.failed(MALLORY, AsProbe, at(1000));
        assert!(breaker.admit(MALLORY, at(2000)).is_err());
        assert_eq!(breaker.admit(MALLORY, at(3000)), Ok(AsProbe));
    }

    #[test]
    fn whose_own_success_closes_it_is_under_no_suspicion() {
        let mut breaker = opened_by(&[MALLORY; 5]);
        assert_eq!(breaker.admit(MALLORY, at(1000)), Ok(AsProbe));
        breaker.answered(MALLORY, at(1000));
        breaker.failed(MALLORY, Freely, at(1001));
        assert_eq!(breaker.admit(MALLORY, at(1001)), Ok(Freely));
    }

    #[test]
    fn probes_that_decide_nothing_are_not_all_of_one_who_asks_most() {
        let mut breaker = opened_by(&[BOB; 5]);
        assert_eq!(breaker.admit(MALLORY, at(1000)), Ok(AsProbe));
        assert!(breaker.admit(MALLORY, at(1001)).is_err());
        breaker.undecided(MALLORY, AsProbe, at(1002));
        assert_eq!(
            breaker.admit(MALLORY, at(1002)),
            Ok(AsProbe),
            "nobody else asked"
        );
        assert!(breaker.admit(BOB, at(1003)).is_err());
        breaker.undecided(MALLORY, Freely, at(1004));
        assert!(breaker.admit(BOB, at(1005)).is_err(), "one probe at a time");
        breaker.undecided(MALLORY, AsProbe, at(1006));
        let mut alone = breaker;
        assert!(breaker.admit(MALLORY, at(1007)).is_err());
        assert_eq!(breaker.admit(BOB, at(1008)), Ok(AsProbe));
        breaker.answered(BOB, at(1009));
        assert_eq!(breaker.admit(MALLORY, at(1010)), Ok(Freely));
        assert_eq!(alone.admit(MALLORY, at(1106)), Ok(AsProbe), "nobody came");
    }

    #[test]
    fn failures_of_several_are_nobodys_own() {
        let mut breaker = opened_by(&[MALLORY, MALLORY, ALICE, MALLORY, MALLORY]);
        assert!(breaker.admit(BOB, at(500)).is_err());
        assert_eq!(breaker.admit(MALLORY, at(1000)), Ok(AsProbe));
        breaker.failed(MALLORY, AsProbe, at(1000));
        assert_eq!(breaker.admit(BOB, at(3000)), Ok(AsProbe));
        breaker.answered(BOB, at(3000));
        assert_eq!(breaker.admit(MALLORY, at(3000)), Ok(Freely));
    }

    #[test]
    fn the_longest_that_an_endpoint_asks_for_is_kept_to() {
        let mut endpoint = Endpoint::default();
        endpoint.leave_alone(Duration::from_secs(30), at(0));
        endpoint.leave_alone(Duration::from_secs(1), at(10));
        let stopped = endpoint.admit(ALICE, at(2000)).unwrap_err();
        assert_eq!(stopped.retry_after, Duration::from_secs(28));
        assert_eq!(endpoint.retry_after(ALICE, at(2000)), 28);
        assert_eq!(endpoint.admit(ALICE, at(30_000)), Ok(Freely));
    }

    #[test]
    fn a_probe_of_another_that_fails_makes_it_everybodys() {
        let mut breaker = opened_by(&[MALLORY; 5]);
        assert_eq!(breaker.admit(ALICE, at(1000)), Ok(AsProbe));
        breaker.failed(ALICE, AsProbe, at(1000));
        assert!(breaker.admit(BOB, at(2000)).is_err());
        assert_eq!(breaker.admit(MALLORY, at(3000)), Ok(AsProbe));
        breaker.answered(MALLORY, at(3000));
        assert_eq!(breaker.admit(ALICE, at(3000)), Ok(Freely));
    }
}
