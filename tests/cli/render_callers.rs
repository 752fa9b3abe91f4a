//! `render`: who calls, whose keys tell that, and what their tokens are issued for.

use super::render_options::{CONFIG, PUBLIC, render};
use crate::tool::Workbench;

#[test]
fn who_calls_is_known_from_a_vmcp_file() {
    let config = "\
backends: [{name: a, url: https://a.example/mcp}, {name: b, url: https://b.example/sse}]
incomingAuth:
  type: oidc
  oidc:
    issuer: https://login.example.com/realms/x
    jwksUrl: https://login.example.com/realms/x/protocol/openid-connect/certs
    resource: https://mcp.example.com/mcp
    scopes: [openid, offline_access]
    caBundlePath: /etc/ca.pem
    introspectionUrl: https://login.example.com/introspect
outgoingAuth:
  default: {type: unauthenticated}
";
    let run = render(config, "envoy", &[]).expect(0);
    for part in [
        "uri: \"https://login.example.com/realms/x/protocol/openid-connect/certs\"",
        "address: login.example.com, port_value: 443",
        r#"scope=\"openid offline_access\""#,
        "https://mcp.example.com/a/mcp",
        // Only `default` is for it, and it has a route all the same.
        "https://mcp.example.com/b/sse",
    ] {
        assert!(run.stdout.contains(part), "{part}\n{}", run.stdout);
    }
    for note in [
        "caBundlePath is not taken over",
        "introspectionUrl is not taken over",
    ] {
        assert!(run.stderr.contains(note), "{note}\n{}", run.stderr);
    }
}

#[test]
fn a_guess_where_keys_are_is_called_one() {
    let config = "outgoingAuth: {backends: {a: {type: unauthenticated}}}";
    let issuer = ["--issuer", "https://login.example.com/realms/x/"];
    let run = render(config, "envoy", &issuer).expect(0);
    let guess = "looked for at https://login.example.com/realms/x/.well-known/jwks.json; if";
    assert!(run.stderr.contains(guess), "{}", run.stderr);
    // ToolHive's auth server has them there.
    let run = render(CONFIG, "envoy", &[]).expect(0);
    assert!(!run.stderr.contains("looked for at"), "{}", run.stderr);
}

#[test]
fn keys_are_where_the_issuers_own_document_says() {
    let config = "outgoingAuth: {backends: {a: {type: unauthenticated}}}";
    let issuer = "https://login.example.com/realms/x";
    let keys = "https://login.example.com/realms/x/protocol/openid-connect/certs";
    let document = |issuer: &str, keys: &str| {
        format!("{{\"issuer\": \"{issuer}\", \"jwks_uri\": \"{keys}\", \"scopes_supported\": []}}")
    };
    let run = |document: &str, arguments: &[&str]| {
        let mut all = vec!["render", "c.yaml", "-t", "envoy", "--discovery", "d.json"];
        all.extend(arguments);
        Workbench::with("c.yaml", config)
            .file("d.json", document)
            .run(&all)
    };
    for given in [&["--issuer", issuer][..], &[]] {
        let run = run(&document(issuer, keys), given).expect(0);
        assert!(run.stdout.contains(&format!("issuer: {issuer}\n")));
        assert!(run.stdout.contains(keys), "{run:#?}");
        assert!(!run.stderr.contains("looked for at"), "{run:#?}");
    }
    for (text, arguments, expected) in [
        (
            document("https://evil.example", keys),
            &["--issuer", issuer][..],
            "is that of the issuer https://evil.example, but tokens are issued by",
        ),
        // With a slash, tokens say something else.
        (
            document(&format!("{issuer}/"), keys),
            &["--issuer", issuer],
            "compared letter by letter",
        ),
        (
            document(issuer, "http://login.example.com/keys"),
            &[],
            "keys of an https issuer are not fetched without TLS",
        ),
        (
            document(issuer, "/keys"),
            &[],
            "jwks_uri /keys: write an absolute URL",
        ),
        (
            "{\"issuer\": \"https://a.example\"}".to_owned(),
            &[],
            "no discovery document",
        ),
        ("[]".to_owned(), &[], "no discovery document"),
        (
            document(issuer, keys),
            &["--jwks-url", keys],
            "--discovery and --jwks-url: both say where the issuer's keys are",
        ),
        (
            document(issuer, keys),
            &["--auth-server-address", "a:1"],
            "--discovery and --auth-server-address: both",
        ),
        (document(issuer, keys), &["-o", "d.json"], ""),
    ] {
        let run = run(&text, arguments);
        assert_ne!(run.code, 0, "{run:#?}");
        assert!(run.stderr.contains(expected), "{expected}\n{}", run.stderr);
        assert_eq!(run.stdout, "");
    }
    let run = run("<html>", &[]);
    assert_ne!(run.code, 0, "{run:#?}");
    let bench = Workbench::with("c.yaml", config);
    let arguments = ["render", "c.yaml", "-t", "envoy", "--discovery", "-"];
    let run = bench.run_with(&arguments, document(issuer, keys), &[]);
    assert_eq!(run.code, 0, "{run:#?}");
    assert!(run.stdout.contains(keys), "{run:#?}");
    let missing = bench.run(&[
        "render",
        "c.yaml",
        "-t",
        "envoy",
        "--discovery",
        "gone.json",
    ]);
    assert_eq!(missing.code, 2, "{missing:#?}");
}

