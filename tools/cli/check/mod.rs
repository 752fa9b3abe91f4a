//! `check`: the filter's own validation, with positions, and what only whole files show.
//!
//! ```text
//! file ──▶ kind ──▶ Configuration (its two files as one tree) ──▶ the filter's rules
//!                                                                 vmcp, run_config: ToolHive's
//!                                                                 backends, unserved, advice
//!      ──▶ envoy: Envoy's own configuration, with the filter's in it
//!      ──▶ folder: each file in it
//! ```

mod advice;
mod backends;
mod envoy;
mod folder;
mod kind;
mod placeholders;
mod run_config;
mod said;
mod unserved;
mod vendors;
mod vmcp;

use advice::strategies;
pub(crate) use advice::{providers, upstream_name};
pub(crate) use folder::expand;
pub(crate) use kind::Kind;

use crate::codes;
use crate::input::{self, Input};
use crate::kubernetes::{is_converted, is_kubernetes, opened};
use crate::report::{FileReport, Finding, Severity};
use document::Document;
use document::auth_server::{NotFound, is_our_config_map, is_vmcp_config_map};
use document::configuration::{Configuration, Form};
use said::{Notes, quoted};
use std::path::Path as FilePath;
use upstream_inject::config::{self, Environment, Node, Path};
use upstream_inject::strategy::REGISTRY;

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
        Some(Self::VALUE.to_owned())
    }

    fn pem(&self, _name: &str) -> Option<String> {
        Some(STAND_IN.to_owned())
    }
}

impl AnyVariable {
    /// What every variable holds.
    const VALUE: &str = "whatever-the-environment-holds";
}

/// For a key and for its certificate, which are not at hand here: the key is the number one, and says
/// nothing of whose certificate it is.
pub(crate) const STAND_IN: &str = "\
-----BEGIN PRIVATE KEY-----
MEECAQAwEwYHKoZIzj0CAQYIKoZIzj0DAQcEJzAlAgEBBCAAAAAAAAAAAAAAAAAA
AAAAAAAAAAAAAAAAAAAAAAAAAQ==
-----END PRIVATE KEY-----
-----BEGIN CERTIFICATE-----
MIIBfTCCASOgAwIBAgIUEM7ZVfkVheIYPqwQLjBSdhXMbP0wCgYIKoZIzj0EAwIw
EzERMA8GA1UEAwwIc3RhbmQtaW4wIBcNMjYxMTI2MDUwMTE0WhgPMjEyNjExMDIw
NTAxMTRaMBMxETAPBgNVBAMMCHN0YW5kLWluMFkwEwYHKoZIzj0CAQYIKoZIzj0D
AQcDQgAEVDvznry4mA7hBNA63PY/xuJJ5z79abq7Ci+XLjFsl6pY/YgExGNIkbiG
SbjSwfBr6yB5JAV021TzOS+mB8m7naNTMFEwHQYDVR0OBBYEFCM/Plyz/ADy9RtL
EjQpIfWW/MYbMB8GA1UdIwQYMBaAFCM/Plyz/ADy9RtLEjQpIfWW/MYbMA8GA1Ud
EwEB/wQFMAMBAf8wCgYIKoZIzj0EAwIDSAAwRQIgXHsQ7HzuYiosInwKTJEV72Hy
7EFPY/7irwCP69cUGMgCIQDir/kJ7jQX1WMZM/OcUUbacovSm4lagPfcBRuZ2m6/
9g==
-----END CERTIFICATE-----
";

/// The environment this runs in (`--env`).
pub(crate) struct ThisProcess;

impl Environment for ThisProcess {
    fn var(&self, name: &str) -> Option<String> {
        std::env::var(name).ok()
    }
}

/// How files are checked.
pub(crate) struct Options<'a> {
    pub(crate) assume: Assume,
    pub(crate) environment: &'a dyn Environment,
    /// The file that was named for the auth server.
    pub(crate) auth_server: Option<&'a str>,
}

/// Checks one file: a report on it, and one on the file that its auth server is in.
pub(crate) fn check(name: &str, options: &Options<'_>) -> Vec<FileReport> {
    let mut input = match input::read(name) {
        Ok(input) => input,
        Err(report) => return vec![report],
    };
    if let Some(opened) = opened(&input.documents) {
        input.documents = opened;
    }
    if options.assume == Assume::Auto
        && let Some(kind) = envoy::kind_of(&input)
    {
        return envoy::check(&input, kind, options);
    }
    let read = match configuration(&input, options.assume, options.auth_server) {
        Ok(read) => read,
        Err(report) => return vec![*report],
    };
    let findings = findings_of(&read.configuration, read.kind, options.environment);
    reports(&input, &read, findings)
}

