//! What a client, an access log, a log and the stats are told when a request is refused.

use crate::host::{Reply, Request, Stream, worker};
use crate::strategies::configuration;
use serde_json::{Value, json};
use std::collections::BTreeMap;

fn with(extra: &[(&str, Value)]) -> Value {
    let mut configuration = configuration();
    for (key, value) in extra {
        configuration[*key] = value.clone();
    }
    configuration["outgoingAuth"]["backends"]["identity-api"] = json!({
        "type": "token_exchange",
        "tokenExchange": {"tokenUrl": "https://sts.example.com/token", "cluster": "corp-sts"},
    });
    configuration
}

fn refused(reply: &Reply) -> (u32, String, Option<&str>) {
    let code = reply.json()["error"].as_str().unwrap().to_owned();
    let challenge = reply.headers.get("www-authenticate").map(String::as_str);
    (reply.status, code, challenge)
}

const NOT_FOUND_INVALID: &str = "Bearer error=\"invalid_token\", error_description=\"the upstream \
     token of provider github was not found: log in again\"";

#[test]
fn each_refusal_has_its_status_code_and_challenge() {
    worker(|envoy| {
        let plugin = envoy.plugin(&with(&[]));
        let by_the_door = [("identity", json!({"tokenFrom": "filter_state"}))];
        let by_the_door = envoy.plugin(&with(&by_the_door));
        let jwt = |backend| Request::to(backend).authenticated();
        let github = |token: Value| jwt("github-tools").tokens(&json!({"github": token}));
        let unreadable = {
            let mut request = github(json!("CANARY"));
            request.attributes.failing = vec!["metadata.filter_metadata".to_owned()];
            request
        };
        let no_cluster_name = {
            let mut request = github(json!("CANARY"));
            request.attributes.failing = vec!["xds.cluster_name".to_owned()];
            request
        };
        let unavailable = jwt("github-tools").identity(json!({
            "upstream_tokens": {},
            "upstream_unavailable": {"github": true},
        }));
        for (plugin, request, status, code, challenge) in [
            (
                plugin,
                github(json!("")),
                401,
                "upstream_token_not_found",
                Some(NOT_FOUND_INVALID),
            ),
            (
                plugin,
                jwt("github-tools"),
                401,
                "upstream_token_not_found",
                Some(NOT_FOUND_INVALID),
            ),
            (
                plugin,
                Request::to("github-tools"),
                401,
                "upstream_token_not_found",
                Some("Bearer"),
            ),
            (
                plugin,
                Request::to("github-tools").field("authorization", "Basic CANARY"),
                401,
                "upstream_token_not_found",
                Some("Bearer"),
            ),
            (
                plugin,
                github(json!("two words")),
                502,
                "upstream_token_malformed",
                None,
            ),
            (plugin, unavailable, 503, "upstream_token_unavailable", None),
            (
                by_the_door,
                Request::to("identity-api"),
                401,
                "subject_token_missing",
                Some("Bearer"),
            ),
            (
                plugin,
                jwt("internal-api"),
                401,
                "identity_missing",
                Some("Bearer"),
            ),
            (
                plugin,
                jwt("not-listed"),
                500,
                "backend_not_configured",
                None,
            ),
            (plugin, no_cluster_name, 500, "backend_not_configured", None),
            (plugin, unreadable, 500, "identity_unreadable", None),
            // A second attempt would find the first one's credential there.
            (
                plugin,
                jwt("identity-api"),
                500,
                "identity_unreadable",
                None,
            ),
        ] {
            let stream = plugin.request(&request);
            let reply = stream.reply();
            assert_eq!(refused(&reply), (status, code.to_owned(), challenge));
            assert_eq!(reply.headers["cache-control"], "no-store");
            assert_eq!(reply.headers["content-type"], "application/json");
            let retry_after = reply.headers.get("retry-after").map(String::as_str);
            assert_eq!(retry_after, (status == 503).then_some("5"));
            assert_eq!(reply.details, format!("upstream_inject:{code}"));
            assert_eq!(stream.filter_state()["upstream_inject.outcome"], code);
        }
    });
}

