//! The forms in which Envoy's configuration comes: protobuf's other spelling of keys, lists, what
//! control planes print; and the form in which machines are told what is wrong with it.

use crate::tool::Workbench;
use serde_json::{Value, json};

const BOOTSTRAP: &str = include_str!("fixtures/envoy.yaml");

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