/// The reports on a configuration that has been read, whatever its variables hold.
pub(crate) fn judged(input: &Input, read: &Read) -> Vec<FileReport> {
    let findings = findings_of(&read.configuration, read.kind, &AnyVariable);
    reports(input, read, findings)
}

/// A configuration, and what its file was taken for.
pub(crate) struct Read {
    pub(crate) configuration: Configuration,
    pub(crate) kind: Kind,
}

/// Reads what `input` holds as a configuration, together with its auth server, wherever that is:
/// the one reader for `check`, `explain` and whoever else takes a configuration.
pub(crate) fn configuration(
    input: &Input,
    assume: Assume,
    auth_server: Option<&str>,
) -> Result<Read, Box<FileReport>> {
    let refuse = |finding| {
        let report = FileReport::of(&input.name, None, vec![finding]);
        Box::new(report.with_source(&input.text))
    };
    let opened = opened(&input.documents);
    let documents = opened.as_deref().unwrap_or(&input.documents);
    let document = pick(documents, assume).map_err(refuse)?;
    let file = (input.name != input::STDIN).then(|| FilePath::new(&input.name));
    let auth_server = auth_server.map(FilePath::new);
    let name = input.name.as_str();
    let configuration = Configuration::read(document.clone(), &input.text, name, file, auth_server)
        .map_err(|not_found| Box::new(report_on(input, document, not_found)))?;
    let kind = match assume {
        Assume::Plugin => Kind::Plugin,
        Assume::Vmcp => Kind::Vmcp,
        Assume::Auto
            if document::entries(&configuration.document.root).len() == 1
                && configuration.form == Form::ToolHive =>
        {
            Kind::AuthServer
        }
        Assume::Auto => Kind::of(&configuration.document.root),
    };
    Ok(Read {
        configuration,
        kind,
    })
}

/// The one document that is a configuration.
fn pick(documents: &[Document], assume: Assume) -> Result<&Document, Finding> {
    if assume == Assume::Auto {
        let config_maps = |is_one: fn(&Node) -> bool| {
            let mut config_maps = documents
                .iter()
                .filter(move |document| is_one(&document.root));
            (config_maps.next(), config_maps.next())
        };
        match config_maps(is_our_config_map) {
            (Some(config_map), None) => return Ok(config_map),
            (Some(_), Some(second)) => {
                let text = "a second vMCP's ConfigMap; check each by itself";
                let finding = Finding::about_file(Severity::Error, Some(second.start()), text);
                return Err(finding.coded(&codes::NO_CONFIGURATION));
            }
            (None, _) => {}
        }
        // One whose keys alone are like that has to say for itself what is wrong with it.
        if let (Some(config_map), None) = config_maps(is_vmcp_config_map) {
            return Ok(config_map);
        }
        if let Some(finding) = documents.iter().find_map(something_else) {
            return Err(finding);
        }
    }
    single(documents)
}

/// The auth server could not be read: where that is said.
fn report_on(input: &Input, document: &Document, not_found: NotFound) -> FileReport {
    let is_broken = not_found.at.is_some();
    let finding = |at, code| {
        let is_whole = not_found.path == Path::root();
        let about = Finding::about_file(Severity::Error, at, not_found.text.clone());
        let mut finding = about.coded(code);
        finding.path = (!is_whole).then(|| not_found.path.to_string());
        finding
    };
    match &not_found.file {
        Some(file) => {
            let finding = finding(not_found.at, &codes::UNREADABLE);
            FileReport::unreadable(&file.display().to_string(), finding)
        }
        None if is_broken => {
            let finding = finding(not_found.at, &codes::SYNTAX);
            FileReport::unreadable(&input.name, finding).with_source(&input.text)
        }
        None => {
            let at = document.position(&not_found.path);
            let finding = finding(Some(at), &codes::AUTH_SERVER);
            FileReport::of(&input.name, None, vec![finding]).with_source(&input.text)
        }
    }
}

