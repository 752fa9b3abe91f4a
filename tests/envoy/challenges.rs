//! What a client is told when it must log in: by Envoy itself before the filter, by the filter, and
//! never by a backend.

use std::net::SocketAddr;
use std::time::Duration;

use bed::scene::{Neighbours, Scene};
use bed::{
    Answer, Bed, Client, IdentityIssuer, Placement, PluginConfig, Reply, Request, bootstrap,
    canary, eventually,
};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use crate::exchange_lane::{self, Lane};
use crate::plugin;
use crate::trial::{SharedBed, trials};

trials!("challenges":
    the_first_challenge_says_where_to_log_in,
    the_filters_challenge_names_the_same_document,
    when_nobody_can_be_asked_no_login_is_asked_for,
    when_the_keys_cannot_be_had_no_login_is_asked_for,
    each_backend_has_a_metadata_document_of_its_own,
    the_auth_server_gets_its_clients_credentials_and_nothing_else_is_open,
    a_backends_challenge_never_reaches_the_client,
    a_backend_that_is_not_asked_for_a_login_gives_none,
    a_challenge_is_kept_where_that_is_configured,
    a_retried_401_obtains_a_fresh_token,
    a_refused_scope_asks_for_no_login,
    the_challenge_of_a_backend_that_answers_early_reaches_nobody,
);

const METADATA: &str = "https://mcp.example.com/.well-known/oauth-protected-resource";
const ROUTED: [&str; 4] = [
    "github-tools",
    "atlassian-tools",
    "corporate-api",
    "internal-api",
];

struct Shipped {
    scene: Scene,
    client: Client,
}

static SHIPPED: tokio::sync::OnceCell<Shipped> = tokio::sync::OnceCell::const_new();

async fn start() -> Shipped {
    let neighbours = Neighbours::start().await.expect("free ports");
    let secrets = [canary::token("s", "sts"), canary::token("k", "internal")];
    let secrets = secrets.each_ref().map(String::as_str);
    let level = "wasm:trace,main:warning";
    let scene = Scene::start("envoy/demo.yaml", neighbours, secrets, level)
        .await
        .unwrap_or_else(|error| panic!("{error}"));
    let client = scene.client();
    Shipped { scene, client }
}

async fn shipped() -> &'static Shipped {
    SHIPPED.get_or_init(start).await
}

/// Status, CODE and challenge of a refusal, which no cache may keep.
fn refusal(reply: &Reply) -> (u16, String, String) {
    assert!(!reply.is_from_backend());
    let shown = format!("{} {:?} {}", reply.status, reply.headers, reply.text());
    assert_eq!(reply.header("cache-control"), "no-store", "{shown}");
    assert_eq!(reply.header("content-type"), "application/json");
    let body = reply.json();
    assert!(body["error_description"].is_string(), "{}", reply.text());
    (
        reply.status,
        body["error"].as_str().unwrap_or_default().to_owned(),
        reply.header("www-authenticate"),
    )
}

