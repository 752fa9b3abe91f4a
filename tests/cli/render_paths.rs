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
    // By its name it is found there, too, where its URL is another one.
    let config = format!(
        "{}\nchallenge: {{backends: {{oauth: {{resourceMetadata: \
         https://mcp.example.com/.well-known/oauth-protected-resource/x/mcp}}}}}}\n",
        named(&["oauth"])
    );
    let arguments = [&PUBLIC[..], &auth_server, &["--backend=oauth=a:1"]].concat();
    let run = render(&config, "envoy", &arguments).expect(1);
    assert!(
        run.stderr.contains("are where clients log in; rename it"),
        "{run:#?}"
    );
}

/// What `challenge.backends` says of a backend whose URL has this path.
fn own(name: &str, path: &str) -> String {
    format!(
        "    {name}: {{resourceMetadata: \"https://mcp.example.com/.well-known/\
         oauth-protected-resource{path}\"}}\n"
    )
}

/// The backend that is called at the gateway's own URL may be written first.
#[test]
fn no_metadata_document_hides_a_more_specific_one() {
    let config = format!(
        "{}\nchallenge:\n  backends:\n{}{}",
        named(&["a", "b", "c"]),
        own("a", ""),
        own("c", "/b/c/mcp")
    );
    let issuer = ["--issuer", "https://login.example.com"];
    for target in [
        &["envoy"][..],
        &["istio"],
        &["istio", "--gateway-selector", "istio=ingressgateway"],
    ] {
        let (target, more) = target.split_first().expect("one");
        let run = render(&config, target, &[&PUBLIC[..], &issuer, more].concat()).expect(0);
        let at = |resource: &str| {
            let document = format!(r#"\"resource\":\"{resource}\""#);
            let found: Vec<usize> = run
                .stdout
                .match_indices(&document)
                .map(|(at, _)| at)
                .collect();
            assert_eq!(found.len(), 1, "{resource} {run:#?}");
            found[0]
        };
        let (root, b) = (
            at("https://mcp.example.com"),
            at("https://mcp.example.com/b/mcp"),
        );
        let c = at("https://mcp.example.com/b/c/mcp");
        // Each patch of Istio's goes before those above it.
        match more.is_empty() && *target == "istio" {
            true => assert!(root < b && b < c, "{run:#?}"),
            false => assert!(c < b && b < root, "{run:#?}"),
        }
    }
}

/// A name may lie in another one, and where a URL was chosen both the URL and the name have routes.
#[test]
fn no_route_hides_a_more_specific_one() {
    let all = named(&["a", "a/b", "c", "c/d"]);
    // Both have other URLs, or the inner one alone.
    let config = format!(
        "{all}\nchallenge:\n  backends:\n{}{}{}",
        own("a", "/deep/er/mcp"),
        own("a/b", "/x/mcp"),
        own("c/d", "/y/mcp")
    );
    let probe = ["--health-check-path", "/a/b/healthz"];
    let run = render(&config, "envoy", &[&PUBLIC[..], &probe].concat()).expect(0);
    let at = |matches: &str| {
        let found = run.stdout.match_indices(matches).map(|(at, _)| at);
        let found: Vec<usize> = found.collect();
        assert!(!found.is_empty(), "{matches} {run:#?}");
        found[0]
    };
    for (outer, inner) in [("/a", "/a/b"), ("/c", "/c/d")] {
        let below = |prefix: &str| at(&format!("path_separated_prefix: \"{prefix}\""));
        assert!(below(inner) < below(outer), "{inner} {run:#?}");
        assert!(
            at("{path: \"/a/b/healthz\"}") < below(inner) || inner != "/a/b",
            "{run:#?}"
        );
    }
}

#[test]
fn two_backends_whose_documents_would_be_one_are_refused() {
    let own = |name: &str, host: &str| {
        format!("{name}: {{resourceMetadata: https://{host}/.well-known/oauth-protected-resource}}")
    };
    let config = format!(
        "{}\nchallenge: {{backends: {{{}, {}}}}}\n",
        named(&["a", "b"]),
        own("a", "one.example.com"),
        own("b", "two.example.com")
    );
    for target in ["envoy", "istio"] {
        let issuer = ["--issuer", "https://login.example.com"];
        for more in [&[][..], &["--shared-audience"]] {
            let run = render(&config, target, &[&PUBLIC[..], &issuer, more].concat()).expect(1);
            let expected = "clients of a and b would find one metadata document, which cannot be about \
                            both https://one.example.com and https://two.example.com";
            assert!(run.stderr.contains(expected), "{run:#?}");
        }
    }
}

/// Two backends, the first of which has this URL for its metadata.
fn chosen(url: &str) -> String {
    format!(
        "{}\nchallenge: {{backends: {{a: {{resourceMetadata: {url}}}}}}}\n",
        named(&["a", "b"])
    )
}

const BOTH: [&str; 6] = [
    "--issuer",
    "https://login.example.com",
    "--backend",
    "a=https://a.example.com/mcp",
    "--backend",
    "b=https://b.example.com/mcp",
];

#[test]
fn a_backend_is_where_the_url_of_its_metadata_says() {
    let at = |path: &str| {
        let url = format!("https://mcp.example.com/.well-known/oauth-protected-resource{path}");
        render(&chosen(&url), "envoy", &[&PUBLIC[..], &BOTH].concat())
    };
    for (path, prefix) in [
        ("/x", "/x"),
        ("/x/y/mcp", "/x/y"),
        ("/mcp", "/mcp"),
        ("/x/", "/x"),
    ] {
        let run = at(path).expect(0);
        for part in [
            format!("match: {{path_separated_prefix: \"{prefix}\"}}"),
            format!("match: {{safe_regex: {{regex: \"{prefix}/?\"}}}}"),
            format!("pattern: {{regex: \"^{prefix}/?$\"}}, substitution: \"/mcp\"}}"),
            format!(
                "match: {{path_separated_prefix: \"/.well-known/oauth-protected-resource{prefix}\"}}"
            ),
        ] {
            assert!(run.stdout.contains(&part), "{part}\n{}", run.stdout);
        }
        // After what was chosen: who knows it by its name finds it there, too.
        let own = format!("path_separated_prefix: \"{prefix}\"");
        let by_name = run.stdout.find("path_separated_prefix: \"/a\"");
        assert!(run.stdout.find(&own) < by_name, "{run:#?}");
        let note = format!(
            "a is at https://mcp.example.com{path}, as challenge.backends.a.resourceMetadata says, and \
             below /a for who knows it by its name"
        );
        assert!(run.stderr.contains(&note), "{note}\n{run:#?}");
        let call = format!("http://127.0.0.1:10000{path} ");
        assert!(run.stderr.contains(&call), "{call}\n{run:#?}");
    }
    // Where clients call below it, nothing moves.
    for path in ["", "/a", "/a/mcp", "/a/v1"] {
        let run = at(path).expect(0);
        assert!(
            run.stdout.contains("path_separated_prefix: \"/a\""),
            "{run:#?}"
        );
        assert!(!run.stderr.contains("by its name"), "{run:#?}");
    }
    for (path, expected) in [
        ("/b", "a and b would be at one place"),
        ("/b/mcp", "a and b would be at one place"),
        (
            "/x/../y",
            "no request has the path /x/../y, since Envoy normalizes paths",
        ),
    ] {
        let run = at(path).expect(1);
        assert!(run.stderr.contains(expected), "{expected}\n{run:#?}");
    }
}

#[test]
fn a_backends_host_is_that_of_the_url_of_its_metadata() {
    let at = |url: &str| {
        let all = [&PUBLIC[..], &BOTH, &["--by-host"]].concat();
        render(&chosen(url), "envoy", &all)
    };
    let run = at("https://k.example.org/.well-known/oauth-protected-resource/mcp").expect(0);
    for part in [
        r#"domains: ["k.example.org", "k.example.org:*"]"#,
        r#"audiences: ["https://k.example.org/mcp"]"#,
        r#"domains: ["b.mcp.example.com", "b.mcp.example.com:*"]"#,
    ] {
        assert!(run.stdout.contains(part), "{part}\n{}", run.stdout);
    }
    assert!(!run.stdout.contains("a.mcp.example.com"), "{run:#?}");
    let run = at("https://k.example.org/.well-known/oauth-protected-resource/x").expect(0);
    assert!(
        run.stderr.contains("a backend's paths are its own"),
        "{run:#?}"
    );
    for (url, expected) in [
        (
            "https://mcp.example.com/.well-known/oauth-protected-resource/mcp",
            "challenge.backends.a.resourceMetadata: mcp.example.com is the gateway's own host",
        ),
        (
            "https://b.mcp.example.com/.well-known/oauth-protected-resource/a",
            "a and b would be at one place",
        ),
    ] {
        let run = at(url).expect(1);
        assert!(run.stderr.contains(expected), "{expected}\n{run:#?}");
    }
}

#[test]
fn a_url_at_which_no_document_is_served_is_pointed_out() {
    for target in ["envoy", "envoy-gateway", "istio"] {
        let issuer = ["--issuer", "https://login.example.com"];
        let config = chosen("https://mcp.example.com/doc/a");
        let run = render(&config, target, &[&PUBLIC[..], &issuer].concat()).expect(0);
        let note = "challenge.backends.a.resourceMetadata: nothing in here serves a document at \
                    https://mcp.example.com/doc/a; write \
                    https://mcp.example.com/.well-known/oauth-protected-resource/a/mcp";
        assert!(run.stderr.contains(note), "{run:#?}");
    }
}

/// Else a token for one would serve the other.
#[test]
fn two_backends_have_one_url_only_where_all_share_an_audience() {
    let url = "https://mcp.example.com/.well-known/oauth-protected-resource";
    let config = format!(
        "{}\nchallenge: {{backends: {{a: {{resourceMetadata: {url}}}, b: {{resourceMetadata: {url}/}}}}}}\n",
        named(&["a", "b"])
    );
    for target in ["envoy", "istio"] {
        let issuer = ["--issuer", "https://login.example.com"];
        let arguments = [&PUBLIC[..], &issuer].concat();
        let run = render(&config, target, &arguments).expect(1);
        let expected = "challenge.backends: a and b have one URL, https://mcp.example.com, so that a token \
                        for one serves the other";
        assert!(run.stderr.contains(expected), "{run:#?}");
        render(
            &config,
            target,
            &[&arguments[..], &["--shared-audience"]].concat(),
        )
        .expect(0);
    }
}
