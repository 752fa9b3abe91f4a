//! What the backend sees under each strategy.

use crate::host::{Answer, Outcome, Request, TH_JWT, status, worker};
use serde_json::{Value, json};
use std::time::Duration;

/// One backend of each strategy.
pub fn configuration() -> Value {
    json!({
        "authServer": {"runConfig": {"upstreams": [{"name": "github"}, {"name": "corporate-idp"}]}},
        "outgoingAuth": {"backends": {
            "open": {"type": "unauthenticated"},
            "github-tools": {
                "type": "upstream_inject",
                "upstreamInject": {"providerName": "github"},
            },
            "internal-api": {
                "type": "header_injection",
                "headerInjection": {"headerName": "X-API-Key", "headerValue": "CANARY-key"},
            },
            "basic-api": {
                "type": "header_injection",
                "headerInjection": {"headerName": "Authorization", "headerValue": "Basic CANARY"},
            },
            "corporate-api": {
                "type": "token_exchange",
                "tokenExchange": {
                    "tokenUrl": "https://sts.example.com/token",
                    "cluster": "corp-sts",
                    "subjectProviderName": "corporate-idp",
                },
            },
        }},
    })
}

#[test]
fn each_backend_sees_its_own_credential_and_no_other() {
    worker(|envoy| {
        let plugin = envoy.plugin(&configuration());
        let tokens = json!({"github": "CANARY-gho", "corporate-idp": "CANARY-corp"});
        for (backend, authorization, key) in [
            ("open", None, None),
            ("github-tools", Some("Bearer CANARY-gho"), None),
            ("internal-api", None, Some("CANARY-key")),
            ("basic-api", Some("Basic CANARY"), None),
        ] {
            for inbound in [
                vec![],
                vec![format!("Bearer {TH_JWT}")],
                vec![format!("Bearer {TH_JWT}"), format!("Bearer {TH_JWT}")],
                vec![format!("Basic {TH_JWT}"), "nonsense".to_owned()],
            ] {
                let mut request = Request::to(backend)
                    .tokens(&tokens)
                    .field("x-api-key", "the client's own")
                    .field("x-other", "stays");
                for value in inbound {
                    request = request.field("authorization", value);
                }
                let stream = plugin.request(&request);
                assert_eq!(stream.outcome(), Outcome::WentOn, "{backend}");
                let expected: Vec<&str> = authorization.into_iter().collect();
                assert_eq!(stream.received("authorization"), expected, "{backend}");
                let expected: Vec<&str> = key.into_iter().collect();
                assert_eq!(stream.received("x-api-key"), expected, "{backend}");
                assert_eq!(stream.received("x-other"), ["stays"]);
                assert_eq!(stream.filter_state(), Default::default());
                stream.end_with(200, "via_upstream");
            }
        }
    });
}

/// Where a strategy would refuse the request or exchange a token: a health check has no user. What
/// needs none is sent on health checks too, and so is a token that was left beside the marker.
#[test]
fn a_health_check_goes_on_without_a_credential_that_only_a_user_has() {
    worker(|envoy| {
        let plugin = envoy.plugin(&configuration());
        let marked = |tokens: Value| json!({"health_check": true, "upstream_tokens": tokens});
        let (nobody, corporate) = (json!({}), json!({"corporate-idp": "CANARY-corp"}));
        for (backend, tokens, authorization, key, outcome) in [
            ("open", &nobody, None, None, "unauthenticated"),
            ("github-tools", &nobody, None, None, "health_check"),
            ("github-tools", &corporate, None, None, "health_check"),
            // Nobody has identified it.
            ("internal-api", &nobody, None, None, "health_check"),
            (
                "internal-api",
                &corporate,
                None,
                Some("CANARY-key"),
                "header_injected",
            ),
            (
                "basic-api",
                &corporate,
                Some("Basic CANARY"),
                None,
                "header_injected",
            ),
            ("corporate-api", &corporate, None, None, "health_check"),
            ("not-listed", &corporate, None, None, "health_check"),
        ] {
            let request = Request::to(backend)
                .authenticated()
                .field("x-api-key", "the client's own")
                .identity(marked(tokens.clone()));
            let counter = format!("upstream_inject.backend.{backend}.{outcome}");
            let before = envoy.metric(&counter);
            let stream = plugin.request(&request);
            let expected: Vec<&str> = authorization.into_iter().collect();
            assert_eq!(stream.received("authorization"), expected, "{backend}");
            let expected: Vec<&str> = key.into_iter().collect();
            assert_eq!(stream.received("x-api-key"), expected, "{backend}");
            plugin.tick();
            assert_eq!(envoy.metric(&counter), before + 1, "{counter}");
        }
        assert!(envoy.calls().is_empty(), "a health check costs no exchange");
        let with_a_token = marked(json!({"github": "CANARY-gho"}));
        let stream = plugin.request(&Request::to("github-tools").identity(with_a_token));
        assert_eq!(stream.received("authorization"), ["Bearer CANARY-gho"]);
    });
}

#[test]
fn nothing_but_boolean_true_in_the_identity_marks_a_health_check() {
    worker(|envoy| {
        let plugin = envoy.plugin(&configuration());
        for marker in [
            json!(false),
            json!("true"),
            json!("\u{1}"),
            json!(1),
            json!(null),
            json!([true]),
            json!({"health_check": true}),
            json!({}),
        ] {
            let request = Request::to("github-tools")
                .authenticated()
                .field("health_check", "true")
                .field("x-envoy-health-check", "true")
                .identity(json!({"health_check": marker}));
            let (status, code) = plugin.request(&request).refusal();
            assert_eq!(
                (status, &*code),
                (401, "upstream_token_not_found"),
                "{marker}"
            );
        }
        let elsewhere = json!({
            "other": {"health_check": true},
            "envoy.filters.http.ext_authz": {"upstream_tokens": {"health_check": true}},
        });
        let request = Request::to("github-tools").metadata(elsewhere);
        assert_eq!(plugin.request(&request).refusal().0, 401);
    });
}

