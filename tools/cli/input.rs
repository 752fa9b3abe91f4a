//! Reading what is to be judged.

use crate::report::{FileReport, Finding, Severity};
use document::Document;
use std::fs::File;
use std::io::{self, Read};

/// Far above any configuration; a bound at all, because `/dev/zero` is a file too.
const MAX_BYTES: u64 = 64 * 1024 * 1024;

/// A file that was read and is YAML or JSON.
pub(crate) struct Input {
    /// As it was given on the command line.
    pub(crate) name: String,
    pub(crate) documents: Vec<Document>,
}

/// Reads and parses `name`; `-` is the standard input.
pub(crate) fn read(name: &str) -> Result<Input, FileReport> {
    let shown = if name == "-" {
        "(standard input)"
    } else {
        name
    };
    let unreadable = |finding| FileReport::unreadable(shown, finding);
    let bytes = read_bytes(name).map_err(|error| {
        unreadable(Finding::about_file(Severity::Error, None, in_words(&error)))
    })?;
    let documents = document::parse(&bytes)
        .map_err(|error| unreadable(Finding::about_file(Severity::Error, error.at, error.text)))?;
    Ok(Input {
        name: shown.to_owned(),
        documents,
    })
}

fn read_bytes(name: &str) -> io::Result<Vec<u8>> {
    let source: Box<dyn Read> = if name == "-" {
        Box::new(io::stdin())
    } else {
        Box::new(File::open(name)?)
    };
    let mut bytes = Vec::new();
    source
        .take(MAX_BYTES.saturating_add(1))
        .read_to_end(&mut bytes)?;
    if u64::try_from(bytes.len()).unwrap_or(u64::MAX) > MAX_BYTES {
        return Err(io::Error::other(
            "larger than 64 MiB, which no configuration is",
        ));
    }
    Ok(bytes)
}

/// Without `(os error 2)`.
fn in_words(error: &io::Error) -> String {
    let text = error.to_string();
    let words = text.split(" (os error").next().unwrap_or_default();
    format!("cannot be read: {words}")
}
