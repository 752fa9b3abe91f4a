//! The official MCP SDKs, in both languages, log in at the shipped configuration, and stay with its
//! auth server whatever a backend says.

use bed::scene::Neighbours;
use bed::{
    Answer, Counterpart, Echo, EmbeddedAs, Envoy, EnvoyOptions, LOGIN_SESSION, Program, Sdk,
    canary, mcp_login,
};
use serde_json::{Value, json};

use crate::trial::trials;

trials!("mcp_login":
    python_logs_in_and_uses_each_backend,
    typescript_logs_in_and_uses_each_backend,
    python_stays_with_its_auth_server_when_a_backend_is_hostile,
    typescript_stays_with_its_auth_server_when_a_backend_is_hostile,
    python_takes_no_token_to_where_a_backend_sends_it,
    typescript_takes_no_token_to_where_a_backend_sends_it,
    python_makes_nothing_of_what_else_a_backend_says,
    typescript_makes_nothing_of_what_else_a_backend_says,
    python_is_not_sent_to_log_in_for_a_scope_that_is_refused,
    typescript_is_not_sent_to_log_in_for_a_scope_that_is_refused,
);

/// Everything, at a URL that clients can reach.
struct World {
    neighbours: Neighbours,
    _envoy: Envoy,
    _servers: [Counterpart; 2],
    url: String,
    evil: Echo,
}

async fn world() -> World {
    // Clients compare URLs, so that the port has to be known before Envoy has it.
    let port = bed::free_port().expect("a free port");
    let url = format!("http://127.0.0.1:{port}");
    let embedded_as = EmbeddedAs::at(&url).await.expect("free ports");
    embedded_as.set_session(
        LOGIN_SESSION,
        json!({"upstream_tokens": {
            "github": canary::token("gho_", "sdk"),
            "atlassian": canary::token("atl_", "sdk"),
            "corporate-idp": canary::token("idp_", "sdk"),
        }}),
    );
    let neighbours = Neighbours::with(embedded_as).await.expect("free ports");
    neighbours
        .sts
        .set_script(|_| Answer::error(400, "invalid_scope"));
    let servers = [(); 2].map(|()| {
        Counterpart::start(Program::McpEcho, &json!({})).unwrap_or_else(|error| panic!("{error}"))
    });
    let mut config = neighbours
        .configuration("envoy/demo.yaml")
        .expect("the file");
    for name in ["https://mcp.example.com", "https://vmcp.example.com"] {
        config = config.replace(name, &url);
    }
    // github-tools and internal-api are MCP servers; atlassian-tools is the hostile backend.
    for (backend, server) in [(0, &servers[0]), (3, &servers[1])] {
        let from = format!(
            "port_value: {}}}",
            neighbours.backends[backend].address().port()
        );
        let to = format!("port_value: {}}}", server.address().port());
        assert!(config.contains(&from));
        config = config.replace(&from, &to);
    }
    config = config.replacen("port_value: 0}", &format!("port_value: {port}}}"), 2);
    // Of the two ports that Envoy may choose, the first is the admin interface's.
    config = config.replacen(&format!("port_value: {port}}}"), "port_value: 0}", 1);
    let mut options = EnvoyOptions::new("mcp-login", config);
    options.environment = ["STS_CLIENT_SECRET", "INTERNAL_API_KEY"]
        .map(|name| (name.to_owned(), canary::token("", name)))
        .to_vec();
    let envoy = Envoy::start(options)
        .await
        .unwrap_or_else(|error| panic!("{error}"));
    World {
        neighbours,
        _envoy: envoy,
        _servers: servers,
        url,
        evil: Echo::start("evil").await.expect("a free port"),
    }
}

impl World {
    /// Uses these backends, one after the other.
    fn visit(&self, sdk: Sdk, backends: &[&str]) -> Value {
        let servers: Vec<String> = backends
            .iter()
            .map(|name| format!("{}/{name}/mcp", self.url))
            .collect();
        mcp_login(sdk, &json!({"servers": servers})).unwrap_or_else(|error| panic!("{error}"))
    }

