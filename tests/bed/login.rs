//! A real login, end to end: ToolHive's own auth server, or what stands in for it, its sessions in a
//! real Redis, two identity
//! providers, the identity service, and an Envoy with the shipped configuration in front of all.

use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};

use crate::installation::install;
use crate::process::{self, Process};
use crate::scene::{BACKENDS, Neighbours};
use crate::waiting::wait_for;
use crate::{
    Client, Counterpart, EmbeddedAs, Envoy, EnvoyOptions, IDENTITY_CLIENT, IdentityService,
    KEY_PREFIX, Program, Redis, Request, Sdk, canary, free_port, mcp_login, paths,
};

/// The backends that clients use, each with another strategy.
pub const LOGIN_BACKENDS: [&str; 3] = ["github-tools", "corporate-api", "internal-api"];

/// With these arguments of the identity service, upstream tokens, which live for 85 s here, are due
/// after 25, and a dead end is ended soon after a login.
pub const SHORT_LIVES: [&str; 4] = ["--refresh-ahead", "60s", "--end-dead-after", "1s"];

/// How long upstream tokens live, and how long before their end they are due, in seconds: the first
/// visits take some seconds, and on a busy machine many.
const LIFE: i64 = 85;
const AHEAD: i64 = 60;

/// Everything, at a URL that clients can reach.
pub struct LoginScene {
    /// What clients know.
    pub url: String,
    /// Backends that are no MCP servers, and the corporate STS.
    pub neighbours: Neighbours,
    /// The identity service.
    pub service: IdentityService,
    /// Where the sessions are.
    pub redis: Redis,
    /// `corporate-idp`, an OpenID provider that rotates refresh tokens.
    pub corporate: Counterpart,
    /// `github`, an OAuth 2 provider that does not.
    pub github: Counterpart,
    /// The Envoy in front.
    pub envoy: Envoy,
    _auth_server: AuthServer,
    _server: Counterpart,
}

/// Whose auth server it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LoginServer {
    /// ToolHive's own, built with Go.
    ToolHive,
    /// A stand-in on another OAuth library, which keeps sessions as ToolHive does.
    StandIn,
}

impl LoginServer {
    /// ToolHive's own, if it can be built here.
    #[must_use]
    pub fn here() -> Self {
        let has_go = ["go", "/usr/local/go/bin/go"]
            .into_iter()
            .any(|go| Command::new(go).arg("version").output().is_ok());
        if has_go {
            Self::ToolHive
        } else {
            Self::StandIn
        }
    }

    /// In words.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::ToolHive => "ToolHive's own auth server",
            Self::StandIn => {
                "a stand-in for ToolHive's auth server (oidc-provider; ToolHive's own needs Go)"
            }
        }
    }
}

/// A running auth server; it ends with this value.
struct AuthServer {
    port: u16,
    _ends: Box<dyn std::any::Any + Send>,
}

impl AuthServer {
    async fn start(
        whose: LoginServer,
        run_config: &Value,
        environment: &[(String, String)],
    ) -> Result<Self, String> {
        match whose {
            LoginServer::ToolHive => {
                let port = free_port().map_err(|error| error.to_string())?;
                let running = toolhive(run_config, port, environment).await?;
                Ok(Self {
                    port,
                    _ends: Box::new(running),
                })
            }
            LoginServer::StandIn => {
                let configuration = json!({"runConfig": run_config});
                let running =
                    Counterpart::start_in(Program::AuthServer, &configuration, environment)?;
                Ok(Self {
                    port: running.address().port(),
                    _ends: Box::new(running),
                })
            }
        }
    }
}

/// What a backend of [`LOGIN_BACKENDS`] saw at a visit: the fields that carry a credential.
#[must_use]
pub fn credentials_seen(visit: &Value) -> Vec<(String, String)> {
    let whoami = &visit["whoami"];
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let authorization = whoami["authorization"].as_array().into_iter().flatten();
    let authorization = authorization.map(|value| ("authorization".to_owned(), text(value)));
    let key = whoami["headers"].get("x-api-key");
    let key = key.map(|value| ("x-api-key".to_owned(), text(value)));
    authorization.chain(key).collect()
}

