//! What of a backend's response reaches the client: everything but its challenge, which would send the
//! client to log in wherever the backend says.

use crate::host::{Answer, Envoy, Plugin, Request, Stream, worker};
use serde_json::{Value, json};

const HOSTILE: &str =
    "Bearer error=\"invalid_token\", resource_metadata=\"https://evil.example/metadata\"";
const VIA_UPSTREAM: &str = "via_upstream";

fn configuration(from_backends: Option<&str>) -> Value {
    json!({
        "authServer": {"runConfig": {"upstreams": [{"name": "corp"}]}},
        "outgoingAuth": {"backends": {
            "inject": {"type": "upstream_inject", "upstreamInject": {"providerName": "corp"}},
            "exchange": {
                "type": "token_exchange",
                "tokenExchange": {
                    "tokenUrl": "https://sts.example.com/token",
                    "subjectProviderName": "corp",
                },
            },
            "key": {
                "type": "header_injection",
                "headerInjection": {"headerName": "X-API-Key", "headerValue": "CANARY-key"},
            },
            "open": {"type": "unauthenticated"},
        }},
        "challenge": {
            "realm": "mcp",
            "resourceMetadata": "https://mcp.example.com/metadata",
            "fromBackends": from_backends,
            "backends": {
                "exchange": {"resourceMetadata": "https://mcp.example.com/metadata/exchange"},
            },
        },
    })
}

fn ours(metadata: &str) -> String {
    format!(
        "Bearer realm=\"mcp\", error=\"invalid_token\", error_description=\"the backend did not \
         accept the credential: log in again\", \
         resource_metadata=\"https://mcp.example.com/{metadata}\""
    )
}

/// A request to `backend` that went on.
fn served(envoy: &Envoy, plugin: Plugin, backend: &str) -> Stream {
    let request = Request::to(backend).tokens(&json!({"corp": "CANARY-corp"}));
    let stream = plugin.request(&request);
    for call in envoy.calls() {
        call.answer(&Answer::token("CANARY-exchanged", 300));
    }
    stream.received("authorization");
    stream
}

/// The challenges that reach the client if the backend answers with these fields.
fn challenges(stream: Stream, code: u16, details: &str, fields: &[(&str, &str)]) -> Vec<String> {
    let reached = stream.respond(code, details, fields);
    let others = |fields: Vec<(String, String)>| -> Vec<_> {
        let others = fields
            .into_iter()
            .filter(|(name, _)| name != "www-authenticate");
        others.collect()
    };
    let sent = fields
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    let status = (":status".to_owned(), code.to_string());
    let sent = std::iter::once(status).chain(sent).collect();
    assert_eq!(
        others(reached.clone()),
        others(sent),
        "nothing else changes"
    );
    let challenges = reached
        .into_iter()
        .filter(|(name, _)| name == "www-authenticate");
    challenges.map(|(_, value)| value).collect()
}

#[test]
fn a_backends_own_challenge_never_reaches_the_client() {
    let one = [("www-authenticate", HOSTILE), ("x-other", "stays")];
    let two = [
        ("www-authenticate", "Basic realm=\"backend\""),
        ("content-type", "text/plain"),
        ("www-authenticate", HOSTILE),
    ];
    worker(|envoy| {
        let plugin = envoy.plugin(&configuration(None));
        for code in [200, 204, 302, 400, 403, 404, 407, 500, 503] {
            for backend in ["inject", "exchange", "key", "open"] {
                for fields in [&one[..], &two] {
                    let stream = served(envoy, plugin, backend);
                    let reached = challenges(stream, code, VIA_UPSTREAM, fields);
                    assert_eq!(reached, [""; 0], "{code} of {backend}");
                }
            }
        }
        for (backend, expected) in [
            ("inject", Some(ours("metadata"))),
            ("exchange", Some(ours("metadata/exchange"))),
            // No login would help.
            ("key", None),
            ("open", None),
        ] {
            for fields in [&[][..], &one, &two] {
                let stream = served(envoy, plugin, backend);
                let reached = challenges(stream, 401, VIA_UPSTREAM, fields);
                assert_eq!(
                    reached,
                    expected.clone().into_iter().collect::<Vec<_>>(),
                    "{backend}"
                );
            }
        }
    });
}

/// A connection to a backend is there while its request waits, and nothing keeps the backend from
/// answering before it has seen one.
#[test]
fn the_challenge_of_a_backend_that_answers_early_reaches_nobody() {
    let hostile = [("www-authenticate", HOSTILE), ("x-other", "stays")];
    for (from_backends, expected) in [(None, vec![]), (Some("keep"), vec![HOSTILE])] {
        worker(|envoy| {
            let plugin = envoy.plugin(&configuration(from_backends));
            for code in [200, 401, 403, 503] {
                let request = Request::to("exchange").tokens(&json!({"corp": "CANARY-corp"}));
                let stream = plugin.request(&request);
                let call = envoy.call();
                let reached = challenges(stream, code, VIA_UPSTREAM, &hostile);
                assert_eq!(reached, expected, "{code}");
                stream.end();
                call.answer(&Answer::new(503, ""));
            }
        });
    }
}

