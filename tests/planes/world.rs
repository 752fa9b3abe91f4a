//! Everything around a gateway: the auth server, the identity service, an STS and the backends, under
//! the names that they have in a cluster.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use bed::{
    Answer, Client, Echo, EmbeddedAs, Envoy, EnvoyOptions, Neighbours, Reply, Request, Sts, canary,
    repository,
};
use serde_json::{Value, json};

use crate::resources;

/// The URL under which clients know the gateway.
pub const PUBLIC: &str = "https://mcp.example.com";

/// The backends of [`configuration`], and what nobody has listed.
pub const BACKENDS: [&str; 5] = [
    "github-tools",
    "corporate-api",
    "delegated-api",
    "internal-api",
    "open-tools",
];

/// What the filter is to do, every strategy once.
pub const CONFIGURATION: &str = r#"
authServer:
  runConfig:
    issuer: https://vmcp.example.com
    upstreams: [{name: github}, {name: corporate-idp}]
outgoingAuth:
  source: inline
  backends:
    github-tools: {type: upstream_inject, upstreamInject: {providerName: github}}
    corporate-api:
      type: token_exchange
      tokenExchange: &exchange
        tokenUrl: http://sts.mcp.svc.cluster.local:8080/token
        insecureTokenUrl: true
        clientId: envoy
        clientSecretEnv: STS_CLIENT_SECRET
        audience: https://corp-api.example.com
        subjectProviderName: corporate-idp
    delegated-api:
      type: token_exchange
      tokenExchange:
        tokenUrl: http://sts.mcp.svc.cluster.local:8080/token
        insecureTokenUrl: true
        clientId: envoy
        clientSecretEnv: STS_CLIENT_SECRET
        audience: https://delegated.example.com
    internal-api: {type: header_injection, headerInjection: {headerName: X-API-Key, headerValueEnv: INTERNAL_API_KEY}}
    open-tools: {type: unauthenticated}
challenge: {realm: mcp}
"#;

/// All of it, on this machine.
pub struct World {
    pub embedded_as: EmbeddedAs,
    /// Answers as the identity service does.
    pub identity: Sts,
    pub sts: Sts,
    pub echoes: BTreeMap<&'static str, Echo>,
    /// Who is where, as the cluster has it.
    pub neighbours: Neighbours,
    /// The Services of the cluster.
    pub services: Vec<Value>,
}

