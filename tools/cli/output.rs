//! Where things are written to.

use crate::report::{self, FileReport, Paint, Verdict};
use clap::ValueEnum;
use std::io::{self, IsTerminal as _, Write};
use std::path::Path;

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

/// Writes what was asked for, to `file` or to the standard output: all of it, or it is an error.
pub(crate) fn product(text: &str, file: Option<&Path>) -> Verdict {
    let (result, place) = match file {
        Some(file) => (replace(file, text), file.display().to_string()),
        None => (to_stdout(text), "the standard output".to_owned()),
    };
    match result {
        Ok(()) => Verdict::Valid,
        // `upstream-inject … | head` is no failure.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Verdict::Valid,
        Err(error) => {
            let place = report::printable(&place);
            let _ = writeln!(io::stderr(), "{place}: error: cannot be written: {error}");
            Verdict::Unreadable
        }
    }
}

fn to_stdout(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.flush()
}

/// Writes beside `file` first: a full disk leaves the old file as it was.
fn replace(file: &Path, text: &str) -> io::Result<()> {
    if !file.is_file() && file.exists() {
        return std::fs::write(file, text); // a pipe or a device
    }
    let mut name = file.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{}.tmp", std::process::id()));
    let beside = file.with_file_name(name);
    let written = std::fs::write(&beside, text).and_then(|()| std::fs::rename(&beside, file));
    if written.is_err() {
        let _ = std::fs::remove_file(&beside);
    }
    written
}

/// Says on the standard error what was found, one line each.
pub(crate) fn findings(files: &[FileReport], color: Color) {
    let paint = color.on(Stream::Err);
    let text: String = files
        .iter()
        .map(|file| report::findings(file, paint))
        .collect();
    let _ = io::stderr().write_all(text.as_bytes());
}
