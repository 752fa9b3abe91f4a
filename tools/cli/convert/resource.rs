//! Kubernetes resources in a file: which are there, and which of them count.

use super::block::meant;
use crate::codes;
use crate::kubernetes::{KINDS, Kind, unfold};
use crate::report::{Finding, Severity};
use document::auth_server::is_our_config_map;
use document::{Document, Position, entries, get, get_text, items};
use std::collections::BTreeSet;
use upstream_inject::config::path::Step;
use upstream_inject::config::{Node, Path};

/// The API groups under which the operator's resources are written.
const GROUPS: [&str; 2] = ["toolhive.stacklok.dev", "toolhive.stacklok.io"];

/// The versions whose fields are known here.
const VERSIONS: [&str; 2] = ["v1alpha1", "v1beta1"];

/// One resource of the operator.
#[derive(Clone)]
pub(super) struct Resource<'a> {
    pub(super) kind: Kind,
    pub(super) name: &'a str,
    pub(super) namespace: Option<&'a str>,
    pub(super) spec: &'a Node,
    /// What the operator has written into it.
    pub(super) status: Option<&'a Node>,
    /// The name of the file, as given.
    pub(super) file: &'a str,
    document: &'a Document,
    path: Path,
}

impl Resource<'_> {
    /// What people call it: `MCPExternalAuthConfig my-namespace/github-tools-auth`.
    pub(super) fn title(&self) -> String {
        let kind = KINDS
            .iter()
            .find(|(_, kind)| *kind == self.kind)
            .map_or("", |(word, _)| word);
        match self.namespace {
            Some(namespace) => format!("{kind} {namespace}/{}", self.name),
            None => format!("{kind} {}", self.name),
        }
    }

    /// A finding about the value at `path`, counted from the resource.
    pub(super) fn finding(&self, severity: Severity, path: &Path, text: &str) -> Finding {
        let text = format!("{}: {path}: {text}", self.title());
        Finding::about_file(severity, Some(self.position(path)), text)
    }

    /// Where the resource begins in its file.
    pub(super) fn start(&self) -> Position {
        self.document.position(&self.path)
    }

    /// Where the value at `path`, counted from the resource, stands in its file.
    pub(super) fn position(&self, path: &Path) -> Position {
        self.document.position(&join(&self.path, path))
    }

    /// Whether both are, or may be, in one namespace: references lead nowhere else.
    pub(super) fn is_neighbour_of(&self, other: &Resource<'_>) -> bool {
        match (self.namespace, other.namespace) {
            (Some(one), Some(other)) => one == other,
            _ => true, // whoever applies the file says which namespace it is
        }
    }
}

fn join(base: &Path, path: &Path) -> Path {
    path.steps()
        .iter()
        .fold(base.clone(), |joined, step| match step {
            Step::Key(key) => joined.key(key),
            Step::Index(index) => joined.index(*index),
        })
}

/// The resources of a document, lists unfolded. What is somebody else's is left to `others`, as
/// what is to be said if there is nothing but that.
pub(super) fn collect<'a>(
    file: &'a str,
    document: &'a Document,
    findings: &mut Vec<Finding>,
    others: &mut Vec<Finding>,
) -> Vec<Resource<'a>> {
    let mut found = Vec::new();
    for (path, node) in unfold(&document.root) {
        if entries(node).is_empty() && !matches!(node, Node::List(items) if !items.is_empty()) {
            continue; // comments alone
        }
        let wrong = |(inner, text): (Path, String)| {
            let at = document.position(&join(&path, &inner));
            Finding::about_file(Severity::Error, Some(at), text)
        };
        match identify(file, document, &path, node) {
            Ok(Identified::Ours(resource)) => {
                // Of both, the first is read on, so that all else is said in the same round.
                let mut twice = Vec::new();
                given_twice(node, &Path::root(), &mut twice);
                findings.extend(twice.iter().map(|path| {
                    let finding = resource.finding(Severity::Error, path, "given twice");
                    finding.coded(&codes::GIVEN_TWICE)
                }));
                found.push(*resource);
            }
            Ok(Identified::Other(text)) => others.push(wrong((Path::root(), text))),
            Err(reason) => findings.push(wrong(reason)),
        }
    }
    found
}

enum Identified<'a> {
    Ours(Box<Resource<'a>>),
    Other(String),
}

