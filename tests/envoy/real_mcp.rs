//! The official MCP SDK's client, through the real Envoy, at MCP servers: what users do all day.

use bed::bootstrap::{self, PluginConfig};
use bed::{Bed, Counterpart, Program, canary, mcp_client};
use serde_json::{Value, json};
use tokio::sync::OnceCell;

use crate::plugin::{config, header, inject, open};
use crate::trial::{SharedBed, trials};

trials!("real_mcp":
    upstream_inject_gives_the_server_the_users_own_token,
    header_injection_gives_the_server_the_operators_key,
    unauthenticated_gives_the_server_nothing,
    token_exchange_gives_the_server_a_token_made_for_it,
    one_mcp_session_costs_one_exchange,
    a_token_made_for_another_server_is_refused_by_the_server,
    without_a_login_the_client_is_told_where_to_go,
    without_the_upstream_token_the_client_is_told_to_log_in_again,
);

/// What the verifying MCP server's tokens are made for.
const AUDIENCE: &str = "https://verifying.example.com/mcp";
const OTHER_AUDIENCE: &str = "https://other.example.com/mcp";
const RESOURCE_METADATA: &str = "https://mcp.example.com/.well-known/oauth-protected-resource";
/// How the SDK may begin: with the `initialize` handshake or with the newer discovery.
const MODES: [&str; 2] = ["legacy", "auto"];

struct Lab {
    bed: &'static Bed,
    sts: &'static Counterpart,
}

/// Two MCP servers. Whoever is started later knows those before it.
struct Servers {
    sts: Counterpart,
    echo: Counterpart,
    verifying: Counterpart,
}

static SERVERS: OnceCell<Servers> = OnceCell::const_new();
static BED: SharedBed = SharedBed::new();

async fn lab() -> Lab {
    let secret = canary::token("", "mcp-sts-secret");
    let servers = SERVERS.get_or_init(|| start_servers(&secret)).await;
    let bed = BED.get(|| start_bed(servers, &secret)).await;
    Lab {
        bed,
        sts: &servers.sts,
    }
}

async fn start_servers(secret: &str) -> Servers {
    let start = |program, configuration: &Value| {
        Counterpart::start(program, configuration).unwrap_or_else(|error| panic!("{error}"))
    };
    let clients = json!([{"id": "envoy", "secret": secret}]);
    let resources =
        json!({AUDIENCE: {"scope": "mcp:tools"}, OTHER_AUDIENCE: {"scope": "mcp:tools"}});
    let sts = start(
        Program::OidcProvider,
        &json!({"clients": clients, "resources": resources}),
    );
    let verifying = start(
        Program::McpJwt,
        &json!({
            "jwks_uri": sts.ready("jwks_uri"),
            "issuer": sts.ready("issuer"),
            "audience": AUDIENCE,
            "required_scopes": ["mcp:tools"],
        }),
    );
    let echo = start(Program::McpEcho, &json!({}));
    Servers {
        sts,
        echo,
        verifying,
    }
}

