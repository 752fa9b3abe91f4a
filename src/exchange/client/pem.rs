//! PEM (RFC 7468), as key files have it: blocks of base64, with any text around them.

use crate::exchange::base64::STANDARD;
use std::fmt;

const BEGIN: &str = "-----BEGIN ";
const END: &str = "-----END ";
const DASHES: &str = "-----";

/// One block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Block<'a> {
    /// What it says that it holds.
    pub label: &'a str,
    /// Whether it has header fields, as keys do that OpenSSL encrypted in its old way.
    pub has_headers: bool,
    base64: String,
}

/// What is wrong with a text that should be PEM. Says nothing of what the text holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Problem {
    /// There is no block in it.
    NoBlock,
    /// It is one long line.
    NoLineBreaks,
    /// A block has no end.
    Unfinished,
    /// What is between the dashes is not base64.
    NotBase64,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoBlock => {
                "holds no PEM block (-----BEGIN …-----): it has to be the text of the file, not its \
                 path, and not encoded once more"
            }
            Self::NoLineBreaks => {
                "has lost the line breaks of its PEM block, or has them as the two characters \\n"
            }
            Self::Unfinished => "is truncated: a PEM block in it has no -----END …----- of its own",
            Self::NotBase64 => "is damaged: its PEM block is not base64",
        })
    }
}

/// The blocks of `text`, at least one. What stands around them is left alone: OpenSSL writes
/// descriptions there.
pub(crate) fn blocks(text: &str) -> Result<Vec<Block<'_>>, Problem> {
    let mut blocks = Vec::new();
    let mut open: Option<Block<'_>> = None;
    // Windows' editors put a mark at the beginning.
    for line in text
        .trim_start_matches('\u{feff}')
        .lines()
        .map(str::trim_ascii)
    {
        open = match open {
            None if line.starts_with(BEGIN) => Some(begin(line)?),
            None if line.starts_with(END) => return Err(Problem::Unfinished),
            None => None,
            Some(block) if line.starts_with(DASHES) => {
                blocks.push(end(block, line)?);
                None
            }
            Some(mut block) => {
                match line.contains(':') {
                    true => block.has_headers = true,
                    false => block.base64.push_str(line),
                }
                Some(block)
            }
        };
    }
    match open {
        Some(_) => Err(Problem::Unfinished),
        None if blocks.is_empty() => Err(Problem::NoBlock),
        None => Ok(blocks),
    }
}

fn begin(line: &str) -> Result<Block<'_>, Problem> {
    let rest = line.strip_prefix(BEGIN).ok_or(Problem::Unfinished)?;
    let label = match rest.strip_suffix(DASHES) {
        Some(label) if !label.contains('-') => label,
        // Something stands behind the dashes.
        _ if rest.trim_end_matches('-').contains('-') => return Err(Problem::NoLineBreaks),
        _ => return Err(Problem::Unfinished),
    };
    Ok(Block {
        label,
        has_headers: false,
        base64: String::new(),
    })
}

fn end<'a>(block: Block<'a>, line: &str) -> Result<Block<'a>, Problem> {
    let label = line
        .strip_prefix(END)
        .and_then(|rest| rest.strip_suffix(DASHES));
    match label == Some(block.label) {
        true => Ok(block),
        false => Err(Problem::Unfinished),
    }
}

impl Block<'_> {
    /// The bytes.
    pub(crate) fn decode(&self) -> Result<Vec<u8>, Problem> {
        STANDARD
            .decode(self.base64.as_bytes())
            .ok_or(Problem::NotBase64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read(text: &str) -> Result<Vec<(&str, Vec<u8>)>, Problem> {
        blocks(text)?
            .into_iter()
            .map(|block| Ok((block.label, block.decode()?)))
            .collect()
    }

    #[test]
    fn blocks_are_found_with_their_bytes() {
        let one = vec![("A KEY", b"hello".to_vec())];
        for (text, expected) in [
            (
                "-----BEGIN A KEY-----\naGVsbG8=\n-----END A KEY-----\n",
                &one,
            ),
            ("-----BEGIN A KEY-----\naGVsbG8=\n-----END A KEY-----", &one),
            (
                "-----BEGIN A KEY-----\r\naGVs\r\nbG8=\r\n-----END A KEY-----\r\n",
                &one,
            ),
            (
                "\u{feff}-----BEGIN A KEY-----\naGVsbG8=\n-----END A KEY-----",
                &one,
            ),
            (
                "  -----BEGIN A KEY-----\n\n  aGVs  \n\tbG8=\n  -----END A KEY-----  \n",
                &one,
            ),
            (
                "Bag Attributes\n    localKeyID: 01\n-----BEGIN A KEY-----\naGVsbG8=\n\
                 -----END A KEY-----\nand more",
                &one,
            ),
            (
                "-----BEGIN A-----\naGk=\n-----END A-----\n-----BEGIN B-----\n-----END B-----",
                &vec![("A", b"hi".to_vec()), ("B", vec![])],
            ),
        ] {
            assert_eq!(read(text).as_ref(), Ok(expected), "{text}");
        }
    }

    #[test]
    fn what_is_not_pem_is_said_to_be_what_it_is() {
        for (text, problem) in [
            ("", Problem::NoBlock),
            ("/etc/keys/client.pem", Problem::NoBlock),
            ("LS0tLS1CRUdJTiBQUklWQVRFIEtFWS0tLS0t", Problem::NoBlock),
            (
                "---- BEGIN A KEY ----\naGk=\n---- END A KEY ----",
                Problem::NoBlock,
            ),
            (
                "-----BEGIN A KEY----- aGk= -----END A KEY-----",
                Problem::NoLineBreaks,
            ),
            (
                r"-----BEGIN A KEY-----\naGk=\n-----END A KEY-----\n",
                Problem::NoLineBreaks,
            ),
            ("-----BEGIN A KEY-----\naGk=", Problem::Unfinished),
            ("-----BEGIN A KEY", Problem::Unfinished),
            ("-----BEGIN A KEY-----", Problem::Unfinished),
            ("-----BEGIN A KEY----", Problem::Unfinished),
            (
                "-----BEGIN A KEY-----\naGk=\n-----END A KE",
                Problem::Unfinished,
            ),
            (
                "-----BEGIN A KEY-----\naGk=\n-----END A KEY----",
                Problem::Unfinished,
            ),
            (
                "-----BEGIN A KEY-----\naGk=\n-----END B KEY-----",
                Problem::Unfinished,
            ),
            (
                "-----BEGIN A-----\naGk=\n-----BEGIN A-----\naGk=\n-----END A-----",
                Problem::Unfinished,
            ),
            ("aGk=\n-----END A KEY-----", Problem::Unfinished),
            (
                "-----BEGIN A-----\na*k=\n-----END A-----",
                Problem::NotBase64,
            ),
            (
                "-----BEGIN A-----\naGk\n-----END A-----",
                Problem::NotBase64,
            ),
            (
                "-----BEGIN A-----\naGk=aGk=\n-----END A-----",
                Problem::NotBase64,
            ),
        ] {
            assert_eq!(read(text), Err(problem), "{text}");
        }
    }

    proptest! {
        #[test]
        fn no_text_is_too_strange(text in "(-----(BEGIN|END) [AB]-----|[a-zA-Z=: \\r-]|\\n|.)*") {
            let _ = read(&text);
        }
    }
}
