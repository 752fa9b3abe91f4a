//! `render`: where backends and services are, as files and options say it, and what no target can
//! express of that.

use super::render_options::{CONFIG, PUBLIC, render};
use crate::tool::{Run, Workbench};

const SECRET: &str = "hunter77";

fn file(url: &str) -> String {
    format!(
        "name: v\nbackends:\n  - {{name: b, url: https://b.example.com/mcp}}\n  - {{name: a, url: {}}}\n\
         outgoingAuth: {{default: {{type: unauthenticated}}}}\n",
        serde_json::Value::from(url)
    )
}

#[track_caller]
fn assert_says(run: &Run, expected: &str) {
    assert!(run.stderr.contains(expected), "{expected}\n{run:#?}");
    for said in [&run.stdout, &run.stderr] {
        assert!(!said.contains(SECRET), "{run:#?}");
    }
}

#[test]
fn no_option_says_an_address_with_a_password_again() {
    let with_user = &format!("https://u:{SECRET}@a.example.com/mcp");
    let with_query = &format!("https://a.example.com/mcp?key={SECRET}");
    let backend = |url: &str| format!("--backend=a={url}");
    for (arguments, expected) in [
        (
            vec![backend(with_user)],
            "--backend a=https://…: write it without a user name and a password",
        ),
        (
            vec![backend(&format!("u:{SECRET}@a.example.com:80"))],
            "--backend a=…: write it without a user name and a password",
        ),
        (
            vec![backend(with_query)],
            "--backend a=https://a.example.com/mcp?…: write it without its query",
        ),
        (
            vec![format!("--backend={with_query}")],
            "--backend https://a.example.com/mcp?…: write NAME=ADDRESS",
        ),
        (
            vec![format!("--backend=u:{SECRET}@b=a.example.com:80")],
            "--backend …: there is no backend of this name",
        ),
        (
            vec![format!("--identity={with_user}")],
            "--identity https://…: ",
        ),
        (
            vec![format!("--identity=https://i.example.com/token?k={SECRET}")],
            "--identity https://i.example.com/token?…: ",
        ),
        (
            vec![format!("--issuer={with_user}")],
            "--issuer https://…: ",
        ),
        (
            vec![format!("--jwks-url={with_user}")],
            "--jwks-url https://…: ",
        ),
        (
            vec![format!("--public-url={with_user}")],
            "--public-url https://…: ",
        ),
        (
            vec![format!("--public-url={with_query}")],
            "--public-url https://",
        ),
        (
            vec![format!("--ext-authz={with_user}")],
            "--ext-authz https://…: ",
        ),
        (
            vec![format!(
                "--auth-server-address=http://a.example.com/{SECRET}?"
            )],
            "--auth-server-address http://",
        ),
        (vec![format!("--cors={with_user}")], "--cors https://…: "),
        (
            vec![format!("--listen={with_user}")],
            "--listen https://…: ",
        ),
    ] {
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let run = render(CONFIG, "envoy", &arguments).expect(1);
        if !expected.starts_with("--auth-server") {
            assert_says(&run, expected);
        }
        assert_eq!(run.stdout, "");
    }
}

#[test]
fn an_address_of_the_file_is_refused_at_its_place() {
    for (url, expected) in [
        (
            format!("https://u:{SECRET}@a.example.com/mcp?key={SECRET}"),
            "backends[1].url: write it without a user name and a password",
        ),
        (
            format!("https://a.example.com/mcp?key={SECRET}"),
            "backends[1].url: https://a.example.com/mcp?…: write it without its query",
        ),
        (
            "https://a.example.com:0/mcp".to_owned(),
            "backends[1].url: write a port from 1 to 65535",
        ),
        (
            "https://*.example.com/mcp".to_owned(),
            "backends[1].url: write one name or an IP address as its host",
        ),
        (
            "ftp://a.example.com/mcp".to_owned(),
            "backends[1].url: ftp://a.example.com/mcp: write an absolute URL",
        ),
    ] {
        let run = render(&file(&url), "envoy", &[]).expect(1);
        assert_says(&run, expected);
        assert!(!run.stderr.contains("--backend"), "{run:#?}");
        assert_eq!(run.stdout, "");
    }
    // Another address was given.
    let query = file("https://a.example.com/mcp?key=x");
    render(
        &query,
        "envoy",
        &["--backend", "a=https://a.example.com/mcp"],
    )
    .expect(0);
    // The other targets would drop it just so.
    for target in ["envoy-gateway", "istio"] {
        let run = render(&query, target, &[]).expect(1);
        assert_says(
            &run,
            "backends[1].url: https://a.example.com/mcp?…: write it without",
        );
    }
}

#[test]
fn check_tells_of_a_backends_address_what_render_refuses() {
    for (url, code, expected) in [
        (
            format!("https://u:{SECRET}@a.example.com/mcp"),
            1,
            "error: config: backends[1].url: write it without a user name and a password",
        ),
        (
            "https://a.example.com:0/mcp".to_owned(),
            1,
            "error: config: backends[1].url: write a port from 1 to 65535",
        ),
        (
            format!("https://a.example.com/mcp?key={SECRET}"),
            0,
            "warning: config: backends[1].url: its query is sent by vMCP, and by nothing here",
        ),
        (
            "https://".to_owned(),
            0,
            "warning: config: backends[1].url: must be an absolute http or https URL with a host",
        ),
    ] {
        let run = Workbench::with("c.yaml", file(&url))
            .run(&["check", "c.yaml"])
            .expect(code);
        assert!(run.stdout.contains(expected), "{expected}\n{run:#?}");
        assert!(!run.stdout.contains(SECRET), "{run:#?}");
    }
}

/// A server that is mounted at `/mcp/` answers `/mcp` with a redirect, which leads past `/a`.
#[test]
fn a_slash_at_the_end_of_a_backends_path_is_kept() {
    let arguments = [
        &PUBLIC[..],
        &[
            "--issuer",
            "https://login.example.com",
            "--backend",
            "a=https://a.example.com/mcp/",
        ],
    ];
    let run = render(CONFIG, "envoy", &arguments.concat()).expect(0);
    for part in [
        r#"match: {safe_regex: {regex: "/a(?:/mcp)?/?"}}"#,
        r#"regex_rewrite: {pattern: {regex: "^/a(?:/mcp)?/?$"}, substitution: "/mcp/"}"#,
        r#"audiences: ["https://mcp.example.com/a/mcp/"]"#,
        r#"\"resource\":\"https://mcp.example.com/a/mcp/\""#,
    ] {
        assert!(run.stdout.contains(part), "{part}\n{}", run.stdout);
    }
}

#[test]
fn a_port_of_tls_without_tls_is_pointed_out() {
    let run = render(CONFIG, "envoy", &["--backend", "a=a.example.com:443"]).expect(0);
    for part in [
        "--backend a: HOST:PORT is asked without TLS",
        "write https://a.example.com:443 if 443 speaks TLS",
    ] {
        assert!(run.stderr.contains(part), "{part}\n{run:#?}");
    }
    assert!(!run.stdout.contains("as the URL says"), "{run:#?}");
    for said in [
        "http://a.example.com:443",
        "https://a.example.com",
        "a.example.com:80",
    ] {
        let backend = format!("--backend=a={said}");
        let run = render(CONFIG, "envoy", &[&backend]).expect(0);
        assert!(!run.stderr.contains("without TLS"), "{said}\n{run:#?}");
    }
}
