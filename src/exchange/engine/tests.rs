//! What the engine does with requests, calls and their answers, step by step on a clock of its own.

use super::super::ClientAuth;
use super::super::client::Signer;
use super::super::client::key::SigningKey;
use super::super::grant::{self, IssuedType};
use super::*;
use crate::exchange::answer::StsError;
use crate::refusal::Refusal;
use crate::time::Clocks;
use proptest::collection::vec;
use proptest::prelude::*;
use std::collections::{HashMap as Map, HashSet};

const TIMEOUT: Duration = Duration::from_secs(5);

fn at(millis: u64) -> Clocks {
    Clocks::at(Duration::from_millis(1_000_000 + millis))
}

/// Nobody signs anything here.
struct NoSigner;

impl Signer for NoSigner {
    fn sign(&self, _: &SigningKey, _: &[u8]) -> Option<Vec<u8>> {
        None
    }

    fn random(&self) -> Option<[u8; 16]> {
        None
    }
}

fn call(audience: &str, cluster: &str) -> TokenCall {
    let mut grant = grant::token_exchange(&grant::TokenExchange {
        subject_token_type: "urn:ietf:params:oauth:token-type:access_token",
        audience: &[audience.to_owned()],
        ..grant::TokenExchange::default()
    });
    grant.accepts.issued = IssuedType::Any;
    TokenCall {
        name: "",
        token_url: "https://sts.example.com/token".to_owned(),
        cluster: cluster.to_owned(),
        authority: "sts.example.com".to_owned(),
        path: "/token".to_owned(),
        client: ClientAuth::None { client_id: None },
        grant,
        parameters: vec![],
        sts_errors: vec![],
        timeout: TIMEOUT,
    }
}

fn exchange(audience: &str, cluster: &str) -> Exchange {
    Exchange {
        purpose: Purpose::Backend,
        first: call(audience, cluster),
        second: None,
        subject_is_identity_token: false,
        has_actor: false,
        terms: Terms::default(),
    }
}

fn engine_of(exchanges: Vec<Exchange>) -> Engine<u32> {
    Engine::new(exchanges, CachePolicy::default(), 11)
}

fn engine() -> Engine<u32> {
    engine_of(vec![
        exchange("a", "sts"),
        exchange("b", "sts"),
        exchange("a", "other"),
    ])
}

/// What a request that needs a token is told to do.
#[derive(Debug)]
enum Acquired {
    Token {
        value: crate::token::BearerValue,
        used: Used,
        renew: Option<Key>,
    },
    Join(Key),
    Call(Key),
    Refuse(Stop),
}

fn acquire(
    engine: &mut Engine<u32>,
    exchange: u32,
    subject: &str,
    waiter: u32,
    now: Clocks,
) -> Acquired {
    acquire_for(engine, waiter, exchange, subject, waiter, now)
}

fn acquire_for(
    engine: &mut Engine<u32>,
    backend: u32,
    exchange: u32,
    subject: &str,
    waiter: u32,
    now: Clocks,
) -> Acquired {
    let subject = BearerToken::new(subject.as_bytes().to_vec()).unwrap();
    match engine.find(
        ExchangeId(exchange),
        subject,
        None,
        backend,
        &|_| true,
        &now,
    ) {
        Found::Token {
            value, used, renew, ..
        } => Acquired::Token { value, used, renew },
        Found::Refused(stop) => Acquired::Refuse(stop),
        Found::Nothing(key) => match engine.wait(&key, backend, || waiter, &now) {
            Waits::Joins | Waits::Elsewhere => Acquired::Join(key),
            Waits::Calls => Acquired::Call(key),
            Waits::Refused(stop) => Acquired::Refuse(stop),
        },
    }
}

/// The call for `key` ended.
fn completed(
    engine: &mut Engine<u32>,
    key: Key,
    answer: Answer<'_>,
    now: &Clocks,
) -> Option<Completion<u32>> {
    match engine.completed(key, answer, now) {
        Answered::Done(completion) => Some(completion),
        Answered::Call(_) | Answered::Nobody => None,
    }
}

