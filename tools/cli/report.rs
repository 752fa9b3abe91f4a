//! What was found, for people and for machines.

use anstyle::{AnsiColor, Style};
use document::Position;
use serde_json::json;
use std::fmt::Write as _;
use upstream_inject::config::{Problem, Rule};

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

    fn style(self) -> Style {
        let color = match self {
            Severity::Note => AnsiColor::Cyan,
            Severity::Warning => AnsiColor::Yellow,
            Severity::Error => AnsiColor::Red,
        };
        Style::new().bold().fg_color(Some(color.into()))
    }
}

/// One thing to say about a file. Its text never holds a secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Finding {
    pub(crate) severity: Severity,
    pub(crate) at: Option<Position>,
    /// Where in the configuration, as the filter writes it; none for the file as a whole.
    pub(crate) path: Option<String>,
    pub(crate) rule: Option<Rule>,
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
            rule: None,
            text: text.into(),
        }
    }

    pub(crate) fn from_problem(severity: Severity, at: Position, problem: Problem) -> Self {
        Self {
            severity,
            at: Some(at),
            path: Some(problem.path.to_string()),
            rule: problem.rule,
            text: problem.text,
        }
    }

    /// The line as the filter logs it, where the filter has one.
    fn line(&self) -> String {
        let mut line = String::new();
        if let Some(path) = &self.path {
            let _ = write!(line, "config: {path}: ");
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
}

impl FileReport {
    /// A report whose verdict follows from its findings.
    pub(crate) fn of(
        name: &str,
        kind: Option<(&'static str, &'static str)>,
        mut findings: Vec<Finding>,
    ) -> Self {
        findings.sort_by_key(|finding| (finding.at, std::cmp::Reverse(finding.severity)));
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
        }
    }

    /// A report on a file that cannot be read.
    pub(crate) fn unreadable(name: &str, finding: Finding) -> Self {
        Self {
            name: name.to_owned(),
            kind: None,
            verdict: Verdict::Unreadable,
            findings: vec![finding],
        }
    }

    fn count(&self, severity: Severity) -> usize {
        self.findings
            .iter()
            .filter(|finding| finding.severity == severity)
            .count()
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

/// Whether text comes with colours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Paint {
    Plain,
    Colored,
}

impl Paint {
    fn apply(self, style: Style, text: &str) -> String {
        match self {
            Paint::Plain => text.to_owned(),
            Paint::Colored => format!("{style}{text}{style:#}"),
        }
    }
}

/// One line per finding, `FILE:LINE:COLUMN: SEVERITY: TEXT`.
pub(crate) fn findings(file: &FileReport, paint: Paint) -> String {
    let mut text = String::new();
    for finding in &file.findings {
        let mut place = printable(&file.name);
        if let Some(at) = finding.at {
            let _ = write!(place, ":{}:{}", at.line, at.column);
        }
        let severity = paint.apply(finding.severity.style(), finding.severity.word());
        let place = paint.apply(Style::new().bold(), &place);
        let _ = writeln!(text, "{place}: {severity}: {}", printable(&finding.line()));
    }
    text
}

/// The findings of all files, a line on each file, and what they come to.
pub(crate) fn text(files: &[FileReport], paint: Paint) -> String {
    let mut text = String::new();
    for file in files {
        text.push_str(&findings(file, paint));
        let _ = writeln!(text, "{}", verdict_line(file, paint));
    }
    if files.len() > 1 {
        let of = |verdict| files.iter().filter(|file| file.verdict == verdict).count();
        let _ = writeln!(
            text,
            "{} files: {} valid, {} invalid, {} unreadable",
            files.len(),
            of(Verdict::Valid),
            of(Verdict::Invalid),
            of(Verdict::Unreadable)
        );
    }
    text
}

fn verdict_line(file: &FileReport, paint: Paint) -> String {
    let color = match file.verdict {
        Verdict::Valid => AnsiColor::Green,
        Verdict::Invalid | Verdict::Unreadable => AnsiColor::Red,
    };
    let style = Style::new().bold().fg_color(Some(color.into()));
    let mut line = format!(
        "{}: {}",
        printable(&file.name),
        paint.apply(style, file.verdict.word())
    );
    if let Some((words, _)) = file.kind {
        let _ = write!(line, " (read as {words})");
    }
    let (errors, warnings) = (file.count(Severity::Error), file.count(Severity::Warning));
    if file.verdict != Verdict::Unreadable && (errors > 0 || warnings > 0) {
        let _ = write!(
            line,
            ": {}, {}",
            count(errors, "error"),
            count(warnings, "warning")
        );
    }
    line
}

fn count(number: usize, what: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{number} {what}{plural}")
}

/// The same for machines: one JSON object.
pub(crate) fn json(files: &[FileReport]) -> String {
    let all: Vec<_> = files.iter().map(file_json).collect();
    let report = json!({"verdict": worst(files).word(), "files": all});
    let mut text = serde_json::to_string_pretty(&report).unwrap_or_default();
    text.push('\n');
    text
}

fn file_json(file: &FileReport) -> serde_json::Value {
    let findings: Vec<_> = file
        .findings
        .iter()
        .map(|finding| {
            json!({
                "severity": finding.severity.word(),
                "line": finding.at.map(|at| at.line),
                "column": finding.at.map(|at| at.column),
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

/// What a file can name itself, or a key in it, cannot move the cursor or fake a line, on a screen
/// or in a comment.
pub(crate) fn printable(text: &str) -> String {
    text.chars()
        .flat_map(|character| {
            let is_deceptive = crate::emit::is_deceptive(character);
            let escaped = is_deceptive.then(|| character.escape_default());
            let plain = (!is_deceptive).then_some(character);
            escaped.into_iter().flatten().chain(plain)
        })
        .collect()
}
