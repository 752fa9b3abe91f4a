//! WARN lines: one a second for each backend and code, with the number left out in between.

use crate::refusal::Code;
use crate::time::Time;
use foldhash::fast::FixedState;
use hashbrown::HashMap;
use std::time::Duration;

const INTERVAL: Duration = Duration::from_secs(1);

/// Remembers when a line was last written. It cannot grow beyond one entry for each backend that
/// is counted and each code.
#[derive(Debug)]
pub struct Limiter {
    lines: HashMap<(u32, Code), Line, FixedState>,
}

#[derive(Debug)]
struct Line {
    written: Time,
    left_out: u64,
}

impl Default for Limiter {
    fn default() -> Self {
        Self {
            lines: HashMap::with_hasher(FixedState::default()),
        }
    }
}

impl Limiter {
    /// `Some(n)`: write the line, and say that `n` were left out since the last one.
    pub fn admit(&mut self, backend: u32, code: Code, now: Time) -> Option<u64> {
        let Some(line) = self.lines.get_mut(&(backend, code)) else {
            let line = Line {
                written: now,
                left_out: 0,
            };
            self.lines.insert((backend, code), line);
            return Some(0);
        };
        // A clock that was set back must not silence the line until it has caught up.
        if now.since(line.written) < INTERVAL && line.written <= now {
            line.left_out = line.left_out.saturating_add(1);
            return None;
        }
        line.written = now;
        Some(std::mem::take(&mut line.left_out))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> Time {
        Time::default().plus(Duration::from_millis(millis))
    }

    #[test]
    fn a_line_a_second_for_each_backend_and_code() {
        let mut limiter = Limiter::default();
        let (missing, timeout) = (Code::UpstreamTokenNotFound, Code::TokenExchangeTimeout);
        for (backend, code, millis, expected) in [
            (0, missing, 5000, Some(0)),
            (0, missing, 5001, None),
            (1, missing, 5001, Some(0)),
            (0, timeout, 5001, Some(0)),
            (0, missing, 5999, None),
            (0, missing, 6000, Some(2)),
            (0, missing, 6500, None),
            (0, missing, 9000, Some(1)),
            (0, missing, 20_000, Some(0)),
            (0, missing, 3000, Some(0)),
            (0, missing, 3500, None),
        ] {
            assert_eq!(
                limiter.admit(backend, code, at(millis)),
                expected,
                "{backend} {millis}"
            );
        }
    }
}
