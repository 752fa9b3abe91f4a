//! Findings as SARIF 2.1.0, which code hosts and editors show.

use super::{FileReport, Finding, Severity, excerpt::Excerpt};
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// What cannot stand in a path of a URI reference.
const IN_PATH: &AsciiSet = &CONTROLS
    .add(b' ')
    .add(b'"')
    .add(b'#')
    .add(b'%')
    .add(b':')
    .add(b'<')
    .add(b'>')
    .add(b'?')
    .add(b'[')
    .add(b'\\')
    .add(b']')
    .add(b'^')
    .add(b'`')
    .add(b'{')
    .add(b'|')
    .add(b'}');

/// One run with all findings.
pub(crate) fn sarif(files: &[FileReport]) -> String {
    let mut rules = BTreeMap::new();
    let mut results = Vec::new();
    for file in files {
        for (finding, excerpt) in file.with_excerpts() {
            let code = finding.code();
            rules.entry(code.id).or_insert_with(|| {
                json!({
                    "id": code.id,
                    "shortDescription": {"text": code.title},
                    "fullDescription": {"text": code.advice},
                    "help": {"text": format!("{} See {}.", code.advice, code.link())},
                })
            });
            results.push(result(file, finding, excerpt));
        }
    }
    let log = json!({
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "version": "2.1.0",
        "runs": [{
            "tool": {"driver": {
                "name": "upstream-inject",
                "version": env!("CARGO_PKG_VERSION"),
                "rules": rules.into_values().collect::<Vec<_>>(),
            }},
            "columnKind": "unicodeCodePoints",
            "results": results,
        }],
    });
    let mut text = serde_json::to_string_pretty(&log).unwrap_or_default();
    text.push('\n');
    text
}

fn result(file: &FileReport, finding: &Finding, excerpt: Option<Excerpt>) -> Value {
    let level = match finding.severity {
        Severity::Note => "note",
        Severity::Warning => "warning",
        Severity::Error => "error",
    };
    let uri = utf8_percent_encode(&file.name, IN_PATH).to_string();
    let mut place = json!({"artifactLocation": {"uri": uri}});
    if let (Some(at), Some(place)) = (finding.at, place.as_object_mut()) {
        let mut region = json!({"startLine": at.line, "startColumn": at.column});
        if let (Some(excerpt), Some(region)) = (excerpt, region.as_object_mut()) {
            region.insert("snippet".to_owned(), json!({"text": excerpt.text}));
        }
        place.insert("region".to_owned(), region);
    }
    json!({
        "ruleId": finding.code().id,
        "level": level,
        "message": {"text": finding.line()},
        "locations": [{"physicalLocation": place}],
    })
}
