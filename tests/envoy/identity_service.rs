//! The identity service over a real Redis on the left of the filter, by either of its doors, at the
//! shipped configuration.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bed::scene::{Neighbours, Scene};
use bed::{
    Answer, EnvoyOptions, IDENTITY_CLIENT, IdentityService, KEY_PREFIX, Redis, Reply, Request, Sts,
    canary, eventually,
};
use serde_json::{Value, json};

use crate::trial::trials;

trials!("identity_service":
    by_exchange_each_backend_gets_what_the_store_holds,
    by_ext_authz_each_backend_gets_what_the_store_holds,
    an_expired_token_is_refreshed_and_a_rejected_one_is_replaced,
    what_is_missing_sends_to_log_in_and_what_is_away_does_not,
    without_a_checked_token_ext_authz_challenges_and_a_probe_goes_on,
    a_store_that_is_away_is_a_503_by_ext_authz,
);

const ISSUER: &str = "https://vmcp.example.com";

/// How Envoy asks.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Door {
    Exchange,
    ExtAuthz,
}

/// An Envoy with the shipped configuration, and the service with its store.
pub struct World {
    pub scene: Scene,
    pub service: IdentityService,
    pub redis: Redis,
    /// The token endpoint of every upstream.
    pub provider: Sts,
}

/// Starts it all; `change` is made to the configuration of Envoy.
pub async fn world(door: Door, arguments: &[&str], change: impl FnOnce(String) -> String) -> World {
    let neighbours = Neighbours::start().await.expect("free ports");
    let provider = Sts::start().await.expect("a free port");
    let redis = Redis::start()
        .await
        .unwrap_or_else(|error| panic!("{error}"));
    let secret = canary::token("", "identity-client");
    let environment: Vec<(String, String)> = [
        ("STS_CLIENT_SECRET", canary::token("", "sts")),
        ("INTERNAL_API_KEY", canary::token("", "key")),
        ("UPSTREAM_SECRET", canary::token("", "upstream")),
        ("REDIS_PASSWORD", String::new()),
        (IDENTITY_CLIENT.0, secret),
    ]
    .map(|(name, value)| (name.to_owned(), value))
    .to_vec();
    let upstreams: Vec<Value> = ["github", "atlassian", "corporate-idp"]
        .iter()
        .map(|name| {
            json!({"name": name, "type": "oauth2", "oauth2_config": {
                "authorization_endpoint": format!("http://{}/auth", provider.address()),
                "token_endpoint": format!("http://{}/token", provider.address()),
                "client_id": "thv", "client_secret_env_var": "UPSTREAM_SECRET",
                "redirect_uri": format!("{ISSUER}/oauth/callback"),
            }})
        })
        .collect();
    let run_config = json!({
        "schema_version": "v0.1.0", "issuer": ISSUER, "upstreams": upstreams,
        "storage": {"type": "redis", "redis_config": {
            "addr": format!("127.0.0.1:{}", redis.port()), "auth_type": "aclUser",
            "acl_user_config": {"password_env_var": "REDIS_PASSWORD"}, "key_prefix": KEY_PREFIX,
        }},
    });
    let jwks = format!("http://{}/jwks.json", neighbours.embedded_as.http_address());
    let mut all = vec!["--jwks-url", &jwks];
    all.extend(arguments);
    let service = IdentityService::start(&run_config, &all, &environment)
        .await
        .unwrap_or_else(|error| panic!("{error}"));
    let stand_in = format!(
        "port_value: {}}}",
        neighbours.embedded_as.grpc_address().port()
    );
    let text = neighbours
        .configuration("envoy/demo.yaml")
        .expect("the file");
    assert!(text.contains(&stand_in));
    let text = match door {
        Door::ExtAuthz => text.replace(
            &stand_in,
            &format!("port_value: {}}}", service.check_address().port()),
        ),
        Door::Exchange => service.asked_by_exchange(&text, neighbours.embedded_as.grpc_address()),
    };
    let mut options = EnvoyOptions::new("identity-service", change(text));
    options.environment = environment;
    let scene = Scene::with(options, neighbours)
        .await
        .unwrap_or_else(|error| panic!("{error}"));
    World {
        scene,
        service,
        redis,
        provider,
    }
}

/// What the filter has asked for counts as long as any test takes, and may take its time.
fn patient(text: String) -> String {
    let brief = "maxAge: 5s";
    assert!(text.contains(brief));
    text.replace(brief, "maxAge: 5m, timeout: 30s")
}

