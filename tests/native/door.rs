//! The door: the TH-JWT leaves the request at the router, and lies in the filter state for strategies
//! that need it. What is in `authorization` where the filter stands may be a credential of its own.

use crate::host::{Answer, Level, Outcome, Request, Stream, TH_JWT, status, worker};
use serde_json::{Value, json};

/// Two backends: `api`, for which the TH-JWT is exchanged, and `tools`, which wants a user's token.
fn configuration(token_from: &str) -> Value {
    json!({
        "authServer": {"runConfig": {"upstreams": [{"name": "github"}]}},
        "outgoingAuth": {"backends": {
            "api": {
                "type": "token_exchange",
                "tokenExchange": {"tokenUrl": "https://sts.example.com/token", "cluster": "sts"},
            },
            "tools": {"type": "upstream_inject", "upstreamInject": {"providerName": "github"}},
        }},
        "identity": {"tokenFrom": token_from},
    })
}

const FILTER_STATE: &str = "filter_state";
const AUTHORIZATION: &str = "authorization";

#[test]
fn the_subject_is_what_the_door_has_kept_and_nothing_in_a_header() {
    worker(|envoy| {
        let plugin = envoy.plugin(&configuration(FILTER_STATE));
        let stream = plugin.request(
            &Request::to("api")
                .through_the_door()
                .field(AUTHORIZATION, "Bearer CANARY-of-the-client"),
        );
        let call = envoy.call();
        assert_eq!(call.parameter("subject_token"), Some(TH_JWT));
        call.answer(&Answer::token("CANARY-exchanged", 300));
        assert_eq!(stream.received(AUTHORIZATION), ["Bearer CANARY-exchanged"]);
        let refused = plugin.request(&Request::to("api").authenticated());
        assert_eq!(refused.refusal(), (401, "subject_token_missing".to_owned()));
    });
}

#[test]
fn what_is_kept_is_judged_like_the_header() {
    worker(|envoy| {
        let plugin = envoy.plugin(&configuration(FILTER_STATE));
        let (one, two) = (
            format!("Bearer {TH_JWT}"),
            format!("Bearer {TH_JWT},Bearer {TH_JWT}"),
        );
        let long = format!("Bearer {}", "a".repeat(15_000));
        for (kept, counts) in [
            (&*one, true),
            ("bEARER CANARY", true),
            ("Bearer   CANARY", true),
            (&long, true),
            // What Envoy writes for nothing.
            ("-", false),
            ("Bearer -", false),
            ("", false),
            ("CANARY", false),
            ("Basic CANARY", false),
            ("Bearer", false),
            ("Bearer ", false),
            ("Bearer CANARY CANARY", false),
            ("Bearer tökén", false),
            (&two, false),
        ] {
            let stream = plugin.request(&Request::to("api").kept(kept));
            match counts {
                true => assert_eq!(stream.outcome(), Outcome::Waits, "{kept:.20}"),
                false => assert_eq!(stream.refusal().1, "subject_token_missing", "{kept:.20}"),
            }
            stream.end();
        }
    });
}

/// Or one good token would be many subjects, each another call.
#[test]
fn a_signature_that_was_checked_has_one_spelling() {
    worker(|envoy| {
        let plugin = envoy.plugin(&configuration(FILTER_STATE));
        let payload = json!({"envoy.filters.http.jwt_authn": {"th_jwt": {"iss": "https://as"}}});
        for (token, is_one) in [
            ("eyJ.eyJ.CANARYsignatureg", true),
            ("eyJ.eyJ.CANARYsignatureA", true),
            ("eyJ.eyJ.CANARYsignatuA", true),
            ("eyJ.eyJ.CANARYsignatuB", false),
            ("eyJ.eyJ.CANARYsignaturQB", true),
            ("eyJ.eyJ.CANARYsignatureQAB", false),
            ("CANARY.not.aB", true),
            ("CANARY-opaque", true),
            // A prefix of `jwt_authn` that ends without a blank is found behind anything.
            ("x.Bearer.eyJ.eyJ.CANARYsignatureg", false),
            ("x.Bearer~eyJ.eyJ.CANARYsignatureg", false),
            ("eyJ.key.iv.CANARY.tag", false),
        ] {
            let request = Request::to("api").kept(&format!("Bearer {token}"));
            let stream = plugin.request(&request.clone().metadata(payload.clone()));
            match is_one {
                true => assert_eq!(stream.outcome(), Outcome::Waits, "{token}"),
                false => assert_eq!(stream.refusal().1, "subject_token_missing", "{token}"),
            }
            stream.end();
            // Whose signature nobody has looked at, may have any.
            let stream = plugin.request(&request);
            assert_eq!(stream.outcome(), Outcome::Waits, "{token}");
            stream.end();
        }
    });
}

