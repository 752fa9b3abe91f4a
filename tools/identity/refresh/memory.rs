//! What this process remembers of tokens, by their digests alone, and for a while.

use std::num::NonZeroUsize;
use std::time::Duration;

use lru::LruCache;

use super::breaker::LONGEST_RETRY_AFTER;
use crate::session::Digest;

/// How long a dead refresh token is remembered.
pub(crate) const DEAD: Duration = Duration::from_secs(600);
/// How long one that was redeemed and replaced is.
pub(crate) const REDEEMED: Duration = Duration::from_secs(3600);
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// So many of each are remembered; the oldest go first.
const MOST: NonZeroUsize = NonZeroUsize::new(65_536).expect("not zero");

/// The memory. Times are milliseconds.
#[derive(Debug)]
pub(crate) struct Memory {
    dead: LruCache<Digest, (i64, &'static str)>,
    paused: LruCache<Digest, Paused>,
    kept: LruCache<Digest, ()>,
}

#[derive(Clone, Copy, Debug)]
struct Paused {
    until_ms: i64,
    pause: Duration,
    why: &'static str,
}

impl Default for Memory {
    fn default() -> Self {
        Self {
            dead: LruCache::new(MOST),
            paused: LruCache::new(MOST),
            kept: LruCache::new(MOST),
        }
    }
}

impl Memory {
    /// Whether this refresh token is of no more use, and why.
    #[must_use]
    pub(crate) fn dead(&mut self, token: Digest, now_ms: i64) -> Option<&'static str> {
        let (until, why) = *self.dead.peek(&token)?;
        if now_ms >= until {
            self.dead.pop(&token);
            return None;
        }
        Some(why)
    }

    /// It is of no more use for so long.
    pub(crate) fn bury(&mut self, token: Digest, why: &'static str, life: Duration, now_ms: i64) {
        self.dead
            .put(token, (now_ms.saturating_add(millis(life)), why));
    }

    /// Whether this refresh token must not be tried again yet, and why.
    #[must_use]
    pub(crate) fn paused(&self, token: Digest, now_ms: i64) -> Option<&'static str> {
        let paused = self.paused.peek(&token)?;
        (now_ms < paused.until_ms).then_some(paused.why)
    }

    /// It brought nothing: not again for a second, two, four, … thirty, or for as long as the provider
    /// wants, up to a minute.
    pub(crate) fn pause(
        &mut self,
        token: Digest,
        why: &'static str,
        retry_after: Option<Duration>,
        now_ms: i64,
    ) {
        let pause = self
            .paused
            .peek(&token)
            .map_or(FIRST_PAUSE, |paused| (paused.pause * 2).min(LONGEST_PAUSE));
        let wanted = retry_after.unwrap_or_default().min(LONGEST_RETRY_AFTER);
        let until_ms = now_ms.saturating_add(millis(pause.max(wanted)));
        self.paused.put(
            token,
            Paused {
                until_ms,
                pause,
                why,
            },
        );
    }

    /// It brought something.
    pub(crate) fn forgive(&mut self, token: Digest) {
        self.paused.pop(&token);
    }

    /// A refresh did not renew this ID token.
    pub(crate) fn keep(&mut self, id_token: Digest) {
        self.kept.put(id_token, ());
    }

    /// Whether a refresh has not renewed it.
    #[must_use]
    pub(crate) fn is_kept(&self, id_token: Digest) -> bool {
        self.kept.contains(&id_token)
    }
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dead_token_is_remembered_for_its_time() {
        let mut memory = Memory::default();
        let token = Digest::of("rt");
        memory.bury(token, "invalid_grant", DEAD, 1_000);
        assert_eq!(memory.dead(token, 600_999), Some("invalid_grant"));
        assert_eq!(memory.dead(token, 601_000), None);
        assert_eq!(memory.dead(Digest::of("other"), 1_000), None);
    }

    #[test]
    fn a_token_that_brings_nothing_is_tried_ever_less_often() {
        let mut memory = Memory::default();
        let token = Digest::of("rt");
        let mut now = 0;
        for pause in [1_000, 2_000, 4_000, 8_000, 16_000, 30_000, 30_000] {
            memory.pause(token, "timeout", None, now);
            assert_eq!(memory.paused(token, now + pause - 1), Some("timeout"));
            now += pause;
            assert_eq!(memory.paused(token, now), None);
        }
        memory.forgive(token);
        memory.pause(token, "timeout", None, now);
        assert_eq!(memory.paused(token, now + 1_000), None);
        for (wanted, until) in [(7, 7_000), (86_400, 60_000)] {
            let wanted = Some(Duration::from_secs(wanted));
            memory.forgive(token);
            memory.pause(token, "status 429", wanted, now);
            assert_eq!(memory.paused(token, now + until - 1), Some("status 429"));
            assert_eq!(memory.paused(token, now + until), None);
        }
    }
}
