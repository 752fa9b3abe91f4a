//! Two clocks: lives of tokens go by the one on the wall, which somebody may set; how long something
//! takes goes by one that only goes forward.

use super::{
    STS, assert_cached, assert_exchanges, assert_went_on_with, caching, configuration, obtain, of,
};
use crate::host::{Answer, Outcome, status, worker};
use serde_json::json;
use std::time::Duration;

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

#[test]
fn a_step_of_the_wall_clock_ends_no_call_and_opens_no_breaker() {
    for hours in [1, -1] {
        worker(|envoy| {
            let step = |hours: i64| match hours {
                1 => envoy.set_forward(seconds(3600)),
                _ => envoy.set_back(seconds(3600)),
            };
            let plugin = envoy.plugin(&caching(json!({"maxEntries": 0})));
            for n in 0..10 {
                let (stream, call) = assert_exchanges(envoy, plugin, &format!("user-{n}"));
                envoy.advance(Duration::from_millis(20));
                step(hours);
                plugin.tick();
                assert_eq!(stream.outcome(), Outcome::Waits, "nothing is overdue");
                call.answer(&Answer::token("CANARY-1", 300));
                assert_went_on_with(stream, "CANARY-1");
                stream.end();
            }
            assert_eq!(envoy.histogram(&format!("{STS}duration_ms")), [20; 10]);
        });
    }
}

#[test]
fn a_504_is_a_timeout_if_envoy_says_it_whatever_the_clocks_say() {
    worker(|envoy| {
        let plugin = envoy.plugin(&configuration());
        let (stream, call) = assert_exchanges(envoy, plugin, "alice");
        // The STS's own, at the last moment.
        envoy.set_forward(seconds(3600));
        envoy.advance(Duration::from_millis(4999));
        call.answer(&Answer::new(504, "upstream request timeout"));
        assert_eq!(stream.refusal().1, "token_exchange_unavailable");
        // Envoy's, whose timer was early, and late.
        for millis in [1000, 4750, 5000, 6900] {
            let (stream, call) = assert_exchanges(envoy, plugin, "alice");
            envoy.advance(Duration::from_millis(millis));
            envoy.set_back(seconds(3600));
            call.answer(&Answer::timeout());
            assert_eq!(stream.refusal().1, "token_exchange_timeout", "{millis}");
            obtain(envoy, plugin, "bob", "CANARY-bob", 1);
        }
    });
}

/// What the STS says of a life was true when it said so, and it said so after it was asked.
#[test]
fn a_life_begins_when_the_token_was_asked_for() {
    worker(|envoy| {
        let plugin = envoy.plugin(&caching(json!({"refreshAhead": false})));
        let (stream, call) = assert_exchanges(envoy, plugin, "alice");
        envoy.advance(seconds(4));
        call.answer(&Answer::token("CANARY-1", 300));
        assert_went_on_with(stream, "CANARY-1");
        envoy.advance(seconds(280));
        assert_cached(envoy, plugin, "alice", "CANARY-1");
        envoy.advance(seconds(1));
        assert_exchanges(envoy, plugin, "alice");
    });
}

#[test]
fn tokens_end_by_the_wall_clock_and_pauses_do_not() {
    worker(|envoy| {
        let plugin = envoy.plugin(&caching(json!({"refreshAhead": false})));
        obtain(envoy, plugin, "alice", "CANARY-1", 300);
        let (_, call) = assert_exchanges(envoy, plugin, "refused");
        call.answer(&Answer::error(400, "invalid_grant"));
        // As after a machine's sleep: the token is over, the pause is not known to be.
        envoy.set_forward(seconds(285));
        assert_eq!(plugin.request(&of("refused")).reply().status, 401);
        assert_exchanges(envoy, plugin, "alice");
    });
}

/// A list of capabilities that was written for an earlier version leaves the steady clock out: time goes
/// forward with the one on the wall, and stands still where that is set back.
#[test]
fn without_a_steady_clock_time_goes_forward_with_the_wall() {
    worker(|envoy| {
        envoy.fails("clock_time_get", Some(status::INTERNAL_FAILURE));
        let plugin = envoy.plugin(&configuration());
        let refused = |user: &str| plugin.request(&of(user)).reply().status;
        let (_, call) = assert_exchanges(envoy, plugin, "alice");
        call.answer(&Answer::error(400, "invalid_grant"));
        // What was refused is refused for ten seconds.
        envoy.advance(seconds(9));
        assert_eq!(refused("alice"), 401);
        envoy.set_back(seconds(3600));
        assert_eq!(refused("alice"), 401, "no time has passed");
        envoy.advance(seconds(1));
        let (stream, call) = assert_exchanges(envoy, plugin, "alice");
        // Nobody waits for ever for an answer that does not come.
        envoy.advance(seconds(8));
        plugin.tick();
        assert_eq!(stream.refusal().1, "token_exchange_timeout");
        call.answer(&Answer::reset());
    });
}