async fn start_bed(servers: &Servers, secret: &str) -> Bed {
    let exchange = |audience| {
        json!({"type": "token_exchange", "tokenExchange": {
            "tokenUrl": servers.sts.ready("token_endpoint"),
            "cluster": "real-sts",
            "clientId": "envoy",
            "clientSecretEnv": "STS_CLIENT_SECRET",
            "audience": audience,
            "scopes": ["mcp:tools"],
            "subjectProviderName": "corp",
        }})
    };
    let backends = json!({
        "github-tools": inject("github"),
        "keyed": header("X-API-Key", &canary::token("key-", "mcp")),
        "open": open(),
        "verifying": exchange(AUDIENCE),
        "mistaken": exchange(OTHER_AUDIENCE),
    });
    let mut plugin = config(&["github", "corp"], backends);
    plugin["challenge"] = json!({
        "realm": "mcp", "resourceMetadata": RESOURCE_METADATA, "scope": "mcp:tools",
    });
    let plugin = PluginConfig::Json(plugin);
    let mut plan = Bed::with("real-mcp", plugin).environment("STS_CLIENT_SECRET", secret);
    for (name, server) in [
        ("github-tools", &servers.echo),
        ("keyed", &servers.echo),
        ("open", &servers.echo),
        ("verifying", &servers.verifying),
        ("mistaken", &servers.verifying),
    ] {
        plan = plan
            .cluster(bootstrap::cluster(name, server.address(), false, &[]))
            .route(json!({
                "match": {"path": format!("/{name}/mcp")},
                // A stream stays open as long as its session.
                "route": {"cluster": name, "prefix_rewrite": "/mcp", "timeout": "0s"},
            }));
    }
    let sts = bootstrap::cluster("real-sts", servers.sts.address(), false, &[]);
    let bed = plan.cluster(sts).start().await;
    // Requests without a TH-JWT go on, with no upstream token.
    bed.embedded_as.set_session("", json!({}));
    bed
}

impl Lab {
    /// Lists the tools of a backend and calls `whoami` this often.
    fn use_mcp(&self, backend: &str, mode: &str, token: Option<&str>, calls: u32) -> Value {
        mcp_client(&json!({
            "url": format!("http://{}/{backend}/mcp", self.bed.address()),
            "token": token,
            "mode": mode,
            "calls": calls,
        }))
        .unwrap_or_else(|error| panic!("{error}"))
    }

    /// How often the STS was asked for a token for this audience.
    async fn exchanges_for(&self, audience: &str, user: &str) -> usize {
        let requests = self.sts.token_requests().await;
        requests
            .iter()
            .filter(|it| it["audience"] == audience && it["account"] == user)
            .count()
    }
}

/// Every HTTP answer from 400 up that the client got.
fn refusals(result: &Value) -> &[Value] {
    assert_eq!(result["ok"], false, "{result}");
    result["refusals"].as_array().map_or(&[], Vec::as_slice)
}

async fn upstream_inject_gives_the_server_the_users_own_token() {
    let lab = lab().await;
    for mode in MODES {
        let github = canary::token("gho_", mode);
        let jwt = lab.bed.login("alice", json!({"github": github}));
        let result = lab.use_mcp("github-tools", mode, Some(&jwt), 1);
        assert_eq!(result["ok"], true, "{result}");
        assert_eq!(result["server"], "echo");
        assert_eq!(result["tools"], json!(["add", "whoami"]));
        assert_eq!(
            result["whoami"][0]["authorization"],
            json!([format!("Bearer {github}")])
        );
        let others = result["whoami"][0]["headers"].to_string();
        assert!(
            !canary::holds_identity_token(others.as_bytes()),
            "the TH-JWT went along"
        );
        // The progress notifications came ahead of the result, on the same event stream.
        assert_eq!(
            result["progress"].as_array().map(Vec::len),
            Some(3),
            "{result}"
        );
    }
}

async fn header_injection_gives_the_server_the_operators_key() {
    let lab = lab().await;
    let jwt = lab.bed.login("frank", json!({}));
    let result = lab.use_mcp("keyed", "legacy", Some(&jwt), 1);
    assert_eq!(result["ok"], true, "{result}");
    let seen = &result["whoami"][0];
    assert_eq!(seen["headers"]["x-api-key"], canary::token("key-", "mcp"));
    assert_eq!(seen["authorization"], json!([]));
}

async fn unauthenticated_gives_the_server_nothing() {
    let lab = lab().await;
    let jwt = lab.bed.login("grace", json!({}));
    for token in [Some(&*jwt), None] {
        let result = lab.use_mcp("open", "legacy", token, 1);
        assert_eq!(result["ok"], true, "{result}");
        let seen = &result["whoami"][0];
        assert_eq!(seen["authorization"], json!([]));
        assert!(!canary::holds_identity_token(
            seen["headers"].to_string().as_bytes()
        ));
    }
}