#[test]
fn no_backend_gets_the_identity_token_from_an_sts_that_hands_it_back() {
    let endpoint = json!({"tokenUrl": "https://sts.example.com/token", "cluster": "sts"});
    let with = |more: Value| {
        let mut block = endpoint.clone();
        for (key, value) in more.as_object().unwrap() {
            block[key] = value.clone();
        }
        block
    };
    let actor = json!({"actorProviderName": "github"});
    let bearer = json!({"grantType": "jwt_bearer"});
    let client = json!({"clientId": "c", "clientSecret": "CANARY-secret", "audience": "api://b"});
    for (strategy, key, block) in [
        ("token_exchange", "tokenExchange", endpoint.clone()),
        ("token_exchange", "tokenExchange", with(actor)),
        ("token_exchange", "tokenExchange", with(bearer)),
        ("obo", "obo", with(client)),
    ] {
        let mut configuration = configuration(FILTER_STATE);
        configuration["outgoingAuth"]["backends"]["api"] = json!({"type": strategy, key: block});
        worker(|envoy| {
            let plugin = envoy.plugin(&configuration);
            let tokens = json!({"github": "CANARY-agent"});
            let request = || Request::to("api").tokens(&tokens).through_the_door();
            let stream = plugin.request(&request());
            envoy.call().answer(&Answer::token(TH_JWT, 300));
            let refusal = (502, "token_exchange_invalid_response".to_owned());
            assert_eq!(stream.refusal(), refusal, "{block}");
            let lines = envoy.warnings().concat();
            let told = "what is wrong: access_token is what was handed in";
            assert!(lines.contains(told), "{lines}");
            // Nothing is kept of it.
            let stream = plugin.request(&request());
            envoy.call().answer(&Answer::token("CANARY-exchanged", 300));
            assert_eq!(stream.received(AUTHORIZATION), ["Bearer CANARY-exchanged"]);
        });
    }
}

/// Otherwise a second attempt would have the first one's credential exchanged.
#[test]
fn upstream_no_header_is_ever_a_subject() {
    worker(|envoy| {
        let plugin = envoy.plugin(&configuration(AUTHORIZATION));
        envoy.log();
        let refused = plugin.request(&Request::to("api").authenticated());
        assert_eq!(refused.refusal(), (500, "identity_unreadable".to_owned()));
        let lines = envoy.log_from(Level::Warn);
        assert_eq!(lines.len(), 1, "{lines:?}");
        for part in ["\"api\"", "tokenFrom: filter_state", "set_filter_state"] {
            assert!(lines[0].contains(part), "{part} in {}", lines[0]);
        }
        // Whom that does not concern is served.
        let tokens = json!({"github": "CANARY-gho"});
        let other = plugin.request(&Request::to("tools").tokens(&tokens));
        assert_eq!(other.received(AUTHORIZATION), ["Bearer CANARY-gho"]);
    });
}

#[test]
fn where_envoy_does_not_say_where_the_filter_stands_it_is_taken_for_upstream() {
    worker(|envoy| {
        envoy.downstream();
        let plugin = envoy.plugin(&configuration(AUTHORIZATION));
        let mut request = Request::to("api").authenticated();
        request.attributes.failing = vec!["upstream.request_attempt_count".to_owned()];
        assert_eq!(plugin.request(&request).refusal().1, "identity_unreadable");
        assert!(envoy.calls().is_empty());
    });
}

