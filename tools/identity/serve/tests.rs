//! How long connections stay on which nothing is asked: the limits shortened, all else as it is served.

use std::time::Instant;

use bytes::Bytes;
use http_body_util::Full;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream};

use super::*;

const SHORT: Idle = Idle {
    between: Duration::from_millis(600),
    ping: Duration::from_millis(400),
    pong: Duration::from_millis(200),
};

/// A connection that is served with these limits.
fn served(idle: Idle) -> DuplexStream {
    served_with_room(idle, 64 * 1024)
}

/// A connection on which so many bytes may be under way.
fn served_with_room(idle: Idle, room: usize) -> DuplexStream {
    let (ours, theirs) = tokio::io::duplex(room);
    tokio::spawn(async move {
        let connections = GracefulShutdown::new();
        // Stops when its sender goes, which is when this task is over.
        let (_running, stop) = watch::channel(false);
        let answer = |_| async { Response::new(Full::new(Bytes::from_static(b"here"))) };
        let watcher = connections.watcher();
        connection(&builder(idle), idle.pong, theirs, answer, watcher, stop).await;
    });
    ours
}

/// How long until the server closes; what it says until then does not matter.
async fn until_closed(stream: &mut DuplexStream) -> Duration {
    let began = Instant::now();
    let mut said = Vec::new();
    let end = timeout(Duration::from_secs(20), stream.read_to_end(&mut said)).await;
    end.expect("the connection is closed")
        .expect("and not torn");
    began.elapsed()
}

#[tokio::test]
async fn a_connection_between_two_requests_is_closed_after_its_time_and_not_before() {
    // Long enough for a machine that has much else to do.
    let idle = Idle {
        between: Duration::from_secs(3),
        ..SHORT
    };
    let mut stream = served(idle);
    let mut closed = 0;
    let mut served_well = 0;
    // Each silence alone is within the limit; all of them together are not.
    while served_well < 4 {
        let silent_since = Instant::now();
        sleep(idle.between / 3).await;
        if is_answered(&mut stream).await {
            served_well += 1;
            continue;
        }
        // A machine that stands still makes a silence longer.
        let silence = silent_since.elapsed();
        assert!(silence > idle.between / 3 * 2, "closed after {silence:?}");
        closed += 1;
        assert!(closed < 5, "closed while it was used");
        (stream, served_well) = (served(idle), 0);
    }
    let took = until_closed(&mut stream).await;
    assert!(took >= idle.between / 2, "{took:?}");
}

/// Asks for something; false if the connection has been closed.
async fn is_answered(stream: &mut DuplexStream) -> bool {
    let request = b"GET / HTTP/1.1\r\nhost: x\r\n\r\n";
    if stream.write_all(request).await.is_err() {
        return false;
    }
    let mut answer = Vec::new();
    while !answer.ends_with(b"here") {
        let read = timeout(Duration::from_secs(20), stream.read_buf(&mut answer)).await;
        if read.expect("an answer, or the end").unwrap_or_default() == 0 {
            return false;
        }
    }
    true
}

#[tokio::test]
async fn a_head_that_does_not_end_keeps_no_connection_open() {
    let mut stream = served(SHORT);
    let head = b"GET / HTTP/1.1\r\nhost: x\r\n";
    stream.write_all(head).await.unwrap();
    let took = until_closed(&mut stream).await;
    assert!(took >= SHORT.between / 2, "{took:?}");
}

#[tokio::test]
async fn a_peer_that_answers_no_ping_is_given_up() {
    let mut stream = served(SHORT);
    let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
    stream.write_all(preface).await.unwrap();
    let took = until_closed(&mut stream).await;
    // Timers count in whole milliseconds.
    let slack = Duration::from_millis(20);
    assert!(took >= SHORT.ping + SHORT.pong - slack, "{took:?}");
}

#[tokio::test]
async fn a_peer_that_only_talks_is_given_up() {
    let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
    let ping = b"\0\0\x08\x06\0\0\0\0\0question";
    let get = b"GET / HTTP/1.1\r\nhost: x\r\n\r\n";
    for (first, again) in [(&b""[..], &get[..]), (preface, ping)] {
        let mut stream = served_with_room(SHORT, 1024);
        let talking = async {
            stream.write_all(first).await?;
            // Until it is told that nobody is there any more.
            while stream.write_all(again).await.is_ok() {}
            io::Result::Ok(())
        };
        let talked = timeout(Duration::from_secs(20), talking).await;
        talked.expect("the connection is closed").unwrap();
    }
}

#[test]
fn envoy_closes_first() {
    // `common_http_protocol_options.idle_timeout` of what is rendered.
    let rendered = Duration::from_secs(60);
    assert_eq!(IDLE.between, Duration::from_secs(75));
    assert!(IDLE.between > rendered && IDLE.ping + IDLE.pong > rendered);
}
