//! A real redis-server for a test: at a port of its own, in a directory of its own, gone afterwards.

use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use redis::aio::MultiplexedConnection;

/// A running server.
pub struct Redis {
    pub port: u16,
    pub directory: PathBuf,
    arguments: Vec<String>,
    child: Option<Child>,
}

/// A port that is free now, below those that the system gives to outgoing connections, and in this
/// process nobody else's.
pub fn free_port() -> u16 {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let start = std::process::id().wrapping_mul(97);
    for _ in 0..12_000 {
        let number = start.wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed));
        let port = u16::try_from(20_000 + number % 12_000).expect("a port");
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
    panic!("127.0.0.1 has no free port");
}

/// Sends a signal (`-STOP`) to a process of this test, by the shell, which any machine has.
pub(crate) fn send(signal: &str, process: u32) {
    let status = std::process::Command::new("sh")
        .args(["-c", "kill \"$@\"", "sh", signal, &process.to_string()])
        .status()
        .expect("sh");
    assert!(status.success());
}

impl Redis {
    /// A server with these further arguments.
    pub async fn start(arguments: &[&str]) -> Self {
        let port = free_port();
        let directory = std::env::temp_dir().join(format!(
            "upstream-inject-redis-{}-{port}",
            std::process::id()
        ));
        std::fs::create_dir_all(&directory).expect("a directory for Redis");
        let mut arguments: Vec<String> = arguments.iter().map(|text| (*text).to_owned()).collect();
        if arguments
            .iter()
            .any(|argument| argument == "--cluster-enabled")
        {
            // By default ten thousand above the other, where the system gives ports away.
            arguments.extend(["--cluster-port".to_owned(), free_port().to_string()]);
        }
        let mut redis = Self {
            port,
            directory,
            arguments,
            child: None,
        };
        redis.begin();
        redis.wait().await;
        redis
    }

    /// Starts it again, with the same data.
    pub fn begin(&mut self) {
        let child = Command::new("redis-server")
            .args(["--port", &self.port.to_string(), "--bind", "127.0.0.1"])
            .args(["--dir", &self.directory.display().to_string(), "--save", ""])
            .args(["--logfile", "redis.log"])
            .args(&self.arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("redis-server (Debian: apt-get install redis-server)");
        self.child = Some(child);
    }

    pub fn pid(&self) -> u32 {
        self.child.as_ref().expect("it runs").id()
    }

    /// Kills it, as a crash would.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            // It may have ended by itself.
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// Stops it in its tracks, or lets it go on.
    pub fn signal(&self, signal: &str) {
        send(signal, self.pid());
    }

    /// Waits until it answers.
    pub async fn wait(&self) {
        let deadline = Instant::now() + Duration::from_secs(60);
        loop {
            if let Ok(mut connection) = self.try_connect().await {
                let pong: Result<String, _> = redis::cmd("PING").query_async(&mut connection).await;
                match pong {
                    Ok(_) => return,
                    Err(error) if error.code() == Some("NOAUTH") => return,
                    Err(_) => {}
                }
            }
            assert!(
                Instant::now() < deadline,
                "redis-server does not answer: {}",
                std::fs::read_to_string(self.directory.join("redis.log")).unwrap_or_default()
            );
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    async fn try_connect(&self) -> redis::RedisResult<MultiplexedConnection> {
        redis::Client::open(format!("redis://127.0.0.1:{}/", self.port))?
            .get_multiplexed_async_connection()
            .await
    }

    /// A connection of the test's own.
    pub async fn connect(&self) -> MultiplexedConnection {
        self.try_connect().await.expect("a connection to Redis")
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        self.kill();
        let _ = std::fs::remove_dir_all(&self.directory);
    }
}
