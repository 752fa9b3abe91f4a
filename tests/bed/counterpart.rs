//! Programs that nobody here wrote, as child processes; `tests/counterparts/README.md` says what
//! they are and how they talk.

use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use serde_json::Value;

use crate::{Client, Request, canary, paths, repository};

/// Which program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Program {
    /// npm `oidc-provider`, an STS.
    OidcProvider,
    /// PyPI `idpyoidc`, an STS.
    IdPyOidc,
    /// npm `@jmondi/oauth2-server`, an STS.
    Jmondi,
    /// An MCP server of the official SDK that tells which credential it saw.
    McpEcho,
    /// A FastMCP server that verifies its bearer tokens.
    McpJwt,
}

impl Program {
    /// The part of `install.sh`, which is also the directory of the installation.
    fn part(self) -> &'static str {
        match self {
            Self::OidcProvider => "oidc-provider",
            Self::IdPyOidc => "idpyoidc",
            Self::Jmondi => "jmondi",
            Self::McpEcho | Self::McpJwt => "mcp",
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
            Self::OidcProvider | Self::Jmondi => {
                let mut command = Command::new(installed.join("bin/node"));
                command.arg(directory.join("server.mjs"));
                command
            }
            Self::IdPyOidc => python("server.py"),
            Self::McpEcho => python("echo_server.py"),
            Self::McpJwt => python("jwt_server.py"),
        }
    }
}

/// A running server of a third party. It ends when this value is dropped, and when this process
/// ends in any way: then nobody holds the other end of its standard input.
pub struct Counterpart {
    child: Child,
    stdin: Option<ChildStdin>,
    ready: Value,
    control: Client,
}

impl Counterpart {
    /// Installs the program if need be, starts it with this configuration and waits until it serves.
    ///
    /// # Errors
    /// It cannot be installed, or ends without having served; what it wrote is in the message.
    pub fn start(program: Program, configuration: &Value) -> Result<Self, String> {
        let log = paths::scratch(program.part())
            .map_err(|error| error.to_string())?
            .join("stderr");
        let stderr = std::fs::File::create(&log).map_err(|error| error.to_string())?;
        let mut child = program
            .command(&install(program.part())?)
            .arg(configuration.to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(stderr)
            .spawn()
            .map_err(|error| format!("{program:?}: {error}"))?;
        let stdin = child.stdin.take();
        let Some(ready) = child.stdout.take().and_then(ready_line) else {
            // Without its standard input it ends.
            drop(stdin);
            let status = child.wait().map_err(|error| error.to_string())?;
            let said = std::fs::read_to_string(&log).unwrap_or_default();
            return Err(format!("{program:?} did not start ({status}):\n{said}"));
        };
        let port = ready["port"]
            .as_u64()
            .and_then(|port| u16::try_from(port).ok());
        let port = port.ok_or_else(|| format!("{program:?} names no port: {ready}"))?;
        let control = Client::http1(SocketAddr::from(([127, 0, 0, 1], port)));
        Ok(Self {
            child,
            stdin,
            ready,
            control,
        })
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

    /// Logs a user in at the STS's client; returns the access token, which can be exchanged.
    pub async fn subject_token(&self, user: &str, client: &str) -> String {
        let login = serde_json::json!({"sub": user, "client": client});
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
        self.control
            .send(Request::post(path, body.to_string()))
            .await
            .json()
    }

    /// The key set that checks what this STS issues.
    pub async fn jwks(&self) -> Value {
        self.control.send(Request::get("/jwks")).await.json()
    }

    /// What the STS noted of each token request so far.
    pub async fn token_requests(&self) -> Vec<Value> {
        let stats = self.control.send(Request::get("/test/stats")).await.json();
        stats["requests"].as_array().cloned().unwrap_or_default()
    }
}

impl Drop for Counterpart {
    fn drop(&mut self) {
        drop(self.stdin.take());
        // Nothing that it still does can matter to a test that is over.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Uses an MCP server as the official SDK's client does; the configuration and the result are those
/// of `tests/counterparts/mcp/client.py`.
///
/// # Errors
/// The client cannot be installed, or breaks for another reason than the server's answers.
pub fn mcp_client(configuration: &Value) -> Result<Value, String> {
    let output = Command::new(install("mcp")?.join("mcp/bin/python"))
        .arg(sources().join("mcp/client.py"))
        .arg(configuration.to_string())
        .stdin(Stdio::null())
        .output()
        .map_err(|error| format!("MCP client: {error}"))?;
    serde_json::from_slice(&output.stdout)
        .map_err(|_| format!("MCP client:\n{}", String::from_utf8_lossy(&output.stderr)))
}

/// Judges a file of Kubernetes resources by the schemas and types that Envoy Gateway and Istio
/// publish; the answer is what `tests/counterparts/kubernetes/validate.mjs` prints.
///
/// # Errors
/// The schemas cannot be installed, or a resource does not fit them.
pub fn kubernetes_verdict(file: &Path) -> Result<String, String> {
    let installed = install("kubernetes")?;
    let output = Command::new(installed.join("bin/node"))
        .arg(installed.join("kubernetes/validate.mjs"))
        .arg(file)
        .stdin(Stdio::null())
        .output()
        .map_err(|error| format!("validate.mjs: {error}"))?;
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    if output.status.success() {
        return Ok(said);
    }
    Err(said + &String::from_utf8_lossy(&output.stderr))
}

/// Reads up to the ready line; what comes after it is read and dropped as long as the child runs.
fn ready_line(stdout: ChildStdout) -> Option<Value> {
    let mut lines = BufReader::new(stdout);
    let mut line = String::new();
    while lines.read_line(&mut line).ok()? > 0 {
        if let Ok(ready @ Value::Object(_)) = serde_json::from_str(&line) {
            std::thread::spawn(move || std::io::copy(&mut lines.by_ref(), &mut std::io::sink()));
            return Some(ready);
        }
        line.clear();
    }
    None
}

fn install(part: &str) -> Result<PathBuf, String> {
    let output = Command::new("bash")
        .arg(sources().join("install.sh"))
        .arg(part)
        .stderr(Stdio::inherit())
        .output()
        .map_err(|error| format!("install.sh: {error}"))?;
    match String::from_utf8_lossy(&output.stdout).lines().last() {
        Some(directory) if output.status.success() => Ok(PathBuf::from(directory)),
        _ => Err(format!("install.sh could not install {part}")),
    }
}

fn sources() -> PathBuf {
    repository().join("tests/counterparts")
}
