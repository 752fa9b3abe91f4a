//! The identity service over a real Redis with sessions in it, and beside it the server that always
//! gives the same answer.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use bed::{EmbeddedAs, IDENTITY_CLIENT, IdentityService, KEY_PREFIX, Redis, free_port};
use memchr::memmem::Finder;
use serde_json::{Value, json};

use super::load::Target;
use super::request;
use super::wire::Question;

/// Sessions of as many users.
const SESSIONS: usize = 64;
/// TH-JWTs of which one has been forgotten before it comes again: more than the service remembers
/// (`tools/identity/jwt`).
const STRANGERS: usize = 17_000;
const CLIENT_SECRET: &str = "made-up-secret";
const AUDIENCE: &str = "https://mcp.example.com/mcp";

/// Everything that is measured, and what it needs.
pub struct Scene {
    /// `ext_authz` that answers a constant.
    pub constant: Server,
    /// The service's `ext_authz`.
    pub check: Server,
    /// Its `/token`, with TH-JWTs that it has seen before.
    pub token: Server,
    /// The same with TH-JWTs that it has not.
    pub first: Server,
    /// Those TH-JWTs, and the point of the key that has signed them.
    pub signed: Vec<String>,
    pub point: Vec<u8>,
    _constant: Constant,
    _service: IdentityService,
    _redis: Redis,
    _auth_server: EmbeddedAs,
}

/// A process, and what it is asked.
pub struct Server {
    /// Whose CPU time counts.
    pub pid: u32,
    /// What is asked.
    pub target: Target,
}

/// The running constant; goes with this.
struct Constant(Child);

impl Drop for Constant {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Scene {
    /// Starts all of it; the servers that are measured on the first core, the rest on the others.
    pub async fn start(constant: &Path) -> Self {
        let auth_server = EmbeddedAs::issuing_for(json!([AUDIENCE]))
            .await
            .expect("keys");
        let redis = Redis::start().await.expect("a Redis");
        super::pin(redis.pid(), false);
        let sessions: Vec<Session> = (0..SESSIONS)
            .map(|number| Session::new(number, &auth_server))
            .collect();
        for session in &sessions {
            for row in session.rows() {
                redis.put(&session.id, &row);
            }
        }
        let jwks = format!("http://{}/jwks.json", auth_server.http_address());
        let environment = ["CORP_SECRET", "GITHUB_SECRET", IDENTITY_CLIENT.0]
            .map(|name| (name.to_owned(), CLIENT_SECRET.to_owned()));
        let service = IdentityService::start(
            &run_config(&redis, auth_server.issuer().name()),
            // A busy machine may let Redis wait: it would be the machine that is measured.
            &["--jwks-url", &jwks, "--store-timeout", "20s"],
            &environment,
        )
        .await
        .expect("the identity service");
        super::pin(service.pid(), true);
        let (child, address) = start_constant(constant, &sessions[0]);
        super::pin(child.0.id(), true);

        let constant = sessions
            .iter()
            .map(|session| Question {
                needle: Finder::new(&sessions[0].github).into_owned(),
                ..session.check()
            })
            .collect();
        let checks = sessions.iter().map(Session::check).collect();
        let known = sessions
            .iter()
            .map(|session| session.exchange(&session.th_jwt));
        let signed: Vec<String> = (0..STRANGERS)
            .map(|number| sessions[number % SESSIONS].refreshed(number, &auth_server))
            .collect();
        let new = signed
            .iter()
            .enumerate()
            .map(|(number, th_jwt)| sessions[number % SESSIONS].exchange(th_jwt));
        let exchange = |questions| Target::new(service.token_address(), token_fields(), questions);
        let pid = service.pid();
        Self {
            constant: Server {
                pid: child.0.id(),
                target: Target::new(address, grpc_fields(), constant),
            },
            check: Server {
                pid,
                target: Target::new(service.check_address(), grpc_fields(), checks),
            },
            token: Server {
                pid,
                target: exchange(known.collect()),
            },
            first: Server {
                pid,
                target: exchange(new.collect()),
            },
            signed,
            point: point(&auth_server),
            _constant: child,
            _service: service,
            _redis: redis,
            _auth_server: auth_server,
        }
    }
}

/// A user's session with two providers: an OpenID one, whose tokens are JWTs, and GitHub.
struct Session {
    id: String,
    claims: Value,
    th_jwt: String,
    github: String,
    corporate: String,
    id_token: String,
}

impl Session {
    fn new(number: usize, auth_server: &EmbeddedAs) -> Self {
        let id = format!("BENCHSESSION{number:014}");
        let now = now();
        let subject = format!("7f1a2b3c-5d6e-4f70-8192-{number:012}");
        let claims = json!({
            "iss": auth_server.issuer().name(), "aud": [AUDIENCE], "sub": subject,
            "client_id": "ba24934c-884f-4c18-b05d-5ee9887cbf37", "tsid": id,
            "scp": ["openid", "profile", "email", "offline_access"], "exp": now + 3600,
            "iat": now, "jti": format!("5b7d5a1e-0c4e-4a4e-8e62-{number:012}"),
            "name": "Made Up User", "email": "user@example.test",
        });
        let upstream = |more: Value| {
            let claims = json!({
                "iss": "https://idp.example.com", "sub": subject, "exp": now + 3600, "iat": now,
                "name": "Made Up User", "email": "user@example.test", "more": more,
            });
            let part = |text: String| URL_SAFE_NO_PAD.encode(text);
            let head = json!({"alg": "RS256", "kid": "2026-11"}).to_string();
            // An RS256 signature has 256 bytes.
            format!(
                "{}.{}.{}",
                part(head),
                part(claims.to_string()),
                "s".repeat(342)
            )
        };
        Self {
            th_jwt: auth_server.issuer().sign(&claims),
            claims,
            github: format!("gho_{number:036}"),
            corporate: upstream(json!({"scp": "read write", "groups": ["a", "b", "c"]})),
            id_token: upstream(json!({"nonce": "TR2F72JFWPEZ7EUS75CXE2TACQ"})),
            id,
        }
    }

