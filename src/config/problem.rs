//! What is wrong with a configuration, in words an operator can act on.

use super::path::Path;
use std::fmt;

/// The numbered validation rules of RFC THV-0054.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Rule {
    /// An upstream token is asked for, but there is no auth server to provide one.
    V01,
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
        f.write_str(match self {
            Rule::V01 => "V-01",
            Rule::V02 => "V-02",
            Rule::V03 => "V-03",
            Rule::V04 => "V-04",
            Rule::V05 => "V-05",
            Rule::V06 => "V-06",
            Rule::V07 => "V-07",
        })
    }
}

/// One finding: an error or a warning, depending on the list that holds it.
///
/// Prints as `<path>: <rule, if it has a number>: <what is wrong and what is allowed>`; the filter
/// and the command-line tool put `config: ` in front. The text never holds a secret.
#[derive(Clone, Debug, PartialEq, Eq)]
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
