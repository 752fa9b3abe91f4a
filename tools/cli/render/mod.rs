//! `render`: everything that a proxy needs to load the filter, in the proxy's own words.

mod cluster;
mod endpoint;
mod envoy;
mod envoy_gateway;
mod istio;
mod rename;
mod setup;
mod template;

use crate::check::{self, AnyVariable, Kind};
use crate::input;
use crate::report::{FileReport, Finding, Severity};
use document::Document;
use endpoint::Endpoint;
use rename::Names;
use setup::Setup;
use std::collections::BTreeMap;
use upstream_inject::config::{self, Node};

/// Where the filter is to run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Target {
    /// A bootstrap for Envoy itself
    Envoy,
    /// Resources for Envoy Gateway
    EnvoyGateway,
    /// Resources for Istio
    Istio,
}

/// What the configuration of the filter does not say.
#[derive(Debug)]
pub(crate) struct Options {
    pub(crate) target: Target,
    /// `NAME=ADDRESS`, one for each backend.
    pub(crate) backends: Vec<(String, String)>,
    pub(crate) ext_authz: Option<String>,
    pub(crate) issuer: Option<String>,
    pub(crate) jwks_url: Option<String>,
    pub(crate) audiences: Vec<String>,
    pub(crate) listen: String,
    pub(crate) admin: String,
    pub(crate) wasm: String,
    pub(crate) image: Option<String>,
    pub(crate) namespace: String,
    pub(crate) gateway: String,
    pub(crate) ca_file: String,
}

/// Renders the configuration in `file`, or says what is wrong with it.
pub(crate) fn render(file: &str, options: &Options) -> (FileReport, Option<String>) {
    let input = match input::read(file) {
        Ok(input) => input,
        Err(report) => return (report, None),
    };
    let mut findings = Vec::new();
    let rendered = render_documents(&input.documents, options, &mut findings);
    let report = FileReport::of(&input.name, None, findings);
    let is_valid = report.verdict == crate::report::Verdict::Valid;
    (report, rendered.filter(|_| is_valid))
}

fn render_documents(
    documents: &[Document],
    options: &Options,
    findings: &mut Vec<Finding>,
) -> Option<String> {
    let document = check::single(documents)
        .and_then(|document| check::something_else(document).map_or(Ok(document), Err));
    let document = match document {
        Ok(document) => document,
        Err(finding) => {
            findings.push(finding);
            return None;
        }
    };
    let kind = Kind::of(&document.root);
    findings.extend(check::findings(document, kind, &AnyVariable));
    if findings
        .iter()
        .any(|finding| finding.severity == Severity::Error)
    {
        return None;
    }
    let rendered = Setup::of(&document.root, kind).and_then(|setup| {
        let mut target = Rendering::new(setup, options)?;
        let text = match options.target {
            Target::Envoy => envoy::render(&mut target),
            Target::EnvoyGateway => envoy_gateway::render(&mut target),
            Target::Istio => istio::render(&mut target),
        }?;
        prove(&text)?;
        Ok((text, target.notes))
    });
    match rendered {
        Ok((text, notes)) => {
            findings.extend(
                notes
                    .into_iter()
                    .map(|note| Finding::about_file(Severity::Note, None, note)),
            );
            Some(text)
        }
        Err(error) => {
            findings.push(Finding::about_file(Severity::Error, None, error));
            None
        }
    }
}

/// What is written must be YAML, with every placeholder filled.
fn prove(text: &str) -> Result<(), String> {
    let is_yaml = document::parse(text.as_bytes()).is_ok();
    if is_yaml && !text.contains("{{") {
        Ok(())
    } else {
        Err("a value in here cannot be rendered; please report it as a bug".to_owned())
    }
}

/// A rendering under way.
struct Rendering<'a> {
    setup: Setup,
    options: &'a Options,
    /// What the operator should know, on the screen and at the head of the file.
    notes: Vec<String>,
    /// Where backends are, as far as anyone has said.
    addresses: BTreeMap<String, String>,
}

