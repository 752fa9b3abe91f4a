//! Every way an STS can fail, and what the client, the stats and the log are told.

use super::{CODES, STS, assert_cached, assert_went_on_with, configuration, of, strategy};
use crate::host::{Answer, Outcome, Reply, Request, status, worker};
use serde_json::json;
use std::time::Duration;

/// After how long the answer comes; the timeout is 5 s.
const SOON: Duration = Duration::from_millis(20);
const LATE: Duration = Duration::from_secs(5);

fn check(reply: &Reply, (status, code, challenge): (u32, &str, Option<&str>), about: &str) {
    assert_eq!(reply.status, status, "{about}");
    assert_eq!(reply.json()["error"], code, "{about}");
    assert_eq!(reply.json()["backend"], "api");
    assert_eq!(reply.json()["provider"], "corp");
    let sent = reply.headers.get("www-authenticate");
    let sent = sent.map(|sent| sent.split(", error_description").next().unwrap());
    assert_eq!(sent, challenge, "{about}");
    let retry = reply.headers.get("retry-after").map(String::as_str);
    assert_eq!(retry, (status == 503).then_some("1"), "{about}");
}

const INVALID: Option<&str> = Some("Bearer error=\"invalid_token\"");

#[test]
fn each_answer_of_the_sts_has_its_refusal() {
    let rejected = (401, "token_exchange_rejected", INVALID);
    let forbidden = (403, "token_exchange_forbidden", None);
    let misconfigured = (502, "token_exchange_misconfigured", None);
    let unavailable = (503, "token_exchange_unavailable", None);
    let timeout = (504, "token_exchange_timeout", None);
    let invalid = (502, "token_exchange_invalid_response", None);
    let error = Answer::error;
    let text = |status| Answer::new(status, "CANARY in a text");
    let token = |change: &str, to: &str| {
        let answer = Answer::token("CANARY-exchanged", 300);
        let body = String::from_utf8(answer.body).unwrap();
        assert!(body.contains(change));
        Answer::new(200, body.replace(change, to))
    };
    for (answer, after, expected, counter) in [
        (error(400, "invalid_request"), SOON, rejected, "rejected"),
        (error(400, "invalid_grant"), SOON, rejected, "rejected"),
        (error(401, "invalid_token"), SOON, rejected, "rejected"),
        (error(429, "invalid_grant"), SOON, rejected, "rejected"),
        // The scope is the operator's: no login would help.
        (error(400, "invalid_scope"), SOON, forbidden, "forbidden"),
        (
            error(403, "insufficient_scope"),
            SOON,
            forbidden,
            "forbidden",
        ),
        (error(400, "invalid_target"), SOON, forbidden, "forbidden"),
        (error(403, "access_denied"), SOON, forbidden, "forbidden"),
        (
            error(401, "invalid_client"),
            SOON,
            misconfigured,
            "misconfigured",
        ),
        (
            error(400, "unauthorized_client"),
            SOON,
            misconfigured,
            "misconfigured",
        ),
        (
            error(400, "unsupported_grant_type"),
            SOON,
            misconfigured,
            "misconfigured",
        ),
        (error(400, "CANARY"), SOON, misconfigured, "misconfigured"),
        (text(404), SOON, misconfigured, "misconfigured"),
        (text(302), SOON, misconfigured, "misconfigured"),
        (text(429), SOON, unavailable, "unavailable"),
        (text(500), SOON, unavailable, "unavailable"),
        (
            error(500, "invalid_grant"),
            SOON,
            unavailable,
            "unavailable",
        ),
        (text(503), SOON, unavailable, "unavailable"),
        (text(504), SOON, unavailable, "unavailable"),
        (Answer::reset(), SOON, unavailable, "unavailable"),
        (text(504), LATE, unavailable, "unavailable"),
        (Answer::timeout(), SOON, timeout, "timeout"),
        (Answer::timeout(), LATE, timeout, "timeout"),
        (Answer::reset(), LATE, timeout, "timeout"),
        (text(503), LATE, unavailable, "unavailable"),
        (text(200), SOON, invalid, "invalid_response"),
        (text(204), SOON, invalid, "invalid_response"),
        (Answer::new(200, ""), SOON, invalid, "invalid_response"),
        (token("Bearer", "N_A"), SOON, invalid, "invalid_response"),
        (
            token("access_token\"", "other\""),
            SOON,
            invalid,
            "invalid_response",
        ),
        (
            token("issued_token_type", "x"),
            SOON,
            invalid,
            "invalid_response",
        ),
        (
            token("token-type:access_token", "token-type:id_token"),
            SOON,
            invalid,
            "invalid_response",
        ),
        (
            token("CANARY-exchanged", "two CANARY words"),
            SOON,
            invalid,
            "invalid_response",
        ),
        (
            token("CANARY-exchanged", "CANARY\\r\\nx: y"),
            SOON,
            invalid,
            "invalid_response",
        ),
    ] {
        let about = format!(
            "{:?} {}",
            answer.headers,
            String::from_utf8_lossy(&answer.body)
        );
        worker(|envoy| {
            let plugin = envoy.plugin(&configuration());
            let stream = plugin.request(&of("alice"));
            let call = envoy.call();
            envoy.advance(after);
            call.answer(&answer);
            check(&stream.reply(), expected, &about);
            let state = stream.filter_state();
            assert_eq!(state["upstream_inject.outcome"], expected.1);
            assert_eq!(state["upstream_inject.backend"], "api");
            plugin.tick();
            assert_eq!(
                envoy.metric(&format!("{CODES}{}", expected.1)),
                1,
                "{about}"
            );
            assert_eq!(envoy.metric(&format!("{STS}{counter}")), 1, "{about}");
            let took = u64::try_from(after.as_millis()).unwrap();
            assert_eq!(envoy.histogram(&format!("{STS}duration_ms")), [took]);
            let warnings = envoy.warnings();
            assert_eq!(warnings.len(), 1, "{warnings:?}");
            for part in [expected.1, "\"api\"", "\"corp\""] {
                assert!(warnings[0].contains(part), "{part}: {}", warnings[0]);
            }
            // The next good answer serves, for another user and at once.
            let next = plugin.request(&of("bob"));
            envoy
                .call()
                .answer(&Answer::token("CANARY-bob's".trim_end_matches("'s"), 300));
            assert_went_on_with(next, "CANARY-bob");
        });
    }
}