impl World {
    /// Starts everything; `others` are backends besides those that are listed.
    pub async fn start(others: &[&'static str]) -> Self {
        let audiences: Vec<String> = BACKENDS.iter().map(|name| resource(name)).collect();
        let mut world = Self {
            embedded_as: EmbeddedAs::issuing_for(json!(audiences))
                .await
                .expect("a free port"),
            identity: Sts::start().await.expect("a free port"),
            sts: Sts::start().await.expect("a free port"),
            echoes: BTreeMap::new(),
            neighbours: Neighbours::default(),
            services: Vec::new(),
        };
        world
            .identity
            .set_script(|request| match request.parameter("audience").as_str() {
                "github" => Answer::token(&canary::token("gho_", "planes")),
                "corporate-idp" => Answer::token(&canary::token("corp_", "planes")),
                _ => Answer::error(400, "invalid_target"),
            });
        let here = [
            ("vmcp", 8080, world.embedded_as.http_address()),
            ("upstream-inject-identity", 9193, world.identity.address()),
            ("sts", 8080, world.sts.address()),
            ("vmcp-authz", 9191, world.embedded_as.grpc_address()),
        ];
        for (name, port, address) in here {
            world.add_service(name, port, address);
        }
        for name in BACKENDS.iter().chain(others) {
            let echo = Echo::start(name).await.expect("a free port");
            world.add_service(name, 8080, echo.address());
            world.echoes.insert(name, echo);
        }
        world
    }

    /// A Service of the namespace `mcp`, under its names and its address in the cluster.
    fn add_service(&mut self, name: &str, port: u16, here: std::net::SocketAddr) {
        let cluster_ip = format!("10.96.0.{}", self.services.len() + 1);
        for host in [
            cluster_ip.clone(),
            format!("{name}.mcp"),
            format!("{name}.mcp.svc.cluster.local"),
        ] {
            self.neighbours.add(&host, port, here);
        }
        self.services
            .push(resources::service(name, &cluster_ip, port));
    }

    /// A user's TH-JWT that is good for every backend.
    pub fn log_in(&self, user: &str) -> String {
        self.embedded_as.login(user, json!({}))
    }

    /// One that is good for this audience alone.
    pub fn log_in_for(&self, audience: &str) -> String {
        let issuer = self.embedded_as.issuer();
        issuer.mint_for(
            "bound",
            "session",
            Duration::from_secs(600),
            &json!(audience),
        )
    }

    /// One that ended an hour ago.
    pub fn expired(&self) -> String {
        self.embedded_as.issuer().sign(&json!({
            "iss": self.embedded_as.issuer().name(), "aud": resource("github-tools"),
            "sub": "late", "tsid": "late", "exp": 1_700_000_000,
        }))
    }

    /// Each backend, asked below `prefix` with this user's token, sees just what its strategy sets.
    pub async fn assert_strategies(&self, client: &Client, prefix: &str, user: &str) {
        let jwt = self.log_in(user);
        let github = format!("Bearer {}", canary::token("gho_", "planes"));
        for name in BACKENDS {
            let path = format!("{prefix}/{name}/mcp?of={user}");
            let reply = ask(client, &path, &jwt).await;
            assert_eq!(reply.status, 200, "{path}: {}", reply.text());
            assert_eq!(reply.header("x-echo-backend"), name, "{path}");
            let keys = reply.seen("x-api-key");
            let authorization = reply.seen("authorization");
            match name {
                "github-tools" => assert_eq!(authorization, [github.as_str()]),
                "corporate-api" => {
                    let corporate = canary::token("corp_", "planes");
                    self.assert_exchanged(&authorization, &corporate);
                }
                "delegated-api" => self.assert_exchanged(&authorization, &jwt),
                _ => assert!(authorization.is_empty(), "{path}: {authorization:?}"),
            }
            if name == "internal-api" {
                assert_eq!(keys, [key()]);
            } else {
                assert!(keys.is_empty(), "{path}: {keys:?}");
            }
        }
    }

    fn assert_exchanged(&self, authorization: &[String], subject: &str) {
        let requests = self.sts.requests();
        let asked = requests
            .iter()
            .find(|request| request.parameter("subject_token") == subject);
        let Some(asked) = asked else {
            panic!("no exchange of {subject}");
        };
        let bearer = authorization.first().map_or("", String::as_str);
        assert!(
            bearer.starts_with("Bearer sts_"),
            "{authorization:?} for {}",
            asked.body
        );
        assert_eq!(authorization.len(), 1);
    }

    /// No backend has seen a credential but the ones named, nor any TH-JWT.
    pub fn assert_saw_nothing(&self, name: &str) {
        for request in self.echoes[name].requests() {
            let authorization = request.values("authorization");
            let key = request.values("x-api-key");
            assert!(
                authorization.is_empty() && key.is_empty(),
                "{name}: {request:?}"
            );
        }
    }

    /// An Envoy with this configuration.
    pub async fn envoy(&self, name: &str, config: String) -> Envoy {
        let mut options = EnvoyOptions::new(name, config);
        for (variable, value) in variables() {
            options.environment.push((variable.to_owned(), value));
        }
        Envoy::start(options)
            .await
            .unwrap_or_else(|error| panic!("{error}"))
    }
}

/// The URL under which clients know a backend.
pub fn resource(backend: &str) -> String {
    format!("{PUBLIC}/{backend}/mcp")
}

/// The static key.
pub fn key() -> String {
    canary::token("key-", "planes")
}

/// What the filter reads from its environment.
pub fn variables() -> [(&'static str, String); 2] {
    [
        ("STS_CLIENT_SECRET", canary::token("secret-", "planes")),
        ("INTERNAL_API_KEY", key()),
    ]
}

/// A request with a user's token and with a key of the client's own; repeated until the keys that
/// tokens are checked with have been fetched.
pub async fn ask(client: &Client, path: &str, jwt: &str) -> Reply {
    bed::eventually("the keys to be fetched", || async {
        let request = Request::get(path).bearer(jwt).header("x-api-key", "forged");
        let reply = client.send(request).await;
        (reply.status != 503).then_some(reply)
    })
    .await
}

/// What the tool renders of [`CONFIGURATION`] for this target.
pub fn render(target: &str, arguments: &[&str]) -> String {
    render_of(CONFIGURATION, target, arguments).unwrap_or_else(|error| panic!("{error}"))
}

/// What the tool renders.
///
/// # Errors
/// What it says instead.
pub fn render_of(configuration: &str, target: &str, arguments: &[&str]) -> Result<String, String> {
    let arguments = [&["render", "--target", target], arguments, &["-"]].concat();
    let output = tool(&arguments, configuration);
    if output.status.success() {
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    } else {
        Err(String::from_utf8_lossy(&output.stderr).into_owned())
    }
}

/// A run of the tool.
pub fn tool(arguments: &[&str], stdin: &str) -> Output {
    let mut child = Command::new(bed::tool())
        .args(arguments)
        .current_dir(repository())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("{}: {error}", bed::tool().display()));
    let mut pipe = child.stdin.take().expect("piped");
    pipe.write_all(stdin.as_bytes()).expect("it reads");
    drop(pipe);
    child.wait_with_output().expect("it ends")
}
