//! `xaa`: two calls in a row, and what may come between them.

use crate::host::{
    Answer, Call, Envoy, Outcome, Plugin, Request, SharedData, Stream, worker, worker_of,
};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use std::time::Duration;

const PARTNER: &str = "https://as.partner.example";
const RESOURCE: &str = "https://mcp.partner.example/mcp";
const STATS: &str = "upstream_inject.sts.partner-app.";
const MIB: usize = 1024 * 1024;

fn configuration() -> Value {
    json!({
        "authServer": {"runConfig": {"upstreams": [{"name": "corp"}]}},
        "outgoingAuth": {"backends": {"partner-app": {"type": "xaa", "xaa": {
            "idpTokenUrl": "https://idp.example.com/token",
            "idpCluster": "idp",
            "idpClientId": "corp-login",
            "idpClientSecret": "CANARY-idp",
            "targetTokenUrl": "https://as.partner.example/token",
            "targetCluster": "partner",
            "targetClientId": "envoy-at-partner",
            "targetClientSecret": "CANARY-target",
            "targetAudience": PARTNER,
            "targetResource": RESOURCE,
            "scopes": ["files.read"],
            "subjectProviderName": "corp",
        }}}},
    })
}

fn of(user: &str) -> Request {
    let id_tokens = json!({"corp": format!("CANARY-id-token-of-{user}")});
    Request::to("partner-app")
        .authenticated()
        .identity(json!({"upstream_id_tokens": id_tokens}))
}

/// A JWT with these claims, which nobody here verifies.
fn jwt(claims: &Value) -> String {
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let header = json!({"alg": "ES256", "typ": "oauth-id-jag+jwt"});
    format!("{}.{}.CANARY-signature", part(&header), part(claims))
}

fn assertion() -> String {
    jwt(&json!({"aud": PARTNER, "resource": RESOURCE}))
}

/// The identity provider's answer with this assertion; `over` replaces members, `null` takes one out.
fn issued(assertion: &str, over: &Value) -> Answer {
    let mut body = json!({
        "access_token": assertion,
        "issued_token_type": "urn:ietf:params:oauth:token-type:id-jag",
        "token_type": "N_A",
        "expires_in": 300,
    });
    for (name, value) in over.as_object().unwrap() {
        match value {
            Value::Null => drop(body.as_object_mut().unwrap().remove(name)),
            value => body[name] = value.clone(),
        }
    }
    Answer::json(200, &body)
}

/// The partner's answer, which says nothing of the token's type.
fn token(token: &str) -> Answer {
    Answer::json(
        200,
        &json!({"access_token": token, "token_type": "Bearer", "expires_in": 300}),
    )
}

/// A request that waits for its first call, at the identity provider.
#[track_caller]
fn asks(envoy: &Envoy, plugin: Plugin, user: &str) -> (Stream, Call) {
    let stream = plugin.request(&of(user));
    assert_eq!(stream.outcome(), Outcome::Waits);
    let call = envoy.call();
    assert_eq!(call.sent.cluster, "idp");
    (stream, call)
}

/// The call at the partner, once the identity provider has answered `call` as it should.
#[track_caller]
fn goes_on(envoy: &Envoy, call: &Call) -> Call {
    call.answer(&issued(&assertion(), &json!({})));
    let call = envoy.call();
    assert_eq!(call.sent.cluster, "partner");
    call
}

