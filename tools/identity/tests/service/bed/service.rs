//! The service as an operator starts it, and what can be asked of it.

use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::provider::Provider;
use super::redis::{Redis, free_port};
use super::session::{PREFIX, now};
use super::signer::Signer;

pub const ISSUER: &str = "https://mcp.example.com";
pub const SECRET: &str = "s3cret of the client";

/// A directory that goes with the test.
pub struct Directory(PathBuf);

impl Directory {
    pub fn new() -> Self {
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        let path = std::env::temp_dir().join(format!(
            "upstream-inject-identity-{}-{}",
            std::process::id(),
            NUMBER.fetch_add(1, Ordering::Relaxed)
        ));
        std::fs::create_dir_all(&path).expect("a directory");
        Self(path)
    }

    pub fn path(&self) -> &Path {
        &self.0
    }

    pub fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.0.join(name);
        std::fs::write(&path, text).expect("a file");
        path
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// A `RunConfig` for these providers over this store: `corp` is OpenID, `github` OAuth 2.
pub fn run_config(provider: &Provider, storage: &Value) -> Value {
    json!({
        "schema_version": "v0.1.0",
        "issuer": ISSUER,
        "allowed_audiences": ["https://mcp.example.com/mcp"],
        "upstreams": [
            {"name": "corp", "type": "oidc", "oidc_config": {
                "issuer_url": provider.url(""), "client_id": "thv-corp",
                "client_secret_env_var": "CORP_SECRET", "scopes": ["openid", "profile"],
                "redirect_uri": "https://mcp.example.com/oauth/callback",
            }},
            {"name": "github", "type": "oauth2", "oauth2_config": {
                "authorization_endpoint": provider.url("/auth"),
                "token_endpoint": provider.url("/github/token"), "client_id": "thv-github",
                "client_secret_env_var": "GITHUB_SECRET", "scopes": ["repo"],
                "redirect_uri": "https://mcp.example.com/oauth/callback",
            }},
        ],
        "storage": storage,
    })
}

pub fn standalone(redis: &Redis) -> Value {
    json!({"type": "redis", "redis_config": {
        "addr": format!("127.0.0.1:{}", redis.port), "auth_type": "aclUser",
        "acl_user_config": {"username_env_var": "", "password_env_var": "REDIS_PASSWORD"},
        "key_prefix": PREFIX,
    }})
}

/// Everything around a service: a store, providers, and whoever signs.
pub struct Bed {
    pub redis: Redis,
    pub provider: Provider,
    pub signer: Signer,
    pub directory: Directory,
}

impl Bed {
    pub async fn new() -> Self {
        Self::with_redis(&[]).await
    }

    pub async fn with_redis(arguments: &[&str]) -> Self {
        let provider = Provider::start().await;
        let signer = Signer::new("k1");
        provider.document("/jwks.json", 200, signer.jwks());
        Self {
            redis: Redis::start(arguments).await,
            provider,
            signer,
            directory: Directory::new(),
        }
    }

    pub fn config(&self) -> PathBuf {
        let config = run_config(&self.provider, &standalone(&self.redis));
        self.directory
            .write("authserver-config.yaml", &config.to_string())
    }

    /// A service with these further arguments.
    pub async fn service(&self, arguments: &[&str]) -> Service {
        let config = self.config().display().to_string();
        let jwks = self.provider.url("/jwks.json");
        let mut all = vec!["--config", &config, "--jwks-url", &jwks];
        all.extend(arguments);
        Service::start(&all).await
    }

    /// A TH-JWT of this session, of a login some time ago.
    pub fn token(&self, session: &str) -> String {
        self.signer.sign(&self.claims(session, 600))
    }

    pub fn claims(&self, session: &str, since_login: i64) -> Value {
        json!({
            "iss": ISSUER, "aud": ["https://mcp.example.com/mcp"], "sub": "user-1",
            "client_id": "mcp-client", "tsid": session, "scp": ["openid"],
            "iat": now() - since_login, "exp": now() + 600, "jti": "j-1",
        })
    }
}

/// A running service.
pub struct Service {
    child: Child,
    stderr: PathBuf,
    pub token_port: u16,
    pub check_port: u16,
    pub admin_port: u16,
    http: reqwest::Client,
    _directory: Directory,
}

/// An answer of the token door.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: http::HeaderMap,
    pub body: Value,
}

impl Answer {
    pub fn error(&self) -> &str {
        self.body["error"].as_str().unwrap_or_default()
    }

    pub fn token(&self) -> &str {
        assert_eq!(self.status, 200, "{}", self.body);
        self.body["access_token"].as_str().expect("a token")
    }
}

pub fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_upstream-inject-identity"));
    command
        .args(arguments)
        .env_clear()
        .env("CORP_SECRET", "corp secret")
        .env("GITHUB_SECRET", "github secret")
        .env("REDIS_PASSWORD", "")
        .env("CLIENT_SECRET", SECRET)
        .stdin(Stdio::null());
    command
}