/// What came of a client's stay.
#[derive(Debug)]
pub struct Stay {
    /// What the client reports: three times [`LOGIN_BACKENDS`], with fresh tokens, with refreshed
    /// ones, and after the token of `github` was lost.
    pub visits: Vec<Value>,
    /// Every request of client and browser.
    pub requests: Value,
    /// The subject token that the corporate STS got, and the one in the session.
    pub subject: [String; 2],
    /// What each provider counts: token requests by grant and outcome.
    pub counts: [Value; 2],
    /// The row of `github` that was deleted, and the one of the new login.
    pub rows: [String; 2],
    /// How many sessions the service has ended.
    pub ended: u64,
}

/// ToolHive's auth server; it ends with this value.
struct ToolHive(Arc<Process>);

impl Drop for ToolHive {
    fn drop(&mut self) {
        self.0.kill();
    }
}

impl LoginScene {
    /// Starts all of it; `arguments` are further ones of the identity service. `say` is told what
    /// is done.
    ///
    /// # Errors
    /// What did not start, and why.
    pub async fn start(
        whose: LoginServer,
        arguments: &[&str],
        say: impl Fn(&str),
    ) -> Result<Self, String> {
        let public = free_port().map_err(|error| error.to_string())?;
        let url = format!("http://127.0.0.1:{public}");
        let environment: Vec<(String, String)> = [
            ("STS_CLIENT_SECRET", canary::token("", "sts")),
            ("INTERNAL_API_KEY", canary::token("", "key")),
            ("CORPORATE_SECRET", canary::token("", "corporate")),
            ("GITHUB_SECRET", canary::token("", "github")),
            ("REDIS_PASSWORD", String::new()),
            (IDENTITY_CLIENT.0, canary::token("", "identity-client")),
        ]
        .map(|(name, value)| (name.to_owned(), value))
        .to_vec();
        let secret = |name: &str| {
            let found = environment.iter().find(|(known, _)| known == name);
            found.map(|(_, value)| value.clone()).unwrap_or_default()
        };

        say("two identity providers (oidc-provider), one that rotates refresh tokens");
        let idp = |name: &str, variable: &str, rotate: bool| {
            let configuration = json!({
                "client": {
                    "id": format!("thv-{name}"), "secret": secret(variable),
                    "redirect_uri": format!("{url}/oauth/callback"),
                },
                "accessTokenTtl": LIFE, "rotate": rotate, "user": "alice",
            });
            Counterpart::start(Program::Idp, &configuration)
        };
        let corporate = idp("corporate-idp", "CORPORATE_SECRET", true)?;
        let github = idp("github", "GITHUB_SECRET", false)?;

        say("a Redis");
        let redis = Redis::start().await?;
        let run_config = run_config(&url, &corporate, &github, redis.port());

        say(&match whose {
            LoginServer::ToolHive => format!("{} (built with Go the first time)", whose.name()),
            LoginServer::StandIn => whose.name().to_owned(),
        });
        let auth_server = AuthServer::start(whose, &run_config, &environment).await?;
        let upstream = auth_server.port;

        say("the identity service, on ToolHive's own configuration file");
        let jwks = format!("http://127.0.0.1:{upstream}/.well-known/jwks.json");
        let mut all = vec!["--jwks-url", &jwks];
        all.extend(arguments);
        let service = IdentityService::start(&run_config, &all, &environment).await?;

        say("MCP servers, a corporate STS, and an Envoy with envoy/demo.yaml");
        let embedded_as = EmbeddedAs::at(&url)
            .await
            .map_err(|error| error.to_string())?;
        let neighbours = Neighbours::with(embedded_as)
            .await
            .map_err(|error| error.to_string())?;
        let server = Counterpart::start(Program::McpEcho, &json!({}))?;
        let text = neighbours.configuration("envoy/demo.yaml")?;
        let text = service.asked_by_exchange(&text, neighbours.embedded_as.grpc_address());
        let mut text = text.replace("/jwks.json\"", "/.well-known/jwks.json\"");
        for name in ["https://mcp.example.com", "https://vmcp.example.com"] {
            text = text.replace(name, &url);
        }
        // One login serves every backend.
        let audiences = json!(audiences(&url)).to_string();
        for (name, _) in BACKENDS {
            text = text.replace(&format!("[\"{url}/{name}/mcp\"]"), &audiences);
        }
        let at = |port: u16| format!("port_value: {port}}}");
        let stand_in = neighbours.embedded_as.http_address().port();
        text = text.replace(&at(stand_in), &at(upstream));
        for backend in &neighbours.backends {
            text = text.replace(&at(backend.address().port()), &at(server.address().port()));
        }
        // Of the two ports that Envoy may choose, the first is the admin interface's.
        text = text
            .replacen(&at(0), &at(public), 2)
            .replacen(&at(public), &at(0), 1);
        let mut options = EnvoyOptions::new("toolhive-login", text);
        options.environment = environment;
        let envoy = Envoy::start(options).await?;
        Ok(Self {
            url,
            neighbours,
            service,
            redis,
            corporate,
            github,
            envoy,
            _auth_server: auth_server,
            _server: server,
        })
    }

