//! What is sent, which calls are made once more, and when they end.

use super::super::super::client::assertion::Assertion;
use super::*;

#[test]
fn the_request_is_that_of_the_key() {
    let mut engine = engine();
    let key = called(acquire(&mut engine, 2, "alice", 1, at(0)));
    let Outgoing {
        request,
        body,
        timeout,
    } = outgoing(&engine, &key, at(0)).unwrap();
    assert_eq!(timeout, TIMEOUT);
    assert_eq!(request.cluster(), "other");
    assert!(
        String::from_utf8(body)
            .unwrap()
            .contains("&subject_token=alice&")
    );
    let unknown = Key::new(ExchangeId(99), b"alice".to_vec());
    assert!(outgoing(&engine, &unknown, at(0)).is_none());
}

#[test]
fn overdue_calls_end_and_their_late_answers_are_nobodys() {
    let mut engine = engine();
    let key = called(acquire(&mut engine, 0, "alice", 1, at(0)));
    engine.called(5, key);
    assert!(engine.tick(&at(6999)).is_empty());
    let mut overdue = engine.tick(&at(7000));
    assert_eq!(overdue.len(), 1);
    let failed = overdue.remove(0).result.unwrap_err();
    assert_eq!(failed.refusal, Refusal::ExchangeTimeout);
    let key = called(acquire(&mut engine, 0, "alice", 2, at(7001)));
    engine.called(6, key);
    let late = engine.answered(5, Answer::Reset, &at(7002));
    assert!(matches!(late, Answered::Nobody));
    let completion = done(engine.answered(6, Answer::Reset, &at(7003)));
    assert_eq!(completion.waiting, [2]);
    assert!(engine.calls.is_empty());
}

#[test]
fn a_call_whose_kept_connection_broke_is_made_once_more_with_what_is_left_of_its_time() {
    let mut engine = engine();
    let key = called(acquire(&mut engine, 0, "alice", 1, at(0)));
    engine.called(1, key);
    let Answered::Call(key) = engine.answered(1, Answer::BrokeOff, &at(1500)) else {
        panic!("not called again");
    };
    let again = outgoing(&engine, &key, at(1500)).unwrap();
    assert_eq!(again.timeout, Duration::from_millis(3500));
    engine.called(2, key);
    let completion = done(engine.answered(2, Answer::BrokeOff, &at(1600)));
    let refusal = completion.result.unwrap_err().refusal;
    assert_eq!(refusal, Refusal::ExchangeUnavailable { retry_after: 1 });
    // Two calls count as one: four more failures in a row leave the breaker closed.
    for n in 0..3 {
        let key = called(acquire(&mut engine, 0, &format!("user-{n}"), 1, at(2000)));
        completed(&mut engine, key, Answer::Reset, &at(2000));
    }
    called(acquire(&mut engine, 0, "bob", 1, at(2000)));
}

#[test]
fn what_is_not_called_once_more() {
    for (answer, millis, why) in [
        (Answer::Http(503, Some(b"busy")), 10, "a 503"),
        (Answer::Reset, 10, "an answer that had begun"),
        (Answer::BrokeOff, 5000, "a call without time left"),
    ] {
        let mut engine = engine();
        let key = called(acquire(&mut engine, 0, "alice", 1, at(0)));
        engine.called(1, key);
        let answered = engine.answered(1, answer, &at(millis));
        assert!(matches!(answered, Answered::Done(_)), "{why}");
    }
    let mut engine = engine();
    for n in 0..5 {
        let key = called(acquire(&mut engine, 0, &format!("user-{n}"), 1, at(0)));
        completed(&mut engine, key, Answer::Reset, &at(0));
    }
    let probe = called(acquire(&mut engine, 0, "alice", 1, at(1000)));
    engine.called(9, probe);
    let answered = engine.answered(9, Answer::BrokeOff, &at(1001));
    assert!(matches!(answered, Answered::Done(_)), "a breaker's probe");
}

#[test]
fn a_step_of_the_wall_clock_ends_no_call() {
    let stepped = |millis: u64, wall: u64| Clocks {
        wall: at(wall).wall,
        ..at(millis)
    };
    let mut engine = engine();
    let key = called(acquire(&mut engine, 0, "alice", 1, at(0)));
    engine.called(1, key);
    assert!(engine.tick(&stepped(10, 30_000)).is_empty());
    let body = issued("tok", 300);
    let answer = Answer::Http(200, Some(&body));
    let completion = done(engine.answered(1, answer, &stepped(20, 30_020)));
    assert_eq!(completion.elapsed, Duration::from_millis(20));
    assert!(completion.result.is_ok());
    // Set back, the clock turns no answer into a timeout.
    let key = called(acquire(&mut engine, 0, "bob", 1, stepped(20, 30_020)));
    engine.called(2, key);
    let completion = done(engine.answered(2, Answer::Reset, &stepped(30, 1)));
    let refusal = completion.result.unwrap_err().refusal;
    assert_eq!(refusal, Refusal::ExchangeUnavailable { retry_after: 1 });
}

/// Signs everything, if with the smallest numbers that can be.
struct AnySigner;

impl Signer for AnySigner {
    fn sign(&self, _: &SigningKey, _: &[u8]) -> Option<Vec<u8>> {
        Some(vec![0x30, 6, 2, 1, 1, 2, 1, 1])
    }

    fn random(&self) -> Option<[u8; 16]> {
        Some([7; 16])
    }
}

#[test]
fn a_client_with_a_key_signs_each_call_and_makes_none_that_it_cannot_sign() {
    let key = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap();
    let mut signed = exchange("a", "sts");
    signed.first.client = ClientAuth::PrivateKey(Assertion {
        client_id: "envoy".to_owned(),
        audience: "https://sts.example.com/token".to_owned(),
        key: SigningKey::from_pem(&key.serialize_pem()).unwrap(),
        key_id: None,
        thumbprint: None,
    });
    let mut engine = engine_of(vec![signed]);
    let key = called(acquire(&mut engine, 0, "alice", 1, at(0)));
    let sent = |millis| {
        let sent = engine.request(&key, &at(millis), &AnySigner).ok().unwrap();
        let form = String::from_utf8(sent.body).unwrap();
        let (_, assertion) = form.split_once("&client_assertion=").expect(&form);
        assertion.to_owned()
    };
    assert!(sent(0).starts_with("ey"));
    assert_ne!(sent(0), sent(1000), "each its own");
    let unsigned = engine.request(&key, &at(0), &NoSigner).err();
    assert!(matches!(unsigned, Some(Answer::Unsigned)));
}
