//! A real Envoy as a child process: found or installed, started with a configuration, stopped when
//! dropped, and gone with this process however that ends.

mod admin;
mod evidence;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use serde_json::Value;

use crate::installation::install;
use crate::process::{self, Process};
use crate::waiting::{PATIENCE, wait_for, within};
use crate::{paths, repository};
pub(crate) use admin::quote_query;
pub use evidence::search_canaries;

/// How an Envoy is started.
#[derive(Clone, Debug)]
pub struct EnvoyOptions {
    /// A name for its directory and for messages.
    pub name: String,
    /// The bootstrap configuration, YAML or JSON.
    pub config: String,
    /// Worker threads.
    pub concurrency: u32,
    /// `--component-log-level`. Tracing the wasm component shows what the filter does and logs; the
    /// `http` and `router` components stay at info, because at trace Envoy itself logs every header
    /// of every request, credentials included, and that is not the filter's doing.
    /// `main` is at warning, since it lists hundreds of extensions at start.
    pub component_log_level: String,
    /// Environment variables for Envoy, on top of this process's own.
    pub environment: Vec<(String, String)>,
    /// More arguments of its command line.
    pub arguments: Vec<String>,
}

impl EnvoyOptions {
    /// One worker, the wasm component at trace.
    #[must_use]
    pub fn new(name: &str, config: String) -> Self {
        Self {
            name: name.to_owned(),
            config,
            concurrency: 1,
            component_log_level: "wasm:trace,main:warning".to_owned(),
            environment: Vec::new(),
            arguments: Vec::new(),
        }
    }
}

/// A running Envoy.
pub struct Envoy {
    name: String,
    directory: PathBuf,
    process: Arc<Process>,
    admin: SocketAddr,
}

impl Envoy {
    /// Starts an Envoy and waits until it serves.
    ///
    /// # Errors
    /// Envoy cannot be found or installed, ends at once (its log is in the message), or is not
    /// ready in time.
    pub async fn start(options: EnvoyOptions) -> Result<Self, String> {
        let directory = paths::scratch(&options.name).map_err(|error| error.to_string())?;
        let config = write_config(&directory, &options.config)?;
        let mut command = Command::new(binary()?);
        command
            .current_dir(repository())
            .arg("-c")
            .arg(&config)
            .args(["--concurrency", &options.concurrency.to_string()])
            .args(["--component-log-level", &options.component_log_level])
            .arg("--admin-address-path")
            .arg(directory.join("admin"))
            // The log stays on stderr, where a line stands before the reply that follows it; a
            // file of Envoy's own is written behind its back. Access logs are such files.
            .args(["--log-level", "info", "--file-flush-interval-msec", "20"])
            .arg("--disable-hot-restart")
            .args(&options.arguments)
            .envs(options.environment.iter().cloned())
            .stdin(Stdio::null())
            .stdout(std::fs::File::create(directory.join("stdout")).map_err(|e| e.to_string())?)
            .stderr(std::fs::File::create(directory.join("stderr")).map_err(|e| e.to_string())?);
        let process = process::spawn(&format!("Envoy {}", options.name), command)?;
        let mut envoy = Self {
            name: options.name,
            directory,
            process,
            admin: SocketAddr::from(([127, 0, 0, 1], 0)),
        };
        envoy
            .become_ready()
            .await
            .map_err(|error| format!("{error}\n{}", envoy.log_tail(60)))?;
        evidence::remember(&envoy.name, &envoy.directory, &envoy.process, envoy.admin);
        Ok(envoy)
    }

    /// Asks Envoy whether it would accept a configuration (`--mode validate`).
    ///
    /// # Errors
    /// Envoy cannot be found or run, or does not come to a verdict in time.
    pub fn validate(
        name: &str,
        config: &str,
        environment: &[(&str, &str)],
    ) -> Result<Verdict, String> {
        let directory = paths::scratch(name).map_err(|error| error.to_string())?;
        let path = write_config(&directory, config)?;
        let mut command = Command::new(binary()?);
        command
            .current_dir(repository())
            .args(["--mode", "validate", "--log-level", "info", "-c"])
            .arg(&path)
            .envs(environment.iter().copied());
        let what = format!("Envoy's verdict on the configuration of {name}");
        let output = process::output(&what, PATIENCE, command)?;
        let _ = std::fs::remove_dir_all(&directory);
        let text = [output.stdout, output.stderr].concat();
        Ok(Verdict {
            accepted: output.status.success(),
            output: String::from_utf8_lossy(&text).into_owned(),
        })
    }

    async fn become_ready(&mut self) -> Result<(), String> {
        let address_file = self.directory.join("admin");
        let process = &self.process;
        let admin = wait_for("Envoy's admin address", || async {
            if let Some(status) = process.ended() {
                return Some(Err(format!("Envoy ended at once: {status}")));
            }
            let text = std::fs::read_to_string(&address_file).ok()?;
            Some(Ok(text.trim().parse::<SocketAddr>().ok()?))
        })
        .await??;
        self.admin = admin;
        process.serves(admin);
        wait_for("Envoy to be ready", || async {
            if let Some(status) = process.ended() {
                return Some(Err(format!("Envoy ended before it was ready: {status}")));
            }
            let ready = admin::get(admin, "/ready").await.ok()?;
            (ready.status == 200).then_some(Ok(()))
        })
        .await?
    }

    /// The address of the listener with this name.
    pub async fn listener(&self, name: &str) -> SocketAddr {
        let listeners = self.admin_json("/listeners?format=json").await;
        let address = admin::listener_address(&listeners, name)
            .unwrap_or_else(|| panic!("no listener {name} in {listeners}"));
        self.process.serves(address);
        address
    }