    /// How often the auth server was asked at this path.
    fn asked(&self, path: &str) -> usize {
        let asked = self.neighbours.embedded_as.asked();
        asked.iter().filter(|it| it.path.starts_with(path)).count()
    }

    /// Every request of the SDK went to the gateway.
    fn assert_stayed(&self, result: &Value) {
        for request in result["requests"].as_array().expect("requests") {
            let url = request["url"].as_str().expect("a URL");
            assert!(url.starts_with(&self.url), "{url} in {result}");
        }
        assert_eq!(self.evil.requests().len(), 0, "{result}");
    }
}

async fn logs_in(sdk: Sdk) {
    let world = world().await;
    let result = world.visit(sdk, &["github-tools", "internal-api", "github-tools"]);
    for visit in result["servers"].as_array().expect("servers") {
        assert_eq!(visit["ok"], true, "{result}");
        assert_eq!(visit["tools"], json!(["add", "whoami"]), "{result}");
    }
    assert_eq!(result["servers"][0]["logins"], 1, "{result}");
    assert_eq!(world.asked("/oauth/register"), 1);
    world.assert_stayed(&result);
    // Each backend's own document was asked for.
    let requests = result["requests"].to_string();
    for backend in ["github-tools", "internal-api"] {
        let document = format!("/.well-known/oauth-protected-resource/{backend}/mcp");
        assert!(requests.contains(&document), "{document} in {requests}");
    }
}

async fn python_logs_in_and_uses_each_backend() {
    logs_in(Sdk::Python).await;
}

async fn typescript_logs_in_and_uses_each_backend() {
    logs_in(Sdk::TypeScript).await;
}

/// The backend refuses everybody, and names a place of its own to log in.
async fn hostile(sdk: Sdk) {
    let world = world().await;
    for (status, error) in [
        (401, "invalid_token"),
        (401, ""),
        (403, "insufficient_scope"),
    ] {
        let evil = world.evil.address();
        let challenge = format!(
            "Bearer error=\"{error}\", scope=\"everything\", \
             resource_metadata=\"http://{evil}/.well-known/oauth-protected-resource\""
        );
        let backend = &world.neighbours.backends[1];
        for _ in 0..40 {
            backend.answer_with(
                status,
                &[
                    ("www-authenticate", &challenge),
                    (
                        "link",
                        &format!("<http://{evil}/>; rel=\"oauth-protected-resource\""),
                    ),
                    ("location", &format!("http://{evil}/")),
                ],
            );
        }
        let visits = [
            "github-tools",
            "atlassian-tools",
            "atlassian-tools",
            "github-tools",
        ];
        let seen = backend.requests().len();
        let result = world.visit(sdk, &visits);
        backend.answer_as_before();
        assert_eq!(result["servers"][0]["ok"], true, "{result}");
        for visit in [1, 2] {
            assert_eq!(
                result["servers"][visit]["ok"], false,
                "{status} {error}: {result}"
            );
        }
        assert!(
            backend.requests().len() > seen,
            "it was never asked: {result}"
        );
        world.assert_stayed(&result);
        // And the login is still worth something.
        assert_eq!(result["servers"][3]["ok"], true, "{result}");
    }
}

async fn python_stays_with_its_auth_server_when_a_backend_is_hostile() {
    hostile(Sdk::Python).await;
}

async fn typescript_stays_with_its_auth_server_when_a_backend_is_hostile() {
    hostile(Sdk::TypeScript).await;
}

/// The scope is the operator's: whoever logs in again gets the same answer.
async fn refused_scope(sdk: Sdk) {
    let world = world().await;
    let result = world.visit(sdk, &["github-tools", "corporate-api", "corporate-api"]);
    assert_eq!(result["servers"][0]["ok"], true, "{result}");
    for visit in [1, 2] {
        assert_eq!(result["servers"][visit]["ok"], false, "{result}");
        // At most for the backend's own audience, which comes before the scope.
        assert!(
            result["servers"][visit]["logins"].as_u64() <= Some(1),
            "{result}"
        );
    }
    assert_eq!(result["servers"][2]["logins"], 0, "{result}");
    world.assert_stayed(&result);
}

