//! The breaker: calls stop for a while to an endpoint that does not answer, and of an exchange whose
//! client is refused.

use super::results::whole_seconds;
use crate::time::Steady;
use std::time::Duration;

/// Failures in a row that open the breaker.
const THRESHOLD: u32 = 5;
/// How long it stays open at first; doubled after each failed probe.
pub(crate) const FIRST_PAUSE: Duration = Duration::from_secs(1);
/// The longest pause.
pub(crate) const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// A breaker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Breaker {
    /// Calls go through.
    Closed {
        /// Failures in a row so far.
        failures: u32,
    },
    /// Calls are stopped.
    Open {
        /// When a probe may go out.
        until: Steady,
        /// The length of this pause.
        pause: Duration,
    },
    /// One probe is under way.
    Probing {
        /// The length of the pause before it.
        pause: Duration,
    },
}

/// How a call was admitted: to be handed back when it failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Admitted {
    /// As one of many.
    Freely,
    /// As the probe that tells how the STS is now.
    AsProbe,
}

/// The breaker stops the call; a try makes sense after this time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stopped {
    /// Time until the next probe, or a second while one is under way.
    pub retry_after: Duration,
}

impl Default for Breaker {
    fn default() -> Self {
        Breaker::Closed { failures: 0 }
    }
}

impl Breaker {
    /// Asks for a call. Whoever gets `Ok` must make it and report how it ended.
    pub(crate) fn admit(&mut self, now: Steady) -> Result<Admitted, Stopped> {
        match *self {
            Breaker::Closed { .. } => Ok(Admitted::Freely),
            Breaker::Open { until, pause } if until <= now => {
                *self = Breaker::Probing { pause };
                Ok(Admitted::AsProbe)
            }
            Breaker::Open { until, .. } => Err(Stopped {
                retry_after: until.since(now),
            }),
            Breaker::Probing { .. } => Err(Stopped {
                retry_after: Duration::from_secs(1),
            }),
        }
    }

    /// The answer was one that closes it.
    pub(crate) fn answered(&mut self) {
        *self = Breaker::default();
    }

    /// The answer to a call that was `admitted`, or that there was none, was a failure.
    pub(crate) fn failed(&mut self, admitted: Admitted, now: Steady) {
        let open = |pause: Duration| Breaker::Open {
            until: now.plus(pause),
            pause,
        };
        *self = match *self {
            Breaker::Closed { failures } if failures.saturating_add(1) < THRESHOLD => {
                Breaker::Closed {
                    failures: failures.saturating_add(1),
                }
            }
            Breaker::Closed { .. } => open(FIRST_PAUSE),
            Breaker::Probing { pause } if admitted == Admitted::AsProbe => {
                open(Self::doubled(pause))
            }
            // A call from before the breaker opened: the pause already counts it, and what became
            // of it says nothing about the probe.
            Breaker::Probing { .. } | Breaker::Open { .. } => return,
        };
    }

    /// The pause after this one.
    pub(crate) fn doubled(pause: Duration) -> Duration {
        pause.saturating_mul(2).min(LONGEST_PAUSE)
    }

    /// The call told nothing of the STS: it could not even be made, or its answer speaks neither for nor
    /// against it. If it was the probe, the next call is.
    pub(crate) fn undecided(&mut self, admitted: Admitted, now: Steady) {
        if let Breaker::Probing { pause } = *self
            && admitted == Admitted::AsProbe
        {
            *self = Breaker::Open { until: now, pause };
        }
    }

    /// How long until a call may go out, rounded up to whole seconds and at least one, as
    /// `retry-after` needs it (RFC 9110 §10.2.3).
    pub(crate) fn retry_after(&self, now: Steady) -> u32 {
        let pause = match *self {
            Breaker::Open { until, .. } => until.since(now),
            Breaker::Closed { .. } | Breaker::Probing { .. } => Duration::ZERO,
        };
        whole_seconds(pause)
    }
}

#[cfg(test)]
mod tests {
    use super::Admitted::{AsProbe, Freely};
    use super::*;

    fn at(millis: u64) -> Steady {
        Steady::default().plus(Duration::from_millis(millis))
    }

    fn opened() -> Breaker {
        let mut breaker = Breaker::default();
        (0..THRESHOLD).for_each(|_| breaker.failed(Freely, at(0)));
        breaker
    }

    #[test]
    fn five_failures_in_a_row_stop_calls_for_a_second() {
        let mut breaker = Breaker::default();
        for _ in 0..3 {
            (0..4).for_each(|_| breaker.failed(Freely, at(0)));
            assert_eq!(breaker.admit(at(0)), Ok(Freely));
            breaker.answered();
        }
        let mut breaker = opened();
        let stopped = breaker.admit(at(400)).unwrap_err();
        assert_eq!(stopped.retry_after, Duration::from_millis(600));
        assert_eq!(breaker.retry_after(at(400)), 1);
        assert_eq!(breaker.admit(at(1000)), Ok(AsProbe));
    }

    #[test]
    fn one_probe_at_a_time_and_one_success_closes() {
        let mut breaker = opened();
        assert_eq!(breaker.admit(at(1000)), Ok(AsProbe));
        assert!(breaker.admit(at(1000)).is_err());
        breaker.answered();
        assert_eq!(breaker, Breaker::default());
    }

    #[test]
    fn failed_probes_double_the_pause_up_to_thirty_seconds() {
        let mut breaker = opened();
        let mut now = 0;
        for pause in [1, 2, 4, 8, 16, 30, 30] {
            assert!(
                breaker.admit(at(now + pause * 1000 - 1)).is_err(),
                "{pause}"
            );
            now += pause * 1000;
            assert_eq!(breaker.admit(at(now)), Ok(AsProbe), "{pause}");
            breaker.failed(AsProbe, at(now));
        }
    }

    #[test]
    fn late_failures_do_not_lengthen_the_pause() {
        let mut breaker = opened();
        let before = breaker;
        breaker.failed(Freely, at(900));
        assert_eq!(breaker, before);
        assert_eq!(breaker.admit(at(1000)), Ok(AsProbe));
        breaker.failed(Freely, at(1001));
        assert!(
            breaker.admit(at(60_000)).is_err(),
            "the probe is still under way"
        );
        breaker.failed(AsProbe, at(60_000));
        assert!(breaker.admit(at(61_999)).is_err());
        assert_eq!(breaker.admit(at(62_000)), Ok(AsProbe));
    }

    #[test]
    fn a_probe_that_decided_nothing_leaves_room_for_the_next() {
        let mut breaker = opened();
        assert_eq!(breaker.admit(at(1000)), Ok(AsProbe));
        breaker.undecided(Freely, at(1000));
        assert!(breaker.admit(at(1000)).is_err(), "that was another call");
        breaker.undecided(AsProbe, at(1000));
        assert_eq!(breaker.admit(at(1000)), Ok(AsProbe));
    }

    #[test]
    fn retry_after_is_whole_seconds_rounded_up() {
        for (millis, seconds) in [(0, 1), (1, 1), (1000, 1), (1001, 2), (30_000, 30)] {
            assert_eq!(whole_seconds(Duration::from_millis(millis)), seconds);
        }
    }
}
