//! When a token was issued, and when it was used: what can be said for certain of an instant that
//! lies between two that were seen.
//!
//! Tests of lifetimes must hold on a machine that stops for seconds. So they never say "after two
//! seconds", but compare instants that the filter's own must lie between: it obtains a token after
//! the STS has got the call and before anybody sees the token, and it decides on a request after
//! the client has sent it and before the client has its answer.

use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use bed::{Answer, Reply, canary};
use serde_json::Value;

use crate::exchange_lane::{Lane, exchanged};

/// Every token that a lane's STS has issued, and every use of one.
pub struct Timeline {
    issued: Arc<Mutex<Vec<SystemTime>>>,
    uses: Vec<Use>,
}

/// One request that went through.
#[derive(Clone, Copy)]
pub struct Use {
    /// Just before it was sent.
    pub sent: SystemTime,
    /// Just after its answer was there.
    pub answered: SystemTime,
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
        let issued = Arc::new(Mutex::new(Vec::new()));
        let calls = Arc::clone(&issued);
        lane.sts().set_script(move |_| {
            let mut calls = calls.lock().expect("no panic in here");
            calls.push(SystemTime::now());
            answer(calls.len() - 1)
        });
        Self {
            issued,
            uses: Vec::new(),
        }
    }

    /// Sends one request; the answer is for the test to judge. If the request went through, it is
    /// on the timeline.
    pub async fn send(&mut self, lane: Lane<'_>, jwt: &str) -> Reply {
        let sent = SystemTime::now();
        let reply = lane.get(jwt, "x").await;
        let answered = SystemTime::now();
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
        self.issued.lock().expect("no panic in here").len()
    }

    /// When the STS got the call that it answered with this token.
    pub fn issued(&self, token: usize) -> SystemTime {
        self.issued.lock().expect("no panic in here")[token]
    }

    /// When this token was seen first.
    pub fn first_seen(&self, token: usize) -> SystemTime {
        let mut uses = self.uses.iter().filter(|one| one.token == token);
        uses.next().expect("the token was used").answered
    }

    /// The uses so far.
    pub fn uses(&self) -> &[Use] {
        &self.uses
    }

    /// Asserts that no token was used once `usable` was over, and answers with how many uses there
    /// were of tokens that had been seen before.
    pub fn assert_never_used_after(&self, usable: Duration) -> usize {
        for one in &self.uses {
            let latest = self.first_seen(one.token) + usable;
            let late = one.sent.duration_since(latest);
            assert!(
                late.is_err(),
                "token {} was used {late:?} too late",
                one.token
            );
        }
        let tokens = self.uses.iter().map(|one| one.token).max();
        self.uses.len() - tokens.map_or(0, |last| last + 1)
    }

    /// Asserts that the call for `token` came no sooner than `usable` after the one before it.
    pub fn assert_not_called_before(&self, token: usize, usable: Duration) {
        let pause = self.issued(token).duration_since(self.issued(token - 1));
        let pause = pause.expect("in order");
        assert!(
            pause >= usable,
            "token {token} was asked for after {pause:?}"
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
