//! A request that waits for a token: nothing is on it, and it stands in nobody's way.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bed::{Answer, Bed, Placement, PluginConfig, Reply, Request, bootstrap, eventually};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use crate::exchange_lane::{Lane, assert_refused, configuration, exchanged, lanes};
use crate::trial::trials;

trials!("waiting":
    what_envoy_lets_go_early_goes_bare,
    a_backend_that_closes_an_idle_connection_meanwhile_costs_nobody_a_request,
    a_slow_sts_leaves_the_backend_to_those_who_have_a_token,
    an_sts_that_closes_a_kept_connection_costs_nobody_a_login,
);

/// With this option of the plugin, Envoy lets a request's body go on while its header waits.
async fn what_envoy_lets_go_early_goes_bare() {
    for placement in Placement::ALL {
        for door in [true, false] {
            let mut plan = lanes("early", &[("early", json!({}))], json!({}))
                .placed(placement)
                .plugin_options(&json!({"allow_on_headers_stop_iteration": true}));
            if !door {
                plan = plan.without_the_door();
            }
            let bed = plan.start().await;
            let lane = Lane::of(&bed, "early");
            let jwt = lane.login("early");
            lane.sts().hold();
            let client = bed.http1();
            let request = Request::post("/early/a", vec![b'b'; 100_000]).bearer(&jwt);
            let sent = tokio::spawn(async move { client.try_send(request).await.ok() });
            lane.sts().reached(1).await;
            // If it does not wait, it is there by now; what was held back is not.
            let _ = tokio::time::timeout(Duration::from_millis(300), async {
                while lane.backend().requests().is_empty() {
                    tokio::time::sleep(Duration::from_millis(10)).await;
                }
            })
            .await;
            for early in lane.backend().requests() {
                assert_eq!(early.values("authorization"), [""; 0], "{placement:?}");
            }
            lane.sts().release();
            let reply = sent.await.expect("no panic");
            assert!(reply.is_some(), "{placement:?}: no answer");
            for request in lane.backend().requests() {
                for value in request.values("authorization") {
                    assert!(value.starts_with("Bearer sts_"), "{placement:?}: {value}");
                }
            }
        }
    }
}

/// A backend that answers each request, and closes all its connections when it is told to.
struct Fickle {
    told: watch::Sender<()>,
    accepted: AtomicUsize,
    closed: AtomicUsize,
    served: AtomicUsize,
}

impl Fickle {
    async fn start() -> (SocketAddr, Arc<Self>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("an address");
        let backend = Arc::new(Self {
            told: watch::Sender::new(()),
            accepted: AtomicUsize::new(0),
            closed: AtomicUsize::new(0),
            served: AtomicUsize::new(0),
        });
        let accepting = Arc::clone(&backend);
        tokio::spawn(async move {
            loop {
                let stream = bed::accept(&listener).await;
                let told = accepting.told.subscribe();
                accepting.accepted.fetch_add(1, Ordering::Relaxed);
                tokio::spawn(Arc::clone(&accepting).serve(stream, told));
            }
        });
        (address, backend)
    }

    async fn serve(self: Arc<Self>, mut stream: TcpStream, mut told: watch::Receiver<()>) {
        let mut head = Vec::new();
        let mut buffer = [0; 4096];
        loop {
            let read = tokio::select! {
                read = stream.read(&mut buffer) => read,
                _ = told.changed() => Ok(0),
            };
            let Ok(length @ 1..) = read else {
                drop(stream);
                self.closed.fetch_add(1, Ordering::Relaxed);
                return;
            };
            head.extend_from_slice(&buffer[..length]);
            if head.ends_with(b"\r\n\r\n") {
                head.clear();
                self.served.fetch_add(1, Ordering::Relaxed);
                let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
                if stream.write_all(answer).await.is_err() {
                    return;
                }
            }
        }
    }

    /// Closes the connections that there are, of which there must be some.
    async fn hang_up(&self) {
        let closed = self.closed.load(Ordering::Relaxed);
        eventually("a connection to the backend", || async {
            (self.accepted.load(Ordering::Relaxed) > closed).then_some(())
        })
        .await;
        self.told.send_replace(());
        eventually("the backend to hang up", || async {
            (self.closed.load(Ordering::Relaxed) > closed).then_some(())
        })
        .await;
    }
}

