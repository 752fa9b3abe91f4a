//! What real token endpoints answer.

use super::*;
use crate::exchange::settings::Meaning;

/// The operator knows better than the table what a word means, that of one user included.
#[test]
fn the_configuration_comes_before_what_is_said_of_one_user() {
    let identity = |configured: &[(&str, Meaning)]| TokenCall {
        grant: grant::identity("github", false),
        sts_errors: configured
            .iter()
            .map(|(word, meaning)| ((*word).to_owned(), *meaning))
            .collect(),
        ..call(None)
    };
    let configured = identity(&[("upstream_token_unavailable", Meaning::NotFound)]);
    let body = br#"{"error":"upstream_token_unavailable"}"#;
    let seconds = Duration::from_secs(7);
    for (call, status, kind, wait) in [
        (&configured, 400, FailureKind::NotFound, None),
        // `stsErrors` is for 4xx answers.
        (
            &configured,
            503,
            FailureKind::UnavailableForUser,
            Some(seconds),
        ),
        (
            &identity(&[]),
            400,
            FailureKind::UnavailableForUser,
            Some(seconds),
        ),
    ] {
        let answer = Answer::HttpLater(status, Some(body), seconds);
        let failure = judge(answer, call, Duration::ZERO, TIMEOUT).unwrap_err();
        assert_eq!((failure.kind, failure.wait), (kind, wait), "{status}");
    }
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
