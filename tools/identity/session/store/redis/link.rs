//! The connection to the store: made in the background, shared by all requests, made anew when it
//! breaks or when whoever answers is no longer the primary.

use std::fmt;
use std::future::Future;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use redis::aio::{ConnectionLike, MultiplexedConnection};
use redis::cluster::ClusterClient;
use redis::cluster_async::ClusterConnection;
use redis::sentinel::SentinelClient;
use redis::{
    AsyncConnectionConfig, Client, Cmd, ErrorKind, Pipeline, RedisError, RedisFuture, RedisResult,
    Value,
};
use tokio::sync::{Notify, watch};
use tokio::time::{sleep, timeout};

use super::super::StoreError;

/// Between attempts to connect: first, and at most.
const PAUSE: (Duration, Duration) = (Duration::from_millis(50), Duration::from_millis(500));

/// So many calls in a row without an answer, and the connection counts as dead: a peer that has
/// vanished says nothing.
const DEAF_AFTER: u32 = 3;

/// How connections are made.
pub(super) enum Source {
    Standalone(Client),
    Sentinel(tokio::sync::Mutex<SentinelClient>),
    Cluster(ClusterClient),
}

#[derive(Clone)]
enum Connection {
    Single(MultiplexedConnection),
    Cluster(ClusterConnection),
}

impl ConnectionLike for Connection {
    fn req_packed_command<'a>(&'a mut self, cmd: &'a Cmd) -> RedisFuture<'a, Value> {
        match self {
            Self::Single(connection) => connection.req_packed_command(cmd),
            Self::Cluster(connection) => connection.req_packed_command(cmd),
        }
    }

    fn req_packed_commands<'a>(
        &'a mut self,
        pipeline: &'a Pipeline,
        offset: usize,
        count: usize,
    ) -> RedisFuture<'a, Vec<Value>> {
        match self {
            Self::Single(connection) => connection.req_packed_commands(pipeline, offset, count),
            Self::Cluster(connection) => connection.req_packed_commands(pipeline, offset, count),
        }
    }

    fn get_db(&self) -> i64 {
        0
    }
}

#[derive(Clone)]
enum State {
    Connecting,
    Up(Connection, u64),
    /// The last attempt failed; the next one is under way or soon will be.
    Down(&'static str),
}

/// A link that keeps itself up for as long as it exists.
pub(super) struct Link {
    state: watch::Receiver<State>,
    broken: Arc<Broken>,
    call: Duration,
    keeper: tokio::task::JoinHandle<()>,
}

struct Broken {
    generation: Mutex<u64>,
    deaf: Mutex<u32>,
    notify: Notify,
}

impl Link {
    /// Begins to connect. `dial` bounds an attempt, `call` each call, waiting for a connection
    /// included.
    pub(super) fn new(
        source: Source,
        dial: Duration,
        call: Duration,
        on_trouble: impl Fn(&'static str) + Send + 'static,
    ) -> Self {
        let (sender, state) = watch::channel(State::Connecting);
        let broken = Arc::new(Broken {
            generation: Mutex::new(0),
            deaf: Mutex::new(0),
            notify: Notify::new(),
        });
        let keeper = tokio::spawn(keep(source, dial, sender, Arc::clone(&broken), on_trouble));
        Self {
            state,
            broken,
            call,
            keeper,
        }
    }

    /// One command.
    pub(super) async fn command(&self, command: &Cmd) -> Result<Value, StoreError> {
        self.run(|mut connection| async move {
            connection
                .req_packed_command(command)
                .await?
                .extract_error()
        })
        .await
    }

    /// Several commands in one round trip, an answer each; the first one that failed is the error.
    pub(super) async fn pipeline(&self, pipeline: &Pipeline) -> Result<Vec<Value>, StoreError> {
        self.run(|mut connection| async move {
            pipeline.query_async::<Vec<Value>>(&mut connection).await
        })
        .await
    }

    async fn run<T, F>(&self, call: impl FnOnce(Connection) -> F) -> Result<T, StoreError>
    where
        F: Future<Output = RedisResult<T>>,
    {
        let mut generation = None;
        let answer = timeout(self.call, async {
            let (connection, of) = self.connection().await?;
            generation = Some(of);
            Ok::<_, StoreError>(call(connection).await)
        })
        .await;
        match (answer, generation) {
            (Ok(Err(away)), _) => Err(away),
            (Ok(Ok(Ok(value))), _) => {
                self.heard();
                Ok(value)
            }
            (Ok(Ok(Err(error))), generation) => {
                self.heard();
                let (error, reconnect) = judge(&error);
                if let (true, Some(generation)) = (reconnect, generation) {
                    self.broken.report(generation);
                }
                Err(error)
            }
            (Err(_), generation) => {
                if let Some(generation) = generation {
                    self.unheard(generation);
                }
                Err(StoreError::Away("no answer in time"))
            }
        }
    }

    async fn connection(&self) -> Result<(Connection, u64), StoreError> {
        {
            match &*self.state.borrow() {
                State::Up(connection, generation) => return Ok((connection.clone(), *generation)),
                State::Down(why) => return Err(StoreError::Away(why)),
                State::Connecting => {}
            }
        }
        let mut state = self.state.clone();
        let state = state
            .wait_for(|state| !matches!(state, State::Connecting))
            .await
            .map_err(|_| StoreError::Away("closed"))?;
        match &*state {
            State::Up(connection, generation) => Ok((connection.clone(), *generation)),
            State::Down(why) => Err(StoreError::Away(why)),
            State::Connecting => Err(StoreError::Away("not connected")),
        }
    }

    fn heard(&self) {
        *lock(&self.broken.deaf) = 0;
    }

    fn unheard(&self, generation: u64) {
        let deaf = {
            let mut deaf = lock(&self.broken.deaf);
            *deaf += 1;
            *deaf
        };
        if deaf >= DEAF_AFTER {
            self.heard();
            self.broken.report(generation);
        }
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.keeper.abort();
    }
}

impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Link")
    }
}