fn issued(token: &str, seconds: u64) -> Vec<u8> {
    format!(
        r#"{{"access_token":"{token}","token_type":"Bearer","issued_token_type":"x","expires_in":{seconds}}}"#
    )
    .into_bytes()
}

fn outgoing(engine: &Engine<u32>, key: &Key, now: Clocks) -> Option<Outgoing> {
    engine.request(key, &now, &NoSigner).ok()
}

/// A call that is over.
fn done(answered: Answered<u32>) -> Completion<u32> {
    match answered {
        Answered::Done(completion) => completion,
        other => panic!("{other:?}"),
    }
}

/// The key of a call that is to be made.
fn called(acquired: Acquired) -> Key {
    match acquired {
        Acquired::Call(key) => key,
        other => panic!("{other:?}"),
    }
}

#[test]
fn one_call_serves_all_who_wait_in_the_order_they_came() {
    let mut engine = engine();
    let key = called(acquire(&mut engine, 0, "alice", 1, at(0)));
    engine.called(77, key);
    for waiter in 2..5 {
        let joined = acquire(&mut engine, 0, "alice", waiter, at(10));
        assert!(matches!(joined, Acquired::Join(_)));
    }
    // Another subject, and the same subject at another exchange, are other calls.
    for (exchange, subject) in [(0, "bob"), (1, "alice"), (2, "alice")] {
        called(acquire(&mut engine, exchange, subject, 9, at(10)));
    }
    let body = issued("tok", 300);
    let answer = Answer::Http(200, Some(&body));
    let nobody = engine.answered(76, answer, &at(20));
    assert!(matches!(nobody, Answered::Nobody));
    let completion = done(engine.answered(77, answer, &at(20)));
    assert_eq!(completion.waiting, [1, 2, 3, 4]);
    assert_eq!(completion.on_behalf_of, 1);
    assert_eq!(completion.exchange, ExchangeId(0));
    assert_eq!(completion.elapsed, Duration::from_millis(20));
    assert!(!completion.renewal);
    assert_eq!(completion.result.unwrap().value.as_bytes(), b"Bearer tok");
    let once_more = engine.answered(77, answer, &at(20));
    assert!(matches!(once_more, Answered::Nobody));
    assert_eq!(engine.held(), 1);
}

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
fn who_leaves_is_not_served_and_makes_room() {
    let mut engine = engine();
    let key = called(acquire(&mut engine, 0, "alice", 1, at(0)));
    acquire(&mut engine, 0, "alice", 2, at(0));
    engine.leave(&key, |waiter| *waiter == 1);
    engine.leave(&key, |waiter| *waiter == 1);
    engine.leave(&Key::new(ExchangeId(0), b"bob".to_vec()), |_| true);
    assert_eq!(engine.waiting, 1);
    let completion = completed(&mut engine, key, Answer::Reset, &at(1)).unwrap();
    assert_eq!(completion.waiting, [2]);
    assert_eq!(engine.waiting, 0);
}

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

#[test]
fn the_breaker_is_that_of_the_endpoint() {
    let mut engine = engine();
    for n in 0..5 {
        let key = called(acquire(&mut engine, n % 2, &format!("user-{n}"), 1, at(0)));
        completed(&mut engine, key, Answer::Reset, &at(0));
    }
    for exchange in [0, 1] {
        let stopped = acquire(&mut engine, exchange, "alice", 1, at(1));
        assert!(matches!(stopped, Acquired::Refuse(Stop::BreakerOpen(1))));
    }
    called(acquire(&mut engine, 2, "alice", 1, at(1)));
    assert_eq!(engine.waiting, 1, "who is refused does not wait");
}