/// A row whose token ends in so many seconds.
pub fn row(user: &str, provider: &str, ends_in: i64) -> Value {
    let now = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .expect("after 1970");
    let now = i64::try_from(now.as_secs()).expect("a time");
    json!({
        "provider_id": provider,
        "access_token": canary::token(&format!("{provider}-"), user),
        "refresh_token": canary::token(&format!("refresh-{provider}-"), user),
        "id_token": "", "expires_at": now + ends_in, "session_expires_at": now + 7200,
        "user_id": user, "upstream_subject": user, "client_id": "mcp-client",
    })
}

/// A user: the TH-JWT, and the session that it names.
pub struct User {
    pub token: String,
    pub session: String,
}

impl World {
    pub fn login(&self, user: &str) -> User {
        let token = self.scene.neighbours.embedded_as.login(user, json!({}));
        let claims = token.split('.').nth(1).expect("a JWT");
        let claims = URL_SAFE_NO_PAD.decode(claims).expect("a JWT");
        let claims: Value = serde_json::from_slice(&claims).expect("claims");
        let session = claims["tsid"].as_str().expect("a session").to_owned();
        User { token, session }
    }

    pub fn login_with(&self, user: &str, providers: &[&str]) -> User {
        let logged_in = self.login(user);
        for provider in providers {
            self.redis
                .put(&logged_in.session, &row(user, provider, 3600));
        }
        logged_in
    }

    async fn get(&self, backend: &str, user: &User) -> Reply {
        let request = Request::get(&format!("/{backend}/x")).bearer(&user.token);
        self.scene.client().send(request).await
    }
}

async fn each_backend(world: &World) {
    let users = ["alice", "bob"];
    for name in users {
        let user = world.login_with(name, &["github", "atlassian", "corporate-idp"]);
        for (backend, provider) in [("github-tools", "github"), ("atlassian-tools", "atlassian")] {
            let reply = world.get(backend, &user).await;
            let expected = format!("Bearer {}", canary::token(&format!("{provider}-"), name));
            assert_eq!(reply.seen("authorization"), [expected], "{}", reply.text());
        }
        let reply = world.get("corporate-api", &user).await;
        assert_eq!(reply.status, 200, "{}", reply.text());
        let asked = world.scene.neighbours.sts.requests();
        assert_eq!(
            asked
                .last()
                .expect("an exchange")
                .parameter("subject_token"),
            canary::token("corporate-idp-", name)
        );
        let reply = world.get("internal-api", &user).await;
        assert_eq!(reply.seen("x-api-key"), [canary::token("", "key")]);
        assert!(reply.seen("authorization").is_empty());
    }
    assert_eq!(world.scene.neighbours.sts.calls(), users.len());
}

async fn by_exchange_each_backend_gets_what_the_store_holds() {
    let world = world(Door::Exchange, &[], patient).await;
    each_backend(&world).await;
    let line = "upstream_inject_identity_requests_total{door=\"token\",outcome=\"ok\"}";
    assert_eq!(world.service.metric(line).await, 6);
    // What is kept is not asked for again.
    let user = world.login_with("carol", &["github"]);
    for _ in 0..5 {
        assert_eq!(world.get("github-tools", &user).await.status, 200);
    }
    assert_eq!(world.service.metric(line).await, 7);
}

async fn by_ext_authz_each_backend_gets_what_the_store_holds() {
    let world = world(Door::ExtAuthz, &[], |text| text).await;
    each_backend(&world).await;
    let line = "upstream_inject_identity_requests_total{door=\"check\",outcome=\"ok\"}";
    assert_eq!(world.service.metric(line).await, 8);
}

async fn an_expired_token_is_refreshed_and_a_rejected_one_is_replaced() {
    let world = world(Door::Exchange, &[], patient).await;
    let user = world.login("dave");
    world.redis.put(&user.session, &row("dave", "github", -5));
    let issued = ["first", "second"].map(|name| canary::token("issued-", name));
    for token in &issued {
        world.provider.answer_next(Answer::token(token));
    }
    let sent = |token: &str| [format!("Bearer {token}")];
    let reply = world.get("github-tools", &user).await;
    assert_eq!(reply.seen("authorization"), sent(&issued[0]));
    let asked = world.provider.requests();
    assert_eq!(asked[0].parameter("grant_type"), "refresh_token");
    let key = Redis::row_key(&user.session, "github");
    let kept: Value = serde_json::from_str(&world.redis.run(&["GET", &key])).expect("a row");
    assert_eq!(kept["access_token"], issued[0], "written back");

    // The provider has revoked it early: the backend knows first.
    world.scene.backend("github-tools").answer_next([401]);
    let reply = world.get("github-tools", &user).await;
    assert_eq!(reply.status, 401);
    assert!(reply.header("www-authenticate").contains("invalid_token"));
    let reply = world.get("github-tools", &user).await;
    assert_eq!(reply.seen("authorization"), sent(&issued[1]));
    assert_eq!(world.provider.calls(), 2);
}