#[test]
fn each_call_has_its_own_form_and_credential_and_the_backend_sees_the_last_token() {
    worker(|envoy| {
        let plugin = envoy.plugin(&configuration());
        let (stream, call) = asks(envoy, plugin, "alice");
        for (name, value) in [
            (
                "grant_type",
                "urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Atoken-exchange",
            ),
            ("subject_token", "CANARY-id-token-of-alice"),
            (
                "subject_token_type",
                "urn%3Aietf%3Aparams%3Aoauth%3Atoken-type%3Aid_token",
            ),
            (
                "requested_token_type",
                "urn%3Aietf%3Aparams%3Aoauth%3Atoken-type%3Aid-jag",
            ),
            ("audience", "https%3A%2F%2Fas.partner.example"),
            ("resource", "https%3A%2F%2Fmcp.partner.example%2Fmcp"),
            ("scope", "files.read"),
        ] {
            assert_eq!(call.parameter(name), Some(value), "{name}");
        }
        let second = goes_on(envoy, &call);
        assert_eq!(
            second.parameter("grant_type"),
            Some("urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Ajwt-bearer")
        );
        assert_eq!(second.parameter("assertion"), Some(&*assertion()));
        assert_eq!(second.parameter("scope"), Some("files.read"));
        assert_eq!(second.parameter("subject_token"), None);
        let credential = |call: &Call| {
            let fields = call.sent.headers.iter();
            fields
                .filter(|(name, _)| name == "authorization")
                .map(|(_, value)| value.clone())
                .collect::<Vec<_>>()
        };
        assert_eq!(credential(&call).len(), 1);
        assert_eq!(credential(&second).len(), 1);
        assert_ne!(credential(&call), credential(&second));
        second.answer(&token("CANARY-partners"));
        assert_eq!(stream.received("authorization"), ["Bearer CANARY-partners"]);
        stream.end();

        let again = plugin.request(&of("alice"));
        assert_eq!(again.received("authorization"), ["Bearer CANARY-partners"]);
        assert!(envoy.calls().is_empty(), "a call, although it is cached");
    });
}

#[test]
fn what_is_no_assertion_for_the_partner_goes_nowhere() {
    let good = assertion();
    let access_token = "urn:ietf:params:oauth:token-type:access_token";
    let huge = format!("{good}{}", "x".repeat(MIB));
    let wrong_claims = |claims: Value| issued(&jwt(&claims), &json!({}));
    for (what, answer) in [
        (
            "a plain access token",
            issued(
                "CANARY-plain",
                &json!({"issued_token_type": access_token, "token_type": "Bearer"}),
            ),
        ),
        (
            "the type of an access token",
            issued(&good, &json!({"issued_token_type": access_token})),
        ),
        (
            "no type",
            issued(&good, &json!({"issued_token_type": null})),
        ),
        (
            "a bearer token",
            issued(&good, &json!({"token_type": "Bearer"})),
        ),
        (
            "for another server",
            wrong_claims(json!({"aud": "https://evil.example", "resource": RESOURCE})),
        ),
        (
            "for two servers",
            wrong_claims(json!({"aud": [PARTNER, "https://evil.example"], "resource": RESOURCE})),
        ),
        ("for nobody", wrong_claims(json!({"resource": RESOURCE}))),
        (
            "for another resource",
            wrong_claims(json!({"aud": PARTNER, "resource": "https://other.example"})),
        ),
        ("for no resource", wrong_claims(json!({"aud": PARTNER}))),
        ("no JWT", issued("CANARY-opaque", &json!({}))),
        (
            "two parts of a JWT",
            issued(good.rsplit_once('.').unwrap().0, &json!({})),
        ),
        ("no JSON in it", issued("CANARY.bm8.c2ln", &json!({}))),
        ("a mebibyte", issued(&huge, &json!({}))),
        ("nothing", issued("", &json!({}))),
        (
            "an error",
            Answer::json(200, &json!({"error": "invalid_grant"})),
        ),
    ] {
        worker(|envoy| {
            let plugin = envoy.plugin(&configuration());
            let (stream, call) = asks(envoy, plugin, "alice");
            call.answer(&answer);
            assert_eq!(
                stream.refusal(),
                (502, "token_exchange_invalid_response".to_owned()),
                "{what}"
            );
            assert!(envoy.calls().is_empty(), "{what} went to the partner");
            let warnings = envoy.warnings();
            assert!(warnings[0].contains("(idp)"), "{what}: {warnings:?}");
            plugin.tick();
            assert_eq!(envoy.metric(&format!("{STATS}invalid_response")), 1);
        });
    }
}