#[test]
fn downstream_the_header_is_the_subject() {
    worker(|envoy| {
        envoy.downstream();
        let plugin = envoy.plugin(&configuration(AUTHORIZATION));
        let stream = plugin.request(&Request::to("api").authenticated());
        let call = envoy.call();
        assert_eq!(call.parameter("subject_token"), Some(TH_JWT));
        call.answer(&Answer::token("CANARY-exchanged", 300));
        assert_eq!(stream.received(AUTHORIZATION), ["Bearer CANARY-exchanged"]);
    });
}

/// A retry, a hedged attempt, a filter that stands twice in the chain.
#[test]
fn a_second_attempt_never_has_the_first_ones_credential_exchanged() {
    worker(|envoy| {
        let plugin = envoy.plugin(&configuration(FILTER_STATE));
        let request = Request::to("api").through_the_door().attempt_of(1);
        let first = plugin.request(&request);
        envoy.call().answer(&Answer::token("CANARY-exchanged", 300));
        let left: Vec<String> = first.received(AUTHORIZATION);
        let second = |left: &[String]| {
            let request = Request::to("api").through_the_door().attempt_of(1);
            let fields = left.iter();
            plugin.request(&fields.fold(request, |request, field| {
                request.field(AUTHORIZATION, field)
            }))
        };
        let retried = second(&left);
        assert_eq!(retried.received(AUTHORIZATION), left);
        assert!(envoy.calls().is_empty(), "the same subject, so no call");
        // A 401 is seen where it happens: the next attempt obtains a fresh token of the same
        // subject.
        retried.end_with(401, "via_upstream");
        let third = second(&left);
        let call = envoy.call();
        assert_eq!(call.parameter("subject_token"), Some(TH_JWT));
        call.answer(&Answer::token("CANARY-fresh", 300));
        assert_eq!(third.received(AUTHORIZATION), ["Bearer CANARY-fresh"]);
    });
}

/// A retry to another cluster carries nothing of the first one's.
#[test]
fn an_attempt_at_another_backend_finds_no_credential_of_the_first() {
    let mut configuration = configuration(FILTER_STATE);
    let backends = &mut configuration["outgoingAuth"]["backends"];
    backends["key"] = json!({
        "type": "header_injection",
        "headerInjection": {"headerName": "X-API-Key", "headerValue": "CANARY-key"},
    });
    backends["open"] = json!({"type": "unauthenticated"});
    worker(|envoy| {
        let plugin = envoy.plugin(&configuration);
        let tokens = json!({"github": "CANARY-gho"});
        let to = |backend: &str| Request::to(backend).tokens(&tokens).attempt_of(1);
        let first = plugin.request(&to("key"));
        assert_eq!(first.received("x-api-key"), ["CANARY-key"]);
        for (backend, authorization) in [("open", None), ("tools", Some("Bearer CANARY-gho"))] {
            let second = to(backend)
                .field("x-api-key", "CANARY-key")
                .field(AUTHORIZATION, "Bearer CANARY-of-an-earlier-attempt");
            let second = plugin.request(&second);
            assert_eq!(second.received("x-api-key"), [""; 0], "{backend}");
            let expected: Vec<&str> = authorization.into_iter().collect();
            assert_eq!(second.received(AUTHORIZATION), expected, "{backend}");
        }
        // Nor where the backend is nobody's.
        let third = plugin.request(&to("not-listed").field("x-api-key", "CANARY-key"));
        assert_eq!(third.refusal().1, "backend_not_configured");
    });
}

/// One backend of each kind that has its credential in `authorization`, and those that want the TH-JWT
/// exchanged.
fn with_others(token_from: &str) -> Value {
    let mut configuration = configuration(token_from);
    let backends = &mut configuration["outgoingAuth"]["backends"];
    backends["bearer"] = json!({
        "type": "header_injection",
        "headerInjection": {"headerName": "Authorization", "headerValue": "Bearer CANARY-static"},
    });
    backends["open"] = json!({"type": "unauthenticated"});
    backends["next"] = backends["api"].clone();
    backends["next"]["tokenExchange"]["audience"] = json!("next");
    backends["behalf"] = json!({"type": "obo", "obo": {
        "tokenUrl": "https://entra.example.com/token", "cluster": "entra", "scopes": ["next"],
        "clientAuthMethod": "none",
    }});
    configuration
}

