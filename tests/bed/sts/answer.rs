//! What an STS can answer, the ways in which it can fail to answer included.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use super::wire::StsRequest;
use crate::canary;

/// One answer of the STS.
#[derive(Clone, Debug)]
pub struct Answer {
    delay: Duration,
    status: u16,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
    delivery: Delivery,
}

/// What an identity provider says of a user to a partner's authorization server: a JWT whose signature
/// says nothing, since those who only pass it on do not look.
#[must_use]
pub fn identity_assertion(user: &str, audience: &str, resource: &str, signature: &str) -> String {
    let header = json!({"alg": "ES256", "typ": "oauth-id-jag+jwt"}).to_string();
    let claims = json!({"sub": user, "aud": audience, "resource": resource}).to_string();
    [header.as_str(), &claims, signature]
        .map(|part| URL_SAFE_NO_PAD.encode(part))
        .join(".")
}

/// How the answer reaches the socket.
#[derive(Clone, Copy, Debug)]
enum Delivery {
    /// As it should be.
    Whole,
    /// The connection closes without a byte.
    CloseBeforeHeaders,
    /// A TCP reset instead of an answer.
    ResetBeforeHeaders,
    /// The headers, then a TCP reset.
    ResetAfterHeaders,
    /// Bytes that are no HTTP.
    Garbage,
    /// The headers promise the whole body, half of it comes, then the connection closes.
    Truncated,
    /// The headers announce chunks; what follows is no chunk.
    BadChunks,
    /// One byte of the body after each pause.
    Dripping(Duration),
    /// The headers, and half of the body; the connection stays open.
    Stalled,
    /// Nothing, for as long as the peer waits.
    Hanging,
    /// The body is repeated until this many bytes were sent.
    Endless(usize),
}

impl Answer {
    /// A JSON answer.
    #[must_use]
    pub fn json(status: u16, body: &Value) -> Self {
        Self::raw(status, body.to_string()).header("content-type", "application/json")
    }

    /// Any answer.
    #[must_use]
    pub fn raw(status: u16, body: impl Into<Vec<u8>>) -> Self {
        Self {
            delay: Duration::ZERO,
            status,
            headers: Vec::new(),
            body: body.into(),
            delivery: Delivery::Whole,
        }
    }

    /// A good answer with this token, valid for an hour.
    #[must_use]
    pub fn token(access_token: &str) -> Self {
        Self::json(200, &Self::token_body(access_token, json!(3600)))
    }

    /// The body of a good answer.
    #[must_use]
    pub fn token_body(access_token: &str, expires_in: Value) -> Value {
        json!({
            "access_token": access_token,
            "issued_token_type": "urn:ietf:params:oauth:token-type:access_token",
            "token_type": "Bearer",
            "expires_in": expires_in,
        })
    }

    /// The answer to the first step of Cross-App Access, with an identity assertion.
    #[must_use]
    pub fn assertion(assertion: &str) -> Self {
        let body = json!({
            "access_token": assertion,
            "issued_token_type": "urn:ietf:params:oauth:token-type:id-jag",
            "token_type": "N_A",
            "expires_in": 300,
        });
        Self::json(200, &body)
    }

    /// The default behaviour: a token that differs for everything that could make it differ, and is
    /// the same for the same request.
    #[must_use]
    pub fn token_for(request: &StsRequest) -> Self {
        let mut hash = DefaultHasher::new();
        (
            request.line(),
            request.header("authorization"),
            &request.body,
        )
            .hash(&mut hash);
        Self::token(&canary::token("sts_", &format!("{:016x}", hash.finish())))
    }

    /// An OAuth error answer. The description holds a canary: what an STS says must not get out.
    #[must_use]
    pub fn error(status: u16, error: &str) -> Self {
        let description = canary::token("the STS says ", "secret detail");
        Self::json(
            status,
            &json!({"error": error, "error_description": description}),
        )
    }

    /// Adds a header.
    #[must_use]
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Waits before the answer begins.
    #[must_use]
    pub fn after(mut self, delay: Duration) -> Self {
        self.delay = delay;
        self
    }

    /// Closes the connection instead of answering.
    #[must_use]
    pub fn close_before_headers() -> Self {
        Self::raw(200, "").delivered(Delivery::CloseBeforeHeaders)
    }

    /// Resets the connection instead of answering.
    #[must_use]
    pub fn reset_before_headers() -> Self {
        Self::raw(200, "").delivered(Delivery::ResetBeforeHeaders)
    }

    /// Sends something that is no HTTP, then closes the connection.
    #[must_use]
    pub fn garbage() -> Self {
        Self::raw(200, "").delivered(Delivery::Garbage)
    }

