//! Documents that are broken, huge or deep: one clear line, and no crash.

use super::struct_bytes::{encode, message};
use super::{lines, outcome, parse};
use crate::config::Node;

#[test]
fn what_is_not_json_is_refused_with_its_position_and_without_a_quote() {
    for (bytes, line) in [
        (
            &b"CANARY"[..],
            "(root): not JSON: expected value at line 1 column 1",
        ),
        (
            b" ",
            "(root): not JSON: EOF while parsing a value at line 1 column 1",
        ),
        (
            b"\n\n",
            "(root): not JSON: EOF while parsing a value at line 3 column 0",
        ),
        (
            b"{",
            "(root): not JSON: EOF while parsing an object at line 1 column 1",
        ),
        (
            b"{\"a\": \"CANARY",
            "(root): not JSON: EOF while parsing a string at line 1 column 13",
        ),
        (
            b"{\"a\": 1,\n  \"b\" \"CANARY\"}",
            "(root): not JSON: expected `:` at line 2 column 7",
        ),
        (
            b"{} {}",
            "(root): not JSON: trailing characters at line 1 column 4",
        ),
        (
            b"{\"CANARY\xff\": 1}",
            "(root): not JSON: invalid unicode code point at line 1 column 9",
        ),
        (
            b"{\"maxEntries\": 1e400}",
            "(root): not JSON: number out of range at line 1 column 20",
        ),
        (
            b"authServer:\n  runConfig: CANARY\n",
            "(root): not JSON: expected value at line 1 column 1",
        ),
        (
            b"\xff\xfe\x00\x01",
            "(root): neither JSON (expected value at line 1 column 1) nor a google.protobuf.Struct (unexpected field at byte 0)",
        ),
    ] {
        let found = parse(bytes).unwrap_err().to_string();
        assert_eq!(found, line, "{:?}", String::from_utf8_lossy(bytes));
    }
}

#[test]
fn nothing_at_all_is_an_empty_map() {
    assert_eq!(parse(b""), Ok(Node::Map(Vec::new())));
}

#[test]
fn a_text_may_begin_with_line_feeds_or_a_byte_order_mark() {
    for text in [
        "\n{\"a\": 1}",
        "\n\n\r\n\t{\"a\": 1}\n",
        "\u{feff}{\"a\": 1}",
    ] {
        let a = Node::Map(vec![("a".to_owned(), Node::Number(1.0))]);
        assert_eq!(parse(text.as_bytes()), Ok(a), "{text:?}");
    }
}

#[test]
fn a_thousand_levels_are_too_many() {
    for open in ["[", "{\"a\":"] {
        let line = parse(open.repeat(1000).as_bytes()).unwrap_err().to_string();
        assert!(
            line.starts_with("(root): not JSON: recursion limit exceeded at line 1 column "),
            "{line}"
        );
    }
    let mut value = vec![0x20, 1];
    for _ in 0..1000 {
        let mut entry = Vec::new();
        message(&mut entry, 0x12, &value);
        let mut fields = Vec::new();
        message(&mut fields, 0x0a, &entry);
        value.clear();
        message(&mut value, 0x2a, &fields);
    }
    let mut entry = Vec::new();
    message(&mut entry, 0x12, &value);
    let mut document = Vec::new();
    message(&mut document, 0x0a, &entry);
    let line = parse(&document).unwrap_err().to_string();
    assert!(
        line.contains("nor a google.protobuf.Struct (nested too deeply at byte "),
        "{line}"
    );
}

#[test]
fn json_and_structs_may_be_equally_deep() {
    let nested = |levels: usize| {
        let mut node = Node::Map(Vec::new());
        for _ in 1..levels {
            node = Node::Map(vec![("a".to_owned(), node)]);
        }
        encode(&node).unwrap()
    };
    let json = |levels: usize| {
        format!(
            "{}{{}}{}",
            "{\"a\":".repeat(levels - 1),
            "}".repeat(levels - 1)
        )
    };
    for (levels, fits) in [(127, true), (128, false)] {
        assert_eq!(parse(json(levels).as_bytes()).is_ok(), fits, "{levels}");
        assert_eq!(parse(&nested(levels)).is_ok(), fits, "{levels}");
    }
}

#[test]
fn five_megabytes_are_read_and_answered() {
    const SIZE: usize = 5 << 20;
    // One long text, a list of very many wrong items, very many unknown keys, a long name above
    // very many problems.
    let long_text = format!(r#"{{"backendFrom":"{}"}}"#, "x".repeat(SIZE));
    let items = format!(r#"{{"backendFrom":[{}1]}}"#, "1,".repeat(SIZE / 2));
    let keys: String = (0..SIZE / 12)
        .map(|key| format!(r#""k{key}":1,"#))
        .collect();
    let keys = format!(r#"{{{keys}"outgoingAuth":{{}}}}"#);
    let under_a_long_name = format!(
        r#"{{"outgoingAuth":{{"backends":{{"{}":{{"type":"token_exchange","tokenExchange":{{"tokenUrl":"https://sts","scopes":[{}1]}}}}}}}}}}"#,
        "n".repeat(SIZE / 2),
        "1,".repeat(SIZE / 4),
    );
    for (document, last) in [
        (long_text, "outgoingAuth: missing; must be a map"),
        (items, "outgoingAuth: missing; must be a map"),
        (keys, "further problems are not listed"),
        (under_a_long_name, "further problems are not listed"),
    ] {
        let errors = outcome(document).errors;
        let kept: usize = errors.iter().map(|error| error.text.len()).sum();
        assert!(kept < 64 << 20, "{kept}");
        let line = lines(&errors[errors.len() - 1..]).concat();
        assert!(line.ends_with(last), "{line:.200}");
        assert!(lines(&errors[..1]).concat().len() < SIZE);
    }
}

#[test]
fn a_text_of_five_megabytes_that_is_not_json_is_answered() {
    let text = format!("{{\"a\": \"{}", "x".repeat(5 << 20));
    let line = parse(text.as_bytes()).unwrap_err().to_string();
    assert!(
        line.starts_with("(root): not JSON: EOF while parsing a string"),
        "{line}"
    );
}

/// No arithmetic overflows, no index is out of range, whatever becomes of valid bytes.
#[test]
fn damaged_documents_are_answered() {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut random = |below: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state % below as u64) as usize
    };
    for case in super::cases::all() {
        let text = case.text.into_bytes();
        let as_struct = parse(&text)
            .ok()
            .and_then(|root| encode(&root))
            .filter(|bytes| !bytes.is_empty());
        for original in [Some(text), as_struct].into_iter().flatten() {
            for _ in 0..20 {
                let mut bytes = original.clone();
                for _ in 0..=random(3) {
                    let at = random(bytes.len());
                    match random(3) {
                        0 => bytes[at] = random(256) as u8,
                        1 => bytes.insert(at, random(256) as u8),
                        _ => bytes.truncate(at + 1),
                    }
                }
                let Ok(root) = parse(&bytes) else { continue };
                let outcome = super::plan(&root, &super::Variables);
                assert_eq!(outcome.plan.is_some(), outcome.errors.is_empty());
            }
        }
    }
}