#[test]
fn what_envoy_answers_itself_goes_on_without_any_credential() {
    worker(|envoy| {
        for default in [Value::Null, json!({"type": "unauthenticated"})] {
            let mut configuration = configuration();
            configuration["outgoingAuth"]["default"] = default;
            let plugin = envoy.plugin(&configuration);
            let request = Request::nowhere().authenticated();
            let stream = plugin.request(&request.field("x-api-key", "CANARY of another"));
            assert_eq!(stream.received("authorization"), [""; 0]);
            assert_eq!(stream.received("x-api-key"), [""; 0]);
            plugin.tick();
            let counted = envoy.metrics();
            assert!(counted.is_empty(), "it has no backend: {counted:?}");
        }
    });
}

#[test]
fn a_credential_that_cannot_be_set_is_not_replaced_by_the_clients_own() {
    worker(|envoy| {
        let plugin = envoy.plugin(&configuration());
        let request = |backend| {
            Request::to(backend)
                .authenticated()
                .tokens(&json!({"github": "CANARY-gho"}))
        };
        for (function, backend) in [
            ("replace_header", "github-tools"),
            ("replace_header", "internal-api"),
            ("remove_header", "internal-api"),
            ("remove_header", "open"),
        ] {
            envoy.fails(function, Some(status::INTERNAL_FAILURE));
            let stream = plugin.request(&request(backend));
            assert_eq!(stream.reply().status, 500, "{function} {backend}");
            envoy.fails(function, None);
            let stream = plugin.request(&request(backend));
            assert_eq!(stream.outcome(), Outcome::WentOn, "{function} {backend}");
        }
        envoy.fails("remove_header", Some(status::INTERNAL_FAILURE));
        let stream = plugin.request(&Request::nowhere().authenticated());
        assert_ne!(stream.outcome(), Outcome::WentOn);
        envoy.fails("remove_header", None);
    });
}

#[test]
fn two_users_on_one_connection_get_their_own_tokens() {
    worker(|envoy| {
        let plugin = envoy.plugin(&configuration());
        let of = |user: usize| {
            let tokens = json!({"github": format!("CANARY-gho-{user}")});
            Request::to("github-tools").authenticated().tokens(&tokens)
        };
        let streams: Vec<_> = (0..50).map(|user| plugin.arrive(&of(user))).collect();
        for (user, stream) in streams.iter().enumerate().rev() {
            stream.headers();
            let expected = format!("Bearer CANARY-gho-{user}");
            assert_eq!(stream.received("authorization"), [expected]);
        }
    });
}

/// Whoever has left the tokens: with the identity by exchange, the strategy has not looked for the
/// marker where the identity is in hand.
#[test]
fn nobody_is_asked_for_a_health_check_whose_identity_is_in_hand() {
    let configuration = json!({
        "authServer": {"runConfig": {"upstreams": [{"name": "github"}]}},
        "outgoingAuth": {"backends": {
            "tools": {"type": "upstream_inject", "upstreamInject": {"providerName": "github"}},
            "api": {"type": "token_exchange", "tokenExchange": {
                "tokenUrl": "https://sts.example.com/token",
                "subjectProviderName": "github",
            }},
        }},
        "identity": {"source": "exchange", "exchange": {
            "tokenUrl": "http://localhost:9193/token",
            "maxAge": "1h",
        }},
    });
    worker(|envoy| {
        let plugin = envoy.plugin(&configuration);
        let payload = json!({"th_jwt": {"iss": "https://as"}});
        let user = |backend| {
            let request = Request::to(backend).through_the_door();
            request.metadata(json!({"envoy.filters.http.jwt_authn": payload}))
        };
        let probe = || {
            let marker = json!({"health_check": true});
            let request = Request::to("api").through_the_door().authenticated();
            request.metadata(json!({
                "envoy.filters.http.jwt_authn": payload,
                "envoy.filters.http.ext_authz": marker,
            }))
        };
        let goes_on_bare = || {
            let stream = plugin.request(&probe());
            assert_eq!(stream.outcome(), Outcome::WentOn);
            assert_eq!(stream.received("authorization"), [""; 0]);
            assert!(envoy.calls().is_empty());
        };
        plugin.request(&user("tools"));
        envoy.call().answer(&Answer::token("CANARY-gho", 3600));
        goes_on_bare();
        // Nor is it refused, because the user was a moment ago.
        let stream = plugin.request(&user("api"));
        envoy.call().answer(&Answer::error(400, "invalid_grant"));
        assert_eq!(stream.refusal().1, "token_exchange_rejected");
        goes_on_bare();
        // Nor is the user's token renewed for it.
        envoy.advance(Duration::from_secs(11));
        plugin.request(&user("api"));
        envoy
            .call()
            .answer(&Answer::token("CANARY-exchanged", 1015));
        envoy.advance(Duration::from_secs(850));
        plugin.request(&probe());
        assert!(envoy.calls().is_empty());
        plugin.request(&user("api"));
        assert_eq!(envoy.calls().len(), 1);
        plugin.tick();
        let counted = envoy.metric("upstream_inject.backend.api.health_check");
        assert_eq!(counted, 2, "those that went on bare");
    });
}
