//! `convert`: `MCPExternalAuthConfig` resources become `outgoingAuth.backends` entries, as the
//! operator's own converters make strategies of them (RFC THV-0054).
//!
//! ```text
//! files ──▶ Catalogue ──▶ Selection ──▶ Backends ──▶ Conversion
//!  resource.rs             select.rs     backends.rs   assemble.rs, judged by the filter's own
//!  workload.rs             who refers    strategy/      rules; trace.rs leads problems back
//!  virtual_server.rs       to what
//! ```

mod admission;
mod assemble;
mod auth_server;
mod backends;
mod block;
mod gateway;
mod names;
mod output;
mod resource;
mod select;
mod strategy;
mod trace;
mod variables;
mod virtual_server;
mod wanted;
mod workload;

pub(crate) use auth_server::auth_server_node;
pub(crate) use output::{env, json, yaml};
pub(crate) use variables::variable_name;

use crate::input::{self, Input};
use crate::kubernetes::Kind;
use crate::report::{FileReport, Finding, Severity, Verdict, worst};
use auth_server::AuthServer;
use block::Wrongs;
use resource::Resource;
use std::collections::{BTreeSet, HashMap};
use upstream_inject::config::{Node, Path};
use variables::Variable;
use virtual_server::VirtualServer;
use workload::Workload;

/// What `convert` is asked for, besides the files.
#[derive(Debug, Default)]
pub(crate) struct Options {
    /// A file whose `authServer` the backends belong to.
    pub(crate) auth_server: Option<String>,
    /// The one gateway to convert, `[NAMESPACE/]NAME`; none: all there are.
    pub(crate) virtual_server: Option<String>,
    /// Leave out what the filter cannot serve, instead of refusing it.
    pub(crate) skip_unsupported: bool,
}

/// What came out: a configuration that `check` accepts.
#[derive(Debug)]
pub(crate) struct Conversion {
    /// What the filter reads.
    config: Node,
    /// What `check` and `render` read besides, in vMCP's words: who may come in.
    incoming: Option<Node>,
    /// The same: where backends are.
    addresses: Vec<Node>,
    /// Addresses that the file cannot hold, as options of `render`.
    options: Vec<String>,
    /// Which backend came from which resource.
    origins: Vec<(String, String)>,
    env: Vec<Variable>,
    notes: Vec<String>,
}

/// All that the files hold.
#[derive(Default)]
struct Catalogue<'a> {
    configs: Vec<Resource<'a>>,
    servers: Vec<VirtualServer<'a>>,
    workloads: Vec<Workload<'a>>,
}

/// Converts everything in `files`, or nothing: without a conversion there are errors in the
/// reports.
pub(crate) fn convert(
    files: &[String],
    options: &Options,
) -> (Vec<FileReport>, Option<Conversion>) {
    let mut reports = Vec::new();
    let mut inputs = Vec::new();
    for name in files {
        match input::read(name) {
            Ok(input) => inputs.push(input),
            Err(report) => reports.push(report),
        }
    }
    let given = options.auth_server.as_deref().map(input::read).transpose();
    let given = given.unwrap_or_else(|report| {
        reports.push(report);
        None
    });
    let mut work = Work::default();
    let conversion = work.convert(&inputs, given.as_ref(), options);
    for input in inputs.iter().chain(given.as_ref()) {
        let mut findings = work.findings.remove(&input.name).unwrap_or_default();
        findings.sort_by_key(|finding| finding.at);
        reports.push(FileReport::of(&input.name, None, findings).with_source(&input.text));
    }
    let is_clean = worst(&reports) == Verdict::Valid;
    (reports, conversion.filter(|_| is_clean))
}

#[derive(Default)]
struct Work {
    findings: HashMap<String, Vec<Finding>>,
    notes: Vec<String>,
}

impl Work {
    fn convert(
        &mut self,
        inputs: &[Input],
        given: Option<&Input>,
        options: &Options,
    ) -> Option<Conversion> {
        let mut auth_servers = Vec::new();
        if let Some(given) = given {
            auth_servers.extend(self.note(&given.name, |findings| {
                auth_server::from_file(given, findings)
            }));
        }
        let mut others = Vec::new();
        let resources = self.collect(inputs, &mut others);
        let catalogue = self.sort(resources, options);
        let selection = select::select(&catalogue, self);
        if selection.wanted.is_empty() && selection.default.is_none() {
            self.nothing_to_convert(inputs, &catalogue, others);
            return None;
        }
        auth_servers.extend(self.auth_servers(&catalogue, &selection));
        let auth_server = self.only(auth_servers);
        let backends = self.backends(&selection, auth_server.as_ref(), options);
        if backends.is_empty() {
            self.nothing_to_convert(inputs, &catalogue, Vec::new());
            return None;
        }
        let gateway = self.gateway(&catalogue, auth_server);
        let conversion = self.assemble(&backends, &gateway);
        self.validate(&conversion, &backends, gateway.auth_server.as_ref());
        Some(Conversion {
            notes: std::mem::take(&mut self.notes),
            ..conversion
        })
    }