async fn the_first_challenge_says_where_to_log_in() {
    let Shipped { scene, client } = shipped().await;
    let issuer = scene.neighbours.embedded_as.issuer();
    let claims = |change: Value| {
        let mut claims = json!({
            "iss": "https://vmcp.example.com", "aud": "https://mcp.example.com/github-tools/mcp",
            "exp": 4_000_000_000u64, "tsid": "nobody's",
        });
        bed::bootstrap::merge(&mut claims, &change);
        claims
    };
    let bearer = |change: Value| format!("Bearer {}", issuer.sign(&claims(change)));
    // Signed with another key.
    let broken = format!("Bearer {}", IdentityIssuer::new().sign(&claims(json!({}))));
    let missing = ("token_missing", "");
    let invalid = ("token_invalid", "error=\"invalid_token\", ");
    let cases = [
        ("no token", String::new(), missing),
        ("another scheme", "Basic Y2xpZW50OnM=".to_owned(), missing),
        ("expired", bearer(json!({"exp": 1_000_000_000})), invalid),
        ("broken", broken, invalid),
        ("no JWT", "Bearer opaque".to_owned(), invalid),
        (
            "another issuer",
            bearer(json!({"iss": "https://evil.example.com"})),
            invalid,
        ),
        (
            "another audience",
            bearer(json!({"aud": "https://evil.example.com"})),
            invalid,
        ),
        (
            "another backend's",
            bearer(json!({"aud": "https://mcp.example.com/internal-api/mcp"})),
            invalid,
        ),
        (
            "the gateway's",
            bearer(json!({"aud": "https://mcp.example.com"})),
            invalid,
        ),
    ];
    for (what, authorization, (code, error)) in cases {
        let path = "/github-tools/mcp?access_token=secret";
        let mut request = Request::post(path, "{}").header("origin", "http://localhost:6274");
        if !authorization.is_empty() {
            request = request.header("authorization", authorization);
        }
        let reply = client.send(request).await;
        let challenge = format!(
            "Bearer realm=\"mcp\", {error}resource_metadata=\"{METADATA}/github-tools/mcp\""
        );
        assert_eq!(refusal(&reply), (401, code.to_owned(), challenge), "{what}");
        // A script may read it.
        assert_eq!(
            reply.header("access-control-allow-origin"),
            "http://localhost:6274"
        );
        let exposed = reply.header("access-control-expose-headers");
        assert!(exposed.contains("www-authenticate"), "{exposed}");
    }
    // What is nowhere is the gateway's.
    let reply = client.send(Request::get("/nowhere")).await;
    let challenge = format!("Bearer realm=\"mcp\", resource_metadata=\"{METADATA}\"");
    assert_eq!(
        refusal(&reply),
        (401, "token_missing".to_owned(), challenge)
    );
    assert!(scene.backend("github-tools").requests().is_empty());
}

async fn the_filters_challenge_names_the_same_document() {
    let Shipped { scene, client } = shipped().await;
    let jwt = scene
        .neighbours
        .embedded_as
        .login("bob", json!({"upstream_tokens": {}}));
    for backend in ["github-tools", "atlassian-tools", "corporate-api"] {
        let request = Request::get(&format!("/{backend}/mcp")).bearer(&jwt);
        let (status, code, challenge) = refusal(&client.send(request).await);
        assert_eq!((status, &*code), (401, "upstream_token_not_found"));
        for part in [
            "Bearer realm=\"mcp\"".to_owned(),
            format!("resource_metadata=\"{METADATA}/{backend}/mcp\""),
            "error=\"invalid_token\"".to_owned(),
        ] {
            assert!(challenge.contains(&part), "{backend}: {challenge}");
        }
    }
}

async fn when_nobody_can_be_asked_no_login_is_asked_for() {
    let Shipped { scene, client } = start().await;
    let embedded_as = &scene.neighbours.embedded_as;
    let tokens = json!({"upstream_tokens": {"github": canary::token("gho_", "alice")}});
    let jwt = embedded_as.login("alice", tokens);
    embedded_as.break_down(true);
    let request = Request::get("/github-tools/mcp").bearer(&jwt);
    let reply = client.send(request.clone()).await;
    let expected = (503, "identity_unavailable".to_owned(), String::new());
    assert_eq!(refusal(&reply), expected);
    assert_eq!(reply.header("retry-after"), "5");
    assert!(scene.backend("github-tools").requests().is_empty());
    embedded_as.break_down(false);
    assert_eq!(client.send(request).await.status, 200);
}

async fn when_the_keys_cannot_be_had_no_login_is_asked_for() {
    let neighbours = Neighbours::start().await.expect("free ports");
    let jwt = neighbours.embedded_as.login("alice", json!({}));
    let config = neighbours
        .configuration("envoy/demo.yaml")
        .expect("the file");
    // Another path, which the auth server answers with no keys.
    let config = config.replace("/jwks.json\", cluster", "/none\", cluster");
    let mut options = bed::EnvoyOptions::new("no-keys", config);
    options.environment = ["STS_CLIENT_SECRET", "INTERNAL_API_KEY"]
        .map(|name| (name.to_owned(), "x".to_owned()))
        .to_vec();
    let envoy = bed::Envoy::start(options)
        .await
        .unwrap_or_else(|error| panic!("{error}"));
    let client = Client::http1(envoy.listener("main").await);
    let request = Request::get("/github-tools/mcp").bearer(&jwt);
    let reply = client.send(request).await;
    let expected = (503, "identity_unavailable".to_owned(), String::new());
    assert_eq!(refusal(&reply), expected);
    assert_eq!(reply.header("retry-after"), "5");
}