#[test]
fn calls_from_before_the_breaker_opened_do_not_count_as_its_probe() {
    let mut engine = engine();
    let mut early: Vec<Key> = (0..8)
        .map(|n| called(acquire(&mut engine, 0, &format!("user-{n}"), 1, at(0))))
        .collect();
    for key in early.drain(..5) {
        completed(&mut engine, key, Answer::Reset, &at(0));
    }
    let probe = called(acquire(&mut engine, 0, "alice", 1, at(1000)));
    for key in early {
        completed(&mut engine, key, Answer::Reset, &at(1001));
    }
    let stopped = acquire(&mut engine, 0, "bob", 1, at(4000));
    assert!(matches!(stopped, Acquired::Refuse(Stop::BreakerOpen(1))));
    completed(&mut engine, probe, Answer::Reset, &at(4000));
    let stopped = acquire(&mut engine, 0, "bob", 1, at(4001));
    assert!(matches!(stopped, Acquired::Refuse(Stop::BreakerOpen(2))));
    called(acquire(&mut engine, 0, "bob", 1, at(6000)));
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

/// What Envoy makes of a connection that broke before any answer.
const BROKE_OFF: Answer<'_> = Answer::Http(
    503,
    Some(b"upstream connect error or disconnect/reset before headers. reset reason: connection termination"),
);

