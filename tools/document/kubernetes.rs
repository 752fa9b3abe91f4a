//! How Kubernetes resources come: one by one, or in a list, as `kubectl get -o yaml` prints them.

use upstream_inject::config::{Node, Path};

use crate::{Document, get, get_text, items};

/// Whether `root` is a Kubernetes resource of any kind.
#[must_use]
pub fn is_kubernetes(root: &Node) -> bool {
    get_text(root, "apiVersion").is_some() && get_text(root, "kind").is_some()
}

/// The resources in `root`, each with its place: `kubectl get -o yaml` answers with a list.
#[must_use]
pub fn unfold(root: &Node) -> Vec<(Path, &Node)> {
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

/// The documents of a file with each resource of a list as one of them; none if there is no list.
#[must_use]
pub fn opened(documents: &[Document]) -> Option<Vec<Document>> {
    // One of nothing stays what it is.
    let is_list = |path: &Path| !path.steps().is_empty();
    let each: Vec<_> = documents
        .iter()
        .map(|document| (document, unfold(&document.root)))
        .collect();
    if !each
        .iter()
        .any(|(_, inner)| inner.iter().any(|(path, _)| is_list(path)))
    {
        return None;
    }
    let mut opened = Vec::new();
    for (document, inner) in each {
        match inner.as_slice() {
            [] => opened.push(document.clone()),
            inner => opened.extend(inner.iter().filter_map(|(path, _)| document.inner(path))),
        }
    }
    Some(opened)
}
