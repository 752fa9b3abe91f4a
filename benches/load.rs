//! Requests over HTTP/2, as many as fit, from a fixed number of streams: load for measuring CPU
//! time, where it does not matter how fast the client is.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use h2::client::SendRequest;
use tokio::net::TcpStream;

/// Two connections with 25 streams each: Envoy reads and writes in batches, which keeps the cost of
/// everything but the filters low and steady.
const CONNECTIONS: usize = 2;
const STREAMS: usize = 25;

/// Open connections to a listener.
pub struct Load {
    connections: Vec<SendRequest<Bytes>>,
    /// What is under way at once on each.
    streams: usize,
}

impl Load {
    /// Connects.
    pub async fn connect(address: SocketAddr) -> Self {
        Self::with(address, CONNECTIONS, STREAMS).await
    }

    /// Connects so often, for so many requests at once on each connection.
    pub async fn with(address: SocketAddr, count: usize, streams: usize) -> Self {
        let mut connections = Vec::new();
        for _ in 0..count {
            let stream = TcpStream::connect(address)
                .await
                .expect("the listener's port");
            stream.set_nodelay(true).expect("a socket option");
            let (sender, connection) = h2::client::handshake(stream).await.expect("HTTP/2");
            tokio::spawn(connection);
            connections.push(sender);
        }
        Self {
            connections,
            streams,
        }
    }

    /// Sends `count` requests; `bearer` makes the token of each from its number. Each must be
    /// answered with 200.
    pub async fn run(
        &self,
        count: usize,
        bearer: impl Fn(usize) -> String + Send + Sync + 'static,
    ) {
        let next = Arc::new(AtomicUsize::new(0));
        let bearer = Arc::new(bearer);
        let mut streams = Vec::new();
        for connection in &self.connections {
            for _ in 0..self.streams {
                let (connection, next, bearer) =
                    (connection.clone(), Arc::clone(&next), Arc::clone(&bearer));
                streams.push(tokio::spawn(async move {
                    loop {
                        let number = next.fetch_add(1, Ordering::Relaxed);
                        if number >= count {
                            break;
                        }
                        request(connection.clone(), &bearer(number)).await;
                    }
                }));
            }
        }
        for stream in streams {
            stream.await.expect("every request is answered with 200");
        }
    }
}

async fn request(connection: SendRequest<Bytes>, bearer: &str) {
    let request = http::Request::get("http://bench/")
        .header("authorization", format!("Bearer {bearer}"))
        .body(())
        .expect("a request");
    let mut connection = connection.ready().await.expect("an open connection");
    let (answer, _) = connection
        .send_request(request, true)
        .expect("an open connection");
    let answer = answer.await.expect("an answer");
    assert_eq!(answer.status(), 200);
    let mut body = answer.into_body();
    while let Some(data) = body.data().await {
        let size = data.expect("a body").len();
        body.flow_control()
            .release_capacity(size)
            .expect("a window");
    }
}
