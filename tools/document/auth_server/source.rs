//! Where a configuration's auth server is: in the file itself, in a file beside it, or in a
//! ConfigMap with both.

use std::path::{Path as FilePath, PathBuf};
use std::rc::Rc;

use upstream_inject::config::{Node, Path};

use super::keys;
use super::ours::{SIBLING, VMCP_KEY, is_config_map, is_our_config_map, is_run_config};
use crate::kubernetes::opened;
use crate::located::Block;
use crate::{Document, Position, SyntaxError, entries, get, get_text, parse_file};

/// A configuration with its auth server.
#[derive(Clone, Debug)]
pub struct Found {
    /// The document with the auth server.
    pub document: Document,
    /// Where in it the `RunConfig` is.
    pub at: Path,
    /// The file, or the key of the ConfigMap, that the document is.
    pub name: String,
    /// The document that was asked for, if that is another one: it may say what clients are told.
    pub main: Option<Document>,
    /// The file that the document is in, if it is not the one that was asked for, and what it holds.
    pub file: Option<(PathBuf, Rc<str>)>,
}

impl Found {
    /// The `RunConfig` itself.
    #[must_use]
    pub fn run_config(&self) -> &Node {
        let mut node = &self.document.root;
        for step in self.at.steps() {
            if let upstream_inject::config::path::Step::Key(key) = step {
                node = get(node, key).unwrap_or(node);
            }
        }
        node
    }

    /// What the file says about challenges, if it says something.
    #[must_use]
    pub fn challenge(&self) -> Option<&Node> {
        let main = self.main.as_ref().unwrap_or(&self.document);
        get(&main.root, "challenge")
    }
}

/// Why there is none.
#[derive(Clone, Debug)]
pub struct NotFound {
    /// The file, or the key of the ConfigMap.
    pub name: String,
    /// Where in it.
    pub path: Path,
    /// What is wrong.
    pub text: String,
    /// The line, if what stands there is neither YAML nor JSON.
    pub at: Option<Position>,
    /// The file, if it is not the one that was asked for.
    pub file: Option<Box<FilePath>>,
    /// The configuration, if there simply is no auth server for it.
    pub alone: Option<Box<Document>>,
}

impl NotFound {
    fn new(name: &str, path: Path, text: impl Into<String>) -> Self {
        Self {
            name: name.to_owned(),
            path,
            text: text.into(),
            at: None,
            file: None,
            alone: None,
        }
    }
}

/// Finds the auth server that belongs to the configuration at `config`; `auth_server` is a file that
/// was named for it.
///
/// # Errors
/// If a file cannot be read, if there is none, or more than one.
pub fn find(config: &FilePath, auth_server: Option<&FilePath>) -> Result<Found, NotFound> {
    let name = name_of(config);
    let (document, source) = open(config)?;
    find_for(document, &source, &name, Some(config), auth_server)
}

/// The same for a configuration that has been read; `file` is where it is, if it is a file.
///
/// # Errors
/// As [`find`].
pub(crate) fn find_for(
    document: Document,
    source: &str,
    name: &str,
    file: Option<&FilePath>,
    auth_server: Option<&FilePath>,
) -> Result<Found, NotFound> {
    let own = within(document, source, name)?;
    match (own, auth_server) {
        (Within::AuthServer(found), None) => Ok(*found),
        (Within::AuthServer(found), Some(_)) => Err(NotFound::new(
            &found.name,
            found.at,
            "an auth server here, and another one by --auth-server; only one may be given",
        )),
        (Within::Without(main), Some(file)) => Ok(with_main(bare(file)?, main)),
        (Within::Without(main), None) => {
            let sibling = file.map(sibling_of).filter(|sibling| sibling.exists());
            let Some(sibling) = sibling else {
                let text = format!(
                    "no auth server: neither authServer in it, nor {SIBLING} beside it, nor \
                     --auth-server"
                );
                return Err(NotFound {
                    alone: Some(Box::new(main)),
                    ..NotFound::new(name, Path::root(), text)
                });
            };
            Ok(with_main(bare(&sibling)?, main))
        }
    }
}

enum Within {
    AuthServer(Box<Found>),
    /// A vMCP file, or a plugin configuration without one.
    Without(Document),
}

