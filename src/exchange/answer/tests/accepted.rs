//! Which answers of success count, and for how long their tokens are good.

use super::*;
use base64::Engine;

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
    assert_eq!(ok("{}").unwrap_err(), Failure::of_check(Check::TokenType));
    let too_large = judged(Answer::Http(200, None), Duration::ZERO);
    assert_eq!(too_large.unwrap_err(), Failure::of_check(Check::Size));
    let not_utf8 = judged(
        Answer::Http(200, Some(b"{\"access_token\":\"\xff\"}")),
        Duration::ZERO,
    );
    assert_eq!(not_utf8.unwrap_err(), Failure::of_check(Check::NoObject));
}

#[test]
fn any_issued_type_will_do_where_none_was_requested() {
    let body = answer("").replace(ACCESS_TOKEN, "urn:example:anything");
    let answer = Answer::Http(200, Some(body.as_bytes()));
    assert!(judge(answer, &call(Some("")), Duration::ZERO, TIMEOUT).is_ok());
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
fn an_assertion_is_for_the_partner_alone() {
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;
    let jwt = |claims: &str| {
        let part = |text: &str| URL_SAFE_NO_PAD.encode(text);
        format!("{}.{}.c2ln", part("{}"), part(claims))
    };
    let with = |resource: Option<&str>| TokenCall {
        grant: grant::id_jag("https://as", resource, ""),
        ..call(None)
    };
    let (plain, for_mcp) = (with(None), with(Some("https://mcp")));
    for (call, token, accepted) in [
        (&plain, jwt(r#"{"aud":"https://as"}"#), true),
        (&plain, jwt(r#"{"aud":["https://as"]}"#), true),
        (&plain, jwt(r#"{"aud":["https://as","https://x"]}"#), false),
        (&plain, jwt(r#"{"aud":"https://as/"}"#), false),
        (&plain, jwt(r#"{"aud":7}"#), false),
        (&plain, jwt("{}"), false),
        (&plain, "opaque".to_owned(), false),
        (&for_mcp, jwt(r#"{"aud":"https://as"}"#), false),
        (
            &for_mcp,
            jwt(r#"{"aud":"https://as","resource":"https://mcp"}"#),
            true,
        ),
        (
            &for_mcp,
            jwt(r#"{"aud":"https://as","resource":["x","https://mcp"]}"#),
            true,
        ),
        (
            &for_mcp,
            jwt(r#"{"aud":"https://as","resource":"https://mcp/x"}"#),
            false,
        ),
    ] {
        for (token_type, issued, fits) in [
            ("N_A", "id-jag", true),
            ("n_a", "ID-JAG", true),
            ("Bearer", "id-jag", false),
            ("N_A", "access_token", false),
        ] {
            let body = format!(
                r#"{{"access_token":"{token}","token_type":"{token_type}","issued_token_type":"urn:ietf:params:oauth:token-type:{issued}"}}"#
            );
            let answer = Answer::Http(200, Some(body.as_bytes()));
            let judged = judge(answer, call, Duration::ZERO, TIMEOUT);
            assert_eq!(
                judged.is_ok(),
                accepted && fits,
                "{token} {token_type} {issued}"
            );
        }
    }
}
