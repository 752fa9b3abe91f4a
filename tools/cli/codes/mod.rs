//! The one table of everything that the tool can find: a code for each kind of finding, what it
//! means, and what to do. `docs/findings.md` is made of it.

mod of_problem;
#[cfg(test)]
mod page;
mod table;

pub(crate) use of_problem::of_problem;
pub(crate) use table::*;

use std::fmt;

/// The page on all of them, from the repository's root.
pub(crate) const PAGE: &str = "docs/findings.md";

/// A kind of finding.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Code {
    /// What `--ignore` takes and reports show.
    pub(crate) id: &'static str,
    /// In a few words.
    pub(crate) title: &'static str,
    /// Why it matters, and what to do.
    pub(crate) advice: &'static str,
}

impl Code {
    /// Where the page has its section.
    pub(crate) fn link(&self) -> String {
        format!("{PAGE}#{}", self.id.to_ascii_lowercase())
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.id)
    }
}

/// A code as it is written on the command line, in any case.
pub(crate) fn parse(text: &str) -> Result<&'static Code, String> {
    ALL.iter()
        .copied()
        .find(|code| code.id.eq_ignore_ascii_case(text))
        .ok_or_else(|| {
            let slip = document::words::meant(text, ALL.iter().map(|code| code.id));
            let hint = slip.map_or_else(String::new, |meant| format!("; did you mean {meant}?"));
            format!("no finding has this code{hint} ({PAGE} lists them)")
        })
}