fn within(document: Document, source: &str, name: &str) -> Result<Within, NotFound> {
    let found = |document, at, name: &str, main| {
        Ok(Within::AuthServer(Box::new(Found {
            document,
            at,
            name: name.to_owned(),
            main,
            file: None,
        })))
    };
    let root = Path::root();
    if let Some(server) = get(&document.root, "authServer") {
        let at = root.key("authServer").key("runConfig");
        if get(server, "runConfig").is_none() {
            return Err(missing(name, at));
        }
        return found(document, at, name, None);
    }
    if is_config_map(&document.root) {
        let part = |key: &str| {
            let text = get(&document.root, "data").and_then(|data| get_text(data, key))?;
            let path = root.key("data").key(key);
            let block = Block::at(source, document.position(&path));
            let name = format!("{name}, data[{key:?}]");
            let part = only(parse_file(text.as_bytes(), key), &name, Some(&block))
                .map(|part| part.placed(&block))
                .map_err(|not_found| NotFound { path, ..not_found });
            Some(part)
        };
        let main = part(VMCP_KEY).transpose()?;
        let server = part(SIBLING).transpose()?;
        if main
            .as_ref()
            .is_some_and(|main| get(&main.root, "authServer").is_some())
        {
            let text = match server {
                Some(_) => {
                    format!(
                        "an auth server here, and another one in {SIBLING}; only one may be given, there"
                    )
                }
                None => format!(
                    "authServer here, which vMCP refuses: its runConfig belongs into {SIBLING}"
                ),
            };
            let at = root.key("data").key(VMCP_KEY);
            return Err(NotFound::new(name, at, text));
        }
        return match (server, main) {
            (Some(server), main) => {
                let server = by_toolhive(server);
                found(server, root, &format!("{name}, data[{SIBLING:?}]"), main)
            }
            // As in a folder: a vMCP file without the file beside it.
            (None, Some(main)) => Ok(Within::Without(main)),
            (None, None) => Err(missing(name, root.key("data").key(SIBLING))),
        };
    }
    if is_run_config(&document.root) {
        return found(by_toolhive(document), root, name, None);
    }
    Ok(Within::Without(document))
}

/// The auth server in a file that was named for it.
fn bare(file: &FilePath) -> Result<Found, NotFound> {
    let name = name_of(file);
    let there = |not_found: NotFound| NotFound {
        file: Some(file.into()),
        ..not_found
    };
    let (document, source) = open(file).map_err(there)?;
    let is_config_map = is_config_map(&document.root);
    let found = match within(document, &source, &name).map_err(there)? {
        Within::AuthServer(found) => *found,
        Within::Without(_) if is_config_map => {
            let at = Path::root().key("data").key(SIBLING);
            return Err(there(missing(&name, at)));
        }
        // Told to be one, it is judged as one.
        Within::Without(document) => Found {
            document: by_toolhive(document),
            at: Path::root(),
            name,
            main: None,
            file: None,
        },
    };
    Ok(Found {
        file: Some((file.to_owned(), source.into())),
        ..found
    })
}

fn with_main(found: Found, main: Document) -> Found {
    Found {
        main: Some(main),
        ..found
    }
}

fn open(file: &FilePath) -> Result<(Document, String), NotFound> {
    let name = name_of(file);
    let bytes = std::fs::read(file).map_err(|error| {
        let text = format!("cannot be read: {}", error.kind());
        NotFound::new(&name, Path::root(), text)
    })?;
    let document = only(parse_file(&bytes, &name), &name, None)?;
    Ok((document, String::from_utf8_lossy(&bytes).into_owned()))
}

/// The one document of a file, or of a value in it, which has its lines in `block`; of several, the one
/// that has an auth server, if it is one.
fn only(
    documents: Result<Vec<Document>, SyntaxError>,
    name: &str,
    block: Option<&Block>,
) -> Result<Document, NotFound> {
    let not_found = |text: String| NotFound::new(name, Path::root(), text);
    let mut documents = documents.map_err(|error| {
        let at = match block {
            Some(block) => error.at.map(|inner| block.place(inner)),
            None => error.at,
        };
        let place = at.map_or_else(String::new, |at| {
            format!("line {}, column {}: ", at.line, at.column)
        });
        NotFound {
            at,
            ..not_found(format!("{place}{}", error.text))
        }
    })?;
    if let Some(opened) = opened(&documents) {
        documents = opened;
    }
    if documents.len() > 1 {
        documents.retain(|document| {
            let root = &document.root;
            get(root, "authServer").is_some() || is_our_config_map(root) || is_run_config(root)
        });
        if documents.is_empty() {
            let text = "several documents, and an auth server in none of them";
            return Err(not_found(text.to_owned()));
        }
    }
    match (documents.pop(), documents.is_empty()) {
        (Some(document), true) => {
            if entries(&document.root).is_empty() {
                return Err(not_found("nothing is in it".to_owned()));
            }
            Ok(document)
        }
        _ => Err(not_found(
            "several documents; which one is meant?".to_owned(),
        )),
    }
}

/// A `RunConfig` in a file of ToolHive's, as its own reader has it.
#[must_use]
pub fn by_toolhive(mut document: Document) -> Document {
    document.settle(keys::settle);
    document
}

fn missing(name: &str, path: Path) -> NotFound {
    NotFound::new(name, path, "missing")
}

fn sibling_of(config: &FilePath) -> PathBuf {
    config
        .parent()
        .unwrap_or_else(|| FilePath::new(""))
        .join(SIBLING)
}

fn name_of(file: &FilePath) -> String {
    file.file_name().map_or_else(
        || file.display().to_string(),
        |name| name.to_string_lossy().into_owned(),
    )
}