#[test]
fn a_refusal_in_full() {
    worker(|envoy| {
        let challenge = json!({
            "realm": "mcp",
            "resourceMetadata": "https://mcp.example.com/.well-known/oauth-protected-resource",
            "scope": "mcp:tools",
        });
        let plugin = envoy.plugin(&with(&[("challenge", challenge)]));
        envoy.warnings();
        let stream = plugin.request(&Request::to("github-tools").authenticated());
        let reply = stream.reply();
        assert_eq!(reply.status, 401);
        assert_eq!(
            reply.body,
            r#"{"error":"upstream_token_not_found","error_description":"the upstream token of provider github was not found: log in again","backend":"github-tools","provider":"github"}"#
        );
        let fields = [
            ("cache-control", "no-store"),
            ("content-type", "application/json"),
            (
                "www-authenticate",
                "Bearer realm=\"mcp\", error=\"invalid_token\", error_description=\"the upstream \
                 token of provider github was not found: log in again\", scope=\"mcp:tools\", \
                 resource_metadata=\"https://mcp.example.com/.well-known/oauth-protected-resource\"",
            ),
        ];
        let fields = fields.map(|(name, value)| (name.to_owned(), value.to_owned()));
        assert_eq!(reply.headers, BTreeMap::from(fields));
        let state = [
            ("upstream_inject.outcome", "upstream_token_not_found"),
            ("upstream_inject.backend", "github-tools"),
        ];
        let state = state.map(|(key, value)| (key.to_owned(), value.to_owned()));
        assert_eq!(stream.filter_state(), BTreeMap::from(state));
        let warnings = envoy.warnings();
        assert_eq!(warnings.len(), 1, "{warnings:?}");
        for part in ["upstream_token_not_found", "\"github-tools\"", "\"github\""] {
            assert!(warnings[0].contains(part), "{part} in {}", warnings[0]);
        }
    });
}

#[test]
fn a_grpc_client_gets_the_description_as_its_message() {
    worker(|envoy| {
        let plugin = envoy.plugin(&with(&[]));
        let reply = |content_type: &str| {
            let request = Request::to("github-tools").field("content-type", content_type);
            let stream: Stream = plugin.request(&request);
            stream.reply()
        };
        for grpc in ["application/grpc", "application/grpc+proto"] {
            let reply = reply(grpc);
            let description = "the upstream token of provider github was not found: log in again";
            assert_eq!(reply.body, description);
            assert_eq!(reply.headers.get("content-type"), None);
            assert_eq!(reply.headers["www-authenticate"], "Bearer");
            assert_eq!(reply.status, 401);
        }
        for other in [
            "application/json",
            "application/grpc-web",
            "application/grpcx",
            "",
        ] {
            assert_eq!(
                reply(other).json()["error"],
                "upstream_token_not_found",
                "{other}"
            );
        }
    });
}

#[test]
fn odd_provider_names_neither_break_the_reply_nor_choose_another_token() {
    let names = [
        "a.b",
        "a/b",
        "two words",
        "ümläut-日本",
        "\"quoted\\\"",
        "0",
        "-1",
        "+7",
        "1e3",
        "upstream_tokens",
    ];
    worker(|envoy| {
        for name in names {
            let plugin = envoy.plugin(&json!({
                "authServer": {"runConfig": {"upstreams": [{"name": name}]}},
                "outgoingAuth": {"backends": {"b": {
                    "type": "upstream_inject",
                    "upstreamInject": {"providerName": name},
                }}},
            }));
            let request = |tokens: Value| Request::to("b").authenticated().tokens(&tokens);
            let stream = plugin.request(&request(json!({name: "CANARY-token"})));
            assert_eq!(
                stream.received("authorization"),
                ["Bearer CANARY-token"],
                "{name}"
            );
            for without in [
                json!({"a": {"b": "CANARY"}, "two": "CANARY"}),
                json!(["CANARY-zero", "CANARY-one"]),
                json!("CANARY"),
            ] {
                let reply = plugin.request(&request(without)).reply();
                assert_eq!(reply.json()["error"], "upstream_token_not_found", "{name}");
                assert_eq!(reply.json()["provider"], name);
                let challenge = &reply.headers["www-authenticate"];
                assert!(challenge.bytes().all(|byte| (b' '..=b'~').contains(&byte)));
                assert_eq!(challenge.matches('"').count(), 4, "{challenge}");
                assert_eq!(challenge.matches('\\').count(), 0, "{challenge}");
            }
            plugin.end();
        }
    });
}