#[test]
fn who_refuses_is_named_in_the_log() {
    worker(|envoy| {
        let plugin = envoy.plugin(&configuration());
        let (stream, call) = asks(envoy, plugin, "alice");
        call.answer(&Answer::error(400, "invalid_grant"));
        assert_eq!(
            stream.refusal(),
            (401, "token_exchange_rejected".to_owned())
        );
        assert!(envoy.calls().is_empty());
        let warnings = envoy.warnings();
        assert!(warnings[0].contains("(idp)"), "{warnings:?}");
    });
    for (word, refusal) in [
        ("invalid_grant", (401, "token_exchange_rejected")),
        ("invalid_scope", (403, "token_exchange_forbidden")),
        ("invalid_client", (502, "token_exchange_misconfigured")),
        // RFC 7521: what is wrong with an assertion is `invalid_grant`.
        ("invalid_request", (502, "token_exchange_misconfigured")),
    ] {
        worker(|envoy| {
            let plugin = envoy.plugin(&configuration());
            let (stream, call) = asks(envoy, plugin, "alice");
            goes_on(envoy, &call).answer(&Answer::error(400, word));
            assert_eq!(
                stream.refusal(),
                (refusal.0, refusal.1.to_owned()),
                "{word}"
            );
            let warnings = envoy.warnings();
            assert!(warnings[0].contains("(target)"), "{word}: {warnings:?}");
            assert!(warnings[0].contains(word), "{word}: {warnings:?}");
        });
    }
}

/// Also where nobody has asked this time.
#[test]
fn who_has_refused_before_is_named_in_the_log() {
    for (word, refusal, result) in [
        (
            "invalid_grant",
            (401, "token_exchange_rejected"),
            "negative_hit",
        ),
        (
            "invalid_client",
            (502, "token_exchange_misconfigured"),
            "breaker_open",
        ),
    ] {
        for at_target in [false, true] {
            let shared = SharedData::default();
            worker_of(&shared, |envoy| {
                let plugin = envoy.plugin(&configuration());
                for n in 0..5 {
                    // One line a second: the next one is to be written.
                    if n == 4 {
                        envoy.advance(Duration::from_millis(500));
                    }
                    let user = match word {
                        "invalid_grant" => format!("user-{n}"),
                        _ => "alice".to_owned(),
                    };
                    let (stream, mut call) = asks(envoy, plugin, &user);
                    if at_target {
                        call = goes_on(envoy, &call);
                    }
                    call.answer(&Answer::error(400, word));
                    stream.end();
                }
                let who = if at_target { "(target)" } else { "(idp)" };
                let expect_refused = |envoy: &Envoy, plugin: Plugin| {
                    envoy.warnings();
                    let stream = plugin.request(&of(match word {
                        "invalid_grant" => "user-4",
                        _ => "alice",
                    }));
                    assert_eq!(stream.refusal(), (refusal.0, refusal.1.to_owned()));
                    assert!(envoy.calls().is_empty());
                    let warnings = envoy.warnings();
                    assert!(warnings[0].contains(who), "{word}: {warnings:?}");
                    plugin.tick();
                    assert_eq!(envoy.metric(&format!("{STATS}{result}")), 1);
                };
                envoy.advance(Duration::from_millis(700));
                expect_refused(envoy, plugin);
                // Refusals of a subject are known to the other workers.
                if word == "invalid_grant" {
                    worker_of(&shared, |other| {
                        let plugin = other.plugin(&configuration());
                        expect_refused(other, plugin);
                    });
                }
            });
        }
    }
}

#[test]
fn an_open_breaker_at_the_partner_is_the_partners() {
    worker(|envoy| {
        let plugin = envoy.plugin(&configuration());
        for n in 0..5 {
            if n == 4 {
                envoy.advance(Duration::from_millis(500));
            }
            let (stream, call) = asks(envoy, plugin, &format!("user-{n}"));
            goes_on(envoy, &call).answer(&Answer::new(503, ""));
            stream.end();
        }
        envoy.advance(Duration::from_millis(700));
        envoy.warnings();
        let (stream, call) = asks(envoy, plugin, "alice");
        call.answer(&issued(&assertion(), &json!({})));
        let refusal = (503, "token_exchange_unavailable".to_owned());
        assert_eq!(stream.refusal(), refusal);
        assert!(envoy.calls().is_empty());
        let warnings = envoy.warnings();
        assert!(warnings[0].contains("(target)"), "{warnings:?}");
        assert!(warnings[0].contains("the breaker of its endpoint is open"));
        plugin.tick();
        assert_eq!(envoy.metric(&format!("{STATS}breaker_open")), 1);
        assert_eq!(envoy.metric(&format!("{STATS}unavailable")), 5);
    });
}

