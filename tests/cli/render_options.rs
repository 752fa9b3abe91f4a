//! `render`'s options: what they are taken for, and what is said of one that cannot be meant.

use crate::tool::{Run, Workbench};

pub const CONFIG: &str = "\
authServer: {runConfig: {issuer: https://vmcp.example.com, upstreams: [{name: github}]}}
outgoingAuth:
  backends:
    github-tools: {type: upstream_inject, upstreamInject: {providerName: github}}
    a: {type: unauthenticated}
    a=b: {type: header_injection, headerInjection: {headerName: X-API-Key, headerValueEnv: KEY}}
";
pub const PUBLIC: [&str; 2] = ["--public-url", "https://mcp.example.com"];

pub fn render(config: &str, target: &str, arguments: &[&str]) -> Run {
    let mut all = vec!["render", "c.yaml", "--target", target];
    all.extend(arguments);
    Workbench::with("c.yaml", config).run(&all)
}

#[track_caller]
fn assert_refused(target: &str, arguments: &[&str], expected: &str) {
    let run = render(CONFIG, target, arguments).expect(1);
    assert!(
        run.stderr.contains(expected),
        "{arguments:?}\n{}",
        run.stderr
    );
    assert_eq!(run.stdout, "");
}

#[test]
fn an_address_that_cannot_be_meant_is_refused_with_what_to_write() {
    for (address, expected) in [
        (
            "a=notaport",
            "--backend a=notaport: write HOST:PORT, or a URL",
        ),
        ("a=x:70000", "write HOST:PORT, or a URL"),
        ("a=ftp://x", "write HOST:PORT, or a URL"),
        ("a", "--backend a: write NAME=ADDRESS"),
        ("a=", "write NAME=ADDRESS"),
        ("=x:1", "write NAME=ADDRESS"),
    ] {
        assert_refused("envoy", &["--backend", address], expected);
    }
    let twice = ["--backend", "a=x:1", "--backend", "a=y:1"];
    assert_refused("envoy", &twice, "--backend a is given twice");
}

#[test]
fn a_file_may_stand_behind_any_number_of_origins() {
    let bench = Workbench::with("c.yaml", CONFIG);
    for arguments in [
        &[
            "--cors",
            "http://a.example",
            "https://b.example:8443",
            "c.yaml",
        ][..],
        &[
            "--cors",
            "http://a.example",
            "--cors",
            "https://b.example:8443",
            "c.yaml",
        ],
        &[
            "c.yaml",
            "--cors",
            "http://a.example",
            "https://b.example:8443",
        ],
    ] {
        let all = ["render", "--target", "envoy"].iter().chain(arguments);
        let run = bench.run(&all.copied().collect::<Vec<_>>()).expect(0);
        for origin in ["http://a.example", "https://b.example:8443"] {
            let expected = format!("- {{exact: \"{origin}\"}}");
            assert!(
                run.stdout.contains(&expected),
                "{arguments:?}\n{}",
                run.stdout
            );
        }
    }
}

#[test]
fn an_option_of_another_target_is_refused() {
    for (target, arguments, expected) in [
        (
            "envoy",
            &["--image", "x"][..],
            "--image means nothing to --target envoy",
        ),
        (
            "envoy",
            &["-n", "x"],
            "--namespace means nothing to --target envoy",
        ),
        (
            "envoy",
            &["--gateway", "x"],
            "belongs to --target envoy-gateway and istio",
        ),
        (
            "istio",
            &["--wasm", "x"],
            "--wasm means nothing to --target istio",
        ),
        (
            "istio",
            &["--listen", "127.0.0.1:1"],
            "belongs to --target envoy",
        ),
        (
            "envoy-gateway",
            &["--admin", "127.0.0.1:1"],
            "belongs to --target envoy",
        ),
        ("envoy-gateway", &["--by-host"], "belongs to --target envoy"),
    ] {
        assert_refused(target, arguments, expected);
    }
}