/// How the first pass may end before Envoy sends the request on.
const ENDS: [Option<u16>; 5] = [Some(302), Some(401), Some(503), Some(199), None];

fn ends(stream: Stream, code: Option<u16>) {
    match code {
        Some(code) => stream.end_with(code, "via_upstream"),
        None => stream.end(),
    }
}

/// An internal redirect, an error page: whoever checks leniently has kept what the filter has set.
#[test]
fn no_credential_of_ours_is_exchanged_for_a_request_that_envoy_sends_on() {
    let mut request = 100;
    worker(|envoy| {
        let plugin = envoy.plugin(&with_others(FILTER_STATE));
        let tokens = json!({"github": "CANARY-gho"});
        for first in ["tools", "bearer", "api"] {
            for end in ENDS {
                for next in ["next", "behalf"] {
                    request += 1;
                    let to = |backend| Request::to(backend).tokens(&tokens).of_request(request);
                    let stream = plugin.request(&to(first).through_the_door());
                    for call in envoy.calls() {
                        call.answer(&Answer::token("CANARY-exchanged", 300));
                    }
                    let lent = stream.received(AUTHORIZATION).remove(0);
                    ends(stream, end);
                    envoy.log();
                    let sent_on = plugin.request(&to(next).kept(&lent));
                    let about = format!("{first}, {end:?}, {next}");
                    assert_eq!(sent_on.refusal().1, "subject_token_missing", "{about}");
                    assert!(envoy.calls().is_empty(), "{about}");
                }
            }
        }
        let told = &envoy.log_from(Level::Trace);
        assert!(told.iter().all(|line| !line.contains("CANARY")), "{told:?}");
    });
}

/// Nor is the identity service asked for a user by what another backend was sent: it would take an
/// upstream token of its own for the TH-JWT's.
#[test]
fn nobody_is_asked_for_by_a_credential_of_ours() {
    let inject = |provider: &str| {
        let block = json!({"providerName": provider});
        json!({"type": "upstream_inject", "upstreamInject": block})
    };
    let configuration = json!({
        "authServer": {"runConfig": {"upstreams": [{"name": "github"}, {"name": "atlassian"}]}},
        "outgoingAuth": {"backends": {"tools": inject("github"), "wiki": inject("atlassian")}},
        "identity": {"source": "exchange", "exchange": {"tokenUrl": "http://localhost:9193/token"}},
    });
    worker(|envoy| {
        let plugin = envoy.plugin(&configuration);
        let payload = json!({"iss": "https://vmcp.example.com"});
        for (request, end) in (1..).zip(ENDS) {
            let to = |backend| {
                let request = Request::to(backend).of_request(request);
                request.checked(&payload)
            };
            let stream = plugin.request(&to("tools").through_the_door());
            for call in envoy.calls() {
                call.answer(&Answer::token("CANARY-gho", 300));
            }
            let lent = stream.received(AUTHORIZATION).remove(0);
            ends(stream, end);
            let sent_on = plugin.request(&to("wiki").kept(&lent));
            assert_eq!(sent_on.refusal().1, "subject_token_missing", "{end:?}");
            assert!(envoy.calls().is_empty(), "{end:?}");
        }
    });
}

/// Whatever becomes of the second pass: an attempt of it at another backend is no first pass.
#[test]
fn what_a_request_began_with_stays_what_it_was() {
    worker(|envoy| {
        let plugin = envoy.plugin(&with_others(FILTER_STATE));
        let tokens = json!({"github": "CANARY-gho"});
        let to = |backend| Request::to(backend).tokens(&tokens).attempt_of(1);
        plugin
            .request(&to("tools").through_the_door())
            .end_with(302, "via_upstream");
        let second_pass = |backend| to(backend).kept("Bearer CANARY-gho");
        plugin
            .request(&second_pass("open"))
            .end_with(503, "via_upstream");
        let refused = plugin.request(&second_pass("next"));
        assert_eq!(refused.refusal(), (401, "subject_token_missing".to_owned()));
        // Where the TH-JWT is the same, it is the client's.
        let third = plugin.request(&to("next").through_the_door());
        assert_eq!(third.outcome(), Outcome::Waits);
        assert_eq!(envoy.call().parameter("subject_token"), Some(TH_JWT));
    });
}