/// Runs it to its end, which must come soon: its exit code, standard output and standard error.
pub fn run_to_its_end(arguments: &[&str]) -> (Option<i32>, String, String) {
    let mut child = command(arguments)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("it runs");
    let deadline = Instant::now() + Duration::from_secs(60);
    let status = loop {
        match child.try_wait().expect("its state") {
            Some(status) => break status.code(),
            None if Instant::now() > deadline => {
                let _ = child.kill();
                break None;
            }
            None => std::thread::sleep(Duration::from_millis(10)),
        }
    };
    let output = child.wait_with_output().expect("its output");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (status, text(&output.stdout), text(&output.stderr))
}

impl Service {
    /// Starts it at free ports and waits until it serves. It is more patient than it is by itself,
    /// unless told otherwise.
    pub async fn start(arguments: &[&str]) -> Self {
        let service = Self::spawn(arguments, &[]);
        service.wait_until_it_serves().await;
        service
    }

    pub fn spawn(arguments: &[&str], environment: &[(&str, &str)]) -> Self {
        // reqwest wants one even where it speaks no TLS.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let directory = Directory::new();
        let stderr = directory.path().join("stderr");
        let (token_port, check_port, admin_port) = (free_port(), free_port(), free_port());
        let at = |port| format!("127.0.0.1:{port}");
        let (token, check, admin) = (at(token_port), at(check_port), at(admin_port));
        let mut all: Vec<&str> = Vec::new();
        for (flag, value) in [
            ("--exchange-listen", token.as_str()),
            ("--listen", &check),
            ("--admin", &admin),
            // Long enough for a machine that stands still for a while.
            ("--store-timeout", "10s"),
            ("--refresh-wait", "20s"),
        ] {
            if !arguments.contains(&flag) {
                all.extend([flag, value]);
            }
        }
        all.extend(arguments);
        let child = command(&all)
            .envs(environment.iter().copied())
            .stdout(Stdio::null())
            .stderr(std::fs::File::create(&stderr).expect("a file"))
            .spawn()
            .expect("the service starts");
        Self {
            child,
            stderr,
            token_port,
            check_port,
            admin_port,
            http: reqwest::Client::builder()
                .no_proxy()
                .build()
                .expect("a client"),
            _directory: directory,
        }
    }

    pub async fn wait_until_it_serves(&self) {
        let deadline = Instant::now() + Duration::from_secs(60);
        while self
            .admin("/healthz")
            .await
            .is_none_or(|(status, _)| status != 200)
        {
            assert!(
                Instant::now() < deadline,
                "it does not serve: {}",
                self.log()
            );
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Status and body of an admin path, if anybody answers.
    pub async fn admin(&self, path: &str) -> Option<(u16, String)> {
        let url = format!("http://127.0.0.1:{}{path}", self.admin_port);
        let answer = self.http.get(url).send().await.ok()?;
        let status = answer.status().as_u16();
        Some((status, answer.text().await.ok()?))
    }

    /// The value of a metric whose line begins with this, 0 if there is none.
    pub async fn metric(&self, line: &str) -> f64 {
        let (_, metrics) = self.admin("/metrics").await.expect("metrics");
        metrics
            .lines()
            .find_map(|found| found.strip_prefix(line)?.trim().parse().ok())
            .unwrap_or_default()
    }

    /// Asks for a provider's token.
    pub async fn ask(&self, token: &str, provider: &str, more: &[(&str, &str)]) -> Answer {
        let mut form = vec![
            (
                "grant_type",
                "urn:ietf:params:oauth:grant-type:token-exchange",
            ),
            ("subject_token", token),
            (
                "subject_token_type",
                "urn:ietf:params:oauth:token-type:access_token",
            ),
            ("audience", provider),
        ];
        form.extend(more);
        self.post(&form, None).await
    }

    pub async fn post(&self, form: &[(&str, &str)], basic: Option<(&str, &str)>) -> Answer {
        let url = format!("http://127.0.0.1:{}/token", self.token_port);
        let body = form_urlencoded::Serializer::new(String::new())
            .extend_pairs(form)
            .finish();
        let mut request = self
            .http
            .post(url)
            .header("content-type", "application/x-www-form-urlencoded")
            .body(body);
        if let Some((id, secret)) = basic {
            request = request.basic_auth(id, Some(secret));
        }
        let answer = request.send().await.expect("an answer");
        Answer {
            status: answer.status().as_u16(),
            headers: answer.headers().clone(),
            body: serde_json::from_str(&answer.text().await.expect("a body")).expect("JSON"),
        }
    }

    pub fn log(&self) -> String {
        let mut text = String::new();
        std::fs::File::open(&self.stderr)
            .and_then(|mut file| file.read_to_string(&mut text))
            .expect("its log");
        text
    }

    pub fn signal(&self, signal: &str) {
        super::redis::send(signal, self.child.id());
    }

    /// Waits for its end.
    pub async fn ended(&mut self) -> ExitStatus {
        let deadline = Instant::now() + Duration::from_secs(60);
        loop {
            if let Some(status) = self.child.try_wait().expect("its state") {
                return status;
            }
            assert!(Instant::now() < deadline, "it does not end: {}", self.log());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        // It may have ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("---- the service's log\n{}----", self.log());
        }
    }
}
