//! The forms in which Envoy's configuration comes: protobuf's other spelling of keys, lists, what
//! control planes print; and the form in which machines are told what is wrong with it.

use crate::tool::{Run, Workbench};
use serde_json::{Value, json};

const BOOTSTRAP: &str = include_str!("fixtures/envoy.yaml");

fn check(text: &str) -> Run {
    Workbench::with("envoy.json", text).run(&["check", "envoy.json"])
}

fn bootstrap() -> Value {
    serde_yaml_ng::from_str(BOOTSTRAP).expect("YAML")
}

/// As protobuf prints it, `httpFilters` for `http_filters`. The keys of maps are nobody's fields.
fn camel(value: &Value, is_map: bool) -> Value {
    const MAPS: [&str; 5] = [
        "typed_per_filter_config",
        "typed_extension_protocol_options",
        "providers",
        "key_values",
        "json_format",
    ];
    match value {
        Value::Object(object) => {
            let entries = object.iter().map(|(key, inner)| {
                let value = match key.as_str() {
                    "value" => inner.clone(), // the filter's own
                    _ => camel(inner, MAPS.contains(&key.as_str())),
                };
                let key = match is_map {
                    true => key.clone(),
                    false => camel_key(key),
                };
                (key, value)
            });
            Value::Object(entries.collect())
        }
        Value::Array(items) => items.iter().map(|item| camel(item, false)).collect(),
        other => other.clone(),
    }
}

fn camel_key(key: &str) -> String {
    let mut words = key.split('_');
    let first = words.next().unwrap_or_default().to_owned();
    words.fold(first, |name, word| {
        let (initial, rest) = word.split_at(1);
        name + &initial.to_uppercase() + rest
    })
}

/// The live configuration of the same, as Envoy's admin interface tells it.
fn dump(of: &Value) -> Value {
    let resources = &of["static_resources"];
    json!({"configs": [
        {
            "@type": "type.googleapis.com/envoy.admin.v3.ListenersConfigDump",
            "dynamic_listeners": [{"active_state": {"listener": resources["listeners"][0]}}],
        },
        {
            "@type": "type.googleapis.com/envoy.admin.v3.ClustersConfigDump",
            "static_clusters": resources["clusters"].as_array().expect("a list").iter()
                .map(|cluster| json!({"cluster": cluster})).collect::<Vec<_>>(),
        },
    ]})
}

