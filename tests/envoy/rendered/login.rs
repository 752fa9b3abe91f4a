//! MCP's own clients, in both languages, log in at what is rendered, knowing nothing but the URL of a
//! backend.

use bed::{Answer, Counterpart, EmbeddedAs, Program, Sdk, Sts, canary, mcp_login};
use serde_json::json;

use super::{render, start};
use crate::trial::trials;

trials!("rendered_login":
    python_logs_in_with_one_backends_url_alone,
    typescript_logs_in_with_one_backends_url_alone,
);

async fn logs_in(sdk: Sdk, name: &str) {
    // Clients compare URLs, so that the port has to be known before Envoy has it.
    let free = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = free.local_addr().expect("an address");
    drop(free);
    let url = format!("http://{address}");
    let auth_server = EmbeddedAs::at(&url).await.expect("free ports");
    let identity = Sts::start().await.expect("a free port");
    identity.set_script(|_| Answer::token(&canary::token("gho_", "login")));
    let servers = [(); 2].map(|()| {
        Counterpart::start(Program::McpEcho, &json!({})).unwrap_or_else(|error| panic!("{error}"))
    });
    let config = format!(
        "authServer: {{runConfig: {{issuer: \"{url}\", upstreams: [{{name: github}}]}}}}\n\
         outgoingAuth:\n  backends:\n    \
         github-tools: {{type: upstream_inject, upstreamInject: {{providerName: github}}}}\n    \
         open-tools: {{type: unauthenticated}}\n\
         challenge: {{scope: \"openid offline_access\"}}\n"
    );
    let arguments = [
        format!("--listen={address}"),
        "--admin=127.0.0.1:0".to_owned(),
        format!("--public-url={url}"),
        format!("--auth-server-address={}", auth_server.http_address()),
        format!("--identity=http://{}", identity.address()),
        format!("--backend=github-tools=http://{}/mcp", servers[0].address()),
        format!("--backend=open-tools=http://{}/mcp", servers[1].address()),
    ];
    let (_envoy, _) = start(name, render("envoy", &config, &arguments), &[]).await;
    let visits = ["github-tools", "open-tools", "github-tools"];
    let visits = visits.map(|backend| format!("{url}/{backend}/mcp"));
    let result =
        mcp_login(sdk, &json!({"servers": visits})).unwrap_or_else(|error| panic!("{error}"));
    for visit in result["servers"].as_array().expect("servers") {
        assert_eq!(visit["ok"], true, "{result}");
        assert_eq!(visit["tools"], json!(["add", "whoami"]), "{result}");
    }
    assert_eq!(result["servers"][0]["logins"], 1, "{result}");
    for request in result["requests"].as_array().expect("requests") {
        let asked = request["url"].as_str().expect("a URL");
        assert!(asked.starts_with(&url), "{asked} in {result}");
    }
}

async fn python_logs_in_with_one_backends_url_alone() {
    logs_in(Sdk::Python, "rendered-login-python").await;
}

async fn typescript_logs_in_with_one_backends_url_alone() {
    logs_in(Sdk::TypeScript, "rendered-login-typescript").await;
}
