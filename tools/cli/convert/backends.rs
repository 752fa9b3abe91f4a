//! From what is wanted to strategies: each resource is admitted and read once, whoever refers to it.

use super::admission::{self, Type};
use super::auth_server::{self, AuthServer};
use super::resource::Resource;
use super::select::Selection;
use super::strategy::{self, Strategy};
use super::wanted::{Source, Wanted};
use super::workload::{Address, Workload};
use super::{Options, Work};
use crate::kubernetes::Kind;
use crate::report::Severity;
use std::collections::{BTreeMap, BTreeSet};
use upstream_inject::config::Path;

/// A backend, or what is done where none is listed.
pub(super) struct Backend<'a> {
    /// None: the default.
    pub(super) name: Option<String>,
    /// None: the default's.
    pub(super) strategy: Option<Strategy>,
    /// What its strategy was read from, and what its variables are named after.
    pub(super) origin: &'a Resource<'a>,
    /// What people are told of where it came from.
    pub(super) title: String,
    pub(super) address: Option<&'a Address>,
}

/// A resource as it was read, or that it was told why not.
type Read = BTreeMap<String, Option<Strategy>>;

impl Work {
    pub(super) fn backends<'a>(
        &mut self,
        selection: &Selection<'a>,
        auth_server: Option<&AuthServer>,
        options: &Options,
    ) -> Vec<Backend<'a>> {
        let mut read = Read::new();
        let mut backends = Vec::new();
        if let Some(config) = selection.default
            && let Some(strategy) = self.read(config, auth_server, options, &mut read)
        {
            backends.push(Backend {
                name: None,
                strategy: Some(strategy),
                origin: config,
                title: config.title(),
                address: None,
            });
        }
        for wanted in &selection.wanted {
            backends.extend(self.backend(wanted, auth_server, options, &mut read));
        }
        backends
    }

    fn backend<'a>(
        &mut self,
        wanted: &Wanted<'a>,
        auth_server: Option<&AuthServer>,
        options: &Options,
        read: &mut Read,
    ) -> Option<Backend<'a>> {
        let workload = wanted.workload;
        let (strategy, origin) = match wanted.source {
            Source::Config(config) => {
                (Some(self.read(config, auth_server, options, read)?), config)
            }
            Source::Upstream(config) => (Some(self.first_upstream(config)?), config),
            Source::Nothing => (Some(Strategy::unauthenticated()), &workload?.resource),
            Source::Default => (None, &workload?.resource),
        };
        let title = match workload {
            Some(workload) if !std::ptr::eq(&raw const workload.resource, origin) => {
                format!("{} by {}", workload.resource.title(), origin.title())
            }
            _ => origin.title(),
        };
        let mut backend = Backend {
            name: Some(wanted.name.clone()),
            strategy,
            origin,
            title,
            address: workload.and_then(|workload| workload.address.as_ref()),
        };
        if let Some(workload) = workload {
            self.carry_headers(workload, &mut backend);
        }
        Some(backend)
    }

    /// The strategy of a resource.
    fn read(
        &mut self,
        config: &Resource<'_>,
        auth_server: Option<&AuthServer>,
        options: &Options,
        read: &mut Read,
    ) -> Option<Strategy> {
        if let Some(known) = read.get(&config.title()) {
            return known.clone();
        }
        let strategy = match admission::admit(config.spec) {
            Ok((word, Type::Unsupported(reason))) => {
                self.unsupported(config, word, reason, options);
                None
            }
            Ok((word, Type::EmbeddedAuthServer)) => {
                let reason = "an auth server says who a user is, not what a backend wants; vMCP does \
                              not serve a workload that refers to one by externalAuthConfigRef";
                self.unsupported(config, word, reason, options);
                None
            }
            Ok((word, kind)) => self.built(config, strategy::build(word, kind, config.spec)),
            Err(wrongs) => self.built(config, Err(wrongs)),
        };
        let strategy =
            strategy.and_then(|strategy| self.with_subject(config, strategy, auth_server));
        read.insert(config.title(), strategy.clone());
        strategy
    }

    fn built(
        &mut self,
        config: &Resource<'_>,
        built: Result<Strategy, super::block::Wrongs>,
    ) -> Option<Strategy> {
        match built {
            Ok(strategy) => {
                self.add_all(config, Severity::Warning, &strategy.warnings);
                Some(strategy)
            }
            Err(wrongs) => {
                self.add_all(config, Severity::Error, &wrongs);
                None
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
        let path = Path::root().key("spec").key("type");
        self.add(resource, severity, &path, &text);
    }

    /// Where a resource of ToolHive's names no subject, vMCP with an auth server takes its first
    /// upstream; of several, `xaa` takes none.
    fn with_subject(
        &mut self,
        config: &Resource<'_>,
        strategy: Strategy,
        auth_server: Option<&AuthServer>,
    ) -> Option<Strategy> {
        let upstreams = auth_server.map(|server| server.upstreams.as_slice());
        let (Some([first, rest @ ..]), true) = (upstreams, strategy.lacks_subject()) else {
            return Some(strategy);
        };
        if strategy.is_cross_app_access() && !rest.is_empty() {
            let text = format!(
                "is required: whose ID token, of {}? With more than one upstream ToolHive does not \
                 guess either",
                upstreams.unwrap_or_default().join(", ")
            );
            self.add(config, Severity::Error, &strategy.subject_path(), &text);
            return None;
        }
        self.notes.push(format!(
            "{}: subjectProviderName is absent, which to ToolHive means the first upstream: {} is \
             written out.",
            config.title(),
            serde_json::Value::from(first.as_str())
        ));
        Some(strategy.with_subject(first))
    }

    /// What the operator's own proxy does behind an auth server of its own: it takes the client's
    /// token off and puts its upstream's in, unless it is told to keep that.
    fn first_upstream(&mut self, config: &Resource<'_>) -> Option<Strategy> {
        let mut told = Vec::new(); // it is read as the auth server too, and told there
        let server = auth_server::from_resource(config, &mut told)?;
        if server.keeps_tokens {
            return Some(Strategy::unauthenticated());
        }
        let first = server.upstreams.first()?;
        self.notes.push(format!(
            "{}: the operator's proxy puts the token of its upstream into requests, so the backend \
             gets that of {}.",
            config.title(),
            serde_json::Value::from(first.as_str())
        ));
        let at = Path::root().key("spec").key("embeddedAuthServer");
        let at = at.key("upstreamProviders").index(0).key("name");
        Some(Strategy::upstream_inject(first, at))
    }

    /// Headers that vMCP adds to requests. One with a Secret's value can be the backend's
    /// credential, if it has no other.
    fn carry_headers<'a>(&mut self, workload: &'a Workload<'a>, backend: &mut Backend<'a>) {
        let resource = &workload.resource;
        let has_headers = !workload.secret_headers.is_empty() || !workload.plain_headers.is_empty();
        if resource.kind != Kind::ServerEntry {
            if has_headers {
                self.notes.push(format!(
                    "{}: its own proxy adds the headers of headerForward, behind Envoy as before.",
                    resource.title()
                ));
            }
            return;
        }
        if workload.has_own_ca {
            self.notes.push(format!(
                "{}: caBundleRef: Envoy must trust its certificate too (render --ca-file, or the \
                 cluster's own validation context).",
                resource.title()
            ));
        }
        let mut left: Vec<_> = workload.secret_headers.iter().collect();
        let is_free = backend
            .strategy
            .as_ref()
            .is_some_and(Strategy::is_unauthenticated);
        if is_free && !left.is_empty() {
            let is_authorization =
                |(name, _, _): &&(&str, _, _)| name.eq_ignore_ascii_case("authorization");
            let chosen = left.iter().position(is_authorization).unwrap_or(0);
            let (name, source, at) = left.remove(chosen);
            backend.strategy = Some(Strategy::header(name, source.clone(), at.clone()));
            backend.origin = resource;
        }
        for (name, source, at) in left {
            let text = format!(
                "{} is not carried over: the filter sets one credential for each backend. Envoy's \
                 credential_injector, beside the filter in the cluster, adds it from the Secret {}",
                serde_json::Value::from(*name),
                source.name
            );
            self.add(resource, Severity::Warning, at, &text);
        }
        if !workload.plain_headers.is_empty() {
            let at = Path::root().key("spec").key("headerForward");
            let at = at.key("addPlaintextHeaders");
            let names: BTreeSet<_> = workload.plain_headers.iter().copied().collect();
            let names: Vec<_> = names.into_iter().collect();
            let text = format!(
                "not carried over: add {} in the route (request_headers_to_add)",
                names.join(", ")
            );
            self.add(resource, Severity::Warning, &at, &text);
        }
    }
}
