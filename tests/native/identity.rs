//! Identities of every shape that Envoy can hand over.

use crate::host::{Outcome, Request, Stream, TH_JWT, worker};
use crate::strategies::configuration;
use serde_json::{Number, Value, json};

/// What became of a request, in one word: the token that went on, or the code of the refusal.
fn verdict(stream: Stream) -> String {
    match stream.outcome() {
        Outcome::WentOn => stream.received("authorization").join(" and "),
        Outcome::Answered(_) => stream.refusal().1,
        Outcome::Waits => "waits".to_owned(),
    }
}

/// A number whose eight bytes are those of the text.
fn number_that_looks_like(text: &[u8; 8]) -> Value {
    Value::Number(Number::from_f64(f64::from_le_bytes(*text)).unwrap())
}

const MISSING: &str = "upstream_token_not_found";
const MALFORMED: &str = "upstream_token_malformed";

#[test]
fn whatever_stands_in_the_place_of_a_token() {
    let long = "a".repeat(16_384);
    let too_long = "a".repeat(20_480);
    let fine = format!("Bearer {long}");
    worker(|envoy| {
        let plugin = envoy.plugin(&configuration());
        for (token, expected) in [
            (json!("CANARY-gho"), "Bearer CANARY-gho"),
            (json!("a:b~c/d+e=="), "Bearer a:b~c/d+e=="),
            // As long as a number is.
            (json!("12345678"), "Bearer 12345678"),
            (json!("x"), "Bearer x"),
            (json!(long), &fine),
            (json!(too_long), MALFORMED),
            (json!(""), MISSING),
            (json!(null), MISSING),
            (number_that_looks_like(b"ABCDEFGH"), MALFORMED),
            (json!(0), MALFORMED),
            (json!(1.5), MALFORMED),
            (json!(true), MALFORMED),
            (json!(false), MALFORMED),
            (json!({}), MALFORMED),
            (json!({"access_token": "CANARY"}), MALFORMED),
            (json!({"access_token": null}), MALFORMED),
            (json!([]), MALFORMED),
            (json!(["CANARY"]), MALFORMED),
            (json!([null]), MALFORMED),
            (json!("two words"), MALFORMED),
            (json!(" CANARY"), MALFORMED),
            (json!("CANARY\r\nx-admin: 1"), MALFORMED),
            (json!("CANARY\u{0}"), MALFORMED),
            (json!("tökén-CANARY"), MALFORMED),
            (json!("CANARY,CANARY"), MALFORMED),
        ] {
            // A null beside a token spoils nothing.
            let tokens = json!({"github": token, "corporate-idp": null, "x": {"y": null}});
            let request = Request::to("github-tools").authenticated().tokens(&tokens);
            assert_eq!(verdict(plugin.request(&request)), expected, "{token:.60}");
            let next = Request::to("github-tools").tokens(&json!({"github": "CANARY-next"}));
            assert_eq!(verdict(plugin.request(&next)), "Bearer CANARY-next");
        }
    });
}

#[test]
fn upstream_tokens_that_are_no_map_count_as_missing() {
    worker(|envoy| {
        let plugin = envoy.plugin(&configuration());
        for identity in [
            json!({}),
            json!({"upstream_tokens": null}),
            json!({"upstream_tokens": "CANARY"}),
            json!({"upstream_tokens": 7}),
            json!({"upstream_tokens": true}),
            json!({"upstream_tokens": []}),
            json!({"upstream_tokens": ["CANARY"]}),
            json!({"upstream_tokens": {}}),
            json!({"upstream_tokens": {"GitHub": "CANARY", "github ": "CANARY"}}),
            json!({"upstream_tokens": {"x": {"github": "CANARY"}}}),
            json!({"github": "CANARY"}),
        ] {
            let request = Request::to("github-tools").authenticated();
            let stream = plugin.request(&request.identity(identity.clone()));
            assert_eq!(verdict(stream), MISSING, "{identity}");
        }
        let elsewhere = json!({"other": {"upstream_tokens": {"github": "CANARY"}}});
        let request = Request::to("github-tools").metadata(elsewhere);
        assert_eq!(verdict(plugin.request(&request)), MISSING);
    });
}

#[test]
fn the_identity_is_read_from_where_the_operator_says() {
    let mut configuration = configuration();
    configuration["identity"] = json!({
        "metadataNamespace": "my.auth/server",
        "upstreamTokensKey": "tokens of users",
        "healthCheckKey": "probe",
    });
    worker(|envoy| {
        let plugin = envoy.plugin(&configuration);
        let request = |identity: Value| {
            Request::to("github-tools").metadata(json!({
                "my.auth/server": identity,
                "envoy.filters.http.ext_authz": {
                    "upstream_tokens": {"github": "CANARY-wrong"},
                    "health_check": true,
                },
            }))
        };
        let identity = json!({"tokens of users": {"github": "CANARY-right"}});
        assert_eq!(
            verdict(plugin.request(&request(identity))),
            "Bearer CANARY-right"
        );
        assert_eq!(verdict(plugin.request(&request(json!({})))), MISSING);
        assert_eq!(
            verdict(plugin.request(&request(json!({"probe": true})))),
            ""
        );
    });
}

#[test]
fn only_one_single_bearer_field_is_the_requests_token() {
    let mut configuration = configuration();
    configuration["outgoingAuth"]["backends"]["identity-api"] = json!({
        "type": "token_exchange",
        "tokenExchange": {"tokenUrl": "https://sts.example.com/token", "cluster": "corp-sts"},
    });
    let bearer = format!("Bearer {TH_JWT}");
    worker(|envoy| {
        envoy.downstream();
        let plugin = envoy.plugin(&configuration);
        for (fields, counts) in [
            (vec![bearer.as_bytes()], true),
            (vec![b"bEARER CANARY-th-jwt"], true),
            (vec![b"Bearer   CANARY-th-jwt"], true),
            (vec![], false),
            (vec![b""], false),
            (vec![b"Bearer"], false),
            (vec![b"Bearer "], false),
            (vec![b"BearerCANARY"], false),
            (vec![b"Basic CANARY"], false),
            (vec![bearer.as_bytes(), bearer.as_bytes()], false),
            (vec![bearer.as_bytes(), b""], false),
            (vec![b"", bearer.as_bytes()], false),
            (vec![b"Bearer CANARY, Bearer CANARY"], false),
            (vec![b"Bearer CANARY CANARY"], false),
            (vec![b"Bearer CANARY\xff"], false),
            (vec![b"\xff\xfe\x00"], false),
            (vec![b"Bearer CANARY;x"], false),
        ] {
            let mut request = Request::to("identity-api");
            for field in &fields {
                request = request.field("authorization", field);
            }
            let stream = plugin.request(&request);
            let expected = if counts {
                "waits"
            } else {
                "subject_token_missing"
            };
            assert_eq!(verdict(stream), expected, "{fields:?}");
            stream.end();
        }
        for call in envoy.calls() {
            assert_eq!(call.parameter("subject_token"), Some(TH_JWT));
        }
    });
}

#[test]
fn thousands_of_header_fields_are_no_obstacle() {
    worker(|envoy| {
        let plugin = envoy.plugin(&configuration());
        let mut request = Request::to("github-tools").tokens(&json!({"github": "CANARY-gho"}));
        for n in 0..3000 {
            request = request
                .field(&format!("x-{n}"), "v")
                .field("authorization", TH_JWT);
        }
        let stream = plugin.request(&request);
        assert_eq!(stream.received("authorization"), ["Bearer CANARY-gho"]);
    });
}