#[test]
fn both_spellings_of_keys_are_judged_alike() {
    let right = bootstrap();
    let dumped = camel(&dump(&right), false);
    let forms = [
        camel(&right, false),
        // Half and half, as by hand.
        json!({"static_resources": camel(&right["static_resources"], false)}),
        json!({"resources": [
            dumped["configs"][0]["dynamicListeners"][0]["activeState"]["listener"].clone(),
        ]}),
        dumped.clone(),
        json!({"xds": {"mcp/mcp-gateway": dumped}}),
        camel(&right["static_resources"]["listeners"], false),
        right["static_resources"]["listeners"].clone(),
    ];
    for mut form in forms {
        if let Some(listener) = form.pointer_mut("/resources/0") {
            listener["@type"] = json!("type.googleapis.com/envoy.config.listener.v3.Listener");
        }
        let text = form.to_string();
        let run = check(&text).expect(0);
        assert!(run.stdout.contains("onfiguration of Envoy)"), "{run:#?}");
        for (from, to, code) in [
            (r#"["authorization","x-api-key"]"#, "[]", "envoy-door"),
            ("FAIL_RELOAD", "FAIL_OPEN", "envoy-fail-open"),
            (r#"["STS_SECRET","KEY"]"#, r#"["KEY"]"#, "variable"),
            (r#""disabled":true"#, r#""disabled":false"#, "envoy-backend"),
            (
                "upstream_codec.v3.UpstreamCodec",
                "dynamic_forward_proxy.v3.FilterConfig",
                "envoy-target",
            ),
        ] {
            let changed = text.replacen(from, to, 1);
            assert_ne!(changed, text, "{from}");
            let run = check(&changed);
            assert!(run.stdout.contains(&format!("[{code}]")), "{code} {run:#?}");
        }
    }
}

#[test]
fn what_is_elsewhere_is_said() {
    let text = BOOTSTRAP.replacen(
        "route_config:",
        "rds: {route_config_name: far}\n          unused:",
        1,
    );
    let run = check(&text).expect(0);
    assert!(
        run.stdout
            .contains("the routes \"far\" are not in this file"),
        "{run:#?}"
    );
    let bench = Workbench::with("envoy.yaml", &text);
    bench.run(&["check", "--strict", "envoy.yaml"]).expect(1);
    let clusters = camel(&bootstrap()["static_resources"]["clusters"], false);
    let run = check(&clusters.to_string()).expect(1);
    assert!(
        run.stdout.contains("nor is a listener for HTTP"),
        "{run:#?}"
    );
}

/// As `istioctl proxy-config listener -o json` prints what is rendered for Istio.
#[test]
fn a_list_of_listeners_is_right_whose_filter_and_routes_come_by_themselves() {
    let mut listeners = bootstrap()["static_resources"]["listeners"].clone();
    let manager = &mut listeners[0]["filter_chains"][0]["filters"][0]["typed_config"];
    manager["route_config"] = Value::Null;
    manager["rds"] = json!({"route_config_name": "http.80", "config_source": {"ads": {}}});
    let filters = &mut manager["http_filters"][1]["typed_config"]["upstream_http_filters"];
    filters[0] = json!({"name": "upstream_inject", "config_discovery": {
        "config_source": {"ads": {}, "initial_fetch_timeout": "0s"},
        "type_urls": ["type.googleapis.com/envoy.extensions.filters.http.wasm.v3.Wasm"],
    }});
    // What the proxy tells of itself is no backend.
    for (cluster, prefix) in [
        ("prometheus_stats", "/stats/prometheus"),
        ("agent", "/healthz/ready"),
    ] {
        let route = json!({"match": {"prefix": prefix}, "route": {"cluster": cluster}});
        let hosts = json!([{"name": "backend", "domains": ["*"], "routes": [route]}]);
        let router = "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router";
        let manager = json!({
            "@type": "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
            "route_config": {"virtual_hosts": hosts},
            "http_filters": [{"name": "router", "typed_config": {"@type": router}}],
        });
        let chains = json!([{"filters": [{"name": "manager", "typed_config": manager}]}]);
        let all = listeners.as_array_mut().expect("a list");
        all.push(json!({"address": {}, "filter_chains": chains}));
    }
    let dump = json!({"configs": [{
        "@type": "type.googleapis.com/envoy.admin.v3.ListenersConfigDump",
        "dynamic_listeners": [{"active_state": {"listener": listeners[0]}}],
        "static_listeners": [{"listener": listeners[1]}, {"listener": listeners[2]}],
    }]});
    for form in [listeners.clone(), camel(&listeners, false), dump] {
        let bench = Workbench::with("listeners.json", form.to_string());
        let run = bench
            .run(&["check", "--strict", "listeners.json"])
            .expect(0);
        for text in [
            "the filter's configuration comes by itself",
            "the routes \"http.80\" are not in this file",
        ] {
            assert!(run.stdout.contains(text), "{text} {run:#?}");
        }
    }
    let elsewhere = listeners.to_string().replace("/healthz/ready", "/");
    let run = check(&elsewhere).expect(1);
    assert!(run.stdout.contains("[envoy-no-filter]"), "{run:#?}");
    let without = listeners
        .to_string()
        .replace(r#""name":"upstream_inject""#, r#""name":"another""#);
    let run = check(&without).expect(1);
    assert!(run.stdout.contains("[envoy-no-filter]"), "{run:#?}");
}

#[test]
fn machines_are_told_where_it_is() {
    let text = BOOTSTRAP
        .replacen(
            "            request_headers_to_remove: [authorization, x-api-key]\n",
            "",
            1,
        )
        .replacen("FAIL_RELOAD", "FAIL_OPEN", 1)
        .replacen("[STS_SECRET, KEY]", "[KEY]", 1);
    let bench = Workbench::with("envoy.yaml", &text);
    let run = bench
        .run(&["check", "--format", "json", "envoy.yaml"])
        .expect(1);
    let report: Value = serde_json::from_str(&run.stdout).expect("JSON");
    let manager = "static_resources.listeners[0].filter_chains[0].filters[0].typed_config";
    let config = format!(
        "{manager}.http_filters[1].typed_config.upstream_http_filters[0].typed_config.config"
    );
    for (code, path) in [
        (
            "envoy-door",
            format!("{manager}.route_config.request_headers_to_remove"),
        ),
        ("envoy-fail-open", format!("{config}.failure_policy")),
        (
            "variable",
            format!("{config}.vm_config.environment_variables"),
        ),
    ] {
        let mut findings = report["files"][0]["findings"]
            .as_array()
            .expect("a list")
            .iter();
        let finding = findings
            .find(|finding| finding["code"] == code)
            .expect(code);
        assert_eq!(finding["path"], json!(path));
        let text = finding["text"].as_str().expect("a text");
        assert!(!text.contains(&path), "{text}");
        // For people it is one line.
        let run = bench.run(&["check", "envoy.yaml"]).expect(1);
        assert!(
            run.stdout.contains(&format!(": error: {path}: {text}\n")),
            "{run:#?}"
        );
    }
}

/// As `kubectl get -o yaml` prints it.
fn list_of(resources: &[Value]) -> String {
    json!({"apiVersion": "v1", "kind": "List", "items": resources}).to_string()
}

#[test]
fn what_kubectl_lists_is_opened() {
    let wasm = &bootstrap()["static_resources"]["listeners"][0]["filter_chains"][0]["filters"][0]["typed_config"]
        ["http_filters"][1]["typed_config"]["upstream_http_filters"][0];
    let patch = json!({"apiVersion": "networking.istio.io/v1alpha3", "kind": "EnvoyFilter",
        "spec": {"configPatches": [{"patch": {"value": wasm}}]}});
    let route = json!({"apiVersion": "gateway.networking.k8s.io/v1", "kind": "HTTPRoute",
        "spec": {"rules": [{"filters": [{"requestHeaderModifier": {"remove": ["authorization"]}}]}]}});
    let run = check(&list_of(&[patch.clone(), route])).expect(0);
    assert!(
        run.stdout.contains("read as resources of a control plane"),
        "{run:#?}"
    );
    let run = check(&list_of(&[patch])).expect(1);
    assert!(run.stdout.contains("[envoy-door]"), "{run:#?}");

    let map = |provider: &str| {
        let config = format!(
            "name: t\ngroupRef: t\noutgoingAuth:\n  source: inline\n  backends:\n    tickets: \
             {{type: upstream_inject, upstreamInject: {{providerName: {provider}}}}}\n"
        );
        let auth_server = "issuer: https://mcp.example.com\nupstreams: [{name: corp}]\n";
        json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "vmcp"},
            "data": {"config.yaml": config, "authserver-config.yaml": auth_server}})
    };
    let other = json!({"apiVersion": "v1", "kind": "ConfigMap", "data": {"ca.crt": "x"}});
    let run = check(&list_of(&[other.clone(), map("crop")])).expect(1);
    assert!(run.stdout.contains("[V-02]"), "{run:#?}");
    let run = check(&list_of(&[map("corp"), map("corp")])).expect(1);
    assert!(run.stdout.contains("a second vMCP's ConfigMap"), "{run:#?}");
    // What `convert` does not take is not sent there.
    let run = check(&list_of(&[other])).expect(1);
    assert!(
        run.stdout
            .contains("and none that `upstream-inject convert` takes"),
        "{run:#?}"
    );
    let ours =
        json!({"apiVersion": "toolhive.stacklok.dev/v1beta1", "kind": "MCPExternalAuthConfig"});
    let run = check(&list_of(&[ours])).expect(1);
    assert!(
        run.stdout
            .contains("`upstream-inject convert` makes a configuration"),
        "{run:#?}"
    );
}