    /// The admin interface's address.
    #[must_use]
    pub fn admin_address(&self) -> SocketAddr {
        self.admin
    }

    /// What the admin interface answers to a `GET`.
    ///
    /// # Panics
    /// Envoy has ended, or does not answer.
    pub async fn admin_text(&self, path: &str) -> String {
        self.process.meet();
        let must_run = || {
            if let Some(status) = self.process.ended() {
                panic!("{} has ended: {status}", self.process);
            }
        };
        must_run();
        let answer = admin::get(self.admin, path).await;
        // If it has ended meanwhile, whoever has its port now may have answered.
        must_run();
        answer
            .unwrap_or_else(|error| panic!("{}: {error}", self.process))
            .body
    }

    /// The admin interface's answer to a `GET`, as JSON.
    pub async fn admin_json(&self, path: &str) -> Value {
        let text = self.admin_text(path).await;
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("admin {path}: {error}: {text}"))
    }

    /// The value of a counter or gauge; one that does not exist yet is 0.
    pub async fn stat(&self, name: &str) -> u64 {
        let stats = self.stats(&format!("^{}$", admin::quote_regex(name))).await;
        stats
            .iter()
            .find(|(found, _)| found == name)
            .map_or(0, |(_, value)| *value)
    }

    /// Counters and gauges whose names match the regular expression.
    pub async fn stats(&self, regex: &str) -> Vec<(String, u64)> {
        let path = format!("/stats?format=json&filter={}", admin::quote_query(regex));
        admin::numbers(&self.admin_json(&path).await)
    }

    /// Waits until a stat has the value, which may take the filter a second.
    pub async fn expect_stat(&self, name: &str, expected: u64) {
        let last = std::cell::Cell::new(0);
        let reached = async {
            loop {
                last.set(self.stat(name).await);
                if last.get() == expected {
                    return;
                }
                assert!(
                    last.get() < expected,
                    "{name} is {}, more than {expected}",
                    last.get()
                );
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        within(PATIENCE, format!("{name} to be {expected}"), reached)
            .await
            .unwrap_or_else(|error| panic!("{error}; it stays at {}", last.get()));
    }

    /// Envoy's log so far.
    #[must_use]
    pub fn log(&self) -> String {
        evidence::lossy(&self.directory.join("stderr"))
    }

    /// The lines of the access log that the bed's configurations write to stdout, as JSON.
    #[must_use]
    pub fn access_log(&self) -> Vec<Value> {
        evidence::lossy(&self.directory.join("stdout"))
            .lines()
            .filter_map(|line| serde_json::from_str(line).ok())
            .collect()
    }

    /// The CPU time that Envoy has used so far, all threads, user and system.
    #[must_use]
    pub fn cpu_time(&self) -> Duration {
        self.process.cpu_time()
    }

    /// Envoy's resident memory in bytes.
    #[must_use]
    pub fn resident_memory(&self) -> u64 {
        self.process.resident_memory()
    }

    /// The process id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.process.id()
    }

    /// Ends it at once, and on purpose.
    pub fn kill(&self) {
        self.process.kill();
    }

    /// The directory with its configuration and logs.
    #[must_use]
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// The end of its log, for a message about a failure.
    #[must_use]
    pub fn log_tail(&self, lines: usize) -> String {
        evidence::log_tail(&self.name, &self.directory, lines)
    }
}

impl Drop for Envoy {
    fn drop(&mut self) {
        evidence::keep_stats(&self.process, self.admin, &self.directory);
        self.process.stop();
        if std::thread::panicking() {
            eprintln!("{}", self.log_tail(40));
        }
        // The logs of an Envoy that served stay until the canary search has read them.
        if !evidence::is_remembered(&self.directory) && !std::thread::panicking() {
            let _ = std::fs::remove_dir_all(&self.directory);
        }
    }
}

/// What Envoy said about a configuration.
#[derive(Debug)]
pub struct Verdict {
    /// It would start with it.
    pub accepted: bool,
    /// Everything it printed.
    pub output: String,
}

impl Verdict {
    /// The filter's own `config: …` lines, without what Envoy puts around them.
    #[must_use]
    pub fn config_lines(&self) -> Vec<&str> {
        self.output
            .lines()
            .filter_map(|line| line.find("config: ").map(|start| line[start..].trim_end()))
            .collect()
    }
}

/// The Envoy binary, found or installed by `tests/install-envoy.sh`.
///
/// # Errors
/// What the script said.
pub fn binary() -> Result<PathBuf, String> {
    install("install-envoy.sh", "")
}

/// The minor version of the Envoy under test, such as 40: some of its features are not in older ones.
///
/// # Panics
/// There is no Envoy.
pub fn minor_version() -> u32 {
    static VERSION: LazyLock<u32> = LazyLock::new(|| {
        let mut command = Command::new(binary().unwrap_or_else(|error| panic!("{error}")));
        command.arg("--version");
        let output = process::output("envoy --version", PATIENCE, command);
        let said = output.unwrap_or_else(|error| panic!("{error}")).stdout;
        let said = String::from_utf8_lossy(&said);
        // "<path of the binary>  version: <commit>/1.40.0/Clean/RELEASE/BoringSSL"
        let version = said.split("version: ").nth(1).unwrap_or_default();
        version
            .split('/')
            .find_map(|part| part.strip_prefix("1.")?.split('.').next()?.parse().ok())
            .unwrap_or_else(|| panic!("no version of Envoy: {said}"))
    });
    *VERSION
}

fn write_config(directory: &Path, config: &str) -> Result<PathBuf, String> {
    // YAML is a superset of JSON, and by this extension Envoy accepts both.
    let path = directory.join("envoy.yaml");
    std::fs::write(&path, config).map_err(|error| format!("{}: {error}", path.display()))?;
    Ok(path)
}
