//! What the command-line tool renders: from the RFC's own example to the right header at the
//! backend, as a newcomer would go that way.

mod grants;
mod kubernetes;
mod login;
mod operator;
mod plain;
mod plain_variants;
mod providers;
mod tls;

use std::io::Write as _;
use std::net::SocketAddr;
use std::process::{Command, Stdio};

use bed::{Client, Echo, EmbeddedAs, Envoy, EnvoyOptions, Reply, Request, Sts, canary, repository};
use serde_json::json;

use crate::trial::trials;

trials!("rendered":
    the_rfcs_example_goes_all_the_way,
    the_rfcs_resource_goes_all_the_way,
    gaps_are_accepted_and_fail_closed,
    the_documented_bootstrap_is_accepted,
);

/// What Kubernetes' own programs say of what is rendered.
pub fn kubernetes_trials() -> Vec<libtest_mimic::Trial> {
    kubernetes::trials()
}

/// The trials of all other modules.
pub fn all_trials() -> Vec<libtest_mimic::Trial> {
    [
        trials(),
        tls::trials(),
        grants::trials(),
        login::trials(),
        operator::trials(),
        plain::trials(),
        plain_variants::trials(),
        providers::trials(),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// The RFC's example, and the upstream that it lacks.
fn rfc_with_corporate_idp() -> String {
    read("tests/cli/fixtures/rfc.yaml").replace(
        "      - name: atlassian\n",
        "      - name: corporate-idp\n      - name: atlassian\n",
    )
}

fn read(file: &str) -> String {
    let path = repository().join(file);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// What became of a run of the tool.
struct Run {
    code: Option<i32>,
    stdout: String,
    stderr: String,
}

/// Runs the tool at the root of the repository.
fn tool(arguments: &[&str], stdin: &str) -> Run {
    let mut child = Command::new(bed::tool())
        .args(arguments)
        .current_dir(repository())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("{}: {error}", bed::tool().display()));
    let mut input = child.stdin.take().expect("piped");
    let stdin = stdin.to_owned();
    let writer = std::thread::spawn(move || drop(input.write_all(stdin.as_bytes())));
    let output = child.wait_with_output().expect("it ends");
    writer.join().expect("no panic");
    Run {
        code: output.status.code(),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

/// Renders a configuration, which must be possible.
fn render(target: &str, configuration: &str, arguments: &[String]) -> String {
    let wasm = format!("--wasm={}", bed::artifact().display());
    let mut all = vec!["render", "--target", target, "-"];
    if target == "envoy" {
        all.push(&wasm);
    }
    all.extend(arguments.iter().map(String::as_str));
    let run = tool(&all, configuration);
    assert_eq!(run.code, Some(0), "{}", run.stderr);
    run.stdout
}

/// Free ports, and everything that a rendered Envoy needs to know of its neighbours.
fn neighbours(embedded_as: &EmbeddedAs, backends: &[(&str, SocketAddr)]) -> Vec<String> {
    let mut arguments: Vec<String> = [
        "--listen=127.0.0.1:0",
        "--admin=127.0.0.1:0",
        "--issuer=https://vmcp.example.com",
        "--audience=https://mcp.example.com",
    ]
    .map(str::to_owned)
    .into();
    arguments.push(format!(
        "--jwks-url=http://{}/jwks.json",
        embedded_as.http_address()
    ));
    arguments.push(format!("--ext-authz={}", embedded_as.grpc_address()));
    for (name, address) in backends {
        arguments.push(format!("--backend={name}={address}"));
    }
    arguments
}

async fn start(name: &str, config: String, environment: &[(&str, &str)]) -> (Envoy, Client) {
    let mut options = EnvoyOptions::new(name, config);
    for (variable, value) in environment {
        options
            .environment
            .push(((*variable).to_owned(), (*value).to_owned()));
    }
    let envoy = Envoy::start(options)
        .await
        .unwrap_or_else(|error| panic!("{error}"));
    let client = Client::http1(envoy.listener("upstream-inject").await);
    (envoy, client)
}

/// Sends a request until the keys that TH-JWTs are checked with have been fetched.
async fn send(client: &Client, request: impl Fn() -> Request) -> Reply {
    bed::eventually("the keys to be fetched", || async {
        let reply = client.send(request()).await;
        (reply.json()["error"] != "identity_unavailable").then_some(reply)
    })
    .await
}

async fn the_rfcs_example_goes_all_the_way() {
    let embedded_as = EmbeddedAs::start().await.expect("a free port");
    let sts = Sts::start().await.expect("a free port");
    let names = [
        "github-tools",
        "atlassian-tools",
        "corporate-api",
        "internal-api",
    ];
    let mut backends = Vec::new();
    for name in names {
        backends.push((name, Echo::start(name).await.expect("a free port")));
    }
    let addresses: Vec<_> = backends
        .iter()
        .map(|(name, echo)| (*name, echo.address()))
        .collect();

    let checked = tool(&["check", "tests/cli/fixtures/rfc.yaml"], "");
    assert_eq!(checked.code, Some(1), "{}", checked.stdout);
    assert!(
        checked.stdout.contains("V-02: provider \"corporate-idp\""),
        "{}",
        checked.stdout
    );
    let fixed = rfc_with_corporate_idp();
    let checked = tool(&["check", "-"], &fixed);
    assert_eq!(checked.code, Some(0), "{}", checked.stdout);

    let here = fixed.replace(
        "https://corp-sts.example.com/token",
        &format!("http://{}/token", sts.address()),
    );
    let config = render("envoy", &here, &neighbours(&embedded_as, &addresses));
    let key = canary::token("key-", "internal");
    let (_envoy, client) = start("rendered-rfc", config, &[("INTERNAL_API_KEY", &key)]).await;

    let tokens = json!({
        "github": canary::token("gho_", "rendered"),
        "atlassian": canary::token("atl_", "rendered"),
        "corporate-idp": canary::token("corp_", "rendered"),
    });
    let jwt = embedded_as.login("rendered", json!({"upstream_tokens": tokens}));
    let get = |path: &str| {
        let (client, jwt, path) = (&client, &jwt, path.to_owned());
        async move { send(client, || Request::get(&path).bearer(jwt)).await }
    };

    for (backend, token) in [("github-tools", "gho_"), ("atlassian-tools", "atl_")] {
        let reply = get(&format!("/{backend}/mcp?x=1")).await;
        assert_eq!(reply.status, 200, "{}", reply.text());
        assert_eq!(reply.json()["path"], "/mcp?x=1");
        let expected = format!("Bearer {}", canary::token(token, "rendered"));
        assert_eq!(reply.seen("authorization"), [expected]);
    }
    let reply = get("/corporate-api").await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    assert_eq!(reply.json()["path"], "/");
    assert_eq!(
        sts.requests()[0].parameter("subject_token"),
        canary::token("corp_", "rendered")
    );
    assert_ne!(reply.seen("authorization"), [format!("Bearer {jwt}")]);
    let reply = get("/internal-api/").await;
    assert_eq!(reply.seen("x-api-key"), [key]);
    assert_eq!(reply.seen("authorization"), [""; 0]);

    for refused in ["/internal-api/", "/github-tools/"] {
        assert_eq!(client.send(Request::get(refused)).await.status, 401);
        let query = format!("{refused}?access_token={jwt}");
        assert_eq!(
            client.send(Request::get(&query)).await.status,
            401,
            "only from the header"
        );
    }
    assert_eq!(get("/github-tools2/").await.status, 404);
    for (_, echo) in &backends {
        assert!(!echo.requests().is_empty());
    }
}

async fn the_rfcs_resource_goes_all_the_way() {
    let embedded_as = EmbeddedAs::start().await.expect("a free port");
    let echo = Echo::start("github-tools-auth").await.expect("a free port");
    let resource = "tests/cli/fixtures/rfc-resource.yaml";
    let converted = tool(
        &["convert", resource, "--auth-server", "-"],
        &rfc_with_corporate_idp(),
    );
    assert_eq!(converted.code, Some(0), "{}", converted.stderr);
    let config = render(
        "envoy",
        &converted.stdout,
        &neighbours(&embedded_as, &[("github-tools-auth", echo.address())]),
    );
    let (_envoy, client) = start("rendered-resource", config, &[]).await;
    let token = canary::token("gho_", "resource");
    let jwt = embedded_as.login("resource", json!({"upstream_tokens": {"github": token}}));
    let reply = send(&client, || Request::get("/github-tools-auth/").bearer(&jwt)).await;
    assert_eq!(
        reply.seen("authorization"),
        [format!("Bearer {token}")],
        "{}",
        reply.text()
    );
}

async fn gaps_are_accepted_and_fail_closed() {
    let authority = tls::Authority::new();
    let ca_file = format!("--ca-file={}", authority.file().display());
    let free = ["--listen=127.0.0.1:0", "--admin=127.0.0.1:0", &ca_file].map(str::to_owned);
    let config = render("envoy", &rfc_with_corporate_idp(), &free);
    let (_envoy, client) = start("rendered-gaps", config, &[("INTERNAL_API_KEY", "x")]).await;
    let reply = client.send(Request::get("/internal-api/")).await;
    assert_eq!(reply.status, 401, "{}", reply.text());
}

async fn the_documented_bootstrap_is_accepted() {
    let authority = tls::Authority::new();
    let config = read("docs/targets/rendered/envoy.yaml")
        .replace(
            "dist/upstream_inject.wasm",
            &bed::artifact().display().to_string(),
        )
        .replace(
            "/etc/ssl/certs/ca-certificates.crt",
            &authority.file().display().to_string(),
        );
    let variables = [("STS_CLIENT_SECRET", "x"), ("INTERNAL_API_KEY", "y")];
    let verdict = Envoy::validate("documented", &config, &variables).expect("Envoy runs");
    assert!(verdict.accepted, "{}", verdict.output);
    let verdict = Envoy::validate("undocumented", &config, &variables[..1]).expect("Envoy runs");
    assert!(
        !verdict.accepted,
        "a variable is missing: {}",
        verdict.output
    );
}