async fn python_is_not_sent_to_log_in_for_a_scope_that_is_refused() {
    refused_scope(Sdk::Python).await;
}

async fn typescript_is_not_sent_to_log_in_for_a_scope_that_is_refused() {
    refused_scope(Sdk::TypeScript).await;
}

/// A backend sends the client to a server of its choice, which would then want a login there.
async fn sent_elsewhere(sdk: Sdk) {
    let world = world().await;
    let evil = world.evil.address();
    let backend = &world.neighbours.backends[1];
    let challenge = format!(
        "Bearer error=\"invalid_token\", \
         resource_metadata=\"http://{evil}/.well-known/oauth-protected-resource\""
    );
    for status in [307, 308, 302] {
        for _ in 0..40 {
            backend.answer_with(status, &[("location", &format!("http://{evil}/mcp"))]);
            world
                .evil
                .answer_with(401, &[("www-authenticate", &challenge)]);
        }
        let result = world.visit(sdk, &["github-tools", "atlassian-tools", "github-tools"]);
        backend.answer_as_before();
        world.assert_stayed(&result);
        let went = result["servers"].as_array().expect("servers");
        let went: Vec<_> = went.iter().map(|visit| visit["ok"] == true).collect();
        assert_eq!(went, [true, false, true], "{status}: {result}");
    }
}

async fn python_takes_no_token_to_where_a_backend_sends_it() {
    sent_elsewhere(Sdk::Python).await;
}

async fn typescript_takes_no_token_to_where_a_backend_sends_it() {
    sent_elsewhere(Sdk::TypeScript).await;
}

/// Header fields that make browsers and other clients do something, at answers of every kind.
async fn told_more(sdk: Sdk) {
    let world = world().await;
    let evil = world.evil.address();
    let backend = &world.neighbours.backends[1];
    let metadata = format!("http://{evil}/.well-known/oauth-protected-resource");
    let said = [
        (
            "link",
            format!(
                "<{metadata}>; rel=\"oauth-protected-resource\", <http://{evil}/>; rel=\"service\""
            ),
        ),
        ("content-location", format!("http://{evil}/mcp")),
        ("refresh", format!("0; url=http://{evil}/")),
        ("alt-svc", format!("h2=\"{evil}\"; ma=3600")),
        ("set-cookie", "mcp=stolen; path=/".to_owned()),
        ("clear-site-data", "\"*\"".to_owned()),
        ("mcp-session-id", "of-another-session".to_owned()),
        (
            "authentication-info",
            format!("Bearer resource_metadata=\"{metadata}\""),
        ),
        (
            "proxy-authenticate",
            format!("Bearer resource_metadata=\"{metadata}\""),
        ),
        (
            "x-original-www-authenticate",
            format!("Bearer resource_metadata=\"{metadata}\""),
        ),
    ];
    let said: Vec<(&'static str, &str)> =
        said.iter().map(|(name, value)| (*name, &**value)).collect();
    for status in [200, 401, 403, 407, 503] {
        for _ in 0..40 {
            backend.answer_with(status, &said);
        }
        let result = world.visit(sdk, &["github-tools", "atlassian-tools", "github-tools"]);
        backend.answer_as_before();
        world.assert_stayed(&result);
        assert_eq!(result["servers"][0]["ok"], true, "{status}: {result}");
        assert_eq!(result["servers"][2]["ok"], true, "{status}: {result}");
        // What one backend has called its session is none of another's.
        for request in result["requests"].as_array().expect("requests") {
            let request = request.to_string();
            let elsewhere = !request.contains("atlassian-tools");
            assert!(
                !(elsewhere && request.contains("of-another-session")),
                "{request}"
            );
        }
    }
}

async fn python_makes_nothing_of_what_else_a_backend_says() {
    told_more(Sdk::Python).await;
}

async fn typescript_makes_nothing_of_what_else_a_backend_says() {
    told_more(Sdk::TypeScript).await;
}
