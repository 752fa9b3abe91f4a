//! A real redis-server, and sessions in it as ToolHive's auth server writes them.

use std::net::{Ipv4Addr, TcpListener};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};

use serde_json::Value;

use crate::process::{self, Process};
use crate::waiting::{PATIENCE, wait_for};
use crate::{canary, paths};

/// What every key begins with.
pub const KEY_PREFIX: &str = "thv:auth:{bed:vmcp}:";

/// A running server on a port of its own.
pub struct Redis {
    port: u16,
    process: Mutex<Arc<Process>>,
}

/// A port that is free now, and that nobody is given who asks the system for any port: between this
/// answer and its use, neither a server nor a connection of another test takes it.
///
/// # Errors
/// There is none.
pub fn free_port() -> std::io::Result<u16> {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    // Processes that run at once begin in different places.
    let first = std::process::id().wrapping_mul(97);
    let mut last = std::io::Error::other("no port was tried");
    for _ in 0..1000 {
        let at = first.wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed));
        let port = FIRST_PORT + u16::try_from(at % PORTS).expect("few");
        match TcpListener::bind((Ipv4Addr::LOCALHOST, port)) {
            Ok(_) => return Ok(port),
            Err(error) => last = error,
        }
    }
    Err(last)
}

/// What is said of a port that somebody else has, in all languages.
const IN_USE: &str = "address already in use";

/// Starts something on a free port, and on another one if somebody else has taken that meanwhile.
pub(crate) async fn on_some_port<T>(
    start: impl AsyncFn() -> Result<T, String>,
) -> Result<T, String> {
    for _ in 0..3 {
        match start().await {
            Err(error) if error.to_ascii_lowercase().contains(IN_USE) => {}
            outcome => return outcome,
        }
    }
    start().await
}

/// Linux gives out ports from 32768 on; these are below.
const FIRST_PORT: u16 = 20_000;
const PORTS: u32 = 12_000;

impl Redis {
    /// Starts a server that keeps nothing on disk, and waits until it answers.
    ///
    /// # Errors
    /// There is no redis-server, or it does not answer.
    pub async fn start() -> Result<Self, String> {
        on_some_port(async || {
            let port = free_port().map_err(|error| error.to_string())?;
            let redis = Self {
                port,
                process: Mutex::new(spawn(port)?),
            };
            redis.ready().await?;
            Ok(redis)
        })
        .await
    }

    /// Its port.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Its process.
    ///
    /// # Panics
    /// Never.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.process.lock().expect("no panic in here").id()
    }

    /// Ends it at once, with everything that it holds.
    pub fn kill(&self) {
        self.process.lock().expect("no panic in here").kill();
    }

    /// Starts it again, empty.
    ///
    /// # Errors
    /// It does not answer.
    pub async fn begin(&self) -> Result<(), String> {
        *self.process.lock().expect("no panic in here") = spawn(self.port)?;
        self.ready().await
    }

    async fn ready(&self) -> Result<(), String> {
        let process = Arc::clone(&self.process.lock().expect("no panic in here"));
        // Another server may have that port.
        let itself = format!("process_id:{}", process.id());
        wait_for("redis-server to answer", || async {
            if let Some(status) = process.ended() {
                return Some(Err(format!("{IN_USE}? redis-server has ended: {status}")));
            }
            let said = self.try_run(&["INFO", "server"]).ok()?;
            said.lines()
                .any(|line| line.trim_end() == itself)
                .then_some(Ok(()))
        })
        .await?
    }

    /// Runs a command; what it prints.
    ///
    /// # Panics
    /// It fails.
    pub fn run(&self, command: &[&str]) -> String {
        self.try_run(command)
            .unwrap_or_else(|error| panic!("{error}"))
    }

    fn try_run(&self, arguments: &[&str]) -> Result<String, String> {
        self.process.lock().expect("no panic in here").meet();
        let mut command = Command::new("redis-cli");
        command
            .args(["-e", "-p", &self.port.to_string()])
            .args(arguments);
        let output = process::output("redis-cli", PATIENCE, command)?;
        if output.status.success() {
            return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
        }
        let verb = arguments.first().unwrap_or(&"");
        Err(format!(
            "{verb}: {}",
            String::from_utf8_lossy(&output.stderr)
        ))
    }

    /// Puts a provider's row into a session, with what belongs to it. Its tokens are searched for
    /// in logs from now on.
    pub fn put(&self, session: &str, row: &Value) {
        for name in ["access_token", "refresh_token"] {
            if let Some(token) = row[name].as_str().filter(|token| !token.is_empty()) {
                canary::remember(token);
            }
        }
        let text = |name: &str| row[name].as_str().unwrap_or_default().to_owned();
        let key = Self::row_key(session, &text("provider_id"));
        self.run(&["SET", &key, &row.to_string()]);
        self.run(&["SADD", &format!("{KEY_PREFIX}upstream:idx:{session}"), &key]);
        let user = format!("{KEY_PREFIX}user:upstream:{}", text("user_id"));
        self.run(&["SADD", &user, &key]);
    }

    /// The key of a provider's row.
    #[must_use]
    pub fn row_key(session: &str, provider: &str) -> String {
        format!("{KEY_PREFIX}upstream:{session}:{provider}")
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        self.kill();
    }
}

fn spawn(port: u16) -> Result<Arc<Process>, String> {
    let directory = paths::scratch("redis").map_err(|error| error.to_string())?;
    let mut command = Command::new("redis-server");
    command
        .args(["--bind", "127.0.0.1", "--save", "", "--appendonly", "no"])
        .args(["--port", &port.to_string(), "--dir"])
        .arg(&directory)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    process::spawn("redis-server", command)
        .map_err(|error| format!("{error} (Debian: apt-get install redis-server)"))
}
