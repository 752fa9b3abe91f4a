//! What is particular to Envoy Gateway and Istio in what `render` writes, as far as that shows without
//! them.

use crate::tool::{Run, Workbench};

const CONFIG: &str = "\
authServer: {runConfig: {issuer: \"https://vmcp.example.com\", upstreams: [{name: github}]}}
outgoingAuth:
  backends:
    github-tools: {type: upstream_inject, upstreamInject: {providerName: github}}
";

const NOT_ASKED: &str = "type.googleapis.com/envoy.extensions.filters.http.ext_authz.v3.ExtAuthzPerRoute, disabled: true";

fn render(config: &str, arguments: &[&str]) -> Run {
    let all = [
        &["render", "c.yaml", "--public-url=https://mcp.example.com"],
        arguments,
    ]
    .concat();
    Workbench::with("c.yaml", config).run(&all)
}

#[test]
fn nobody_is_asked_about_requests_that_need_no_token() {
    let ext_authz = "--ext-authz=https://identity.mcp.svc.cluster.local:9191";
    let auth_server = "--auth-server-address=vmcp.mcp.svc.cluster.local:4483";
    for (arguments, expected) in [
        // The documents' and the auth server's routes, by one patch each.
        (&["--target=envoy-gateway"][..], 2),
        // The two documents, and five routes to the auth server.
        (&["--target=istio"], 7),
        (
            &["--target=istio", "--gateway-selector=istio=ingressgateway"],
            7,
        ),
    ] {
        let run = render(CONFIG, &[arguments, &[ext_authz, auth_server]].concat()).expect(0);
        let found = run.stdout.matches(NOT_ASKED).count();
        assert_eq!(found, expected, "{arguments:?}\n{}", run.stdout);
        let run = render(CONFIG, &[arguments, &[auth_server]].concat()).expect(0);
        assert!(!run.stdout.contains(NOT_ASKED), "{arguments:?}");
    }
}

#[test]
fn each_listener_gets_the_patches_and_those_of_one_port_are_one() {
    let run = render(
        CONFIG,
        &[
            "--target=envoy-gateway",
            "--namespace=mcp",
            "--gateway=gw",
            "--listener=a:80",
            "--listener=b:80",
            "--listener=c:443:HTTPS",
            "--listener=d:443:HTTPS",
        ],
    )
    .expect(0);
    let patches = |kind: &str, name: &str| {
        let patch =
            format!("- type: type.googleapis.com/envoy.config.{kind}\n      name: mcp/gw/{name}\n");
        run.stdout.matches(&patch).count()
    };
    for (name, is_listener, has_routes) in [
        ("a", true, true),
        ("b", false, false),
        ("c", true, true),
        ("d", false, true),
    ] {
        let found = patches("listener.v3.Listener", name) > 0;
        assert_eq!(found, is_listener, "{name}");
        let found = patches("route.v3.RouteConfiguration", name) > 0;
        assert_eq!(found, has_routes, "{name}");
        let parent = format!("- {{name: gw, sectionName: {name}}}");
        assert!(run.stdout.contains(&parent), "{name}");
    }
    assert_eq!(run.stdout.matches("upstream_http_filters").count(), 2);
}

#[test]
fn a_route_with_more_rules_than_gateway_api_allows_is_an_error() {
    let backends: String = (0..17)
        .map(|number| format!("    b{number}: {{type: unauthenticated}}\n"))
        .collect();
    let config = format!("outgoingAuth:\n  backends:\n{backends}");
    let all: Vec<String> = (0..17)
        .map(|number| format!("--backend=b{number}=mcp/all/r{number}"))
        .collect();
    let mut arguments = vec!["--target=envoy-gateway"];
    arguments.extend(all.iter().map(String::as_str));
    let run = render(&config, &arguments).expect(1);
    assert!(run.stderr.contains("would have 17 rules"), "{}", run.stderr);
    // Routes of their own, or those that Istio's target makes itself, are as many as are needed.
    render(&config, &["--target=envoy-gateway"]).expect(0);
    let run = render(&config, &["--target=istio"]).expect(0);
    assert_eq!(run.stdout.matches("kind: HTTPRoute").count(), 2);
}

#[test]
fn a_classic_gateway_is_selected_by_label_and_has_a_virtual_service() {
    let run = render(
        CONFIG,
        &["--target=istio", "--gateway-selector=istio=ingressgateway"],
    )
    .expect(0);
    for part in [
        "workloadSelector: {labels: {\"istio\": \"ingressgateway\"}}",
        "selector: {matchLabels: {\"istio\": \"ingressgateway\"}}",
        "kind: VirtualService",
        "directResponse:",
        "remove: [authorization]",
    ] {
        assert!(run.stdout.contains(part), "{part}\n{}", run.stdout);
    }
    for part in ["targetRefs", "kind: HTTPRoute"] {
        assert!(!run.stdout.contains(part), "{part}");
    }
}

