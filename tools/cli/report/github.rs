//! Findings as workflow commands of GitHub Actions, which shows them in a pull request.

use super::{FileReport, Severity};
use std::fmt::Write as _;

/// A line for each finding.
pub(crate) fn github(files: &[FileReport]) -> String {
    let mut text = String::new();
    for file in files {
        for finding in &file.findings {
            let command = match finding.severity {
                Severity::Note => "notice",
                Severity::Warning => "warning",
                Severity::Error => "error",
            };
            let _ = write!(text, "::{command} file={}", property(&file.name));
            if let Some(at) = finding.at {
                let _ = write!(text, ",line={},col={}", at.line, at.column);
            }
            let code = finding.code();
            let message = format!("{} ({})", finding.line(), code.link());
            let _ = writeln!(text, ",title={}::{}", property(code.id), data(&message));
        }
    }
    text
}

/// A message: one line, whatever is in it.
fn data(text: &str) -> String {
    super::printable(
        &text
            .replace('%', "%25")
            .replace('\r', "%0D")
            .replace('\n', "%0A"),
    )
}

/// A property, which ends at a comma or a colon.
fn property(text: &str) -> String {
    data(text).replace(':', "%3A").replace(',', "%2C")
}
