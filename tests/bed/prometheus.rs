//! A real Prometheus, and its `promtool`.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::Arc;

use serde_json::Value;

use crate::envoy::quote_query;
use crate::installation::install;
use crate::process::{self, Process};
use crate::redis::{free_port, on_some_port};
use crate::waiting::{PATIENCE, wait_for};
use crate::{Client, Request, paths, repository};

/// A running Prometheus.
pub struct Prometheus {
    process: Arc<Process>,
    directory: PathBuf,
    client: Client,
}

/// One series of an answer: its labels, and its value.
pub type Sample = (Value, f64);

impl Prometheus {
    /// Starts it with this configuration, which names its rules as `rules.yaml`, and waits until it
    /// answers.
    ///
    /// # Errors
    /// It cannot be had, or does not answer; what it said is in the message.
    pub async fn start(configuration: &str, rules: &str) -> Result<Self, String> {
        on_some_port(async || Self::begin(configuration, rules).await).await
    }

    async fn begin(configuration: &str, rules: &str) -> Result<Self, String> {
        let directory = paths::scratch("prometheus").map_err(|error| error.to_string())?;
        let write = |name: &str, text: &str| {
            std::fs::write(directory.join(name), text).map_err(|error| error.to_string())
        };
        write("prometheus.yaml", configuration)?;
        write("rules.yaml", rules)?;
        let stderr = std::fs::File::create(directory.join("stderr")).map_err(|e| e.to_string())?;
        let port = free_port().map_err(|error| error.to_string())?;
        let address = SocketAddr::from(([127, 0, 0, 1], port));
        let mut command = Command::new(program("prometheus")?);
        command
            .current_dir(&directory)
            .arg("--config.file=prometheus.yaml")
            .arg("--storage.tsdb.path=data")
            .arg(format!("--web.listen-address={address}"))
            .arg("--log.level=warn")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(stderr);
        let process = process::spawn("Prometheus", command)?;
        process.serves(address);
        let prometheus = Self {
            process,
            directory,
            client: Client::http1(address),
        };
        let ready = wait_for("Prometheus to be ready", || async {
            if let Some(status) = prometheus.process.ended() {
                return Some(Err(format!("it has ended: {status}")));
            }
            let answer = prometheus.client.try_send(Request::get("/-/ready")).await;
            (answer.ok()?.status == 200).then_some(Ok(()))
        });
        match ready.await {
            Ok(Ok(())) => Ok(prometheus),
            Ok(Err(error)) | Err(error) => Err(format!("{error}\n{}", prometheus.log())),
        }
    }

    /// The value of an expression now, which is an instant vector.
    ///
    /// # Panics
    /// It is none, or Prometheus does not answer.
    pub async fn query(&self, expression: &str) -> Vec<Sample> {
        let path = format!("/api/v1/query?query={}", quote_query(expression));
        let answer = self.client.send(Request::get(&path)).await;
        let answered = answer.json();
        assert_eq!(answered["status"], "success", "{expression}: {answered}");
        let samples = answered["data"]["result"].as_array().into_iter().flatten();
        samples
            .map(|sample| {
                let value = sample["value"][1]
                    .as_str()
                    .and_then(|text| text.parse().ok());
                let value = value.unwrap_or_else(|| panic!("{expression}: {sample}"));
                (sample["metric"].clone(), value)
            })
            .collect()
    }

    /// Every rule that it has loaded, as its API describes it.
    ///
    /// # Panics
    /// It does not answer.
    pub async fn rules(&self) -> Vec<Value> {
        let answer = self.client.send(Request::get("/api/v1/rules")).await.json();
        let groups = answer["data"]["groups"].as_array().into_iter().flatten();
        let rules = groups.flat_map(|group| group["rules"].as_array().into_iter().flatten());
        rules.cloned().collect()
    }

    /// What it has logged: warnings and errors.
    #[must_use]
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.directory.join("stderr")).unwrap_or_default()
    }
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        self.process.stop();
        if std::thread::panicking() {
            eprintln!("---- Prometheus' log\n{}----", self.log());
        }
        let _ = std::fs::remove_dir_all(&self.directory);
    }
}

/// Runs `promtool` in the repository's root.
///
/// # Errors
/// It cannot be had, or fails; what it said is in the message.
pub fn promtool(arguments: &[&str]) -> Result<String, String> {
    let mut command = Command::new(program("promtool")?);
    command.args(arguments).current_dir(repository());
    let output = process::output("promtool", PATIENCE, command)?;
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said).into_owned();
    if output.status.success() {
        return Ok(said);
    }
    Err(format!("promtool {}: {said}", arguments.join(" ")))
}

fn program(name: &str) -> Result<PathBuf, String> {
    Ok(install("install-prometheus.sh", "")?.join(name))
}
