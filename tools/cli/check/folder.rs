//! Folders: every file in them that may hold a configuration.

use crate::input;
use document::auth_server::SIBLING;
use std::path::{Path, PathBuf};

/// Deeper than anybody nests configurations; a bound at all, because links can lead in circles.
const MAX_DEPTH: usize = 16;

/// Words of which at least one is in every file that this tool has something to say about.
const MARKS: [&str; 6] = [
    "outgoingAuth",
    "authServer",
    "upstream_inject",
    "upstream-inject",
    "upstreams",
    "authserver-config",
];

/// The files that `names` stand for: a folder stands for those in it that hold something to check.
/// The error names a folder without any.
pub(crate) fn expand(names: &[String]) -> Vec<Result<String, String>> {
    let mut files = Vec::new();
    for name in names {
        let path = Path::new(name);
        if name == "-" || !path.is_dir() {
            files.push(Ok(name.clone()));
            continue;
        }
        let mut found = Vec::new();
        collect(path, 0, &mut found);
        found.retain(|file| holds_something(file));
        // What a configuration beside it takes along is not a file of its own.
        let taken: Vec<PathBuf> = found
            .iter()
            .filter(|file| !is_sibling(file) && holds(file, &["outgoingAuth"]))
            .filter_map(|file| Some(file.parent()?.join(SIBLING)))
            .collect();
        found.retain(|file| !is_sibling(file) || !taken.contains(file));
        if found.is_empty() {
            files.push(Err(name.clone()));
        }
        files.extend(found.iter().map(|file| Ok(file.display().to_string())));
    }
    files
}

fn is_sibling(file: &Path) -> bool {
    file.file_name().is_some_and(|name| name == SIBLING)
}

fn collect(folder: &Path, depth: usize, found: &mut Vec<PathBuf>) {
    let Ok(entries) = std::fs::read_dir(folder) else {
        return;
    };
    let mut entries: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
    entries.sort();
    for path in entries {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if name.starts_with('.') || name == "node_modules" {
            continue;
        }
        if path.is_dir() {
            if depth < MAX_DEPTH && !path.is_symlink() {
                collect(&path, depth.saturating_add(1), found);
            }
            continue;
        }
        let is_text = path.extension().is_some_and(|extension| {
            ["yaml", "yml", "json"]
                .iter()
                .any(|known| extension == *known)
        });
        if is_text {
            found.push(path);
        }
    }
}

/// A folder holds other things too, which are nobody's mistake.
fn holds_something(file: &Path) -> bool {
    is_sibling(file) || (holds(file, &MARKS) && !is_for_others(file))
}

fn holds(file: &Path, marks: &[&str]) -> bool {
    let text = input::peek(file);
    marks.iter().any(|mark| text.contains(mark))
}

/// A JSON Schema, resources that `convert` takes.
fn is_for_others(file: &Path) -> bool {
    let text = input::peek(file);
    let is_resource = text.contains("toolhive.stacklok.") && text.contains("apiVersion");
    text.contains("\"$schema\"") || is_resource
}
