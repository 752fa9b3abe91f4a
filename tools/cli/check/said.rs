//! What the rules have to say, before it has a place in a file.

use crate::codes::{self, Code};
use crate::report::Severity;
use upstream_inject::config::{Path, Problem, Rule};

/// One finding about a value of the configuration.
#[derive(Debug)]
pub(super) struct Said {
    pub(super) severity: Severity,
    pub(super) code: &'static Code,
    pub(super) problem: Problem,
}

/// Everything found so far.
#[derive(Debug, Default)]
pub(super) struct Notes(pub(super) Vec<Said>);

impl Notes {
    pub(super) fn error(&mut self, code: &'static Code, path: Path, text: impl Into<String>) {
        self.add(Severity::Error, code, path, text);
    }

    pub(super) fn warn(&mut self, code: &'static Code, path: Path, text: impl Into<String>) {
        self.add(Severity::Warning, code, path, text);
    }

    pub(super) fn note(&mut self, code: &'static Code, path: Path, text: impl Into<String>) {
        self.add(Severity::Note, code, path, text);
    }

    /// A finding of one of the numbered rules.
    pub(super) fn rule(
        &mut self,
        severity: Severity,
        rule: Rule,
        path: Path,
        text: impl Into<String>,
    ) {
        self.problem(
            severity,
            Problem {
                path,
                rule: Some(rule),
                text: text.into(),
            },
        );
    }

    /// A finding of the filter's own.
    pub(super) fn problem(&mut self, severity: Severity, problem: Problem) {
        let code = codes::of_problem(&problem);
        self.0.push(Said {
            severity,
            code,
            problem,
        });
    }

    /// Whether the value at `path` is known to be wrong.
    pub(super) fn is_wrong(&self, path: &Path) -> bool {
        self.0
            .iter()
            .any(|said| said.severity == Severity::Error && said.problem.path == *path)
    }

    fn add(
        &mut self,
        severity: Severity,
        code: &'static Code,
        path: Path,
        text: impl Into<String>,
    ) {
        let problem = Problem {
            path,
            rule: None,
            text: text.into(),
        };
        self.0.push(Said {
            severity,
            code,
            problem,
        });
    }
}

/// A text as it can stand in a message: quoted, on one line, not endless.
pub(super) fn quoted(text: &str) -> String {
    let short: String = text.chars().take(120).collect();
    let cut = if short.len() < text.len() { "…" } else { "" };
    serde_json::Value::from(format!("{short}{cut}")).to_string()
}
