//! MCP's own clients, in both languages, log in at what is rendered, knowing nothing but the URL of a
//! backend.

use std::net::SocketAddr;

use bed::{Answer, Counterpart, EmbeddedAs, Program, Sdk, Sts, canary, mcp_login};
use serde_json::json;

use super::{read, render, start, tls};
use crate::trial::trials;

trials!("rendered_login":
    python_logs_in_with_one_backends_url_alone,
    typescript_logs_in_with_one_backends_url_alone,
    the_command_of_the_page_ends_with_a_client_that_is_logged_in,
);

/// Clients compare URLs, so that the port has to be known before Envoy has it.
fn free_address() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], bed::free_port().expect("a free port")))
}

async fn logs_in(sdk: Sdk, name: &str) {
    let address = free_address();
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

/// The page's command for a gateway with ToolHive's auth server behind it, and its file, as printed: only
/// the addresses are this machine's.
async fn the_command_of_the_page_ends_with_a_client_that_is_logged_in() {
    let address = free_address();
    let url = format!("http://{address}");
    let auth_server = EmbeddedAs::at(&url).await.expect("free ports");
    let identity = Sts::start().await.expect("a free port");
    identity.set_script(|_| Answer::token(&canary::token("gho_", "page")));
    let servers = [(); 2].map(|()| {
        Counterpart::start(Program::McpEcho, &json!({})).unwrap_or_else(|error| panic!("{error}"))
    });
    let server = |index: usize| format!("http://{}/mcp", servers[index].address());
    let page = read("docs/targets/envoy.md").replace("\\\n", " ");
    let begin = "$ dist/upstream-inject render --target envoy docs/targets/example.yaml ";
    let mut command = page
        .lines()
        .find_map(|line| line.strip_prefix(begin)?.split(" > ").next())
        .expect("the command")
        .to_owned();
    let mut file = read("docs/targets/example.yaml");
    for (printed, here) in [
        ("https://github-mcp.example.com/mcp", server(0)),
        ("https://atlassian-mcp.example.com/mcp", server(1)),
        (
            "http://127.0.0.1:9193",
            format!("http://{}", identity.address()),
        ),
        ("127.0.0.1:4483", auth_server.http_address().to_string()),
    ] {
        assert!(command.contains(printed), "{printed} in {command}");
        command = command.replace(printed, &here);
    }
    for printed in ["https://vmcp.example.com", "https://mcp.example.com"] {
        assert!(file.contains(printed), "{printed} in {file}");
        file = file.replace(printed, &url);
    }
    let authority = tls::Authority::new();
    let mut arguments: Vec<String> = command.split_whitespace().map(str::to_owned).collect();
    arguments.extend([
        format!("--listen={address}"),
        "--admin=127.0.0.1:0".to_owned(),
        format!("--ca-file={}", authority.file().display()),
    ]);
    let secrets =
        ["STS_CLIENT_SECRET", "INTERNAL_API_KEY"].map(|name| (name, canary::token("", name)));
    let environment = secrets
        .each_ref()
        .map(|(name, value)| (*name, value.as_str()));
    let rendered = render("envoy", &file, &arguments);
    let (envoy, _) = start("rendered-page", rendered, &environment).await;
    let visits = ["github-tools", "atlassian-tools"].map(|name| format!("{url}/{name}/mcp"));
    let result = mcp_login(Sdk::Python, &json!({"servers": visits}))
        .unwrap_or_else(|error| panic!("{error}"));
    for visit in result["servers"].as_array().expect("servers") {
        assert_eq!(visit["ok"], true, "{result}");
    }
    // The smoke test's last call.
    bed::eventually("the counter of the backend to rise", || async {
        let path = "/stats?filter=wasmcustom.upstream_inject.backend.github-tools";
        let stats = envoy.admin_text(path).await;
        stats.contains("github-tools.injected: ").then_some(())
    })
    .await;
}
