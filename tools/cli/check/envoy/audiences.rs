//! What metadata documents name as `resource`, what `jwt_authn` accepts, and what the auth server
//! issues: three lists that must agree, or logins end in a refusal.

use super::part::Part;
use crate::check::run_config::missing_audiences;
use crate::check::said::{Notes, quoted};
use crate::codes;
use crate::report::Severity;
use document::{get_text, items};
use std::collections::BTreeSet;
use upstream_inject::config::{Node, Path};

/// Compares the documents that Envoy answers itself with the audiences in front of the filter, and
/// with those of the auth server where they are known.
pub(super) fn on(root: &Part<'_>, allowed: Option<&[&str]>, notes: &mut Notes) {
    let mut accepted: BTreeSet<String> = BTreeSet::new();
    let mut resources: Vec<(Path, String)> = Vec::new();
    root.walk(&mut |part| {
        if part.is("JwtAuthentication") {
            part.walk(&mut |inner| {
                for audience in inner.list("audiences") {
                    if let Node::String(text) = audience.node {
                        accepted.insert(text.clone());
                    }
                }
            });
        }
        let body = part.at(&["direct_response", "body"]);
        let text = body.and_then(|body| body.text("inline_string"));
        let document = text.and_then(|text| document::parse(text.as_bytes()).ok());
        let document = document.and_then(|mut documents| documents.pop());
        if let Some(document) = document
            && let Some(resource) = get_text(&document.root, "resource")
            && document::get(&document.root, "authorization_servers").is_some()
        {
            resources.push((part.path_of("direct_response"), resource.to_owned()));
        }
    });
    for (path, resource) in resources {
        if !accepted.is_empty() && !accepted.contains(&resource) {
            let text = format!(
                "this document names the resource {}, and jwt_authn accepts no token for it: clients \
                 that follow it are refused; add it to audiences, letter by letter",
                quoted(&resource)
            );
            notes.error(&codes::ALLOWED_AUDIENCE, path.clone(), text);
        }
        let missing = allowed.map(|allowed| missing_audiences(&resource, allowed));
        for (severity, missing) in missing.unwrap_or_default() {
            let text = format!(
                "this document names the resource {}, and the auth server issues no token for {}: add it \
                 to allowed_audiences",
                quoted(&resource),
                quoted(&missing)
            );
            match severity {
                Severity::Error => notes.error(&codes::ALLOWED_AUDIENCE, path.clone(), text),
                _ => notes.warn(&codes::ALLOWED_AUDIENCE, path.clone(), text),
            }
        }
    }
}

/// The audiences of a `RunConfig`.
pub(super) fn allowed_in(run_config: &Node) -> Vec<&str> {
    let list = document::get(run_config, "allowed_audiences").map(items);
    list.unwrap_or_default()
        .iter()
        .filter_map(|audience| match audience {
            Node::String(text) => Some(text.as_str()),
            _ => None,
        })
        .collect()
}
