//! What the engine does with requests, calls and their answers, step by step on a clock of its own.

mod any_order;
mod calls;
mod elsewhere;
mod failures;
mod identity;
mod stopped;
mod tokens;
mod two_calls;
mod waiting;

use super::super::ClientAuth;
use super::super::client::Signer;
use super::super::client::key::SigningKey;
use super::super::grant::{self, IssuedType};
use super::super::settings::TokenCall;
use super::*;
use crate::refusal::Refusal;
use crate::time::Clocks;

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

/// A JWT with these claims.
fn jwt(claims: &str) -> String {
    use base64::Engine;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;
    let part = |text: &str| URL_SAFE_NO_PAD.encode(text);
    format!("{}.{}.c2ln", part(r#"{"alg":"ES256"}"#), part(claims))
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

/// The renewal that a request of `user`, which goes on with its token, is told to start.
#[track_caller]
fn renewal(engine: &mut Engine<u32>, user: &str, millis: u64) -> Option<Key> {
    match acquire(engine, 0, user, 1, at(millis)) {
        Acquired::Token { renew, .. } => renew,
        other => panic!("{other:?}"),
    }
}

/// Opens the breaker of the endpoint of `exchange`.
fn break_off(engine: &mut Engine<u32>, exchange: u32, millis: u64) {
    for n in 0..5 {
        let user = format!("user-{n}");
        let key = called(acquire(engine, exchange, &user, 1, at(millis)));
        completed(engine, key, Answer::Reset, &at(millis));
    }
}

/// The key of a call that is to be made.
fn called(acquired: Acquired) -> Key {
    match acquired {
        Acquired::Call(key) => key,
        other => panic!("{other:?}"),
    }
}
