//! The breaker of a token endpoint.

use super::{
    STS, assert_exchanges, assert_went_on_with, configuration, identity_by_exchange, obtain, of,
    strategy, to,
};
use crate::host::{Answer, Envoy, Outcome, Plugin, Request, status, worker};
use serde_json::{Value, json};
use std::time::Duration;

/// Five failures in a row.
fn open(envoy: &Envoy, plugin: Plugin, failure: &Answer) {
    for n in 0..5 {
        let (stream, call) = assert_exchanges(envoy, plugin, &format!("user-{n}"));
        call.answer(failure);
        assert_eq!(stream.reply().status, 503);
    }
}

#[track_caller]
fn assert_stopped(envoy: &Envoy, plugin: Plugin, request: &Request, retry_after: &str) {
    let reply = plugin.request(request).reply();
    assert_eq!(reply.status, 503);
    assert_eq!(reply.json()["error"], "token_exchange_unavailable");
    assert_eq!(reply.headers["retry-after"], retry_after);
    assert!(
        envoy.calls().is_empty(),
        "a call, although the breaker is open"
    );
}

/// Else the lines of an outage would not tell one from another.
#[test]
fn the_line_of_a_request_for_which_nobody_is_asked_says_why() {
    for (failure, why) in [
        (
            Answer::new(503, ""),
            ", what is wrong: the breaker of its endpoint is open: ",
        ),
        (
            Answer::error(401, "invalid_client"),
            ", what is wrong: its client was refused several times in a row: ",
        ),
    ] {
        worker(|envoy| {
            let plugin = envoy.plugin(&configuration());
            for n in 0..5 {
                envoy.advance(Duration::from_millis(150));
                let (_, call) = assert_exchanges(envoy, plugin, &format!("user-{n}"));
                call.answer(&failure);
            }
            // A second after the first line, and before the pause is over.
            envoy.advance(Duration::from_millis(500));
            envoy.log();
            plugin.request(&of("alice"));
            assert!(envoy.calls().is_empty());
            let lines = envoy.warnings();
            assert!(lines.len() == 1 && lines[0].contains(why), "{lines:#?}");
        });
    }
}

#[test]
fn five_failures_in_a_row_stop_calls_until_a_probe_succeeds() {
    for failure in [
        Answer::new(500, ""),
        Answer::new(503, ""),
        Answer::new(429, ""),
        Answer::reset(),
    ] {
        worker(|envoy| {
            let plugin = envoy.plugin(&configuration());
            open(envoy, plugin, &failure);
            assert_stopped(envoy, plugin, &of("alice"), "1");
            envoy.advance(Duration::from_millis(999));
            assert_stopped(envoy, plugin, &of("alice"), "1");
            envoy.advance(Duration::from_millis(1));
            let (probe, call) = assert_exchanges(envoy, plugin, "alice");
            // One at a time; the same key waits for it.
            assert_stopped(envoy, plugin, &of("bob"), "1");
            let joined = plugin.request(&of("alice"));
            assert_eq!(joined.outcome(), Outcome::Waits);
            call.answer(&Answer::token("CANARY-exchanged", 300));
            assert_went_on_with(probe, "CANARY-exchanged");
            assert_went_on_with(joined, "CANARY-exchanged");
            obtain(envoy, plugin, "bob", "CANARY-bob", 300);
            plugin.tick();
            assert_eq!(envoy.metric(&format!("{STS}breaker_open")), 3);
        });
    }
}

#[test]
fn a_call_without_an_answer_in_time_and_one_that_cannot_be_sent_are_failures() {
    worker(|envoy| {
        let plugin = envoy.plugin(&configuration());
        for n in 0..5 {
            let request = of(&format!("user-{n}"));
            if n % 2 == 0 {
                envoy.next_call_returns(status::INTERNAL_FAILURE);
                assert_eq!(plugin.request(&request).reply().status, 503);
            } else {
                let stream = plugin.request(&request);
                let call = envoy.call();
                envoy.advance(Duration::from_secs(5));
                call.answer(&Answer::timeout());
                assert_eq!(stream.reply().status, 504);
            }
        }
        assert_stopped(envoy, plugin, &of("alice"), "1");
    });
}

