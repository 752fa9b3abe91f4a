//! `render`: what it writes, as far as that shows without a proxy. That Envoy takes it and serves,
//! and that the published schemas allow it, is tested in `tests/envoy/rendered.rs`.

use crate::tool::{Run, Workbench};

const CONFIG: &str = "\
authServer:
  runConfig:
    issuer: https://vmcp.example.com
    signing_key_config: {key_file: hunter2}
    upstreams: [{name: github, client_secret_env_var: hunter2}, {}]
    allowed_audiences: [https://mcp.example.com]
outgoingAuth:
  default: {type: unauthenticated}
  backends:
    github-tools: {type: upstream_inject, upstreamInject: {providerName: github}}
    corporate-api:
      type: token_exchange
      tokenExchange:
        tokenUrl: https://sts.example.com:8443/token
        clientId: envoy
        clientSecret: hunter2
        subjectProviderName: default
    other-api:
      type: token_exchange
      tokenExchange: {tokenUrl: \"https://sts.example.com:8443/other\", subjectProviderName: github}
    internal:
      type: header_injection
      headerInjection: {headerName: X-API-Key, headerValueEnv: INTERNAL}
";

fn render(config: &str, arguments: &[&str]) -> Run {
    let mut all = vec!["render", "c.yaml"];
    all.extend(arguments);
    Workbench::with("c.yaml", config).run(&all)
}

#[track_caller]
fn assert_holds(run: &Run, parts: &[&str]) {
    for part in parts {
        assert!(run.stdout.contains(part), "{part}\n{}", run.stdout);
    }
}

#[test]
fn secrets_become_variables_and_the_auth_servers_own_settings_stay_out() {
    for target in ["envoy", "envoy-gateway", "istio"] {
        let run = render(CONFIG, &["--target", target]).expect(0);
        assert!(!run.stdout.contains("hunter2"), "{}", run.stdout);
        assert_holds(
            &run,
            &[
                "clientSecretEnv: UPSTREAM_INJECT_CORPORATE_API_CLIENT_SECRET",
                "INTERNAL",
                "- name: github\n",
                "- name: default\n",
            ],
        );
        assert!(
            run.stderr.contains(
                "put it into the environment variable UPSTREAM_INJECT_CORPORATE_API_CLIENT_SECRET"
            ),
            "{}",
            run.stderr
        );
    }
}

#[test]
fn every_variable_reaches_the_filter() {
    let run = render(CONFIG, &["--target", "envoy"]).expect(0);
    assert_holds(
        &run,
        &[
            "host_env_keys:",
            "- INTERNAL\n",
            "- UPSTREAM_INJECT_CORPORATE_API_CLIENT_SECRET\n",
        ],
    );
    let identity = ["--identity", "http://identity.mcp.svc:9193"];
    let of = |target| [&["--target", target], &identity[..]].concat();
    let run = render(CONFIG, &of("envoy-gateway")).expect(0);
    assert_holds(
        &run,
        &[
            "- INTERNAL\n",
            "- UPSTREAM_INJECT_CORPORATE_API_CLIENT_SECRET\n",
            "secretKeyRef: {name: upstream-inject, key: INTERNAL}",
        ],
    );
    let run = render(CONFIG, &of("istio")).expect(0);
    assert_holds(&run, &["- INTERNAL\n"]);
    // Beyond the cluster the filter is a client of the identity service, with a secret.
    let run = render(
        CONFIG,
        &[
            "--target",
            "envoy",
            "--identity",
            "https://identity.example.com",
        ],
    )
    .expect(0);
    assert_holds(
        &run,
        &[
            "- IDENTITY_CLIENT_SECRET\n",
            "clientSecretEnv: IDENTITY_CLIENT_SECRET\n",
        ],
    );
}

#[test]
fn backends_and_sts_clusters_get_the_names_that_the_control_plane_gives_them() {
    let run = render(
        CONFIG,
        &[
            "--target",
            "envoy-gateway",
            "-n",
            "mcp",
            "--backend",
            "github-tools=team/gh-route/two",
            "--backend",
            "internal=team/gh-route",
            "--backend",
            "extra=mcp/extra",
            "--listener",
            "web:8080",
        ],
    )
    .expect(0);
    assert_holds(
        &run,
        &[
            "backendFrom: gateway_route\n",
            " team/gh-route/two:\n",
            " team/gh-route:\n",
            " mcp/corporate-api:\n",
            "cluster: \"sts.example.com:8443\"",
            "name: \"sts.example.com:8443\"",
            "name: mcp/gateway/web\n",
            "{name: gateway, namespace: mcp, sectionName: web}",
            "{name: gateway, sectionName: web}",
        ],
    );
    let run = render(
        CONFIG,
        &[
            "--target",
            "istio",
            "-n",
            "mcp",
            "--backend",
            "github-tools=gh.team.svc.cluster.local:8080/v1/v2",
            "--backend",
            "internal=outbound|80|v1|internal.mcp.svc.cluster.local",
        ],
    )
    .expect(0);
    assert_holds(
        &run,
        &[
            "\"outbound|8080||gh.team.svc.cluster.local\":\n",
            "\"outbound|8080|v1|gh.team.svc.cluster.local\":\n",
            "\"outbound|8080|v2|gh.team.svc.cluster.local\":\n",
            "\"outbound|80|v1|internal.mcp.svc.cluster.local\":\n",
            "\"outbound|80||corporate-api.mcp.svc.cluster.local\":\n",
            "cluster: \"outbound|8443||sts.example.com\"",
        ],
    );
    assert_eq!(
        run.stdout.matches("hosts: [sts.example.com]").count(),
        1,
        "one for both exchanges"
    );
}

#[test]
fn a_whole_vmcp_file_says_where_its_backends_are() {
    let vmcp = format!(
        "name: v\nbackends:\n  - {{name: github-tools, url: \"https://gh.example.com/mcp\", transport: \
         streamable-http}}\nincomingAuth: {{type: oidc, oidc: {{issuer: https://vmcp.example.com, \
         audience: https://mcp.example.com}}}}\n{CONFIG}"
    );
    let run = render(&vmcp, &["--target", "envoy"]).expect(0);
    assert_holds(
        &run,
        &[
            "address: gh.example.com, port_value: 443",
            "sni: gh.example.com",
            "host_rewrite_literal: gh.example.com",
            "substitution: \"/mcp\"",
            "audiences: [\"https://mcp.example.com\"]",
        ],
    );
    assert!(
        !run.stdout.contains("transport: streamable"),
        "{}",
        run.stdout
    );
}

#[test]
fn what_nobody_has_said_fails_closed_and_is_named() {
    let run = render(CONFIG, &["--target", "envoy"]).expect(0);
    assert_holds(
        &run,
        &[
            "github-tools.invalid",
            "tokenUrl: http://127.0.0.1:9193/token\n",
            "# To do:",
        ],
    );
    for missing in [
        "--backend github-tools=",
        "--backend internal=",
        "--identity is missing",
        "give --public-url",
    ] {
        assert!(run.stderr.contains(missing), "{}", run.stderr);
    }
    let open = "outgoingAuth: {default: {type: unauthenticated}}";
    let run = render(open, &["--target", "istio"]).expect(0);
    assert!(run.stderr.contains("no issuer is known"), "{}", run.stderr);
}

#[test]
fn sts_clusters_verify_the_certificate() {
    let run = render(CONFIG, &["--target", "envoy", "--ca-file", "/ca.pem"]).expect(0);
    assert_holds(
        &run,
        &[
            "sni: sts.example.com\n",
            "trusted_ca: {filename: \"/ca.pem\"}",
            "{san_type: DNS, matcher: {exact: sts.example.com}}",
            "outlier_detection:",
        ],
    );
    let address = CONFIG.replace("sts.example.com:8443", "[::1]:8443");
    let run = render(&address, &["--target", "envoy"]).expect(0);
    assert_holds(
        &run,
        &[
            "{san_type: IP_ADDRESS, matcher: {exact: \"::1\"}}",
            "address: \"::1\"",
        ],
    );
    let plain = CONFIG.replace("https://sts.example.com:8443", "http://localhost:8080");
    let run = render(&plain, &["--target", "envoy"]).expect(0);
    assert_holds(
        &run,
        &[
            "address: localhost, port_value: 8080",
            "# Without TLS: its address is no https URL.",
        ],
    );
}

#[test]
fn names_that_collide_are_errors_and_nothing_is_written() {
    let two_places = CONFIG
        .replace(
            "{tokenUrl: \"https://sts.example.com:8443/other\",",
            "{cluster: sts, tokenUrl: https://other.example/t,",
        )
        .replace("clientId: envoy", "cluster: sts, clientId: envoy")
        .replace(
            "        cluster: sts, clientId: envoy",
            "        cluster: sts\n        clientId: envoy",
        );
    for (config, arguments, expected) in [
        (
            two_places.as_str(),
            &["--target", "envoy"][..],
            "name the same cluster, \"sts\"",
        ),
        (
            &CONFIG.replace("internal:", "identity-keys:"),
            &["--target", "envoy"],
            "two clusters would be called \"identity-keys\"",
        ),
        (
            CONFIG,
            &[
                "--target",
                "istio",
                "--backend",
                "internal=a.b:1",
                "--backend",
                "other-api=a.b:1",
            ],
            "one service is one backend",
        ),
        (
            &CONFIG.replace("  default: {type: unauthenticated}\n", ""),
            &["--target", "envoy", "--backend", "nobody=a:1"],
            "there is no backend of this name",
        ),
        (
            CONFIG,
            &["--target", "envoy", "--backend", "internal=ftp://a"],
            "write HOST:PORT, or a URL",
        ),
        (
            CONFIG,
            &["--target", "envoy-gateway", "--backend", "internal=a"],
            "write NAMESPACE/HTTPROUTE",
        ),
        (
            CONFIG,
            &[
                "--target",
                "envoy-gateway",
                "--backend",
                "internal=httproute/mcp/a/rule/0",
            ],
            "write NAMESPACE/HTTPROUTE",
        ),
        (
            CONFIG,
            &[
                "--target",
                "envoy-gateway",
                "--backend",
                "internal=mcp/a",
                "--backend",
                "other-api=mcp/a",
            ],
            "give each a rule of its own",
        ),
        (
            CONFIG,
            &["--target", "envoy-gateway", "--listener", "http"],
            "write NAME:PORT as the Gateway has them",
        ),
        (
            CONFIG,
            &["--target", "istio", "--listener", "http:80"],
            "--listener means nothing to --target istio",
        ),
        (
            CONFIG,
            &["--target", "istio", "--backend", "internal=internal:80"],
            "write the service as Istio knows it",
        ),
        (
            CONFIG,
            &["--target", "istio", "--identity", "https://identity:9193"],
            "write identity.NAMESPACE.svc.cluster.local",
        ),
        (
            CONFIG,
            &["--target", "istio", "--identity", "https://10.0.0.5:9193"],
            "make a ServiceEntry",
        ),
        (
            CONFIG,
            &[
                "--target",
                "envoy-gateway",
                "--auth-server-address",
                "vmcp.example.com:4483",
            ],
            "write NAME.NAMESPACE.svc.cluster.local:PORT",
        ),
        (
            CONFIG,
            &["--target", "envoy", "--listen", "localhost:80"],
            "not an IP address and a port",
        ),
        (
            CONFIG,
            &["--target", "envoy", "--jwks-url", "x:y"],
            "write an absolute URL",
        ),
        (
            &CONFIG.replace("providerName: github", "providerName: gitlab"),
            &["--target", "istio"],
            "V-02",
        ),
    ] {
        let bench = Workbench::with("c.yaml", config);
        let mut all = vec!["render", "c.yaml", "-o", "out.yaml"];
        all.extend(arguments);
        let run = bench.run(&all).expect(1);
        assert!(run.stderr.contains(expected), "{expected}\n{}", run.stderr);
        assert_eq!(
            (run.stdout.as_str(), bench.list()),
            ("", vec!["c.yaml".to_owned()])
        );
    }
}

#[test]
fn names_that_need_quoting_are_quoted_everywhere() {
    let odd = "a b: \"c\" # {{wasm}} ü\\n";
    let config = format!(
        "outgoingAuth: {{backends: {{{}: {{type: unauthenticated}}}}}}",
        serde_json::Value::from(odd)
    );
    for target in ["envoy", "envoy-gateway", "istio"] {
        let run = render(&config, &["--target", target]);
        // Either it is rendered and can be read back, or it is refused; never something broken.
        if run.code == 0 {
            let bench = Workbench::with("out.yaml", &run.stdout);
            let read = bench.run(&["check", "--as", "plugin", "out.yaml"]);
            assert_ne!(read.code, 2, "{}\n{}", read.stdout, run.stdout);
        } else {
            assert_eq!((run.code, run.stdout.as_str()), (1, ""), "{run:#?}");
        }
    }
}

#[test]
fn where_clusters_have_names_of_their_own_backends_are_found_by_them() {
    let config = format!("backendFrom: route_name\n{CONFIG}");
    let run = render(&config, &["--target", "istio"]).expect(0);
    assert!(!run.stdout.contains("backendFrom: "), "{}", run.stdout);
    assert!(
        run.stderr.contains("backendFrom is left out"),
        "{}",
        run.stderr
    );
    let run = render(&config, &["--target", "envoy-gateway"]).expect(0);
    assert_holds(&run, &["backendFrom: gateway_route\n"]);
    assert!(
        run.stderr
            .contains("backendFrom: route_name becomes gateway_route"),
        "{}",
        run.stderr
    );
    for target in ["envoy-gateway", "istio"] {
        let run = render(CONFIG, &["--target", target]).expect(0);
        assert!(!run.stderr.contains("backendFrom"), "{}", run.stderr);
    }
}

#[test]
fn a_backend_is_found_wherever_the_configuration_says_its_name_comes_from() {
    for (backend_from, expected) in [
        ("cluster_name", "cluster: github-tools\n"),
        ("route_name", "- name: github-tools\n"),
        ("route_metadata", "upstream_inject:\n"),
    ] {
        let config = format!("backendFrom: {backend_from}\n{CONFIG}");
        let run = render(&config, &["--target", "envoy"]).expect(0);
        assert_holds(&run, &[expected, &format!("backendFrom: {backend_from}\n")]);
    }
}
