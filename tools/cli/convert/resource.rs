//! Kubernetes resources in a file: which are there, and which of them count.

use crate::report::{Finding, Severity};
use document::{Document, Position, entries, get, get_text, items};
use upstream_inject::config::{Node, Path};

/// The API groups under which the operator's resources are written.
const GROUPS: [&str; 2] = ["toolhive.stacklok.dev", "toolhive.stacklok.io"];

/// The versions whose fields are known here.
const VERSIONS: [&str; 2] = ["v1alpha1", "v1beta1"];

/// What a resource is good for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Becomes a backend, or supplies the auth server.
    ExternalAuthConfig,
    /// May supply the auth server.
    VirtualServer,
}

/// One resource of the operator.
#[derive(Clone)]
pub(super) struct Resource<'a> {
    pub(super) kind: Kind,
    pub(super) name: &'a str,
    pub(super) namespace: Option<&'a str>,
    pub(super) spec: &'a Node,
    /// The name of the file, as given.
    pub(super) file: &'a str,
    document: &'a Document,
    path: Path,
}

impl Resource<'_> {
    /// What people call it: `MCPExternalAuthConfig my-namespace/github-tools-auth`.
    pub(super) fn title(&self) -> String {
        let kind = match self.kind {
            Kind::ExternalAuthConfig => "MCPExternalAuthConfig",
            Kind::VirtualServer => "VirtualMCPServer",
        };
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

    fn position(&self, path: &Path) -> Position {
        self.document.position(&join(&self.path, path))
    }
}

fn join(base: &Path, path: &Path) -> Path {
    use upstream_inject::config::path::Step;
    path.steps()
        .iter()
        .fold(base.clone(), |joined, step| match step {
            Step::Key(key) => joined.key(key),
            Step::Index(index) => joined.index(*index),
        })
}

/// The resources of a document, lists unfolded; what is none is named in `findings`.
pub(super) fn collect<'a>(
    file: &'a str,
    document: &'a Document,
    findings: &mut Vec<Finding>,
) -> Vec<Resource<'a>> {
    let mut found = Vec::new();
    for (path, node) in unfold(&document.root) {
        match identify(file, document, &path, node) {
            Ok(resource) => found.push(resource),
            Err(text) => findings.push(Finding::about_file(
                Severity::Error,
                Some(document.position(&path)),
                text,
            )),
        }
    }
    found
}

/// `kubectl get -o yaml` answers with a list.
fn unfold(root: &Node) -> Vec<(Path, &Node)> {
    let is_list = get_text(root, "kind").is_some_and(|kind| kind.ends_with("List"));
    match get(root, "items") {
        Some(list @ Node::List(_)) if is_list => {
            let path = Path::root().key("items");
            items(list)
                .iter()
                .enumerate()
                .map(|(index, item)| (path.index(index), item))
                .collect()
        }
        _ => vec![(Path::root(), root)],
    }
}

fn identify<'a>(
    file: &'a str,
    document: &'a Document,
    path: &Path,
    node: &'a Node,
) -> Result<Resource<'a>, String> {
    let (Some(api_version), Some(kind)) = (get_text(node, "apiVersion"), get_text(node, "kind"))
    else {
        return Err(
            "not a Kubernetes resource: apiVersion and kind are missing (configurations of the \
             filter, and vMCP files, are for `upstream-inject check` and `render`)"
                .to_owned(),
        );
    };
    let is_known = api_version
        .split_once('/')
        .is_some_and(|(group, version)| GROUPS.contains(&group) && VERSIONS.contains(&version));
    let kind = match kind {
        "MCPExternalAuthConfig" if is_known => Kind::ExternalAuthConfig,
        "VirtualMCPServer" if is_known => Kind::VirtualServer,
        _ => return Err(unknown(api_version, kind)),
    };
    if let Some(path) = duplicate_key(node, &Path::root()) {
        return Err(format!("{path}: given twice"));
    }
    let metadata = get(node, "metadata").unwrap_or(&Node::Null);
    let name = get_text(metadata, "name")
        .filter(|name| is_resource_name(name))
        .ok_or("metadata.name: a resource needs a name: lower-case letters, digits, - and .")?;
    Ok(Resource {
        kind,
        name,
        namespace: get_text(metadata, "namespace"),
        spec: get(node, "spec").unwrap_or(&Node::Null),
        file,
        document,
        path: path.clone(),
    })
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

/// An API server refuses what has a key twice.
fn duplicate_key(node: &Node, path: &Path) -> Option<Path> {
    let mut seen = std::collections::HashSet::new();
    let in_map = entries(node).iter().find_map(|(key, value)| {
        let path = path.key(key);
        if seen.insert(key) {
            duplicate_key(value, &path)
        } else {
            Some(path)
        }
    });
    in_map.or_else(|| {
        items(node)
            .iter()
            .enumerate()
            .find_map(|(index, item)| duplicate_key(item, &path.index(index)))
    })
}

/// A DNS subdomain (RFC 1123), as Kubernetes requires of names.
fn is_resource_name(name: &str) -> bool {
    name.len() <= 253
        && name.split('.').all(|label| {
            !label.is_empty()
                && !label.starts_with('-')
                && !label.ends_with('-')
                && label
                    .bytes()
                    .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
        })
}
