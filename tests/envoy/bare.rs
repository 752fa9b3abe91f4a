//! The bed itself, without the filter: what is tested elsewhere rests on this.

use std::time::Duration;

use bed::{Bed, Placement, PluginConfig, Request, canary};
use http_body_util::BodyExt;
use serde_json::json;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;

use crate::trial::{SharedBed, trials};

trials!("bare": a_request_passes_the_whole_chain, a_grpc_call_passes, events_pass_one_by_one);

static BED: SharedBed = SharedBed::new();

async fn bed() -> &'static Bed {
    BED.get(|| {
        Bed::with("bare", PluginConfig::Json(json!({})))
            .placed(Placement::Nowhere)
            .backend("plain")
            .http2_backend("grpc")
            .route(json!({"match": {"prefix": "/", "grpc": {}}, "route": {"cluster": "grpc"}}))
            .start()
    })
    .await
}

async fn a_request_passes_the_whole_chain() {
    let bed = bed().await;
    let checks = bed.embedded_as.checks();
    let jwt = bed.login("alice", json!({"github": canary::token("gho_", "alice")}));
    // Without the filter nothing removes the TH-JWT, and the backend must notice.
    let reply = bed
        .http1()
        .send(Request::get("/plain/a").bearer(&jwt))
        .await;
    assert_eq!(
        (reply.status, reply.text().as_str()),
        (500, "a TH-JWT reached a backend")
    );
    assert!(bed.embedded_as.checks() > checks);

    let stranger = bed
        .embedded_as
        .issuer()
        .mint("eve", "no-such-session", Duration::from_secs(60));
    let denied = bed
        .http2()
        .send(Request::get("/plain/b").bearer(&stranger))
        .await;
    assert!(!denied.is_from_backend(), "no session, no request");
    bed.embedded_as.set_session("", json!({}));
    let reply = bed
        .http2()
        .send(
            Request::post("/plain/c", "abc")
                .header("x-a", "1")
                .header("x-a", "2"),
        )
        .await;
    assert_eq!(reply.status, 200);
    assert_eq!(reply.seen("x-a"), ["1", "2"]);
    assert_eq!(reply.json()["body"]["length"], 3);
    assert_eq!(bed.access_log_of("/plain/c").await["status"], 200);
}

async fn a_grpc_call_passes() {
    let bed = bed().await;
    bed.embedded_as.set_session("", json!({}));
    let origin = format!("http://{}/", bed.address()).parse().expect("a URI");
    let transport = bed.http2().grpc_transport();
    let mut health = HealthClient::with_origin(transport, origin);
    let answer = health
        .check(HealthCheckRequest::default())
        .await
        .expect("an answer");
    assert_eq!(answer.get_ref().status(), ServingStatus::Serving);
    assert_eq!(bed.backend("grpc").requests_with("/grpc.health").len(), 1);
}

async fn events_pass_one_by_one() {
    let bed = bed().await;
    bed.embedded_as.set_session("", json!({}));
    let mut answer = bed
        .http1()
        .try_open(Request::get("/plain/events"))
        .await
        .expect("headers");
    let mut stream = bed.backend("plain").next_stream().await;
    for event in ["data: 1\n\n", "data: 2\n\n"] {
        assert!(stream.send(event).await);
        let frame = answer.frame().await.expect("a frame").expect("no error");
        assert_eq!(frame.into_data().expect("data"), event);
    }
    drop(stream);
    assert!(answer.frame().await.is_none());
}
