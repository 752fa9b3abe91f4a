//! Listening: TCP or a Unix socket, with or without TLS, until the process is told to end.

mod begun;
pub(crate) mod body;
mod outbox;
#[cfg(test)]
mod tests;
pub(crate) mod tls;

use std::convert::Infallible;
use std::fmt;
use std::io;
use std::net::{SocketAddr, ToSocketAddrs as _};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use http::{Request, Response};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::watch;
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsAcceptor;

use self::begun::begun;
use self::outbox::gather;
use self::tls::Tls;
use crate::log;

/// How long a peer may take for a handshake, for its first words, and for the body of a request.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long a connection may be idle. What is rendered has Envoy close what has been idle for 60 s: it
/// must not be us who close while it sends.
const IDLE: Idle = Idle {
    between: Duration::from_secs(75),
    ping: Duration::from_secs(60),
    pong: Duration::from_secs(20),
};

/// Limits of a connection on which nothing is asked, or whose peer does not listen.
#[derive(Clone, Copy)]
struct Idle {
    /// HTTP/1: how long the head of a request may take, the silence before it included.
    between: Duration,
    /// HTTP/2: after so long without a word a peer is asked whether it is there.
    ping: Duration,
    /// So long it may take to say so, and, whatever it speaks, to take anything of what it is told.
    pong: Duration,
}

/// Where to listen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Address {
    /// At a port.
    Tcp(SocketAddr),
    /// At a path.
    Unix(PathBuf),
}

impl Address {
    /// Reads `HOST:PORT` or `unix:PATH`.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(text: &str) -> Result<Self, String> {
        if let Some(path) = text.strip_prefix("unix:") {
            if path.is_empty() {
                return Err("unix: needs a path".to_owned());
            }
            return Ok(Self::Unix(path.into()));
        }
        text.to_socket_addrs()
            .ok()
            .and_then(|mut addresses| addresses.next())
            .map(Self::Tcp)
            .ok_or_else(|| "must be HOST:PORT or unix:PATH".to_owned())
    }

    /// Whether only this machine reaches it.
    #[must_use]
    pub fn is_local(&self) -> bool {
        match self {
            Self::Tcp(address) => address.ip().to_canonical().is_loopback(),
            Self::Unix(_) => true,
        }
    }

    /// Listens there. A socket that somebody left behind is taken over.
    ///
    /// # Errors
    /// If that cannot be.
    pub async fn listen(&self) -> io::Result<Listener> {
        Ok(match self {
            Self::Tcp(address) => Listener::Tcp(TcpListener::bind(address).await?),
            Self::Unix(path) => {
                if is_abandoned(path).await {
                    std::fs::remove_file(path)?;
                }
                Listener::Unix(UnixListener::bind(path)?, path.clone())
            }
        })
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

async fn is_abandoned(path: &PathBuf) -> bool {
    use std::os::unix::fs::FileTypeExt as _;
    let is_socket =
        std::fs::symlink_metadata(path).is_ok_and(|metadata| metadata.file_type().is_socket());
    is_socket && tokio::net::UnixStream::connect(path).await.is_err()
}

/// A place where connections arrive.
pub enum Listener {
    /// At a port.
    Tcp(TcpListener),
    /// At a path, which goes with it.
    Unix(UnixListener, PathBuf),
}

impl Drop for Listener {
    fn drop(&mut self) {
        if let Self::Unix(_, path) = self {
            // Whoever starts next takes it over if it is still there.
            let _ = std::fs::remove_file(path);
        }
    }
}

/// Serves until `stop`, then finishes what is under way, for at most `drain`.
pub(crate) async fn serve<F, R, B>(
    listener: Listener,
    tls: Option<Arc<Tls>>,
    service: F,
    mut stop: watch::Receiver<bool>,
    drain: Duration,
) where
    F: Fn(Request<Incoming>) -> R + Clone + Send + 'static,
    R: Future<Output = Response<B>> + Send + 'static,
    B: http_body::Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let connections = GracefulShutdown::new();
    let builder = Arc::new(builder(IDLE));
    loop {
        let accepted = tokio::select! {
            accepted = accept(&listener) => accepted,
            _ = stop.wait_for(|stop| *stop) => break,
        };
        let stream = match accepted {
            Ok(stream) => stream,
            Err(error) => {
                log::limited(
                    log::Level::Warn,
                    "accept",
                    "a connection could not be accepted",
                    &[("error", &error)],
                );
                // Too many open files end sooner than a loop that spins.
                sleep(Duration::from_millis(50)).await;
                continue;
            }
        };
        let watcher = connections.watcher();
        let stop = stop.clone();
        let builder = Arc::clone(&builder);
        let service = service.clone();
        match (stream, &tls) {
            (Stream::Tcp(stream), Some(tls)) => {
                let acceptor = TlsAcceptor::from(tls.current());
                tokio::spawn(async move {
                    // Whoever cannot speak TLS, or has no certificate, is told so by TLS.
                    if let Ok(Ok(stream)) = timeout(PATIENCE, acceptor.accept(stream)).await {
                        connection(&builder, IDLE.pong, stream, service, watcher, stop).await;
                    }
                });
            }
            (Stream::Tcp(stream), None) => {
                tokio::spawn(async move {
                    connection(&builder, IDLE.pong, stream, service, watcher, stop).await;
                });
            }
            (Stream::Unix(stream), _) => {
                tokio::spawn(async move {
                    connection(&builder, IDLE.pong, stream, service, watcher, stop).await;
                });
            }
        }
    }
    drop(listener);
    let _ = timeout(drain, connections.shutdown()).await;
}

enum Stream {
    Tcp(tokio::net::TcpStream),
    Unix(tokio::net::UnixStream),
}

async fn accept(listener: &Listener) -> io::Result<Stream> {
    Ok(match listener {
        Listener::Tcp(listener) => {
            let (stream, _) = listener.accept().await?;
            stream.set_nodelay(true)?;
            Stream::Tcp(stream)
        }
        Listener::Unix(listener, _) => Stream::Unix(listener.accept().await?.0),
    })
}

fn builder(idle: Idle) -> auto::Builder<TokioExecutor> {
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(idle.between);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(1024)
        .keep_alive_interval(idle.ping)
        .keep_alive_timeout(idle.pong);
    builder
}

async fn connection<S, F, R, B>(
    builder: &auto::Builder<TokioExecutor>,
    patience: Duration,
    stream: S,
    service: F,
    watcher: Watcher,
    mut stop: watch::Receiver<bool>,
) where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    F: Fn(Request<Incoming>) -> R + Send + 'static,
    R: Future<Output = Response<B>> + Send + 'static,
    B: http_body::Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let begun = tokio::select! {
        begun = timeout(PATIENCE, begun(stream)) => begun,
        _ = stop.wait_for(|stop| *stop) => return,
    };
    let Ok(Ok(stream)) = begun else {
        return;
    };
    let service = service_fn(move |request| {
        let answer = service(request);
        async move { Ok::<_, Infallible>(answer.await) }
    });
    gather(stream, patience, |stream| {
        let connection = builder
            .serve_connection(TokioIo::new(stream), service)
            .into_owned();
        // How a connection ends is the peer's business.
        watcher.watch(connection)
    })
    .await;
}