#[test]
fn answers_of_any_kind_keep_it_closed() {
    for answer in [
        Answer::error(400, "invalid_grant"),
        Answer::error(400, "invalid_client"),
        Answer::new(404, ""),
        Answer::new(302, ""),
        Answer::new(200, "nonsense"),
    ] {
        worker(|envoy| {
            let plugin = envoy.plugin(&configuration());
            for n in 0..20 {
                let (_, call) = assert_exchanges(envoy, plugin, &format!("user-{n}"));
                // Four failures, then this answer: never five in a row.
                let reply = if n % 5 == 4 {
                    &answer
                } else {
                    &Answer::new(503, "")
                };
                call.answer(reply);
            }
            obtain(envoy, plugin, "alice", "CANARY-alice", 300);
        });
    }
}

/// It has answered, and did not say that it can.
#[test]
fn an_answer_that_this_one_could_not_be_served_neither_opens_nor_closes_it() {
    for answer in [
        Answer::new(408, ""),
        Answer::error(400, "temporarily_unavailable"),
        Answer::error(400, "server_error"),
        Answer::error(403, "slow_down"),
    ] {
        worker(|envoy| {
            let plugin = envoy.plugin(&configuration());
            let unavailable = |user: &str| {
                let (stream, call) = assert_exchanges(envoy, plugin, user);
                call.answer(&answer);
                let refusal = (503, "token_exchange_unavailable".to_owned());
                assert_eq!(stream.refusal(), refusal);
            };
            for n in 0..20 {
                unavailable(&format!("user-{n}"));
            }
            open(envoy, plugin, &Answer::new(503, ""));
            envoy.advance(Duration::from_secs(1));
            // One probe at a time goes on, without a longer pause; not always the same user's.
            for (user, other) in [("alice", "bob"), ("bob", "carol"), ("alice", "bob")] {
                let (probe, call) = assert_exchanges(envoy, plugin, user);
                assert_stopped(envoy, plugin, &of(other), "1");
                call.answer(&answer);
                assert_eq!(probe.refusal().1, "token_exchange_unavailable");
                assert_stopped(envoy, plugin, &of(user), "1");
            }
            let (_, probe) = assert_exchanges(envoy, plugin, "carol");
            probe.answer(&Answer::new(503, ""));
            assert_stopped(envoy, plugin, &of("bob"), "2");
        });
    }
}

/// Of one user's provider: such words are told to no breaker, neither for the service nor against it.
#[test]
fn what_the_identity_service_says_of_one_user_neither_opens_nor_closes_it() {
    worker(|envoy| {
        let plugin = envoy.plugin(&identity_by_exchange());
        let of = |user: &str| {
            let request = Request::to("tools").kept(&format!("Bearer CANARY-{user}"));
            request.checked(&json!({"iss": "https://as"}))
        };
        let refused = |user: &str, answer: &Answer| {
            let stream = plugin.request(&of(user));
            envoy.call().answer(answer);
            let refusal = (503, "upstream_token_unavailable".to_owned());
            assert_eq!(stream.refusal(), refusal);
        };
        let assert_stopped = |user: &str, retry_after: &str| {
            let reply = plugin.request(&of(user)).reply();
            assert_eq!(reply.status, 503);
            assert_eq!(reply.headers["retry-after"], retry_after);
            assert!(envoy.calls().is_empty(), "a call for {user}");
        };
        let of_one_user = Answer::error(503, "upstream_token_unavailable");
        for n in 0..20 {
            refused(&format!("user-{n}"), &of_one_user);
        }
        // Five failures in a row, whatever was said of one user in between.
        for n in 0..5 {
            refused(&format!("own-{n}"), &of_one_user);
            refused(&format!("down-{n}"), &Answer::new(500, ""));
        }
        assert_stopped("bob", "1");
        envoy.advance(Duration::from_secs(1));
        for (user, other) in [("alice", "bob"), ("bob", "carol")] {
            let probe = plugin.request(&of(user));
            let call = envoy.call();
            assert_stopped(other, "1");
            call.answer(&of_one_user);
            assert_eq!(probe.refusal().1, "upstream_token_unavailable");
        }
        refused("carol", &Answer::new(500, ""));
        assert_stopped("dave", "2");
        envoy.advance(Duration::from_secs(2));
        let probe = plugin.request(&of("dave"));
        envoy.call().answer(&Answer::token("CANARY-of-dave", 300));
        assert_went_on_with(probe, "CANARY-of-dave");
        refused("erin", &of_one_user);
        refused("frank", &Answer::new(500, ""));
    });
}

