//! Writes values as YAML that every YAML reader, 1.1 or 1.2, reads back as the same values.

use std::fmt::Write as _;
use upstream_inject::config::Node;

/// `node` as block YAML, without indentation and with a line break at the end.
pub(crate) fn block(node: &Node) -> String {
    let mut text = String::new();
    write_block(node, 0, &mut text);
    text
}

fn write_block(node: &Node, indent: usize, text: &mut String) {
    match node {
        Node::Map(entries) if !entries.is_empty() => {
            for (key, value) in entries {
                let _ = write!(text, "{:indent$}{}", "", map_key(key, indent));
                write_value(value, indent.saturating_add(2), text);
            }
        }
        Node::List(items) if !items.is_empty() => {
            for item in items {
                let _ = write!(text, "{:indent$}-", "");
                write_item(item, indent.saturating_add(2), text);
            }
        }
        leaf => {
            let _ = writeln!(text, "{:indent$}{}", "", flow(leaf));
        }
    }
}

/// A key with its colon. What is longer than YAML lets a key in front of a colon be is marked as a
/// key.
fn map_key(key: &str, indent: usize) -> String {
    const LONGEST: usize = 1000; // 1,024 characters, minus quotes and some care
    let key = scalar(key);
    if key.len() > LONGEST {
        format!("? {key}\n{:indent$}:", "")
    } else {
        format!("{key}:")
    }
}

/// What follows `key:`.
fn write_value(value: &Node, indent: usize, text: &mut String) {
    if is_leaf(value) {
        let _ = writeln!(text, " {}", flow(value));
    } else {
        text.push('\n');
        write_block(value, indent, text);
    }
}

/// What follows `-`: a map's first key stands beside the dash.
fn write_item(item: &Node, indent: usize, text: &mut String) {
    if is_leaf(item) {
        let _ = writeln!(text, " {}", flow(item));
    } else {
        let mut inner = String::new();
        write_block(item, indent, &mut inner);
        text.push(' ');
        text.push_str(inner.trim_start());
    }
}

/// A list of scalars reads better in one line: `[read, write]`.
fn is_leaf(node: &Node) -> bool {
    match node {
        Node::Map(entries) => entries.is_empty(),
        Node::List(items) => !items
            .iter()
            .any(|item| matches!(item, Node::Map(_) | Node::List(_))),
        _ => true,
    }
}

fn flow(node: &Node) -> String {
    match node {
        Node::Null => "null".to_owned(),
        Node::Bool(value) => value.to_string(),
        Node::Number(number) => number.to_string(),
        Node::String(value) => scalar(value),
        Node::List(items) => {
            let items: Vec<String> = items.iter().map(flow).collect();
            format!("[{}]", items.join(", "))
        }
        Node::Map(_) => "{}".to_owned(),
    }
}

/// `text` as a scalar: bare where no reader can take it for anything but this text, else quoted.
pub(crate) fn scalar(text: &str) -> String {
    if is_safe_bare(text) {
        text.to_owned()
    } else {
        quoted(text)
    }
}

/// YAML 1.1 knows more booleans, numbers and dates than 1.2, and the operators' tools still read
/// 1.1: only what starts with a letter and is none of its words stays bare.
fn is_safe_bare(text: &str) -> bool {
    const WORDS: [&str; 11] = [
        "null", "true", "false", "yes", "no", "on", "off", "y", "n", "nan", "inf",
    ];
    let mut bytes = text.bytes();
    bytes
        .next()
        .is_some_and(|first| first.is_ascii_alphabetic())
        && bytes.all(|byte| byte.is_ascii_alphanumeric() || b"_-./".contains(&byte))
        && !WORDS.iter().any(|word| text.eq_ignore_ascii_case(word))
        || is_bare_url(text)
}

/// A colon that no space follows does not end a key; operators are used to bare URLs. But within
/// `[]` and `{}` older readers stop at `?`, and this scalar may stand there: what is more than a
/// path is quoted.
fn is_bare_url(text: &str) -> bool {
    ["https://", "http://"].iter().any(|scheme| {
        text.strip_prefix(scheme).is_some_and(|rest| {
            !rest.is_empty()
                && !rest.ends_with(':')
                && rest
                    .bytes()
                    .all(|byte| byte.is_ascii_alphanumeric() || b"_-./:~".contains(&byte))
        })
    })
}

/// A JSON string, which YAML reads as a double-quoted scalar, with every character escaped that
/// is not what it seems.
fn quoted(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len().saturating_add(2));
    quoted.push('"');
    for character in text.chars() {
        match character {
            '"' => quoted.push_str("\\\""),
            '\\' => quoted.push_str("\\\\"),
            '\n' => quoted.push_str("\\n"),
            '\t' => quoted.push_str("\\t"),
            '\r' => quoted.push_str("\\r"),
            deceptive if is_deceptive(deceptive) => {
                let _ = write!(quoted, "\\u{:04x}", u32::from(deceptive)); // all below U+10000
            }
            plain => quoted.push(plain),
        }
    }
    quoted.push('"');
    quoted
}

/// Whether a character breaks lines for some reader, is none that YAML allows in a file, or changes
/// how what is around it looks. All of them are below U+10000.
pub(crate) fn is_deceptive(character: char) -> bool {
    character.is_control()
        || matches!(
            character,
            '\u{2028}' | '\u{2029}' // line breaks to readers of YAML 1.1, in comments too
                | '\u{feff}' | '\u{fffe}' | '\u{ffff}'
                | '\u{ad}' | '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}'
                | '\u{2060}'..='\u{2069}'
        )
}

