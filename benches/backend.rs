//! A backend that is fast enough not to be what is measured, and the client for it: HTTP/1.1 by
//! hand on one connection.

use std::net::SocketAddr;

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};

/// The size of the big body.
pub const BODY: usize = 256 << 20;
/// How many events a stream has.
pub const EVENTS: usize = 10_000;

const EVENT: &[u8] =
    b"event: message\ndata: {\"jsonrpc\":\"2.0\",\"method\":\"notifications/progress\"}\n\n";

/// Starts the backend: `GET /body` is answered with [`BODY`] bytes, `POST /body` takes as many,
/// `GET /events` is answered with [`EVENTS`] server-sent events, each in a chunk of its own, and
/// anything else with two bytes.
pub async fn start() -> SocketAddr {
    let listener = TcpListener::bind(("127.0.0.1", 0))
        .await
        .expect("a free port");
    let address = listener.local_addr().expect("an address");
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            // A connection that Envoy closes is an ordinary end.
            tokio::spawn(async move { drop(serve(stream).await) });
        }
    });
    address
}

async fn serve(stream: TcpStream) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    let mut stream = BufReader::with_capacity(256 << 10, stream);
    loop {
        let head = read_head(&mut stream).await?;
        let length = content_length(&head);
        discard(&mut stream, length).await?;
        if head.starts_with("GET /body ") {
            let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {BODY}\r\n\r\n");
            stream.write_all(head.as_bytes()).await?;
            send_zeros(&mut stream, BODY).await?;
        } else if head.starts_with("GET /events ") {
            stream
                .write_all(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n")
                .await?;
            let chunk = [format!("{:x}\r\n", EVENT.len()).as_bytes(), EVENT, b"\r\n"].concat();
            for _ in 0..EVENTS {
                stream.write_all(&chunk).await?;
            }
            stream.write_all(b"0\r\n\r\n").await?;
        } else {
            stream
                .write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")
                .await?;
        }
    }
}

/// A client's connection.
pub struct Connection(BufReader<TcpStream>);

impl Connection {
    /// Connects.
    pub async fn open(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address)
            .await
            .expect("the listener's port");
        stream.set_nodelay(true).expect("a socket option");
        Self(BufReader::with_capacity(256 << 10, stream))
    }

    /// Asks for `path`, sends `upload` bytes, and reads the whole answer, which must be 200 and of
    /// `expected` bytes.
    pub async fn exchange(&mut self, path: &str, upload: usize, expected: usize) {
        self.try_exchange(path, upload, expected)
            .await
            .unwrap_or_else(|error| panic!("{path}: {error}"));
    }

    /// Sends a request with a small body and a bearer token, and reads the answer, which must be 200.
    pub async fn ask(&mut self, method: &str, body: &str, bearer: &str) {
        let length = body.len();
        let request = format!(
            "{method} /token HTTP/1.1\r\nhost: bench\r\nauthorization: Bearer {bearer}\r\n\
             content-length: {length}\r\n\r\n{body}"
        );
        self.0
            .write_all(request.as_bytes())
            .await
            .expect("an open connection");
        self.answer().await.expect("an answer");
    }

    async fn try_exchange(
        &mut self,
        path: &str,
        upload: usize,
        expected: usize,
    ) -> std::io::Result<()> {
        let method = if upload > 0 { "POST" } else { "GET" };
        let head =
            format!("{method} {path} HTTP/1.1\r\nhost: bench\r\ncontent-length: {upload}\r\n\r\n");
        self.0.write_all(head.as_bytes()).await?;
        send_zeros(&mut self.0, upload).await?;
        let received = self.answer().await?;
        assert_eq!(received, expected, "{path}");
        Ok(())
    }

    /// Reads an answer; its length.
    async fn answer(&mut self) -> std::io::Result<usize> {
        let head = read_head(&mut self.0).await?;
        assert!(head.starts_with("HTTP/1.1 200"), "{head}");
        if head.contains("transfer-encoding: chunked") {
            return read_chunks(&mut self.0).await;
        }
        let length = content_length(&head);
        discard(&mut self.0, length).await?;
        Ok(length)
    }

    /// Downloads the big body.
    pub async fn download(&mut self) {
        self.exchange("/body", 0, BODY).await;
    }

    /// Uploads the big body.
    pub async fn upload(&mut self) {
        self.exchange("/body-up", BODY, 2).await;
    }

    /// Reads all events.
    pub async fn events(&mut self) {
        self.exchange("/events", 0, EVENTS * EVENT.len()).await;
    }
}

async fn read_head(stream: &mut BufReader<TcpStream>) -> std::io::Result<String> {
    let mut head = String::new();
    loop {
        let before = head.len();
        stream.read_line(&mut head).await?;
        match head.len() - before {
            0 => return Err(std::io::ErrorKind::UnexpectedEof.into()),
            1 | 2 => return Ok(head),
            _ => {}
        }
    }
}

fn content_length(head: &str) -> usize {
    head.lines()
        .find_map(|line| line.strip_prefix("content-length:")?.trim().parse().ok())
        .unwrap_or(0)
}

async fn send_zeros(stream: &mut BufReader<TcpStream>, mut left: usize) -> std::io::Result<()> {
    static ZEROS: [u8; 256 << 10] = [0; 256 << 10];
    while left > 0 {
        let size = left.min(ZEROS.len());
        stream.write_all(&ZEROS[..size]).await?;
        left -= size;
    }
    Ok(())
}

async fn discard(stream: &mut BufReader<TcpStream>, mut left: usize) -> std::io::Result<()> {
    while left > 0 {
        let size = stream.fill_buf().await?.len().min(left);
        if size == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        stream.consume(size);
        left -= size;
    }
    Ok(())
}

async fn read_chunks(stream: &mut BufReader<TcpStream>) -> std::io::Result<usize> {
    let mut received = 0;
    let mut line = String::new();
    loop {
        line.clear();
        stream.read_line(&mut line).await?;
        let size = usize::from_str_radix(line.trim(), 16).expect("a chunk's size");
        discard(stream, size).await?;
        let mut end = [0; 2];
        stream.read_exact(&mut end).await?;
        if size == 0 {
            return Ok(received);
        }
        received += size;
    }
}