    /// Never answers.
    #[must_use]
    pub fn hang() -> Self {
        Self::raw(200, "").delivered(Delivery::Hanging)
    }

    /// Resets the connection after the headers.
    #[must_use]
    pub fn reset_after_headers(self) -> Self {
        self.delivered(Delivery::ResetAfterHeaders)
    }

    /// Closes the connection in the middle of the body.
    #[must_use]
    pub fn truncated(self) -> Self {
        self.delivered(Delivery::Truncated)
    }

    /// Sends garbage where a chunk should be.
    #[must_use]
    pub fn badly_chunked(self) -> Self {
        self.delivered(Delivery::BadChunks)
    }

    /// Sends the body byte by byte, with a pause before each.
    #[must_use]
    pub fn dripping(self, pause: Duration) -> Self {
        self.delivered(Delivery::Dripping(pause))
    }

    /// Stops in the middle of the body without closing.
    #[must_use]
    pub fn stalled(self) -> Self {
        self.delivered(Delivery::Stalled)
    }

    /// Repeats the body until `bytes` were sent.
    #[must_use]
    pub fn repeated(self, bytes: usize) -> Self {
        self.delivered(Delivery::Endless(bytes))
    }

    fn delivered(mut self, delivery: Delivery) -> Self {
        self.delivery = delivery;
        self
    }

    /// Writes the answer; false when the connection is to be closed, or is gone.
    pub(super) async fn send(self, stream: &mut TcpStream) -> bool {
        tokio::time::sleep(self.delay).await;
        self.deliver(stream).await.unwrap_or(false)
    }

    async fn deliver(&self, stream: &mut TcpStream) -> std::io::Result<bool> {
        let half = &self.body[..self.body.len() / 2];
        match self.delivery {
            Delivery::Whole => {
                let mut bytes = self.head(Some(self.body.len()));
                bytes.extend_from_slice(&self.body);
                stream.write_all(&bytes).await?;
                return Ok(true);
            }
            Delivery::CloseBeforeHeaders => {}
            Delivery::ResetBeforeHeaders => stream.set_zero_linger()?,
            Delivery::Garbage => stream.write_all(b"\x16\x03\x01 no HTTP\r\n\r\n").await?,
            Delivery::ResetAfterHeaders => {
                stream.write_all(&self.head(Some(self.body.len()))).await?;
                // Whether the peer's program has read them cannot be seen from here; a reset that
                // overtakes the headers would be another fault (both are worth surviving).
                tokio::time::sleep(Duration::from_millis(20)).await;
                stream.set_zero_linger()?;
            }
            Delivery::Truncated => {
                stream.write_all(&self.head(Some(self.body.len()))).await?;
                stream.write_all(half).await?;
            }
            Delivery::BadChunks => {
                stream.write_all(&self.head(None)).await?;
                stream.write_all(b"this is not a chunk size\r\n").await?;
            }
            Delivery::Dripping(pause) => {
                stream.set_nodelay(true)?;
                stream.write_all(&self.head(Some(self.body.len()))).await?;
                for byte in &self.body {
                    tokio::time::sleep(pause).await;
                    stream.write_all(&[*byte]).await?;
                }
                return Ok(true);
            }
            Delivery::Stalled => {
                stream.write_all(&self.head(Some(self.body.len()))).await?;
                stream.write_all(half).await?;
                closed_by_peer(stream).await;
            }
            Delivery::Hanging => closed_by_peer(stream).await,
            Delivery::Endless(bytes) => {
                stream.write_all(&self.head(Some(bytes))).await?;
                let mut left = bytes;
                let block = self
                    .body
                    .repeat((64 * 1024 / self.body.len().max(1)).max(1));
                while left > 0 {
                    let piece = &block[..block.len().min(left)];
                    stream.write_all(piece).await?;
                    left -= piece.len();
                }
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn head(&self, length: Option<usize>) -> Vec<u8> {
        let mut head = format!("HTTP/1.1 {} Scripted\r\n", self.status);
        for (name, value) in &self.headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        match length {
            Some(length) => head.push_str(&format!("content-length: {length}\r\n\r\n")),
            None => head.push_str("transfer-encoding: chunked\r\n\r\n"),
        }
        head.into_bytes()
    }
}

/// Waits until the peer has closed the connection.
async fn closed_by_peer(stream: &TcpStream) {
    let mut buffer = [0; 1024];
    loop {
        if stream.readable().await.is_err() {
            return;
        }
        match stream.try_read(&mut buffer) {
            Ok(0) => return,
            Ok(_) => {}
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
            Err(_) => return,
        }
    }
}
