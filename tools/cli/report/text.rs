//! Findings for people: a line each, the line of the source below it.

use super::{FileReport, Finding, Severity, Verdict, excerpt::Excerpt};
use anstyle::{AnsiColor, Style};
use std::fmt::Write as _;

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

fn style_of(severity: Severity) -> Style {
    let color = match severity {
        Severity::Note => AnsiColor::Cyan,
        Severity::Warning => AnsiColor::Yellow,
        Severity::Error => AnsiColor::Red,
    };
    Style::new().bold().fg_color(Some(color.into()))
}

/// Per finding `FILE:LINE:COLUMN: SEVERITY: TEXT`, and below it the line and the finding's code.
pub(crate) fn findings(file: &FileReport, paint: Paint) -> String {
    let mut text = String::new();
    add_findings(&mut text, file, paint);
    text
}

fn add_findings(text: &mut String, file: &FileReport, paint: Paint) {
    let name = printable(&file.name);
    for (finding, excerpt) in file.with_excerpts() {
        let place = match finding.at {
            Some(at) => format!("{name}:{}:{}", at.line, at.column),
            None => name.clone(),
        };
        let style = style_of(finding.severity);
        let severity = paint.apply(style, finding.severity.word());
        let place = paint.apply(Style::new().bold(), &place);
        let _ = writeln!(text, "{place}: {severity}: {}", printable(&finding.line()));
        below(text, finding, excerpt.as_ref(), paint);
    }
}

/// The excerpt with a caret, and where the page explains the code.
fn below(text: &mut String, finding: &Finding, excerpt: Option<&Excerpt>, paint: Paint) {
    let style = style_of(finding.severity);
    let code = finding.code();
    let code = format!("[{}] {}", code.id, code.link());
    let (Some(excerpt), Some(at)) = (excerpt, finding.at) else {
        let _ = writeln!(text, "       = {code}");
        return;
    };
    let indent = " ".repeat(excerpt.indent);
    let caret = paint.apply(style, &"^".repeat(excerpt.width.max(1)));
    let _ = writeln!(text, " {:>5} | {}", at.line, printable(&excerpt.text));
    let _ = writeln!(text, "       | {indent}{caret} {code}");
}

/// The findings of all files, a line on each file, and what they come to.
pub(crate) fn text(files: &[FileReport], paint: Paint) -> String {
    let mut text = String::new();
    for file in files {
        add_findings(&mut text, file, paint);
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

/// What a file can name itself, or a key in it, cannot move the cursor or fake a line, on a screen
/// or in a comment.
pub(crate) fn printable(text: &str) -> String {
    let is_plain = |character: char| {
        // `…` is what excerpts leave out.
        matches!(character, ' '..='~' | '…') || !crate::emit::is_deceptive(character)
    };
    if text.chars().all(is_plain) {
        return text.to_owned(); // nearly every line of a long report
    }
    text.chars()
        .flat_map(|character| {
            let is_deceptive = crate::emit::is_deceptive(character);
            let escaped = is_deceptive.then(|| character.escape_default());
            let plain = (!is_deceptive).then_some(character);
            escaped.into_iter().flatten().chain(plain)
        })
        .collect()
}