async fn what_is_missing_sends_to_log_in_and_what_is_away_does_not() {
    let world = world(Door::Exchange, &[], patient).await;
    let user = world.login_with("erin", &["atlassian"]);
    let reply = world.get("github-tools", &user).await;
    assert_eq!(reply.status, 401, "{}", reply.text());
    assert_eq!(reply.json()["error"], "upstream_token_not_found");
    assert_eq!(reply.json()["provider"], "github");
    assert!(
        reply
            .header("www-authenticate")
            .contains("resource_metadata")
    );
    assert_eq!(world.get("atlassian-tools", &user).await.status, 200);

    let other = world.login_with("frank", &["atlassian"]);
    world.redis.kill();
    let reply = world.get("atlassian-tools", &other).await;
    assert_eq!(reply.status, 503, "{}", reply.text());
    assert_eq!(reply.json()["error"], "upstream_token_unavailable");
    assert!(!reply.header("retry-after").is_empty());
    assert!(reply.headers.get("www-authenticate").is_none());
    // What has been fetched serves on.
    assert_eq!(world.get("atlassian-tools", &user).await.status, 200);
}

async fn without_a_checked_token_ext_authz_challenges_and_a_probe_goes_on() {
    let metadata = "https://mcp.example.com/.well-known/oauth-protected-resource";
    let arguments = [
        "--realm",
        "mcp",
        "--resource-metadata",
        metadata,
        "--health-check-path",
        "/github-tools/healthz",
    ];
    // jwt_authn lets a request without a token by; what knows the session must not.
    let world = world(Door::ExtAuthz, &arguments, |text| {
        let strict = "github-tools: {provider_and_audiences: {provider_name: embedded_as, audiences: [\"https://mcp.example.com/github-tools/mcp\"]}}";
        assert!(text.contains(strict));
        let either = format!(
            "github-tools: {{requires_any: {{requirements: [{}, {{allow_missing: {{}}}}]}}}}",
            strict.strip_prefix("github-tools: ").expect("it begins so")
        );
        text.replace(strict, &either)
    })
    .await;
    let client = world.scene.client();
    let reply = client.send(Request::get("/github-tools/x")).await;
    assert_eq!(reply.status, 401, "{}", reply.text());
    assert_eq!(
        reply.header("www-authenticate"),
        format!("Bearer realm=\"mcp\", resource_metadata=\"{metadata}\"")
    );
    assert_eq!(reply.json()["error"], "token_missing");
    for path in ["/github-tools/healthz", "/github-tools/healthz?full"] {
        let reply = client.send(Request::get(path)).await;
        assert_eq!(reply.status, 200, "{path}: {}", reply.text());
        assert!(reply.is_from_backend() && reply.seen("authorization").is_empty());
    }
    for path in ["/github-tools/healthz/", "/github-tools/healthz/x"] {
        let reply = client.send(Request::get(path)).await;
        assert_eq!(reply.status, 401, "{path}");
    }
}

async fn a_store_that_is_away_is_a_503_by_ext_authz() {
    let world = world(Door::ExtAuthz, &[], |text| text).await;
    let user = world.login_with("grace", &["github"]);
    assert_eq!(world.get("github-tools", &user).await.status, 200);
    world.redis.kill();
    let reply = world.get("github-tools", &user).await;
    assert_eq!(reply.status, 503, "{}", reply.text());
    assert_eq!(reply.json()["error"], "identity_unavailable");
    assert!(!reply.is_from_backend());
    world.redis.begin().await.expect("it starts again");
    world
        .redis
        .put(&user.session, &row("grace", "github", 3600));
    eventually("the service to have its store again", || async {
        (world.get("github-tools", &user).await.status == 200).then_some(())
    })
    .await;
}
