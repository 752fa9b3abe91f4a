//! An exchange with the identity service, which speaks of one user.

use super::*;

/// A token of whose life nothing is said.
const GHO: &[u8] = br#"{"access_token":"gho","token_type":"Bearer","issued_token_type":"urn:ietf:params:oauth:token-type:access_token"}"#;

fn identity() -> Engine<u32> {
    let mut exchange = exchange("", "identity");
    exchange.purpose = Purpose::Identity {
        provider: "github".to_owned(),
    };
    exchange.subject_is_identity_token = true;
    exchange.first.grant = grant::identity("github", false);
    exchange.terms.assumed_lifetime = Some(Duration::from_secs(60));
    exchange.terms.max_age = Some(Duration::from_secs(60));
    engine_of(vec![exchange])
}

#[test]
fn what_the_identity_service_says_of_one_user_says_nothing_of_the_others() {
    let mut engine = identity();
    for n in 0..8 {
        let key = called(acquire(&mut engine, 0, &format!("user-{n}"), 1, at(0)));
        let body = Some(&br#"{"error":"upstream_token_unavailable"}"#[..]);
        let answer = Answer::HttpLater(503, body, Duration::from_secs(7));
        let completion = completed(&mut engine, key, answer, &at(0)).unwrap();
        let refusal = completion.result.unwrap_err().refusal;
        assert_eq!(
            refusal,
            Refusal::UpstreamTokenUnavailable { retry_after: 7 }
        );
    }
    let kept_to = acquire(&mut engine, 0, "user-3", 1, at(6500));
    let Acquired::Refuse(stop) = kept_to else {
        panic!("{kept_to:?}");
    };
    let purpose = engine.exchange(ExchangeId(0)).unwrap().purpose.clone();
    let refusal = stop.refusal(&purpose);
    assert_eq!(
        refusal,
        Refusal::UpstreamTokenUnavailable { retry_after: 1 }
    );
    called(acquire(&mut engine, 0, "user-3", 1, at(7000)));
    called(acquire(&mut engine, 0, "another", 1, at(1)));
}

#[test]
fn each_answer_of_the_identity_service_has_its_refusal() {
    let not_found = Refusal::UpstreamTokenNotFound {
        token_presented: true,
        no_tokens_at_all: false,
    };
    let unavailable = Refusal::UpstreamTokenUnavailable { retry_after: 1 };
    for (status, word, refusal, remembered) in [
        (400, "upstream_token_not_found", not_found, true),
        (400, "invalid_grant", Refusal::IdentityRejected, true),
        (401, "invalid_token", Refusal::IdentityRejected, true),
        (400, "invalid_target", Refusal::ExchangeMisconfigured, false),
        (400, "invalid_scope", Refusal::ExchangeMisconfigured, false),
        (400, "access_denied", Refusal::ExchangeMisconfigured, false),
        (
            400,
            "invalid_request",
            Refusal::ExchangeMisconfigured,
            false,
        ),
        (401, "invalid_client", Refusal::ExchangeMisconfigured, false),
        (503, "temporarily_unavailable", unavailable.clone(), false),
        (400, "temporarily_unavailable", unavailable.clone(), false),
        (500, "", unavailable, false),
        (404, "", Refusal::ExchangeMisconfigured, false),
        (200, "", Refusal::ExchangeInvalidResponse, false),
    ] {
        let mut engine = identity();
        let key = called(acquire(&mut engine, 0, "alice", 1, at(0)));
        let body = format!(r#"{{"error":"{word}"}}"#);
        let answer = Answer::Http(status, Some(body.as_bytes()));
        let completion = completed(&mut engine, key, answer, &at(1)).unwrap();
        assert_eq!(completion.result.unwrap_err().refusal, refusal, "{word}");
        let next = acquire(&mut engine, 0, "alice", 1, at(2));
        assert_eq!(matches!(next, Acquired::Refuse(_)), remembered, "{word}");
    }
}

#[test]
fn the_next_call_says_which_token_a_backend_did_not_accept() {
    let mut engine = identity();
    let key = called(acquire(&mut engine, 0, "alice", 1, at(0)));
    // The service says nothing of its life: it is used for as long as the configuration says.
    completed(&mut engine, key, Answer::Http(200, Some(GHO)), &at(0));
    let Acquired::Token { used, .. } = acquire(&mut engine, 0, "alice", 1, at(100)) else {
        panic!("not held");
    };
    assert!(engine.unauthorized(&used, &at(200)));
    says_that_gho_was_not_accepted(&mut engine, 30_000);
}

/// The call for alice, which says so.
#[track_caller]
fn says_that_gho_was_not_accepted(engine: &mut Engine<u32>, millis: u64) -> Key {
    let key = called(acquire(engine, 0, "alice", 1, at(millis)));
    let sent = outgoing(engine, &key, at(millis)).unwrap();
    let form = String::from_utf8(sent.body).unwrap();
    // SHA-256 of gho, in base64url.
    let expected = format!("&rejected_token_hash={}", sha256_base64url(b"gho"));
    assert!(form.ends_with(&expected), "{form}");
    key
}

/// Or the service would hand out the same dead token once more.
#[test]
fn every_call_says_which_token_was_not_accepted_until_there_is_another() {
    for word in ["upstream_token_not_found", "invalid_grant"] {
        let mut engine = identity();
        let key = called(acquire(&mut engine, 0, "alice", 1, at(0)));
        completed(&mut engine, key, Answer::Http(200, Some(GHO)), &at(0));
        let Acquired::Token { used, .. } = acquire(&mut engine, 0, "alice", 1, at(100)) else {
            panic!("not held");
        };
        assert!(engine.unauthorized(&used, &at(200)));
        let key = says_that_gho_was_not_accepted(&mut engine, 300);
        let body = format!(r#"{{"error":"{word}"}}"#);
        let answer = Answer::Http(400, Some(body.as_bytes()));
        completed(&mut engine, key, answer, &at(300)).unwrap();
        let again = acquire(&mut engine, 0, "alice", 1, at(400));
        assert!(matches!(again, Acquired::Refuse(_)), "{again:?}");
        says_that_gho_was_not_accepted(&mut engine, 60_000);
    }
}

#[test]
fn a_renewal_that_cannot_be_had_just_now_is_put_off_for_as_long_as_the_service_says() {
    let mut engine = identity();
    for user in ["alice", "bob"] {
        let key = called(acquire(&mut engine, 0, user, 1, at(0)));
        completed(&mut engine, key, Answer::Http(200, Some(GHO)), &at(0));
    }
    // The token of a minute is in the last fifth of its usable life.
    let key = renewal(&mut engine, "alice", 41_000).unwrap();
    let body = Some(&br#"{"error":"upstream_token_unavailable"}"#[..]);
    let answer = Answer::HttpLater(503, body, Duration::from_secs(5));
    completed(&mut engine, key, answer, &at(41_000));
    for millis in [43_000, 44_900] {
        assert!(renewal(&mut engine, "alice", millis).is_none(), "{millis}");
    }
    assert!(renewal(&mut engine, "bob", 45_000).is_some());
    assert!(renewal(&mut engine, "alice", 46_000).is_some());
}
