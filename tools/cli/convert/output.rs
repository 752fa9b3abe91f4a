//! What `convert` prints: the configuration, and apart from it what the container needs.

use super::Conversion;
use super::variables::Variable;
use crate::emit;
use crate::report::printable;
use serde_json::json;
use std::fmt::Write as _;

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
    text.push('\n');
    text.push_str(&emit::block(&conversion.config));
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
    let all = json!({
        "configuration": emit::to_json(&conversion.config),
        "env": env,
        "resources": origins,
        "notes": conversion.notes,
    });
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
