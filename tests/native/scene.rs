//! What the tests of obtained tokens have in common: a backend, the STS of its tokens, and its users.

use crate::host::{Answer, Envoy, Plugin, Request, Stream};
use serde_json::{Value, json};

/// One backend, `api`, whose tokens come from the STS at `corp-sts`, which knows this client.
pub fn configuration(settings: &Value) -> Value {
    let block = json!({
        "tokenUrl": "https://sts.example.com/token",
        "cluster": "corp-sts",
        "subjectProviderName": "corp",
        "clientId": "envoy",
        "clientSecret": "CANARY-secret",
        "audience": "api",
    });
    let strategy = json!({"type": "token_exchange", "tokenExchange": with(block, settings)});
    json!({
        "authServer": {"runConfig": {"upstreams": [{"name": "corp"}]}},
        "outgoingAuth": {"backends": {"api": strategy}},
    })
}

/// `block` with other or more settings.
pub fn with(mut block: Value, settings: &Value) -> Value {
    for (key, value) in settings.as_object().unwrap() {
        block[key] = value.clone();
    }
    block
}

/// A request of `user` to `api`.
pub fn of(user: &str) -> Request {
    to("api", user)
}

pub fn to(backend: &str, user: &str) -> Request {
    let tokens = json!({"corp": format!("CANARY-{user}")});
    Request::to(backend).authenticated().tokens(&tokens)
}

/// Has `user` hold `token` from now on, for `seconds`.
pub fn obtain(envoy: &Envoy, plugin: Plugin, user: &str, token: &str, seconds: u64) {
    let stream = plugin.request(&of(user));
    envoy.call().answer(&Answer::token(token, seconds));
    assert_went_on_with(stream, token);
    stream.end();
}

#[track_caller]
pub fn assert_went_on_with(stream: Stream, token: &str) {
    let expected = format!("Bearer {token}");
    assert_eq!(stream.received("authorization"), [expected]);
}

/// Asserts that `user` is served from the cache, whichever worker has filled it.
#[track_caller]
pub fn assert_cached(envoy: &Envoy, plugin: Plugin, user: &str, token: &str) {
    let stream = plugin.request(&of(user));
    assert_went_on_with(stream, token);
    assert!(
        envoy.calls().is_empty(),
        "a call, although the token is cached"
    );
    stream.end_with(200, "via_upstream");
}
