//! What was found, for people and for machines.

mod excerpt;
mod github;
mod json;
mod sarif;
mod text;

pub(crate) use github::github;
pub(crate) use json::json;
pub(crate) use sarif::sarif;
pub(crate) use text::{Paint, findings, printable, text};

use crate::codes::{self, Code};
use document::Position;
use std::fmt::Write as _;
use std::rc::Rc;
use upstream_inject::config::{Path, Problem, Rule};

/// How bad a finding is, in rising order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Severity {
    /// Worth knowing.
    Note,
    /// Legal, but unwise.
    Warning,
    /// The filter, or an API server, would refuse it.
    Error,
}

impl Severity {
    fn word(self) -> &'static str {
        match self {
            Severity::Note => "note",
            Severity::Warning => "warning",
            Severity::Error => "error",
        }
    }
}

/// One thing to say about a file. Its text never holds a secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Finding {
    pub(crate) severity: Severity,
    pub(crate) at: Option<Position>,
    /// Where in the configuration; none for the file as a whole.
    pub(crate) path: Option<String>,
    /// Whether that is in the filter's own configuration, of which it logs the same line.
    is_own: bool,
    pub(crate) rule: Option<Rule>,
    /// What kind of finding it is; none yet where its verb has but one to give.
    pub(crate) code: Option<&'static Code>,
    pub(crate) text: String,
}

impl Finding {
    /// A finding about the file as a whole, or about one place of it.
    pub(crate) fn about_file(
        severity: Severity,
        at: Option<Position>,
        text: impl Into<String>,
    ) -> Self {
        Self {
            severity,
            at,
            path: None,
            is_own: false,
            rule: None,
            code: None,
            text: text.into(),
        }
    }

    /// A finding about one value of a configuration that is not the filter's.
    pub(crate) fn about_value(
        severity: Severity,
        at: Position,
        path: &Path,
        text: impl Into<String>,
    ) -> Self {
        Self {
            path: Some(path.to_string()),
            ..Self::about_file(severity, Some(at), text)
        }
    }

    /// The same under this code.
    pub(crate) fn coded(self, code: &'static Code) -> Self {
        Self {
            code: Some(code),
            ..self
        }
    }

    pub(crate) fn from_problem(severity: Severity, at: Position, problem: Problem) -> Self {
        Self {
            severity,
            at: Some(at),
            path: Some(problem.path.to_string()),
            is_own: true,
            rule: problem.rule,
            code: Some(codes::of_problem(&problem)),
            text: problem.text,
        }
    }

    /// By place, and there the worst first.
    fn rank(&self) -> (Option<Position>, std::cmp::Reverse<Severity>) {
        (self.at, std::cmp::Reverse(self.severity))
    }

    fn code(&self) -> &'static Code {
        self.code.unwrap_or(&codes::CONFIGURATION)
    }

    /// The line as the filter logs it, where the filter has one.
    fn line(&self) -> String {
        let mut line = String::new();
        if let Some(path) = &self.path {
            let whose = if self.is_own { "config: " } else { "" };
            let _ = write!(line, "{whose}{path}: ");
        }
        if let Some(rule) = self.rule {
            let _ = write!(line, "{rule}: ");
        }
        line + &self.text
    }
}

/// How a file, or all of them, came out. The worst decides the exit code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Verdict {
    /// No error.
    Valid,
    /// Readable, with errors.
    Invalid,
    /// Not readable: no such file, or no YAML or JSON.
    Unreadable,
}

impl Verdict {
    /// The exit code that scripts rely on.
    pub(crate) fn exit_code(self) -> u8 {
        match self {
            Verdict::Valid => 0,
            Verdict::Invalid => 1,
            Verdict::Unreadable => 2,
        }
    }

    fn word(self) -> &'static str {
        match self {
            Verdict::Valid => "valid",
            Verdict::Invalid => "invalid",
            Verdict::Unreadable => "unreadable",
        }
    }
}

/// All there is to say about one file.
#[derive(Debug)]
pub(crate) struct FileReport {
    /// The file, as it was given.
    pub(crate) name: String,
    /// What it was taken for, in words and for machines.
    pub(crate) kind: Option<(&'static str, &'static str)>,
    pub(crate) verdict: Verdict,
    pub(crate) findings: Vec<Finding>,
    /// What the file holds, for excerpts.
    source: Option<Rc<str>>,
}

