//! `convert`: `MCPExternalAuthConfig` resources become `outgoingAuth.backends` entries, as the
//! operator's own converters make strategies of them (RFC THV-0054).

mod admission;
mod auth_server;
mod block;
mod output;
mod resource;
mod strategy;
mod variables;

pub(crate) use auth_server::auth_server_node;
pub(crate) use output::{env, json, yaml};
pub(crate) use variables::variable_name;

use crate::check::AnyVariable;
use crate::input::{self, Input};
use crate::report::{FileReport, Finding, Severity, Verdict, worst};
use admission::Type;
use auth_server::AuthServer;
use resource::{Kind, Resource};
use std::collections::{BTreeMap, HashMap};
use strategy::Strategy;
use upstream_inject::config::path::Step;
use upstream_inject::config::{self, Node, Path, Problem, Rule};
use upstream_inject::strategy::REGISTRY;
use variables::Variable;

/// What `convert` is asked for, besides the files.
#[derive(Debug, Default)]
pub(crate) struct Options {
    /// A file whose `authServer` the backends belong to.
    pub(crate) auth_server: Option<String>,
    /// Leave out what the filter cannot serve, instead of refusing it.
    pub(crate) skip_unsupported: bool,
}

/// What came out: a configuration that `check` accepts.
#[derive(Debug)]
pub(crate) struct Conversion {
    pub(crate) config: Node,
    /// Which backend came from which resource.
    origins: Vec<(String, String)>,
    env: Vec<Variable>,
    notes: Vec<String>,
}

