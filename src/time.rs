//! Points in time, on the wall and on a clock that only goes forward.

use std::time::Duration;

/// A point in time: nanoseconds since the Unix epoch.
///
/// The wall clock rather than a monotonic one, because tokens expire by the wall clock and a
/// monotonic clock stands still while a machine is suspended. Arithmetic saturates: a clock that
/// is set back makes differences zero, never negative.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Time(u64);

impl Time {
    /// From nanoseconds since the Unix epoch.
    pub const fn from_nanos(nanos: u64) -> Self {
        Self(nanos)
    }

    /// From seconds since the Unix epoch, as `exp` of a JWT has them (RFC 7519 §2, NumericDate).
    /// Anything before the epoch, and what is not a number, is the epoch itself.
    pub fn from_unix_seconds(seconds: f64) -> Self {
        // `as` saturates, and maps NaN to 0.
        Self((seconds * 1e9) as u64)
    }

    /// This point plus `duration`.
    pub fn plus(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(nanos(duration)))
    }

    /// This point minus `duration`.
    pub fn minus(self, duration: Duration) -> Self {
        Self(self.0.saturating_sub(nanos(duration)))
    }

    /// The time from `earlier` to this point, zero if `earlier` is later.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

/// A point on a clock that only goes forward: nanoseconds since some moment of this process.
///
/// What is measured from here to there (how long a call took, how long a pause lasts) is measured
/// with it, because the wall clock may be set meanwhile: a step of it would end every call under way,
/// or stretch a pause.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Steady(u64);

impl Steady {
    /// From nanoseconds since the clock's beginning.
    pub const fn from_nanos(nanos: u64) -> Self {
        Self(nanos)
    }

    /// This point plus `duration`.
    pub fn plus(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(nanos(duration)))
    }

    /// The time from `earlier` to this point.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

/// Both clocks, read when they are needed: each reading is a host call.
pub trait Clock {
    /// The time on the wall.
    fn wall(&self) -> Time;

    /// The clock that only goes forward.
    fn steady(&self) -> Steady;
}

/// A moment on both clocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moment {
    /// The time on the wall.
    pub wall: Time,
    /// The clock that only goes forward.
    pub steady: Steady,
}

impl Moment {
    /// This one.
    pub fn now(clock: &dyn Clock) -> Self {
        Self {
            wall: clock.wall(),
            steady: clock.steady(),
        }
    }

    /// Whether what began here, and ends when it is `end` on the wall, is under way at `now`: on both
    /// clocks. The wall clock may be set back, which stretches no life; and of what began in the
    /// future nothing is known.
    pub fn lasts_until(self, end: Time, now: Self) -> bool {
        let on_the_wall = self.wall <= now.wall && now.wall < end;
        on_the_wall
            && self.steady <= now.steady
            && now.steady.since(self.steady) < end.since(self.wall)
    }
}

/// Both clocks of a test.
#[cfg(test)]
pub type Clocks = Moment;

#[cfg(test)]
impl Moment {
    /// Both at this distance from their beginnings.
    pub fn at(since: Duration) -> Self {
        Self {
            wall: Time::default().plus(since),
            steady: Steady::default().plus(since),
        }
    }
}

#[cfg(test)]
impl Clock for Moment {
    fn wall(&self) -> Time {
        self.wall
    }

    fn steady(&self) -> Steady {
        self.steady
    }
}

fn nanos(duration: Duration) -> u64 {
    duration
        .as_secs()
        .saturating_mul(1_000_000_000)
        .saturating_add(u64::from(duration.subsec_nanos()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arithmetic_saturates() {
        let time = Time::from_nanos(5);
        assert_eq!(time.minus(Duration::from_secs(1)), Time::from_nanos(0));
        assert_eq!(time.plus(Duration::MAX), Time::from_nanos(u64::MAX));
        assert_eq!(time.since(Time::from_nanos(9)), Duration::ZERO);
    }

    #[test]
    fn a_life_ends_on_whichever_clock_is_first_and_has_not_begun_in_the_future() {
        let moment = |wall: u64, steady: u64| Moment {
            wall: Time::from_nanos(wall),
            steady: Steady::from_nanos(steady),
        };
        let began = moment(1000, 50);
        for (now, lasts) in [
            (moment(1000, 50), true),
            (moment(1009, 59), true),
            (moment(1010, 59), false),
            (moment(1009, 60), false),
            (moment(999, 55), false),
            (moment(1005, 49), false),
        ] {
            assert_eq!(
                began.lasts_until(Time::from_nanos(1010), now),
                lasts,
                "{now:?}"
            );
        }
    }

    #[test]
    fn numeric_dates_outside_the_range_are_clamped() {
        for (seconds, nanos) in [
            (1.5, 1_500_000_000),
            (-1.0, 0),
            (f64::NAN, 0),
            (f64::INFINITY, u64::MAX),
            (1e300, u64::MAX),
        ] {
            assert_eq!(Time::from_unix_seconds(seconds), Time::from_nanos(nanos));
        }
    }
}
