//! Findings for machines: one JSON object.

use super::{FileReport, worst};
use serde_json::{Value, json};

/// All files and their findings.
pub(crate) fn json(files: &[FileReport]) -> String {
    let all: Vec<_> = files.iter().map(file_json).collect();
    let report = json!({"verdict": worst(files).word(), "files": all});
    let mut text = serde_json::to_string_pretty(&report).unwrap_or_default();
    text.push('\n');
    text
}

fn file_json(file: &FileReport) -> Value {
    let findings: Vec<_> = file
        .with_excerpts()
        .map(|(finding, excerpt)| {
            json!({
                "severity": finding.severity.word(),
                "code": finding.code().id,
                "help": finding.code().link(),
                "line": finding.at.map(|at| at.line),
                "column": finding.at.map(|at| at.column),
                "excerpt": excerpt.map(|excerpt| excerpt.text),
                "path": finding.path,
                "rule": finding.rule.map(|rule| rule.to_string()),
                "text": finding.text,
            })
        })
        .collect();
    json!({
        "file": file.name,
        "kind": file.kind.map(|(_, word)| word),
        "verdict": file.verdict.word(),
        "findings": findings,
    })
}