/// In the chain before the router the header is the subject; by the time of the response Envoy does not
/// hand it out any more.
#[test]
fn downstream_no_credential_of_ours_is_exchanged_for_a_request_that_envoy_sends_on() {
    worker(|envoy| {
        envoy.downstream();
        let plugin = envoy.plugin(&with_others(AUTHORIZATION));
        let tokens = json!({"github": "CANARY-gho"});
        for (request, end) in (1..).zip(ENDS) {
            let to = |backend| Request::to(backend).tokens(&tokens).of_request(request);
            let stream = plugin.request(&to("tools").authenticated());
            let lent = stream.received(AUTHORIZATION).remove(0);
            ends(stream, end);
            let sent_on = plugin.request(&to("next").field(AUTHORIZATION, &lent));
            assert_eq!(sent_on.refusal().1, "subject_token_missing", "{end:?}");
            assert!(envoy.calls().is_empty(), "{end:?}");
        }
    });
}

/// What is refused there says what to do about it, and in the place of a token nothing.
#[test]
fn a_request_that_envoy_sends_on_is_explained_in_the_log() {
    worker(|envoy| {
        let plugin = envoy.plugin(&with_others(FILTER_STATE));
        let tokens = json!({"github": "CANARY-gho"});
        let to = |backend| Request::to(backend).tokens(&tokens).attempt_of(1);
        plugin
            .request(&to("tools").through_the_door())
            .end_with(302, "via_upstream");
        envoy.log();
        plugin
            .request(&to("next").kept("Bearer CANARY-gho"))
            .refusal();
        let lines = envoy.warnings();
        assert_eq!(lines.len(), 1, "{lines:?}");
        for part in ["\"next\"", "internal_redirect_policy", "custom_response"] {
            assert!(lines[0].contains(part), "{part} in {}", lines[0]);
        }
    });
}

#[test]
fn an_envoy_that_does_not_let_the_filter_tell_is_named_once_where_it_matters() {
    for (status, told) in [
        (status::NOT_FOUND, true),
        (status::INTERNAL_FAILURE, true),
        // Declared before.
        (status::BAD_ARGUMENT, false),
    ] {
        worker(|envoy| {
            envoy.fails("call_foreign_function", Some(status));
            envoy.plugin(&with_others(FILTER_STATE));
            let lines = envoy.warnings();
            let lines = lines
                .iter()
                .filter(|line| line.contains("internal_redirect_policy"));
            let expected = usize::from(told);
            assert_eq!(lines.count(), expected, "{status}");
        });
    }
    worker(|envoy| {
        envoy.fails("call_foreign_function", Some(status::NOT_FOUND));
        let mut configuration = configuration(FILTER_STATE);
        let backends = configuration["outgoingAuth"]["backends"].as_object_mut();
        backends.unwrap().remove("api");
        envoy.plugin(&configuration);
        assert_eq!(envoy.warnings(), [""; 0]);
    });
}

/// A client that has shown a token is told that it is no good; one that has not, to log in.
#[test]
fn where_the_door_has_taken_the_token_off_the_checked_payload_tells_that_there_was_one() {
    let challenged = |stream: Stream| stream.reply().headers["www-authenticate"].clone();
    worker(|envoy| {
        let plugin = envoy.plugin(&configuration(AUTHORIZATION));
        let request = || Request::to("tools");
        assert_eq!(challenged(plugin.request(&request())), "Bearer");
        let payload = json!({"iss": "https://vmcp.example.com", "tsid": "s"});
        for request in [request().checked(&payload), request().authenticated()] {
            let challenge = challenged(plugin.request(&request));
            assert!(
                challenge.starts_with("Bearer error=\"invalid_token\""),
                "{challenge}"
            );
        }
        let plugin = envoy.plugin(&configuration(FILTER_STATE));
        let challenge = challenged(plugin.request(&request().through_the_door()));
        assert!(
            challenge.starts_with("Bearer error=\"invalid_token\""),
            "{challenge}"
        );
        assert_eq!(challenged(plugin.request(&request().kept("-"))), "Bearer");
    });
}
