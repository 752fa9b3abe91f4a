//! When not to call a provider: it has failed to answer for several users in a row.

use std::time::Duration;

use crate::session::Digest;

/// Failures of so many different refresh tokens in a row stop the calls. Different ones, so that one
/// user's token that makes an endpoint hang stops nobody else.
const FAILURES: usize = 5;
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// Whoever asks to be left alone is, for at most so long.
pub(crate) const LONGEST_RETRY_AFTER: Duration = Duration::from_secs(60);

/// A breaker of one provider, told the time in milliseconds.
#[derive(Debug, Default)]
pub(crate) struct Breaker {
    failed: Vec<Digest>,
    pause: Duration,
    open_until_ms: i64,
    probing: bool,
}

impl Breaker {
    /// Whether a call may be made now. After a pause, that is one at a time until it is told of.
    pub(crate) fn may_call(&mut self, now_ms: i64) -> bool {
        if now_ms < self.open_until_ms {
            return false;
        }
        if self.failed.len() < FAILURES {
            return true;
        }
        !std::mem::replace(&mut self.probing, true)
    }

    /// There was an answer, whatever it said.
    pub(crate) fn answered(&mut self) {
        *self = Self::default();
    }

    /// There was none, for this token; the provider may have said when to come again. What it says to
    /// one user is kept to for that user's token (`memory`), and for all when calls stop.
    pub(crate) fn failed(&mut self, token: Digest, retry_after: Option<Duration>, now_ms: i64) {
        let probe = std::mem::take(&mut self.probing);
        if !self.failed.contains(&token) && self.failed.len() < FAILURES {
            self.failed.push(token);
        }
        let mut pause = Duration::ZERO;
        if self.failed.len() >= FAILURES {
            if self.pause.is_zero() {
                self.pause = FIRST_PAUSE;
            } else if probe {
                self.pause = (self.pause * 2).min(LONGEST_PAUSE);
            }
            let wanted = retry_after.unwrap_or_default().min(LONGEST_RETRY_AFTER);
            pause = self.pause.max(wanted);
        }
        let until = now_ms.saturating_add(i64::try_from(pause.as_millis()).unwrap_or(i64::MAX));
        self.open_until_ms = self.open_until_ms.max(until);
    }

    /// A call that was allowed was not made after all.
    pub(crate) fn not_called(&mut self) {
        self.probing = false;
    }

    /// Whether calls are stopped at this time.
    #[must_use]
    pub(crate) fn is_open(&self, now_ms: i64) -> bool {
        now_ms < self.open_until_ms || self.failed.len() >= FAILURES
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(number: usize) -> Digest {
        Digest::of(&number.to_string())
    }

    fn broken() -> Breaker {
        let mut breaker = Breaker::default();
        for number in 0..FAILURES {
            assert!(breaker.may_call(0));
            breaker.failed(token(number), None, 0);
        }
        breaker
    }

    #[test]
    fn five_users_without_an_answer_stop_the_calls() {
        let mut breaker = broken();
        assert!(!breaker.may_call(999));
        assert!(breaker.may_call(1000), "a probe");
        assert!(!breaker.may_call(1000), "one at a time");
        breaker.failed(token(9), None, 1000);
        assert!(!breaker.may_call(2999));
        assert!(breaker.may_call(3000));
        breaker.answered();
        assert!(breaker.may_call(3000) && breaker.may_call(3000));
    }

    #[test]
    fn one_users_failures_stop_nobody() {
        let mut breaker = Breaker::default();
        for _ in 0..100 {
            breaker.failed(token(1), None, 0);
            assert!(breaker.may_call(0));
        }
    }

    #[test]
    fn pauses_double_to_half_a_minute() {
        let mut breaker = broken();
        let mut now = 0;
        let mut pauses = Vec::new();
        for _ in 0..8 {
            let pause = (1..).find(|ms| {
                let open = breaker.open_until_ms > now + ms * 1000;
                !open
            });
            pauses.push(pause.unwrap());
            now = breaker.open_until_ms;
            assert!(breaker.may_call(now));
            breaker.failed(token(1), None, now);
        }
        assert_eq!(pauses, [1, 2, 4, 8, 16, 30, 30, 30]);
    }

    #[test]
    fn a_retry_after_stops_everybody_once_several_users_were_told() {
        let mut breaker = Breaker::default();
        let seven = Some(Duration::from_secs(7));
        breaker.failed(token(1), seven, 0);
        assert!(breaker.may_call(0), "one user was told");
        for number in 2..=FAILURES {
            breaker.failed(token(number), seven, 0);
        }
        assert!(!breaker.may_call(6_999));
        assert!(breaker.may_call(7_000));
        breaker.failed(token(1), Some(Duration::from_secs(86_400)), 7_000);
        assert!(!breaker.may_call(66_999));
        assert!(breaker.may_call(67_000), "for at most a minute");
    }

    #[test]
    fn a_probe_that_was_not_made_lets_the_next_one_go() {
        let mut breaker = broken();
        assert!(breaker.may_call(1000));
        breaker.not_called();
        assert!(breaker.may_call(1000));
    }
}
