//! Calls that are made once more: a server that has closed a kept connection costs nobody a login.

use super::{STS, assert_exchanges, assert_went_on_with, configuration, of};
use crate::host::{Answer, Outcome, worker};
use std::time::Duration;

/// What Envoy answers itself when a connection ends before the response, from 1.36 to 1.40.
fn broke_off(reason: &str) -> Answer {
    let text = "upstream connect error or disconnect/reset before headers. ";
    Answer::of_envoy(503, format!("{text}{reason}"))
}

#[test]
fn a_call_whose_connection_broke_before_any_answer_is_made_once_more() {
    for reason in [
        "reset reason: connection termination",
        "retried and the latest reset reason: connection termination",
        "reset reason: remote reset",
        "reset reason: remote refused stream reset",
    ] {
        worker(|envoy| {
            let plugin = envoy.plugin(&configuration());
            let (first, call) = assert_exchanges(envoy, plugin, "alice");
            let joined = plugin.request(&of("alice"));
            envoy.advance(Duration::from_secs(2));
            call.answer(&broke_off(reason));
            assert_eq!(first.outcome(), Outcome::Waits, "{reason}");
            let again = envoy.call();
            assert_eq!(again.sent.body, call.sent.body);
            assert_eq!(again.sent.headers, call.sent.headers);
            assert_eq!(again.sent.timeout_ms, 3000, "what is left of its time");
            // The answer to the first call, should one come, is nobody's.
            call.answer(&Answer::token("CANARY-late", 300));
            again.answer(&Answer::token("CANARY-1", 300));
            assert_went_on_with(first, "CANARY-1");
            assert_went_on_with(joined, "CANARY-1");
            plugin.tick();
            assert_eq!(envoy.metric(&format!("{STS}ok")), 1);
            assert_eq!(envoy.metric(&format!("{STS}unavailable")), 0);
            assert_eq!(envoy.histogram(&format!("{STS}duration_ms")), [2000]);
        });
    }
}

#[test]
fn it_is_made_no_third_time() {
    worker(|envoy| {
        let plugin = envoy.plugin(&configuration());
        let (stream, call) = assert_exchanges(envoy, plugin, "alice");
        call.answer(&broke_off("reset reason: connection termination"));
        envoy
            .call()
            .answer(&broke_off("reset reason: connection termination"));
        assert!(envoy.calls().is_empty());
        assert_eq!(
            stream.refusal(),
            (503, "token_exchange_unavailable".to_owned())
        );
        plugin.tick();
        assert_eq!(envoy.metric(&format!("{STS}unavailable")), 1);
    });
}

#[test]
fn nothing_else_is_made_again() {
    let text = "upstream connect error or disconnect/reset before headers. reset reason: ";
    for answer in [
        broke_off("reset reason: connection failure, transport failure reason: ..."),
        broke_off("reset reason: overflow"),
        broke_off("reset reason: connection timeout"),
        broke_off("connection termination"),
        Answer::of_envoy(503, "upstream connect error"),
        Answer::of_envoy(503, "no healthy upstream"),
        Answer::of_envoy(503, "reset reason: connection termination"),
        Answer::of_envoy(502, format!("{text}connection termination")),
        // The words are Envoy's, and the STS says them.
        Answer::new(503, format!("{text}connection termination")),
        Answer::new(502, format!("{text}connection termination")),
        Answer::new(200, format!("{text}connection termination")),
        // Envoy lets go of it after the header: the server may have acted on the request.
        Answer::reset(),
    ] {
        worker(|envoy| {
            let plugin = envoy.plugin(&configuration());
            let (stream, call) = assert_exchanges(envoy, plugin, "alice");
            call.answer(&answer);
            assert!(envoy.calls().is_empty());
            assert!(matches!(stream.reply().status, 502 | 503));
        });
    }
}

#[test]
fn what_has_no_time_left_and_what_probes_the_breaker_is_not_made_again() {
    worker(|envoy| {
        let plugin = envoy.plugin(&configuration());
        let termination = broke_off("reset reason: connection termination");
        let (stream, call) = assert_exchanges(envoy, plugin, "alice");
        envoy.advance(Duration::from_secs(5));
        call.answer(&termination);
        assert!(envoy.calls().is_empty());
        assert_eq!(stream.reply().status, 503);
        for n in 0..4 {
            let (_, call) = assert_exchanges(envoy, plugin, &format!("user-{n}"));
            call.answer(&Answer::new(503, ""));
        }
        envoy.advance(Duration::from_secs(1));
        let (probe, call) = assert_exchanges(envoy, plugin, "alice");
        call.answer(&termination);
        assert!(envoy.calls().is_empty());
        assert_eq!(probe.reply().status, 503);
    });
}

#[test]
fn one_that_cannot_be_made_again_is_a_failure_like_any() {
    worker(|envoy| {
        let plugin = envoy.plugin(&configuration());
        let (stream, call) = assert_exchanges(envoy, plugin, "alice");
        envoy.next_call_returns(crate::host::status::INTERNAL_FAILURE);
        call.answer(&broke_off("reset reason: connection termination"));
        assert_eq!(stream.reply().status, 503);
        // It leaves room for the next.
        let (stream, call) = assert_exchanges(envoy, plugin, "alice");
        call.answer(&Answer::token("CANARY-1", 300));
        assert_went_on_with(stream, "CANARY-1");
    });
}

/// Should Envoy's own timer fail to tell us, the second call is overdue by its own clock.
#[test]
fn the_second_call_can_be_overdue_too() {
    worker(|envoy| {
        let plugin = envoy.plugin(&configuration());
        let (stream, call) = assert_exchanges(envoy, plugin, "alice");
        envoy.advance(Duration::from_secs(4));
        call.answer(&broke_off("reset reason: connection termination"));
        let again = envoy.call();
        envoy.advance(Duration::from_millis(3100));
        plugin.tick();
        assert_eq!(stream.refusal(), (504, "token_exchange_timeout".to_owned()));
        again.answer(&Answer::token("CANARY-late", 300));
        assert_exchanges(envoy, plugin, "alice");
    });
}
