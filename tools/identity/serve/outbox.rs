//! What a connection says, gathered, and sent once for all that is ready.
//!
//! HTTP/2 flushes after each piece of a body, so that every answer goes out by itself, and its trailers
//! after it. Sending is what costs most of an answer, and what wakes the peer. So nothing goes out
//! while the connection is at work: when it has nothing more to do, all goes out together. A peer that
//! takes nothing of it for a while is given up: no limit of HTTP's own ends a connection that cannot
//! say what it has to say.

use std::io;
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, sleep, timeout};

use super::PATIENCE;

/// A connection that has so much to say waits until the peer has taken it, and keeps no more memory for
/// it.
const MOST: usize = 64 * 1024;

/// A stream whose writes wait in an outbox.
pub(super) struct Gathered<S>(Arc<Mutex<Outbox<S>>>);

struct Outbox<S> {
    stream: S,
    /// What is to be sent, of which so much has been.
    said: Vec<u8>,
    sent: usize,
    /// Whether the peer has taken something since that was last asked.
    moved: bool,
    /// Whether the peer has yet to take the end.
    ending: bool,
    /// Why nothing can be sent any more.
    failed: Option<io::ErrorKind>,
}

/// Gathers what is written to a stream while `serve` works on it, and sends it whenever that waits, and
/// at its end. A peer that takes nothing for as long as `patience` is one that has gone.
pub(super) async fn gather<S, F>(
    stream: S,
    patience: Duration,
    serve: impl FnOnce(Gathered<S>) -> F,
) where
    S: AsyncWrite + Unpin,
    F: Future,
{
    let outbox = Arc::new(Mutex::new(Outbox {
        stream,
        said: Vec::new(),
        sent: 0,
        moved: true,
        ending: false,
        failed: None,
    }));
    let mut serve = pin!(serve(Gathered(Arc::clone(&outbox))));
    let mut given_up = pin!(sleep(patience));
    std::future::poll_fn(|context| {
        let polled = serve.as_mut().poll(context).map(|_| ());
        let mut outbox = lock(&outbox);
        if outbox.failed.is_some() {
            return polled;
        }
        outbox.failed = match outbox.poll_send(context) {
            Poll::Ready(Err(error)) => Some(error.kind()),
            Poll::Ready(Ok(())) if !outbox.ending => None,
            _ => {
                if std::mem::take(&mut outbox.moved) {
                    given_up.as_mut().reset(Instant::now() + patience);
                }
                let is_gone = given_up.as_mut().poll(context).is_ready();
                is_gone.then_some(io::ErrorKind::TimedOut)
            }
        };
        if outbox.failed.is_some() {
            // It learns that when it writes, flushes or reads next.
            context.waker().wake_by_ref();
        }
        polled
    })
    .await;
    // Who does not take the last words does not get them.
    let last = std::future::poll_fn(|context| lock(&outbox).poll_send(context));
    let _ = timeout(PATIENCE, last).await;
}

impl<S> Outbox<S> {
    /// Whether all that was said before could be sent, as far as is known.
    fn check(&self) -> io::Result<()> {
        self.failed.map_or(Ok(()), |kind| Err(kind.into()))
    }
}

impl<S: AsyncWrite + Unpin> Outbox<S> {
    /// Sends all of it.
    fn poll_send(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.check()?;
        if self.said.is_empty() {
            return Poll::Ready(Ok(()));
        }
        while let Some(left) = self.said.get(self.sent..).filter(|left| !left.is_empty()) {
            let sent = ready!(Pin::new(&mut self.stream).poll_write(context, left))?;
            if sent == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.sent += sent;
            self.moved = true;
        }
        ready!(Pin::new(&mut self.stream).poll_flush(context))?;
        self.said.clear();
        self.said.shrink_to(MOST);
        self.sent = 0;
        self.moved = true;
        Poll::Ready(Ok(()))
    }