impl<'a> Rendering<'a> {
    fn new(mut setup: Setup, options: &'a Options) -> Result<Self, String> {
        let mut addresses = BTreeMap::new();
        if options.target == Target::Envoy {
            addresses.extend(setup.urls.iter().cloned());
        }
        for (name, address) in &options.backends {
            if !setup.backends.contains(name) {
                if !setup.has_default {
                    return Err(format!(
                        "--backend {name}: there is no backend of this name ({})",
                        setup.backends.join(", ")
                    ));
                }
                setup.backends.push(name.clone());
            }
            addresses.insert(name.clone(), address.clone());
        }
        if let Some(issuer) = &options.issuer {
            setup.issuer = Some(issuer.clone());
        }
        if !options.audiences.is_empty() {
            setup.audiences.clone_from(&options.audiences);
        }
        if options.target != Target::Envoy && setup.leave_out_backend_from() {
            setup.notes.push(
                "backendFrom is left out: backends are listed by the names of their clusters here"
                    .to_owned(),
            );
        }
        Ok(Self {
            notes: std::mem::take(&mut setup.notes),
            setup,
            options,
            addresses,
        })
    }

    fn note(&mut self, note: impl Into<String>) {
        self.notes.push(note.into());
    }

    /// The notes as comment lines.
    fn notes_comment(&self) -> String {
        if self.notes.is_empty() {
            return String::new();
        }
        let mut text = "#\n# To do:\n".to_owned();
        for note in &self.notes {
            text.push_str(&format!("#   - {}\n", crate::report::printable(note)));
        }
        text
    }

    /// Where the auth server publishes its keys. ToolHive's does it here.
    fn jwks_url(&self, issuer: &str) -> String {
        self.options
            .jwks_url
            .clone()
            .unwrap_or_else(|| format!("{}/.well-known/jwks.json", issuer.trim_end_matches('/')))
    }

    /// The auth server's ext_authz service, or an address that leads nowhere.
    fn ext_authz(&mut self) -> Result<Endpoint, String> {
        match &self.options.ext_authz {
            Some(address) => Endpoint::parse(address)
                .ok_or_else(|| format!("--ext-authz {address}: neither host:port nor a URL")),
            None => {
                self.note(
                    "--ext-authz is missing: fill in where the embedded auth server answers \
                     ext_authz; until then there are no upstream tokens",
                );
                Ok(Endpoint::unknown("embedded-auth-server"))
            }
        }
    }

    /// Notes what nobody checks.
    fn note_missing_issuer(&mut self) {
        self.note(
            "no issuer is known, so nothing in here checks who a request comes from: give \
             --issuer, or see to it before the filter",
        );
    }

    /// The plugin configuration under the names that the target gives things, still valid.
    fn plugin(
        &self,
        backend: impl Fn(&str) -> String,
        cluster: impl Fn(&setup::TokenEndpoint) -> String,
    ) -> Result<Node, String> {
        let plugin = Names { backend, cluster }.apply(&self.setup);
        let outcome = config::plan(&plugin, &AnyVariable);
        match outcome.errors.first() {
            None => Ok(plugin),
            Some(problem) => Err(format!("under the names of the target: {problem}")),
        }
    }

    /// The image, and its digest.
    fn image(&mut self) -> (String, Option<String>) {
        let image = match &self.options.image {
            Some(image) => image.trim_start_matches("oci://").to_owned(),
            None => {
                self.note(
                    "--image is missing: fill in where the image was pushed to, with its digest \
                     (registry.example.com/upstream-inject@sha256:…)",
                );
                format!(
                    "registry.example.com/upstream-inject:{}",
                    env!("CARGO_PKG_VERSION")
                )
            }
        };
        let digest = image
            .split_once("@sha256:")
            .map(|(_, digest)| digest)
            .filter(|digest| {
                digest.len() == 64 && digest.bytes().all(|byte| byte.is_ascii_hexdigit())
            })
            .map(str::to_owned);
        if digest.is_none() && self.options.image.is_some() {
            self.note("the image is not pinned by digest: name it as NAME@sha256:DIGEST");
        }
        (image, digest)
    }
}

/// Without a list, a TH-JWT for any other service of the same issuer would do.
fn audiences(target: &mut Rendering<'_>) -> String {
    if target.setup.audiences.is_empty() {
        target.note(
            "no audience is known, so a token that was issued for another service is accepted: \
             give --audience",
        );
        return String::new();
    }
    let audiences: Vec<String> = target
        .setup
        .audiences
        .iter()
        .map(|audience| crate::emit::scalar(audience))
        .collect();
    format!("audiences: [{}]", audiences.join(", "))
}