    /// The URL of a backend.
    #[must_use]
    pub fn backend(&self, name: &str) -> String {
        format!("{}/{name}/mcp", self.url)
    }

    /// One client logs in and stays, until it has met everything. For a scene that was started with
    /// [`SHORT_LIVES`].
    ///
    /// # Errors
    /// The client breaks, or does not get where it should.
    pub async fn host(&self, sdk: Sdk, say: impl Fn(&str)) -> Result<Stay, String> {
        let pauses = paths::scratch("pauses").map_err(|error| error.to_string())?;
        let (fresh, lost) = (pauses.join("fresh"), pauses.join("lost"));
        let backends = LOGIN_BACKENDS.map(|name| json!(self.backend(name)));
        let mut servers = backends.to_vec();
        servers.push(json!({"pause": fresh}));
        servers.extend(backends.clone());
        servers.push(json!({"pause": lost}));
        servers.extend(backends);
        let configuration = json!({"servers": servers, "whoami": true});
        say("logging in at both providers, using three backends");
        let client = thread::spawn(move || mcp_login(sdk, &configuration));

        let client = until_it_pauses(&fresh, client).await?;
        let asked = self.neighbours.sts.requests();
        let asked = asked.last().ok_or("nobody asked the corporate STS")?;
        let row = self.content("corporate-idp")?;
        let held = row["access_token"].as_str().unwrap_or_default().to_owned();
        let subject = [asked.parameter("subject_token"), held];
        say("waiting until the upstream tokens are due");
        let ends = |row: &Value| row["expires_at"].as_i64().unwrap_or_default();
        let last = ends(&row).max(ends(&self.content("github")?));
        tokio::time::sleep(until(last - AHEAD + 1)).await;
        go_on(&fresh)?;

        let client = until_it_pauses(&lost, client).await?;
        let nothing = json!({});
        let counts = [
            self.corporate.ask("/test/stats", &nothing).await,
            self.github.ask("/test/stats", &nothing).await,
        ];
        say("both were refreshed; now github's row is deleted");
        let before = self.row("github")?;
        self.redis.run(&["DEL", &before]);
        // What the filter keeps goes first.
        tokio::time::sleep(Duration::from_secs(6)).await;
        go_on(&lost)?;

        let mut result = tokio::task::spawn_blocking(move || client.join())
            .await
            .map_err(|error| error.to_string())?
            .map_err(|_| "the client's thread has panicked".to_owned())??;
        let Value::Array(visits) = result["servers"].take() else {
            return Err(format!("no visits: {result}"));
        };
        let ended = "upstream_inject_identity_ended_sessions_total";
        Ok(Stay {
            visits,
            requests: result["requests"].take(),
            subject,
            counts,
            rows: [before, self.row("github").unwrap_or_default()],
            ended: self.service.metric(ended).await,
        })
    }

    /// The key of the one row that a provider has.
    fn row(&self, provider: &str) -> Result<String, String> {
        match &self.rows(provider)[..] {
            [key] => Ok(key.clone()),
            keys => Err(format!("{} rows of {provider}", keys.len())),
        }
    }

    /// What is in it.
    fn content(&self, provider: &str) -> Result<Value, String> {
        let row = self.redis.run(&["GET", &self.row(provider)?]);
        serde_json::from_str(&row).map_err(|error| error.to_string())
    }

    /// The keys of this provider's rows, of all sessions.
    #[must_use]
    pub fn rows(&self, provider: &str) -> Vec<String> {
        let keys = self
            .redis
            .run(&["KEYS", &format!("*upstream:*:{provider}")]);
        keys.lines().map(str::to_owned).collect()
    }
}

/// How long it is until then, in Unix seconds.
fn until(then: i64) -> Duration {
    let then = Duration::from_secs(then.max(0).unsigned_abs());
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    then.saturating_sub(now.unwrap_or_default())
        .min(Duration::from_secs(LIFE.unsigned_abs()))
}

