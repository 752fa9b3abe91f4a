//! gRPC, as far as one message in and one message out need it. tonic does the same for every kind of
//! call there is, which costs a check as much as all that is asked of the store.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response};
use http_body::{Body, Frame};
use tonic::{Code, Status};

use crate::serve::body::whole;

/// Larger messages are refused; tonic's own limit.
const LARGEST: usize = 4 * 1024 * 1024;
/// What stands before a message: whether it is compressed, and how long it is.
const PREFIX: usize = 5;
const GRPC: &str = "application/grpc";
const GRPC_STATUS: HeaderName = HeaderName::from_static("grpc-status");

/// A message, with what stands before it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Framed(Bytes);

impl Framed {
    /// The message that `write` writes, into room for about so many bytes.
    #[must_use]
    pub(crate) fn new(length: usize, write: impl FnOnce(&mut Vec<u8>)) -> Self {
        let mut out = Vec::with_capacity(PREFIX + length);
        out.resize(PREFIX, 0);
        write(&mut out);
        let length = u32::try_from(out.len().saturating_sub(PREFIX)).unwrap_or(u32::MAX);
        if let Some([_, place @ ..]) = out.first_chunk_mut::<PREFIX>() {
            *place = length.to_be_bytes();
        }
        Self(out.into())
    }

    /// The message alone.
    #[cfg(test)]
    pub(crate) fn message(&self) -> &[u8] {
        self.0.get(PREFIX..).unwrap_or_default()
    }
}

/// Reads the one message of a request.
///
/// # Errors
/// What is told to whoever sent something else.
pub(crate) async fn message<B>(request: Request<B>) -> Result<Bytes, Status>
where
    B: Body,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let is_grpc = request
        .headers()
        .get(CONTENT_TYPE)
        .is_some_and(|kind| kind.as_bytes().starts_with(GRPC.as_bytes()));
    // Read whatever it is: many a client takes an answer to what it has not sent yet for a broken
    // stream.
    let body = whole(request.into_body(), LARGEST + PREFIX).await;
    if !is_grpc {
        return Err(Status::new(Code::Unknown, "not a gRPC request"));
    }
    let body = body.ok_or_else(|| {
        let text = "the message broke off, is too large or takes too long";
        Status::new(Code::Internal, text)
    })?;
    let (compressed, length) = match body.first_chunk::<PREFIX>() {
        Some([compressed, length @ ..]) => (*compressed, u32::from_be_bytes(*length)),
        None => return Err(Status::new(Code::Internal, "there is no message")),
    };
    if compressed != 0 {
        let text = "compressed messages are not taken";
        return Err(Status::new(Code::Unimplemented, text));
    }
    if usize::try_from(length) != Ok(body.len() - PREFIX) {
        return Err(Status::new(Code::Internal, "there is not one message"));
    }
    Ok(body.slice(PREFIX..))
}

/// What goes out.
#[must_use]
pub(crate) fn answer(outcome: Result<Framed, Status>) -> Response<tonic::body::Body> {
    let message = match outcome {
        Ok(Framed(message)) => message,
        Err(status) => return status.into_http(),
    };
    let mut response = Response::new(tonic::body::Body::new(Answer {
        message: Some(message),
        trailers: false,
    }));
    let kind = HeaderValue::from_static(GRPC);
    response.headers_mut().insert(CONTENT_TYPE, kind);
    response
}

/// One message and the trailers of a call that went well.
struct Answer {
    message: Option<Bytes>,
    /// Whether they have gone out.
    trailers: bool,
}

impl Body for Answer {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        Poll::Ready(if let Some(message) = self.message.take() {
            Some(Ok(Frame::data(message)))
        } else if self.trailers {
            None
        } else {
            self.trailers = true;
            let mut trailers = HeaderMap::with_capacity(1);
            trailers.insert(GRPC_STATUS, HeaderValue::from_static("0"));
            Some(Ok(Frame::trailers(trailers)))
        })
    }

    fn is_end_stream(&self) -> bool {
        self.trailers
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::{BodyExt as _, Full};

    use super::*;

    async fn read(kind: &str, body: &[u8]) -> Result<Bytes, Code> {
        let body = Full::new(Bytes::copy_from_slice(body));
        let request = Request::post("/").header(CONTENT_TYPE, kind);
        message(request.body(body).unwrap())
            .await
            .map_err(|status| status.code())
    }

    #[tokio::test]
    async fn one_message_is_taken_and_nothing_else() {
        for kind in ["application/grpc", "application/grpc+proto"] {
            let read = read(kind, b"\0\0\0\0\x02ab").await;
            assert_eq!(read.as_deref(), Ok(&b"ab"[..]));
        }
        assert_eq!(read(GRPC, b"\0\0\0\0\0").await.as_deref(), Ok(&b""[..]));
        for (kind, body, code) in [
            ("application/json", &b"\0\0\0\0\0"[..], Code::Unknown),
            (GRPC, b"", Code::Internal),
            (GRPC, b"\0\0\0\0", Code::Internal),
            (GRPC, b"\0\0\0\0\x03ab", Code::Internal),
            (GRPC, b"\0\0\0\0\x01ab", Code::Internal),
            (GRPC, b"\0\xff\xff\xff\xffab", Code::Internal),
            (GRPC, b"\x01\0\0\0\x02ab", Code::Unimplemented),
        ] {
            assert_eq!(read(kind, body).await, Err(code), "{body:?}");
        }
        let huge = vec![0; LARGEST + PREFIX + 1];
        assert_eq!(read(GRPC, &huge).await, Err(Code::Internal));
    }

    #[tokio::test]
    async fn a_message_goes_out_with_its_length_and_then_the_outcome() {
        let framed = Framed::new(2, |out| out.extend_from_slice(b"ab"));
        let collected = answer(Ok(framed)).into_body().collect().await.unwrap();
        assert_eq!(collected.trailers().unwrap()["grpc-status"], "0");
        assert_eq!(&collected.to_bytes()[..], b"\0\0\0\0\x02ab");

        let failed = answer(Err(Status::new(Code::Unavailable, "not now")));
        assert_eq!(failed.headers()["grpc-status"], "14");
        assert_eq!(failed.status(), 200);
    }
}
