//! Many requests for one token at the same time: one call answers them all, whoever goes away
//! meanwhile.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use bed::{Answer, Bed, Client, Reply, Request, eventually};
use serde_json::json;
use sha2::{Digest, Sha256};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use crate::exchange_lane::{Lane, MARGIN, assert_refused, exchanged, lanes, patient};
use crate::trial::{SharedBed, trials};

trials!(
    "exchange_stampede":
    two_hundred_posts_wait_for_one_call,
    two_hundred_streams_of_one_connection_wait_for_one_call,
    two_workers_make_one_call,
    the_client_that_caused_the_call_may_leave,
    all_clients_may_leave,
    those_who_wait_are_all_told_of_a_refusal,
    those_who_wait_are_told_in_time_that_the_sts_hangs,
    each_who_waits_is_refused_in_its_own_name,
    no_more_than_512_wait_for_one_backend,
    five_hundred_who_wait_can_be_refused_together,
);

static BED: SharedBed = SharedBed::new();

/// As many requests of one backend as may wait.
const PLACES: u64 = 512;
/// As many clients as wait at once.
const CROWD: usize = 200;

async fn bed() -> &'static Bed {
    BED.get(|| {
        let mut twin = patient();
        twin["tokenUrl"] = json!("http://localhost/twin");
        twin["cluster"] = json!("sts-twin");
        let mut other_twin = twin.clone();
        other_twin["externalTokenHeaderName"] = json!("x-token");
        let mut all = vec![("twin", twin), ("other-twin", other_twin)];
        for name in [
            "posts",
            "streams",
            "leader",
            "nobody",
            "refused",
            "crowded",
            "crowd-refused",
        ] {
            // What is tested here takes as long as the machine is busy.
            all.push((name, patient()));
        }
        all.push(("hanging", json!({"timeout": "3s"})));
        lanes("exchange-stampede", &all, json!({})).start()
    })
    .await
}

/// A body of each client's own; each eighth is larger than what Envoy and the kernel buffer.
fn body(client: usize) -> Vec<u8> {
    let length = if client.is_multiple_of(8) {
        600_000
    } else {
        3_000
    };
    let seed = client.to_le_bytes();
    (0..length + client)
        .map(|at| seed[at % seed.len()] ^ (at as u8))
        .collect()
}

fn posts(lane: Lane<'_>, jwt: &str) -> Vec<Request> {
    (0..CROWD)
        .map(|client| Request::post(&format!("/{}/{client}", lane.name), body(client)).bearer(jwt))
        .collect()
}

/// Asserts that each client's own request got through with its own body, all with one token.
fn assert_all_served(lane: Lane<'_>, replies: &[Reply]) -> BTreeSet<String> {
    for (client, reply) in replies.iter().enumerate() {
        assert_eq!(reply.status, 200, "client {client}: {}", reply.text());
        let expected = body(client);
        let hash: String = Sha256::digest(&expected)
            .iter()
            .map(|b| format!("{b:02x}"))
            .collect();
        let echo = reply.json();
        assert_eq!(echo["path"], format!("/{}/{client}", lane.name));
        assert_eq!(echo["body"]["length"], expected.len());
        assert_eq!(echo["body"]["sha256"], hash);
    }
    assert_eq!(lane.backend().requests().len(), replies.len());
    replies.iter().map(exchanged).collect()
}

async fn two_hundred_posts_wait_for_one_call() {
    let lane = Lane::of(bed().await, "posts");
    let jwt = lane.login("alice");
    lane.sts().hold();
    let (replies, ()) = tokio::join!(lane.all_at_once(posts(lane, &jwt)), async {
        lane.expect_sts("joined", CROWD as u64 - 1).await;
        lane.sts().release();
    });
    assert_eq!(assert_all_served(lane, &replies).len(), 1);
    assert_eq!(lane.sts().calls(), 1);
    lane.expect_outcome("exchanged", CROWD as u64).await;
    lane.expect_sts("ok", 1).await;
    assert_eq!(lane.sts_count("cache_hit").await, 0);
}

