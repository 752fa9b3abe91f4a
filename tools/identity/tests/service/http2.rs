//! HTTP/2 by the frame: what no library would send, or would hide.

use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::bed::service::Bed;

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const END: u8 = 1;
const END_HEADERS: u8 = 4;

struct Connection(TcpStream);

impl Connection {
    async fn open(port: u16) -> Self {
        let mut stream = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
        let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
        stream.write_all(preface).await.unwrap();
        let mut connection = Self(stream);
        connection.send(SETTINGS, 0, 0, b"").await;
        connection
    }

    async fn send(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
        let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
        let head = [&length[1..], &[kind, flags], &stream.to_be_bytes()].concat();
        self.0.write_all(&[&head, payload].concat()).await.unwrap();
    }

    /// The next frame's kind, flags and stream.
    async fn receive(&mut self) -> (u8, u8, u32) {
        let read = async {
            let mut head = [0; 9];
            self.0.read_exact(&mut head).await.unwrap();
            let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
            let mut payload = vec![0; length as usize];
            self.0.read_exact(&mut payload).await.unwrap();
            let stream = u32::from_be_bytes([head[5], head[6], head[7], head[8]]);
            (head[3], head[4], stream)
        };
        let read = tokio::time::timeout(Duration::from_secs(20), read);
        read.await.expect("a frame in time")
    }

    /// What comes for stream 1 until the server has answered a ping: kinds and flags.
    async fn until_it_answers_a_ping(&mut self) -> Vec<(u8, u8)> {
        self.send(PING, 0, 0, b"12345678").await;
        let mut frames = Vec::new();
        loop {
            match self.receive().await {
                (PING, 1, 0) => return frames,
                (kind, flags, 1) => frames.push((kind, flags)),
                _ => {}
            }
        }
    }
}

#[tokio::test]
async fn a_refusal_comes_after_the_body_and_breaks_no_stream() {
    let bed = Bed::new().await;
    let service = bed.service(&[]).await;
    for port in [service.token_port, service.check_port, service.admin_port] {
        for path in ["/token", "/nowhere"] {
            let mut connection = Connection::open(port).await;
            let mut head = b"\x02\x03PUT\x86\x04".to_vec();
            head.push(u8::try_from(path.len()).unwrap());
            head.extend(path.as_bytes());
            head.extend(b"\x01\x01x");
            connection.send(HEADERS, END_HEADERS, 1, &head).await;
            for _ in 0..3 {
                let early = connection.until_it_answers_a_ping().await;
                assert_eq!(early, [], "{port} {path}: before the body");
            }
            connection.send(DATA, END, 1, b"a=b").await;
            let mut frames = Vec::new();
            while frames.last().is_none_or(|(_, flags)| flags & END == 0) {
                frames.extend(connection.until_it_answers_a_ping().await);
            }
            frames.extend(connection.until_it_answers_a_ping().await);
            assert_eq!(frames[0].0, HEADERS, "{port} {path}: {frames:?}");
            assert!(
                frames.iter().all(|(kind, _)| *kind != RST_STREAM),
                "{port} {path}: {frames:?}"
            );
        }
    }
}
