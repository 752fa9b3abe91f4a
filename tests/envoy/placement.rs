//! Where the filter stands decides whether a credential can end up at the wrong backend.

use bed::{Bed, Placement, PluginConfig, Request, canary};
use serde_json::{Value, json};

use crate::plugin;
use crate::trial::{SharedBed, trials};

trials!("placement":
    downstream_a_route_that_matches_on_authorization_misdirects_the_credential,
    upstream_the_same_route_is_harmless,
    upstream_each_retry_carries_the_credential_once,
    upstream_refusals_are_the_same,
    upstream_streams_pass,
);

/// A route that matches on the very header that the filter replaces: with the TH-JWT it leads to
/// `first`, with anything else to `second`.
fn treacherous_routes() -> [Value; 2] {
    [
        json!({
            "match": {
                "prefix": "/treacherous",
                "headers": [{
                    "name": "authorization",
                    "string_match": {"prefix": "Bearer ey"},
                }],
            },
            "route": {"cluster": "first"},
        }),
        json!({"match": {"prefix": "/treacherous"}, "route": {"cluster": "second"}}),
    ]
}

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

async fn start(placement: Placement) -> Bed {
    let mut plan = Bed::with("placement", config()).placed(placement);
    for route in treacherous_routes() {
        plan = plan.route(route);
    }
    plan.route(json!({
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
    .start()
    .await
}

static UPSTREAM: SharedBed = SharedBed::new();

async fn upstream() -> &'static Bed {
    UPSTREAM.get(|| start(Placement::Upstream)).await
}

fn tokens() -> Value {
    json!({
        "first-idp": canary::token("first_", "alice"),
        "second-idp": canary::token("second_", "alice"),
    })
}

/// This is why `envoy/` and the README warn: it is what Envoy does, and no filter in this place can
/// prevent it. Should it ever stop, the warning can go.
async fn downstream_a_route_that_matches_on_authorization_misdirects_the_credential() {
    let bed = start(Placement::Downstream).await;
    let jwt = bed.login("alice", tokens());
    let reply = bed
        .http1()
        .send(Request::get("/treacherous/a").bearer(&jwt))
        .await;
    assert_eq!(reply.json()["backend"], "second");
    let of_the_other = format!("Bearer {}", canary::token("first_", "alice"));
    assert_eq!(reply.seen("authorization"), [of_the_other]);
}

async fn upstream_the_same_route_is_harmless() {
    let bed = upstream().await;
    let jwt = bed.login("alice", tokens());
    for client in [bed.http1(), bed.http2()] {
        let reply = client
            .send(Request::get("/treacherous/a").bearer(&jwt))
            .await;
        assert_eq!(reply.json()["backend"], "first");
        let own = format!("Bearer {}", canary::token("first_", "alice"));
        assert_eq!(reply.seen("authorization"), [own]);
        for (path, header, expected) in [
            (
                "/second/a",
                "authorization",
                format!("Bearer {}", canary::token("second_", "alice")),
            ),
            ("/header/a", "x-api-key", canary::token("key-", "placement")),
        ] {
            let reply = client.send(Request::get(path).bearer(&jwt)).await;
            assert_eq!(reply.seen(header), [expected]);
        }
        let reply = client.send(Request::get("/open/a").bearer(&jwt)).await;
        assert_eq!(reply.seen("authorization"), [""; 0]);
    }
}

async fn upstream_each_retry_carries_the_credential_once() {
    let bed = upstream().await;
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

async fn upstream_refusals_are_the_same() {
    let bed = upstream().await;
    let jwt = bed.login("bob", json!({"second-idp": "x"}));
    let reply = bed
        .http1()
        .send(Request::get("/first/refused").bearer(&jwt))
        .await;
    assert_eq!(reply.status, 401, "{}", reply.text());
    assert_eq!(reply.json()["error"], "upstream_token_not_found");
    assert_eq!(reply.header("cache-control"), "no-store");
    assert!(
        reply
            .header("www-authenticate")
            .contains(r#"error="invalid_token""#)
    );
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

async fn upstream_streams_pass() {
    let bed = upstream().await;
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
