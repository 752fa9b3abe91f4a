//! `explain`: what the filter would do, by its own code, without a word of a token.

use crate::tool::{Run, Workbench};
use serde_json::Value;

const CONFIG: &str = "\
authServer:
  runConfig:
    issuer: https://vmcp.example.com
    upstreams: [{name: corp}, {name: github}]
outgoingAuth:
  backends:
    github-tools:
      type: upstream_inject
      upstreamInject: {providerName: github}
    corporate-api:
      type: token_exchange
      tokenExchange:
        tokenUrl: https://sts.example.com/token
        cluster: sts
        clientId: envoy
        clientSecretEnv: STS_SECRET
        audience: https://api.example.com
        scopes: [read, write]
        subjectProviderName: corp
        parameters: {connection: github, x_api_key: key-hunter2}
    as-user:
      type: token_exchange
      tokenExchange:
        tokenUrl: https://sts.example.com/token?code=query-hunter2&v=1
        clientId: envoy
        clientSecret: secret-hunter2-hunter2-hunter2-hunter2x
        clientAuthMethod: client_secret_post
    partner:
      type: xaa
      xaa:
        idpTokenUrl: https://idp.example.com/token
        idpClientId: login
        idpClientSecretEnv: IDP_SECRET
        targetTokenUrl: https://as.partner.example/token
        targetClientId: envoy
        targetClientSecretEnv: TARGET_SECRET
        targetAudience: https://as.partner.example
        subjectProviderName: corp
    key:
      type: header_injection
      headerInjection: {headerName: X-API-Key, headerValue: secret-hunter2-hunter2-hunter2-hunter2x}
    open: {type: unauthenticated}
challenge: {realm: mcp, resourceMetadata: https://mcp.example.com/.well-known/oauth-protected-resource}
";

const GITHUB: &str = "gho_0123456789012345678901234567890123456789";
const CORP: &str = "corp-0123456789012345678901234567890123456789";
const ID: &str = "eyJhbGciOiJub25lIn0.eyJzdWIiOiJ4In0.c2ln-id-token";
const BEARER: &str = "th-jwt-0123456789012345678901234567890123456789";

fn metadata() -> String {
    format!(
        "upstream_tokens: {{github: {GITHUB}, corp: {CORP}}}\nupstream_id_tokens: {{corp: {ID}}}\n"
    )
}

fn run(config: &str, arguments: &[&str]) -> Run {
    let bench = Workbench::with("c.yaml", config).file("m.yaml", metadata());
    let all: Vec<&str> = ["explain", "c.yaml"]
        .iter()
        .chain(arguments)
        .copied()
        .collect();
    let run = bench.run(&all);
    let said = format!("{}{}", run.stdout, run.stderr);
    for secret in [GITHUB, CORP, ID, BEARER, "hunter2"] {
        assert!(!said.contains(secret), "{secret}: {said}");
    }
    run
}

fn json(config: &str, arguments: &[&str]) -> Value {
    let all: Vec<&str> = arguments
        .iter()
        .chain(&["--format", "json"])
        .copied()
        .collect();
    let run = run(config, &all).expect(0);
    serde_json::from_str(&run.stdout).unwrap_or_else(|error| panic!("{error}: {run:#?}"))
}

fn field<'a>(call: &'a Value, name: &str) -> Option<&'a str> {
    let form = call["form"].as_array().expect("a list");
    form.iter()
        .find(|field| field["name"] == name)
        .and_then(|field| field["value"].as_str())
}

#[test]
fn an_upstream_token_is_shown_shortened_with_the_strategys_line() {
    let said = run(
        CONFIG,
        &[
            "--backend",
            "github-tools",
            "--metadata",
            "m.yaml",
            "--bearer",
            BEARER,
        ],
    );
    let said = said.expect(0);
    for expected in [
        "github-tools: upstream_inject (c.yaml:7:5)",
        "provider: github",
        "the backend sees (injected):",
        "  authorization: Bearer gho_01… (44 characters)",
    ] {
        assert!(
            said.stdout.contains(expected),
            "{expected}\n{}",
            said.stdout
        );
    }
    let explained = json(
        CONFIG,
        &["--backend", "github-tools", "--metadata", "m.yaml"],
    );
    assert_eq!(explained["strategy"], "upstream_inject");
    assert_eq!(explained["line"], 7);
    assert_eq!(explained["refusal"], Value::Null);
}

