//! Whatever an endpoint sends, against the rules read the obvious way.

use super::*;
use proptest::collection::vec;
use proptest::prelude::*;

/// What the rules say of a body, read the obvious way.
fn obviously_accepted(body: &[u8], requested: Option<&str>) -> Option<String> {
    let Value::Object(members) = serde_json::from_slice(body).ok()? else {
        return None;
    };
    let text = |name: &str| members.get(name).and_then(Value::as_str);
    let token = text("access_token")?;
    let sendable = |c: char| c.is_ascii_graphic() && !"\",;\\".contains(c);
    let issued = text("issued_token_type").unwrap_or_default();
    let accepted = (1..=16_384).contains(&token.len())
        && token.chars().all(sendable)
        && text("token_type")?.eq_ignore_ascii_case("bearer")
        && requested.is_none_or(|requested| requested.eq_ignore_ascii_case(issued));
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
        let judged = judge(answer, &call(requested.or(Some(""))), Duration::ZERO, TIMEOUT);
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
