//! `docs/findings.md`, made of the table.

use super::{ALL, PAGE};
use std::collections::HashSet;
use std::fmt::Write as _;

const HEAD: &str = "# What the tool finds\n\n\
    Every finding of `upstream-inject` has a code, under which it stands here; `--ignore CODE` \
    silences warnings and notes of that code (what is an error stays one), `--strict` makes warnings \
    count. This page is made from the table in `tools/cli/codes/table.rs`.\n";

fn page() -> String {
    let mut text = HEAD.to_owned();
    for code in ALL {
        let _ = write!(
            text,
            "\n## {}\n\n**{}.** {}\n",
            code.id, code.title, code.advice
        );
    }
    text
}

/// `UPDATE_GOLDEN=1` writes the page anew.
#[test]
fn the_page_has_a_section_for_each_code() {
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../../");
    let file = std::path::Path::new(file).join(PAGE);
    if std::env::var_os("UPDATE_GOLDEN").is_some_and(|it| !it.is_empty()) {
        std::fs::write(&file, page()).unwrap();
    }
    let written = std::fs::read_to_string(&file).unwrap_or_default();
    assert!(
        written == page(),
        "{PAGE} is not what the table says; UPDATE_GOLDEN=1 writes it anew"
    );
}

#[test]
fn no_two_codes_are_alike() {
    let mut seen = HashSet::new();
    for code in ALL {
        assert!(seen.insert(code.id.to_ascii_lowercase()), "{code}");
        assert!(
            !code.title.ends_with('.') && code.advice.ends_with('.'),
            "{code}"
        );
    }
}
