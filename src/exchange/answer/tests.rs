use super::members::MAX_CLAIMS;
use super::*;
use crate::exchange::client::ClientAuth;
use crate::exchange::grant;
use crate::exchange::settings::Meaning;
use base64::Engine;
use proptest::collection::vec;
use proptest::prelude::*;
use serde_json::Value;

const TIMEOUT: Duration = Duration::from_secs(5);
const ACCESS_TOKEN: &str = "urn:ietf:params:oauth:token-type:access_token";
const JWT: &str = "urn:ietf:params:oauth:token-type:jwt";

/// A call that asks for that type; `None` is a configuration that does not say.
fn call(requested_token_type: Option<&str>) -> TokenCall {
    TokenCall {
        name: "",
        token_url: "https://sts.example.com/token".to_owned(),
        cluster: "sts".to_owned(),
        authority: "sts.example.com:8443".to_owned(),
        path: "/token".to_owned(),
        client: ClientAuth::None { client_id: None },
        grant: grant::token_exchange(&grant::TokenExchange {
            subject_token_type: ACCESS_TOKEN,
            requested_token_type,
            ..grant::TokenExchange::default()
        }),
        parameters: vec![],
        sts_errors: vec![],
        timeout: TIMEOUT,
    }
}

fn judged(answer: Answer<'_>, elapsed: Duration) -> Result<Issued, Failure> {
    judge(answer, &call(Some(ACCESS_TOKEN)), elapsed, TIMEOUT)
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
    let invalid = |check| Failure {
        kind: FailureKind::InvalidResponse,
        error: None,
        detail: Detail::Check(check),
        wait: None,
    };
    assert_eq!(ok("{}").unwrap_err(), invalid("token_type"));
    let too_large = judged(Answer::Http(200, None), Duration::ZERO);
    assert_eq!(too_large.unwrap_err(), invalid("more than 1 MiB"));
    let not_utf8 = judged(
        Answer::Http(200, Some(b"{\"access_token\":\"\xff\"}")),
        Duration::ZERO,
    );
    assert_eq!(not_utf8.unwrap_err(), invalid("no JSON object"));
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

/// What each vendor answers, as its documentation and bug reports show it: one line for one more.
#[test]
fn real_token_endpoints_are_understood() {
    const ID_TOKEN: &str = "urn:ietf:params:oauth:token-type:id_token";
    let kind = |call: &TokenCall, status: u16, body: &str| {
        let answer = Answer::Http(status, Some(body.as_bytes()));
        match judge(answer, call, Duration::ZERO, TIMEOUT) {
            Ok(issued) => String::from_utf8(issued.token.into_bytes()).unwrap(),
            Err(failure) => match failure.kind {
                FailureKind::StepUp(step_up) => {
                    format!("step up {}", step_up.claims.clone().unwrap_or_default())
                }
                kind => format!("{kind:?}"),
            },
        }
    };
    let usual = call(None);
    let any = call(Some(""));
    let id_token = call(Some(ID_TOKEN));
    let obo = TokenCall {
        grant: grant::on_behalf_of("s"),
        ..call(None)
    };
    let mut vault = call(None);
    vault.sts_errors = [
        ("not_linked", Meaning::StepUp),
        ("token_expired", Meaning::Rejected),
        ("invalid_client", Meaning::Unavailable),
    ]
    .map(|(word, meaning)| (word.to_owned(), meaning))
    .to_vec();
    for (who, call, status, body, expected) in [
        (
            "Keycloak up to 25, Salesforce",
            &any,
            200,
            r#"{"access_token":"t","token_type":"Bearer"}"#.to_owned(),
            "t",
        ),
        (
            "the same, where a type is asked for",
            &usual,
            200,
            r#"{"access_token":"t","token_type":"Bearer"}"#.to_owned(),
            "InvalidResponse",
        ),
        (
            "Keycloak, Zitadel, for an ID token",
            &id_token,
            200,
            format!(
                r#"{{"access_token":"t","token_type":"N_A","issued_token_type":"{ID_TOKEN}"}}"#
            ),
            "t",
        ),
        (
            "another type than the ID token",
            &id_token,
            200,
            answer("").replace("Bearer", "N_A"),
            "InvalidResponse",
        ),
        (
            "INDIGO IAM, Knox",
            &usual,
            200,
            answer("").replace(ACCESS_TOKEN, JWT),
            "tok",
        ),
        (
            "a type in capitals",
            &usual,
            200,
            answer("").replace(ACCESS_TOKEN, &ACCESS_TOKEN.to_uppercase()),
            "tok",
        ),
        (
            "N_A for an access token",
            &usual,
            200,
            answer("").replace("Bearer", "N_A"),
            "InvalidResponse",
        ),
        (
            "a byte order mark",
            &usual,
            200,
            format!("\u{feff}{}", answer("")),
            "tok",
        ),
        (
            "two byte order marks",
            &usual,
            200,
            format!("\u{feff}\u{feff}{}", answer("")),
            "InvalidResponse",
        ),
        (
            "Entra, a second factor",
            &obo,
            400,
            r#"{"error":"invalid_grant","suberror":"basic_action","claims":"{\"a\":1}"}"#
                .to_owned(),
            "step up eyJhIjoxfQ==",
        ),
        (
            "Entra, conditional access",
            &obo,
            400,
            r#"{"error":"interaction_required","claims":"{\"a\":1}"}"#.to_owned(),
            "step up eyJhIjoxfQ==",
        ),
        (
            "Entra, claims as an object",
            &obo,
            400,
            r#"{"error":"invalid_grant","claims":{"a":1}}"#.to_owned(),
            "step up eyJhIjoxfQ==",
        ),
        (
            "Entra, a suberror alone",
            &obo,
            400,
            r#"{"error":"invalid_grant","suberror":"consent_required"}"#.to_owned(),
            "step up ",
        ),
        (
            "Entra, another suberror",
            &obo,
            400,
            r#"{"error":"invalid_grant","suberror":"bad_token","claims":""}"#.to_owned(),
            "Rejected",
        ),
        (
            "Entra, a broken assertion",
            &obo,
            400,
            r#"{"error":"invalid_grant"}"#.to_owned(),
            "Rejected",
        ),
        (
            "Entra, a broken request",
            &obo,
            400,
            r#"{"error":"invalid_request"}"#.to_owned(),
            "Misconfigured",
        ),
        (
            "Google, a wrong audience",
            &usual,
            400,
            r#"{"error":"invalid_request"}"#.to_owned(),
            "Rejected",
        ),
        (
            "Keycloak, not linked",
            &vault,
            400,
            r#"{"error":"not_linked"}"#.to_owned(),
            "step up ",
        ),
        (
            "Keycloak, an expired token of another",
            &vault,
            400,
            r#"{"error":"token_expired"}"#.to_owned(),
            "Rejected",
        ),
        (
            "Auth0, a factor is missing",
            &usual,
            403,
            r#"{"error":"mfa_required"}"#.to_owned(),
            "step up ",
        ),
        (
            "a known word, configured otherwise",
            &vault,
            401,
            r#"{"error":"invalid_client"}"#.to_owned(),
            "Unavailable",
        ),
        (
            "a configured word with 200",
            &vault,
            200,
            r#"{"error":"not_linked"}"#.to_owned(),
            "InvalidResponse",
        ),
        (
            "a configured word with 500",
            &vault,
            500,
            r#"{"error":"not_linked"}"#.to_owned(),
            "Unavailable",
        ),
        ("Entra, 408", &obo, 408, String::new(), "Unavailable"),
        (
            "a firewall's page",
            &usual,
            403,
            "<html>".to_owned(),
            "Misconfigured",
        ),
        (
            "on-behalf-of knows no issued type",
            &obo,
            200,
            r#"{"access_token":"t","token_type":"bearer"}"#.to_owned(),
            "t",
        ),
    ] {
        assert_eq!(kind(call, status, &body), expected, "{who}");
    }
}

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
