//! Files that hold what the tool is expected to print. `UPDATE_GOLDEN=1 cargo test …` writes them
//! anew; the difference is then to be read before it is committed.

use crate::tool::repository;

/// Compares `actual` with the file at `path`, counted from the repository's root.
pub fn compare(path: &str, actual: &str) {
    let file = repository().join(path);
    if std::env::var_os("UPDATE_GOLDEN").is_some_and(|it| !it.is_empty()) {
        std::fs::create_dir_all(file.parent().expect("in a directory")).expect("writable");
        std::fs::write(&file, actual).expect("writable");
    }
    let expected = std::fs::read_to_string(&file).unwrap_or_default();
    if expected == actual {
        return;
    }
    let line = expected
        .lines()
        .zip(actual.lines())
        .position(|(expected, actual)| expected != actual)
        .unwrap_or_else(|| expected.lines().count().min(actual.lines().count()));
    panic!(
        "{path} differs from what the tool prints, first in line {}:\n- {}\n+ {}\n\
         (UPDATE_GOLDEN=1 writes the file anew)",
        line + 1,
        expected.lines().nth(line).unwrap_or("(end)"),
        actual.lines().nth(line).unwrap_or("(end)"),
    );
}