    /// How much more may be said.
    fn poll_room(&mut self, context: &mut Context<'_>) -> Poll<io::Result<usize>> {
        self.check()?;
        if self.said.len() >= MOST {
            ready!(self.poll_send(context))?;
        }
        Poll::Ready(Ok(MOST.saturating_sub(self.said.len())))
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
        outbox.check()?;
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
        let mut room = ready!(outbox.poll_room(context))?;
        let before = outbox.said.len();
        for slice in slices {
            let fits = slice.get(..room).unwrap_or(slice);
            outbox.said.extend_from_slice(fits);
            room -= fits.len();
        }
        Poll::Ready(Ok(outbox.said.len() - before))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        // It goes out when the connection waits.
        Poll::Ready(lock(&self.0).check())
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut outbox = lock(&self.0);
        ready!(outbox.poll_send(context))?;
        let ended = Pin::new(&mut outbox.stream).poll_shutdown(context);
        outbox.ending = ended.is_pending();
        ended
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    /// Longer than any test takes.
    const LONG: Duration = Duration::from_secs(60);

    /// A stream that writes down what it is given at once, and after so many bytes takes no more.
    #[derive(Clone, Default)]
    struct Taker {
        taken: Arc<Mutex<Vec<Vec<u8>>>>,
        room: usize,
        broken: bool,
        endless: bool,
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
            if self.endless {
                return Poll::Pending;
            }
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
        gather(taker.clone(), LONG, |mut stream| async move {
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
        let talking = gather(taker.clone(), LONG, |mut stream| async move {
            loop {
                let said = stream.write(&[b'x'; 1000]).await.unwrap();
                *count.lock().unwrap() += said;
            }
        });
        assert!(timeout(Duration::from_millis(50), talking).await.is_err());
        assert_eq!(*said.lock().unwrap(), MOST);
    }

    #[tokio::test]
    async fn what_a_slow_peer_takes_in_morsels_arrives_whole() {
        let (mut ours, theirs) = tokio::io::duplex(7);
        let all: Vec<u8> = (0..200 * 1024_u32)
            .map(|at| (at % 251).to_le_bytes()[0])
            .collect();
        let said = all.clone();
        let talking = gather(theirs, LONG, |mut stream| async move {
            for (number, piece) in said.chunks(1237).enumerate() {
                stream.write_all(piece).await.unwrap();
                if number % 3 == 0 {
                    tokio::task::yield_now().await;
                }
            }
        });
        let mut heard = Vec::new();
        let hearing = timeout(LONG, ours.read_to_end(&mut heard));
        let (read, ()) = tokio::join!(hearing, talking);
        assert_eq!(read.expect("an end").unwrap(), all.len());
        assert!(heard == all, "other bytes, or in another order");
    }

    #[tokio::test]
    async fn who_takes_a_little_now_and_then_is_not_given_up() {
        const PATIENCE: Duration = Duration::from_secs(2);
        const LENGTH: usize = 12 * 64;
        // A machine that stands still makes a silence too long.
        for attempt in 1..=5 {
            let (mut ours, theirs) = tokio::io::duplex(64);
            let talking = gather(theirs, PATIENCE, |mut stream| async move {
                // It waits for a question, as a connection does, until the peer hangs up.
                if stream.write_all(&[b'x'; LENGTH]).await.is_ok() {
                    assert_eq!(stream.read(&mut [0]).await.unwrap_or_default(), 0);
                }
            });
            let began = Instant::now();
            let hearing = async {
                let mut heard = 0;
                while heard < LENGTH {
                    let silent_since = Instant::now();
                    sleep(PATIENCE / 10).await;
                    let read = ours.read(&mut [0; 64]).await.unwrap();
                    if read == 0 {
                        let silence = silent_since.elapsed();
                        assert!(silence > PATIENCE / 2, "given up after {heard} bytes");
                        return false;
                    }
                    heard += read;
                }
                drop(ours);
                true
            };
            let ((), is_whole) = tokio::join!(talking, hearing);
            if is_whole {
                assert!(began.elapsed() > PATIENCE, "this shows nothing");
                return;
            }
            assert!(attempt < 5, "given up each time");
        }
    }

    #[tokio::test]
    async fn a_peer_that_does_not_take_the_end_is_given_up() {
        let taker = Taker {
            room: usize::MAX,
            endless: true,
            ..Taker::default()
        };
        gather(taker, Duration::from_millis(50), |mut stream| async move {
            stream.write_all(b"goodbye").await.unwrap();
            let end = timeout(LONG, stream.shutdown()).await;
            let error = end.expect("it is told").unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        })
        .await;
    }

    #[tokio::test]
    async fn a_connection_learns_that_it_speaks_in_vain() {
        let taker = Taker {
            broken: true,
            ..Taker::default()
        };
        gather(taker, LONG, |mut stream| async move {
            stream.write_all(b"hello").await.unwrap();
            let mut byte = [0];
            let read = stream.read(&mut byte);
            let read = timeout(Duration::from_secs(20), read).await;
            let error = read.expect("it is told").unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::BrokenPipe);
        })
        .await;
    }
}
