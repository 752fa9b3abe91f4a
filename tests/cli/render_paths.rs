//! `render`: the paths that clients call, which follow from the names of backends.

use super::render_options::{PUBLIC, render};

fn named(names: &[&str]) -> String {
    let backends: Vec<String> = names
        .iter()
        .map(|name| {
            format!(
                "{}: {{type: unauthenticated}}",
                serde_json::Value::from(*name)
            )
        })
        .collect();
    format!("outgoingAuth: {{backends: {{{}}}}}", backends.join(", "))
}

#[test]
fn a_name_with_braces_is_a_name() {
    for name in ["{{ x }}", "{{wasm}}", "{{>clusters}}"] {
        let run = render(&named(&[name]), "envoy", &PUBLIC).expect(0);
        assert!(
            run.stdout.contains("path_separated_prefix: \"/%7B%7B"),
            "{run:#?}"
        );
    }
}

#[test]
fn a_slash_in_a_name_is_one_in_the_path_and_the_longer_path_comes_first() {
    // An escaped one would be refused at the door.
    let config = named(&["tools", "tools/api"]);
    let issuer = ["--issuer", "https://login.example.com"];
    let run = render(&config, "envoy", &[&PUBLIC[..], &issuer].concat()).expect(0);
    assert!(!run.stdout.contains("%2F"), "{run:#?}");
    for (longer, shorter) in [
        (
            "match: {path_separated_prefix: \"/tools/api\"}",
            "match: {path_separated_prefix: \"/tools\"}",
        ),
        (
            "oauth-protected-resource/tools/api\"}",
            "oauth-protected-resource/tools\"}",
        ),
    ] {
        let (longer, shorter) = (run.stdout.find(longer), run.stdout.find(shorter));
        assert!(
            longer.is_some() && longer < shorter,
            "{longer:?} {shorter:?} {run:#?}"
        );
    }
    for name in [".", "..", "a//b", "/a", "a/", "a/../b"] {
        let run = render(&named(&[name]), "envoy", &PUBLIC).expect(1);
        assert!(
            run.stderr
                .contains("is no path, since Envoy normalizes paths"),
            "{run:#?}"
        );
    }
}

#[test]
fn no_backend_has_the_paths_at_which_clients_log_in() {
    let auth_server = [
        "--issuer",
        "https://mcp.example.com",
        "--auth-server-address",
        "vmcp.mcp.svc.cluster.local:4483",
    ];
    for (target, address) in [
        ("envoy", "a:1"),
        ("envoy-gateway", "mcp/a"),
        ("istio", "a.mcp.svc.cluster.local:1"),
    ] {
        for name in ["oauth", "oauth/x", ".well-known"] {
            let backend = format!("--backend={name}={address}");
            let arguments = [&PUBLIC[..], &auth_server, &[backend.as_str()]].concat();
            let run = render(&named(&[name]), target, &arguments).expect(1);
            assert!(
                run.stderr.contains("are where clients log in; rename it"),
                "{run:#?}"
            );
        }
    }
}
