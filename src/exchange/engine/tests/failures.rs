//! What a failure means for those who waited, and for those who come next.

use super::*;
use crate::exchange::answer::StsError;

#[test]
fn each_failure_has_its_refusal_and_its_memory() {
    // The failure's refusal, and what the next request of that subject is told.
    let unavailable = Refusal::ExchangeUnavailable { retry_after: 1 };
    for (status, body, refusal, next) in [
        (
            400,
            r#"{"error":"invalid_grant"}"#,
            Refusal::ExchangeRejected,
            "refused",
        ),
        (
            400,
            r#"{"error":"invalid_scope"}"#,
            Refusal::ExchangeForbidden,
            "call",
        ),
        (
            400,
            r#"{"error":"access_denied"}"#,
            Refusal::ExchangeForbidden,
            "call",
        ),
        (
            400,
            r#"{"error":"invalid_client"}"#,
            Refusal::ExchangeMisconfigured,
            "call",
        ),
        (200, "{}", Refusal::ExchangeInvalidResponse, "call"),
        (503, "", unavailable, "call"),
    ] {
        let mut engine = engine();
        let key = called(acquire(&mut engine, 0, "alice", 1, at(0)));
        let answer = Answer::Http(status, Some(body.as_bytes()));
        let completion = completed(&mut engine, key, answer, &at(1)).unwrap();
        assert_eq!(completion.result.unwrap_err().refusal, refusal);
        let found = match acquire(&mut engine, 0, "alice", 1, at(2)) {
            Acquired::Refuse(Stop::RefusedBefore(failure, _)) => {
                assert_eq!(failure.error, Some(StsError::InvalidGrant));
                "refused"
            }
            Acquired::Call(_) => "call",
            other => panic!("{other:?}"),
        };
        assert_eq!(found, next, "{body}");
    }
}

/// The TH-JWT would go to a backend. A provider's token is one that the backend may have.
#[test]
fn whoever_hands_the_identity_token_back_gives_no_token() {
    let of_identity = Purpose::Identity {
        provider: "github".to_owned(),
    };
    for (purpose, is_identity_token, token, fresh) in [
        (of_identity.clone(), true, "alice", false),
        (of_identity, true, "alice2", true),
        (Purpose::Backend, true, "alice", false),
        (Purpose::Backend, true, "alice2", true),
        (Purpose::Backend, false, "alice", true),
    ] {
        let mut exchange = exchange("github", "identity");
        exchange.purpose = purpose;
        exchange.subject_is_identity_token = is_identity_token;
        let mut engine = engine_of(vec![exchange]);
        let key = called(acquire(&mut engine, 0, "alice", 1, at(0)));
        let body = format!(
            r#"{{"access_token":"{token}","token_type":"Bearer","issued_token_type":"urn:ietf:params:oauth:token-type:access_token"}}"#
        );
        let answer = Answer::Http(200, Some(body.as_bytes()));
        let result = completed(&mut engine, key, answer, &at(1)).unwrap().result;
        assert_eq!(result.is_ok(), fresh, "{token}");
    }
}