#[test]
fn an_exchange_is_shown_as_its_form() {
    let arguments = ["--backend", "corporate-api", "--metadata", "m.yaml"];
    let explained = json(CONFIG, &arguments);
    let call = &explained["calls"][0];
    assert_eq!(call["tokenUrl"], "https://sts.example.com/token");
    assert_eq!(call["cluster"], "sts");
    assert_eq!(
        field(call, "grant_type"),
        Some("urn:ietf:params:oauth:grant-type:token-exchange")
    );
    assert_eq!(field(call, "audience"), Some("https://api.example.com"));
    assert_eq!(field(call, "scope"), Some("read write"));
    assert_eq!(field(call, "connection"), Some("github"));
    // What is in the file's `parameters` may be a secret, by its name.
    assert_eq!(field(call, "x_api_key"), Some("<as configured>"));
    assert_eq!(
        field(call, "subject_token"),
        Some("corp-0… (45 characters)")
    );
    assert_eq!(
        call["headers"]["authorization"],
        "Basic base64(envoy:$STS_SECRET)"
    );
    assert_eq!(explained["outcome"], "exchanged");
}

#[test]
fn the_clients_own_token_is_the_subject_where_no_provider_is_named() {
    let explained = json(CONFIG, &["--backend", "as-user", "--bearer", BEARER]);
    let call = &explained["calls"][0];
    assert_eq!(
        field(call, "subject_token"),
        Some("th-jwt… (47 characters)")
    );
    assert_eq!(field(call, "client_id"), Some("envoy"));
    assert_eq!(
        field(call, "client_secret"),
        Some("secret… (39 characters)")
    );
    // A key may stand in the query.
    let shown = "https://sts.example.com/token?code=…&v=…";
    assert_eq!(call["tokenUrl"], shown);
    assert_eq!(call["headers"][":path"], "/token?code=…&v=…");
    assert_eq!(
        explained["backendSees"]["headers"]["authorization"],
        format!("Bearer <the access token that {shown} answers with>")
    );
    let refused = json(CONFIG, &["--backend", "as-user"]);
    assert_eq!(refused["refusal"]["code"], "subject_token_missing");
    assert_eq!(refused["refusal"]["status"], 401);
}

#[test]
fn cross_app_access_is_two_calls() {
    let explained = json(CONFIG, &["--backend", "partner", "--metadata", "m.yaml"]);
    let calls = explained["calls"].as_array().expect("a list");
    assert_eq!(calls.len(), 2, "{explained}");
    assert_eq!(calls[0]["step"], "idp");
    assert_eq!(
        field(&calls[0], "audience"),
        Some("https://as.partner.example")
    );
    assert_eq!(calls[1]["step"], "target");
    assert_eq!(
        field(&calls[1], "assertion"),
        Some("<what https://idp.example.com/token answered>")
    );
}

#[test]
fn a_refusal_is_what_the_client_would_get() {
    let said = run(CONFIG, &["--backend", "github-tools", "--bearer", BEARER]).expect(0);
    for expected in [
        "refused with 401 upstream_token_not_found:",
        "www-authenticate: Bearer realm=\"mcp\", error=\"invalid_token\"",
        "resource_metadata=\"https://mcp.example.com/.well-known/oauth-protected-resource\"",
        "\"error\":\"upstream_token_not_found\"",
        "look at: nobody has left any upstream tokens",
    ] {
        assert!(
            said.stdout.contains(expected),
            "{expected}\n{}",
            said.stdout
        );
    }
    let said = run(CONFIG, &["--backend", "githubtools"]).expect(0);
    assert!(
        said.stdout
            .starts_with("githubtools: no strategy (c.yaml); did you mean github-tools?\n"),
        "{said:#?}"
    );
    let refused = json(CONFIG, &["--backend", "opne"]);
    assert_eq!(refused["meant"], Value::Null, "two letters of four");
    let refused = json(CONFIG, &["--backend", "opn"]);
    assert_eq!(refused["meant"], "open");
    let refused = json(CONFIG, &["--backend", "nobody"]);
    assert_eq!(refused["refusal"]["code"], "backend_not_configured");
    assert_eq!(refused["strategy"], Value::Null);
}

