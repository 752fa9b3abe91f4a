//! Folders: every file in them that may hold a configuration.

use super::envoy;
use crate::input::{self, Input};
use crate::kubernetes::{is_kubernetes, opened};
use document::auth_server::{self, SIBLING, has_our_keys, is_our_config_map, is_ours};
use document::get;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use upstream_inject::config::Node;

/// Deeper than anybody nests configurations; a bound at all, because links can lead in circles.
const MAX_DEPTH: usize = 16;

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
        let mut all = Vec::new();
        collect(path, 0, &mut all);
        let mut found: Vec<(PathBuf, Holds)> = all
            .into_iter()
            .map(|file| {
                let holds = look_into(&file);
                (file, holds)
            })
            .filter(|(_, holds)| *holds != Holds::Nothing)
            .collect();
        // What a configuration beside it takes along is not a file of its own.
        let taken: Vec<PathBuf> = found
            .iter()
            .filter(|(_, holds)| *holds == Holds::WithoutAuthServer)
            .filter_map(|(file, _)| Some(file.parent()?.join(SIBLING)))
            .collect();
        found.retain(|(file, _)| !taken.contains(file));
        if found.is_empty() {
            files.push(Err(name.clone()));
        }
        let names = found.iter().map(|(file, _)| file.display().to_string());
        files.extend(names.map(Ok));
    }
    files
}

/// What a file in a folder has to do with this tool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Holds {
    /// A folder holds other things too, which are nobody's mistake.
    Nothing,
    /// A configuration, or what was meant to be one.
    Something,
    /// A configuration whose auth server is in the file beside it, if there is one.
    WithoutAuthServer,
}

/// Told by what is in it. Of a file that nobody can read as YAML or JSON, the words in it have to do; what
/// may not be opened may be anything.
fn look_into(file: &Path) -> Holds {
    if file.file_name().is_some_and(|name| name == SIBLING) {
        return Holds::Something;
    }
    match input::read(&file.display().to_string()) {
        Ok(mut input) => {
            if let Some(opened) = opened(&input.documents) {
                input.documents = opened;
            }
            what_is_in(&input)
        }
        Err(_) => match input::peek(file) {
            Ok(text) if has_our_keys(&text) || has_our_filter(&text) => Holds::Something,
            Ok(_) => Holds::Nothing,
            // A link to nothing.
            Err(error) if error.kind() == ErrorKind::NotFound => Holds::Nothing,
            Err(_) => Holds::Something,
        },
    }
}

fn what_is_in(input: &Input) -> Holds {
    if envoy::kind_of(input).is_some() {
        return match input.documents.iter().any(envoy::has_to_do_with_the_filter) {
            true => Holds::Something,
            false => Holds::Nothing,
        };
    }
    let roots = || input.documents.iter().map(|document| &document.root);
    if roots().any(lacks_auth_server) {
        Holds::WithoutAuthServer
    } else if roots().any(is_ours) || roots().any(is_our_config_map) {
        Holds::Something
    } else {
        Holds::Nothing
    }
}

/// A vMCP file, or a ConfigMap with it, that says nothing of an auth server itself.
fn lacks_auth_server(root: &Node) -> bool {
    if auth_server::is_config_map(root) {
        return is_our_config_map(root) && !auth_server::has_sibling(root);
    }
    let has = |key| get(root, key).is_some();
    !is_kubernetes(root) && has("outgoingAuth") && !has("authServer")
}

/// Whether a text that is broken names the filter, and has a key of those that stand where filters do.
fn has_our_filter(text: &str) -> bool {
    const PLACES: [&str; 7] = [
        "http_filters",
        "httpFilters",
        "config_discovery",
        "configDiscovery",
        "configPatches",
        "typed_config",
        "typedConfig",
    ];
    let text = text.replace('\0', "");
    let has = |word: &&str| text.contains(word);
    ["upstream_inject", "upstream-inject"].iter().any(has) && PLACES.iter().any(has)
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