fn audiences(url: &str) -> Vec<String> {
    ["", "/"]
        .map(|end| format!("{url}{end}"))
        .into_iter()
        .chain(LOGIN_BACKENDS.map(|name| format!("{url}/{name}/mcp")))
        .collect()
}

fn run_config(url: &str, corporate: &Counterpart, github: &Counterpart, redis: u16) -> Value {
    let redirect = format!("{url}/oauth/callback");
    let github = github.ready("issuer");
    json!({
        "schema_version": "v0.1.0", "issuer": url, "allowed_audiences": audiences(url),
        "token_lifespans": {
            "access_token_lifespan": "10m", "refresh_token_lifespan": "1h",
            "auth_code_lifespan": "5m",
        },
        "upstreams": [
            {"name": "corporate-idp", "type": "oidc", "oidc_config": {
                "issuer_url": corporate.ready("issuer"), "client_id": "thv-corporate-idp",
                "client_secret_env_var": "CORPORATE_SECRET",
                "scopes": ["openid", "profile", "email"], "redirect_uri": redirect,
                "allow_private_ips": true, "insecure_allow_http": true,
            }},
            {"name": "github", "type": "oauth2", "oauth2_config": {
                "authorization_endpoint": format!("{github}/auth"),
                "token_endpoint": format!("{github}/token"), "client_id": "thv-github",
                "client_secret_env_var": "GITHUB_SECRET", "scopes": ["openid"],
                "redirect_uri": redirect,
                "userinfo": {
                    "endpoint_url": format!("{github}/me"),
                    "field_mapping": {"subject_fields": ["sub"]},
                },
                "allow_private_ips": true, "insecure_allow_http": true,
            }},
        ],
        "storage": {"type": "redis", "redis_config": {
            "addr": format!("127.0.0.1:{redis}"), "auth_type": "aclUser",
            "acl_user_config": {"password_env_var": "REDIS_PASSWORD"}, "key_prefix": KEY_PREFIX,
        }},
    })
}

async fn toolhive(
    run_config: &Value,
    port: u16,
    environment: &[(String, String)],
) -> Result<ToolHive, String> {
    let program = install("toolhive/build.sh", "")?;
    let directory = paths::scratch("toolhive").map_err(|error| error.to_string())?;
    let file = directory.join("authserver-config.json");
    std::fs::write(&file, run_config.to_string()).map_err(|error| error.to_string())?;
    let log = directory.join("stderr");
    let stderr = std::fs::File::create(&log).map_err(|error| error.to_string())?;
    let mut command = Command::new(program);
    command
        .arg("serve")
        .arg(&file)
        .arg(format!("127.0.0.1:{port}"))
        .envs(environment.iter().cloned())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(stderr);
    let toolhive = ToolHive(process::spawn("ToolHive's auth server", command)?);
    let address = SocketAddr::from(([127, 0, 0, 1], port));
    toolhive.0.serves(address);
    let ready = wait_for("ToolHive's auth server to serve", || async {
        if let Some(status) = toolhive.0.ended() {
            return Some(Err(format!("it has ended: {status}")));
        }
        let keys = Request::get("/.well-known/jwks.json");
        let answer = Client::http1(address).try_send(keys).await.ok()?;
        (answer.status == 200).then_some(Ok(()))
    });
    match ready.await {
        Ok(Ok(())) => Ok(toolhive),
        Ok(Err(error)) | Err(error) => {
            let said = std::fs::read_to_string(&log).unwrap_or_default();
            Err(format!("{error}; it said:\n{said}"))
        }
    }
}

type Running = JoinHandle<Result<Value, String>>;

/// Waits until the client is at this pause; one that has ended never gets there.
async fn until_it_pauses(file: &Path, client: Running) -> Result<Running, String> {
    wait_for("the client to pause", || async {
        (file.exists() || client.is_finished()).then_some(())
    })
    .await?;
    if file.exists() {
        return Ok(client);
    }
    match client.join() {
        Ok(result) => Err(format!("the client has ended early: {result:?}")),
        Err(_) => Err("the client's thread has panicked".to_owned()),
    }
}

fn go_on(file: &Path) -> Result<(), String> {
    std::fs::remove_file(file).map_err(|error| format!("{}: {error}", file.display()))
}