/// `node` as `serde_json` has it. A number that JSON cannot hold becomes `null`.
pub(crate) fn to_json(node: &Node) -> serde_json::Value {
    use serde_json::Value;
    match node {
        Node::Null => Value::Null,
        Node::Bool(value) => Value::Bool(*value),
        Node::Number(number) => whole(*number)
            .map(Value::from)
            .unwrap_or_else(|| Value::from(*number)),
        Node::String(text) => Value::String(text.clone()),
        Node::List(items) => items.iter().map(to_json).collect(),
        Node::Map(entries) => Value::Object(
            entries
                .iter()
                .map(|(key, value)| (key.clone(), to_json(value)))
                .collect(),
        ),
    }
}

/// JSON readers that tell integers from floats get `4096`, not `4096.0`.
fn whole(number: f64) -> Option<i64> {
    const EXACT: f64 = 9_007_199_254_740_992.0; // 2^53
    #[allow(clippy::cast_possible_truncation)] // in range, and whole
    (number.fract() == 0.0 && number.abs() <= EXACT).then_some(number as i64)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(text: &str) -> Node {
        Node::String(text.to_owned())
    }

    fn map<const N: usize>(entries: [(&str, Node); N]) -> Node {
        Node::Map(entries.map(|(key, value)| (key.to_owned(), value)).into())
    }

    #[test]
    fn every_text_comes_back() {
        for value in [
            "plain",
            "a b",
            "",
            " ",
            "yes",
            "No",
            "1",
            "1.5",
            "0x1",
            "1e3",
            "null",
            "~",
            "-",
            "- a",
            "a: b",
            "a #b",
            "#",
            "'",
            "\"",
            "\\",
            "a\nb",
            "\u{7}",
            "\u{85}",
            "\u{feff}",
            "ü",
            "🦀",
            "https://a.example/b?c=d&e=%20",
            "https://a.example/{b}",
            "https://a.example/#b",
            "https://a.example/b#c",
            "https://a.example/, b",
            "https://a.example/[b]",
            "https://a.example: b",
            "http://[::1]:80/",
            "http://a:80/b:c",
            "http://a:",
            "http://a?",
            "urn:a:b",
            "a:",
            "a?",
            "?a",
            "a\u{2028}b",
            "a\u{2029}b",
            "a\u{85}b",
            "a\u{fffe}b",
            "a\u{202e}b",
            "a\u{200b}b",
            "---",
            "...",
            "--- a",
            "@x",
            "`x",
            "{a}",
            "[a]",
            "*a",
            "&a",
            "!a",
            "|",
            ">",
            "%a",
            ",",
            "?",
            ": ",
            "12:30",
            "2026-01-01",
            "<<",
            "=",
            "a.b",
            "/x",
        ] {
            let node = map([
                (value, text(value)),
                ("list", Node::List(vec![text(value)])),
            ]);
            let written = block(&node);
            assert_read_alike(&written, &node);
            assert!(
                written
                    .chars()
                    .all(|character| character == '\n' || !is_deceptive(character)),
                "{written}"
            );
            // In a flow map, and behind a comment that names it.
            let inside = format!("{{a: {}, b: [{0}, c]}}\n", scalar(value));
            let node = map([
                ("a", text(value)),
                ("b", Node::List(vec![text(value), text("c")])),
            ]);
            assert_read_alike(&inside, &node);
        }
    }

    /// The tool's own reader, and one of another make that reads YAML 1.1 as kubectl's does.
    fn assert_read_alike(written: &str, node: &Node) {
        let read = document::parse(written.as_bytes()).expect(written);
        assert_eq!(read.len(), 1, "{written}");
        assert_eq!(&read[0].root, node, "{written}");
        let read: serde_json::Value = serde_yaml_ng::from_str(written).expect(written);
        assert_eq!(read, to_json(node), "{written}");
    }

    #[test]
    fn a_key_may_be_longer_than_yaml_likes() {
        let long = "a".repeat(1200);
        let node = map([(
            "b",
            Node::List(vec![map([
                (&long, map([(&long, text("c"))])),
                ("d", text("e")),
            ])]),
        )]);
        assert_read_alike(&block(&node), &node);
    }

    #[test]
    fn nested_values_come_back_and_read_well() {
        let node = map([
            ("a", map([("b", Node::List(vec![text("x"), text("y")]))])),
            (
                "c",
                Node::List(vec![
                    map([("d", Node::Number(1.5)), ("e", Node::Bool(true))]),
                    Node::List(vec![map([("f", Node::Null)])]),
                    Node::List(vec![]),
                ]),
            ),
            ("g", map([])),
            ("h", Node::Number(4096.0)),
        ]);
        let written = block(&node);
        assert_eq!(
            written,
            "a:\n  b: [x, \"y\"]\nc:\n  - d: 1.5\n    e: true\n  - - f: null\n  - []\ng: {}\nh: 4096\n"
        );
        assert_eq!(
            document::parse(written.as_bytes()).expect("valid")[0].root,
            node
        );
        assert_eq!(
            to_json(&node).to_string(),
            r#"{"a":{"b":["x","y"]},"c":[{"d":1.5,"e":true},[{"f":null}],[]],"g":{},"h":4096}"#
        );
    }
}
