//! The identity service as an operator starts it.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::Arc;

use serde_json::Value;

use crate::process::{self, Process};
use crate::redis::{free_port, on_some_port};
use crate::waiting::wait_for;
use crate::{Client, Request, paths};

/// The environment variable with the secret of the client that may ask for tokens, and that client.
pub const IDENTITY_CLIENT: (&str, &str) = ("IDENTITY_CLIENT_SECRET", "envoy");

/// A running service.
pub struct IdentityService {
    process: Arc<Process>,
    directory: PathBuf,
    token: SocketAddr,
    check: SocketAddr,
    admin: SocketAddr,
}

impl IdentityService {
    /// Starts it on free ports with this auth server's file and further arguments, and waits until
    /// it serves.
    ///
    /// # Errors
    /// It does not serve; what it said is in the message.
    pub async fn start(
        run_config: &Value,
        arguments: &[&str],
        environment: &[(String, String)],
    ) -> Result<Self, String> {
        on_some_port(async || Self::begin("--config", run_config, arguments, environment).await)
            .await
    }

    /// The same with sessions from a file, and without a store.
    ///
    /// # Errors
    /// As for [`Self::start`].
    pub async fn with_sessions(
        sessions: &Value,
        arguments: &[&str],
        environment: &[(String, String)],
    ) -> Result<Self, String> {
        on_some_port(async || Self::begin("--sessions", sessions, arguments, environment).await)
            .await
    }

    async fn begin(
        flag: &str,
        content: &Value,
        arguments: &[&str],
        environment: &[(String, String)],
    ) -> Result<Self, String> {
        let directory = paths::scratch("identity-service").map_err(|error| error.to_string())?;
        let file = directory.join("authserver-config.yaml");
        std::fs::write(&file, content.to_string()).map_err(|error| error.to_string())?;
        let address = || {
            let port = free_port().map_err(|error| error.to_string())?;
            Ok::<_, String>(SocketAddr::from(([127, 0, 0, 1], port)))
        };
        let (token, check, admin) = (address()?, address()?, address()?);
        let stderr = std::fs::File::create(directory.join("stderr")).map_err(|e| e.to_string())?;
        let mut command = Command::new(paths::identity_service());
        command
            .arg(flag)
            .arg(&file)
            .args(["--exchange-listen", &token.to_string()])
            .args(["--listen", &check.to_string()])
            .args(["--admin", &admin.to_string()])
            .args(["--client-id", IDENTITY_CLIENT.1])
            .args(["--client-secret-env", IDENTITY_CLIENT.0])
            .args(arguments)
            .envs(environment.iter().cloned())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(stderr);
        let service = Self {
            process: process::spawn("the identity service", command)?,
            directory,
            token,
            check,
            admin,
        };
        for address in [token, check, admin] {
            service.process.serves(address);
        }
        let ready = wait_for("the identity service to be ready", || async {
            if let Some(status) = service.process.ended() {
                return Some(Err(format!("it has ended: {status}")));
            }
            let client = Client::http1(service.admin);
            let answer = client.try_send(Request::get("/readyz")).await.ok()?;
            (answer.status == 200).then_some(Ok(()))
        });
        match ready.await {
            Ok(Ok(())) => Ok(service),
            Ok(Err(error)) | Err(error) => Err(format!("{error}\n{}", service.log())),
        }
    }

    /// Its process.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.process.id()
    }

    /// Where `POST /token` is.
    #[must_use]
    pub fn token_address(&self) -> SocketAddr {
        self.token
    }

    /// Where `ext_authz` is.
    #[must_use]
    pub fn check_address(&self) -> SocketAddr {
        self.check
    }

    /// Where its metrics are.
    #[must_use]
    pub fn admin_address(&self) -> SocketAddr {
        self.admin
    }

    /// The value of the metric whose line begins with this, 0 if there is none.
    pub async fn metric(&self, line: &str) -> u64 {
        let client = Client::http1(self.admin);
        let metrics = client.send(Request::get("/metrics")).await.text();
        metrics
            .lines()
            .find_map(|found| found.strip_prefix(line)?.trim().parse().ok())
            .unwrap_or_default()
    }

    /// What it has logged.
    #[must_use]
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.directory.join("stderr")).unwrap_or_default()
    }

    /// `envoy/demo.yaml` without `ext_authz`: the filter asks this service, which is where the
    /// embedded AS was at `stand_in`.
    ///
    /// # Panics
    /// The file is not what it was.
    #[must_use]
    pub fn asked_by_exchange(&self, text: &str, stand_in: SocketAddr) -> String {
        let from = text
            .find("          # Asks the embedded AS for the session's upstream tokens.")
            .expect("the filter that is taken out");
        let to = text
            .find("          # Keeps what the door takes off")
            .expect("the filter after it");
        let text = format!("{}{}", &text[..from], &text[to..]);
        let port = self.token.port();
        let (secret, client) = IDENTITY_CLIENT;
        let replacements = [
            (
                format!("port_value: {}}}", stand_in.port()),
                format!("port_value: {port}}}"),
            ),
            (
                "identity: {tokenFrom: filter_state}".to_owned(),
                format!(
                    "identity: {{source: exchange, exchange: {{tokenUrl: \
                     \"http://localhost:{port}/token\", cluster: embedded-as, \
                     clientId: {client}, clientSecretEnv: {secret}, maxAge: 5s}}}}"
                ),
            ),
            (
                "host_env_keys: [STS_CLIENT_SECRET,".to_owned(),
                format!("host_env_keys: [{secret}, STS_CLIENT_SECRET,"),
            ),
        ];
        replacements.iter().fold(text, |text, (from, to)| {
            assert!(text.contains(from), "{from}");
            text.replace(from, to)
        })
    }

    /// Ends it at once, and on purpose.
    pub fn kill(&self) {
        self.process.kill();
    }
}

impl Drop for IdentityService {
    fn drop(&mut self) {
        self.process.stop();
        if let Some(found) = crate::canary::find(&self.log()) {
            // A panic while another one is under way would end the program without a word.
            if std::thread::panicking() {
                eprintln!("a token in the identity service's log: {found}");
            } else {
                panic!("a token in the identity service's log: {found}");
            }
        }
        if std::thread::panicking() {
            eprintln!("---- the identity service's log\n{}----", self.log());
        }
    }
}