fn identify<'a>(
    file: &'a str,
    document: &'a Document,
    path: &Path,
    node: &'a Node,
) -> Result<Identified<'a>, (Path, String)> {
    let root = Path::root();
    let (Some(api_version), Some(word)) = (get_text(node, "apiVersion"), get_text(node, "kind"))
    else {
        let text = "not a Kubernetes resource: apiVersion and kind are missing (configurations of \
                    the filter, and vMCP files, are for `upstream-inject check` and `render`)";
        return Err((root, text.to_owned()));
    };
    let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
    let known = KINDS.iter().find(|(known, _)| *known == word);
    let kind = match known {
        Some((_, kind)) if GROUPS.contains(&group) => *kind,
        // Left alone, it would be missed in silence.
        _ => match slip(group, word, known.is_some()) {
            Some((key, text)) => return Err((root.key(key), text)),
            None if is_our_config_map(node) => {
                let text = "a vMCP's ConfigMap cannot be converted, and need not be: `upstream-inject check` \
                            and `render` read it as it is; beside resources, name it with --auth-server";
                return Ok(Identified::Other(text.to_owned()));
            }
            None => return Ok(Identified::Other(unknown(api_version, word))),
        },
    };
    if !VERSIONS.contains(&version) {
        return Err((root.key("apiVersion"), unknown(api_version, word)));
    }
    let metadata = get(node, "metadata").unwrap_or(&Node::Null);
    let name = get_text(metadata, "name");
    let Some(name) = name.filter(|name| is_resource_name(name)) else {
        let path = root.key("metadata").key("name");
        let rule = "lower-case letters, digits, - and .";
        let text = match name {
            Some(name) if name.contains("{{") => format!(
                "{path}: {} is a template; convert what `helm template` makes of it",
                serde_json::Value::from(name)
            ),
            Some(name) => format!(
                "{path}: {} is no name of a resource: {rule}",
                serde_json::Value::from(name)
            ),
            None => match get(metadata, "name") {
                Some(other @ (Node::Number(_) | Node::Bool(_))) => {
                    format!("{path}: must be a text, not {}: quote it", other.kind())
                }
                _ => format!("{path}: a resource needs a name: {rule}"),
            },
        };
        return Err((path, text));
    };
    Ok(Identified::Ours(Box::new(Resource {
        kind,
        name,
        namespace: get_text(metadata, "namespace").filter(|namespace| !namespace.is_empty()),
        spec: get(node, "spec").unwrap_or(&Node::Null),
        status: get(node, "status"),
        file,
        document,
        path: path.clone(),
    })))
}

/// What is misspelt: the kind of a resource in the operator's group, or the group of one of its kinds.
fn slip(group: &str, kind: &str, is_known: bool) -> Option<(&'static str, String)> {
    let (key, what, written, meant) = if is_known {
        ("apiVersion", "group", group, meant(group, GROUPS)?)
    } else if GROUPS.contains(&group) {
        let kinds = KINDS.iter().map(|(known, _)| *known);
        ("kind", "kind", kind, meant(kind, kinds)?)
    } else {
        return None;
    };
    let written = serde_json::Value::from(written);
    let text =
        format!("{key}: there is no {what} {written} of the operator's; did you mean {meant}?");
    Some((key, text))
}

fn unknown(api_version: &str, kind: &str) -> String {
    let quoted = |text: &str| serde_json::Value::from(text).to_string();
    format!(
        "a resource of kind {} in {} cannot be converted; MCPExternalAuthConfig in {} ({}) can",
        quoted(kind),
        quoted(api_version),
        GROUPS.join(" or "),
        VERSIONS.join(" or ")
    )
}

/// The keys that stand twice in their map, which an API server refuses.
fn given_twice(node: &Node, path: &Path, twice: &mut Vec<Path>) {
    let mut seen = BTreeSet::new();
    for (key, value) in entries(node) {
        let path = path.key(key);
        if !seen.insert(key) {
            twice.push(path.clone());
        }
        given_twice(value, &path, twice);
    }
    for (index, item) in items(node).iter().enumerate() {
        given_twice(item, &path.index(index), twice);
    }
}

/// A DNS subdomain (RFC 1123), as Kubernetes requires of names.
fn is_resource_name(name: &str) -> bool {
    name.len() <= 253 && name.split('.').all(is_label)
}

/// One part of it: lower-case letters, digits and, within, `-`.
pub(super) fn is_label(label: &str) -> bool {
    !label.is_empty()
        && !label.starts_with('-')
        && !label.ends_with('-')
        && label
            .bytes()
            .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
}
