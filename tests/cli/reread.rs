//! What the tool writes, read again by somebody else: every YAML that `convert` and `render` print
//! must be the same to the tool's own reader and to one that reads as `kubectl` does.

use serde_json::Value;
use serde_yaml_ng::Deserializer;
use std::path::Path;
use upstream_inject::config::Node;

/// Fails the test if the product of a run is not the same to both readers.
pub fn product(directory: &Path, arguments: &[&str], stdout: &str) {
    if !matches!(arguments.first(), Some(&"convert" | &"render")) {
        return;
    }
    let file = arguments
        .iter()
        .position(|argument| matches!(*argument, "-o" | "--output"))
        .and_then(|at| arguments.get(at + 1));
    let text = match file {
        Some(file) => match std::fs::read_to_string(directory.join(file)) {
            Ok(text) => text,
            Err(_) => return, // a device
        },
        None => stdout.to_owned(),
    };
    if text.starts_with('{') {
        serde_json::from_str::<Value>(&text).unwrap_or_else(|error| panic!("{error}\n{text}"));
    } else {
        same(&text);
    }
}

fn same(text: &str) {
    let own: Vec<Value> = document::parse(text.as_bytes())
        .unwrap_or_else(|error| panic!("{error:?}\n{text}"))
        .iter()
        .map(|document| of_node(&document.root))
        .collect();
    let other: Vec<Value> = Deserializer::from_str(text)
        .map(|document| {
            let value = serde::Deserialize::deserialize(document);
            of_other(value.unwrap_or_else(|error| panic!("{error}\n{text}")))
        })
        .filter(|value| *value != Value::Null)
        .collect();
    assert_eq!(own, other, "{text}");
}

/// A document of the tool's own reader as JSON.
pub fn of_node(node: &Node) -> Value {
    match node {
        Node::Null => Value::Null,
        Node::Bool(value) => Value::from(*value),
        Node::Number(number) => Value::from(*number),
        Node::String(text) => Value::from(text.as_str()),
        Node::List(items) => items.iter().map(of_node).collect(),
        Node::Map(entries) => entries
            .iter()
            .map(|(key, value)| (key.clone(), of_node(value)))
            .collect::<serde_json::Map<_, _>>()
            .into(),
    }
}

/// All numbers as the one kind that a node has.
fn of_other(value: Value) -> Value {
    match value {
        Value::Number(number) => Value::from(number.as_f64()),
        Value::Array(items) => items.into_iter().map(of_other).collect(),
        Value::Object(entries) => entries
            .into_iter()
            .map(|(key, value)| (key, of_other(value)))
            .collect::<serde_json::Map<_, _>>()
            .into(),
        other => other,
    }
}

#[test]
fn a_line_separator_in_a_name_ends_no_comment_and_starts_no_resource() {
    use crate::tool::Workbench;
    let name = "wiki\\u2028---\\u2028kind: ConfigMap\\u2029#\\u0085x\\u007f\\ufffe\\u202e";
    let plugin = format!("outgoingAuth: {{backends: {{\"{name}\": {{type: unauthenticated}}}}}}\n");
    let resource = format!(
        "apiVersion: toolhive.stacklok.dev/v1beta1\nkind: MCPExternalAuthConfig\nmetadata: {{name: \
         a, namespace: \"{name}\"}}\nspec: {{type: unauthenticated}}\n"
    );
    let bench = Workbench::with("c.yaml", plugin).file("r.yaml", resource);
    // Whatever they make of such names: nothing that one reader reads otherwise than another.
    for target in ["envoy", "envoy-gateway", "istio"] {
        bench.run(&["render", "-t", target, "c.yaml"]);
    }
    bench.run(&["convert", "r.yaml"]);
}

#[test]
fn a_url_that_older_readers_stop_in_is_quoted_wherever_it_stands() {
    use crate::tool::Workbench;
    let url = "https://a.example/{b}?c=[d]#e";
    let bench = Workbench::with(
        "c.yaml",
        "authServer: {runConfig: {issuer: 'https://i.example', upstreams: [{name: a}]}}\n\
         outgoingAuth: {backends: {a: {type: token_exchange, tokenExchange: {tokenUrl: \
         'https://sts.example/t?x=1', audience: ['https://a.example/?b', x], resource: \
         ['https://a.example/?c={d}', 'https://b.example/?'], scopes: ['https://s.example/?a', \
         '{b}', 'c:'], subjectProviderName: a}}}}\n",
    );
    for target in ["envoy", "envoy-gateway", "istio"] {
        bench.run(&[
            "render",
            "-t",
            target,
            "--audience",
            url,
            "--audience",
            "https://b.example/?",
            "--jwks-url",
            "https://i.example/keys?v=1",
            "--backend",
            "a=localhost:1",
            "c.yaml",
        ]);
    }
    let text = format!(
        "apiVersion: toolhive.stacklok.dev/v1beta1\nkind: MCPExternalAuthConfig\nmetadata: {{name: a}}\n\
         spec: {{type: tokenExchange, tokenExchange: {{tokenUrl: 'https://sts.example/t?x=1', audience: \
         '{url}', scopes: ['https://s.example/?a', '{{b}}', 'c:']}}}}\n"
    );
    let run = Workbench::with("r.yaml", text)
        .run(&["convert", "r.yaml"])
        .expect(0);
    assert!(run.stdout.contains("\"https://s.example/?a\""), "{run:#?}");
}
