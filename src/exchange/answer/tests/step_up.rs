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
        // Whatever shows a link must not be led to read it otherwise.
        ("https://sts.example.com/\"onclick=", false),
        ("https://sts.example.com/<b>", false),
        ("https://sts.example.com/a b", false),
        ("https://sts.example.com/a\nb", false),
        ("https://sts.example.com/ü", false),
        ("https://sts.example.com/\u{7f}", false),
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
    let digits = "7".repeat(256);
    let (longest, too_long) = (
        format!(r#","max_age":"{digits}","acr_values":"{digits}""#),
        format!(r#","max_age":"{digits}7","acr_values":"{digits}7""#),
    );
    for (members, expected) in [
        (longest.as_str(), (text(&digits), text(&digits))),
        (&too_long, (None, None)),
        (r#","max_age":"","acr_values":"""#, (None, None)),
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

/// A colon within the brackets of an address is no port's.
#[test]
fn a_link_on_an_endpoint_without_a_name_is_handed_on_if_the_address_is_the_same() {
    let call = TokenCall {
        authority: "[2001:db8::1]:8443".to_owned(),
        ..call(None)
    };
    for (link, handed_on) in [
        ("https://[2001:db8::1]/x", true),
        ("https://[2001:DB8::1]:9/x", true),
        ("https://[2001:db8::1]", true),
        ("https://[2001:db8::2]/x", false),
        ("https://[2001:db8::1]:evil/x", false),
        ("https://[2001:db8::1/x", false),
        ("https://[2001:db8:/x", false),
    ] {
        let body = format!(r#"{{"error":"interaction_required","interaction_uri":"{link}"}}"#);
        let answer = Answer::Http(400, Some(body.as_bytes()));
        let failure = judge(answer, &call, Duration::ZERO, TIMEOUT).unwrap_err();
        let FailureKind::StepUp(step_up) = failure.kind else {
            panic!("{:?}", failure.kind);
        };
        let expected = handed_on.then_some(link);
        assert_eq!(step_up.interaction_uri.as_deref(), expected);
    }
    let call = TokenCall {
        authority: "[2001:db8::1]".to_owned(),
        ..call
    };
    let body = br#"{"error":"login_required","interaction_uri":"https://[2001:db8::1]:9/x"}"#;
    let answer = Answer::Http(400, Some(body));
    let failure = judge(answer, &call, Duration::ZERO, TIMEOUT).unwrap_err();
    assert!(
        matches!(failure.kind, FailureKind::StepUp(step_up) if step_up.interaction_uri.is_some())
    );
}
