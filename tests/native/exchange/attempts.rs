//! Several attempts of one request, as retries and hedging make them: the filter runs for each, on a
//! request that an earlier one may have changed.

use super::{configuration, of, strategy, to};
use crate::host::{Answer, Outcome, Stream, status, worker};
use serde_json::json;
use std::time::Duration;

/// Carrying out the first refusal ends the request, and with it the second attempt: Envoy would then
/// carry out the second refusal on what is no longer there.
#[test]
fn two_attempts_of_one_request_are_never_decided_in_one_callback() {
    for answer in [
        Answer::error(400, "invalid_grant"),
        Answer::new(503, ""),
        Answer::token("CANARY-1", 300),
    ] {
        worker(|envoy| {
            let plugin = envoy.plugin(&configuration());
            let attempts = [(); 3].map(|()| plugin.request(&of("alice").attempt_of(1)));
            let other = plugin.request(&of("alice").attempt_of(2));
            let waits = |stream: &Stream| stream.outcome() == Outcome::Waits;
            envoy.call().answer(&answer);
            let waiting = |attempts: &[Stream]| attempts.iter().map(waits).collect::<Vec<_>>();
            assert_eq!(waiting(&attempts), [false, true, true]);
            assert!(!waits(&other), "another request has its turn");
            plugin.tick();
            assert_eq!(waiting(&attempts), [false, false, true]);
            // Whoever ends meanwhile is not served.
            attempts[2].end();
            plugin.tick();
        });
    }
}

/// As many as there may be: each has its turn, and those behind them do not starve.
#[test]
fn many_attempts_of_one_request_hold_nobody_up_for_long() {
    worker(|envoy| {
        let plugin = envoy.plugin(&configuration());
        let attempts: Vec<Stream> = (0..100)
            .map(|_| plugin.request(&of("alice").attempt_of(1)))
            .collect();
        let others: Vec<Stream> = (0..100).map(|_| plugin.request(&of("alice"))).collect();
        envoy.call().answer(&Answer::new(503, ""));
        let waiting = |streams: &[Stream]| {
            let waits = |stream: &&Stream| stream.outcome() == Outcome::Waits;
            streams.iter().filter(waits).count()
        };
        assert_eq!((waiting(&attempts), waiting(&others)), (99, 37));
        plugin.tick();
        assert_eq!((waiting(&attempts), waiting(&others)), (98, 0));
        for left in (0..98).rev() {
            assert!(plugin.tick_period() < Some(Duration::from_millis(500)));
            plugin.tick();
            assert_eq!(waiting(&attempts), left);
        }
        assert!(plugin.tick_period() >= Some(Duration::from_millis(500)));
    });
}

/// However many wait, a callback looks at no more than so many of them.
#[test]
fn a_crowd_of_attempts_makes_no_callback_long() {
    // As many as may wait for one backend, and one of another that waits for the same token.
    let mut configuration = configuration();
    configuration["outgoingAuth"]["backends"]["twin"] = strategy(&json!({}));
    worker(|envoy| {
        let plugin = envoy.plugin(&configuration);
        for _ in 0..512 {
            plugin.request(&of("alice").attempt_of(1));
        }
        let behind = plugin.request(&to("twin", "alice").attempt_of(2));
        envoy.call().answer(&Answer::new(503, ""));
        assert_eq!(behind.outcome(), Outcome::Waits);
        plugin.tick();
        assert_eq!(behind.reply().status, 503, "its turn is the next");
    });
}

/// The copies that go to mirrors came over no connection: which of them belong together is not known.
#[test]
fn of_requests_that_cannot_be_told_apart_one_is_decided_in_a_callback() {
    worker(|envoy| {
        let plugin = envoy.plugin(&configuration());
        let mirrored = [(); 3].map(|()| plugin.request(&of("alice").mirrored()));
        let other = plugin.request(&of("alice"));
        envoy.call().answer(&Answer::new(503, ""));
        let waiting = || mirrored.map(|stream| stream.outcome() == Outcome::Waits);
        assert_eq!(waiting(), [false, true, true]);
        assert_ne!(other.outcome(), Outcome::Waits);
        plugin.tick();
        plugin.tick();
        assert_eq!(waiting(), [false; 3]);
    });
}

/// The one that has just come is answered where it came; the others are not touched there.
#[test]
fn an_attempt_whose_call_fails_at_once_decides_for_no_other() {
    worker(|envoy| {
        let plugin = envoy.plugin(&configuration());
        let waiting = plugin.request(&of("alice").attempt_of(1));
        let call = envoy.call();
        envoy.next_call_returns(status::INTERNAL_FAILURE);
        let second = plugin.request(&of("bob").attempt_of(1));
        assert_eq!(second.reply().status, 503);
        assert_eq!(waiting.outcome(), Outcome::Waits);
        // Envoy ends the other attempt when it carries the refusal out.
        waiting.end();
        call.answer(&Answer::token("CANARY-1", 300));
    });
}

/// A turn that fails must not have the stream before it pay for it.
#[test]
fn a_stream_that_cannot_be_turned_to_changes_no_other() {
    worker(|envoy| {
        let plugin = envoy.plugin(&configuration());
        let streams = [(); 3].map(|()| plugin.request(&of("alice")));
        let call = envoy.call();
        envoy.fails("set_effective_context", Some(status::BAD_ARGUMENT));
        call.answer(&Answer::token("CANARY-1", 300));
        envoy.fails("set_effective_context", None);
        for stream in streams {
            assert_eq!(stream.outcome(), Outcome::Waits);
            assert_eq!(stream.carries("authorization"), [""; 0]);
        }
    });
}