#[test]
fn a_health_check_that_is_refused_gets_no_challenge() {
    worker(|envoy| {
        let plugin = envoy.plugin(&configuration(None));
        for backend in ["inject", "exchange", "key"] {
            let request = Request::to(backend).identity(json!({"health_check": true}));
            let stream = plugin.request(&request);
            let reached = challenges(stream, 401, VIA_UPSTREAM, &[("www-authenticate", HOSTILE)]);
            assert_eq!(reached, [""; 0], "{backend}");
        }
    });
}

#[test]
fn with_keep_nothing_is_touched_and_a_401_still_costs_the_exchanged_token() {
    worker(|envoy| {
        let plugin = envoy.plugin(&configuration(Some("keep")));
        for backend in ["inject", "key", "open", "exchange"] {
            for code in [200, 401, 403] {
                let stream = served(envoy, plugin, backend);
                let fields = [("www-authenticate", HOSTILE), ("www-authenticate", "Basic")];
                let reached = challenges(stream, code, VIA_UPSTREAM, &fields);
                assert_eq!(reached, [HOSTILE, "Basic"], "{code} of {backend}");
            }
            let stream = served(envoy, plugin, backend);
            assert_eq!(challenges(stream, 401, VIA_UPSTREAM, &[]), [""; 0]);
        }
        plugin.tick();
        assert_eq!(envoy.metric("upstream_inject.sts.exchange.ok"), 2);
    });
}

/// Refusals go through the response callback as well.
#[test]
fn what_the_filter_answers_itself_stays_as_it_is() {
    worker(|envoy| {
        let plugin = envoy.plugin(&configuration(None));
        let stream = plugin.request(&Request::to("inject"));
        let challenge = stream.reply().headers["www-authenticate"].clone();
        let details = stream.reply().details;
        let fields = [("www-authenticate", &*challenge)];
        assert_eq!(challenges(stream, 401, &details, &fields), [&*challenge]);
        // One that waited.
        let waited = Request::to("exchange").tokens(&json!({"corp": "CANARY-refused"}));
        let stream = plugin.request(&waited);
        envoy.call().answer(&Answer::error(400, "invalid_grant"));
        let challenge = stream.reply().headers["www-authenticate"].clone();
        let fields = [("www-authenticate", &*challenge)];
        assert_eq!(
            challenges(stream, 401, &stream.reply().details, &fields),
            [&*challenge]
        );
        // And where Envoy answers because there is no backend.
        let stream = plugin.request(&Request::nowhere());
        let fields = [("www-authenticate", "Basic")];
        assert_eq!(
            challenges(stream, 401, "direct_response", &fields),
            ["Basic"]
        );
    });
}

/// Downstream, other filters and Envoy itself answer requests that the filter let go on.
#[test]
fn downstream_only_what_a_backend_gave_is_changed() {
    worker(|envoy| {
        envoy.downstream();
        let plugin = envoy.plugin(&configuration(None));
        let fields = [("www-authenticate", "Bearer realm=\"of the gateway\"")];
        for details in [
            "ext_authz_denied",
            "jwt_authn_access_denied{}",
            "response_timeout",
            "",
        ] {
            for code in [200, 401, 403] {
                let stream = served(envoy, plugin, "inject");
                let reached = challenges(stream, code, details, &fields);
                assert_eq!(reached, [fields[0].1], "{code} {details}");
            }
        }
        let stream = served(envoy, plugin, "inject");
        assert_eq!(
            challenges(stream, 401, VIA_UPSTREAM, &fields),
            [ours("metadata")]
        );
        let stream = served(envoy, plugin, "inject");
        assert_eq!(challenges(stream, 403, VIA_UPSTREAM, &fields), [""; 0]);
    });
}

/// The status is read as it stands: nothing that only looks like 401 is one.
#[test]
fn a_response_of_any_shape_is_let_through() {
    worker(|envoy| {
        let plugin = envoy.plugin(&configuration(None));
        for code in [0, 1, 100, 4010, 1401, u16::MAX] {
            let stream = served(envoy, plugin, "inject");
            let fields = [("www-authenticate", HOSTILE)];
            assert_eq!(challenges(stream, code, VIA_UPSTREAM, &fields), [""; 0]);
        }
        let stream = served(envoy, plugin, "inject");
        envoy.fails("get_header", Some(crate::host::status::INTERNAL_FAILURE));
        stream.respond(401, VIA_UPSTREAM, &[]);
        envoy.fails("get_header", None);
    });
}