#[test]
fn a_429_opens_it_whatever_word_it_says_that_with() {
    worker(|envoy| {
        let plugin = envoy.plugin(&configuration());
        open(envoy, plugin, &Answer::error(429, "slow_down"));
        assert_stopped(envoy, plugin, &of("alice"), "1");
    });
}

#[test]
fn a_cluster_that_does_not_exist_says_nothing_of_the_sts() {
    worker(|envoy| {
        let plugin = envoy.plugin(&configuration());
        envoy.cluster_exists("corp-sts", false);
        for n in 0..20 {
            let stream = plugin.request(&of(&format!("user-{n}")));
            assert_eq!(stream.reply().status, 503);
        }
        envoy.cluster_exists("corp-sts", true);
        obtain(envoy, plugin, "alice", "CANARY-alice", 300);
        // Nor does it end a probe.
        open(envoy, plugin, &Answer::new(503, ""));
        envoy.advance(Duration::from_secs(1));
        envoy.cluster_exists("corp-sts", false);
        assert_eq!(plugin.request(&of("bob")).reply().status, 503);
        envoy.cluster_exists("corp-sts", true);
        obtain(envoy, plugin, "bob", "CANARY-bob", 300);
    });
}

#[test]
fn failed_probes_double_the_pause_up_to_thirty_seconds() {
    worker(|envoy| {
        let plugin = envoy.plugin(&configuration());
        open(envoy, plugin, &Answer::new(503, ""));
        for pause in [1, 2, 4, 8, 16, 30, 30, 30] {
            assert_stopped(envoy, plugin, &of("alice"), &pause.to_string());
            envoy.advance(Duration::from_secs(pause));
            let (stream, call) = assert_exchanges(envoy, plugin, "alice");
            call.answer(&Answer::new(503, ""));
            assert_eq!(stream.reply().status, 503);
        }
        envoy.advance(Duration::from_secs(30));
        obtain(envoy, plugin, "alice", "CANARY-alice", 300);
        // Closed again, it takes five failures to open, and the first pause is a second.
        open(envoy, plugin, &Answer::new(503, ""));
        assert_stopped(envoy, plugin, &of("bob"), "1");
    });
}

#[test]
fn it_belongs_to_one_endpoint() {
    let mut configuration = configuration();
    let backends = &mut configuration["outgoingAuth"]["backends"];
    let others: [(&str, Value); 3] = [
        ("same", json!({"audience": "other"})),
        (
            "other-url",
            json!({"tokenUrl": "https://sts.example.com/other"}),
        ),
        ("other-cluster", json!({"cluster": "other-sts"})),
    ];
    for (name, settings) in &others {
        backends[*name] = strategy(settings);
    }
    worker(|envoy| {
        let plugin = envoy.plugin(&configuration);
        open(envoy, plugin, &Answer::new(503, ""));
        assert_stopped(envoy, plugin, &to("same", "alice"), "1");
        for name in ["other-url", "other-cluster"] {
            let stream = plugin.request(&to(name, "alice"));
            assert_eq!(stream.outcome(), Outcome::Waits, "{name}");
            envoy.call();
        }
    });
}

#[test]
fn tokens_in_hand_serve_while_it_is_open() {
    worker(|envoy| {
        let plugin = envoy.plugin(&configuration());
        obtain(envoy, plugin, "alice", "CANARY-alice", 1015);
        open(envoy, plugin, &Answer::new(503, ""));
        super::assert_cached(envoy, plugin, "alice", "CANARY-alice");
    });
}

#[test]
fn a_clock_set_back_does_not_lengthen_the_pause() {
    worker(|envoy| {
        let plugin = envoy.plugin(&configuration());
        open(envoy, plugin, &Answer::new(503, ""));
        envoy.set_back(Duration::from_secs(3600));
        envoy.advance(Duration::from_secs(1));
        obtain(envoy, plugin, "alice", "CANARY-alice", 300);
    });
}
