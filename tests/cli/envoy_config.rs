//! `check` of Envoy's own configuration: a bootstrap, a live `config_dump`, resources.

use crate::tool::{Run, Workbench, repository};
use serde_json::{Value, json};

/// A bootstrap in which everything is as it should be.
const BOOTSTRAP: &str = include_str!("fixtures/envoy.yaml");

fn check(text: &str) -> Run {
    Workbench::with("envoy.yaml", text).run(&["check", "envoy.yaml"])
}

fn changed(from: &str, to: &str) -> Run {
    let text = BOOTSTRAP.replacen(from, to, 1);
    assert_ne!(text, BOOTSTRAP, "{from:?} is in there");
    check(&text)
}

#[test]
fn a_bootstrap_that_is_right_is_valid() {
    let run = check(BOOTSTRAP).expect(0);
    assert_eq!(
        run.lines(),
        ["envoy.yaml: valid (read as a configuration of Envoy)"]
    );
}

#[test]
fn what_leaks_or_cannot_work_is_an_error_at_its_place() {
    for (from, to, code) in [
        (
            "            request_headers_to_remove: [authorization, x-api-key]\n",
            "",
            "envoy-door",
        ),
        (
            "route: {cluster: github-tools, timeout: 0s}",
            "route: {cluster: github-tools, timeout: 0s, internal_redirect_policy: {}}",
            "envoy-redirect",
        ),
        (
            "route: {cluster: github-tools, timeout: 0s}",
            "route: {cluster: github-tools, timeout: 0s}\n                request_headers_to_add: [{header: {key: authorization, value: \"%REQ(authorization)%\"}}]",
            "envoy-operator",
        ),
        (
            "  - name: github-tools\n",
            "  - name: github-tools\n    typed_extension_protocol_options: {envoy.extensions.upstreams.http.v3.HttpProtocolOptions: {http_filters: [{name: envoy.filters.http.header_mutation}]}}\n",
            "envoy-goes-by",
        ),
        (
            "  - name: github-tools\n",
            "  - name: github-tools\n    cluster_type: {name: envoy.clusters.dynamic_forward_proxy}\n",
            "envoy-target",
        ),
        (", subjectProviderName: corp}", "}", "token-from"),
        (
            "failure_policy: FAIL_RELOAD",
            "failure_policy: FAIL_OPEN",
            "envoy-fail-open",
        ),
        (
            "host_env_keys: [STS_SECRET, KEY]",
            "host_env_keys: [KEY]",
            "variable",
        ),
        ("  - name: sts\n", "  - name: stss\n", "envoy-sts-cluster"),
        ("providerName: github}", "providerName: githib}", "V-02"),
        (
            "{\"resource\":\"https://mcp.example.com/github-tools/mcp\"",
            "{\"resource\":\"https://mcp.example.com/other/mcp\"",
            "allowed-audience",
        ),
        (
            "match: {prefix: /github-tools/}\n",
            "match: {prefix: /github-tools/}\n                typed_per_filter_config: {upstream_inject: {\"@type\": type.googleapis.com/envoy.config.route.v3.FilterConfig, disabled: true}}\n",
            "envoy-off",
        ),
    ] {
        let run = changed(from, to).expect(1);
        assert!(
            run.stdout.contains(&format!("[{code}]")),
            "{code}\n{}",
            run.stdout
        );
        assert!(run.stdout.contains(": error: "), "{code}\n{}", run.stdout);
    }
}

#[test]
fn what_is_unwise_is_a_warning() {
    for (from, to, code) in [
        (
            "[authorization, x-api-key]",
            "[authorization]",
            "envoy-door",
        ),
        (
            "route: {cluster: corporate-api, timeout: 0s}",
            "route: {cluster: corporate-api, timeout: 3s}",
            "envoy-timeout",
        ),
        (
            "              domains: [\"*\"]\n",
            "              domains: [\"*\"]\n              retry_policy: {retry_on: reset, per_try_timeout: 3s}\n",
            "envoy-timeout",
        ),
        (
            "              domains: [\"*\"]\n",
            "              domains: [\"*\"]\n              retry_policy: {retry_on: reset, per_try_idle_timeout: 3s}\n",
            "envoy-timeout",
        ),
        (
            "route: {cluster: corporate-api, timeout: 0s}",
            "route: {cluster: sts, timeout: 0s}",
            "envoy-sts",
        ),
        (
            "                  forward: true\n",
            "                  forward: true\n                  remote_jwks: {http_uri: {uri: \"http://keys.example.com/jwks\", cluster: vmcp}}\n",
            "envoy-plain",
        ),
        (
            "path: \"%PATH(NQ:ORIG_OR_PATH)%\"",
            "path: \"%DYNAMIC_METADATA(envoy.filters.http.ext_authz)%\"",
            "envoy-log",
        ),
        (
            "type.googleapis.com/envoy.extensions.access_loggers.stream.v3.StdoutAccessLog",
            "type.googleapis.com/envoy.extensions.access_loggers.grpc.v3.HttpGrpcAccessLogConfig",
            "envoy-log",
        ),
    ] {
        let run = changed(from, to).expect(0);
        assert!(
            run.stdout.contains(&format!("[{code}]")),
            "{code}\n{}",
            run.stdout
        );
    }
}