/// The one retry that the shipped configurations have; in the router the connection is taken before
/// the wait begins.
async fn a_backend_that_closes_an_idle_connection_meanwhile_costs_nobody_a_request() {
    let (address, backend) = Fickle::start().await;
    let bed = Bed::with(
        "fickle",
        PluginConfig::Json(configuration(
            &[("hasty", json!({"timeout": "60s"}))],
            json!({}),
        )),
    )
    .sts("sts-hasty")
    .cluster(bootstrap::cluster("hasty", address, false, &[]))
    .route(json!({
        "match": {"prefix": "/hasty/"},
        "route": {
            "cluster": "hasty", "timeout": "0s",
            "retry_policy": {"retry_on": "connect-failure,reset-before-request", "num_retries": 1},
        },
    }))
    .start()
    .await;
    let lane = Lane::of(&bed, "hasty");
    for user in 0..3usize {
        lane.sts().hold();
        let request = Request::get("/hasty/a").bearer(&lane.login(&format!("waits-{user}")));
        let client = bed.http1();
        let sent = tokio::spawn(async move { client.try_send(request).await.ok() });
        lane.sts().reached(user + 1).await;
        backend.hang_up().await;
        lane.sts().release();
        let reply = sent.await.expect("no panic").expect("an answer");
        assert_eq!((reply.status, reply.text()), (200, "ok".to_owned()));
        assert_eq!(backend.served.load(Ordering::Relaxed), user + 1);
    }
}

/// How many requests wait for one backend in a worker at most.
const PLACES: usize = 512;

/// Waiting requests count as the backend's: there are fewer of them than the cluster admits.
async fn a_slow_sts_leaves_the_backend_to_those_who_have_a_token() {
    let all = [("crowded", json!({"timeout": "60s"}))];
    let config = PluginConfig::Json(configuration(&all, json!({})));
    // Over HTTP/2 they need no connection each.
    let bed = Bed::with("crowded", config)
        .sts("sts-crowded")
        .http2_backend("crowded")
        .start()
        .await;
    let lane = Lane::of(&bed, "crowded");
    let privileged = lane.login("privileged");
    let token = lane.get_ok(&privileged, "first").await;
    lane.sts().hold();
    let jwt = lane.login("crowd");
    let client = bed.http2();
    let mut waiting = tokio::task::JoinSet::new();
    for number in 0..PLACES + 50 {
        let (client, request) = (
            client.clone(),
            lane.request(&jwt, &format!("crowd-{number}")),
        );
        waiting.spawn(async move { client.send(request).await });
        // The auth server is not what is to be crowded here.
        if number % 64 == 63 {
            let asked = u64::try_from(number).expect("a small number") + 2;
            bed.envoy.expect_stat("http.main.ext_authz.ok", asked).await;
        }
    }
    let mut refused = 0;
    // Those for whom there was no place are told so at once; the others wait.
    while refused < 50 {
        let reply: Reply = waiting
            .join_next()
            .await
            .expect("a reply")
            .expect("no panic");
        assert_refused(&reply, 503, "token_exchange_unavailable");
        refused += 1;
    }
    for _ in 0..10 {
        assert_eq!(lane.get_ok(&privileged, "again").await, token);
    }
    lane.sts().release();
    let mut served = 0;
    while let Some(reply) = waiting.join_next().await {
        exchanged(&reply.expect("no panic"));
        served += 1;
    }
    assert_eq!(served, PLACES);
}

/// A kept connection that turns out to be closed is found out by the call after it.
async fn an_sts_that_closes_a_kept_connection_costs_nobody_a_login() {
    let bed = lanes("closing", &[("closing", json!({}))], json!({}))
        .start()
        .await;
    let lane = Lane::of(&bed, "closing");
    for user in 0..10 {
        lane.get_ok(&lane.login(&format!("user-{user}")), "x").await;
        // The next call goes out on the connection of this one, and finds it closed.
        lane.sts().answer_next(Answer::close_before_headers());
    }
    eventually("the calls that were made once more", || async {
        (lane.sts().calls() >= 19).then_some(())
    })
    .await;
    lane.expect_sts("ok", 10).await;
    assert_eq!(lane.sts_count("unavailable").await, 0);
}
