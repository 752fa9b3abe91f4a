//! What `convert` prints: the configuration, and apart from it what the container needs.

use super::Conversion;
use super::variables::Variable;
use crate::emit;
use crate::report::printable;
use serde_json::json;
use std::fmt::Write as _;
use upstream_inject::config::Node;

/// A plugin configuration; what else there is to know stands in comments.
pub(crate) fn yaml(conversion: &Conversion) -> String {
    let mut text =
        String::from("# Made by `upstream-inject convert`.\n#\n# Backends and their resources:\n");
    for (backend, origin) in &conversion.origins {
        let _ = writeln!(text, "#   {}", printable(&format!("{backend}: {origin}")));
    }
    text.push_str(
        "# The filter finds a backend by its Envoy cluster name (backendFrom); `upstream-inject\n\
         # render` puts the real cluster names in.\n",
    );
    for note in &conversion.notes {
        text.push_str("#\n");
        comment(note, &mut text);
    }
    if !conversion.options.is_empty() {
        text.push_str("#\n# Where the backends are, for `upstream-inject render`:\n");
        for option in &conversion.options {
            let _ = writeln!(text, "#   {}", printable(option));
        }
    }
    text.push('\n');
    text.push_str(&emit::block(&whole(conversion)));
    if !conversion.env.is_empty() {
        text.push_str(
            "\n# Environment of the Envoy container, which reads Secrets of its own namespace only\n\
             # (`--print env` prints this list alone):\n#\n",
        );
        for line in env(conversion).lines() {
            let _ = writeln!(text, "# {line}");
        }
    }
    text
}

/// The configuration, with what `check` and `render` read besides: a file of vMCP's shape then.
fn whole(conversion: &Conversion) -> Node {
    let mut entries = document::entries(&conversion.config).to_vec();
    let incoming = conversion.incoming.clone();
    entries.extend(incoming.map(|incoming| ("incomingAuth".to_owned(), incoming)));
    if !conversion.addresses.is_empty() {
        let addresses = Node::List(conversion.addresses.clone());
        entries.push(("backends".to_owned(), addresses));
    }
    Node::Map(entries)
}

/// The container's `env:` list alone, ready to paste.
pub(crate) fn env(conversion: &Conversion) -> String {
    if conversion.env.is_empty() {
        return "env: []\n".to_owned();
    }
    let mut text = String::from("env:\n");
    for variable in &conversion.env {
        text.push_str(&variable.to_yaml());
    }
    text
}

/// All of it as one JSON object.
pub(crate) fn json(conversion: &Conversion) -> String {
    let env: Vec<_> = conversion.env.iter().map(Variable::to_json).collect();
    let origins: serde_json::Map<_, _> = conversion
        .origins
        .iter()
        .map(|(backend, origin)| (backend.clone(), json!(origin)))
        .collect();
    let mut all = json!({
        "configuration": emit::to_json(&conversion.config),
        "env": env,
        "resources": origins,
        "notes": conversion.notes,
    });
    if let Some(all) = all.as_object_mut() {
        let incoming = conversion.incoming.as_ref().map(emit::to_json);
        all.extend(incoming.map(|incoming| ("incomingAuth".to_owned(), incoming)));
        if !conversion.addresses.is_empty() {
            let addresses = conversion.addresses.iter().map(emit::to_json).collect();
            all.insert("backends".to_owned(), addresses);
        }
    }
    let mut text = serde_json::to_string_pretty(&all).unwrap_or_default();
    text.push('\n');
    text
}

/// `note` as comment lines of a width that fits a terminal.
fn comment(note: &str, text: &mut String) {
    const WIDTH: usize = 96;
    let mut line = String::from("#");
    for word in printable(note).split_whitespace() {
        if line.len().saturating_add(word.len()) >= WIDTH {
            let _ = writeln!(text, "{line}");
            line = String::from("#");
        }
        line.push(' ');
        line.push_str(word);
    }
    let _ = writeln!(text, "{line}");
}
