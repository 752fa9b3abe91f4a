//! Where results are kept: `docs/bench`, and the marked places of the pages that quote them.

use std::path::Path;

/// Writes a file of `docs/bench`.
pub fn file(name: &str, text: &str) {
    let directory = bed::repository().join("docs/bench");
    std::fs::create_dir_all(&directory).expect("docs/bench");
    write(&directory.join(name), text);
}

/// Puts each text between the marks of its name in a page.
pub fn parts(page: &str, parts: &[(&str, &str)]) {
    let page = bed::repository().join(page);
    let before = std::fs::read_to_string(&page)
        .unwrap_or_else(|error| panic!("{}: {error}", page.display()));
    let mut after = before.clone();
    for (name, text) in parts {
        after = between_marks(&after, name, text);
    }
    if after != before {
        write(&page, &after);
    }
}

fn write(path: &Path, text: &str) {
    std::fs::write(path, text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    eprintln!("wrote {}", path.display());
}

/// Replaces what stands between the marks of `name`.
fn between_marks(document: &str, name: &str, text: &str) -> String {
    let (begin, end) = (
        format!("<!-- bench:{name} begin -->\n"),
        format!("<!-- bench:{name} end -->"),
    );
    let parts = document.split_once(&begin).and_then(|(before, rest)| {
        let (_, after) = rest.split_once(&end)?;
        Some((before, after))
    });
    let Some((before, after)) = parts else {
        panic!("the marks of bench:{name} are missing");
    };
    format!("{before}{begin}{text}{end}{after}")
}