#[test]
fn an_auth_server_behind_the_gateway_tells_the_gateways_url() {
    let address = ["--auth-server-address", "127.0.0.1:4483"];
    let run = render(CONFIG, "envoy", &address).expect(0);
    for part in [
        "https://vmcp.example.com/github-tools/mcp",
        "uri: \"http://127.0.0.1:4483/.well-known/jwks.json\"",
        "most_specific_header_mutations_wins: true",
    ] {
        assert!(run.stdout.contains(part), "{part}\n{}", run.stdout);
    }
    let run = render(CONFIG, "envoy", &[]).expect(0);
    assert!(run.stderr.contains("give --public-url"), "{}", run.stderr);
    assert!(!run.stdout.contains("direct_response: {status: 200"));
}

#[test]
fn what_tokens_are_not_issued_for_is_said_before_anyone_logs_in_in_vain() {
    let config = CONFIG.replace(
        "upstreams: [{name: github}]",
        "upstreams: [{name: github}], allowed_audiences: [https://mcp.example.com/a/mcp]",
    );
    let run = render(&config, "envoy", &PUBLIC).expect(0);
    let unknown = "none is issued for https://mcp.example.com/github-tools/mcp, \
                   https://mcp.example.com/a%3Db/mcp: ";
    assert!(run.stderr.contains(unknown), "{}", run.stderr);
    let shared = [&["--shared-audience"], &PUBLIC[..]].concat();
    let run = render(&config, "envoy", &shared).expect(0);
    assert!(!run.stderr.contains("none is issued"), "{}", run.stderr);
    let audiences = "audiences: [\"https://mcp.example.com/a/mcp\"]\n";
    assert!(run.stdout.contains(audiences), "{}", run.stdout);
    assert!(!run.stdout.contains("requirement_map"));
}

#[test]
fn a_url_is_not_fetched_and_how_to_is_said() {
    let bench = Workbench::with(
        "c.yaml",
        "outgoingAuth: {default: {type: unauthenticated}}\n",
    );
    let document = "https://login.example.com/.well-known/openid-configuration";
    for url in [
        document,
        "https://login.example.com/",
        "https://login.example.com",
    ] {
        let run = bench
            .run(&["render", "c.yaml", "-t", "envoy", "--discovery", url])
            .expect(2);
        let expected = format!(
            "{url}: error: --discovery is a file: this tool calls nobody. Fetch the document, and hand it \
             over: curl -s {document} | upstream-inject render --discovery - …"
        );
        assert!(run.stderr.contains(&expected), "{run:#?}");
        assert_eq!(run.stdout, "");
    }
}