impl Broken {
    fn report(&self, generation: u64) {
        let mut newest = lock(&self.generation);
        if generation > *newest {
            *newest = generation;
            self.notify.notify_one();
        }
    }

    async fn wait(&self, generation: u64) {
        loop {
            let told = self.notify.notified();
            if *lock(&self.generation) >= generation {
                return;
            }
            told.await;
        }
    }
}

/// Connects, waits until the connection breaks, connects again.
async fn keep(
    source: Source,
    dial: Duration,
    state: watch::Sender<State>,
    broken: Arc<Broken>,
    on_trouble: impl Fn(&'static str),
) {
    let mut generation = 0;
    let mut pause = PAUSE.0;
    loop {
        match timeout(dial, connect(&source, dial)).await {
            Ok(Ok(connection)) => {
                generation += 1;
                pause = PAUSE.0;
                state.send_replace(State::Up(connection, generation));
                broken.wait(generation).await;
                state.send_replace(State::Connecting);
            }
            failed => {
                let why = match failed {
                    Ok(Err(error)) => why(&error),
                    _ => "no connection in time",
                };
                on_trouble(why);
                state.send_replace(State::Down(why));
                sleep(pause).await;
                pause = (pause * 2).min(PAUSE.1);
            }
        }
    }
}

async fn connect(source: &Source, dial: Duration) -> RedisResult<Connection> {
    let config = AsyncConnectionConfig::new()
        .set_connection_timeout(Some(dial))
        .set_response_timeout(None);
    Ok(match source {
        Source::Standalone(client) => Connection::Single(
            client
                .get_multiplexed_async_connection_with_config(&config)
                .await?,
        ),
        Source::Sentinel(client) => Connection::Single(
            client
                .lock()
                .await
                .get_async_connection_with_config(&config)
                .await?,
        ),
        Source::Cluster(client) => Connection::Cluster(client.get_async_connection().await?),
    })
}

/// What an error means, and whether the connection is of no more use. Of a pipeline's errors the
/// first one counts.
fn judge(error: &RedisError) -> (StoreError, bool) {
    let away = |why| StoreError::Away(why);
    match server_code(error).as_deref() {
        None => (away(why(error)), true),
        Some("LOADING") => (away("loading"), false),
        Some("TRYAGAIN" | "MOVED" | "ASK") => (away("resharding"), false),
        Some("CLUSTERDOWN") => (away("cluster down"), false),
        Some("NOREPLICAS") => (away("too few replicas"), false),
        Some("BUSY") => (away("busy with a script"), false),
        Some("MASTERDOWN") => (away("primary down"), true),
        // Whoever answers was a primary once.
        Some("READONLY" | "UNBLOCKED") => (away("no longer a primary"), true),
        Some("NOAUTH" | "WRONGPASS") => (away("authentication refused"), true),
        Some(code) => (StoreError::Refused(code.to_owned()), false),
    }
}

fn server_code(error: &RedisError) -> Option<String> {
    let errors = error.clone().into_server_errors()?;
    errors.first().map(|(_, error)| error.code().to_owned())
}

fn why(error: &RedisError) -> &'static str {
    match error.kind() {
        ErrorKind::AuthenticationFailed => "authentication refused",
        ErrorKind::MasterNameNotFoundBySentinel => "no Sentinel knows the primary",
        ErrorKind::ClusterConnectionNotFound => "no node of the cluster answers",
        _ if error.is_timeout() => "no connection in time",
        _ if error.is_connection_refusal() => "connection refused",
        _ if error.is_connection_dropped() => "connection lost",
        _ => match server_code(error).as_deref() {
            Some("NOAUTH" | "WRONGPASS") => "authentication refused",
            Some("LOADING") => "loading",
            Some(_) => "refuses the connection",
            None => "no connection",
        },
    }
}

/// A lock that nobody can poison, since nothing panics while it is held.
fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner)
}