#[test]
fn a_rejection_names_the_stss_word_and_the_client_settings_in_the_log() {
    worker(|envoy| {
        let plugin = envoy.plugin(&configuration());
        plugin.request(&of("alice"));
        envoy.call().answer(&Answer::error(400, "invalid_request"));
        let warnings = envoy.warnings();
        for part in [
            "invalid_request",
            "clientId",
            "clientAuthMethod",
            "corp-sts",
        ] {
            assert!(warnings[0].contains(part), "{part}: {}", warnings[0]);
        }
    });
}

#[test]
fn a_call_that_cannot_be_made_is_refused_at_once() {
    worker(|envoy| {
        let plugin = envoy.plugin(&configuration());
        for failure in [status::BAD_ARGUMENT, status::INTERNAL_FAILURE, 99] {
            envoy.next_call_returns(failure);
            let stream = plugin.request(&of("alice"));
            let unavailable = (503, "token_exchange_unavailable", None);
            check(&stream.reply(), unavailable, &failure.to_string());
            assert!(envoy.calls().is_empty());
        }
        plugin.tick();
        assert_eq!(envoy.metric(&format!("{STS}unavailable")), 3);
        let durations = envoy.histogram(&format!("{STS}duration_ms"));
        assert!(durations.is_empty(), "no call was made");
    });
}

#[test]
fn a_cluster_that_envoy_does_not_have_is_told_from_one_that_cannot_be_reached() {
    worker(|envoy| {
        let plugin = envoy.plugin(&configuration());
        for (failure, told) in [
            (status::BAD_ARGUMENT, true),
            (status::INTERNAL_FAILURE, false),
        ] {
            envoy.log();
            envoy.next_call_returns(failure);
            plugin.request(&of("alice")).reply();
            let lines = envoy.warnings();
            let cluster = "STS cluster \"corp-sts\"";
            let unknown = format!("{cluster} (Envoy has no cluster of that name)");
            assert!(lines.len() == 1 && lines[0].contains(cluster), "{lines:?}");
            assert_eq!(lines[0].contains(&unknown), told, "{lines:?}");
            envoy.advance(Duration::from_secs(1));
        }
    });
}

/// Were it judged by what Envoy may still hold of another, one user would get another's token.
#[test]
fn a_call_that_broke_gets_nothing_of_the_answer_before() {
    worker(|envoy| {
        let plugin = envoy.plugin(&configuration());
        let stream = plugin.request(&of("alice"));
        let call = envoy.call();
        call.breaks_beside(&Answer::error(400, "invalid_grant"));
        let unavailable = (503, "token_exchange_unavailable", None);
        check(&stream.reply(), unavailable, "a connection that broke");
    });
}