    fn rows(&self) -> [Value; 2] {
        let row = |provider: &str, access: &str, id_token: &str| {
            json!({
                "provider_id": provider, "access_token": access,
                "refresh_token": format!("{provider}-refresh-{}", self.id), "id_token": id_token,
                "expires_at": now() + 3600, "session_expires_at": now() + 7200,
                "user_id": self.claims["sub"], "upstream_subject": "4711",
                "client_id": self.claims["client_id"],
            })
        };
        [
            row("corporate-idp", &self.corporate, &self.id_token),
            row("github", &self.github, ""),
        ]
    }

    /// What the service answers.
    fn metadata(&self) -> Value {
        json!({
            "upstream_tokens": {"corporate-idp": self.corporate, "github": self.github},
            "upstream_id_tokens": {"corporate-idp": self.id_token},
        })
    }

    fn check(&self) -> Question {
        Question {
            body: request::grpc(&request::check(&self.th_jwt, &self.claims)),
            needle: Finder::new(&self.github).into_owned(),
        }
    }

    /// What its client has after yet another refresh.
    fn refreshed(&self, number: usize, auth_server: &EmbeddedAs) -> String {
        let mut claims = self.claims.clone();
        claims["jti"] = json!(format!("5b7d5a1e-0c4e-4a4e-8e62-{number:012x}"));
        auth_server.issuer().sign(&claims)
    }

    fn exchange(&self, th_jwt: &str) -> Question {
        let form = format!(
            "grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Atoken-exchange&subject_token={}\
             &subject_token_type=urn%3Aietf%3Aparams%3Aoauth%3Atoken-type%3Aaccess_token\
             &audience=github",
            th_jwt
        );
        Question {
            body: form.into_bytes(),
            needle: Finder::new(&self.github).into_owned(),
        }
    }
}

fn run_config(redis: &Redis, issuer: &str) -> Value {
    let callback = format!("{issuer}/oauth/callback");
    json!({
        "schema_version": "v0.1.0",
        "issuer": issuer,
        "allowed_audiences": [AUDIENCE],
        "upstreams": [
            {"name": "corporate-idp", "type": "oidc", "oidc_config": {
                "issuer_url": "https://idp.example.com", "client_id": "thv-corporate-idp",
                "client_secret_env_var": "CORP_SECRET", "redirect_uri": callback,
            }},
            {"name": "github", "type": "oauth2", "oauth2_config": {
                "authorization_endpoint": "https://github.com/login/oauth/authorize",
                "token_endpoint": "https://github.com/login/oauth/access_token",
                "client_id": "thv-github", "client_secret_env_var": "GITHUB_SECRET",
                "redirect_uri": callback,
            }},
        ],
        "storage": {"type": "redis", "redis_config": {
            "addr": format!("127.0.0.1:{}", redis.port()), "key_prefix": KEY_PREFIX,
        }},
    })
}

fn grpc_fields() -> Vec<(&'static str, String)> {
    [
        (":authority", "identity.example.com"),
        (":path", "/envoy.service.auth.v3.Authorization/Check"),
        ("te", "trailers"),
        ("content-type", "application/grpc"),
        ("x-envoy-internal", "true"),
    ]
    .map(|(name, value)| (name, value.to_owned()))
    .to_vec()
}

fn token_fields() -> Vec<(&'static str, String)> {
    let basic = STANDARD.encode(format!("{}:{CLIENT_SECRET}", IDENTITY_CLIENT.1));
    vec![
        (":authority", "identity.example.com".to_owned()),
        (":path", "/token".to_owned()),
        ("authorization", format!("Basic {basic}")),
        (
            "content-type",
            "application/x-www-form-urlencoded".to_owned(),
        ),
        ("accept", "application/json".to_owned()),
    ]
}

/// The auth server's key, as an uncompressed point.
fn point(auth_server: &EmbeddedAs) -> Vec<u8> {
    let jwks = auth_server.issuer().jwks();
    let coordinate = |name: &str| {
        let text = jwks["keys"][0][name].as_str().expect("a coordinate");
        URL_SAFE_NO_PAD.decode(text).expect("base64url")
    };
    [vec![4], coordinate("x"), coordinate("y")].concat()
}

fn start_constant(program: &Path, session: &Session) -> (Constant, SocketAddr) {
    let address = SocketAddr::from(([127, 0, 0, 1], free_port().expect("a free port")));
    let file: PathBuf = bed::scratch("constant")
        .expect("a directory")
        .join("answer");
    std::fs::write(&file, request::answer(&session.metadata())).expect("a file");
    let child = Command::new(program)
        .arg(address.to_string())
        .arg(&file)
        .spawn()
        .unwrap_or_else(|error| panic!("{}: {error}", program.display()));
    let child = Constant(child);
    let deadline = Instant::now() + Duration::from_secs(20);
    while std::net::TcpStream::connect(address).is_err() {
        assert!(Instant::now() < deadline, "the constant does not listen");
        std::thread::sleep(Duration::from_millis(5));
    }
    (child, address)
}

fn now() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .expect("after 1970")
        .as_secs()
}