async fn two_hundred_streams_of_one_connection_wait_for_one_call() {
    let lane = Lane::of(bed().await, "streams");
    let jwt = lane.login("alice");
    lane.sts().hold();
    let client = lane.bed.http2();
    let (replies, ()) = tokio::join!(lane.all_with(&client, posts(lane, &jwt)), async {
        // How many streams a connection may have is Envoy's to say; some wait for it.
        lane.sts().reached(1).await;
        eventually("requests that wait", || async {
            (lane.sts_count("joined").await >= 20).then_some(())
        })
        .await;
        lane.sts().release();
    });
    assert_eq!(assert_all_served(lane, &replies).len(), 1);
    assert_eq!(lane.sts().calls(), 1);
}

async fn two_workers_make_one_call() {
    let bed = lanes("exchange-workers", &[("workers", patient())], json!({}))
        .concurrency(2)
        .start()
        .await;
    let lane = Lane::of(&bed, "workers");
    let jwt = lane.login("alice");
    lane.sts().hold();
    let (replies, ()) = tokio::join!(lane.all_at_once(posts(lane, &jwt)), async {
        // The first request calls, all others wait, of that worker and of the other one.
        eventually("everybody to wait", || async {
            let [joined, shared] = [lane.sts_count("joined"), lane.sts_count("shared")];
            let waiting = joined.await + shared.await + lane.sts().calls() as u64;
            (waiting == CROWD as u64).then_some(())
        })
        .await;
        lane.sts().release();
    });
    assert_all_served(lane, &replies);
    assert_eq!(lane.sts().calls(), 1);
    lane.expect_sts("ok", 1).await;
    lane.expect_outcome("exchanged", CROWD as u64).await;
    // Each worker that it served holds the token.
    let workers = 1 + u64::from(lane.sts_count("shared").await > 0);
    bed.envoy
        .expect_stat("wasmcustom.upstream_inject.cache.entries", workers)
        .await;
}

/// Sends a request on a connection that can be closed at any moment.
async fn send_and_hold(bed: &Bed, lane: &str, jwt: &str) -> TcpStream {
    let mut stream = TcpStream::connect(bed.address())
        .await
        .expect("a connection");
    let head = format!(
        "POST /{lane}/left HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {jwt}\r\ncontent-length: 5\r\n\r\nhello"
    );
    stream.write_all(head.as_bytes()).await.expect("sent");
    stream
}

/// Waits until Envoy has noticed that the requests of this lane have gone away.
async fn expect_gone(lane: Lane<'_>, count: usize) {
    let path = format!("/{}/left", lane.name);
    eventually("Envoy to notice that clients have gone", || async {
        let lines = lane.bed.envoy.access_log();
        (lines.iter().filter(|line| line["path"] == path).count() == count).then_some(())
    })
    .await;
}

async fn the_client_that_caused_the_call_may_leave() {
    let lane = Lane::of(bed().await, "leader");
    let jwt = lane.login("alice");
    lane.sts().hold();
    let leader = send_and_hold(lane.bed, lane.name, &jwt).await;
    lane.sts().reached(1).await;
    let others = (0..10)
        .map(|n| lane.request(&jwt, &n.to_string()))
        .collect();
    let (replies, ()) = tokio::join!(lane.all_at_once(others), async {
        lane.expect_sts("joined", 10).await;
        drop(leader);
        expect_gone(lane, 1).await;
        lane.sts().release();
    });
    let tokens: BTreeSet<_> = replies.iter().map(exchanged).collect();
    assert_eq!(tokens.len(), 1);
    assert_eq!(lane.sts().calls(), 1);
    assert!(
        lane.backend().requests_with("/left").is_empty(),
        "forwarded after its client left"
    );
}

async fn all_clients_may_leave() {
    let lane = Lane::of(bed().await, "nobody");
    let jwt = lane.login("alice");
    lane.sts().hold();
    let mut clients = vec![send_and_hold(lane.bed, lane.name, &jwt).await];
    lane.sts().reached(1).await;
    for _ in 0..5 {
        clients.push(send_and_hold(lane.bed, lane.name, &jwt).await);
    }
    lane.expect_sts("joined", 5).await;
    drop(clients);
    expect_gone(lane, 6).await;
    lane.sts().release();
    lane.expect_sts("ok", 1).await;
    // The call was not in vain.
    lane.get_ok(&jwt, "next").await;
    assert_eq!(lane.sts().calls(), 1);
    assert_eq!(lane.backend().requests().len(), 1);
}

