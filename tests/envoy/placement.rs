//! What holds wherever the filter is: in the router, in clusters, in the chain before the router.

use bed::{Bed, Placement, PluginConfig, Request, canary};
use serde_json::{Value, json};

use crate::plugin;
use crate::trial::{SharedBed, trials};

trials!("placement":
    in_the_router_each_retry_carries_the_credential_once,
    in_the_router_refusals_say_what_to_do,
    in_the_router_streams_pass,
    in_clusters_each_retry_carries_the_credential_once,
    in_clusters_refusals_say_what_to_do,
    in_clusters_streams_pass,
    downstream_each_retry_carries_the_credential_once,
    downstream_refusals_say_what_to_do,
    downstream_streams_pass,
    without_the_door_the_filter_alone_keeps_the_token_in,
);

fn config() -> PluginConfig {
    PluginConfig::Json(plugin::config(
        &["first-idp", "second-idp"],
        json!({
            "first": plugin::inject("first-idp"),
            "second": plugin::inject("second-idp"),
            "retried": plugin::inject("first-idp"),
            "open": plugin::open(),
            "header": plugin::header("x-api-key", &canary::token("key-", "placement")),
        }),
    ))
}

fn plan(placement: Placement) -> bed::Plan {
    Bed::with("placement", config())
        .placed(placement)
        .route(json!({
            "match": {"prefix": "/retried/"},
            "route": {
                "cluster": "retried",
                "retry_policy": {
                    "retry_on": "5xx",
                    "num_retries": 2,
                    "retry_back_off": {"base_interval": "0.001s", "max_interval": "0.01s"},
                },
            },
        }))
        .backend("first")
        .backend("second")
        .backend("retried")
        .http2_backend("open")
        .backend("header")
        .backend("unlisted")
}

async fn bed(placement: Placement) -> &'static Bed {
    static BEDS: [SharedBed; 3] = [SharedBed::new(), SharedBed::new(), SharedBed::new()];
    let place = Placement::ALL.iter().position(|it| *it == placement);
    let bed = &BEDS[place.expect("a place of the filter")];
    bed.get(|| plan(placement).start()).await
}

fn tokens() -> Value {
    json!({
        "first-idp": canary::token("first_", "alice"),
        "second-idp": canary::token("second_", "alice"),
    })
}

async fn retries(placement: Placement) {
    let bed = bed(placement).await;
    let jwt = bed.login("alice", tokens());
    bed.backend("retried").answer_next([503, 502]);
    let reply = bed
        .http1()
        .send(Request::get("/retried/a").bearer(&jwt))
        .await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    let attempts = bed.backend("retried").requests_with("/retried/a");
    assert_eq!(attempts.len(), 3);
    for attempt in attempts {
        let own = format!("Bearer {}", canary::token("first_", "alice"));
        assert_eq!(attempt.values("authorization"), [own]);
    }
}

async fn refusals(placement: Placement) {
    let bed = bed(placement).await;
    let jwt = bed.login("bob", json!({"second-idp": "x"}));
    let reply = bed
        .http1()
        .send(Request::get("/first/refused").bearer(&jwt))
        .await;
    assert_eq!(reply.status, 401, "{}", reply.text());
    assert_eq!(reply.json()["error"], "upstream_token_not_found");
    assert_eq!(reply.header("cache-control"), "no-store");
    let challenge = reply.header("www-authenticate");
    assert!(challenge.starts_with("Bearer"), "{challenge}");
    let line = bed.access_log_of("/first/refused").await;
    assert_eq!(
        (line["outcome"].as_str(), line["backend"].as_str()),
        (Some("upstream_token_not_found"), Some("first"))
    );
    let reply = bed
        .http2()
        .send(Request::get("/unlisted/refused").bearer(&jwt))
        .await;
    assert_eq!(
        (reply.status, reply.json()["error"].as_str()),
        (500, Some("backend_not_configured"))
    );
    assert!(bed.backend("first").requests_with("refused").is_empty());
    assert!(bed.backend("unlisted").requests().is_empty());
}

async fn streams(placement: Placement) {
    let bed = bed(placement).await;
    let jwt = bed.login("alice", tokens());
    let body = vec![b'u'; 3_000_000];
    let reply = bed
        .http2()
        .send(Request::post("/second/upload", body).bearer(&jwt))
        .await;
    assert_eq!(
        (reply.status, reply.json()["body"]["length"].as_u64()),
        (200, Some(3_000_000))
    );
    let reply = bed
        .http1()
        .send(Request::get("/open/bytes/3000000").bearer(&jwt))
        .await;
    assert_eq!((reply.status, reply.body.len()), (200, 3_000_000));
}

async fn in_the_router_each_retry_carries_the_credential_once() {
    retries(Placement::Router).await;
}

async fn in_the_router_refusals_say_what_to_do() {
    refusals(Placement::Router).await;
}

async fn in_the_router_streams_pass() {
    streams(Placement::Router).await;
}

async fn in_clusters_each_retry_carries_the_credential_once() {
    retries(Placement::Clusters).await;
}

async fn in_clusters_refusals_say_what_to_do() {
    refusals(Placement::Clusters).await;
}

async fn in_clusters_streams_pass() {
    streams(Placement::Clusters).await;
}

async fn downstream_each_retry_carries_the_credential_once() {
    retries(Placement::Downstream).await;
}

async fn downstream_refusals_say_what_to_do() {
    refusals(Placement::Downstream).await;
}

async fn downstream_streams_pass() {
    streams(Placement::Downstream).await;
}

/// Two locks: what the door would have taken off, the filter takes off too.
async fn without_the_door_the_filter_alone_keeps_the_token_in() {
    for placement in Placement::ALL {
        let bed = plan(placement).without_the_door().start().await;
        let jwt = bed.login("alice", tokens());
        for client in [bed.http1(), bed.http2()] {
            for (path, header, expected) in [
                (
                    "/second/a",
                    "authorization",
                    Some(format!("Bearer {}", canary::token("second_", "alice"))),
                ),
                (
                    "/header/a",
                    "x-api-key",
                    Some(canary::token("key-", "placement")),
                ),
                ("/open/a", "authorization", None),
            ] {
                let reply = client.send(Request::get(path).bearer(&jwt)).await;
                let expected: Vec<String> = expected.into_iter().collect();
                assert_eq!(reply.seen(header), expected, "{placement:?} {path}");
                if header != "authorization" {
                    assert_eq!(reply.seen("authorization"), [""; 0], "{placement:?}");
                }
            }
        }
    }
}
