//! The header that carries the credential is the only one that a server can take for it.

use crate::host::{Answer, Outcome, Request, Stream, worker};
use serde_json::{Value, json};

fn configuration() -> Value {
    let key = |header: &str| {
        json!({
            "type": "header_injection",
            "headerInjection": {"headerName": header, "headerValue": "CANARY-key"},
        })
    };
    json!({
        "authServer": {"runConfig": {"upstreams": [{"name": "corp"}]}},
        "outgoingAuth": {"backends": {
            "key": key("X-API-Key"),
            "long": key("X-My-Own-Key"),
            "plain": key("Apikey"),
            "open": {"type": "unauthenticated"},
            "inject": {"type": "upstream_inject", "upstreamInject": {"providerName": "corp"}},
            "exchange": {
                "type": "token_exchange",
                "tokenExchange": {
                    "tokenUrl": "https://sts.example.com/token",
                    "subjectProviderName": "corp",
                    "externalTokenHeaderName": "X-Upstream-Token",
                },
            },
        }},
    })
}

fn to(backend: &str) -> Request {
    Request::to(backend).tokens(&json!({"corp": "CANARY-corp"}))
}

/// Every spelling of `name` that a server may fold to the same variable.
fn spellings(name: &str) -> Vec<String> {
    let mut spellings = vec![String::new()];
    for letter in name.chars() {
        let ways = if letter == '-' {
            "-_."
        } else {
            &*letter.to_string()
        };
        spellings = spellings
            .iter()
            .flat_map(|so_far| ways.chars().map(move |way| format!("{so_far}{way}")))
            .collect();
    }
    spellings
}

/// `request` with every spelling of `name`.
fn with_all(request: Request, name: &str) -> Request {
    spellings(name).iter().fold(request, |request, spelling| {
        request.field(spelling, "the client's own")
    })
}

/// Which spellings of `name` arrive.
fn arrive(stream: Stream, name: &str) -> Vec<String> {
    let arrives = |spelling: &String| !stream.received(spelling).is_empty();
    spellings(name).into_iter().filter(arrives).collect()
}

#[test]
fn no_other_spelling_of_the_header_arrives_beside_it() {
    worker(|envoy| {
        let plugin = envoy.plugin(&configuration());
        for (backend, name) in [
            ("key", "x-api-key"),
            ("long", "x-my-own-key"),
            ("plain", "apikey"),
        ] {
            let stream = plugin.request(&with_all(to(backend), name));
            assert_eq!(stream.received(name), ["CANARY-key"]);
            assert_eq!(arrive(stream, name), [name], "{backend}");
        }
        assert_eq!(spellings("x-my-own-key").len(), 27);
        let request = with_all(to("exchange"), "x-upstream-token");
        for cached in [false, true] {
            let stream = plugin.request(&request);
            if !cached {
                envoy.call().answer(&Answer::token("CANARY-exchanged", 300));
            }
            assert_eq!(
                stream.received("x-upstream-token"),
                ["Bearer CANARY-exchanged"]
            );
            assert_eq!(arrive(stream, "x-upstream-token"), ["x-upstream-token"]);
        }
    });
}

