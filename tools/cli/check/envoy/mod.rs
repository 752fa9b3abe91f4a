//! `check` of Envoy's own configuration: a bootstrap, what `render` wrote, a live `config_dump`, the
//! resources of a control plane.
//!
//! ```text
//! documents ──▶ view: connection managers, routes, clusters, the filter
//!                 filter    its configuration, by its own rules
//!                 routes    where requests go, and for what the filter is off
//!                 placement where it stands
//!                 rules     the door, what goes by it
//!                 hazards   what must not stand beside it
//!                 audiences metadata documents, jwt_authn, the auth server
//! ```

mod audiences;
mod door;
mod filter;
mod hazards;
mod part;
mod placement;
mod routes;
mod rules;
mod view;

use super::said::Notes;
use super::{Options, quoted};
use crate::codes;
use crate::input::Input;
use crate::report::{FileReport, Finding, Severity};
use document::{Document, auth_server, get_text};
use filter::Known;
use part::Part;
use std::path::Path as FilePath;
use upstream_inject::config::{Node, Path};
use view::View;

/// For people and for machines.
const ENVOY: (&str, &str) = ("a configuration of Envoy", "envoy");
const DUMP: (&str, &str) = ("a live configuration of Envoy", "config-dump");
const RESOURCES: (&str, &str) = ("resources of a control plane", "resources");

/// What kind of Envoy configuration the documents hold, if they hold one.
pub(super) fn kind_of(input: &Input) -> Option<(&'static str, &'static str)> {
    let of_control_plane = |document: &Document| {
        const KINDS: [&str; 6] = [
            "EnvoyFilter",
            "EnvoyPatchPolicy",
            "WasmPlugin",
            "EnvoyExtensionPolicy",
            "HTTPRoute",
            "VirtualService",
        ];
        get_text(&document.root, "kind").is_some_and(|kind| KINDS.contains(&kind))
    };
    let is_about_us = |document: &Document| view::is_our_text(&root_of(document));
    input.documents.iter().find_map(kind_in).or_else(|| {
        let is_one =
            input.documents.iter().any(of_control_plane) && input.documents.iter().any(is_about_us);
        is_one.then_some(RESOURCES)
    })
}

/// What of Envoy's one document is: a bootstrap or a part of one, or what somebody was told of it.
pub(super) fn kind_in(document: &Document) -> Option<(&'static str, &'static str)> {
    let root = root_of(document);
    let has = |part: &Part<'_>, keys: &[&str]| keys.iter().any(|key| part.get(key).is_some());
    let is_bootstrap = |part: &Part<'_>| has(part, &["static_resources", "dynamic_resources"]);
    // `istioctl proxy-config … -o json` prints lists.
    let is_resource =
        |part: &Part<'_>| has(part, &["filter_chains", "virtual_hosts"]) || view::is_cluster(part);
    // `egctl x translate --to xds` has a dump for each gateway.
    let is_translated = |part: &Part<'_>| {
        let mut gateways = part.entries().into_iter();
        gateways.any(|(_, gateway)| has(&gateway, &["configs"]))
    };
    if is_bootstrap(&root)
        || root
            .get("bootstrap")
            .is_some_and(|inner| is_bootstrap(&inner))
        || has(&root, &["filter_chains", "http_filters", "virtual_hosts"])
        || root.items().iter().any(is_resource)
        || is_discovery(&root)
    {
        return Some(ENVOY);
    }
    let is_dump =
        has(&root, &["configs"]) || root.get("xds").is_some_and(|xds| is_translated(&xds));
    is_dump.then_some(DUMP)
}

/// Resources as a file of LDS, RDS or CDS has them.
fn is_discovery(root: &Part<'_>) -> bool {
    root.list("resources").iter().any(|resource| {
        resource
            .text("@type")
            .is_some_and(|kind| kind.contains("envoy.config."))
    })
}

/// Resources of one kind, by themselves.
fn is_list(root: &Part<'_>) -> bool {
    matches!(root.node, Node::List(_)) || is_discovery(root)
}

/// Whether the filter is in it, or was meant to be: it is named where filters stand. What only says where
/// requests go, runs what belongs to the filter, or gets its listeners from elsewhere is not asked for it.
pub(super) fn has_to_do_with_the_filter(document: &Document) -> bool {
    const WITH_FILTERS: [&str; 4] = [
        "EnvoyFilter",
        "EnvoyPatchPolicy",
        "WasmPlugin",
        "EnvoyExtensionPolicy",
    ];
    let root = root_of(document);
    if let Some(kind) = root.text("kind") {
        return WITH_FILTERS.contains(&kind) && view::is_our_text(&root);
    }
    if !View::of(std::slice::from_ref(&root)).filters.is_empty() {
        return true;
    }
    let mut has_filters = false;
    root.walk(&mut |part| has_filters |= part.get("http_filters").is_some());
    let gets_listeners = |key| root.at(&["dynamic_resources", key]).is_some();
    let is_elsewhere = gets_listeners("lds_config") || gets_listeners("ads_config");
    has_filters && !is_elsewhere && view::is_our_text(&root)
}

