//! When a token was issued, and when it was used: what can be said for certain of an instant that
//! lies between two that were seen.
//!
//! Tests of lifetimes must hold on a machine that stops for seconds. So they never say "after two
//! seconds", but compare instants that the filter's own must lie between. A token's life begins when
//! the filter decides to ask for it: after the client has sent the request that makes it ask, and
//! before the STS gets the call, by which time a second may have gone by. The filter decides on a
//! request after the client has sent it and before the client has its answer.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime};

use bed::{Answer, Reply, canary};
use serde_json::Value;

use crate::exchange_lane::{Lane, exchanged};

/// An instant on both of the clocks by which the filter measures a life; it ends on whichever is
/// first. Only the steady one is never set.
#[derive(Clone, Copy, Debug)]
pub struct Seen {
    /// The time on the wall.
    pub wall: SystemTime,
    /// The clock that only goes forward.
    pub steady: Instant,
}

impl Seen {
    /// This instant.
    pub fn now() -> Self {
        Self {
            wall: SystemTime::now(),
            steady: Instant::now(),
        }
    }

    /// Whether this much time, which began at `earlier`, was over by now on one of the clocks.
    pub fn is_after(self, duration: Duration, earlier: Self) -> bool {
        self.steady >= earlier.steady + duration || self.wall >= earlier.wall + duration
    }
}

/// A lane's STS that notes its calls, and the uses of what it issued.
pub struct Timeline {
    called: Arc<Mutex<Vec<Seen>>>,
    uses: Vec<Use>,
}

/// One request that went through.
#[derive(Clone, Copy, Debug)]
pub struct Use {
    /// Just before it was sent.
    pub sent: Seen,
    /// Just after its answer was there.
    pub answered: Seen,
    /// Which token it went through with: the first that was issued is 0.
    pub token: usize,
}

impl Timeline {
    /// From now on the lane's STS issues numbered tokens that expire in `expires_in` seconds.
    pub fn of(lane: Lane<'_>, expires_in: Value) -> Self {
        let name = lane.name.to_owned();
        Self::with(lane, move |number| {
            Answer::json(
                200,
                &Answer::token_body(&numbered(&name, number), expires_in.clone()),
            )
        })
    }

    /// The same with an answer of the test's own, made from the token's number.
    pub fn with(lane: Lane<'_>, answer: impl Fn(usize) -> Answer + Send + Sync + 'static) -> Self {
        let called = Arc::new(Mutex::new(Vec::new()));
        let calls = Arc::clone(&called);
        lane.sts().set_script(move |_| {
            let mut calls = calls.lock().expect("no panic in here");
            calls.push(Seen::now());
            answer(calls.len() - 1)
        });
        Self {
            called,
            uses: Vec::new(),
        }
    }

    /// Sends one request; the answer is for the test to judge. If the request went through, it is
    /// on the timeline.
    pub async fn send(&mut self, lane: Lane<'_>, jwt: &str) -> Reply {
        let sent = Seen::now();
        let reply = lane.get(jwt, "x").await;
        let answered = Seen::now();
        if reply.is_from_backend() {
            let token = number_of(&exchanged(&reply));
            self.uses.push(Use {
                sent,
                answered,
                token,
            });
        }
        reply
    }

    /// How many calls the STS has answered.
    pub fn calls(&self) -> usize {
        self.called.lock().expect("no panic in here").len()
    }

    /// When the STS got the call that it answered with this token.
    pub fn called(&self, token: usize) -> Seen {
        self.called.lock().expect("no panic in here")[token]
    }

    /// The request that saw this token first.
    pub fn first_use(&self, token: usize) -> Use {
        let mut uses = self.uses.iter().filter(|one| one.token == token);
        *uses.next().expect("the token was used")
    }

    /// The uses so far.
    pub fn uses(&self) -> &[Use] {
        &self.uses
    }

    /// Asserts that no token was used once `usable` was over, and answers with how many uses there
    /// were of tokens that had been seen before.
    pub fn assert_never_used_after(&self, usable: Duration) -> usize {
        for one in &self.uses {
            let latest = self.first_use(one.token).answered.steady + usable;
            let late = one.sent.steady.checked_duration_since(latest);
            assert!(
                late.is_none_or(|late| late.is_zero()),
                "token {} was used {late:?} too late",
                one.token
            );
        }
        let tokens = self.uses.iter().map(|one| one.token).max();
        self.uses.len() - tokens.map_or(0, |last| last + 1)
    }

    /// Asserts that the call for `token` came when `usable` was over for the one before it, which was
    /// asked for by the request that saw it first.
    pub fn assert_not_called_before(&self, token: usize, usable: Duration) {
        self.assert_apart(self.first_use(token - 1).sent, token, usable);
    }

    /// Asserts that the call for `token` came no sooner than so many times `pause` after the first
    /// request: renewals are asked for by requests that see nothing of it, so that only the
    /// beginning of the first token's life is known.
    pub fn assert_not_renewed_before(&self, token: usize, pause: Duration) {
        let times = u32::try_from(token).expect("few tokens");
        self.assert_apart(self.first_use(0).sent, token, pause * times);
    }

    fn assert_apart(&self, asked: Seen, token: usize, least: Duration) {
        let called = self.called(token);
        assert!(
            called.is_after(least, asked),
            "token {token} was asked for within {:?}, not {least:?}: {asked:?}, {called:?}",
            called.steady.duration_since(asked.steady),
        );
    }
}

fn numbered(lane: &str, number: usize) -> String {
    canary::token("sts_", &format!("{lane}-{number}"))
}

fn number_of(token: &str) -> usize {
    let number = token.rsplit('-').next().and_then(|text| text.parse().ok());
    number.expect("a numbered token")
}
