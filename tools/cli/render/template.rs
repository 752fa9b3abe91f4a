//! Templates that look like what they become.
//!
//! `{{name}}` is replaced within its line, by a value that has been quoted where YAML needs it. A
//! line that holds `{{>name}}` alone is replaced by a block of lines at its indentation, or goes
//! away if the block is empty.

use crate::emit;

/// A value for a placeholder.
pub(super) enum Value {
    /// Within a line.
    Inline(String),
    /// Lines of their own.
    Block(String),
}

/// `text` as a YAML scalar.
pub(super) fn scalar(text: &str) -> Value {
    Value::Inline(emit::scalar(text))
}

/// `text` as it is, for comments and for numbers. Line breaks would end a comment, so they go.
pub(super) fn raw(text: &str) -> Value {
    Value::Inline(crate::report::printable(text))
}

/// Lines.
pub(super) fn block(text: impl Into<String>) -> Value {
    Value::Block(text.into())
}

/// Stands before a placeholder without a value. No value holds it: it is escaped in every one.
pub(super) const MISSING: char = '\0';

/// Fills `template`. Every placeholder needs a value; one without stays, and is found by the check
/// of what was rendered.
pub(super) fn fill(template: &str, values: &[(&str, Value)]) -> String {
    let mut filled = String::with_capacity(template.len());
    for line in template.lines() {
        if !fill_block(line, values, &mut filled) {
            fill_line(line, values, &mut filled);
            filled.push('\n');
        }
    }
    filled
}

fn fill_block(line: &str, values: &[(&str, Value)], filled: &mut String) -> bool {
    let name = line
        .trim_start()
        .strip_prefix("{{>")
        .and_then(|rest| rest.strip_suffix("}}"));
    let Some(Value::Block(block)) = name.and_then(|name| find(name, values)) else {
        return false;
    };
    let indent = line.split("{{>").next().unwrap_or_default();
    for line in block.lines() {
        if !line.is_empty() {
            filled.push_str(indent);
            filled.push_str(line);
        }
        filled.push('\n');
    }
    true
}

fn fill_line(line: &str, values: &[(&str, Value)], filled: &mut String) {
    let mut rest = line;
    while let Some((before, after)) = rest.split_once("{{") {
        filled.push_str(before);
        match after
            .split_once("}}")
            .map(|(name, after)| (find(name, values), after))
        {
            Some((Some(Value::Inline(value)), after)) => {
                filled.push_str(value);
                rest = after;
            }
            _ => {
                filled.push(MISSING);
                filled.push_str("{{");
                rest = after;
            }
        }
    }
    filled.push_str(rest);
}

fn find<'a>(name: &str, values: &'a [(&str, Value)]) -> Option<&'a Value> {
    values
        .iter()
        .find(|(known, _)| *known == name)
        .map(|(_, value)| value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_placeholder_without_a_value_is_found_and_braces_in_a_value_are_none() {
        let braces = [("a", scalar("{{b}}"))];
        assert!(!fill("x: {{a}}\n", &braces).contains(MISSING));
        for template in ["x: {{b}}\n", "{{>b}}\n"] {
            assert!(fill(template, &braces).contains(MISSING), "{template}");
        }
    }

    #[test]
    fn placeholders_become_values_and_blocks_keep_their_indentation() {
        let template = "# {{what}}\na:\n  {{>lines}}\n  {{>none}}\n  b: {{value}} # {{what}}\n";
        let filled = fill(
            template,
            &[
                ("what", raw("x\ny")),
                ("lines", block("c: 1\n\nd:\n  - 2\n")),
                ("none", block("")),
                ("value", scalar("yes {{what}}")),
            ],
        );
        assert_eq!(
            filled,
            "# x\\ny\na:\n  c: 1\n\n  d:\n    - 2\n  b: \"yes {{what}}\" # x\\ny\n"
        );
    }
}