async fn those_who_wait_are_all_told_of_a_refusal() {
    let lane = Lane::of(bed().await, "refused");
    let jwt = lane.login("alice");
    lane.sts().answer_next(Answer::error(400, "invalid_target"));
    lane.sts().hold();
    let requests = (0..50)
        .map(|n| lane.request(&jwt, &n.to_string()))
        .collect();
    let (replies, released) = tokio::join!(lane.all_at_once(requests), async {
        lane.expect_sts("joined", 49).await;
        let released = Instant::now();
        lane.sts().release();
        released
    });
    let seconds = released.elapsed().as_secs() as usize;
    for reply in &replies {
        assert_refused(reply, 403, "token_exchange_forbidden");
    }
    assert_eq!(lane.sts().calls(), 1);
    lane.expect_sts("forbidden", 1).await;
    lane.expect_outcome("token_exchange_forbidden", 50).await;
    assert!(lane.backend().requests().is_empty());
    lane.get_ok(&jwt, "next").await;

    // One line for all of them: the rest are counted in the next one, if there is one.
    let log = lane.bed.envoy.log();
    let start = "token_exchange_forbidden: backend \"refused\"";
    let lines = log.matches(start).count();
    assert!(
        (1..=2 + seconds).contains(&lines),
        "more than a line a second: {lines} after {seconds} s"
    );
}

async fn those_who_wait_are_told_in_time_that_the_sts_hangs() {
    let lane = Lane::of(bed().await, "hanging");
    let jwt = lane.login("alice");
    lane.sts().set_script(|_| Answer::hang());
    let mut all = 0;
    let mut took = Vec::new();
    // A machine that stops for seconds may be late once, but hardly each of three times.
    while took.len() < 3 {
        let start = Instant::now();
        let requests = (0..50)
            .map(|n| lane.request(&jwt, &n.to_string()))
            .collect();
        let replies = lane.all_at_once(requests).await;
        let elapsed = start.elapsed();
        took.push(elapsed);
        assert!(
            elapsed >= Duration::from_millis(2900),
            "answered after {elapsed:?}"
        );
        for reply in &replies {
            assert_refused(reply, 504, "token_exchange_timeout");
        }
        all += 50;
        lane.expect_outcome("token_exchange_timeout", all).await;
        if elapsed < Duration::from_secs(3) + MARGIN {
            break;
        }
    }
    let in_time = |took: &Duration| *took < Duration::from_secs(3) + MARGIN;
    assert!(took.iter().any(in_time), "answered after {took:?}");
    lane.sts().set_script(Answer::token_for);
    // Its timeout is short for a machine that stops.
    eventually("the next one to be served", || async {
        let reply = lane.get(&jwt, "next").await;
        if reply.status != 200 {
            assert_refused(&reply, 504, "token_exchange_timeout");
            return None;
        }
        Some(exchanged(&reply))
    })
    .await;
}