async fn each_backend_has_a_metadata_document_of_its_own() {
    let Shipped { client, .. } = shipped().await;
    let documents = ROUTED
        .iter()
        .map(|name| (format!("/{name}/mcp"), format!("/{name}/mcp")))
        .chain([
            (String::new(), String::new()),
            ("/nowhere/mcp".to_owned(), String::new()),
        ]);
    for (path, resource) in documents {
        let url = format!("/.well-known/oauth-protected-resource{path}");
        for method in [http::Method::GET, http::Method::OPTIONS] {
            let request = Request::new(method, &url, bytes::Bytes::new())
                .header("origin", "https://inspector.example.com")
                .header("access-control-request-method", "GET");
            let reply = client.send(request).await;
            assert_eq!(reply.status, 200, "{url}: {}", reply.text());
            assert_eq!(reply.header("access-control-allow-origin"), "*", "{url}");
            let document = reply.json();
            assert_eq!(
                document["resource"],
                format!("https://mcp.example.com{resource}")
            );
            assert_eq!(
                document["authorization_servers"],
                json!(["https://vmcp.example.com"])
            );
        }
    }
}

/// The auth server's own clients authenticate there with `authorization`, which the door has taken
/// off.
async fn the_auth_server_gets_its_clients_credentials_and_nothing_else_is_open() {
    let Shipped { scene, client } = start().await;
    let asked = |path: &str| {
        let asked = scene.neighbours.embedded_as.asked();
        asked
            .into_iter()
            .filter(|it| it.path.starts_with(path))
            .collect::<Vec<_>>()
    };
    let basic = "Basic Y2xpZW50OnNlY3JldA==";
    for (path, authorization, status) in [
        ("/oauth/register", None, 201),
        ("/oauth/token", Some(basic), 400),
        ("/oauth/authorize?response_type=code", None, 400),
        ("/.well-known/oauth-authorization-server", None, 200),
        ("/.well-known/openid-configuration/mcp", None, 200),
    ] {
        let mut request = Request::post(path, "grant_type=x").header("x-api-key", "mine");
        if let Some(value) = authorization {
            request = request.header("authorization", value);
        }
        let reply = client.send(request).await;
        assert_eq!(reply.status, status, "{path}: {}", reply.text());
        let asked = asked(path);
        let [one] = asked.as_slice() else {
            panic!("{path}: {asked:?}")
        };
        let expected: Vec<_> = authorization.into_iter().collect();
        assert_eq!(one.authorization, expected, "{path}");
    }
    let before = scene.neighbours.embedded_as.asked().len();
    for path in [
        "/mcp",
        "/health",
        "/status",
        "/oauth",
        "/oauth/../mcp",
        "/oauth/%2e%2e/status",
        "/oauth/..%2fmcp",
        "//mcp",
        "/.well-known/oauth-authorization-server-x",
    ] {
        let reply = client.send(Request::get(path)).await;
        assert!(
            [400, 401, 404].contains(&reply.status),
            "{path}: {}",
            reply.status
        );
    }
    assert_eq!(scene.neighbours.embedded_as.asked().len(), before);
}

static BED: SharedBed = SharedBed::new();

fn exchange(audience: &str) -> Value {
    json!({"type": "token_exchange", "tokenExchange": {
        "tokenUrl": "http://localhost/token", "cluster": "sts",
        "subjectProviderName": "corp", "audience": audience,
    }})
}

fn config() -> Value {
    let mut config = plugin::config(
        &["github", "corp"],
        json!({
            "inject": plugin::inject("github"),
            "exchange": exchange("exchange"),
            "retried": exchange("retried"),
            "scoped": exchange("scoped"),
            "key": plugin::header("x-api-key", &canary::token("key-", "challenges")),
            "open": plugin::open(),
        }),
    );
    config["challenge"] = json!({
        "realm": "mcp", "resourceMetadata": METADATA, "scope": "mcp:tools",
        "backends": {"inject": {"resourceMetadata": format!("{METADATA}/inject/mcp"), "scope": "mcp:github"}},
    });
    config
}