#[test]
fn what_hands_the_token_on_is_known_by_any_of_its_names() {
    let route = "route: {cluster: github-tools, timeout: 0s}";
    let adds = |key: &str, value: &str| {
        format!("{route}\n                {key}: [{{header: {{key: x-a, value: '{value}'}}}}]")
    };
    for (key, value, is_wrong) in [
        ("request_headers_to_add", "%REQ(x-a?Authorization)%", true),
        (
            "request_headers_to_add",
            "%CEL(request.headers[\"authorization\"])%",
            true,
        ),
        ("response_headers_to_add", "%REQ(authorization)%", true),
        ("request_headers_to_add", "%REQ(x-request-id)%", false),
        ("response_headers_to_add", "authorization", false),
    ] {
        let run = changed(route, &adds(key, value)).expect(i32::from(is_wrong));
        assert_eq!(
            run.stdout.contains("[envoy-operator]"),
            is_wrong,
            "{run:#?}"
        );
    }
}

#[test]
fn a_filter_is_known_by_its_type_whatever_it_is_called() {
    let before = "          - name: envoy.filters.http.jwt_authn\n";
    let with = |kind: &str| {
        format!(
            "          - {{name: mine, typed_config: {{\"@type\": \
             type.googleapis.com/envoy.extensions.filters.http.{kind}}}}}\n{before}"
        )
    };
    for (kind, code, expected) in [
        ("cache.v3.CacheConfig", "envoy-goes-by", 0),
        ("cache_v2.v3.CacheV2Config", "envoy-goes-by", 0),
        ("mcp_router.v3.McpRouter", "envoy-door", 0),
        ("dynamic_forward_proxy.v3.FilterConfig", "envoy-target", 1),
    ] {
        let run = changed(before, &with(kind)).expect(expected);
        assert!(run.stdout.contains(&format!("[{code}]")), "{run:#?}");
    }
    // What is rendered for Envoy Gateway has other filters whose names begin with the filter's own.
    let run = changed(before, "          - name: upstream_inject.jwt_authn\n").expect(0);
    assert!(!run.stdout.contains("envoy-door"), "{run:#?}");
    let nobody = BOOTSTRAP
        .replacen(before, "          - name: upstream_inject.jwt_authn\n", 1)
        .replacen("upstream_http_filters:", "unused:", 1);
    let run = check(&nobody).expect(1);
    assert!(run.stdout.contains("[envoy-no-filter]"), "{run:#?}");
}

#[test]
fn a_matcher_around_the_filter_is_named() {
    let mut config: Value = {
        let text = BOOTSTRAP.to_owned();
        let documents = document::parse(text.as_bytes()).expect("YAML");
        crate::reread::of_node(&documents[0].root)
    };
    let filters =
        "/static_resources/listeners/0/filter_chains/0/filters/0/typed_config/http_filters";
    let all = config.pointer_mut(filters).expect("the filters");
    let router = all.as_array_mut().and_then(|all| all.last_mut());
    let list =
        router.and_then(|router| router.pointer_mut("/typed_config/upstream_http_filters/0"));
    let ours = list.expect("the filter");
    *ours = serde_json::json!({"name": "mine", "typed_config": {
        "@type": "type.googleapis.com/envoy.extensions.common.matching.v3.ExtensionWithMatcher",
        "extension_config": ours.clone(),
        "xds_matcher": {},
    }});
    let run = check(&config.to_string()).expect(0);
    assert!(
        run.stdout.contains("a matcher stands around the filter"),
        "{run:#?}"
    );
}

#[test]
fn a_listener_without_the_filter_is_named() {
    let text = BOOTSTRAP.replacen("upstream_http_filters:", "unused:", 1);
    let run = check(&text).expect(1);
    assert!(run.stdout.contains("listener \"mcp\""), "{run:#?}");
    assert!(run.stdout.contains("[envoy-no-filter]"), "{run:#?}");
}

#[test]
fn whoever_needs_the_clients_token_needs_somebody_to_keep_it() {
    let needs = BOOTSTRAP
        .replacen(", subjectProviderName: corp}", "}", 1)
        .replacen(
            "                        outgoingAuth:\n",
            "                        identity: {tokenFrom: filter_state}\n                        outgoingAuth:\n",
            1,
        );
    let run = check(&needs).expect(1);
    assert!(run.stdout.contains("nobody keeps it there"), "{run:#?}");
    let kept = needs.replacen(
        "          - name: envoy.filters.http.router\n",
        "          - name: envoy.filters.http.set_filter_state\n            typed_config: {on_request_headers: [{object_key: upstream_inject.identity_token}]}\n          - name: envoy.filters.http.router\n",
        1,
    );
    check(&kept).expect(0);
    // jwt_authn comes first, and takes it off unless it is told to forward it.
    let run = check(&kept.replacen("forward: true", "forward: false", 1)).expect(1);
    assert!(run.stdout.contains("[token-from]"), "{run:#?}");
}

