//! Reading what is to be judged.

use crate::codes;
use crate::report::{FileReport, Finding, Severity};
use document::Document;
use std::fs::File;
use std::io::{self, Read};
use std::rc::Rc;

/// Far above any configuration; a bound at all, because `/dev/zero` is a file too.
const MAX_BYTES: u64 = 64 * 1024 * 1024;

/// What the standard input is called.
pub(crate) const STDIN: &str = "(standard input)";

/// A file that was read and is YAML or JSON.
pub(crate) struct Input {
    /// As it was given on the command line.
    pub(crate) name: String,
    pub(crate) documents: Vec<Document>,
    /// What is in it.
    pub(crate) text: Rc<str>,
}

/// Reads and parses `name`; `-` is the standard input.
pub(crate) fn read(name: &str) -> Result<Input, FileReport> {
    let shown = if name == "-" { STDIN } else { name };
    let bytes = read_bytes(name).map_err(|error| {
        let finding = Finding::about_file(Severity::Error, None, in_words(&error));
        FileReport::unreadable(shown, finding.coded(&codes::UNREADABLE))
    })?;
    let text: Rc<str> = String::from_utf8_lossy(&bytes).into();
    let documents = document::parse_file(&bytes, name).map_err(|error| {
        let finding = Finding::about_file(Severity::Error, error.at, error.text);
        FileReport::unreadable(shown, finding.coded(&codes::SYNTAX)).with_source(&text)
    })?;
    Ok(Input {
        name: shown.to_owned(),
        documents,
        text,
    })
}

/// The text of a file, as far as it can be read as one: to see what it is. The error says why it cannot
/// be opened.
pub(crate) fn peek(file: &std::path::Path) -> io::Result<String> {
    let file = File::open(file)?;
    let mut bytes = Vec::new();
    let _ = file.take(MAX_BYTES).read_to_end(&mut bytes);
    Ok(String::from_utf8_lossy(&bytes).into_owned())
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
