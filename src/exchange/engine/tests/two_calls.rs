//! An exchange of two calls, one after the other.

use super::*;

/// An identity assertion for `audience`.
fn id_jag(audience: &str) -> String {
    let token = jwt(&format!(r#"{{"aud":"{audience}"}}"#));
    format!(
        r#"{{"access_token":"{token}","token_type":"N_A","issued_token_type":"urn:ietf:params:oauth:token-type:id-jag","expires_in":60}}"#
    )
}

fn cross_app() -> Engine<u32> {
    let first = TokenCall {
        grant: grant::id_jag("https://partner", None, ""),
        ..call("", "idp")
    };
    let second = TokenCall {
        grant: grant::jwt_bearer(&[], &[], ""),
        ..call("", "target")
    };
    engine_of(vec![Exchange {
        second: Some(second),
        first,
        ..exchange("", "")
    }])
}

#[test]
fn two_calls_in_a_row_are_one_exchange() {
    let mut engine = cross_app();
    let key = called(acquire(&mut engine, 0, "alices-id-token", 1, at(0)));
    let first = outgoing(&engine, &key, at(0)).unwrap();
    assert_eq!(first.request.cluster(), "idp");
    engine.called(1, key);
    assert!(matches!(
        acquire(&mut engine, 0, "alices-id-token", 2, at(1)),
        Acquired::Join(_)
    ));
    let body = id_jag("https://partner");
    let answer = Answer::Http(200, Some(body.as_bytes()));
    let Answered::Call(key) = engine.answered(1, answer, &at(10)) else {
        panic!("no second call");
    };
    let second = outgoing(&engine, &key, at(10)).unwrap();
    assert_eq!(second.request.cluster(), "target");
    let form = String::from_utf8(second.body).unwrap();
    assert!(form.contains("jwt-bearer&assertion=ey"), "{form}");
    assert!(!form.contains("alices-id-token"), "{form}");
    engine.called(2, key);
    let body = issued("tok", 300);
    let completion = done(engine.answered(2, Answer::Http(200, Some(&body)), &at(20)));
    assert_eq!(completion.waiting, [1, 2]);
    let token = acquire(&mut engine, 0, "alices-id-token", 3, at(30));
    let Acquired::Token { value, .. } = token else {
        panic!("{token:?}");
    };
    assert_eq!(value.as_bytes(), b"Bearer tok");
}

#[test]
fn an_assertion_for_another_audience_goes_nowhere() {
    for audience in ["https://other", ""] {
        let mut engine = cross_app();
        let key = called(acquire(&mut engine, 0, "alices-id-token", 1, at(0)));
        engine.called(1, key);
        let body = id_jag(audience);
        let answer = Answer::Http(200, Some(body.as_bytes()));
        let completion = done(engine.answered(1, answer, &at(10)));
        let failed = completion.result.unwrap_err();
        assert_eq!(failed.failure.step, Step::First);
        assert_eq!(failed.refusal, Refusal::ExchangeInvalidResponse);
    }
}