    fn collect<'a>(
        &mut self,
        inputs: &'a [Input],
        others: &mut Vec<(String, Finding)>,
    ) -> Vec<Resource<'a>> {
        let mut resources = Vec::new();
        for input in inputs {
            let mut skipped = Vec::new();
            resources.extend(self.note(&input.name, |findings| {
                let documents = input.documents.iter();
                documents
                    .flat_map(|document| {
                        resource::collect(&input.name, document, findings, &mut skipped)
                    })
                    .collect::<Vec<_>>()
            }));
            others.extend(skipped.into_iter().map(|one| (input.name.clone(), one)));
        }
        resources
    }

    /// Files resources under what they are.
    fn sort<'a>(&mut self, resources: Vec<Resource<'a>>, options: &Options) -> Catalogue<'a> {
        let mut catalogue = Catalogue::default();
        let mut seen = BTreeSet::new();
        let (oidc_configs, rest): (Vec<_>, Vec<_>) = resources
            .into_iter()
            .partition(|resource| resource.kind == Kind::OidcConfig);
        for resource in rest {
            if !seen.insert(resource.title()) {
                let text = "another resource has this name; backends are named after it";
                let path = Path::root().key("metadata").key("name");
                self.add(&resource, Severity::Error, &path, text);
                continue;
            }
            match resource.kind {
                Kind::ExternalAuthConfig => catalogue.configs.push(resource),
                Kind::VirtualServer => {
                    let given = options.virtual_server.as_deref();
                    if virtual_server::is_meant(&resource, given) {
                        let (server, wrongs) = virtual_server::read(resource, &oidc_configs);
                        self.add_all(&server.resource, Severity::Error, &wrongs);
                        self.add_all(&server.resource, Severity::Warning, &server.losses);
                        self.notes.extend(server.notes.iter().cloned());
                        catalogue.servers.push(server);
                    }
                }
                _ => {
                    let (workload, wrongs) = workload::read(resource);
                    self.add_all(&workload.resource, Severity::Error, &wrongs);
                    catalogue.workloads.push(workload);
                }
            }
        }
        if let Some(given) = &options.virtual_server
            && catalogue.servers.is_empty()
        {
            let text = format!("--virtual-server {given}: there is none of this name in here");
            let places = catalogue.configs.iter();
            let workloads = catalogue.workloads.iter().map(|one| &one.resource);
            let file = places.chain(workloads).next().map(|one| one.file);
            if let Some(file) = file {
                self.push(file, Finding::about_file(Severity::Error, None, text));
            }
        }
        catalogue
    }

    /// The auth servers that backends belong to: a gateway's own, or one by itself.
    fn auth_servers(
        &mut self,
        catalogue: &Catalogue<'_>,
        selection: &select::Selection<'_>,
    ) -> Vec<AuthServer> {
        let mut found = Vec::new();
        for server in &catalogue.servers {
            let resource = &server.resource;
            found.extend(self.note(resource.file, |findings| {
                auth_server::from_virtual_server(resource, findings)
            }));
        }
        // A gateway with one of its own has nothing to do with those of single workloads.
        let is_settled = selection.is_following && !found.is_empty();
        for config in &catalogue.configs {
            if select::is_auth_server(config) && !is_settled {
                found.extend(self.note(config.file, |findings| {
                    auth_server::from_resource(config, findings)
                }));
            }
        }
        found
    }

    /// One auth server issues the tokens of one gateway.
    fn only(&mut self, found: Vec<AuthServer>) -> Option<AuthServer> {
        let mut found = found.into_iter();
        let first = found.next()?;
        for other in found.filter(|other| !other.is_like(&first)) {
            let text = format!(
                "{}: a second auth server, next to {}; backends of different auth servers need \
                 configurations of their own (--virtual-server, or fewer files)",
                other.title, first.title
            );
            let finding = Finding::about_file(Severity::Error, Some(other.at), text);
            self.push(&other.file, finding);
        }
        Some(first)
    }

    /// Says so, unless something else has been said; what was left alone is named then.
    fn nothing_to_convert(
        &mut self,
        inputs: &[Input],
        catalogue: &Catalogue<'_>,
        others: Vec<(String, Finding)>,
    ) {
        let mut all = self.findings.values().flatten();
        if all.any(|finding| finding.severity == Severity::Error) {
            return;
        }
        if let Some(server) = catalogue.servers.first() {
            let group = server.group.unwrap_or_default();
            let text = format!(
                "no resource in here becomes a backend: no workload of the group {} is among the \
                 files. Give them too (kubectl get mcpservers,mcpremoteproxies,mcpserverentries -o \
                 yaml)",
                serde_json::Value::from(group)
            );
            let path = Path::root().key("spec").key("groupRef");
            return self.add(&server.resource, Severity::Error, &path, &text);
        }
        let Some(first) = inputs.first() else {
            return;
        };
        if let Some(workload) = catalogue.workloads.first() {
            let text = "no resource in here becomes a backend: it is in no group, and refers to no \
                        MCPExternalAuthConfig, so nothing says what its requests are to carry";
            return self.add(
                &workload.resource,
                Severity::Error,
                &Path::root().key("spec"),
                text,
            );
        }
        let text = "no resource in here becomes a backend";
        self.push(
            &first.name,
            Finding::about_file(Severity::Error, None, text),
        );
        for (file, finding) in others {
            self.push(&file, finding);
        }
    }

    fn add(&mut self, resource: &Resource<'_>, severity: Severity, path: &Path, text: &str) {
        self.push(resource.file, resource.finding(severity, path, text));
    }

    fn push(&mut self, file: &str, finding: Finding) {
        let findings = self.findings.entry(file.to_owned()).or_default();
        findings.push(finding);
    }

    fn add_all(&mut self, resource: &Resource<'_>, severity: Severity, wrongs: &Wrongs) {
        for (path, text) in wrongs {
            self.add(resource, severity, path, text);
        }
    }

    fn note<T>(&mut self, file: &str, work: impl FnOnce(&mut Vec<Finding>) -> T) -> T {
        work(self.findings.entry(file.to_owned()).or_default())
    }
}
