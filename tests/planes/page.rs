//! How an operator sees that what was rendered is in force: the commands of the page on Envoy Gateway,
//! as printed, and `check` of a running gateway's configuration.

use std::process::Command;

use bed::{egctl, repository, scratch};
use serde_json::{Value, json};

use crate::envoy_gateway::{rendered, run};
use crate::resources;
use crate::trial::trials;
use crate::world::{World, tool};

trials!("page":
    its_own_command_shows_the_filter_on_each_listener,
    check_of_a_running_gateway_tells_whether_the_filter_is_in_force,
);

/// The page's lines between its rendering and its `kubectl`: resources put together, and translated.
fn commands() -> Vec<String> {
    let page = std::fs::read_to_string(repository().join("docs/targets/envoy-gateway.md"));
    page.expect("the page")
        .lines()
        .filter_map(|line| line.strip_prefix("$ "))
        .filter(|command| command.starts_with("cat ") || command.starts_with("egctl "))
        .map(str::to_owned)
        .collect()
}

async fn its_own_command_shows_the_filter_on_each_listener() {
    let directory = scratch("page").expect("a directory");
    let docs = directory.join("docs");
    if !docs.exists() {
        std::os::unix::fs::symlink(repository().join("docs"), &docs).expect("a link");
    }
    let listener = |name: &str, port: u16, protocol: &str| {
        let tls = json!({"mode": "Terminate", "certificateRefs": [{"name": "tls"}]});
        let mut listener = json!({"name": name, "port": port, "protocol": protocol});
        if protocol == "HTTPS" {
            listener["tls"] = tls;
        }
        listener
    };
    let certificate =
        rcgen::generate_simple_self_signed(["mcp.example.com".to_owned()]).expect("a certificate");
    let gateway = [
        json!({
            "apiVersion": "gateway.networking.k8s.io/v1", "kind": "GatewayClass",
            "metadata": {"name": "envoy"},
            "spec": {"controllerName": "gateway.envoyproxy.io/gatewayclass-controller"},
        }),
        json!({
            "apiVersion": "gateway.networking.k8s.io/v1", "kind": "Gateway",
            "metadata": {"name": "mcp-gateway", "namespace": "mcp"},
            "spec": {"gatewayClassName": "envoy", "listeners": [
                listener("http", 80, "HTTP"), listener("https", 443, "HTTPS"),
            ]},
        }),
        json!({
            "apiVersion": "v1", "kind": "Secret", "type": "kubernetes.io/tls",
            "metadata": {"name": "tls", "namespace": "mcp"},
            "data": {
                "tls.crt": crate::envoy_gateway::base64(&certificate.cert.pem()),
                "tls.key": crate::envoy_gateway::base64(&certificate.signing_key.serialize_pem()),
            },
        }),
    ];
    let services = ["github-tools", "atlassian-tools"].map(|name| {
        json!({
            "apiVersion": "v1", "kind": "Service", "metadata": {"name": name, "namespace": "mcp"},
            "spec": {"clusterIP": "10.0.0.1", "ports": [{"name": "http", "port": 80}]},
        })
    });
    for (file, resources) in [("gateway.yaml", &gateway[..]), ("services.yaml", &services)] {
        let documents: Vec<String> = resources.iter().map(Value::to_string).collect();
        let text = documents.join("\n---\n") + "\n---\n";
        std::fs::write(directory.join(file), text).expect("written");
    }
    let commands = commands();
    assert!(commands.len() == 2, "{commands:?}");
    let tool = egctl().unwrap_or_else(|error| panic!("{error}"));
    let path = format!(
        "{}:{}",
        tool.parent().expect("a directory").display(),
        std::env::var("PATH").unwrap_or_default()
    );
    let run = Command::new("sh")
        .args(["-ec", &commands.join("\n")])
        .current_dir(&directory)
        .env("PATH", path)
        .output()
        .expect("a shell");
    let shown = String::from_utf8_lossy(&run.stdout);
    assert!(run.status.success(), "{run:?}");
    let filters = shown
        .lines()
        .filter(|line| line.trim() == "- name: upstream_inject");
    assert_eq!(filters.count(), 2, "{shown}");
}

async fn check_of_a_running_gateway_tells_whether_the_filter_is_in_force() {
    let world = World::start(&[]).await;
    let set = rendered(&[]);
    let mut without = resources::parse(&set);
    without.retain(|resource| resource["kind"] != "EnvoyPatchPolicy");
    for (name, set, code) in [
        ("checked", set, 0),
        ("unpatched", resources::print(&without), 1),
    ] {
        let (envoy, _) = run(name, &world, &set, &[]).await;
        let dump = envoy.admin_text("/config_dump").await;
        let run = tool(&["check", "-"], &dump);
        let said = String::from_utf8_lossy(&run.stdout).into_owned();
        assert_eq!(run.status.code(), Some(code), "{name}: {said}");
        assert_eq!(
            said.contains("[envoy-no-filter]"),
            code == 1,
            "{name}: {said}"
        );
    }
}