async fn each_who_waits_is_refused_in_its_own_name() {
    // Two backends with one and the same exchange, but for the header that carries the token.
    let lane = Lane::of(bed().await, "twin");
    let other = Lane::of(bed().await, "other-twin");
    let jwt = lane.login("alice");
    lane.sts().hold();
    lane.sts().answer_next(Answer::error(400, "invalid_scope"));
    let grpc = Request::post("/twin/grpc", "")
        .bearer(&jwt)
        .header("content-type", "application/grpc")
        .header("te", "trailers");
    let (plain, odd, called) = (lane.bed.http1(), lane.bed.http1(), lane.bed.http2());
    let (first, second, third, ()) = tokio::join!(
        plain.send(lane.request(&jwt, "x")),
        odd.send(other.request(&jwt, "x")),
        called.send(grpc),
        all_wait(lane, other, 3),
    );
    assert_eq!(lane.sts().calls(), 1, "one exchange, one call");
    for (reply, backend) in [(&first, "twin"), (&second, "other-twin")] {
        assert_refused(reply, 403, "token_exchange_forbidden");
        assert_eq!(reply.json()["backend"], backend);
    }
    assert_eq!(
        (third.status, third.header("grpc-status").as_str()),
        (200, "7")
    );
    assert!(third.header("grpc-message").contains("denied"), "{third:?}");
    assert_eq!(third.body.len(), 0);

    // And each is served in its own header.
    lane.sts().hold();
    let (first, second, ()) = tokio::join!(
        plain.send(lane.request(&jwt, "y")),
        odd.send(other.request(&jwt, "y")),
        all_wait(lane, other, 5),
    );
    let token = exchanged(&first);
    assert_eq!(second.status, 200);
    assert_eq!(second.seen("x-token"), [format!("Bearer {token}")]);
    assert_eq!(second.seen("authorization"), Vec::<String>::new());
}

/// Waits until so many requests have called or joined, then lets the STS answer.
async fn all_wait(lane: Lane<'_>, other: Lane<'_>, count: usize) {
    eventually("everybody to wait", || async {
        let joined = lane.sts_count("joined").await + other.sts_count("joined").await;
        (joined as usize + lane.sts().calls() == count).then_some(())
    })
    .await;
    lane.sts().release();
}

/// Requests of one user, sent while the STS is held, as many of which wait as can.
async fn crowd(lane: Lane<'_>, jwt: &str, waves: u64) -> Vec<tokio::task::JoinHandle<Reply>> {
    lane.sts().hold();
    // Streams of a few connections: as many connections would need as many file descriptors. They
    // come in waves, since all at once are too many for the embedded AS.
    let clients: Vec<Client> = (0..20).map(|_| lane.bed.http2()).collect();
    let mut tasks = Vec::new();
    for wave in 1..=waves {
        for client in clients.iter().cycle().take(80) {
            let (client, request) = (client.clone(), lane.request(jwt, "x"));
            tasks.push(tokio::spawn(async move { client.send(request).await }));
        }
        let waiting = (wave * 80).min(PLACES);
        lane.expect_sts("joined", waiting - 1).await;
    }
    tasks
}

async fn no_more_than_512_wait_for_one_backend() {
    let lane = Lane::of(bed().await, "crowded");
    let tasks = crowd(lane, &lane.login("alice"), 7).await;
    let too_many = 7 * 80 - PLACES;
    lane.expect_outcome("token_exchange_unavailable", too_many)
        .await;
    lane.sts().release();
    let mut refused = 0;
    for task in tasks {
        let reply = task.await.expect("an answer");
        if reply.status != 200 {
            assert_refused(&reply, 503, "token_exchange_unavailable");
            refused += 1;
        }
    }
    assert_eq!(refused, too_many);
    assert_eq!(lane.sts().calls(), 1);
    lane.expect_sts("unavailable", too_many).await;
    lane.expect_outcome("exchanged", PLACES).await;
}

async fn five_hundred_who_wait_can_be_refused_together() {
    let lane = Lane::of(bed().await, "crowd-refused");
    let jwt = lane.login("alice");
    lane.sts().answer_next(Answer::error(400, "invalid_target"));
    let tasks = crowd(lane, &jwt, 7).await;
    lane.expect_outcome("token_exchange_unavailable", 7 * 80 - PLACES)
        .await;
    lane.sts().release();
    for task in tasks {
        let reply = task.await.expect("an answer");
        assert!([403, 503].contains(&reply.status), "{}", reply.status);
    }
    lane.expect_outcome("token_exchange_forbidden", PLACES)
        .await;
    lane.get_ok(&jwt, "next").await;
    // Envoy refuses streams one on top of the other; the VM must not run out of stack.
    let log = lane.bed.envoy.log();
    assert!(!log.contains("Maximum call stack"), "the VM has trapped");
    assert!(lane.backend().requests_with("/x").is_empty());
}