#[test]
fn lenient_checks_and_a_redirect_together_are_an_error() {
    let lenient = BOOTSTRAP.replacen(
        "requires: {provider_name: th_jwt}",
        "requires: {requires_any: {requirements: [{provider_name: th_jwt}, {allow_missing: {}}]}}",
        1,
    );
    check(&lenient).expect(0);
    let both = lenient.replacen(
        "route: {cluster: github-tools, timeout: 0s}",
        "route: {cluster: github-tools, timeout: 0s, internal_redirect_policy: {}}",
        1,
    );
    let run = check(&both).expect(1);
    assert!(run.stdout.contains("[envoy-lenient]"), "{run:#?}");
}

/// What Envoy's admin interface tells of the same configuration.
fn config_dump(bootstrap: &Value) -> Value {
    let resources = &bootstrap["static_resources"];
    let wrapped = |list: &Value, key: &str| -> Vec<Value> {
        let items = list.as_array().expect("a list");
        items.iter().map(|item| json!({key: item})).collect()
    };
    json!({"configs": [
        {
            "@type": "type.googleapis.com/envoy.admin.v3.BootstrapConfigDump",
            "bootstrap": bootstrap,
        },
        {
            "@type": "type.googleapis.com/envoy.admin.v3.ListenersConfigDump",
            "dynamic_listeners": resources["listeners"].as_array().expect("a list").iter().map(|listener| {
                json!({"name": listener["name"], "active_state": {"listener": listener}})
            }).collect::<Vec<_>>(),
        },
        {
            "@type": "type.googleapis.com/envoy.admin.v3.ClustersConfigDump",
            "static_clusters": wrapped(&resources["clusters"], "cluster"),
        },
    ]})
}

#[test]
fn a_live_configuration_is_judged_alike() {
    let bootstrap: Value = serde_yaml_ng::from_str(BOOTSTRAP).expect("YAML");
    let dump = config_dump(&bootstrap).to_string();
    let run = Workbench::with("dump.json", &dump)
        .run(&["check", "dump.json"])
        .expect(0);
    assert_eq!(
        run.lines(),
        ["dump.json: valid (read as a live configuration of Envoy)"]
    );
    let leaking = dump.replace(
        "\"request_headers_to_remove\":[\"authorization\",\"x-api-key\"],",
        "",
    );
    assert_ne!(leaking, dump);
    let run = Workbench::with("dump.json", &leaking)
        .run(&["check", "dump.json"])
        .expect(1);
    assert!(run.stdout.contains("[envoy-door]"), "{run:#?}");
}

/// What the project ships must pass, at its strictest.
#[test]
fn what_is_shipped_and_rendered_passes() {
    let root = repository();
    for file in [
        "envoy/demo.yaml",
        "envoy/in-clusters.yaml",
        "envoy/downstream.yaml",
        "docs/targets/rendered/envoy.yaml",
    ] {
        let file = root.join(file).display().to_string();
        Workbench::new()
            .run(&["check", "--strict", &file])
            .expect(0);
    }
}

#[test]
fn a_configuration_without_the_filter_says_so() {
    let run = check("static_resources: {listeners: []}\n").expect(1);
    assert!(
        run.stdout.contains("the filter is nowhere in here"),
        "{run:#?}"
    );
}

#[test]
fn an_auth_server_beside_it_is_compared() {
    let bench = Workbench::with("envoy.yaml", BOOTSTRAP).file(
        "as.yaml",
        "issuer: https://mcp.example.com\nallowed_audiences: [https://mcp.example.com/other]\nupstreams: []\n",
    );
    let run = bench
        .run(&["check", "envoy.yaml", "--auth-server", "as.yaml"])
        .expect(1);
    assert!(
        run.stdout.contains("the auth server issues no token for"),
        "{run:#?}"
    );
}

/// As beside a configuration of the filter: 2, unreadable.
#[test]
fn an_auth_server_that_cannot_be_read_is_2_beside_envoys_configuration_too() {
    let bench = Workbench::with("envoy.yaml", BOOTSTRAP).file("broken.yaml", "a: [\n");
    for (name, expected) in [
        (
            "nofile.yaml",
            "nofile.yaml: error: cannot be read: entity not found",
        ),
        ("broken.yaml", "broken.yaml:2:1: error: "),
    ] {
        let run = bench
            .run(&["check", "envoy.yaml", "--auth-server", name])
            .expect(2);
        assert!(run.stdout.contains(expected), "{run:#?}");
        assert!(
            run.stdout.contains(&format!("{name}: unreadable")),
            "{run:#?}"
        );
    }
    // What can be read, and has none, is wrong.
    let bench = bench.file(
        "none.yaml",
        "outgoingAuth: {default: {type: unauthenticated}}\n",
    );
    let run = bench
        .run(&["check", "envoy.yaml", "--auth-server", "none.yaml"])
        .expect(1);
    assert!(run.stdout.contains("no auth server"), "{run:#?}");
}
