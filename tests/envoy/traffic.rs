//! Traffic of every kind through the filter: it must neither stop, nor change, nor mix it.

use bed::{Bed, Client, PluginConfig, Request, canary, eventually};
use http_body_util::BodyExt;
use serde_json::json;
use sha2::{Digest, Sha256};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;

use crate::plugin;
use crate::trial::{SharedBed, trials};

trials!("traffic":
    a_large_upload_arrives_whole,
    a_large_download_arrives_whole,
    events_are_streamed_one_by_one,
    a_client_that_leaves_a_stream_is_noticed,
    grpc_calls_get_their_credential,
    users_interleaved_on_one_http1_connection_get_their_own_token,
    users_interleaved_on_one_http2_connection_get_their_own_token,
    a_backends_own_401_comes_back_unchanged,
);

static BED: SharedBed = SharedBed::new();

async fn bed() -> &'static Bed {
    let config = plugin::config(
        &["github"],
        json!({
            "one": plugin::inject("github"),
            "two": plugin::inject("github"),
            "grpc": plugin::inject("github"),
        }),
    );
    BED.get(|| {
        Bed::with("traffic", PluginConfig::Json(config))
            .concurrency(2)
            .backend("one")
            .http2_backend("two")
            .http2_backend("grpc")
            .route(json!({
                "match": {"prefix": "/grpc.health.v1.Health/"},
                "route": {"cluster": "grpc"},
            }))
            .start()
    })
    .await
}

fn token(user: &str) -> String {
    canary::token("gho_", user)
}

fn login(bed: &Bed, user: &str) -> String {
    bed.login(user, json!({"github": token(user)}))
}

async fn a_large_upload_arrives_whole() {
    let bed = bed().await;
    let jwt = login(bed, "alice");
    let body: Vec<u8> = (0..8_000_000_u32)
        .map(|index| (index % 251) as u8)
        .collect();
    let sha256: String = Sha256::digest(&body)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    for (client, path) in [(bed.http1(), "/one/upload"), (bed.http2(), "/two/upload")] {
        let reply = client
            .send(Request::post(path, body.clone()).bearer(&jwt))
            .await;
        assert_eq!(reply.status, 200, "{}", reply.text());
        assert_eq!(
            reply.json()["body"],
            json!({"length": body.len(), "sha256": sha256})
        );
        assert_eq!(
            reply.seen("authorization"),
            [format!("Bearer {}", token("alice"))]
        );
    }
}

async fn a_large_download_arrives_whole() {
    let bed = bed().await;
    let jwt = login(bed, "alice");
    let reply = bed
        .http2()
        .send(Request::get("/one/bytes/30000000").bearer(&jwt))
        .await;
    assert_eq!((reply.status, reply.body.len()), (200, 30_000_000));
}

async fn events_are_streamed_one_by_one() {
    let bed = bed().await;
    let jwt = login(bed, "alice");
    let request = Request::get("/one/events").bearer(&jwt);
    let mut answer = bed
        .http1()
        .try_open(request)
        .await
        .expect("the headers of an answer");
    let mut stream = bed.backend("one").next_stream().await;
    for index in 0..50 {
        let event = format!("id: {index}\ndata: x\n\n");
        assert!(stream.send(event.clone()).await);
        // The next event is only sent once this one has arrived: nothing may hold it back.
        let frame = answer.frame().await.expect("a frame").expect("no error");
        assert_eq!(frame.into_data().expect("data"), event);
    }
    drop(stream);
    assert!(
        answer.frame().await.is_none(),
        "the stream ends where the backend ended it"
    );
}

async fn a_client_that_leaves_a_stream_is_noticed() {
    let bed = bed().await;
    let jwt = login(bed, "alice");
    let client = bed.http2();
    let answer = client
        .try_open(Request::get("/two/events").bearer(&jwt))
        .await
        .expect("headers");
    let stream = tokio::sync::Mutex::new(bed.backend("two").next_stream().await);
    drop(answer);
    eventually("the backend to notice that the client is gone", || async {
        (!stream.lock().await.send("data: x\n\n").await).then_some(())
    })
    .await;
}

async fn grpc_calls_get_their_credential() {
    let bed = bed().await;
    let jwt = login(bed, "grace");
    let origin = format!("http://{}/", bed.address()).parse().expect("a URI");
    let mut health = HealthClient::with_origin(bed.http2().grpc_transport(), origin);
    let call = || {
        let mut request = tonic::Request::new(HealthCheckRequest::default());
        let bearer = format!("Bearer {jwt}").parse().expect("a metadata value");
        request.metadata_mut().insert("authorization", bearer);
        request
    };
    let answer = health.check(call()).await.expect("an answer");
    assert_eq!(answer.get_ref().status(), ServingStatus::Serving);
    let mut watched = health.watch(call()).await.expect("a stream");
    let first = watched
        .get_mut()
        .message()
        .await
        .expect("no error")
        .expect("a message");
    assert_eq!(first.status(), ServingStatus::Serving);
    let seen = bed.backend("grpc").requests_with("/grpc.health");
    assert_eq!(seen.len(), 2);
    for request in seen {
        assert_eq!(
            request.values("authorization"),
            [format!("Bearer {}", token("grace"))]
        );
    }
}

async fn users_interleaved_on_one_http1_connection_get_their_own_token() {
    let bed = bed().await;
    let users = ["alice", "bob"].map(|user| (user, login(bed, user)));
    let client = bed.http1();
    for _ in 0..50 {
        for (user, jwt) in &users {
            assert_own_token(&client, user, jwt).await;
        }
    }
}

async fn users_interleaved_on_one_http2_connection_get_their_own_token() {
    let bed = bed().await;
    let client = bed.http2();
    let mut tasks = tokio::task::JoinSet::new();
    for index in 0..20 {
        let user = format!("user-{index}");
        let jwt = login(bed, &user);
        let client = client.clone();
        tasks.spawn(async move {
            for _ in 0..20 {
                assert_own_token(&client, &user, &jwt).await;
            }
        });
    }
    while let Some(ended) = tasks.join_next().await {
        ended.expect("every user got their own token");
    }
}

async fn assert_own_token(client: &Client, user: &str, jwt: &str) {
    for path in ["/one/mine", "/two/mine"] {
        let reply = client.send(Request::get(path).bearer(jwt)).await;
        assert_eq!(reply.status, 200, "{}", reply.text());
        assert_eq!(
            reply.seen("authorization"),
            [format!("Bearer {}", token(user))]
        );
    }
}

/// An expired upstream token is sent as it is; what the backend says of it is for the client.
async fn a_backends_own_401_comes_back_unchanged() {
    let bed = bed().await;
    let jwt = login(bed, "alice");
    let reply = bed
        .http1()
        .send(Request::get("/one/status/401").bearer(&jwt))
        .await;
    assert_eq!((reply.status, reply.is_from_backend()), (401, true));
    assert_eq!(reply.text(), "as asked for");
}