#[test]
fn a_huge_answer_is_refused_without_being_copied() {
    worker(|envoy| {
        let plugin = envoy.plugin(&configuration());
        for (answer, expected) in [
            (
                Answer::new(200, vec![b' '; 40 << 20]),
                "token_exchange_invalid_response",
            ),
            (
                Answer::new(400, vec![b' '; 40 << 20]),
                "token_exchange_misconfigured",
            ),
            (
                Answer::new(200, vec![b' '; (1 << 20) + 1]),
                "token_exchange_invalid_response",
            ),
        ] {
            let stream = plugin.request(&of("alice"));
            envoy.call().answer(&answer);
            assert_eq!(stream.refusal(), (502, expected.to_owned()));
            assert_eq!(envoy.copied(), 0, "a body over 1 MiB was copied");
        }
        let mut largest = Answer::token("CANARY-exchanged", 300);
        largest.body.resize(1 << 20, b' ');
        let stream = plugin.request(&of("alice"));
        envoy.call().answer(&largest);
        assert_went_on_with(stream, "CANARY-exchanged");
    });
}

#[test]
fn an_answer_whose_fields_or_body_cannot_be_read_is_no_answer() {
    worker(|envoy| {
        let plugin = envoy.plugin(&configuration());
        for value in ["", "abc", "2 00", "99999", "-200"] {
            let mut answer = Answer::token("CANARY-exchanged", 300);
            answer.headers = vec![(":status".to_owned(), value.as_bytes().to_vec())];
            let stream = plugin.request(&of("alice"));
            envoy.call().answer(&answer);
            assert_eq!(stream.reply().status, 503, "{value:?}");
            let good = plugin.request(&of("bob"));
            let calls = envoy.calls();
            calls
                .iter()
                .for_each(|call| call.answer(&Answer::token("CANARY-b", 0)));
            assert_eq!(good.outcome(), Outcome::WentOn);
        }
        let mut without = Answer::token("CANARY-exchanged", 300);
        without.headers = vec![("x-other".to_owned(), b"1".to_vec())];
        let stream = plugin.request(&of("alice"));
        envoy.call().answer(&without);
        assert_eq!(stream.reply().status, 503);
        let stream = plugin.request(&of("alice"));
        let call = envoy.call();
        envoy.fails("get_buffer", Some(status::INTERNAL_FAILURE));
        call.answer(&Answer::token("CANARY-exchanged", 300));
        envoy.fails("get_buffer", None);
        assert_eq!(stream.reply().status, 502);
    });
}

#[test]
fn answers_that_nobody_asked_for_are_ignored() {
    worker(|envoy| {
        let plugin = envoy.plugin(&configuration());
        let stream = plugin.request(&of("alice"));
        let call = envoy.call();
        let mut stranger = call.clone();
        stranger.id += 1000;
        stranger.answer(&Answer::token("CANARY-other", 300));
        assert_eq!(stream.outcome(), Outcome::Waits);
        let mut elsewhere = call.clone();
        elsewhere.root += 1000;
        elsewhere.answer(&Answer::token("CANARY-other", 300));
        assert_eq!(stream.outcome(), Outcome::Waits);
        call.answer(&Answer::token("CANARY-right", 300));
        assert_went_on_with(stream, "CANARY-right");
        call.answer(&Answer::token("CANARY-again", 300));
        assert_cached(envoy, plugin, "alice", "CANARY-right");
    });
}

#[test]
fn an_answer_that_never_comes_is_a_timeout_and_one_that_comes_later_is_ignored() {
    worker(|envoy| {
        let plugin = envoy.plugin(&configuration());
        let first = plugin.request(&of("alice"));
        let call = envoy.call();
        envoy.advance(LATE + Duration::from_millis(1900));
        plugin.tick();
        assert_eq!(
            first.outcome(),
            Outcome::Waits,
            "Envoy's own timer comes first"
        );
        envoy.advance(Duration::from_millis(200));
        plugin.tick();
        assert_eq!(first.refusal(), (504, "token_exchange_timeout".to_owned()));
        let second = plugin.request(&of("alice"));
        let fresh = envoy.call();
        call.answer(&Answer::reset());
        assert_eq!(
            second.outcome(),
            Outcome::Waits,
            "the answer to another call"
        );
        fresh.answer(&Answer::token("CANARY-fresh", 300));
        assert_went_on_with(second, "CANARY-fresh");
    });
}

#[test]
fn the_timeout_is_the_operators() {
    let mut configuration = configuration();
    let quick = strategy(&json!({"timeout": "1ms"}));
    configuration["outgoingAuth"]["backends"]["quick"] = quick;
    let slow = strategy(&json!({"timeout": "1m"}));
    configuration["outgoingAuth"]["backends"]["slow"] = slow;
    worker(|envoy| {
        let plugin = envoy.plugin(&configuration);
        for (backend, timeout_ms) in [("api", 5000), ("quick", 1), ("slow", 60_000)] {
            let request: Request = super::to(backend, "alice");
            let stream = plugin.request(&request);
            let call = envoy.call();
            assert_eq!(call.sent.timeout_ms, timeout_ms);
            envoy.advance(Duration::from_millis(timeout_ms.into()));
            call.answer(&Answer::timeout());
            assert_eq!(stream.reply().status, 504, "{backend}");
        }
    });
}