async fn token_exchange_gives_the_server_a_token_made_for_it() {
    let lab = lab().await;
    for mode in MODES {
        let user = format!("bob-{mode}");
        let subject = lab.sts.subject_token(&user, "envoy").await;
        let jwt = lab.bed.login(&user, json!({"corp": subject}));
        let result = lab.use_mcp("verifying", mode, Some(&jwt), 1);
        assert_eq!(result["ok"], true, "{result}");
        let claims = &result["whoami"][0]["claims"];
        assert_eq!(claims["sub"], user.as_str());
        assert_eq!(claims["aud"], AUDIENCE);
        assert_eq!(claims["iss"], lab.sts.ready("issuer"));
        assert_eq!(
            result["progress"].as_array().map(Vec::len),
            Some(3),
            "{result}"
        );
    }
}

async fn one_mcp_session_costs_one_exchange() {
    let lab = lab().await;
    let subject = lab.sts.subject_token("carol", "envoy").await;
    let jwt = lab.bed.login("carol", json!({"corp": subject}));
    let result = lab.use_mcp("verifying", "legacy", Some(&jwt), 5);
    assert_eq!(
        result["whoami"].as_array().map(Vec::len),
        Some(5),
        "{result}"
    );
    assert_eq!(lab.exchanges_for(AUDIENCE, "carol").await, 1);
}

/// The server's own 401 reaches the client with its body, and with the gateway's challenge.
async fn a_token_made_for_another_server_is_refused_by_the_server() {
    let lab = lab().await;
    let subject = lab.sts.subject_token("dave", "envoy").await;
    let jwt = lab.bed.login("dave", json!({"corp": subject}));
    let result = lab.use_mcp("mistaken", "legacy", Some(&jwt), 1);
    let [refusal] = refusals(&result) else {
        panic!("{result}")
    };
    assert_eq!(
        (&refusal["status"], &refusal["error"]),
        (&json!(401), &json!("invalid_token"))
    );
    assert_eq!(refusal["resource_metadata"], RESOURCE_METADATA, "{refusal}");
    let body = refusal["body"].as_str().unwrap_or_default();
    assert!(body.contains("invalid_token"), "{refusal}");
    assert_eq!(lab.exchanges_for(OTHER_AUDIENCE, "dave").await, 1);
}

/// RFC 6750 §3.1: without a token there is no error to tell, only where a token can be had.
async fn without_a_login_the_client_is_told_where_to_go() {
    let lab = lab().await;
    for backend in ["github-tools", "verifying"] {
        let result = lab.use_mcp(backend, "legacy", None, 1);
        let [refusal] = refusals(&result) else {
            panic!("{result}")
        };
        assert_eq!(refusal["status"], 401, "{refusal}");
        assert_eq!(refusal["error"], Value::Null, "{refusal}");
        assert_eq!(refusal["resource_metadata"], RESOURCE_METADATA, "{refusal}");
        assert_eq!(refusal["scope"], "mcp:tools", "{refusal}");
    }
}

async fn without_the_upstream_token_the_client_is_told_to_log_in_again() {
    let lab = lab().await;
    let jwt = lab.bed.login("erin", json!({"github": ""}));
    for backend in ["github-tools", "verifying"] {
        let result = lab.use_mcp(backend, "legacy", Some(&jwt), 1);
        let [refusal] = refusals(&result) else {
            panic!("{result}")
        };
        assert_eq!(
            (&refusal["status"], &refusal["error"]),
            (&json!(401), &json!("invalid_token"))
        );
        assert_eq!(refusal["resource_metadata"], RESOURCE_METADATA, "{refusal}");
        let body: Value = serde_json::from_str(refusal["body"].as_str().unwrap_or_default())
            .expect("the filter's refusal");
        assert_eq!(body["error"], "upstream_token_not_found");
    }
}
