//! A static key needs somebody: `header_injection` only for requests of which somebody has checked
//! who asks.

use crate::host::{Outcome, Request, Stream, worker};
use serde_json::{Value, json};

const ISSUER: &str = "https://vmcp.example.com";

fn configuration(run_config: &Value, identity: &Value) -> Value {
    json!({
        "authServer": {"runConfig": run_config},
        "outgoingAuth": {"backends": {"key": {
            "type": "header_injection",
            "headerInjection": {"headerName": "X-API-Key", "headerValue": "CANARY-key"},
        }}},
        "identity": identity,
    })
}

fn of_issuer() -> Value {
    json!({"issuer": ISSUER, "upstreams": [{"name": "github"}]})
}

fn of_anyone() -> Value {
    json!({"upstreams": [{"name": "github"}]})
}

fn key() -> Request {
    Request::to("key").authenticated().through_the_door()
}

fn jwt_authn(fields: Value) -> Request {
    key().metadata(json!({"envoy.filters.http.jwt_authn": fields}))
}

#[track_caller]
fn assert_served(stream: Stream, about: &str) {
    assert_eq!(stream.outcome(), Outcome::WentOn, "{about}");
    assert_eq!(stream.received("x-api-key"), ["CANARY-key"], "{about}");
    assert_eq!(stream.received("authorization"), [""; 0], "{about}");
}

#[track_caller]
fn assert_refused(stream: Stream, about: &str) {
    let reply = stream.reply();
    assert_eq!(reply.status, 401, "{about}");
    assert_eq!(reply.json()["error"], "identity_missing", "{about}");
    assert_eq!(reply.headers["www-authenticate"], "Bearer", "{about}");
}

#[test]
fn a_checked_payload_of_the_issuer_is_somebody() {
    worker(|envoy| {
        let plugin = envoy.plugin(&configuration(&of_issuer(), &json!({})));
        let good = json!({"iss": ISSUER, "sub": "alice"});
        assert_served(plugin.request(&key().checked(&good)), "the issuer's");
        for payload in [
            json!({"iss": "https://other.example.com"}),
            json!({"iss": "https://vmcp.example.com/"}),
            json!({"iss": "HTTPS://VMCP.EXAMPLE.COM"}),
            json!({"iss": ""}),
            json!({"iss": null}),
            json!({"iss": [ISSUER]}),
            json!({"iss": {"iss": ISSUER}}),
            json!({"sub": "alice"}),
            json!({}),
            json!(ISSUER),
            json!([{"iss": ISSUER}]),
            json!(null),
        ] {
            let request = key().checked(&payload);
            assert_refused(plugin.request(&request), &payload.to_string());
        }
    });
}

/// Every `ext_authz` filter shares that namespace, so it counts only where the identity lies in it.
#[test]
fn with_the_identity_by_exchange_tokens_in_metadata_are_nobody() {
    let tokens = || key().tokens(&json!({"github": "CANARY-github"}));
    let exchange = json!({"source": "exchange", "exchange": {
        "tokenUrl": "http://localhost:9193/token",
    }});
    worker(|envoy| {
        let plugin = envoy.plugin(&configuration(&of_issuer(), &json!({})));
        assert_served(plugin.request(&tokens()), "in metadata");
        let plugin = envoy.plugin(&configuration(&of_issuer(), &exchange));
        assert_refused(plugin.request(&tokens()), "by exchange");
        let checked = tokens().checked(&json!({"iss": ISSUER}));
        assert_served(plugin.request(&checked), "checked");
    });
}

#[test]
fn where_no_issuer_is_configured_any_text_names_one() {
    worker(|envoy| {
        let plugin = envoy.plugin(&configuration(&of_anyone(), &json!({})));
        for iss in [json!(ISSUER), json!("a"), json!("12345678")] {
            let request = key().checked(&json!({"iss": iss}));
            assert_served(plugin.request(&request), &iss.to_string());
        }
        let number = f64::from_le_bytes(*b"12345678");
        for iss in [
            json!(""),
            json!(7),
            json!(number),
            json!(true),
            json!(null),
            json!([]),
            json!(["a"]),
            json!({"a": "b"}),
        ] {
            let request = key().checked(&json!({"iss": iss}));
            assert_refused(plugin.request(&request), &iss.to_string());
        }
    });
}