#[test]
fn a_call_whose_kept_connection_broke_is_made_once_more_with_what_is_left_of_its_time() {
    let mut engine = engine();
    let key = called(acquire(&mut engine, 0, "alice", 1, at(0)));
    engine.called(1, key);
    let Answered::Call(key) = engine.answered(1, BROKE_OFF, &at(1500)) else {
        panic!("not called again");
    };
    let again = outgoing(&engine, &key, at(1500)).unwrap();
    assert_eq!(again.timeout, Duration::from_millis(3500));
    engine.called(2, key);
    let completion = done(engine.answered(2, BROKE_OFF, &at(1600)));
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
    let refused: &[u8] = b"upstream connect error or disconnect/reset before headers. reset reason: remote connection failure, transport failure reason: delayed connect error: Connection refused";
    for (answer, millis, why) in [
        (Answer::Http(503, Some(refused)), 10, "a refused connection"),
        (Answer::Http(503, Some(b"busy")), 10, "the server's own 503"),
        (Answer::Reset, 10, "an answer that had begun"),
        (BROKE_OFF, 5000, "a call without time left"),
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
    let answered = engine.answered(9, BROKE_OFF, &at(1001));
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

#[test]
fn a_tokens_life_begins_when_it_was_asked_for() {
    let mut engine = engine();
    let key = called(acquire(&mut engine, 0, "alice", 1, at(0)));
    let body = issued("tok", 60);
    completed(&mut engine, key, Answer::Http(200, Some(&body)), &at(4000));
    for (millis, held) in [(47_999, true), (48_000, false)] {
        let found = acquire(&mut engine, 0, "alice", 1, at(millis));
        assert_eq!(matches!(found, Acquired::Token { .. }), held, "{millis}");
    }
}

#[test]
fn no_more_than_so_many_requests_of_a_backend_wait() {
    let mut engine = engine();
    let most = MAX_WAITING_PER_BACKEND;
    let mut acquire = |backend: u32, user: u32| {
        acquire_for(
            &mut engine,
            backend,
            0,
            &format!("user-{user}"),
            user,
            at(0),
        )
    };
    let first = called(acquire(7, 0));
    for user in 1..most {
        called(acquire(7, user));
    }
    for user in [0, most] {
        let crowded = acquire(7, user);
        assert!(matches!(crowded, Acquired::Refuse(Stop::Crowded)));
    }
    assert!(
        matches!(acquire(8, 0), Acquired::Join(_)),
        "another backend"
    );
    engine.leave(&first, |waiter| *waiter == 0);
    let again = acquire_for(&mut engine, 7, 0, "user-0", 0, at(0));
    assert!(matches!(again, Acquired::Join(_)), "who left made room");
    completed(&mut engine, first, Answer::Reset, &at(1));
    assert_eq!(engine.waiting_of.get(&8), None);
    assert_eq!(engine.waiting_of.get(&7), Some(&(most - 1)));
}

#[test]
fn no_more_than_so_many_renewals_are_under_way() {
    let mut engine = engine();
    let users: Vec<String> = (0..MAX_RENEWALS + 10)
        .map(|n| format!("user-{n}"))
        .collect();
    for user in &users {
        let key = called(acquire(&mut engine, 0, user, 1, at(0)));
        let body = issued("tok", 1015);
        completed(&mut engine, key, Answer::Http(200, Some(&body)), &at(0));
    }
    let renewals: Vec<Key> = users
        .iter()
        .filter_map(|user| match acquire(&mut engine, 0, user, 1, at(900_000)) {
            Acquired::Token { renew, .. } => renew,
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(renewals.len(), MAX_RENEWALS);
    for key in renewals {
        let completion = completed(&mut engine, key, Answer::Reset, &at(900_001)).unwrap();
        assert!(completion.renewal && completion.waiting.is_empty());
    }
    assert_eq!(engine.renewals, 0);
}

#[test]
fn only_tokens_of_the_same_exchange_move_to_a_new_engine() {
    let mut old = engine();
    for exchange in [0, 1, 2] {
        let key = called(acquire(&mut old, exchange, "alice", 1, at(0)));
        let body = issued(&format!("tok-{exchange}"), 300);
        completed(&mut old, key, Answer::Http(200, Some(&body)), &at(0));
    }
    let mut new = engine_of(vec![exchange("c", "sts"), exchange("b", "sts")]);
    new.take_over(&mut old, &at(1));
    assert_eq!((new.held(), old.held()), (1, 2));
    called(acquire(&mut new, 0, "alice", 1, at(1)));
    let Acquired::Token { value, .. } = acquire(&mut new, 1, "alice", 1, at(1)) else {
        panic!("did not move");
    };
    assert_eq!(value.as_bytes(), b"Bearer tok-1");
}

/// An identity assertion for `audience`.
fn id_jag(audience: &str) -> String {
    use base64::Engine;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;
    let part = |text: &str| URL_SAFE_NO_PAD.encode(text);
    let claims = format!(r#"{{"aud":"{audience}"}}"#);
    let token = format!("{}.{}.c2ln", part(r#"{"alg":"ES256"}"#), part(&claims));
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
    assert_eq!(completion.step, Step::Second);
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
        assert_eq!(completion.step, Step::First);
        let refusal = completion.result.unwrap_err().refusal;
        assert_eq!(refusal, Refusal::ExchangeInvalidResponse);
    }
}

#[test]
fn an_endpoint_that_wants_to_be_left_alone_is() {
    let mut engine = engine();
    let key = called(acquire(&mut engine, 0, "alice", 1, at(0)));
    let answer = Answer::HttpLater(429, None, Duration::from_secs(30));
    let completion = completed(&mut engine, key, answer, &at(0)).unwrap();
    let refusal = completion.result.unwrap_err().refusal;
    assert_eq!(refusal, Refusal::ExchangeUnavailable { retry_after: 30 });
    let stopped = acquire(&mut engine, 1, "bob", 1, at(10_000));
    assert!(matches!(stopped, Acquired::Refuse(Stop::BreakerOpen(20))));
    called(acquire(&mut engine, 2, "bob", 1, at(10_000)));
    called(acquire(&mut engine, 1, "bob", 1, at(30_000)));
}

#[test]
fn a_client_that_is_refused_again_and_again_pauses_and_nobody_elses() {
    let mut engine = engine();
    let refuse = |engine: &mut Engine<u32>, user: &str, millis: u64| {
        let key = called(acquire(engine, 0, user, 1, at(millis)));
        let answer = Answer::Http(401, Some(br#"{"error":"invalid_client"}"#));
        completed(engine, key, answer, &at(millis)).unwrap()
    };
    for n in 0..5 {
        refuse(&mut engine, &format!("user-{n}"), 0);
    }
    let paused = acquire(&mut engine, 0, "alice", 1, at(999));
    assert!(matches!(paused, Acquired::Refuse(Stop::Paused)));
    called(acquire(&mut engine, 1, "alice", 1, at(999)));
    // One try, and then for twice as long.
    refuse(&mut engine, "alice", 1000);
    let paused = acquire(&mut engine, 0, "alice", 1, at(2999));
    assert!(matches!(paused, Acquired::Refuse(Stop::Paused)));
    let key = called(acquire(&mut engine, 0, "alice", 1, at(3000)));
    let body = issued("tok", 300);
    completed(&mut engine, key, Answer::Http(200, Some(&body)), &at(3000));
    called(acquire(&mut engine, 0, "bob", 1, at(3001)));
}

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
    let body = br#"{"access_token":"gho","token_type":"Bearer","issued_token_type":"urn:ietf:params:oauth:token-type:access_token"}"#;
    completed(&mut engine, key, Answer::Http(200, Some(body)), &at(0));
    let Acquired::Token { used, .. } = acquire(&mut engine, 0, "alice", 1, at(100)) else {
        panic!("not held");
    };
    assert!(engine.unauthorized(&used, &at(200)));
    let key = called(acquire(&mut engine, 0, "alice", 1, at(30_000)));
    let sent = outgoing(&engine, &key, at(30_000)).unwrap();
    let form = String::from_utf8(sent.body).unwrap();
    // SHA-256 of gho, in base64url.
    let expected = format!("&rejected_token_hash={}", sha256_base64url(b"gho"));
    assert!(form.ends_with(&expected), "{form}");
}

#[test]
fn an_actor_belongs_to_the_key_and_bounds_the_life() {
    let mut with_actor = exchange("a", "sts");
    with_actor.has_actor = true;
    with_actor.first.grant.actor_token_type = Some("urn:type".to_owned());
    let mut engine = engine_of(vec![with_actor]);
    let token = |text: &str| BearerToken::new(text.as_bytes().to_vec()).unwrap();
    let mut find = |subject: &str, actor: &str| {
        let actor = token(actor);
        match engine.find(
            ExchangeId(0),
            token(subject),
            Some(&actor),
            1,
            &|_| true,
            &at(0),
        ) {
            Found::Nothing(key) => key,
            other => panic!("{other:?}"),
        }
    };
    let keys = [
        find("ab", "c"),
        find("a", "bc"),
        find("abc", "x"),
        find("a", "b"),
    ];
    for (n, one) in keys.iter().enumerate() {
        for (m, other) in keys.iter().enumerate() {
            assert_eq!(one == other, n == m);
        }
    }
    assert_eq!(keys[0].tokens(true), (&b"ab"[..], Some(&b"c"[..])));
    assert!(matches!(
        engine.wait(&keys[0], 1, || 1, &at(0)),
        Waits::Calls
    ));
    let sent = outgoing(&engine, &keys[0], at(0)).unwrap();
    let form = String::from_utf8(sent.body).unwrap();
    assert!(form.contains("&subject_token=ab&"), "{form}");
    assert!(
        form.ends_with("&actor_token_type=urn%3Atype&actor_token=c"),
        "{form}"
    );
}

/// What can happen to an engine.
#[derive(Clone, Debug)]
enum Event {
    Request { exchange: u32, user: u8 },
    Answer { call: usize, kind: u8 },
    Leave(usize),
    Unauthorized(usize),
    Tick,
    Later(u64),
}

fn events() -> impl Strategy<Value = Vec<Event>> {
    let event = prop_oneof![
        6 => (0u32..3, 0u8..4).prop_map(|(exchange, user)| Event::Request { exchange, user }),
        4 => (any::<usize>(), 0u8..8).prop_map(|(call, kind)| Event::Answer { call, kind }),
        1 => any::<usize>().prop_map(Event::Leave),
        1 => any::<usize>().prop_map(Event::Unauthorized),
        1 => Just(Event::Tick),
        3 => (0u64..60_000).prop_map(Event::Later),
    ];
    vec(event, 1..150)
}

/// Each user's token at each exchange says whose it is.
fn token_of(exchange: u32, user: u8) -> String {
    format!("token-{exchange}-{user}")
}

proptest! {
    /// Whatever happens in whatever order: who waits is served exactly once, with the token of that
    /// user and exchange, or leaves; and no two calls for one key are under way at once.
    #[test]
    fn everyone_is_served_once_and_with_their_own(events in events()) {
        let mut engine = engine();
        let mut now = 0;
        let mut calls: Vec<(u32, u32, u8)> = Vec::new();
        let mut waiting: Map<u32, (Key, u32, u8)> = Map::new();
        let mut used = Vec::new();
        let (mut next_call, mut next_waiter) = (0, 0);
        for event in events {
            let mut completions = Vec::new();
            match event {
                Event::Later(millis) => now += millis,
                Event::Tick => completions = engine.tick(&at(now)),
                Event::Leave(which) => {
                    let mut waiters: Vec<u32> = waiting.keys().copied().collect();
                    waiters.sort_unstable();
                    if let Some(who) = waiters.get(which % waiters.len().max(1)) {
                        let (key, ..) = waiting.remove(who).unwrap();
                        engine.leave(&key, |waiter| waiter == who);
                    }
                }
                Event::Unauthorized(which) => {
                    if !used.is_empty() {
                        let last = used.len();
                        engine.unauthorized(&used[which % last], &at(now));
                    }
                }
                Event::Answer { call, kind } => {
                    if !calls.is_empty() {
                        let (id, exchange, user) = calls.remove(call % calls.len());
                        let body = issued(&token_of(exchange, user), u64::from(kind) * 60);
                        let answer = match kind {
                            0 => Answer::Reset,
                            1 => Answer::Http(503, None),
                            2 => Answer::Http(400, Some(br#"{"error":"invalid_grant"}"#)),
                            3 => Answer::Http(400, Some(br#"{"error":"access_denied"}"#)),
                            _ => Answer::Http(200, Some(&body)),
                        };
                        if let Answered::Done(completion) = engine.answered(id, answer, &at(now)) {
                            completions.push(completion);
                        }
                    }
                }
                Event::Request { exchange, user } => {
                    next_waiter += 1;
                    let subject = format!("user-{user}");
                    match acquire(&mut engine, exchange, &subject, next_waiter, at(now)) {
                        Acquired::Token { value, used: token, renew } => {
                            let expected = format!("Bearer {}", token_of(exchange, user));
                            prop_assert_eq!(value.as_bytes(), expected.as_bytes());
                            used.push(token);
                            if let Some(key) = renew {
                                next_call += 1;
                                engine.called(next_call, key);
                                calls.push((next_call, exchange, user));
                            }
                        }
                        Acquired::Join(key) => {
                            waiting.insert(next_waiter, (key, exchange, user));
                        }
                        Acquired::Call(key) => {
                            next_call += 1;
                            engine.called(next_call, key.clone());
                            calls.push((next_call, exchange, user));
                            waiting.insert(next_waiter, (key, exchange, user));
                        }
                        Acquired::Refuse(_) => {}
                    }
                }
            }
            for completion in completions {
                for waiter in completion.waiting {
                    let (_, exchange, user) = waiting.remove(&waiter).expect("served twice");
                    prop_assert_eq!(completion.exchange, ExchangeId(exchange));
                    if let Ok(obtained) = &completion.result {
                        let expected = format!("Bearer {}", token_of(exchange, user));
                        prop_assert_eq!(obtained.value.as_bytes(), expected.as_bytes());
                    }
                }
            }
            prop_assert_eq!(engine.waiting, waiting.len());
            let keys: HashSet<&Key> = engine.calls.values().collect();
            prop_assert_eq!(keys.len(), engine.calls.len(), "two calls for one key");
            prop_assert_eq!(engine.calls.len(), engine.flights.len());
            let renewals = engine.flights.values().filter(|flight| flight.renewal).count();
            prop_assert_eq!(engine.renewals, renewals);
        }
        // In the end the tick leaves nobody waiting.
        for completion in engine.tick(&at(now + 10_000)) {
            completion.waiting.iter().for_each(|waiter| {
                waiting.remove(waiter);
            });
        }
        prop_assert!(waiting.is_empty() && engine.flights.is_empty() && engine.calls.is_empty());
    }
}
