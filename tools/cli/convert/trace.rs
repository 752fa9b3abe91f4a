//! The filter's own rules on what came out, each problem led back to the field that the value came
//! from.

use super::auth_server::AuthServer;
use super::backends::Backend;
use super::{Conversion, Work};
use crate::check::AnyVariable;
use crate::codes;
use crate::report::{Finding, Severity};
use std::collections::HashMap;
use upstream_inject::config::path::Step;
use upstream_inject::config::{self, Problem, Rule};
use upstream_inject::strategy::REGISTRY;

impl Work {
    pub(super) fn validate(
        &mut self,
        conversion: &Conversion,
        backends: &[Backend<'_>],
        auth_server: Option<&AuthServer>,
    ) {
        let outcome = config::plan(&conversion.config, REGISTRY, &AnyVariable);
        let by_name: HashMap<Option<&str>, &Backend<'_>> = backends
            .iter()
            .map(|backend| (backend.name.as_deref(), backend))
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
    }

    fn lead_back(
        &mut self,
        severity: Severity,
        problem: &Problem,
        by_name: &HashMap<Option<&str>, &Backend<'_>>,
        auth_server: Option<&AuthServer>,
    ) {
        let (name, steps) = match problem.path.steps() {
            [
                Step::Key(_),
                Step::Key(section),
                Step::Key(name),
                steps @ ..,
            ] if section == "backends" => (Some(name.as_str()), steps),
            [Step::Key(_), Step::Key(section), steps @ ..] if section == "default" => (None, steps),
            steps => (None, steps),
        };
        let is_outgoing =
            matches!(problem.path.steps(), [Step::Key(key), _, ..] if key == "outgoingAuth");
        let backend = by_name.get(&name).filter(|_| is_outgoing);
        let rule = problem
            .rule
            .map_or_else(String::new, |rule| format!("{rule}: "));
        let told = format!("{rule}{} (as {})", problem.text, problem.path);
        let code = codes::of_problem(problem);
        match (backend, auth_server) {
            (Some(backend), _) => {
                let path = backend
                    .strategy
                    .as_ref()
                    .map(|strategy| strategy.trace(steps))
                    .unwrap_or_default();
                let finding = backend.origin.finding(severity, &path, &told);
                self.push(backend.origin.file, finding.coded(code));
            }
            (None, Some(server)) => {
                let (at, path) = server.trace(steps);
                let path = path.map_or_else(String::new, |path| format!("{path}: "));
                let text = format!("{}: {path}{told}", server.title);
                let finding = Finding::about_file(severity, Some(at), text);
                self.push(&server.file, finding.coded(code));
            }
            (None, None) => {}
        }
    }
}