/// Files findings under the file that they are about.
pub(crate) fn reports(
    input: &Input,
    read: &Read,
    findings: Vec<(Path, Finding)>,
) -> Vec<FileReport> {
    let (elsewhere, here): (Vec<_>, Vec<_>) = findings
        .into_iter()
        .partition(|(path, _)| read.configuration.is_elsewhere(path));
    let only =
        |findings: Vec<(Path, Finding)>| findings.into_iter().map(|(_, finding)| finding).collect();
    let mut reports = vec![
        FileReport::of(&input.name, Some(read.kind.words()), only(here)).with_source(&input.text),
    ];
    if let Some((file, source)) = &read.configuration.auth_server_file {
        let words = Some(Kind::AuthServer.words());
        let name = file.display().to_string();
        reports.push(FileReport::of(&name, words, only(elsewhere)).with_source(source));
    }
    reports
}

/// A configuration is one document; with two, which one counts would depend on the reader.
pub(crate) fn single(documents: &[Document]) -> Result<&Document, Finding> {
    match documents {
        [document] => Ok(document),
        _ => Err(Finding::about_file(
            Severity::Error,
            documents.get(1).map(|second| second.start()),
            format!("{} documents; a configuration is one", documents.len()),
        )
        .coded(&codes::NO_CONFIGURATION)),
    }
}

/// What to say about a document that is no configuration of the filter, but looks like one of its
/// neighbours.
pub(crate) fn something_else(document: &Document) -> Option<Finding> {
    let kind = document::get_text(&document.root, "kind").unwrap_or_default();
    let text = if is_kubernetes(&document.root) && is_converted(kind) {
        "a Kubernetes resource; `upstream-inject convert` makes a configuration of it"
    } else if is_kubernetes(&document.root) {
        "a Kubernetes resource in which there is no configuration of the filter, and none that \
         `upstream-inject convert` takes"
    } else if envoy::kind_in(document).is_some() {
        "a configuration of Envoy; the filter's own is what stands in it under `configuration`, \
         and `envoy --mode validate` checks both"
    } else {
        return None;
    };
    let finding = Finding::about_file(Severity::Error, Some(document.start()), text);
    Some(finding.coded(&codes::NO_CONFIGURATION))
}

/// Every error and every warning about a configuration, with its path and its place.
pub(crate) fn findings_of(
    configuration: &Configuration,
    kind: Kind,
    environment: &dyn Environment,
) -> Vec<(Path, Finding)> {
    let document = &configuration.document;
    notes_on(configuration, kind, environment)
        .0
        .into_iter()
        .map(|said| {
            let path = said.problem.path.clone();
            let at = document.position(&path);
            let finding = Finding::from_problem(said.severity, at, said.problem);
            (path, finding.coded(said.code))
        })
        .chain(doubts(document, kind))
        .collect()
}

fn notes_on(configuration: &Configuration, kind: Kind, environment: &dyn Environment) -> Notes {
    let root = &configuration.document.root;
    let mut notes = Notes::default();
    let filter_part = kind.filter_part(root);
    if kind != Kind::AuthServer {
        let outcome = config::plan(&filter_part, REGISTRY, environment);
        for problem in outcome.errors {
            notes.problem(Severity::Error, problem);
        }
        for problem in outcome.warnings {
            notes.problem(Severity::Warning, problem);
        }
        unserved::explain(root, &mut notes);
    }
    if kind == Kind::Vmcp {
        vmcp::check(root, configuration.form, &mut notes);
        backends::on_lists(root, &mut notes);
        unserved::on_guards(root, &mut notes);
    }
    backends::on_names(root, &mut notes);
    run_config::on(configuration, &mut notes);
    if kind != Kind::AuthServer {
        advice::on(&filter_part, &mut notes);
    }
    for block in &configuration.filled {
        let text = format!(
            "no subjectProviderName: vMCP takes the first upstream, {}, and so it is here",
            quoted(configuration.first_upstream.as_deref().unwrap_or_default())
        );
        notes.note(&codes::FIRST_UPSTREAM, block.clone(), text);
    }
    notes
}

/// What Envoy's reader takes for something else, where the file is written for it.
fn doubts(document: &Document, kind: Kind) -> impl Iterator<Item = (Path, Finding)> {
    let doubts = match kind {
        Kind::Plugin => document.doubts.as_slice(),
        Kind::Vmcp | Kind::AuthServer => &[],
    };
    doubts.iter().map(|doubt| {
        let finding = Finding::about_file(Severity::Warning, Some(doubt.at), doubt.text);
        (Path::root(), finding.coded(&codes::READS_OTHERWISE))
    })
}
