//! Programs that nobody here wrote, as child processes; `tests/counterparts/README.md` says what
//! they are and how they talk.

use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{ChildStdin, ChildStdout, Command, Stdio};
use std::sync::Arc;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::Duration;

use serde_json::Value;

use crate::client::chain;
use crate::installation::install;
use crate::process::{self, Process};
use crate::waiting::{PATIENCE, Waiting};
use crate::{Client, Reply, Request, canary, paths, repository};

/// Which program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Program {
    /// npm `oidc-provider`, an STS.
    OidcProvider,
    /// npm `oidc-provider`, an identity provider whose one user agrees to everything.
    Idp,
    /// npm `oidc-provider`, what stands in for ToolHive's auth server where it cannot be built.
    AuthServer,
    /// PyPI `idpyoidc`, an STS.
    IdPyOidc,
    /// npm `@jmondi/oauth2-server`, an STS.
    Jmondi,
    /// PyPI `authlib`, a partner's authorization server.
    Authlib,
    /// An MCP server of the official SDK that tells which credential it saw.
    McpEcho,
    /// A FastMCP server that verifies its bearer tokens.
    McpJwt,
    /// npm `server-everything`, an MCP server with every feature of the protocol.
    Everything,
}

impl Program {
    /// The part of `install.sh`, which is also the directory of the installation.
    fn part(self) -> &'static str {
        match self {
            Self::OidcProvider | Self::Idp | Self::AuthServer => "oidc-provider",
            Self::IdPyOidc => "idpyoidc",
            Self::Jmondi => "jmondi",
            Self::Authlib => "authlib",
            Self::McpEcho | Self::McpJwt => "mcp",
            Self::Everything => "conformance",
        }
    }

    fn command(self, installed: &Path) -> Command {
        let directory = installed.join(self.part());
        let python = |script: &str| {
            let mut command = Command::new(directory.join("bin/python"));
            command.arg(sources().join(self.part()).join(script));
            command
        };
        match self {
            Self::OidcProvider | Self::Jmondi | Self::Idp | Self::AuthServer => {
                let script = match self {
                    Self::Idp => "idp.mjs",
                    Self::AuthServer => "auth_server.mjs",
                    _ => "server.mjs",
                };
                let mut command = Command::new(installed.join("bin/node"));
                command.arg(directory.join(script));
                command
            }
            Self::Everything => {
                let mut command = Command::new(installed.join("bin/node-22"));
                command.arg(directory.join("server.mjs"));
                command
            }
            Self::IdPyOidc | Self::Authlib => python("server.py"),
            Self::McpEcho => python("echo_server.py"),
            Self::McpJwt => python("jwt_server.py"),
        }
    }
}

/// A running server of a third party. It ends when this value is dropped, and when this process
/// ends in any way: then nobody holds the other end of its standard input.
pub struct Counterpart {
    process: Arc<Process>,
    log: PathBuf,
    /// It ends when this is closed.
    stdin: Option<ChildStdin>,
    ready: Value,
    control: Client,
}

impl Counterpart {
    /// Installs the program if need be, starts it with this configuration and waits until it serves.
    ///
    /// # Errors
    /// It cannot be installed, ends without having served, or takes too long to serve; what it wrote
    /// is in the message.
    pub fn start(program: Program, configuration: &Value) -> Result<Self, String> {
        Self::start_in(program, configuration, &[])
    }

    /// The same with these environment variables.
    ///
    /// # Errors
    /// As for [`Self::start`].
    pub fn start_in(
        program: Program,
        configuration: &Value,
        environment: &[(String, String)],
    ) -> Result<Self, String> {
        let log = paths::scratch(program.part())
            .map_err(|error| error.to_string())?
            .join("stderr");
        let stderr = std::fs::File::create(&log).map_err(|error| error.to_string())?;
        let mut command = program.command(&installed(program.part())?);
        command
            .arg(configuration.to_string())
            .envs(environment.iter().cloned())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(stderr);
        let (process, pipes) = process::spawn_with_pipes(&format!("{program:?}"), command)?;
        let ready = pipes.stdout.ok_or_else(|| "no pipe".to_owned());
        let ready = ready.and_then(|stdout| ready_line(program, stdout));
        let control = ready.and_then(|ready| {
            let port = ready["port"].as_u64();
            let port = port.and_then(|port| u16::try_from(port).ok());
            let port = port.ok_or_else(|| format!("{program:?} names no port: {ready}"))?;
            let address = SocketAddr::from(([127, 0, 0, 1], port));
            process.serves(address);
            Ok((ready, Client::http1(address)))
        });
        match control {
            Ok((ready, control)) => Ok(Self {
                process,
                log,
                stdin: pipes.stdin,
                ready,
                control,
            }),
            Err(error) => {
                process.kill();
                let said = std::fs::read_to_string(&log).unwrap_or_default();
                Err(format!("{error}; it said:\n{said}"))
            }
        }
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.control.address()
    }