fn plan(config: Value) -> bed::Plan {
    let plan = Bed::with("challenges", PluginConfig::Json(config)).route(json!({
        "match": {"prefix": "/retried/"},
        "route": {"cluster": "retried", "retry_policy": {
            "retry_on": "retriable-status-codes", "retriable_status_codes": [401],
            "num_retries": 1,
            "retry_back_off": {"base_interval": "0.001s", "max_interval": "0.01s"},
        }},
    }));
    ["inject", "exchange", "retried", "scoped", "key", "open"]
        .into_iter()
        .fold(plan, bed::Plan::backend)
}

async fn bed() -> &'static Bed {
    BED.get(|| plan(config()).start()).await
}

/// What a hostile backend would like the client to believe.
const HOSTILE: [(&str, &str); 3] = [
    (
        "www-authenticate",
        "Bearer error=\"invalid_token\", resource_metadata=\"https://evil.example.com/metadata\"",
    ),
    ("www-authenticate", "Basic realm=\"evil\""),
    ("x-other", "stays"),
];

fn login(bed: &Bed, user: &str) -> String {
    let tokens = json!({
        "github": canary::token("gho_", user), "corp": canary::token("corp_", user),
    });
    bed.login(user, tokens)
}

/// Sends a request that the backend answers with this status and the hostile headers.
async fn answered(bed: &Bed, backend: &str, status: u16) -> Reply {
    let jwt = login(bed, &format!("{backend}-{status}"));
    bed.backend(backend).answer_with(status, &HOSTILE);
    let request = Request::get(&format!("/{backend}/a")).bearer(&jwt);
    let reply = bed.http1().send(request).await;
    assert_eq!(
        (reply.status, reply.text()),
        (status, "as asked for".to_owned())
    );
    assert_eq!(reply.header("x-other"), "stays");
    reply
}

fn challenges(reply: &Reply) -> Vec<String> {
    let values = reply.headers.get_all("www-authenticate").iter();
    values
        .map(|it| String::from_utf8_lossy(it.as_bytes()).into_owned())
        .collect()
}

/// Ours, of that backend, without its description.
fn ours(backend: &str) -> String {
    let (document, scope) = if backend == "inject" {
        (format!("{METADATA}/inject/mcp"), "mcp:github")
    } else {
        (METADATA.to_owned(), "mcp:tools")
    };
    format!(
        "Bearer realm=\"mcp\", error=\"invalid_token\", resource_metadata=\"{document}\", scope=\"{scope}\""
    )
}

/// The parameters of a challenge, its description left out, in an order of their own.
fn parameters(challenge: &str) -> Vec<String> {
    let (scheme, rest) = challenge.split_once(' ').unwrap_or((challenge, ""));
    let mut parts: Vec<String> = rest
        .split(", ")
        .filter(|part| !part.starts_with("error_description="))
        .map(str::to_owned)
        .collect();
    parts.sort();
    parts.insert(0, scheme.to_owned());
    parts
}

async fn a_backends_challenge_never_reaches_the_client() {
    for placement in Placement::ALL {
        let bed = plan(config()).placed(placement).start().await;
        for backend in ["inject", "exchange"] {
            let reply = answered(&bed, backend, 401).await;
            let found = challenges(&reply);
            let [one] = found.as_slice() else {
                panic!("{placement:?}, {backend}: {found:?}")
            };
            assert_eq!(parameters(one), parameters(&ours(backend)), "{placement:?}");
            for status in [403, 200, 500] {
                let reply = answered(&bed, backend, status).await;
                assert_eq!(
                    challenges(&reply),
                    [""; 0],
                    "{placement:?}, {backend}: {status}"
                );
            }
        }
    }
}

async fn a_backend_that_is_not_asked_for_a_login_gives_none() {
    let bed = bed().await;
    for backend in ["key", "open"] {
        for status in [401, 403] {
            let reply = answered(bed, backend, status).await;
            assert_eq!(challenges(&reply), [""; 0], "{backend}: {status}");
        }
    }
}

