//! `check`: the filter's own validation, with positions, and what only a whole file shows.

mod advice;
mod kind;
mod vmcp;

pub(crate) use advice::{KEY_VARIABLES, SECRETS, TOKEN_ENDPOINTS, providers, upstream_name};
use kind::is_envoy;
pub(crate) use kind::{Kind, is_kubernetes};

use crate::input;
use crate::report::{FileReport, Finding, Severity};
use document::Document;
use upstream_inject::config::{self, Environment, Node, Problem};

/// What to assume of a file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Assume {
    /// Tell by its top-level keys.
    #[default]
    Auto,
    /// A plugin configuration: unknown keys are errors.
    Plugin,
    /// A whole vMCP file: keys that only vMCP reads are left alone.
    Vmcp,
}

/// The environment is Envoy's, not the one this runs in: any name can be set there.
pub(crate) struct AnyVariable;

impl Environment for AnyVariable {
    fn var(&self, _name: &str) -> Option<String> {
        Some("set".to_owned())
    }
}

/// The environment this runs in (`--env`).
pub(crate) struct ThisProcess;

impl Environment for ThisProcess {
    fn var(&self, name: &str) -> Option<String> {
        std::env::var(name).ok()
    }
}

/// Checks one file.
pub(crate) fn check(name: &str, assume: Assume, environment: &dyn Environment) -> FileReport {
    let input = match input::read(name) {
        Ok(input) => input,
        Err(report) => return report,
    };
    if assume == Assume::Auto
        && let Some(finding) = input.documents.iter().find_map(something_else)
    {
        return FileReport::of(&input.name, None, vec![finding]);
    }
    match single(&input.documents) {
        Ok(document) => check_document(&input.name, document, assume, environment),
        Err(finding) => FileReport::of(&input.name, None, vec![finding]),
    }
}

/// A configuration is one document; with two, which one counts would depend on the reader.
pub(crate) fn single(documents: &[Document]) -> Result<&Document, Finding> {
    match documents {
        [document] => Ok(document),
        _ => Err(Finding::about_file(
            Severity::Error,
            documents.get(1).map(|second| second.start()),
            format!("{} documents; a configuration is one", documents.len()),
        )),
    }
}

fn check_document(
    name: &str,
    document: &Document,
    assume: Assume,
    environment: &dyn Environment,
) -> FileReport {
    let kind = match assume {
        Assume::Plugin => Kind::Plugin,
        Assume::Vmcp => Kind::Vmcp,
        Assume::Auto => Kind::of(&document.root),
    };
    let findings = findings(document, kind, environment);
    FileReport::of(name, Some(kind.words()), findings)
}

/// What to say about a document that is no configuration of the filter, but looks like one of its
/// neighbours.
pub(crate) fn something_else(document: &Document) -> Option<Finding> {
    let text = if is_kubernetes(&document.root) {
        "a Kubernetes resource; `upstream-inject convert` makes a configuration of it"
    } else if is_envoy(&document.root) {
        "a configuration of Envoy; the filter's own is what stands in it under `configuration`, \
         and `envoy --mode validate` checks both"
    } else {
        return None;
    };
    Some(Finding::about_file(
        Severity::Error,
        Some(document.start()),
        text,
    ))
}

/// Every error and every warning about a configuration, with its place.
pub(crate) fn findings(
    document: &Document,
    kind: Kind,
    environment: &dyn Environment,
) -> Vec<Finding> {
    let (errors, warnings) = problems(&document.root, kind, environment);
    let located = |severity, problems: Vec<Problem>| {
        problems.into_iter().map(move |problem| {
            Finding::from_problem(severity, document.position(&problem.path), problem)
        })
    };
    located(Severity::Error, errors)
        .chain(located(Severity::Warning, warnings))
        .collect()
}

fn problems(
    root: &Node,
    kind: Kind,
    environment: &dyn Environment,
) -> (Vec<Problem>, Vec<Problem>) {
    let filter_part = kind.filter_part(root);
    let outcome = config::plan(&filter_part, environment);
    let (mut errors, mut warnings) = (outcome.errors, outcome.warnings);
    if kind == Kind::Vmcp {
        vmcp::check(root, &mut errors, &mut warnings);
    }
    warnings.extend(advice::on(&filter_part));
    (errors, warnings)
}