    /// A member of its ready line, such as `token_endpoint`.
    #[must_use]
    pub fn ready(&self, name: &str) -> &str {
        self.ready[name]
            .as_str()
            .unwrap_or_else(|| panic!("no {name} in {}", self.ready))
    }

    /// The private key in PEM that it has made for one of its clients, and the key set that checks
    /// what that client signs.
    #[must_use]
    pub fn client_key(&self, client: &str) -> (&str, &Value) {
        let key = &self.ready["client_keys"][client];
        let pem = key["pem"]
            .as_str()
            .unwrap_or_else(|| panic!("no key of {client}"));
        (pem, &key["jwks"])
    }

    /// Logs a user in at the STS's client; returns the access token, which can be exchanged.
    pub async fn subject_token(&self, user: &str, client: &str) -> String {
        self.token_of_kind("access_token", user, client).await
    }

    /// The same for the ID token that was issued to the client, where the program has such.
    pub async fn id_token(&self, user: &str, client: &str) -> String {
        self.token_of_kind("id_token", user, client).await
    }

    async fn token_of_kind(&self, kind: &str, user: &str, client: &str) -> String {
        let mut login = serde_json::json!({"sub": user, "client": client});
        if kind != "access_token" {
            login["kind"] = Value::from(kind);
        }
        let answer = self.ask("/test/subjects", &login).await;
        let token = answer["token"]
            .as_str()
            .expect("a subject token")
            .to_owned();
        canary::remember(&token);
        token
    }

    /// Calls a control endpoint with a JSON body.
    pub async fn ask(&self, path: &str, body: &Value) -> Value {
        self.send(Request::post(path, body.to_string()))
            .await
            .json()
    }

    /// The key set that checks what this STS issues.
    pub async fn jwks(&self) -> Value {
        self.send(Request::get("/jwks")).await.json()
    }

    /// What the STS noted of each token request so far.
    pub async fn token_requests(&self) -> Vec<Value> {
        let stats = self.send(Request::get("/test/stats")).await.json();
        stats["requests"].as_array().cloned().unwrap_or_default()
    }

    async fn send(&self, request: Request) -> Reply {
        let asked = request.path().to_owned();
        // Only one that still runs is asked: the port of another may be somebody else's by now.
        let answer = match self.process.ended() {
            Some(_) => Err("it is not asked".into()),
            None => self.control.try_send(request).await,
        };
        answer.unwrap_or_else(|error| {
            let error = chain(&*error);
            let state = self.process.ended().map_or_else(
                || "runs".to_owned(),
                |status| format!("has ended: {status}"),
            );
            let said = std::fs::read_to_string(&self.log).unwrap_or_default();
            panic!(
                "{asked}: {error}; {} {state}, and said:\n{said}",
                self.process
            )
        })
    }

    /// Ends it at once, and on purpose.
    pub fn kill(&self) {
        self.process.kill();
    }
}

impl Drop for Counterpart {
    fn drop(&mut self) {
        drop(self.stdin.take());
        // Nothing that it still does can matter to a test that is over.
        self.process.kill();
    }
}

/// Uses an MCP server as the official SDK's client does; the configuration and the result are those
/// of `tests/counterparts/mcp/client.py`.
///
/// # Errors
/// The client cannot be installed, or breaks for another reason than the server's answers, or takes
/// too long.
pub fn mcp_client(configuration: &Value) -> Result<Value, String> {
    let mut command = Command::new(installed("mcp")?.join("mcp/bin/python"));
    command
        .arg(sources().join("mcp/client.py"))
        .arg(configuration.to_string());
    let output = process::output("the MCP client", PATIENCE, command)?;
    serde_json::from_slice(&output.stdout)
        .map_err(|_| format!("MCP client:\n{}", String::from_utf8_lossy(&output.stderr)))
}

/// The official SDK of MCP in a language.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sdk {
    /// PyPI `mcp`.
    Python,
    /// npm `@modelcontextprotocol/sdk`.
    TypeScript,
}

/// Uses MCP servers as the official SDK does that has to log in first; the configuration and the
/// result are those of `tests/counterparts/mcp/login.py` and `tests/counterparts/mcp-js/login.mjs`.
///
/// # Errors
/// The SDK cannot be installed, or breaks for another reason than the servers' answers.
pub fn mcp_login(sdk: Sdk, configuration: &Value) -> Result<Value, String> {
    let mut command = match sdk {
        Sdk::Python => {
            let mut command = Command::new(installed("mcp")?.join("mcp/bin/python"));
            command.arg(sources().join("mcp/login.py"));
            command
        }
        Sdk::TypeScript => {
            let installed = installed("mcp-js")?;
            let mut command = Command::new(installed.join("bin/node"));
            command.arg(installed.join("mcp-js/login.mjs"));
            command
        }
    };
    command.arg(configuration.to_string());
    printed(&format!("{sdk:?}"), PATIENCE * 2, command)
}

