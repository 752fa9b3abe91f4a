//! How findings are told, and where things are written to.

use crate::codes::{self, Code};
use crate::report::{self, FileReport, Judgement, Paint, Verdict};
use clap::{Args, ValueEnum};
use std::io::{self, IsTerminal as _, Write};
use std::path::Path;

/// How findings are told, the same for all verbs.
#[derive(Debug, Args)]
#[command(next_help_heading = "Findings")]
pub(crate) struct Reporting {
    /// How to tell what was found
    ///
    /// What a verb makes goes to the standard output, and what it found, in this format, to the
    /// standard error; what check found is what it makes.
    #[arg(long, value_enum, default_value_t)]
    pub(crate) format: ReportFormat,

    /// Make warnings count: with one, the exit code is 1 and nothing is written
    #[arg(long)]
    pub(crate) strict: bool,

    /// Silence warnings and notes of this code; repeatable. Errors stay
    #[arg(long, value_name = "CODE", value_parser = codes::parse)]
    pub(crate) ignore: Vec<&'static Code>,

    /// When to print in colours
    #[arg(long, value_enum, default_value_t, value_name = "WHEN")]
    pub(crate) color: Color,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum ReportFormat {
    /// For people
    #[default]
    Text,
    /// One JSON object
    Json,
    /// Workflow commands of GitHub Actions
    Github,
    /// SARIF 2.1.0
    Sarif,
}

/// One of the two standard streams.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stream {
    Out,
    Err,
}

/// When to print in colours.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Color {
    /// On a terminal, unless NO_COLOR is set
    #[default]
    Auto,
    Always,
    Never,
}

impl Color {
    /// Whether to paint what goes to `stream`.
    pub(crate) fn on(self, stream: Stream) -> Paint {
        let painted = match self {
            Color::Always => true,
            Color::Never => false,
            Color::Auto => {
                let is_refused =
                    std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
                let is_dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
                let is_terminal = match stream {
                    Stream::Out => std::io::stdout().is_terminal(),
                    Stream::Err => std::io::stderr().is_terminal(),
                };
                is_terminal && !is_refused && !is_dumb
            }
        };
        if painted {
            Paint::Colored
        } else {
            Paint::Plain
        }
    }
}

impl Reporting {
    /// Judges what was found as the command line wants it; `usual` is the code of findings that have
    /// none of their own.
    pub(crate) fn judge(&self, files: &mut [FileReport], usual: &'static Code) -> Verdict {
        let rules = Judgement {
            strict: self.strict,
            ignored: &self.ignore,
            usual,
        };
        report::judge(files, &rules)
    }

    /// Findings that are what was asked for.
    pub(crate) fn report(&self, files: &[FileReport]) -> Verdict {
        let text = match self.format {
            ReportFormat::Text => report::text(files, self.color.on(Stream::Out)),
            machine => for_machines(files, machine),
        };
        product(&text, None, &[])
    }

    /// Findings beside what was asked for: on the standard error.
    pub(crate) fn aside(&self, files: &[FileReport]) {
        let text = match self.format {
            ReportFormat::Text => {
                let paint = self.color.on(Stream::Err);
                files
                    .iter()
                    .map(|file| report::findings(file, paint))
                    .collect()
            }
            machine => for_machines(files, machine),
        };
        let _ = io::stderr().write_all(text.as_bytes());
    }
}

fn for_machines(files: &[FileReport], format: ReportFormat) -> String {
    match format {
        ReportFormat::Text => report::text(files, Paint::Plain),
        ReportFormat::Json => report::json(files),
        ReportFormat::Github => report::github(files),
        ReportFormat::Sarif => report::sarif(files),
    }
}

/// Writes what was asked for, to `file` or to the standard output: all of it, or it is an error. No
/// file that was read for it is written over.
pub(crate) fn product(text: &str, file: Option<&Path>, inputs: &[&str]) -> Verdict {
    let (result, place) = match file {
        Some(file) => (replace(file, text, inputs), file.display().to_string()),
        None => (to_stdout(text), "the standard output".to_owned()),
    };
    match result {
        Ok(()) => Verdict::Valid,
        // `upstream-inject … | head` is no failure.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Verdict::Valid,
        Err(error) => {
            let place = report::printable(&place);
            let code = codes::UNREADABLE.link();
            let text = format!("{place}: error: cannot be written: {error}\n       = {code}");
            let _ = writeln!(io::stderr(), "{text}");
            Verdict::Unreadable
        }
    }
}

fn to_stdout(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.flush()
}

/// Writes beside `file` first: a full disk leaves the old file as it was. A link is followed, and a
/// file that was there keeps its mode.
fn replace(file: &Path, text: &str, inputs: &[&str]) -> io::Result<()> {
    let target = std::fs::canonicalize(file);
    let is_input = |input: &&str| {
        let input = std::fs::canonicalize(input);
        matches!((&input, &target), (Ok(input), Ok(target)) if input == target)
    };
    if inputs.iter().any(is_input) {
        return Err(io::Error::other("it is what was read"));
    }
    let target = target.unwrap_or_else(|_| file.to_owned());
    let old = std::fs::metadata(&target);
    if old.as_ref().is_ok_and(|old| !old.is_file()) {
        return std::fs::write(&target, text); // a pipe or a device
    }
    let mut name = target.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{}.tmp", std::process::id()));
    let beside = target.with_file_name(name);
    let written = std::fs::write(&beside, text)
        .and_then(|()| match &old {
            Ok(old) => std::fs::set_permissions(&beside, old.permissions()),
            Err(_) => Ok(()),
        })
        .and_then(|()| std::fs::rename(&beside, &target));
    if written.is_err() {
        let _ = std::fs::remove_file(&beside);
    }
    written
}