impl FileReport {
    /// A report whose verdict follows from its findings.
    pub(crate) fn of(
        name: &str,
        kind: Option<(&'static str, &'static str)>,
        mut findings: Vec<Finding>,
    ) -> Self {
        findings.sort_by_key(Finding::rank);
        let is_invalid = findings
            .iter()
            .any(|finding| finding.severity == Severity::Error);
        Self {
            name: name.to_owned(),
            kind,
            verdict: if is_invalid {
                Verdict::Invalid
            } else {
                Verdict::Valid
            },
            findings,
            source: None,
        }
    }

    /// The same with what the file holds, of which excerpts are shown.
    pub(crate) fn with_source(self, source: &Rc<str>) -> Self {
        Self {
            source: Some(Rc::clone(source)),
            ..self
        }
    }

    /// Takes over what `other` says of the same file, and this does not.
    fn join(&mut self, other: Self) {
        // What cannot be read is told in the words of whoever tried first.
        if self.verdict == Verdict::Unreadable {
            return;
        }
        for finding in other.findings {
            if !self.findings.contains(&finding) {
                self.findings.push(finding);
            }
        }
        self.findings.sort_by_key(Finding::rank);
        self.verdict = self.verdict.max(other.verdict);
        self.kind = self.kind.or(other.kind);
        self.source = self.source.take().or(other.source);
    }

    /// Leaves out warnings and notes of these codes, gives findings without a code that of their verb,
    /// and lets warnings count where that is wanted.
    fn judge(&mut self, rules: &Judgement<'_>) {
        for finding in &mut self.findings {
            finding.code.get_or_insert(rules.usual);
        }
        self.findings.retain(|finding| {
            finding.severity == Severity::Error || !rules.ignored.contains(&finding.code())
        });
        if rules.strict && self.verdict == Verdict::Valid && self.count(Severity::Warning) > 0 {
            self.verdict = Verdict::Invalid;
        }
    }

    /// The findings, each with the line that it is about.
    fn with_excerpts(&self) -> impl Iterator<Item = (&Finding, Option<excerpt::Excerpt>)> {
        let lines = excerpt::lines(self.source.as_deref().unwrap_or_default());
        self.findings.iter().map(move |finding| {
            let excerpt = finding.at.and_then(|at| excerpt::of(&lines, at));
            (finding, excerpt)
        })
    }

    /// A report on a file that cannot be read.
    pub(crate) fn unreadable(name: &str, finding: Finding) -> Self {
        Self {
            name: name.to_owned(),
            kind: None,
            verdict: Verdict::Unreadable,
            findings: vec![finding],
            source: None,
        }
    }

    fn count(&self, severity: Severity) -> usize {
        self.findings
            .iter()
            .filter(|finding| finding.severity == severity)
            .count()
    }
}

/// Adds reports. What is new about a file of which one is there joins that: beside another configuration
/// there may be more to say of the auth server that both have.
pub(crate) fn join(files: &mut Vec<FileReport>, new: Vec<FileReport>) {
    for new in new {
        match files.iter_mut().find(|file| file.name == new.name) {
            Some(file) => file.join(new),
            None => files.push(new),
        }
    }
}

/// The worst verdict of all files.
pub(crate) fn worst(files: &[FileReport]) -> Verdict {
    files
        .iter()
        .map(|file| file.verdict)
        .max()
        .unwrap_or(Verdict::Valid)
}

/// How findings are judged.
#[derive(Debug)]
pub(crate) struct Judgement<'a> {
    /// Whether warnings count.
    pub(crate) strict: bool,
    /// Codes whose warnings and notes are left out.
    pub(crate) ignored: &'a [&'static Code],
    /// The code of findings that have none of their own.
    pub(crate) usual: &'static Code,
}

/// Judges all files, and gives the worst verdict.
pub(crate) fn judge(files: &mut [FileReport], rules: &Judgement<'_>) -> Verdict {
    for file in files.iter_mut() {
        file.judge(rules);
    }
    worst(files)
}
