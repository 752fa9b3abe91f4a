//! What a connection says, gathered, and sent once for all that is ready.
//!
//! HTTP/2 flushes after each piece of a body, so that every answer goes out by itself, and its trailers
//! after it. Sending is what costs most of an answer, and what wakes the peer. So nothing goes out
//! while the connection is at work: when it has nothing more to do, all goes out together.

use std::io;
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::timeout;

use super::PATIENCE;

/// A connection that has so much to say waits until the peer has taken it.
const MOST: usize = 64 * 1024;

/// A stream whose writes wait in an outbox.
pub(super) struct Gathered<S>(Arc<Mutex<Outbox<S>>>);

struct Outbox<S> {
    stream: S,
    /// What is to be sent, of which so much has been.
    said: Vec<u8>,
    sent: usize,
    /// What is to be told of sending in vain.
    failed: Option<io::Error>,
}

/// Gathers what is written to a stream while `serve` works on it, and sends it whenever that waits, and
/// at its end.
pub(super) async fn gather<S, F>(stream: S, serve: impl FnOnce(Gathered<S>) -> F)
where
    S: AsyncWrite + Unpin,
    F: Future,
{
    let outbox = Arc::new(Mutex::new(Outbox {
        stream,
        said: Vec::new(),
        sent: 0,
        failed: None,
    }));
    let mut serve = pin!(serve(Gathered(Arc::clone(&outbox))));
    std::future::poll_fn(|context| {
        let polled = serve.as_mut().poll(context).map(|_| ());
        let mut outbox = lock(&outbox);
        if let Poll::Ready(Err(error)) = outbox.poll_send(context) {
            outbox.failed = Some(error);
            // It learns that when it writes or reads next.
            context.waker().wake_by_ref();
        }
        polled
    })
    .await;
    // Who does not take the last words does not get them.
    let last = std::future::poll_fn(|context| lock(&outbox).poll_send(context));
    let _ = timeout(PATIENCE, last).await;
}

impl<S: AsyncWrite + Unpin> Outbox<S> {
    /// Sends all of it.
    fn poll_send(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.said.is_empty() {
            return Poll::Ready(Ok(()));
        }
        while let Some(left) = self.said.get(self.sent..).filter(|left| !left.is_empty()) {
            let sent = ready!(Pin::new(&mut self.stream).poll_write(context, left))?;
            if sent == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.sent += sent;
        }
        ready!(Pin::new(&mut self.stream).poll_flush(context))?;
        self.said.clear();
        self.sent = 0;
        Poll::Ready(Ok(()))
    }

    /// Whether more may be said.
    fn poll_room(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if let Some(error) = self.failed.take() {
            return Poll::Ready(Err(error));
        }
        if self.said.len() < MOST {
            return Poll::Ready(Ok(()));
        }
        self.poll_send(context)
    }
}

fn lock<S>(outbox: &Mutex<Outbox<S>>) -> MutexGuard<'_, Outbox<S>> {
    outbox.lock().unwrap_or_else(PoisonError::into_inner)
}

impl<S: AsyncRead + Unpin> AsyncRead for Gathered<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let mut outbox = lock(&self.0);
        if let Some(error) = outbox.failed.take() {
            return Poll::Ready(Err(error));
        }
        Pin::new(&mut outbox.stream).poll_read(context, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Gathered<S> {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(context, &[io::IoSlice::new(bytes)])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let mut outbox = lock(&self.0);
        ready!(outbox.poll_room(context))?;
        let before = outbox.said.len();
        for slice in slices {
            outbox.said.extend_from_slice(slice);
        }
        Poll::Ready(Ok(outbox.said.len() - before))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        // It goes out when the connection waits.
        Poll::Ready(lock(&self.0).failed.take().map_or(Ok(()), Err))
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut outbox = lock(&self.0);
        ready!(outbox.poll_send(context))?;
        Pin::new(&mut outbox.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    /// A stream that writes down what it is given at once, and after so many bytes takes no more.
    #[derive(Clone, Default)]
    struct Taker {
        taken: Arc<Mutex<Vec<Vec<u8>>>>,
        room: usize,
        broken: bool,
    }

    impl AsyncWrite for Taker {
        fn poll_write(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
            bytes: &[u8],
        ) -> Poll<io::Result<usize>> {
            if self.broken {
                return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
            }
            let taken = bytes.len().min(self.room);
            if taken == 0 {
                return Poll::Pending;
            }
            self.room -= taken;
            self.taken.lock().unwrap().push(bytes[..taken].to_vec());
            Poll::Ready(Ok(taken))
        }

        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }

        fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }

    impl AsyncRead for Taker {
        fn poll_read(
            self: Pin<&mut Self>,
            _: &mut Context<'_>,
            _: &mut ReadBuf<'_>,
        ) -> Poll<io::Result<()>> {
            Poll::Pending
        }
    }

    #[tokio::test]
    async fn what_is_said_at_work_goes_out_together_and_the_rest_at_the_end() {
        let taker = Taker {
            room: usize::MAX,
            ..Taker::default()
        };
        gather(taker.clone(), |mut stream| async move {
            for said in [&b"a "[..], b"head, "] {
                stream.write_all(said).await.unwrap();
                stream.flush().await.unwrap();
            }
            let body = [io::IoSlice::new(b"a body, "), io::IoSlice::new(b"trailers")];
            let said = stream.write_vectored(&body).await.unwrap();
            assert_eq!(said, 16);
            tokio::task::yield_now().await;
            stream.write_all(b"goodbye").await.unwrap();
        })
        .await;
        let taken = taker.taken.lock().unwrap();
        assert_eq!(*taken, [&b"a head, a body, trailers"[..], b"goodbye"]);
    }

    #[tokio::test]
    async fn a_peer_that_takes_nothing_is_not_talked_to_without_end() {
        let taker = Taker {
            room: 10,
            ..Taker::default()
        };
        let said = Arc::new(Mutex::new(0));
        let count = Arc::clone(&said);
        let talking = gather(taker.clone(), |mut stream| async move {
            loop {
                stream.write_all(&[b'x'; 1000]).await.unwrap();
                *count.lock().unwrap() += 1000;
            }
        });
        assert!(
            timeout(std::time::Duration::from_millis(50), talking)
                .await
                .is_err()
        );
        let said = *said.lock().unwrap();
        assert!((MOST..MOST + 2000).contains(&said), "{said}");
    }

    #[tokio::test]
    async fn a_connection_learns_that_it_speaks_in_vain() {
        let taker = Taker {
            broken: true,
            ..Taker::default()
        };
        gather(taker, |mut stream| async move {
            stream.write_all(b"hello").await.unwrap();
            let mut byte = [0];
            let read = stream.read(&mut byte);
            let read = timeout(std::time::Duration::from_secs(20), read).await;
            let error = read.expect("it is told").unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::BrokenPipe);
        })
        .await;
    }
}
