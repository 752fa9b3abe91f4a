//! The host's clocks.

use super::imports::{clock_time_get, proxy_get_current_time_nanoseconds};
use crate::time::{Clock, Steady, Time};
use std::cell::Cell;

/// The host's clocks.
#[derive(Clone, Copy, Debug)]
pub(crate) struct HostClock;

impl Clock for HostClock {
    /// The epoch, if the host cannot tell.
    fn wall(&self) -> Time {
        let mut nanos = 0;
        match unsafe { proxy_get_current_time_nanoseconds(&mut nanos) } {
            0 => Time::from_nanos(nanos),
            _ => Time::default(),
        }
    }

    fn steady(&self) -> Steady {
        // A list of capabilities that was written for an earlier version leaves it out.
        monotonic().unwrap_or_else(|| forward_on_the_wall(self.wall()))
    }
}

/// The clock that only goes forward and is the same for all VMs of this process; `None` if the host does
/// not tell.
pub(crate) fn monotonic() -> Option<Steady> {
    const MONOTONIC: u32 = 1;
    let mut nanos = 0;
    let told = unsafe { clock_time_get(MONOTONIC, 1, &mut nanos) };
    (told == 0).then(|| Steady::from_nanos(nanos))
}

/// A clock that goes forward with the wall clock, and stands still where that is set back.
fn forward_on_the_wall(wall: Time) -> Steady {
    thread_local! {
        static LAST: Cell<(Time, Steady)> = const {
            Cell::new((Time::from_nanos(0), Steady::from_nanos(0)))
        };
    }
    let (last, steady) = LAST.get();
    let steady = steady.plus(wall.since(last));
    LAST.set((wall, steady));
    steady
}
