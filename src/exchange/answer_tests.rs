use super::*;
use proptest::collection::vec;
use proptest::prelude::*;
use serde_json::Value;

const TIMEOUT: Duration = Duration::from_secs(5);
const ACCESS_TOKEN: &str = "urn:ietf:params:oauth:token-type:access_token";
const JWT: &str = "urn:ietf:params:oauth:token-type:jwt";

fn judged(answer: Answer<'_>, elapsed: Duration) -> Result<Issued, Failure> {
    judge(answer, Some(ACCESS_TOKEN), elapsed, TIMEOUT)
}

fn ok(body: &str) -> Result<Issued, Failure> {
    judged(Answer::Http(200, Some(body.as_bytes())), Duration::ZERO)
}

fn answer(members: &str) -> String {
    format!(
        r#"{{"access_token":"tok","token_type":"Bearer","issued_token_type":"{ACCESS_TOKEN}"{members}}}"#
    )
}

#[test]
fn an_answer_counts_only_if_all_of_it_holds() {
    let long = format!(r#"{{"x":"{}"}}"#, "y".repeat(10));
    let nested = format!("{}{}", "[".repeat(5000), "]".repeat(5000));
    for (body, accepted) in [
        (answer(""), true),
        (
            answer(r#","token_type2":"x","refresh_token":"r","scope":"a"}"#.trim_end_matches('}')),
            true,
        ),
        (answer(&format!(r#","deep":{nested}"#)), true),
        (answer(r#","big":1e400"#), true),
        (answer("").replace("Bearer", "bearer"), true),
        (answer("").replace("Bearer", "N_A"), false),
        (answer("").replace("Bearer", "DPoP"), false),
        (answer("").replace(r#""Bearer""#, "null"), false),
        (answer("").replace(r#""Bearer""#, "7"), false),
        (answer("").replace(ACCESS_TOKEN, JWT), false),
        (answer("").replace(ACCESS_TOKEN, ""), false),
        (answer("").replace("issued_token_type", "issued"), false),
        (answer("").replace("token_type\"", "kind\""), false),
        (answer("").replace("access_token\"", "token\""), false),
        (answer("").replace(r#""tok""#, r#""two words""#), false),
        (answer("").replace(r#""tok""#, r#""""#), false),
        (answer("").replace(r#""tok""#, r#""a\r\nb""#), false),
        (answer("").replace(r#""tok""#, "null"), false),
        (answer("").replace(r#""tok""#, r#"{"a":1}"#), false),
        (answer("").replace(r#""tok""#, r#""\u0074ok""#), true),
        (answer(r#","access_token":"other""#), false),
        (answer(r#","error":"invalid_grant""#), true),
        (format!("{} ", answer("")), true),
        (format!("{} x", answer("")), false),
        (format!("[{}]", answer("")), false),
        (r#"{"error":"invalid_grant"}"#.to_owned(), false),
        (long, false),
        ("access_token=tok&token_type=bearer".to_owned(), false),
        (String::new(), false),
        ("{".to_owned(), false),
        ("null".to_owned(), false),
    ] {
        assert_eq!(ok(&body).is_ok(), accepted, "{body:.200}");
    }
    let invalid = Failure {
        kind: FailureKind::InvalidResponse,
        error: None,
    };
    assert_eq!(ok("{}").unwrap_err(), invalid);
    let too_large = judged(Answer::Http(200, None), Duration::ZERO);
    assert_eq!(too_large.unwrap_err(), invalid);
    let not_utf8 = judged(
        Answer::Http(200, Some(b"{\"access_token\":\"\xff\"}")),
        Duration::ZERO,
    );
    assert_eq!(not_utf8.unwrap_err(), invalid);
}

#[test]
fn any_issued_type_will_do_where_none_was_requested() {
    let body = answer("").replace(ACCESS_TOKEN, "urn:example:anything");
    let answer = Answer::Http(200, Some(body.as_bytes()));
    assert!(judge(answer, None, Duration::ZERO, TIMEOUT).is_ok());
}

#[test]
fn expires_in_is_a_positive_number_or_not_trusted() {
    let seconds = |s: f64| ExpiresIn::After(Duration::from_secs_f64(s));
    for (member, expected) in [
        ("", ExpiresIn::Absent),
        (r#","expires_in":null"#, ExpiresIn::Absent),
        (r#","expires_in":300"#, seconds(300.0)),
        (r#","expires_in":300.5"#, seconds(300.5)),
        (r#","expires_in":3e2"#, seconds(300.0)),
        (r#","expires_in":"300""#, seconds(300.0)),
        (r#","expires_in":" 300 ""#, seconds(300.0)),
        (r#","expires_in":99999999999999999999"#, seconds(3.2e9)),
        (r#","expires_in":0"#, ExpiresIn::Unusable),
        (r#","expires_in":-1"#, ExpiresIn::Unusable),
        (r#","expires_in":1e400"#, ExpiresIn::Unusable),
        (r#","expires_in":"inf""#, ExpiresIn::Unusable),
        (r#","expires_in":"NaN""#, ExpiresIn::Unusable),
        (r#","expires_in":"soon""#, ExpiresIn::Unusable),
        (r#","expires_in":"""#, ExpiresIn::Unusable),
        (r#","expires_in":true"#, ExpiresIn::Unusable),
        (r#","expires_in":[300]"#, ExpiresIn::Unusable),
        (r#","expires_in":{"s":300}"#, ExpiresIn::Unusable),
    ] {
        assert_eq!(ok(&answer(member)).unwrap().expires, expected, "{member}");
    }
}

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
        (400, r#"{"error":"server_error"}"#, Misconfigured),
        (400, r#"{"error":7}"#, Misconfigured),
        (400, r#"{"error":null}"#, Misconfigured),
        (400, "nonsense", Misconfigured),
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

#[test]
fn only_the_clock_tells_a_timeout_from_an_answer() {
    use FailureKind::*;
    let early = Duration::from_secs(1);
    for (answer, elapsed, kind) in [
        (Answer::Http(504, None), TIMEOUT, Timeout),
        (
            Answer::Http(504, None),
            TIMEOUT - Duration::from_millis(3),
            Timeout,
        ),
        (Answer::Http(504, None), early, Unavailable),
        (Answer::Reset, TIMEOUT, Timeout),
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

/// What the rules say of a body, read the obvious way.
fn obviously_accepted(body: &[u8], requested: Option<&str>) -> Option<String> {
    let Value::Object(members) = serde_json::from_slice(body).ok()? else {
        return None;
    };
    let text = |name: &str| members.get(name).and_then(Value::as_str);
    let token = text("access_token")?;
    let sendable = |c: char| c.is_ascii_graphic() && !"\",;\\".contains(c);
    let issued = text("issued_token_type")?;
    let accepted = (1..=16_384).contains(&token.len())
        && token.chars().all(sendable)
        && text("token_type")?.eq_ignore_ascii_case("bearer")
        && !issued.is_empty()
        && requested.is_none_or(|requested| requested == issued);
    accepted.then(|| token.to_owned())
}

/// Bodies that are often almost right. No member stands twice: that is another test's.
fn bodies() -> impl Strategy<Value = Vec<u8>> {
    let odd = prop_oneof![
        Just(r#""tok""#.to_owned()),
        Just(r#""Bearer""#.to_owned()),
        Just(r#""beaRER""#.to_owned()),
        Just(format!("\"{ACCESS_TOKEN}\"")),
        Just("null".to_owned()),
        Just("1e400".to_owned()),
        Just("[[{}]]".to_owned()),
        Just(r#"{"a":{"a":1}}"#.to_owned()),
        Just("-0.5".to_owned()),
        any::<String>().prop_map(|text| Value::from(text).to_string()),
        "[ -~]{0,20}".prop_map(|text| Value::from(text).to_string()),
    ];
    let name = prop_oneof![
        3 => Just("access_token"),
        3 => Just("token_type"),
        3 => Just("issued_token_type"),
        2 => Just("expires_in"),
        1 => Just("error"),
        1 => Just("scope"),
    ];
    let wrong = vec((name, odd), 0..3);
    (wrong, any::<prop::sample::Index>(), 0u8..8).prop_map(|(wrong, cut, what)| {
        let mut members = vec![
            ("access_token", r#""tok""#.to_owned()),
            ("token_type", r#""Bearer""#.to_owned()),
            ("issued_token_type", format!("\"{ACCESS_TOKEN}\"")),
        ];
        for (name, value) in wrong {
            members.retain(|(known, _)| *known != name);
            members.push((name, value));
        }
        let members: Vec<String> = members
            .iter()
            .map(|(name, value)| format!("\"{name}\": {value}"))
            .collect();
        let mut body = format!("{{{}}}", members.join(",")).into_bytes();
        if what == 0 {
            body.truncate(cut.index(body.len()));
        }
        body
    })
}

proptest! {
    #[test]
    fn exactly_what_the_rules_accept_is_accepted(body in bodies(), ask in any::<bool>()) {
        let requested = ask.then_some(ACCESS_TOKEN);
        let answer = Answer::Http(200, Some(&body));
        let judged = judge(answer, requested, Duration::ZERO, TIMEOUT);
        let judged = judged.ok().map(|issued| issued.token.as_bytes().to_vec());
        // A number out of range spoils only itself here, and all of it for the obvious reader.
        if !body.windows(5).any(|window| window == b"1e400") {
            let expected = obviously_accepted(&body, requested).map(String::into_bytes);
            prop_assert_eq!(judged, expected, "{}", String::from_utf8_lossy(&body));
        }
    }

    #[test]
    fn any_bytes_of_any_status_are_judged(
        status in any::<u16>(),
        body in vec(any::<u8>(), 0..300),
        millis in 0u64..10_000,
    ) {
        let answer = Answer::Http(status, Some(&body));
        let judged = judged(answer, Duration::from_millis(millis));
        prop_assert!(judged.is_err(), "random bytes are no token");
    }

    #[test]
    fn an_expiry_is_positive_and_bounded_or_not_trusted(
        number in any::<f64>(),
        text in "\\PC{0,6}|[ \t]?[0-9.e+-]{1,6}",
    ) {
        let quoted = Value::from(text.as_str()).to_string();
        for (raw, meant) in [(format!("{number:e}"), format!("{number:e}")), (quoted, text)] {
            let body = answer(&format!(r#","expires_in":{raw}"#));
            let Ok(issued) = ok(&body) else { continue };
            if let ExpiresIn::After(life) = issued.expires {
                prop_assert!(life <= Duration::from_secs_f64(3.2e9));
                let seconds: f64 = meant.trim().parse().unwrap();
                prop_assert!(seconds > 0.0);
            }
        }
    }
}