#[test]
fn a_value_that_cannot_be_meant_is_refused_with_what_to_write() {
    for (arguments, expected) in [
        (
            &["--issuer", "vmcp.example.com"][..],
            "--issuer vmcp.example.com: write an absolute URL",
        ),
        (
            &["--public-url", "//x"],
            "--public-url //x: write an absolute URL",
        ),
        (
            &["--public-url", "https://mcp.example.com/a/../b"],
            "no request has the path /a/../b, since Envoy normalizes paths; write it without",
        ),
        (
            &["--public-url", "https://mcp.example.com/a//b/"],
            "no request has the path /a//b/,",
        ),
        (&["--audience", ""], "--audience is empty"),
        (&["--cors", "localhost:1"], "write an origin"),
        (&["--cors", "http://localhost:1/"], "write an origin"),
        (&["--cors", "*"], "write an origin"),
        (
            &["--health-check-path", "healthz"],
            "write the path that is called",
        ),
        (
            &["--health-check-path", "/a/z?x"],
            "write the path that is called",
        ),
        (
            &["--health-check-path", "/nobody/z"],
            "no backend has this path",
        ),
        (&["--auth-server-address", "x"], "write HOST:PORT, or a URL"),
        (
            &["--ext-authz", "x:1", "--identity", "http://127.0.0.1:1"],
            "give one",
        ),
        // Users' tokens do not travel in plain text.
        (
            &["--identity", "http://identity.example.com"],
            "write https://",
        ),
        (&["--identity", "http://10.0.0.1:9193"], "write https://"),
        (&["--by-host"], "--by-host needs --public-url"),
        (
            &["--by-host", "--public-url", "https://mcp.example.com"],
            "a=b.mcp.example.com is no host name",
        ),
    ] {
        assert_refused("envoy", arguments, expected);
    }
    let without_issuer = "outgoingAuth: {default: {type: unauthenticated}}";
    let keys = ["--jwks-url", "https://login.example.com/keys"];
    let run = render(without_issuer, "envoy", &keys).expect(1);
    assert!(
        run.stderr.contains("whose keys? give --issuer"),
        "{}",
        run.stderr
    );
    let identity = ["--identity", "http://127.0.0.1:9193"];
    let run = render(without_issuer, "envoy", &identity).expect(0);
    assert!(
        run.stderr.contains("--identity is not needed"),
        "{}",
        run.stderr
    );
    for (version, expected) in [
        ("1.35", "tested with Envoy 1.36 and later"),
        ("2", "must be a version of Envoy"),
    ] {
        let run = render(CONFIG, "envoy", &["--envoy-version", version]).expect(2);
        assert!(run.stderr.contains(expected), "{}", run.stderr);
    }
}

#[test]
fn an_equals_sign_may_stand_in_a_name_and_in_an_address() {
    for (argument, host, path) in [
        ("a=http://one.example/x=1", "one.example", "/a/x=1"),
        ("a=b=http://two.example/x", "two.example", "/a%3Db/x"),
    ] {
        let options = [&["--backend", argument], &PUBLIC[..]].concat();
        let run = render(CONFIG, "envoy", &options).expect(0);
        for part in [
            format!("address: {host}, port_value: 80"),
            format!("https://mcp.example.com{path}"),
        ] {
            assert!(run.stdout.contains(&part), "{part}\n{}", run.stdout);
        }
    }
}