#[test]
fn a_vmcp_file_says_which_services_and_paths_there_are() {
    let config = "\
name: tools
outgoingAuth: {default: {type: unauthenticated}}
backends:
  - {name: wiki, url: 'http://mcp-wiki-proxy.tools.svc.cluster.local:8080/sse', transport: sse}
  - {name: docs, url: 'https://docs.example.com/mcp', transport: streamable-http}
  - {name: one, url: 'https://both.example.com/one', transport: streamable-http}
  - {name: two, url: 'https://both.example.com/two', transport: streamable-http}
  - {name: near, url: 'http://10.0.0.1:80/mcp', transport: streamable-http}
";
    let issuer = "--issuer=https://login.example.com";
    let run = render(config, &["--target=istio", issuer]).expect(0);
    for part in [
        "#   wiki: outbound|8080||mcp-wiki-proxy.tools.svc.cluster.local\n",
        "#   docs: outbound|443||docs.example.com\n",
        "https://mcp.example.com/wiki/sse",
    ] {
        assert!(run.stdout.contains(part), "{part}\n{}", run.stdout);
    }
    // Istio has one cluster for both, and none for an address: those have to be told.
    let guessed = "assumed: one.default.svc.cluster.local:80, two.default.svc.cluster.local:80, \
                   near.default.svc.cluster.local:80";
    assert!(run.stderr.contains(guessed), "{}", run.stderr);
    let given = "--backend=wiki=wiki.other.svc.cluster.local:1";
    let run = render(config, &["--target=istio", issuer, given]).expect(0);
    assert!(
        run.stdout.contains("wiki: outbound|1||wiki.other."),
        "{}",
        run.stdout
    );
}

/// The filter's own challenge and the one in front of it must send clients to the same place, or they
/// log in for ever.
#[test]
fn the_first_challenge_of_a_backend_is_what_the_file_says_of_it() {
    let document = "https://mcp.example.com/.well-known/oauth-protected-resource/gh/mcp";
    let config = format!(
        "{CONFIG}    other: {{type: unauthenticated}}\nchallenge:\n  scope: all\n  backends:\n    \
         github-tools: {{realm: 5%, scope: repo, resourceMetadata: \"{document}\"}}\n"
    );
    for (target, names) in [
        ("envoy-gateway", ["mcp/github-tools", "mcp/other"]),
        (
            "istio",
            [
                "outbound|80||github-tools.mcp.svc.cluster.local",
                "outbound|80||other.mcp.svc.cluster.local",
            ],
        ),
    ] {
        let run = render(&config, &["--target", target, "--namespace=mcp"]).expect(0);
        // An operator of Envoy's begins with %.
        let parameters =
            format!(r#"realm=\"5%%\", scope=\"repo\", resource_metadata=\"{document}\""#);
        let other = "https://mcp.example.com/.well-known/oauth-protected-resource/other/mcp";
        for part in [
            "(request.url_path == '/gh' || request.url_path.startsWith('/gh/')) && (",
            "value: \"/gh\"}",
            &format!(r#"value: "Bearer {parameters}""#),
            &format!(r#"value: "Bearer error=\"invalid_token\", {parameters}""#),
            &format!(r#"log in","backend":"{}"}}'"#, names[0]),
            &format!(r#"try again later","backend":"{}"}}'"#, names[1]),
            &format!(r#"value: "Bearer scope=\"all\", resource_metadata=\"{other}\"""#),
        ] {
            assert!(
                run.stdout.contains(part),
                "{target}: {part}\n{}",
                run.stdout
            );
        }
    }
}

#[test]
fn a_url_of_a_backend_that_no_route_leads_to_is_an_error() {
    let url = "https://mcp.example.com/.well-known/oauth-protected-resource/gh/v1";
    let config = format!(
        "{CONFIG}challenge: {{backends: {{github-tools: {{resourceMetadata: \"{url}\"}}}}}}\n"
    );
    for target in ["--target=envoy-gateway", "--target=istio"] {
        let run = render(&config, &[target]).expect(1);
        let expected = "/gh/v1 does not end in /mcp, where the backend serves; write a URL whose path is \
                        /github-tools/mcp, or";
        assert!(run.stderr.contains(expected), "{}", run.stderr);
    }
}

#[test]
fn istios_routes_take_the_hosts_of_every_url_that_clients_are_told() {
    let config = format!(
        "{CONFIG}challenge: {{backends: {{github-tools: {{resourceMetadata: \
         \"https://GitHub.example.com/.well-known/oauth-protected-resource/github-tools/mcp\"}}}}}}\n"
    );
    let hosts = r#"["mcp.example.com", "github.example.com"]"#;
    let run = render(&config, &["--target=istio"]).expect(0);
    let expected = format!("  hostnames: {hosts}\n");
    assert!(run.stdout.contains(&expected), "{}", run.stdout);
    let selector = "--gateway-selector=istio=ingressgateway";
    let run = render(&config, &["--target=istio", selector]).expect(0);
    let expected = format!("  hosts: {hosts}\n");
    assert!(run.stdout.contains(&expected), "{}", run.stdout);
}

#[test]
fn no_backend_has_a_route_that_is_called_like_one_of_ours() {
    for route in [
        "upstream-inject-metadata-1",
        "upstream-inject-metadata",
        "upstream-inject-auth-server",
        "upstream-inject-probes/rule",
    ] {
        let address = format!("--backend=github-tools=default/{route}");
        let run = render(CONFIG, &["--target=envoy-gateway", &address]).expect(1);
        let expected =
            "this is what HTTPRoutes of ours are called; give the backend's route another name";
        assert!(run.stderr.contains(expected), "{}", run.stderr);
    }
}

#[test]
fn the_cluster_of_the_identity_service_is_called_what_it_is() {
    let identity = "--identity=https://id.mcp.svc:9193";
    let run = render(CONFIG, &["--target=envoy-gateway", identity]).expect(0);
    let comment = "# The identity service, where the filter gets upstream tokens.\n          name: upstream-inject-identity\n";
    assert!(run.stdout.contains(comment), "{}", run.stdout);
}