/// A text that is as long as a number is looked up once more, and only a text counts.
#[test]
fn an_issuer_of_eight_characters_is_told_from_a_number() {
    let run_config = json!({"issuer": "12345678", "upstreams": [{"name": "github"}]});
    worker(|envoy| {
        let plugin = envoy.plugin(&configuration(&run_config, &json!({})));
        let number = f64::from_le_bytes(*b"12345678");
        let text = key().checked(&json!({"iss": "12345678"}));
        assert_served(plugin.request(&text), "the text");
        let number = key().checked(&json!({"iss": number}));
        assert_refused(plugin.request(&number), "the number");
    });
}

/// `jwt_authn` leaves its failures in the same namespace, and whatever else it is told to.
#[test]
fn nothing_else_that_jwt_authn_leaves_is_somebody() {
    worker(|envoy| {
        let plugin = envoy.plugin(&configuration(&of_issuer(), &json!({})));
        for fields in [
            json!({}),
            json!({"failed_status": {"code": 3, "message": "Jwt is expired", "iss": ISSUER}}),
            json!({"iss": ISSUER}),
            json!({"other": {"iss": ISSUER}}),
            json!({"th_jwt_header": {"iss": ISSUER}}),
        ] {
            let about = fields.to_string();
            assert_refused(plugin.request(&jwt_authn(fields)), &about);
        }
        let elsewhere = json!({"envoy.filters.http.other": {"th_jwt": {"iss": ISSUER}}});
        assert_refused(plugin.request(&key().metadata(elsewhere)), "elsewhere");
    });
}

#[test]
fn the_payload_lies_where_the_operator_says() {
    worker(|envoy| {
        let identity = json!({"payloadKey": "payload"});
        let plugin = envoy.plugin(&configuration(&of_issuer(), &identity));
        let payload = json!({"iss": ISSUER});
        let right = jwt_authn(json!({"payload": payload}));
        assert_served(plugin.request(&right), "there");
        assert_refused(plugin.request(&key().checked(&payload)), "not there");
    });
}

/// Every `ext_authz` filter shares that namespace.
#[test]
fn only_upstream_tokens_that_are_not_empty_are_somebody_in_the_identitys_namespace() {
    worker(|envoy| {
        let plugin = envoy.plugin(&configuration(&of_issuer(), &json!({})));
        let tokens = json!({"upstream_tokens": {"github": "CANARY-gho"}});
        assert_served(plugin.request(&key().identity(tokens)), "tokens");
        for identity in [
            json!({}),
            json!({"allowed": true, "user": "alice"}),
            json!({"upstream_tokens": null}),
            json!({"upstream_tokens": {}}),
            json!({"upstream_tokens": {"github": ""}}),
            json!({"upstream_tokens": {"github": null}}),
            json!({"upstream_tokens": {"github": 7}}),
            json!({"upstream_tokens": "CANARY"}),
            json!({"upstream_tokens": ["CANARY"]}),
            json!({"upstream_unavailable": {"github": true}}),
            json!({"upstream_id_tokens": {"github": "CANARY"}}),
        ] {
            let about = identity.to_string();
            assert_refused(plugin.request(&key().identity(identity)), &about);
        }
    });
}

#[test]
fn the_marker_of_a_health_check_is_nobody() {
    worker(|envoy| {
        let plugin = envoy.plugin(&configuration(&of_issuer(), &json!({})));
        let marked = key().identity(json!({"health_check": true}));
        let stream = plugin.request(&marked.field("x-api-key", "the client's own"));
        assert_eq!(stream.received("x-api-key"), [""; 0]);
        assert_eq!(stream.received("authorization"), [""; 0]);
        let known = key()
            .checked(&json!({"iss": ISSUER}))
            .metadata(json!({"envoy.filters.http.ext_authz": {"health_check": true}}));
        assert_served(plugin.request(&known), "somebody's health check");
    });
}

#[test]
fn the_operator_can_say_that_nobody_is_needed_and_needs_not_say_so_without_an_auth_server() {
    worker(|envoy| {
        let open = configuration(&of_issuer(), &json!({"required": false}));
        let plugin = envoy.plugin(&open);
        assert_served(plugin.request(&key()), "not required");
        let mut without = configuration(&of_issuer(), &json!({}));
        without.as_object_mut().unwrap().remove("authServer");
        let plugin = envoy.plugin(&without);
        assert_served(plugin.request(&key()), "no auth server");
        without["identity"] = json!({"required": true});
        let plugin = envoy.plugin(&without);
        assert_refused(plugin.request(&key()), "required");
        let known = key().checked(&json!({"iss": "https://any.example.com"}));
        assert_served(plugin.request(&known), "of any issuer");
    });
}
