//! What is wrong with a configuration, in words an operator can act on.

use super::path::{Path, Place};
use super::tree::Node;
use crate::quote::shown;
use std::cell::Cell;
use std::collections::BinaryHeap;
use std::fmt;

/// The numbered validation rules of RFC THV-0054.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Rule {
    /// An upstream token is asked for, but there is no auth server to provide one.
    V01 = 1,
    /// A provider name that is not among the auth server's upstreams.
    V02,
    /// Warning: `token_exchange` under an auth server hands the TH-JWT to the STS.
    V03,
    /// The issuer of incoming tokens is not the auth server's (whole vMCP files only).
    V04,
    /// The auth server's own structure.
    V05,
    /// An empty provider name.
    V06,
    /// The audience of incoming tokens is not one the auth server issues (whole vMCP files only).
    V07,
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "V-0{}", *self as u8)
    }
}

/// One finding: an error or a warning, depending on the list that holds it.
///
/// Prints as `<path>: <rule, if it has a number>: <what is wrong and what is allowed>`; the filter
/// and the command-line tool put `config: ` in front. The text never holds a secret.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Problem {
    /// The value in question, or where a missing one should be.
    pub path: Path,
    /// The RFC's number, where the rule has one.
    pub rule: Option<Rule>,
    /// What is wrong, and what is allowed.
    pub text: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.path)?;
        if let Some(rule) = self.rule {
            write!(f, "{rule}: ")?;
        }
        f.write_str(&self.text)
    }
}

/// What is wrong with a value whose place the caller knows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wrong {
    /// The RFC's number, where the rule has one.
    pub rule: Option<Rule>,
    /// What is wrong, and what is allowed.
    pub text: String,
    /// What is wrong with the same value besides, a finding of its own each.
    also: Vec<Wrong>,
}

impl Wrong {
    /// A finding without a number.
    pub fn new(text: impl Into<String>) -> Self {
        Self::of(None, text)
    }

    /// The finding of a numbered rule, if `rule` is one.
    pub fn of(rule: impl Into<Option<Rule>>, text: impl Into<String>) -> Self {
        Self {
            rule: rule.into(),
            text: text.into(),
            also: Vec::new(),
        }
    }

    /// This finding, and a further one about the same value.
    #[must_use]
    pub fn and(mut self, other: Self) -> Self {
        self.also.push(other);
        self
    }

    /// All findings about one value as one, if there are any.
    pub fn all(found: impl IntoIterator<Item = Self>) -> Option<Self> {
        found.into_iter().reduce(Self::and)
    }

    /// How many findings it is.
    #[cfg(test)]
    pub fn count(&self) -> usize {
        self.also.iter().map(Self::count).sum::<usize>() + 1
    }

    /// The finding that a value is not even of the right kind.
    pub fn kind(allowed: &str, node: &Node) -> Self {
        Self::new(format!("must be {allowed}, not {}", node.kind()))
    }
}

/// Proof that a problem has been reported: a function that returns it instead of a value cannot
/// leave a part of the plan out silently.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reported(());

/// All values, or that one was reported; those after it are looked at all the same.
pub(crate) fn all<T, All: Default + Extend<T>>(
    values: impl IntoIterator<Item = Result<T, Reported>>,
) -> Result<All, Reported> {
    let (mut all, mut wrong) = (All::default(), None);
    for value in values {
        match value {
            Ok(value) => all.extend([value]),
            Err(reported) => wrong = Some(reported),
        }
    }
    wrong.map_or(Ok(all), Err)
}

/// The problems found so far.
///
/// A hostile document can hold millions, each with a path as long as the document. Beyond
/// [`Problems::ROOM`] bytes they are counted, not kept: 100,000 ordinary problems fit.
#[derive(Default)]
pub struct Problems(Cell<Found>);

#[derive(Default)]
struct Found {
    kept: Vec<Problem>,
    bytes: usize,
    left_out: usize,
}

impl Problems {
    /// How much text is kept, in bytes.
    const ROOM: usize = 16 << 20;

    /// Adds a problem, or as many as `wrong` is made of.
    pub(crate) fn report(&self, place: &Place<'_>, wrong: Wrong) -> Reported {
        for wrong in wrong.also {
            self.report(place, wrong);
        }
        let mut found = self.0.take();
        if found.bytes >= Self::ROOM {
            found.left_out = found.left_out.saturating_add(1);
        } else {
            let problem = Problem {
                path: place.path(),
                rule: wrong.rule,
                text: wrong.text,
            };
            found.bytes = found
                .bytes
                .saturating_add(problem.path.text_len())
                .saturating_add(problem.text.len());
            found.kept.push(problem);
        }
        self.0.set(found);
        Reported(())
    }

    /// All problems, in the order of their paths: the keys of a `Struct` come in any order, and the
    /// same configuration should be answered with the same lines.
    pub fn into_sorted(self) -> Vec<Problem> {
        let Found { kept, left_out, .. } = self.0.into_inner();
        // Sorted by a heap, which is a tenth of the code of the standard library's sort.
        let mut sorted = BinaryHeap::from(kept).into_sorted_vec();
        if left_out > 0 {
            sorted.push(Problem {
                path: Path::root(),
                rule: None,
                text: format!("{left_out} further problems are not listed"),
            });
        }
        sorted
    }
}

/// `text` as a JSON string, cut to a length that fits a log line: it cannot begin a second line.
pub(crate) fn quoted(text: &str) -> String {
    const LONGEST: usize = 200;
    match text.char_indices().nth(LONGEST) {
        Some((end, _)) => shown(&format!("{}…", text.get(..end).unwrap_or_default())),
        None => shown(text),
    }
}

/// Whether `written` looks like a slip for `meant`: the same letters in another case or with other
/// separators, or one letter added, left out, replaced, or swapped with its neighbour.
pub fn is_slip(written: &str, meant: &str) -> bool {
    if written.len().abs_diff(meant.len()) > 4 {
        return false;
    }
    let letters = |text: &str| -> Vec<u8> {
        text.bytes()
            .filter(|byte| !matches!(byte, b'_' | b'-' | b'.' | b' '))
            .map(|byte| byte.to_ascii_lowercase())
            .collect()
    };
    let (written, meant) = (letters(written), letters(meant));
    let same = written
        .iter()
        .zip(&meant)
        .take_while(|(a, b)| a == b)
        .count();
    let (Some(written), Some(meant)) = (written.get(same..), meant.get(same..)) else {
        return false;
    };
    match (written, meant) {
        ([], []) => true,
        ([_, written @ ..], meant) if written == meant => true,
        (written, [_, meant @ ..]) if written == meant => true,
        ([_, written @ ..], [_, meant @ ..]) if written == meant => true,
        ([a, b, written @ ..], [c, d, meant @ ..]) => a == d && b == c && written == meant,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_is_recognised_and_a_different_word_is_not() {
        for (written, meant, slip) in [
            ("providername", "providerName", true),
            ("provider_name", "providerName", true),
            ("providrName", "providerName", true),
            ("providerNames", "providerName", true),
            ("providerMame", "providerName", true),
            ("provdierName", "providerName", true),
            ("providerN", "providerName", false),
            ("provider", "providerName", false),
            ("token", "tokenUrl", false),
            ("audiences", "audience", true),
            ("", "scope", false),
            ("é", "scope", false),
        ] {
            assert_eq!(is_slip(written, meant), slip, "{written}");
        }
    }
}