#[test]
fn a_static_key_needs_somebody() {
    let refused = json(CONFIG, &["--backend", "key"]);
    assert_eq!(refused["refusal"]["code"], "identity_missing");
    let sent = json(CONFIG, &["--backend", "key", "--bearer", BEARER]);
    let shown = sent["backendSees"]["headers"]["x-api-key"]
        .as_str()
        .expect("a text");
    assert!(shown == "secret… (39 characters)", "{shown}");
}

#[test]
fn a_health_check_goes_without() {
    let bench = Workbench::with("c.yaml", CONFIG).file("h.yaml", "health_check: true\n");
    let run = bench
        .run(&[
            "explain",
            "c.yaml",
            "--backend",
            "github-tools",
            "--metadata",
            "h.yaml",
        ])
        .expect(0);
    assert!(
        run.stdout.contains("the backend sees (health_check):"),
        "{run:#?}"
    );
}

fn by_exchange() -> String {
    format!(
        "{CONFIG}identity:\n  source: exchange\n  exchange: {{tokenUrl: \"http://localhost:9193/token\", \
         cluster: identity, clientId: envoy, clientSecretEnv: IDENTITY_SECRET}}\n"
    )
}

#[test]
fn what_the_identity_service_answers_is_what_is_said_of_the_users_tokens() {
    let asked = |metadata: &str| -> Value {
        let bench = Workbench::with("c.yaml", by_exchange()).file("m.yaml", metadata);
        let arguments = [
            "explain",
            "c.yaml",
            "--backend",
            "github-tools",
            "--metadata",
        ];
        let more = ["m.yaml", "--bearer", BEARER, "--format", "json"];
        let run = bench.run(&[&arguments[..], &more].concat()).expect(0);
        serde_json::from_str(&run.stdout).expect("JSON")
    };
    for unavailable in [
        "upstream_unavailable: {github: true}",
        "upstream_unavailable: [github]",
        "envoy.filters.http.ext_authz: {upstream_unavailable: {github: true}}",
    ] {
        let refused = asked(unavailable);
        assert_eq!(refused["calls"][0]["cluster"], "identity", "{refused}");
        let refusal = &refused["refusal"];
        assert_eq!(refusal["code"], "upstream_token_unavailable", "{refused}");
        assert_eq!(refusal["status"], 503, "{refused}");
        assert_eq!(refusal["headers"]["retry-after"], "5", "{refused}");
    }
    for missing in [
        "upstream_tokens: {corp: x}",
        "upstream_tokens: {}",
        "upstream_id_tokens: {github: x}",
        "upstream_unavailable: {corp: true}",
        "upstream_unavailable: {github: false}",
    ] {
        let refusal = &asked(missing)["refusal"];
        assert_eq!(refusal["code"], "upstream_token_not_found", "{missing}");
        assert_eq!(refusal["status"], 401, "{missing}");
    }
    // Nothing is said of tokens: nobody knows what the service would answer.
    for silent in [
        "envoy.filters.http.jwt_authn: {th_jwt: {iss: \"https://vmcp.example.com\"}}",
        "health_check: false",
        "{}",
    ] {
        let explained = asked(silent);
        assert_eq!(
            explained["backendSees"]["headers"]["authorization"],
            "Bearer <the token of github that the identity service answers with>",
            "{explained}"
        );
    }
    let sent = asked("upstream_tokens: {github: gho_012345678901234567890123456789}");
    assert_eq!(
        sent["backendSees"]["headers"]["authorization"],
        "Bearer gho_01… (34 characters)"
    );
}

#[test]
fn the_identity_by_exchange_is_a_call_of_its_own() {
    let config = by_exchange();
    // Without metadata, nobody knows what the service would answer.
    let explained = json(&config, &["--backend", "corporate-api", "--bearer", BEARER]);
    let calls = explained["calls"].as_array().expect("a list");
    assert_eq!(calls.len(), 2, "{explained}");
    assert_eq!(calls[0]["cluster"], "identity");
    assert_eq!(field(&calls[0], "audience"), Some("corp"));
    assert_eq!(
        field(&calls[1], "subject_token"),
        Some("<the token of corp that the identity service answers with>")
    );
    let explained = json(
        &config,
        &[
            "--backend",
            "corporate-api",
            "--bearer",
            BEARER,
            "--metadata",
            "m.yaml",
        ],
    );
    assert_eq!(
        field(&explained["calls"][1], "subject_token"),
        Some("corp-0… (45 characters)")
    );
    let refused = json(&config, &["--backend", "github-tools"]);
    assert_eq!(refused["refusal"]["code"], "identity_missing");
}

