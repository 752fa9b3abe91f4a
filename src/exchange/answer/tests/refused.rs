//! What an answer means that is an error, and when to call again.

use super::*;

#[test]
fn a_4xx_is_judged_by_its_error_word_and_without_one_by_its_status() {
    use FailureKind::*;
    for (word, kind) in [
        ("invalid_request", Rejected),
        ("invalid_grant", Rejected),
        ("invalid_token", Rejected),
        ("invalid_scope", Forbidden),
        ("insufficient_scope", Forbidden),
        ("invalid_target", Forbidden),
        ("access_denied", Forbidden),
        ("invalid_client", Misconfigured),
        ("unauthorized_client", Misconfigured),
        ("unsupported_grant_type", Misconfigured),
        ("temporarily_unavailable", Unavailable),
        // Words of the identity service, which is not asked here.
        ("upstream_token_not_found", Misconfigured),
        ("upstream_token_unavailable", Misconfigured),
        ("server_error", Unavailable),
        ("slow_down", Unavailable),
        ("upstream_token_not_found", Misconfigured),
    ] {
        let body = format!(r#"{{"error":"{word}","error_description":"CANARY"}}"#);
        for status in [400, 401, 403, 404, 429] {
            let failure = judged(Answer::Http(status, Some(body.as_bytes())), Duration::ZERO);
            let failure = failure.unwrap_err();
            assert_eq!(failure.kind, kind, "{status} {word}");
            assert_eq!(failure.error.unwrap().as_str(), word);
            assert!(!format!("{failure:?}").contains("CANARY"));
        }
    }
    for (status, body, kind) in [
        (400, r#"{"error":"another"}"#, Misconfigured),
        (408, "", Unavailable),
        (400, r#"{"error":7}"#, Misconfigured),
        (400, r#"{"error":null}"#, Misconfigured),
        (400, "nonsense", Misconfigured),
        (400, "\u{feff}{\"error\":\"invalid_grant\"}", Rejected),
        (
            400,
            "\u{feff}\u{feff}{\"error\":\"invalid_grant\"}",
            Misconfigured,
        ),
        (401, "", Misconfigured),
        (404, "{}", Misconfigured),
        (429, "", Unavailable),
        (500, r#"{"error":"invalid_grant"}"#, Unavailable),
        (503, "", Unavailable),
        (504, "", Unavailable),
        (599, "", Unavailable),
        (201, &answer(""), InvalidResponse),
        (204, "", InvalidResponse),
        (301, "", Misconfigured),
        (307, &answer(""), Misconfigured),
        (100, "", Unavailable),
        (0, "", Unavailable),
    ] {
        let failure = judged(Answer::Http(status, Some(body.as_bytes())), Duration::ZERO);
        assert_eq!(failure.unwrap_err().kind, kind, "{status} {body}");
    }
    let huge = judged(Answer::Http(400, None), Duration::ZERO);
    assert_eq!(huge.unwrap_err().kind, Misconfigured);
}

/// To the identity service, what a provider or a scope is denied for is the operator's mistake: no login
/// helps. And only its errors say something of one user: a redirect says nothing.
#[test]
fn the_identity_service_has_words_of_its_own() {
    use FailureKind::*;
    let call = TokenCall {
        grant: grant::identity("github", false),
        ..call(None)
    };
    for (status, word, kind) in [
        (400, "invalid_grant", Rejected),
        (401, "invalid_token", Rejected),
        (400, "invalid_request", Misconfigured),
        (400, "invalid_target", Misconfigured),
        (400, "invalid_scope", Misconfigured),
        (403, "insufficient_scope", Misconfigured),
        (403, "access_denied", Misconfigured),
        (401, "invalid_client", Misconfigured),
        (400, "upstream_token_not_found", NotFound),
        (400, "temporarily_unavailable", Unavailable),
        (503, "temporarily_unavailable", Unavailable),
        (400, "upstream_token_unavailable", UnavailableForUser),
        (503, "upstream_token_unavailable", UnavailableForUser),
        (307, "upstream_token_unavailable", Misconfigured),
    ] {
        let body = format!(r#"{{"error":"{word}"}}"#);
        let answer = Answer::Http(status, Some(body.as_bytes()));
        let failure = judge(answer, &call, Duration::ZERO, TIMEOUT).unwrap_err();
        assert_eq!(failure.kind, kind, "{status} {word}");
    }
}

#[test]
fn retry_after_is_seconds_or_a_date() {
    let now = Time::from_unix_seconds(784_111_777.0);
    for (field, seconds) in [
        ("60", Some(60)),
        (" 7 ", Some(7)),
        ("86400", Some(60)),
        ("99999999999999999999", Some(60)),
        ("0", None),
        ("-1", None),
        ("1.5", None),
        ("Sun, 06 Nov 1994 08:49:47 GMT", Some(10)),
        ("Sunday, 06-Nov-94 08:49:47 GMT", Some(10)),
        ("Sun Nov  6 08:49:47 1994", Some(10)),
        ("Sun, 06 Nov 1994 08:49:36 GMT", None),
        ("soon", None),
        ("", None),
    ] {
        let wait = retry_after(field.as_bytes(), now);
        assert_eq!(wait, seconds.map(Duration::from_secs), "{field}");
    }
    assert_eq!(retry_after(b"\xff", now), None);
}

#[test]
fn only_the_clock_tells_a_timeout_from_an_answer_that_broke() {
    use FailureKind::*;
    let early = Duration::from_secs(1);
    for (answer, elapsed, kind) in [
        (Answer::TimedOut, TIMEOUT, Timeout),
        (Answer::TimedOut, early, Timeout),
        (Answer::Http(504, None), TIMEOUT, Unavailable),
        (Answer::Http(504, None), early, Unavailable),
        (Answer::BrokeOff, TIMEOUT, Unavailable),
        (Answer::Reset, TIMEOUT, Timeout),
        (Answer::Reset, TIMEOUT - Duration::from_millis(3), Timeout),
        (Answer::Reset, early, Unavailable),
        (Answer::Http(503, None), TIMEOUT, Unavailable),
        (Answer::Unsendable, early, Unavailable),
        (Answer::UnknownCluster, early, UnknownCluster),
    ] {
        assert_eq!(
            judged(answer, elapsed).unwrap_err().kind,
            kind,
            "{answer:?} {elapsed:?}"
        );
    }
}

#[test]
fn what_envoy_says_in_the_endpoints_place_is_told_apart() {
    const TEXT: &str = "upstream connect error or disconnect/reset before headers. ";
    let of_envoy = |status: u16, text: &str| match Answer::of_envoy(status, Some(text.as_bytes())) {
        Answer::TimedOut => "timed out",
        Answer::BrokeOff => "broke off",
        Answer::Http(same, Some(body)) if (same, body) == (status, text.as_bytes()) => "as it is",
        other => panic!("{other:?}"),
    };
    for (status, text, expected) in [
        (504, "upstream request timeout".to_owned(), "timed out"),
        (408, "upstream request timeout".to_owned(), "timed out"),
        (
            503,
            format!("{TEXT}reset reason: connection termination"),
            "broke off",
        ),
        (
            503,
            format!("{TEXT}reset reason: remote reset"),
            "broke off",
        ),
        (
            503,
            format!("{TEXT}retried and the latest reset reason: remote refused stream reset"),
            "broke off",
        ),
        (
            503,
            format!("{TEXT}reset reason: remote connection failure"),
            "as it is",
        ),
        (503, format!("{TEXT}reset reason: overflow"), "as it is"),
        (
            502,
            format!("{TEXT}reset reason: protocol error"),
            "as it is",
        ),
        (503, "no healthy upstream".to_owned(), "as it is"),
        (503, "unconditional drop overload".to_owned(), "as it is"),
        (503, String::new(), "as it is"),
    ] {
        assert_eq!(of_envoy(status, &text), expected, "{status} {text}");
    }
    assert!(matches!(Answer::of_envoy(504, None), Answer::TimedOut));
    assert!(matches!(
        Answer::of_envoy(503, None),
        Answer::Http(503, None)
    ));
}
