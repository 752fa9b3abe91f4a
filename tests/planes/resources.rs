//! Kubernetes resources as text and as values.

use serde_json::{Value, json};
use upstream_inject::config::Node;

/// The resources of a YAML file, each once.
pub fn parse(text: &str) -> Vec<Value> {
    document::parse(text.as_bytes())
        .unwrap_or_else(|error| panic!("{}: {text}", error.text))
        .iter()
        .map(|document| to_json(&document.root))
        .filter(|resource| !resource.is_null())
        .collect()
}

/// Resources as a file; JSON is YAML.
pub fn print(resources: &[Value]) -> String {
    resources
        .iter()
        .map(|resource| format!("---\n{resource}\n"))
        .collect()
}

/// A Service in the namespace `mcp`.
pub fn service(name: &str, cluster_ip: &str, port: u16) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name, "namespace": "mcp"},
        "spec": {"clusterIP": cluster_ip, "ports": [{"port": port, "targetPort": port}]},
    })
}

/// The resource of this kind and name.
pub fn find<'a>(resources: &'a mut [Value], kind: &str, name: &str) -> &'a mut Value {
    resources
        .iter_mut()
        .find(|resource| resource["kind"] == kind && resource["metadata"]["name"] == name)
        .unwrap_or_else(|| panic!("no {kind} {name}"))
}

fn to_json(node: &Node) -> Value {
    match node {
        Node::Null => Value::Null,
        Node::Bool(value) => json!(value),
        Node::Number(number) if number.fract() == 0.0 => json!(*number as i64),
        Node::Number(number) => json!(number),
        Node::String(text) => json!(text),
        Node::List(items) => items.iter().map(to_json).collect(),
        Node::Map(entries) => Value::Object(
            entries
                .iter()
                .map(|(key, value)| (key.clone(), to_json(value)))
                .collect(),
        ),
    }
}
