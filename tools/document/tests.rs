//! What every reader of a configuration file relies on.

use super::*;
use upstream_inject::config::Path;

fn one(text: &str) -> Document {
    let mut documents = parse(text.as_bytes()).unwrap_or_else(|error| panic!("{text}: {error:?}"));
    assert_eq!(documents.len(), 1, "{text}");
    documents.remove(0)
}

fn error(text: &str) -> SyntaxError {
    match parse(text.as_bytes()) {
        Ok(documents) => panic!("{text}: {documents:?}"),
        Err(error) => error,
    }
}

fn json(text: &str) -> Node {
    one(text).root
}

#[test]
fn yaml_and_json_give_the_same_tree() {
    for (yaml, as_json) in [
        ("a: 1\nb: [x, 'y', \"z\"]\n", r#"{"a":1,"b":["x","y","z"]}"#),
        ("a: {b: {c: yes}}\n", r#"{"a":{"b":{"c":"yes"}}}"#),
        ("a: !!str 1\nb: !!int '1'\n", r#"{"a":"1","b":1}"#),
        (
            "a: 'null'\nb: null\nc:\n",
            r#"{"a":"null","b":null,"c":null}"#,
        ),
        ("a: 1\na: 2\n", r#"{"a":1,"a":2}"#),
        ("1: x\ntrue: y\n", r#"{"1":"x","true":"y"}"#),
        ("\u{feff}a: 1\n", r#"{"a":1}"#),
        ("a: |\n  x\n  y\n", r#"{"a":"x\ny\n"}"#),
        (
            "x: &x {a: 1, b: 2}\ny: {<<: *x, b: 3}\n",
            r#"{"x":{"a":1,"b":2},"y":{"b":3,"a":1}}"#,
        ),
        (
            "y: {<<: [{a: 1}, {a: 2, b: 2}], '<<': z}\n",
            r#"{"y":{"<<":"z","a":1,"b":2}}"#,
        ),
        ("k: &k key\nm: {*k : v}\n", r#"{"k":"key","m":{"key":"v"}}"#),
        ("{a: 1}", r#" { "a" : 1 } "#),
        ("---\n---\na: 1\n---\n", r#"{"a":1}"#),
        ("", "null"),
        ("# nothing\n", "null"),
    ] {
        assert_eq!(json(yaml), json(as_json), "{yaml:?}");
    }
}

#[test]
fn what_begins_like_json_is_yaml_in_a_file_that_is_not_called_json() {
    for text in [
        "{\"a\": {b: 1}, # why\n  \"c\": 'd',}\n",
        "[{a: 1},]",
        "{\"a\": yes}\n",
    ] {
        let documents = parse_file(text.as_bytes(), "c.yaml").expect(text);
        assert_eq!(documents.len(), 1, "{text}");
        for strict in [
            parse_file(text.as_bytes(), "C.JSON"),
            parse(text.as_bytes()),
        ] {
            let error = strict.expect_err(text);
            assert!(error.text.starts_with("broken JSON"), "{text}: {error:?}");
        }
    }
    // Of two errors, the one that is told is further down.
    for (text, line, column, part) in [
        ("{\"a\": 1, 'b': 2,\n c: *d}\n", 2, 5, "broken YAML"),
        ("{\"a\": {\"b\": [1}}\n", 1, 15, "broken JSON"),
        ("{{ if .Values.a }}\na: b\n{{ end }}\n", 1, 2, "key"),
    ] {
        let error = parse_file(text.as_bytes(), "c.yaml").expect_err(text);
        let at = error.at.expect("a position");
        assert!(error.text.contains(part), "{text:?}: {error:?}");
        assert_eq!((at.line, at.column), (line, column), "{text:?}: {error:?}");
    }
}

#[test]
fn several_documents_stay_apart() {
    let documents = parse(b"a: &x 1\n---\nb: 2\n...\n---\nc: 3\n").expect("valid");
    assert_eq!(documents.len(), 3);
    assert_eq!(documents[1].position(&Path::root().key("b")).line, 3);
}

#[test]
fn every_value_has_its_place() {
    let yaml = "a:\n  b-b:\n    - x\n    - c: 1\n  d: {e: [1, 2]}\n  d: 2\n";
    let json =
        "{\n \"a\": {\"b-b\": [\"\\\"x\",\n  {\"c\": 1}],\n \"d\": {\"e\": [1, 2]}, \"d\": 2}}";
    let a = Path::root().key("a");
    for (path, in_yaml, in_json) in [
        (Path::root(), (1, 1), (1, 1)),
        (a.clone(), (1, 1), (2, 2)),
        (a.key("b-b"), (2, 3), (2, 8)),
        (a.key("b-b").index(0), (3, 7), (2, 16)),
        (a.key("b-b").index(1).key("c"), (4, 7), (3, 4)),
        (a.key("d"), (6, 3), (4, 22)),
        // What is missing would stand in the value around it.
        (a.key("b-b").index(1).key("missing"), (4, 7), (3, 3)),
        (a.key("nowhere").key("at all"), (1, 1), (2, 2)),
    ] {
        for (text, (line, column)) in [(yaml, in_yaml), (json, in_json)] {
            assert_eq!(
                one(text).position(&path),
                Position { line, column },
                "{path} in {text}"
            );
        }
    }
}

#[test]
fn what_only_an_earlier_one_of_two_equal_keys_has_is_found_there() {
    let yaml = "a:\n  x: 1\n  x: 2\n  z: [1]\na:\n  y: 1\n  z: []\n";
    let a = Path::root().key("a");
    for (path, line) in [
        (a.clone(), 5),
        (a.key("x"), 3),
        (a.key("y"), 6),
        (a.key("z"), 7),
        (a.key("z").index(0), 4),
        (a.key("missing"), 5),
    ] {
        assert_eq!(one(yaml).position(&path).line, line, "{path}");
    }
}

#[test]
fn what_is_broken_is_shown_where_it_is() {
    for (text, line, column, part) in [
        ("a: [1\nb: 2\n", 2, 2, "broken YAML"),
        ("a: 1\n\tb: 2\n", 1, 4, "broken YAML"),
        ("a: *nobody\n", 1, 4, "broken YAML"),
        ("a: &x [*x]\n", 1, 8, "part of"),
        ("a: !secret x\n", 1, 4, "tag"),
        ("a: !!int x\n", 1, 4, "tag"),
        ("? [a]\n: b\n", 1, 3, "key"),
        ("a: {<<: 1}\n", 1, 5, "merge key"),
        ("a: {<<: {b: 1}, <<: {c: 1}}\n", 1, 17, "twice"),
        ("{\"a\": 1,}", 1, 9, "broken JSON"),
        ("{\"a\": \"\\ud800\"}", 1, 7, "broken JSON"),
    ] {
        let error = error(text);
        let at = error.at.expect("a position");
        assert!(error.text.contains(part), "{text:?}: {error:?}");
        assert_eq!((at.line, at.column), (line, column), "{text:?}: {error:?}");
    }
}

#[test]
fn what_is_not_utf_8_is_shown_where_it_is() {
    let error = parse(b"a: 1\nb: \xff\n").expect_err("not UTF-8");
    assert_eq!(error.at, Some(Position { line: 2, column: 4 }));
    let utf16: Vec<u8> = "\u{feff}a: 1"
        .encode_utf16()
        .flat_map(u16::to_le_bytes)
        .collect();
    assert!(parse(&utf16).expect_err("UTF-16").text.contains("UTF-16"));
}

#[test]
fn no_file_exhausts_the_stack_or_the_memory() {
    let laughs: String = (1..30)
        .map(|level| {
            let before = level - 1;
            format!("a{level}: &a{level} [*a{before}, *a{before}, *a{before}, *a{before}]\n")
        })
        .collect();
    assert!(
        error(&format!("a0: &a0 x\n{laughs}"))
            .text
            .contains("aliases")
    );

    let ladder: String = (1..500)
        .map(|level| format!("a{level}: &a{level} [*a{}]\n", level - 1))
        .collect();
    assert!(
        error(&format!("a0: &a0 x\n{ladder}"))
            .text
            .contains("deeper")
    );

    for deep in [
        "[".repeat(100_000),
        "{\"a\":".repeat(100_000),
        "- ".repeat(100_000),
    ] {
        assert!(error(&deep).at.is_some());
    }
    let indented: String = (0..3_000)
        .map(|level| format!("{}a:\n", " ".repeat(level)))
        .collect();
    assert!(error(&indented).text.contains("deeper"));
}

#[test]
fn ten_megabytes_are_read() {
    let line = "  - {name: some-name, value: \"some text\", number: 12}\n";
    let big = format!("list:\n{}", line.repeat(10 * 1024 * 1024 / line.len()));
    let document = one(&big);
    assert_eq!(
        items(get(&document.root, "list").expect("there")).len(),
        10 * 1024 * 1024 / line.len()
    );
}

/// Whatever a parser expects to be impossible, a damaged file may hold.
#[test]
fn damaged_documents_are_read_or_refused_but_never_a_panic() {
    const SEEDS: [&str; 4] = [
        "a: &x {b: [1, 'two', \"three\\n\", !!str 4], c: |\n    text\n  }\nd: *x\n? e\n: - f\n  - <<: *x\n",
        "--- %TAG ! tag:x,2000:\n...\n%YAML 1.2\n---\nkey: >-\n  folded\n\n  text\nother: 'it''s'\n--- \n- - - x\n",
        "{\"a\": [1, 2.5e3, \"\\u00e9\\\\\", null, true], \"b\": {\"c\": {}}}",
        "outgoingAuth:\n  backends:\n    a.b: {type: upstream_inject, upstreamInject: {providerName: github}}\n",
    ];
    const INSERTS: &[u8] = b"{}[]:,-?&*!|>'\"%@`#~\\ \n\t\0\xef\xbb\xbf\xff0a<";
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut random = |below: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        usize::try_from(state % below as u64).unwrap()
    };
    for round in 0..40_000 {
        let mut bytes = SEEDS[round % SEEDS.len()].as_bytes().to_vec();
        for _ in 0..=random(6) {
            let at = random(bytes.len());
            match random(3) {
                0 => {
                    bytes.remove(at);
                }
                1 => bytes.insert(at, INSERTS[random(INSERTS.len())]),
                _ => {
                    let end = (at + random(8)).min(bytes.len());
                    let piece = bytes[at..end].to_vec();
                    let to = random(bytes.len());
                    bytes.splice(to..to, piece);
                }
            }
        }
        let shown = String::from_utf8_lossy(&bytes).into_owned();
        let outcome = std::panic::catch_unwind(|| {
            parse_file(&bytes, "c.yaml").map(|documents| documents.len())
        });
        assert!(outcome.is_ok(), "{shown:?}");
    }
}
