//! A health check that has no credential goes out without one, and only the identity says what is one.

use bed::{Answer, Bed, PluginConfig, Request, canary};
use serde_json::{Value, json};
use std::time::Duration;

use crate::exchange_lane::{Lane, PROVIDER, lanes, patient_lanes};
use crate::plugin;
use crate::trial::{SharedBed, trials};

trials!("health_checks":
    a_marked_request_of_nobody_carries_no_credential,
    a_marked_request_that_lacks_nothing_is_like_any_other,
    a_marker_of_another_type_marks_nothing,
    a_header_marks_nothing,
    a_marked_request_asks_nobody_although_its_identity_is_in_hand,
);

static BED: SharedBed = SharedBed::new();

async fn bed() -> &'static Bed {
    let backends = json!({
        "inject": plugin::inject("github"),
        "header": plugin::header("x-api-key", &canary::token("key-", "health")),
        "authorization": plugin::header("authorization", &canary::token("Basic ", "health")),
        "open": plugin::open(),
        "strings": plugin::inject("github"),
        "headers": plugin::inject("github"),
    });
    let config = plugin::config(&["github"], backends);
    BED.get(|| {
        let mut plan = Bed::with("health", PluginConfig::Json(config)).backend("unlisted");
        for name in [
            "inject",
            "header",
            "authorization",
            "open",
            "strings",
            "headers",
        ] {
            plan = plan.backend(name);
        }
        plan.start()
    })
    .await
}

fn identity(marker: Value) -> Value {
    json!({"upstream_tokens": {"github": canary::token("gho_", "alice")}, "health_check": marker})
}

/// With the identity by exchange, an STS is asked for a user whose upstream token is in hand, and for no
/// probe.
async fn a_marked_request_asks_nobody_although_its_identity_is_in_hand() {
    let identity = json!({
        "source": "exchange",
        "exchange": {
            "tokenUrl": "http://localhost/identity", "cluster": "sts-identity", "timeout": "60s",
        },
    });
    let bed = lanes(
        "health-by-exchange",
        &patient_lanes(["api"]),
        json!({"identity": identity}),
    )
    .sts("sts-identity")
    .start()
    .await;
    let lane = Lane::of(&bed, "api");
    let session = |identity| bed.embedded_as.set_session("of-the-prober", identity);
    session(json!({}));
    let issuer = bed.embedded_as.issuer();
    let jwt = issuer.mint("prober", "of-the-prober", Duration::from_secs(3600));
    lane.sts()
        .set_script(|_| Answer::error(400, "invalid_grant"));
    let reply = lane.get(&jwt, "as-a-user").await;
    assert_eq!(reply.json()["error"], "token_exchange_rejected");
    let subject = lane.sts().requests()[0].parameter("subject_token");
    session(json!({"health_check": true}));
    for _ in 0..3 {
        let reply = lane.get(&jwt, "as-a-probe").await;
        assert_eq!(reply.status, 200, "{}", reply.text());
        assert_eq!(reply.seen("authorization"), [""; 0]);
    }
    lane.expect_outcome("health_check", 3).await;
    assert_eq!(lane.sts().calls(), 1);
    let of_identity = bed.sts_named("sts-identity").requests();
    assert_eq!(of_identity.len(), 1);
    assert_eq!(of_identity[0].parameter("audience"), PROVIDER);
    assert_ne!(subject, jwt);
}

/// Nobody has checked who the prober is, and it has no token.
async fn a_marked_request_of_nobody_carries_no_credential() {
    let bed = bed().await;
    bed.embedded_as
        .set_session("", json!({"health_check": true}));
    for backend in ["inject", "header", "authorization", "open", "unlisted"] {
        for client in [bed.http1(), bed.http2()] {
            let request = Request::get(&format!("/{backend}/healthz"))
                .header("authorization", "Basic of-the-prober");
            let reply = client.send(request).await;
            assert_eq!(reply.status, 200, "{backend}: {}", reply.text());
            assert_eq!(reply.seen("authorization"), [""; 0], "{backend}");
            assert_eq!(reply.seen("x-api-key"), [""; 0], "{backend}");
        }
        let outcome = match backend {
            "open" => "unauthenticated",
            _ => "health_check",
        };
        bed.expect_outcome(backend, outcome, 2).await;
    }
}

/// The marker decides only where the request would be refused, or a token exchanged.
async fn a_marked_request_that_lacks_nothing_is_like_any_other() {
    let bed = bed().await;
    let jwt = bed.embedded_as.login("prober", identity(json!(true)));
    for (backend, header, expected) in [
        (
            "strings",
            "authorization",
            format!("Bearer {}", canary::token("gho_", "alice")),
        ),
        ("header", "x-api-key", canary::token("key-", "health")),
    ] {
        let request = Request::get(&format!("/{backend}/known")).bearer(&jwt);
        let reply = bed.http1().send(request).await;
        assert_eq!(reply.seen(header), [expected], "{backend}");
    }
}

async fn a_marker_of_another_type_marks_nothing() {
    let bed = bed().await;
    for marker in [
        json!("true"),
        json!(1),
        json!(false),
        json!([true]),
        json!({"a": true}),
    ] {
        let jwt = bed.embedded_as.login("alice", identity(marker.clone()));
        let reply = bed
            .http1()
            .send(Request::get("/strings/a").bearer(&jwt))
            .await;
        let expected = format!("Bearer {}", canary::token("gho_", "alice"));
        assert_eq!(reply.seen("authorization"), [expected], "{marker}");
    }
    let jwt = bed.embedded_as.login("alice", identity(Value::Null));
    let reply = bed
        .http1()
        .send(Request::get("/strings/null").bearer(&jwt))
        .await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    assert_eq!(reply.seen("authorization").len(), 1);
    assert_eq!(bed.outcome("strings", "health_check").await, 0);
}

async fn a_header_marks_nothing() {
    let bed = bed().await;
    let jwt = bed.login("alice", json!({}));
    let request = Request::get("/headers/a")
        .bearer(&jwt)
        .header("health_check", "true")
        .header("x-health-check", "true")
        .header("user-agent", "Envoy/HC");
    assert_eq!(bed.http1().send(request).await.status, 401);
    assert!(bed.backend("headers").requests().is_empty());
}