/// A resource on its way to becoming a backend.
struct Converted<'a> {
    resource: Resource<'a>,
    strategy: Strategy,
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
        let findings = work.findings.remove(&input.name).unwrap_or_default();
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
    fn convert<'a>(
        &mut self,
        inputs: &'a [Input],
        given: Option<&'a Input>,
        options: &Options,
    ) -> Option<Conversion> {
        let mut auth_servers = Vec::new();
        if let Some(given) = given {
            auth_servers.extend(self.note(&given.name, |findings| {
                auth_server::from_file(given, findings)
            }));
        }
        let mut converted: Vec<Converted<'a>> = Vec::new();
        for input in inputs {
            let resources: Vec<_> = self.note(&input.name, |findings| {
                let documents = input.documents.iter();
                documents
                    .flat_map(|document| resource::collect(&input.name, document, findings))
                    .collect()
            });
            for resource in resources {
                self.sort(resource, options, &mut converted, &mut auth_servers);
            }
        }
        let auth_server = self.only(auth_servers);
        if converted.is_empty() {
            self.nothing_to_convert(inputs);
            return None;
        }
        let conversion = self.assemble(&converted, auth_server.as_ref());
        self.validate(&conversion, &converted, auth_server.as_ref());
        Some(Conversion {
            notes: std::mem::take(&mut self.notes),
            ..conversion
        })
    }

    /// Files a resource under what it is: a backend, the auth server, or neither.
    fn sort<'a>(
        &mut self,
        resource: Resource<'a>,
        options: &Options,
        converted: &mut Vec<Converted<'a>>,
        auth_servers: &mut Vec<AuthServer>,
    ) {
        if resource.kind == Kind::VirtualServer {
            auth_servers.extend(self.note(resource.file, |findings| {
                auth_server::from_virtual_server(&resource, findings)
            }));
            return;
        }
        let strategy = match admission::admit(resource.spec) {
            Ok((_, Type::EmbeddedAuthServer)) => {
                auth_servers.extend(self.note(resource.file, |findings| {
                    auth_server::from_resource(&resource, findings)
                }));
                return;
            }
            Ok((word, Type::Unsupported(reason))) => {
                return self.unsupported(&resource, word, reason, options);
            }
            Ok((word, kind)) => strategy::build(word, kind, resource.spec),
            Err(wrongs) => Err(wrongs),
        };
        match strategy {
            Ok(_)
                if converted
                    .iter()
                    .any(|other| other.resource.name == resource.name) =>
            {
                let text = "another resource has this name; backends are named after it";
                let path = Path::root().key("metadata").key("name");
                self.add(&resource, Severity::Error, &path, text);
            }
            Ok(strategy) => converted.push(Converted { resource, strategy }),
            Err(wrongs) => {
                for (path, text) in wrongs {
                    self.add(&resource, Severity::Error, &path, &text);
                }
            }
        }
    }

    fn unsupported(
        &mut self,
        resource: &Resource<'_>,
        word: &str,
        reason: &str,
        options: &Options,
    ) {
        let (severity, left_out) = if options.skip_unsupported {
            (Severity::Warning, "left out")
        } else {
            (
                Severity::Error,
                "take the resource out, or leave it out with --skip-unsupported",
            )
        };
        let text = format!("{word} cannot be served: {reason}; {left_out}");
        if options.skip_unsupported {
            self.notes
                .push(format!("{} is left out: {reason}.", resource.title()));
        }
        self.add(
            resource,
            severity,
            &Path::root().key("spec").key("type"),
            &text,
        );
    }

    /// One auth server issues the tokens of one gateway.
    fn only(&mut self, mut found: Vec<AuthServer>) -> Option<AuthServer> {
        for other in found.iter().skip(1) {
            let text = format!(
                "{}: a second auth server, next to {}; backends of different auth servers need \
                 configurations of their own",
                other.title,
                found
                    .first()
                    .map(|first| first.title.as_str())
                    .unwrap_or_default()
            );
            self.findings
                .entry(other.file.clone())
                .or_default()
                .push(Finding::about_file(Severity::Error, Some(other.at), text));
        }
        (!found.is_empty()).then(|| found.swap_remove(0))
    }

    fn nothing_to_convert(&mut self, inputs: &[Input]) {
        let Some(first) = inputs.first() else {
            return;
        };
        let findings = self.findings.entry(first.name.clone()).or_default();
        let has_errors = findings
            .iter()
            .any(|finding| finding.severity == Severity::Error);
        if !has_errors {
            let text = "no resource in here becomes a backend";
            findings.push(Finding::about_file(Severity::Error, None, text));
        }
    }

    fn assemble(
        &self,
        converted: &[Converted<'_>],
        auth_server: Option<&AuthServer>,
    ) -> Conversion {
        let secrets: Vec<_> = converted
            .iter()
            .filter_map(|one| Some((one.resource.name, one.strategy.secret()?)))
            .collect();
        let mut assigned = variables::assign(&secrets);
        let mut env = Vec::new();
        let mut backends = Vec::new();
        for one in converted {
            let variable = assigned.remove(one.resource.name);
            let name = variable.as_ref().map(|(name, _)| name.as_str());
            backends.push((one.resource.name.to_owned(), one.strategy.node(name)));
            env.extend(variable.into_iter().flat_map(|(_, variables)| variables));
        }
        let outgoing = Node::Map(vec![
            ("source".to_owned(), Node::String("inline".to_owned())),
            ("backends".to_owned(), Node::Map(backends)),
        ]);
        let mut entries = Vec::new();
        if let Some(auth_server) = auth_server {
            entries.push(("authServer".to_owned(), auth_server.node()));
        }
        entries.push(("outgoingAuth".to_owned(), outgoing));
        Conversion {
            config: Node::Map(entries),
            origins: converted
                .iter()
                .map(|one| (one.resource.name.to_owned(), one.resource.title()))
                .collect(),
            env,
            notes: Vec::new(),
        }
    }

    /// The filter's own rules on what came out, each problem led back to its resource.
    fn validate(
        &mut self,
        conversion: &Conversion,
        converted: &[Converted<'_>],
        auth_server: Option<&AuthServer>,
    ) {
        let outcome = config::plan(&conversion.config, REGISTRY, &AnyVariable);
        let by_name: BTreeMap<&str, &Converted<'_>> = converted
            .iter()
            .map(|one| (one.resource.name, one))
            .collect();
        let mut lacks_auth_server = false;
        let warnings = outcome.warnings.into_iter();
        let errors = outcome.errors.into_iter();
        for (severity, problem) in errors
            .map(|problem| (Severity::Error, problem))
            .chain(warnings.map(|problem| (Severity::Warning, problem)))
        {
            if problem.rule == Some(Rule::V01) && auth_server.is_none() {
                lacks_auth_server = true;
                continue;
            }
            self.lead_back(severity, &problem, &by_name, auth_server);
        }
        if lacks_auth_server {
            self.notes.push(
                "authServer is missing: upstream tokens need one, and provider names could not be \
                 compared with its upstreams (V-01, V-02). Add it, or convert again with \
                 --auth-server FILE or with the embeddedAuthServer resource."
                    .to_owned(),
            );
        }
        if conversion_uses_bearer(converted) {
            self.notes.push(
                "A bearerToken Secret holds the token alone. The header's value is made of it by \
                 Kubernetes, which puts $(NAME) in; elsewhere, set the _AUTHORIZATION variable to \
                 \"Bearer \" and the token yourself."
                    .to_owned(),
            );
        }
        self.subject_note(converted, auth_server);
    }

    /// ToolHive fills in what the resource leaves empty; the RFC, and this filter, do not guess.
    fn subject_note(&mut self, converted: &[Converted<'_>], auth_server: Option<&AuthServer>) {
        let first = auth_server.and_then(|server| server.upstreams.first());
        let Some(first) = first else {
            return;
        };
        for one in converted {
            if one.strategy.is_exchange_of_identity() {
                self.notes.push(format!(
                    "{}: without subjectProviderName the TH-JWT is exchanged. ToolHive would fill in \
                     its first upstream, {}; write it into the resource if that is meant.",
                    one.resource.name,
                    serde_json::Value::from(first.as_str())
                ));
            }
        }
    }

    fn lead_back(
        &mut self,
        severity: Severity,
        problem: &Problem,
        by_name: &BTreeMap<&str, &Converted<'_>>,
        auth_server: Option<&AuthServer>,
    ) {
        let backend = match problem.path.steps() {
            [Step::Key(_), Step::Key(_), Step::Key(name), ..] => by_name.get(name.as_str()),
            _ => None,
        };
        let (file, at, title) = match (backend, auth_server) {
            (Some(one), _) => {
                let resource = &one.resource;
                (resource.file.to_owned(), resource.start(), resource.title())
            }
            (None, Some(server)) => (server.file.clone(), server.at, server.title.clone()),
            (None, None) => return,
        };
        let text = format!("{title}: as {problem}");
        self.findings
            .entry(file)
            .or_default()
            .push(Finding::about_file(severity, Some(at), text));
    }

    fn add(&mut self, resource: &Resource<'_>, severity: Severity, path: &Path, text: &str) {
        let finding = resource.finding(severity, path, text);
        self.findings
            .entry(resource.file.to_owned())
            .or_default()
            .push(finding);
    }

    fn note<T>(&mut self, file: &str, work: impl FnOnce(&mut Vec<Finding>) -> T) -> T {
        work(self.findings.entry(file.to_owned()).or_default())
    }
}

fn conversion_uses_bearer(converted: &[Converted<'_>]) -> bool {
    converted.iter().any(|one| {
        one.strategy
            .secret()
            .is_some_and(|secret| secret.used_as == strategy::UsedAs::BearerToken)
    })
}