/// Checks the documents as what they are; a report of its own says that the auth server's file cannot be
/// read.
pub(super) fn check(
    input: &Input,
    kind: (&'static str, &'static str),
    options: &Options<'_>,
) -> Vec<FileReport> {
    let mut findings = Vec::new();
    let mut reports = Vec::new();
    let allowed = allowed(options, &mut findings, &mut reports);
    let allowed: Option<Vec<&str>> = allowed
        .as_ref()
        .map(|found| audiences::allowed_in(found.run_config()));
    let mut has_entry = false;
    let mut has_settings = false;
    let mut plugins = Vec::new();
    for document in &input.documents {
        let root = root_of(document);
        let view = View::of(std::slice::from_ref(&root));
        let mut settings = view.filters.clone();
        if kind == RESOURCES {
            settings.extend(plugin_resources(&root));
        }
        has_entry |= !placement::entries_in(&view).is_empty();
        has_settings |= !settings.is_empty();
        for settings in &settings {
            plugins.extend(filter::read(settings, document, &input.text, &mut findings));
        }
    }
    let known = Known::of(&plugins);
    let mut has_door = false;
    let mut is_downstream = false;
    let mut has_listener = kind == RESOURCES;
    for document in &input.documents {
        let root = root_of(document);
        let mut notes = Notes::default();
        let view = View::of(std::slice::from_ref(&root));
        if !has_settings {
            placement::on_settings_elsewhere(&view, &mut notes);
        }
        if kind != RESOURCES {
            let is_list = kind == DUMP || is_list(&root);
            rules::on(&view, is_list, &known, &mut notes);
        }
        let excused = routes::auth_server_clusters(&view);
        has_door |= is_door(&root);
        is_downstream |= placement::is_downstream(&view);
        has_listener |= !view.managers.is_empty();
        hazards::on(&root, &known, &excused, &mut notes);
        audiences::on(&root, allowed.as_deref(), &mut notes);
        findings.extend(notes.0.into_iter().map(|said| {
            let at = document.position(&said.problem.path);
            Finding::about_value(said.severity, at, &said.problem.path, said.problem.text)
                .coded(said.code)
        }));
    }
    if !has_settings && !has_entry {
        let at = input.documents.first().map(Document::start);
        let text = match has_listener {
            true => "the filter is nowhere in here: requests go on with whatever is on them",
            false => {
                "the filter is nowhere in here, nor is a listener for HTTP: nothing can be said of \
                 requests; `check` of a live /config_dump?include_eds sees all"
            }
        };
        let finding = Finding::about_file(Severity::Error, at, text);
        findings.push(finding.coded(&codes::ENVOY_NO_FILTER));
    } else if kind == RESOURCES && !has_door {
        let at = input.documents.first().map(Document::start);
        let text = "nothing in here takes the client's token off requests: the door is missing \
                    (request_headers_to_remove, RequestHeaderModifier, headers.request.remove)";
        let finding = Finding::about_file(Severity::Error, at, text);
        findings.push(finding.coded(&codes::ENVOY_DOOR));
    }
    place_routed_headers(&mut findings, is_downstream, has_entry);
    findings.dedup();
    let report = FileReport::of(&input.name, Some(kind), findings).with_source(&input.text);
    reports.insert(0, report);
    reports
}

/// Whether a route that matches on a credential's header is a danger depends on where the filter stands,
/// which shows here.
fn place_routed_headers(findings: &mut Vec<Finding>, is_downstream: bool, has_entry: bool) {
    let is_one = |finding: &Finding| finding.code == Some(&codes::ROUTED_HEADER);
    if is_downstream {
        for finding in findings.iter_mut().filter(|finding| is_one(finding)) {
            finding.severity = Severity::Warning;
        }
    } else if has_entry {
        findings.retain(|finding| !is_one(finding));
    }
}

fn root_of(document: &Document) -> Part<'_> {
    Part {
        node: &document.root,
        path: Path::root(),
    }
}

/// The auth server that was named.
fn allowed(
    options: &Options<'_>,
    findings: &mut Vec<Finding>,
    reports: &mut Vec<FileReport>,
) -> Option<auth_server::Found> {
    let file = options.auth_server?;
    match auth_server::find(FilePath::new(file), None) {
        Ok(found) => Some(found),
        Err(not_found) if not_found.alone.is_some() => {
            let text = format!("--auth-server {}: {}", quoted(file), not_found.text);
            let finding = Finding::about_file(Severity::Error, None, text);
            findings.push(finding.coded(&codes::AUTH_SERVER));
            None
        }
        Err(not_found) => {
            let finding = Finding::about_file(Severity::Error, not_found.at, not_found.text);
            reports.push(FileReport::unreadable(
                file,
                finding.coded(&codes::UNREADABLE),
            ));
            None
        }
    }
}

/// A `WasmPlugin` of Istio, or a policy of Envoy Gateway, has the filter's settings in a form of its
/// own; what stands in patches is found as in Envoy's own configuration.
fn plugin_resources<'a>(root: &Part<'a>) -> Vec<Part<'a>> {
    let mut found = Vec::new();
    root.walk(&mut |part| {
        let holds = |key| {
            let inner = part.get(key);
            inner.is_some_and(|inner| inner.get("outgoingAuth").is_some())
        };
        if holds("pluginConfig") || holds("config") {
            found.push(part.clone());
        }
    });
    found
}

/// Whether something in here takes `authorization` off requests.
fn is_door(root: &Part<'_>) -> bool {
    let mut found = false;
    root.walk(&mut |part| {
        let removes = |list: Vec<Part<'_>>| {
            list.iter().any(|item| {
                matches!(item.node, Node::String(name) if name.eq_ignore_ascii_case("authorization"))
            })
        };
        found |= removes(part.list("request_headers_to_remove"))
            || removes(part.list("remove"))
            // A JSON patch adds the list as its value.
            || (part.any_text(&|text| text.contains("request_headers_to_remove"))
                && (removes(part.list("value"))
                    || part.text("value").is_some_and(|name| name.eq_ignore_ascii_case("authorization"))));
    });
    found
}