/// No header that a strategy sets comes from anyone else, at whatever backend: an earlier attempt may
/// have left it there.
#[test]
fn every_header_that_a_strategy_sets_is_taken_off_at_every_backend() {
    let headers = [
        ("key", "x-api-key"),
        ("long", "x-my-own-key"),
        ("plain", "apikey"),
        ("exchange", "x-upstream-token"),
        ("inject", "authorization"),
    ];
    worker(|envoy| {
        let plugin = envoy.plugin(&configuration());
        let all = |request: Request| {
            headers.iter().fold(request, |request, (_, name)| {
                request.field(name, "CANARY of an earlier attempt")
            })
        };
        for backend in ["key", "long", "plain", "open", "inject", "exchange"] {
            let stream = plugin.request(&all(to(backend)));
            if stream.outcome() == Outcome::Waits {
                // While it waits, nothing at all is on it.
                for (_, name) in headers {
                    assert_eq!(stream.carries(name), [""; 0], "{name} of {backend}");
                }
                envoy.call().answer(&Answer::token("CANARY-exchanged", 300));
            }
            for (own, name) in headers {
                let fields = stream.received(name);
                assert_eq!(
                    fields.len(),
                    usize::from(own == backend),
                    "{name} of {backend}"
                );
                assert_ne!(
                    fields.first().map_or("", |field| field),
                    "CANARY of an earlier attempt"
                );
            }
        }
        let stream = plugin.request(&all(Request::nowhere()));
        let health_check = to("not-listed").identity(json!({"health_check": true}));
        let health_check = plugin.request(&all(health_check));
        for (_, name) in headers {
            assert_eq!(
                stream.received(name),
                [""; 0],
                "{name} where there is no backend"
            );
            assert_eq!(
                health_check.received(name),
                [""; 0],
                "{name} of a health check"
            );
        }
    });
}

/// On an upgrade Envoy hands `connection` on, and the next hop takes off what it names.
#[test]
fn nobody_can_have_the_credential_taken_off_on_the_way() {
    worker(|envoy| {
        let plugin = envoy.plugin(&configuration());
        for (backend, connection, expected) in [
            ("key", &["Upgrade, X-API-Key"][..], &["Upgrade"][..]),
            ("key", &["x-api-key"], &[]),
            (
                "key",
                &["upgrade", "keep-alive, x-Api-KEY"],
                &["upgrade, keep-alive"],
            ),
            ("key", &["Upgrade"], &["Upgrade"]),
            (
                "key",
                &["upgrade, authorization"],
                &["upgrade, authorization"],
            ),
            ("inject", &["upgrade, authorization"], &["upgrade"]),
            ("exchange", &["upgrade, x-upstream-token"], &["upgrade"]),
            (
                "open",
                &["upgrade, authorization"],
                &["upgrade, authorization"],
            ),
        ] {
            let request = connection
                .iter()
                .fold(to(backend).with_more(), |request, field| {
                    request.field("connection", field)
                });
            let stream = plugin.request(&request);
            for call in envoy.calls() {
                call.answer(&Answer::token("CANARY-exchanged", 300));
            }
            assert_eq!(
                stream.received("connection"),
                expected,
                "{backend} {connection:?}"
            );
        }
    });
}

/// What comes behind the body is of the client, and the door does not see it.
#[test]
fn no_spelling_of_any_header_that_a_strategy_sets_arrives_behind_the_body() {
    worker(|envoy| {
        let plugin = envoy.plugin(&configuration());
        let names = [
            "authorization",
            "x-api-key",
            "x-my-own-key",
            "apikey",
            "x-upstream-token",
        ];
        let sent: Vec<String> = names.into_iter().flat_map(spellings).collect();
        let mut fields: Vec<(&str, &str)> = sent
            .iter()
            .map(|name| (&**name, "the client's own"))
            .collect();
        fields.extend([("authorization", "again"), ("x-checksum", "stays")]);
        let stays = [("x-checksum".to_owned(), "stays".to_owned())];
        for backend in ["key", "long", "plain", "open", "inject"] {
            let stream = plugin.request(&to(backend).with_more());
            assert_eq!(stream.outcome(), Outcome::WentOn);
            assert_eq!(stream.trailers(&fields), stays, "{backend}");
            assert_eq!(stream.trailers(&[]), []);
            stream.end_with(200, "via_upstream");
        }
        // Where Envoy lets them go before the request does.
        let stream = plugin.request(&to("exchange").with_more());
        assert_eq!(stream.outcome(), Outcome::Waits);
        assert_eq!(stream.trailers(&fields), stays);
        envoy.call().answer(&Answer::token("CANARY-exchanged", 300));
        assert_eq!(stream.outcome(), Outcome::WentOn);
    });
}