#[test]
fn the_door_takes_off_whatever_a_strategy_sets() {
    let config = "\
outgoingAuth:
  default: {type: header_injection, headerInjection: {headerName: X-Default, headerValueEnv: A}}
  backends:
    b:
      type: token_exchange
      tokenExchange: {tokenUrl: https://sts.example/t, externalTokenHeaderName: X-Token}
    c: {type: header_injection, headerInjection: {headerName: Authorization, headerValueEnv: B}}
";
    let run = render(config, "envoy", &[]).expect(0);
    let door = "request_headers_to_remove: [authorization, x-default, x-token]\n";
    assert!(run.stdout.contains(door), "{}", run.stdout);
}

#[test]
fn a_metadata_url_of_a_backend_decides_what_tokens_are_issued_for() {
    let config = format!(
        "{CONFIG}challenge:\n  backends:\n    a: {{resourceMetadata: \
         https://mcp.example.com/.well-known/oauth-protected-resource/a/v1, realm: own}}\n"
    );
    let run = render(&config, "envoy", &PUBLIC).expect(0);
    for part in [
        r#"a: {provider_and_audiences: {provider_name: identity, audiences: ["https://mcp.example.com/a/v1"]}}"#,
        r#"\"resource\":\"https://mcp.example.com/a/v1\""#,
        r#"realm=\"own\", resource_metadata=\"https://mcp.example.com/.well-known/oauth-protected-resource/a/v1\""#,
        "realm: own\n",
    ] {
        assert!(run.stdout.contains(part), "{part}\n{}", run.stdout);
    }
}

/// ToolHive gives nobody a refresh token who does not ask for `offline_access`, and clients ask for
/// what the document names.
#[test]
fn a_metadata_document_names_the_scopes_that_its_auth_server_offers() {
    let documents = |config: &str, named: &str| {
        let run = render(config, "envoy", &PUBLIC).expect(0);
        let resources = run.stdout.matches(r#"\"resource\":"#).count();
        assert!(resources > 1, "{}", run.stdout);
        assert_eq!(
            run.stdout.matches(named).count(),
            resources,
            "{named}\n{}",
            run.stdout
        );
    };
    documents(
        CONFIG,
        r#"\"scopes_supported\":[\"openid\",\"profile\",\"email\",\"offline_access\"]"#,
    );
    let own = |key: &str| {
        let list = format!("{{issuer: https://vmcp.example.com, {key}: [openid, mcp, 'no scope']");
        CONFIG.replace("{issuer: https://vmcp.example.com", &list)
    };
    for key in ["scopes_supported", "scopesSupported"] {
        documents(&own(key), r#"\"scopes_supported\":[\"openid\",\"mcp\"]"#);
    }
    // What the challenge asks for comes first.
    let challenge = format!("{CONFIG}challenge: {{realm: mcp, scope: mcp:tools}}\n");
    documents(&challenge, r#"\"scopes_supported\":[\"mcp:tools\"]"#);
}

#[test]
fn tokens_that_others_can_read_on_the_way_are_named() {
    for (arguments, expected) in [
        (&["--ext-authz", "10.0.0.1:9001"][..], "asked in plain text"),
        (
            &["--ext-authz", "127.0.0.1:9001"],
            "an access log that ships it",
        ),
        (
            &["--jwks-url", "http://10.0.0.1/keys"],
            "in plain text: whoever can change them",
        ),
    ] {
        let run = render(CONFIG, "envoy", arguments).expect(0);
        assert!(run.stderr.contains(expected), "{expected}\n{}", run.stderr);
    }
}

#[test]
fn the_smoke_test_is_printed_as_commands() {
    let backend = ["--backend", "github-tools=http://127.0.0.1:1/mcp"];
    let run = render(CONFIG, "envoy", &[&backend[..], &PUBLIC].concat()).expect(0);
    let metadata = "https://mcp.example.com/.well-known/oauth-protected-resource/github-tools/mcp";
    for part in [
        "curl -i http://127.0.0.1:10000/github-tools/mcp",
        &format!("resource_metadata=\"{metadata}\""),
        "curl -s http://127.0.0.1:10000/.well-known/oauth-protected-resource/github-tools",
        "wasmcustom.upstream_inject.backend.github-tools",
    ] {
        assert!(run.stderr.contains(part), "{part}\n{}", run.stderr);
        assert!(run.stdout.contains(part), "{part}\n{}", run.stdout);
    }
}

/// ToolHive keeps the auth server beside the vMCP file, and puts the first upstream where no subject
/// provider is named.
#[test]
fn toolhives_two_files_are_one_configuration() {
    let vmcp = "\
name: trial
backends: [{name: api, url: http://127.0.0.1:17413/mcp, transport: streamable-http}]
incomingAuth:
  type: oidc
  oidc: {issuer: http://127.0.0.1:17500, audience: http://127.0.0.1:17500, resource: http://127.0.0.1:17500}
outgoingAuth:
  source: inline
  backends:
    api:
      type: token_exchange
      tokenExchange: {tokenUrl: http://127.0.0.1:17403/token, audience: https://api.example.com}
";
    let auth_server = "\
issuer: http://127.0.0.1:17500
allowed_audiences: [http://127.0.0.1:17500, http://127.0.0.1:17500/api/mcp]
upstreams:
  - name: corporate-idp
    type: oidc
    oidc_config:
      issuer_url: http://127.0.0.1:17401
      client_id: hunter2
      client_secret_env_var: HUNTER2
      redirect_uri: http://127.0.0.1:17500/oauth/callback
  - name: github
    type: oauth2
    oauth2_config:
      authorization_endpoint: http://127.0.0.1:17402/auth
      token_endpoint: http://127.0.0.1:17402/token
      client_id: hunter2
      userinfo: {endpoint_url: http://127.0.0.1:17402/user}
      redirect_uri: http://127.0.0.1:17500/oauth/callback
storage: {type: memory}
";
    let beside = Workbench::with("config.yaml", vmcp).file("authserver-config.yaml", auth_server);
    let elsewhere = Workbench::with("config.yaml", vmcp).file("other.yaml", auth_server);
    let common = ["render", "config.yaml", "--target", "envoy"];
    for run in [
        beside.run(&common),
        elsewhere.run(&[&common[..], &["--auth-server", "other.yaml"]].concat()),
    ] {
        let run = run.expect(0);
        for part in [
            "subjectProviderName: corporate-idp\n",
            "- name: corporate-idp\n",
            "- name: github\n",
            "source: exchange\n",
            "\"http://127.0.0.1:17500/api/mcp\"",
        ] {
            assert!(run.stdout.contains(part), "{part}\n{}", run.stdout);
        }
        assert!(
            !run.stdout.to_lowercase().contains("hunter2"),
            "{}",
            run.stdout
        );
        assert!(!run.stderr.contains("none is issued"), "{}", run.stderr);
        assert!(run.stderr.contains("corporate-idp"), "{}", run.stderr);
    }
    // Alone it says whom to trust, and nothing of backends.
    let alone = elsewhere
        .run(&["render", "other.yaml", "--target", "envoy"])
        .expect(1);
    assert!(alone.stderr.contains("--auth-server"), "{}", alone.stderr);
    // Nothing that was read is written over.
    for file in ["config.yaml", "authserver-config.yaml"] {
        let before = beside.read(file);
        assert_eq!(beside.run(&[&common[..], &["-o", file]].concat()).code, 2);
        assert_eq!(beside.read(file), before);
    }
}

#[test]
fn a_path_that_is_empty_is_refused() {
    assert_refused("envoy", &["--wasm", ""], "--wasm is empty");
    assert_refused("istio", &["--ca-file", ""], "--ca-file is empty");
}

#[test]
fn a_backend_that_no_service_can_be_called_is_missed_by_name() {
    let config = "outgoingAuth: {backends: {a.b/c: {type: unauthenticated}}}";
    let run = render(config, "istio", &[]).expect(1);
    let expected =
        "--backend a.b/c=… is missing, and no Service can have its name: write the service";
    assert!(run.stderr.contains(expected), "{run:#?}");
}

#[test]
fn what_no_listener_and_no_probe_can_have_is_refused() {
    let one = ["--listen", "127.0.0.1:9000", "--admin", "127.0.0.1:9000"];
    assert_refused(
        "envoy",
        &one,
        "--listen and --admin: both would be on port 9000",
    );
    let any = ["--listen", "0.0.0.0:9901"];
    assert_refused(
        "envoy",
        &any,
        "--listen and --admin: both would be on port 9901",
    );
    // Any port that is free.
    let free = ["--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"];
    render(CONFIG, "envoy", &free).expect(0);
    for path in ["/a/../oauth", "/a//b", "/a/%2Fb", "/a/./b"] {
        let probe = format!("--health-check-path={path}");
        assert_refused("envoy", &[&probe], "as Envoy normalizes it: no /../");
    }
}

#[test]
fn no_envoy_that_cannot_sign_gets_a_client_with_a_key() {
    let config = "\
outgoingAuth:
  backends:
    a:
      type: token_exchange
      tokenExchange: {tokenUrl: https://sts.example/t, clientId: me, clientKeyEnv: KEY}
";
    for (version, code) in [("1.36", 1), ("1.37", 0)] {
        let run = render(config, "envoy", &["--envoy-version", version]).expect(code);
        let said = run
            .stderr
            .contains("private_key_jwt: Envoy signs from 1.37 on");
        assert_eq!(said, code == 1, "{run:#?}");
    }
}