/// The first call has been answered: it is the partner that wants to be left alone for so long.
#[test]
fn a_client_hears_how_long_the_partners_breaker_stays_open() {
    worker(|envoy| {
        let plugin = envoy.plugin(&configuration());
        let fails = |user: &str| {
            let (stream, call) = asks(envoy, plugin, user);
            goes_on(envoy, &call).answer(&Answer::new(503, ""));
            stream.end();
        };
        (0..5).for_each(|n| fails(&format!("user-{n}")));
        envoy.advance(Duration::from_secs(1));
        // What fails here is a probe, which doubles the pause.
        fails("bob");
        let (stream, call) = asks(envoy, plugin, "alice");
        call.answer(&issued(&assertion(), &json!({})));
        assert!(envoy.calls().is_empty());
        assert_eq!(stream.reply().headers["retry-after"], "2");
    });
}

/// An ID token is of a login some time ago: it says something of the partner's token only where the
/// partner says nothing.
#[test]
fn the_id_tokens_end_counts_only_where_the_partner_states_none() {
    let now = worker(|envoy| envoy.now());
    let id_tokens = json!({"corp": jwt(&json!({"exp": now + 60}))});
    let request = Request::to("partner-app")
        .authenticated()
        .identity(json!({"upstream_id_tokens": id_tokens}));
    let partners = jwt(&json!({"exp": now + 300}));
    let unstated = json!({"access_token": partners, "token_type": "Bearer"});
    let mut stated = unstated.clone();
    stated["expires_in"] = json!(300);
    for (answer, asks_again) in [(stated, false), (unstated, true)] {
        worker(|envoy| {
            let plugin = envoy.plugin(&configuration());
            let stream = plugin.request(&request);
            goes_on(envoy, &envoy.call()).answer(&Answer::json(200, &answer));
            let received = stream.received("authorization");
            assert_eq!(received, [format!("Bearer {partners}")]);
            envoy.advance(Duration::from_secs(100));
            let waits = plugin.request(&request).outcome() == Outcome::Waits;
            assert_eq!(waits, asks_again, "{answer}");
        });
    }
}

/// The second call is made for whoever else waits, and what it brings is kept for the next.
#[test]
fn a_client_that_leaves_between_the_calls_hurts_nobody() {
    worker(|envoy| {
        let plugin = envoy.plugin(&configuration());
        let (first, call) = asks(envoy, plugin, "alice");
        let other = plugin.request(&of("alice"));
        let second = goes_on(envoy, &call);
        first.end();
        second.answer(&token("CANARY-partners"));
        assert_eq!(other.received("authorization"), ["Bearer CANARY-partners"]);
    });
    worker(|envoy| {
        let plugin = envoy.plugin(&configuration());
        let (only, call) = asks(envoy, plugin, "alice");
        let second = goes_on(envoy, &call);
        only.end();
        second.answer(&token("CANARY-partners"));
        let next = plugin.request(&of("alice"));
        assert_eq!(next.received("authorization"), ["Bearer CANARY-partners"]);
        assert!(envoy.calls().is_empty());
    });
}

#[test]
fn users_share_nothing() {
    worker(|envoy| {
        let plugin = envoy.plugin(&configuration());
        for user in ["alice", "bob"] {
            let (stream, call) = asks(envoy, plugin, user);
            goes_on(envoy, &call).answer(&token(&format!("CANARY-of-{user}")));
            assert_eq!(
                stream.received("authorization"),
                [format!("Bearer CANARY-of-{user}")]
            );
        }
    });
}