/// How long the conformance suite may take; some seconds on an idle machine.
const SUITE_LIMIT: Duration = Duration::from_secs(100);

/// Runs MCP's conformance suite against the server at `url`: for each check how it ended.
///
/// # Errors
/// The suite cannot be installed, or run.
pub fn mcp_conformance(url: &str) -> Result<Value, String> {
    let installed = installed("conformance")?;
    let directory = paths::scratch("conformance").map_err(|error| error.to_string())?;
    let configuration = serde_json::json!({"url": url, "directory": directory});
    let mut command = Command::new(installed.join("bin/node-22"));
    command
        .arg(installed.join("conformance/suite.mjs"))
        .arg(configuration.to_string());
    printed("the conformance suite", SUITE_LIMIT, command)
}

/// What a program prints as JSON.
fn printed(what: &str, limit: Duration, command: Command) -> Result<Value, String> {
    let output = process::output(what, limit, command)?;
    serde_json::from_slice(&output.stdout)
        .map_err(|_| format!("{what}:\n{}", String::from_utf8_lossy(&output.stderr)))
}

/// What is in a file of Kubernetes resources, and what is wrong with it.
#[derive(Debug)]
pub struct KubernetesVerdict {
    /// Kind and name of each resource.
    pub found: Vec<String>,
    /// What does not fit.
    pub wrong: Vec<String>,
}

/// Judges files of Kubernetes resources, each by itself, by the schemas and types that Envoy Gateway and
/// Istio publish, with `tests/counterparts/kubernetes/validate.mjs`.
///
/// # Errors
/// The schemas cannot be installed or read, or the verdict takes too long.
pub fn kubernetes_verdicts(files: &[&Path]) -> Result<Vec<KubernetesVerdict>, String> {
    let installed = installed("kubernetes")?;
    let mut command = Command::new(installed.join("bin/node"));
    command
        .arg(installed.join("kubernetes/validate.mjs"))
        .args(files);
    let verdicts = printed("validate.mjs", PATIENCE, command)?;
    let verdicts = verdicts.as_array().map(Vec::as_slice).unwrap_or_default();
    if verdicts.len() != files.len() {
        return Err(format!("validate.mjs: {} verdicts", verdicts.len()));
    }
    let verdict = |verdict: &Value| KubernetesVerdict {
        found: texts(&verdict["found"]),
        wrong: texts(&verdict["wrong"]),
    };
    Ok(verdicts.iter().map(verdict).collect())
}

fn texts(list: &Value) -> Vec<String> {
    let items = list.as_array().into_iter().flatten();
    items
        .filter_map(|item| item.as_str().map(str::to_owned))
        .collect()
}

/// Envoy Gateway's translator, built from the source that `tests/egctl/go.mod` pins.
///
/// # Errors
/// It cannot be built.
pub fn egctl() -> Result<PathBuf, String> {
    install("egctl/install.sh", "")
}

/// What Envoy Gateway makes of a file of resources: a configuration dump for each gateway.
///
/// # Errors
/// What the translator says against it.
pub fn gateway_dumps(file: &Path) -> Result<Value, String> {
    let mut command = Command::new(egctl()?);
    command
        .args(["x", "translate", "--from", "gateway-api", "--to", "xds"])
        .args(["--output", "json", "--file"])
        .arg(file);
    printed(&format!("egctl {}", file.display()), PATIENCE, command)
}

/// Waits for the ready line; what comes after it is read and dropped as long as the child runs.
fn ready_line(program: Program, stdout: ChildStdout) -> Result<Value, String> {
    let _waiting = Waiting::new(format!("{program:?} to serve"));
    let (sender, receiver) = channel();
    std::thread::spawn(move || {
        let mut lines = BufReader::new(stdout);
        let mut line = String::new();
        while lines.read_line(&mut line).is_ok_and(|length| length > 0) {
            if let Ok(ready @ Value::Object(_)) = serde_json::from_str(&line) {
                // Nobody may be waiting any more.
                let _ = sender.send(ready);
                let _ = std::io::copy(&mut lines.by_ref(), &mut std::io::sink());
                return;
            }
            line.clear();
        }
    });
    receiver
        .recv_timeout(PATIENCE)
        .map_err(|error| match error {
            RecvTimeoutError::Timeout => format!("{program:?} does not serve after {PATIENCE:?}"),
            RecvTimeoutError::Disconnected => format!("{program:?} has ended before it served"),
        })
}

fn installed(part: &'static str) -> Result<PathBuf, String> {
    install("counterparts/install.sh", part)
}

fn sources() -> PathBuf {
    repository().join("tests/counterparts")
}
