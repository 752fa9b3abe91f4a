//! WARN lines: one a second for each backend and code, with the number left out in between.

use crate::refusal::Code;
use crate::time::Steady;
use std::time::Duration;

const INTERVAL: Duration = Duration::from_secs(1);

/// What a line says, so that lines that say the same are told from others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Line {
    /// A request to that backend was refused.
    Refusal(u32, Code),
    /// A request went to another cluster than its credential was chosen for.
    Misrouted,
}

/// Remembers when a line was last written. It cannot grow beyond one entry for each backend that
/// is counted and each code.
#[derive(Debug, Default)]
pub(crate) struct Limiter {
    /// A short list for each backend, found by its place.
    lines: Vec<Vec<(Line, Written)>>,
}

#[derive(Debug)]
struct Written {
    at: Steady,
    left_out: u64,
}

impl Limiter {
    /// `Some(n)`: write the line, and say that `n` were left out since the last one.
    pub(crate) fn admit(&mut self, line: Line, now: Steady) -> Option<u64> {
        let place = match line {
            Line::Misrouted => 0,
            Line::Refusal(backend, _) => usize::try_from(backend).ok()?.saturating_add(1),
        };
        if self.lines.len() <= place {
            self.lines.resize_with(place.saturating_add(1), Vec::new);
        }
        let lines = self.lines.get_mut(place)?;
        let Some((_, written)) = lines.iter_mut().find(|(known, _)| *known == line) else {
            let written = Written {
                at: now,
                left_out: 0,
            };
            lines.push((line, written));
            return Some(0);
        };
        if now.since(written.at) < INTERVAL {
            written.left_out = written.left_out.saturating_add(1);
            return None;
        }
        written.at = now;
        Some(std::mem::take(&mut written.left_out))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> Steady {
        Steady::default().plus(Duration::from_millis(millis))
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
        ] {
            assert_eq!(
                limiter.admit(Line::Refusal(backend, code), at(millis)),
                expected,
                "{backend} {millis}"
            );
        }
    }
}