async fn a_challenge_is_kept_where_that_is_configured() {
    let mut config = config();
    config["challenge"]["fromBackends"] = json!("keep");
    let bed = plan(config).start().await;
    for backend in ["inject", "key", "open"] {
        for status in [401, 403] {
            let reply = answered(&bed, backend, status).await;
            let found = challenges(&reply);
            assert_eq!(found, [HOSTILE[0].1, HOSTILE[1].1], "{backend}: {status}");
        }
    }
}

/// The filter learns of a 401 where it happens, so that the attempt after it has another token.
async fn a_retried_401_obtains_a_fresh_token() {
    // Of its own, because it tells the STS what to answer.
    let bed = &plan(config()).start().await;
    bed.sts
        .answer_next(Answer::token(&canary::token("sts_", "stale")));
    bed.sts
        .answer_next(Answer::token(&canary::token("sts_", "fresh")));
    let jwt = login(bed, "retried");
    bed.backend("retried").answer_with(401, &HOSTILE);
    let reply = bed
        .http1()
        .send(Request::get("/retried/a").bearer(&jwt))
        .await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    let attempts = bed.backend("retried").requests();
    let tokens: Vec<_> = attempts
        .iter()
        .map(|it| it.values("authorization"))
        .collect();
    let bearer = |name| vec![format!("Bearer {}", canary::token("sts_", name))];
    assert_eq!(tokens, [bearer("stale"), bearer("fresh")]);
}

/// The scope is the operator's: no login of the user's would change it.
async fn a_refused_scope_asks_for_no_login() {
    // Of its own, because it tells the STS what to answer.
    let bed = &plan(config()).start().await;
    for word in ["invalid_scope", "insufficient_scope"] {
        let jwt = login(bed, word);
        bed.sts.set_script(move |request| {
            if request.parameter("audience") == "scoped" {
                Answer::error(400, word)
            } else {
                Answer::token_for(request)
            }
        });
        let reply = bed
            .http1()
            .send(Request::get("/scoped/a").bearer(&jwt))
            .await;
        assert_eq!(
            refusal(&reply),
            (403, "token_exchange_forbidden".to_owned(), String::new())
        );
    }
    eventually("the counter", || async {
        (bed.outcome("scoped", "token_exchange_forbidden").await == 2).then_some(())
    })
    .await;
}

/// A backend that answers each connection before it has seen a request.
async fn hasty() -> SocketAddr {
    const ANSWER: &[u8] = b"HTTP/1.1 401 Unauthorized\r\n\
        www-authenticate: Bearer resource_metadata=\"https://evil.example/metadata\"\r\n\
        x-from: the-backend\r\ncontent-length: 0\r\n\r\n";
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("an address");
    tokio::spawn(async move {
        loop {
            let mut stream = bed::accept(&listener).await;
            tokio::spawn(async move {
                // Envoy takes what comes before it has a stream on the connection for nonsense.
                tokio::time::sleep(Duration::from_millis(200)).await;
                if stream.write_all(ANSWER).await.is_ok() {
                    let _ = stream.read_to_end(&mut Vec::new()).await;
                }
            });
        }
    });
    address
}

async fn the_challenge_of_a_backend_that_answers_early_reaches_nobody() {
    let lane = [("hasty", json!({}))];
    let plugin = exchange_lane::configuration(&lane, json!({}));
    let bed = Bed::with("hasty", PluginConfig::Json(plugin))
        .sts("sts-hasty")
        .cluster(bootstrap::cluster("hasty", hasty().await, false, &[]))
        .route(bootstrap::route_to("hasty"))
        .start()
        .await;
    let lane = Lane::of(&bed, "hasty");
    lane.sts().hold();
    for request in [
        lane.request(&lane.login("gets"), "a"),
        Request::post("/hasty/a", "{}").bearer(&lane.login("posts")),
    ] {
        let mut statuses = Vec::new();
        // On a machine that stops, the answer may come before Envoy has a stream after all.
        while !statuses.contains(&401) && statuses.len() < 5 {
            let reply = bed.http1().send(request.clone()).await;
            assert_eq!(reply.header("www-authenticate"), "");
            if reply.status == 401 {
                assert_eq!(reply.header("x-from"), "the-backend");
            }
            statuses.push(reply.status);
        }
        assert!(statuses.contains(&401), "{statuses:?}");
    }
    lane.sts().release();
}