#[test]
fn toolhives_files_name_the_first_upstream() {
    let bench = Workbench::with("config.yaml", include_str!("fixtures/toolhive/config.yaml")).file(
        "authserver-config.yaml",
        include_str!("fixtures/toolhive/authserver-config.yaml"),
    );
    let run = bench
        .run(&["explain", "config.yaml", "--backend", "default-subject"])
        .expect(0);
    assert!(
        run.stdout
            .contains("vMCP takes the first upstream, corporate-idp"),
        "{run:#?}"
    );
    assert!(run.stdout.contains("provider: corporate-idp"), "{run:#?}");
}

#[test]
fn what_check_warns_of_is_told_aside_and_counts_where_warnings_count() {
    let arguments = ["--backend", "key", "--bearer", BEARER];
    let explained = run(CONFIG, &arguments).expect(0);
    assert!(
        explained.stderr.contains("warning: config: outgoingAuth.backends.key.headerInjection.headerValue: a secret in plain text"),
        "{explained:#?}"
    );
    assert!(!explained.stdout.contains("warning"), "{explained:#?}");
    let strict = [&arguments[..], &["--strict"]].concat();
    let refused = run(CONFIG, &strict).expect(1);
    assert_eq!(refused.stdout, "");
    assert!(refused.stderr.contains("[plain-secret]"), "{refused:#?}");
    // Each in its place, whatever form findings have.
    let machine = [&arguments[..], &["--format", "json"]].concat();
    let told = run(CONFIG, &machine).expect(0);
    let findings: Value = serde_json::from_str(&told.stderr).expect("JSON");
    assert_eq!(findings["verdict"], "valid", "{told:#?}");
    let github = [&arguments[..], &["--format", "github"]].concat();
    let told = run(CONFIG, &github).expect(0);
    assert!(told.stderr.contains("::warning file=c.yaml"), "{told:#?}");
    assert_eq!(told.stdout, explained.stdout);
    let silent = "outgoingAuth: {default: {type: unauthenticated}}\n";
    let told = run(silent, &["--backend", "a", "--strict"]).expect(0);
    assert_eq!(told.stderr, "");
}

#[test]
fn metadata_may_be_empty_but_says_nothing_twice() {
    let explained = |metadata: &str| {
        let bench = Workbench::with("c.yaml", CONFIG).file("m.yaml", metadata);
        let arguments = ["explain", "c.yaml", "--backend", "github-tools"];
        bench.run(&[&arguments[..], &["--metadata", "m.yaml"]].concat())
    };
    for empty in ["", "# nobody\n", "{}\n"] {
        let run = explained(empty).expect(0);
        assert!(
            run.stdout
                .contains("refused with 401 upstream_token_not_found:"),
            "{run:#?}"
        );
    }
    let run = explained("upstream_tokens:\n  github: hunter2\n  github: hunter3\n").expect(1);
    assert!(
        run.stderr
            .contains("m.yaml:3:3: error: upstream_tokens.github: given twice"),
        "{run:#?}"
    );
    assert!(!run.stderr.contains("hunter"), "{run:#?}");
}

#[test]
fn a_wrong_configuration_is_said_to_be_one() {
    let run = run("outgoingAuth: {}\n", &["--backend", "a"]).expect(1);
    assert_eq!(run.stdout, "");
    assert!(
        run.stderr.contains("neither a default nor a backend"),
        "{run:#?}"
    );
    let bench = Workbench::with("c.yaml", CONFIG).file("m.yaml", "- a\n");
    bench
        .run(&[
            "explain",
            "c.yaml",
            "--backend",
            "open",
            "--metadata",
            "m.yaml",
        ])
        .expect(1);
    bench
        .run(&["explain", "none.yaml", "--backend", "open"])
        .expect(2);
}
