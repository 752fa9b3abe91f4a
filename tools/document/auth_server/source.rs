//! Where a configuration's auth server is: in the file itself, in a file beside it, or in a
//! ConfigMap with both.

use std::path::{Path as FilePath, PathBuf};

use upstream_inject::config::{Node, Path};

use crate::{Document, SyntaxError, entries, get, get_text, parse};

/// The file that vMCP reads beside its own, and the key of the operator's ConfigMap.
pub const SIBLING: &str = "authserver-config.yaml";
/// The other key of that ConfigMap.
const VMCP_KEY: &str = "config.yaml";

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
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NotFound {
    /// The file, or the key of the ConfigMap.
    pub name: String,
    /// Where in it.
    pub path: Path,
    /// What is wrong.
    pub text: String,
}

/// Finds the auth server that belongs to the configuration at `config`; `auth_server` is a file that
/// was named for it.
///
/// # Errors
/// If a file cannot be read, if there is none, or more than one.
pub fn find(config: &FilePath, auth_server: Option<&FilePath>) -> Result<Found, NotFound> {
    let name = name_of(config);
    let document = open(config)?;
    let own = within(document, &name)?;
    match (own, auth_server) {
        (Within::AuthServer(found), None) => Ok(*found),
        (Within::AuthServer(found), Some(_)) => Err(NotFound {
            name: found.name,
            path: found.at,
            text: "an auth server here, and another one by --auth-server; only one may be given"
                .to_owned(),
        }),
        (Within::Without(main), Some(file)) => with_main(bare(file)?, main),
        (Within::Without(main), None) => {
            let sibling = sibling_of(config);
            if !sibling.exists() {
                return Err(NotFound {
                    name,
                    path: Path::root(),
                    text: format!(
                        "no auth server: neither authServer in it, nor {SIBLING} beside it, nor \
                         --auth-server"
                    ),
                });
            }
            with_main(bare(&sibling)?, main)
        }
    }
}

enum Within {
    AuthServer(Box<Found>),
    /// A vMCP file, or a plugin configuration without one.
    Without(Document),
}

fn within(document: Document, name: &str) -> Result<Within, NotFound> {
    let found = |document, at, name: &str, main| {
        Ok(Within::AuthServer(Box::new(Found {
            document,
            at,
            name: name.to_owned(),
            main,
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
    if get_text(&document.root, "kind") == Some("ConfigMap") {
        let data = get(&document.root, "data");
        let part = |key: &str| {
            let text = data.and_then(|data| get_text(data, key))?;
            Some(embedded(text, &format!("{name}, data[{key:?}]")))
        };
        let main = part(VMCP_KEY).transpose()?;
        let Some(server) = part(SIBLING).transpose()? else {
            return Err(missing(name, root.key("data").key(SIBLING)));
        };
        return found(server, root, &format!("{name}, data[{SIBLING:?}]"), main);
    }
    if is_run_config(&document.root) {
        return found(document, root, name, None);
    }
    Ok(Within::Without(document))
}

/// The auth server in a file that was named for it.
fn bare(file: &FilePath) -> Result<Found, NotFound> {
    let name = name_of(file);
    match within(open(file)?, &name)? {
        Within::AuthServer(found) => Ok(*found),
        // Told to be one, it is judged as one.
        Within::Without(document) => Ok(Found {
            document,
            at: Path::root(),
            name,
            main: None,
        }),
    }
}

fn with_main(found: Found, main: Document) -> Result<Found, NotFound> {
    Ok(Found {
        main: Some(main),
        ..found
    })
}

/// A `RunConfig` by itself: keys that no other file has at its top.
fn is_run_config(root: &Node) -> bool {
    let has = |key| get(root, key).is_some();
    !has("outgoingAuth")
        && !has("incomingAuth")
        && (has("upstreams") || has("issuer") || has("schema_version") || has("storage"))
}

fn open(file: &FilePath) -> Result<Document, NotFound> {
    let name = name_of(file);
    let bytes = std::fs::read(file).map_err(|error| NotFound {
        name: name.clone(),
        path: Path::root(),
        text: format!("cannot be read: {}", error.kind()),
    })?;
    only(parse(&bytes), &name)
}

fn embedded(text: &str, name: &str) -> Result<Document, NotFound> {
    only(parse(text.as_bytes()), name)
}

/// The one document of a file; of several, the one that has an auth server, if it is one.
fn only(documents: Result<Vec<Document>, SyntaxError>, name: &str) -> Result<Document, NotFound> {
    let not_found = |text: String| NotFound {
        name: name.to_owned(),
        path: Path::root(),
        text,
    };
    let mut documents = documents.map_err(|error| {
        let place = error.at.map_or_else(String::new, |at| {
            format!("line {}, column {}: ", at.line, at.column)
        });
        not_found(format!("{place}{}", error.text))
    })?;
    if documents.len() > 1 {
        documents.retain(|document| {
            let root = &document.root;
            get(root, "authServer").is_some()
                || get_text(root, "kind") == Some("ConfigMap")
                || is_run_config(root)
        });
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

fn missing(name: &str, path: Path) -> NotFound {
    NotFound {
        name: name.to_owned(),
        path,
        text: "missing".to_owned(),
    }
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
