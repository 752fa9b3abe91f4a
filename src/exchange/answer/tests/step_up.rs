//! What a user is told that must do more than to log in.

use super::super::members::MAX_CLAIMS;
use super::*;

#[test]
fn claims_that_are_too_long_to_hand_on_still_ask_for_more() {
    for (claims, more) in [
        (format!("\"{}\"", "x".repeat(MAX_CLAIMS + 1)), true),
        (format!("{{\"a\":\"{}\"}}", "x".repeat(MAX_CLAIMS)), true),
        ("\"\"".to_owned(), false),
        ("{}".to_owned(), false),
        ("{ \n}".to_owned(), false),
        ("7".to_owned(), false),
        ("null".to_owned(), false),
    ] {
        let body = format!(r#"{{"error":"invalid_grant","claims":{claims}}}"#);
        let answer = Answer::Http(400, Some(body.as_bytes()));
        let failure = judge(answer, &call(None), Duration::ZERO, TIMEOUT).unwrap_err();
        match failure.kind {
            FailureKind::StepUp(step_up) => assert!(more && step_up.claims.is_none()),
            kind => assert!(!more && kind == FailureKind::Rejected, "{kind:?}"),
        }
    }
}

#[test]
fn a_step_up_hands_on_what_is_safe_to_hand_on() {
    let step_up = |members: &str| {
        let body = format!(r#"{{"error":"interaction_required"{members}}}"#);
        let answer = Answer::Http(400, Some(body.as_bytes()));
        match judge(answer, &call(None), Duration::ZERO, TIMEOUT)
            .unwrap_err()
            .kind
        {
            FailureKind::StepUp(step_up) => (*step_up).clone(),
            kind => panic!("{kind:?}"),
        }
    };
    let long = "x".repeat(MAX_CLAIMS + 1);
    for (claims, handed_on) in [
        (r#""a\"b\r\nc""#.to_owned(), Some("YSJiDQpj")),
        (r#"{"a": 1}"#.to_owned(), Some("eyJhIjogMX0=")),
        ("7".to_owned(), None),
        ("[1]".to_owned(), None),
        ("null".to_owned(), None),
        (format!("\"{long}\""), None),
    ] {
        let found = step_up(&format!(r#","claims":{claims}"#)).claims;
        assert_eq!(found.as_deref(), handed_on, "{claims:.40}");
    }
    for (link, handed_on) in [
        ("https://sts.example.com/x?y=1#z", true),
        ("https://STS.example.com:9/x", true),
        ("https://sts.example.com", true),
        ("https://sts.example.com:evil.com/x", false),
        ("http://sts.example.com/x", false),
        ("https://evil.example.com/x", false),
        ("https://sts.example.com.evil/x", false),
        ("https://sts.example.com@evil/x", false),
        ("https://evil/https://sts.example.com", false),
        ("https://sts.example.com\\@evil/x", false),
        ("https:///x", false),
        ("", false),
    ] {
        let link = Value::from(link).to_string();
        let found = step_up(&format!(r#","interaction_uri":{link}"#));
        assert_eq!(found.interaction_uri.is_some(), handed_on, "{link}");
    }
    let authentication = |members: &str| {
        let body = format!(r#"{{"error":"insufficient_user_authentication"{members}}}"#);
        let answer = Answer::Http(401, Some(body.as_bytes()));
        match judge(answer, &call(None), Duration::ZERO, TIMEOUT)
            .unwrap_err()
            .kind
        {
            FailureKind::StepUp(step_up) => {
                assert!(step_up.insufficient_authentication);
                (step_up.max_age.clone(), step_up.acr_values.clone())
            }
            kind => panic!("{kind:?}"),
        }
    };
    let text = |text: &str| Some(text.to_owned());
    for (members, expected) in [
        (
            r#","max_age":300,"acr_values":"a b""#,
            (text("300"), text("a b")),
        ),
        (r#","max_age":"300""#, (text("300"), None)),
        (r#","max_age":-1,"acr_values":"a\"b""#, (None, None)),
        (r#","max_age":1.5,"acr_values":["a"]"#, (None, None)),
        ("", (None, None)),
    ] {
        assert_eq!(authentication(members), expected, "{members}");
    }
}
