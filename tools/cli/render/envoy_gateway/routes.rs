//! The HTTPRoutes: to the backends, to the documents that say where to log in, to the auth server.

use super::super::Rendering;
use super::super::gateway::Backend;
use super::super::open_paths;
use super::super::parts::quoted;
use super::super::template::{block, fill, raw, scalar};
use super::listeners::Listeners;
use super::places::{Place, is_name, service_of};
use super::rules::{auth_server_rule, backend_rule, door, rewrite, rule};
use crate::emit;
use crate::endpoint::Endpoint;
use document::get_text;
use std::collections::BTreeMap;

/// The HTTPRoute to the auth server.
pub(super) const AUTH_SERVER_ROUTE: &str = "upstream-inject-auth-server";
/// The HTTPRoutes for probes, one in each namespace.
pub(super) const PROBES_ROUTE: &str = "upstream-inject-probes";
/// What the HTTPRoutes of metadata documents are called, or begin with.
pub(super) const DOCUMENTS_ROUTE: &str = "upstream-inject-metadata";
/// How many rules Gateway API allows in one HTTPRoute.
const MAX_RULES: usize = 16;
/// The port of a Service of which nobody says one.
const USUAL_PORT: u16 = 8080;

/// Whether an HTTPRoute that leads to no backend has this name, or is patched under it.
fn is_ours(route: &str) -> bool {
    [AUTH_SERVER_ROUTE, PROBES_ROUTE].contains(&route) || route.starts_with(DOCUMENTS_ROUTE)
}

/// Where requests go.
pub(super) struct Routes {
    /// In the order of the backends.
    places: Vec<Place>,
    names: BTreeMap<String, String>,
    sections: Vec<String>,
}

/// The routes as text, and which of them leads to which backend.
pub(super) struct Rendered {
    pub(super) yaml: String,
    pub(super) mapping: String,
}

impl Routes {
    /// Finds each backend's place.
    ///
    /// # Errors
    /// One that is none, or that two backends would share.
    pub(super) fn of(target: &mut Rendering<'_>, listeners: &Listeners) -> Result<Self, String> {
        let is_by_route = get_text(&target.setup.plugin, "backendFrom") == Some("gateway_route");
        let namespace = target.options.namespace();
        let mut places: Vec<Place> = Vec::new();
        let mut assumed = Vec::new();
        let mut names = BTreeMap::new();
        for backend in &target.gateway.backends {
            let name = &backend.name;
            let own = Place::parse(name).filter(|_| is_by_route);
            let place = match (&backend.address, own) {
                (Some(address), _) => Place::parse(address).ok_or_else(|| {
                    format!(
                        "--backend {name}={address}: write NAMESPACE/HTTPROUTE, or \
                         NAMESPACE/HTTPROUTE/RULENAME where the route has more than one rule; the \
                         route leads to the backend's Service"
                    )
                })?,
                (None, Some(own)) => own,
                (None, None) if is_name(name) && !name.contains('.') => {
                    assumed.push(format!("{name}={namespace}/{name}"));
                    Place {
                        namespace: namespace.to_owned(),
                        route: name.clone(),
                        rule: None,
                    }
                }
                (None, None) => {
                    return Err(format!(
                        "--backend {name}=… is missing: write NAMESPACE/HTTPROUTE, or \
                         NAMESPACE/HTTPROUTE/RULENAME; its own name cannot be that of a route"
                    ));
                }
            };
            if is_ours(&place.route) {
                return Err(format!(
                    "--backend {name}={}: this is what HTTPRoutes of ours are called; give the \
                     backend's route another name",
                    place.name()
                ));
            }
            if places.contains(&place) {
                return Err(format!(
                    "--backend {name}={}: another backend has this route; give each a rule of its \
                     own: NAMESPACE/HTTPROUTE/RULENAME",
                    place.name()
                ));
            }
            names.insert(name.clone(), place.name());
            places.push(place);
        }
        if !assumed.is_empty() {
            target.note(format!(
                "--backend is missing for some; these HTTPRoutes are assumed: {}",
                assumed.join(", ")
            ));
        }
        Ok(Self {
            places,
            names,
            sections: listeners.sections().map(str::to_owned).collect(),
        })
    }

    /// What the filter knows a backend by.
    pub(super) fn name_of(&self, backend: &str) -> String {
        self.names
            .get(backend)
            .cloned()
            .unwrap_or_else(|| backend.to_owned())
    }

    /// The namespaces that have routes for probes.
    pub(super) fn namespaces_with_probes(&self, backends: &[Backend]) -> Vec<String> {
        let mut namespaces = Vec::new();
        for (backend, place) in backends.iter().zip(&self.places) {
            if !backend.probes.is_empty() && !namespaces.contains(&place.namespace) {
                namespaces.push(place.namespace.clone());
            }
        }
        namespaces
    }

    /// All of them, each a document of its own.
    ///
    /// # Errors
    /// More rules in a route than it may have; an auth server that is no Service.
    pub(super) fn yaml(&self, target: &mut Rendering<'_>) -> Result<Rendered, String> {
        let services = self.services(target);
        let mut yaml = String::new();
        self.to_backends(target, &services, &mut yaml)?;
        self.for_probes(target, &services, &mut yaml)?;
        self.to_documents(target, &mut yaml)?;
        self.to_auth_server(target, &mut yaml)?;
        let mapping = target
            .gateway
            .backends
            .iter()
            .zip(&self.places)
            .map(|(backend, place)| {
                let line = format!("{}: {}", backend.name, place.name());
                format!("#   {}\n", crate::report::printable(&line))
            })
            .collect();
        Ok(Rendered { yaml, mapping })
    }

    /// The Service of each backend, as an item of `backendRefs`.
    fn services(&self, target: &mut Rendering<'_>) -> Vec<String> {
        let mut services = Vec::new();
        let mut guessed = Vec::new();
        for (backend, place) in target.gateway.backends.iter().zip(&self.places) {
            let url = target
                .setup
                .urls
                .iter()
                .find(|(name, _)| *name == backend.name);
            let endpoint = url.and_then(|(_, url)| Endpoint::of_url(url).ok());
            let known = endpoint
                .filter(|endpoint| !endpoint.tls)
                .and_then(|endpoint| Some((service_of(&endpoint.host)?, endpoint.port)));
            let ((service, namespace), port) = known.unwrap_or_else(|| {
                let guess = [
                    backend.name.as_str(),
                    place.rule.as_deref().unwrap_or_default(),
                ]
                .into_iter()
                .find(|name| is_name(name) && !name.contains('.'))
                .unwrap_or(&place.route);
                guessed.push(format!("{guess}:{USUAL_PORT}"));
                ((guess.to_owned(), place.namespace.clone()), USUAL_PORT)
            });
            services.push(if namespace == place.namespace {
                format!("{{name: {}, port: {port}}}", emit::scalar(&service))
            } else {
                // A ReferenceGrant there has to allow it.
                format!(
                    "{{name: {}, namespace: {}, port: {port}}}",
                    emit::scalar(&service),
                    emit::scalar(&namespace)
                )
            });
        }
        if !guessed.is_empty() {
            target.note(format!(
                "the routes lead to Services of these names and ports, which are a guess: {}",
                guessed.join(", ")
            ));
        }
        services
    }

    fn to_backends(
        &self,
        target: &Rendering<'_>,
        services: &[String],
        yaml: &mut String,
    ) -> Result<(), String> {
        let backends = || {
            target
                .gateway
                .backends
                .iter()
                .zip(&self.places)
                .zip(services)
        };
        let mut written: Vec<(&str, &str)> = Vec::new();
        for (_, place) in target.gateway.backends.iter().zip(&self.places) {
            let route = (place.namespace.as_str(), place.route.as_str());
            if written.contains(&route) {
                continue;
            }
            written.push(route);
            let rules: Vec<String> = backends()
                .filter(|((_, other), _)| (other.namespace.as_str(), other.route.as_str()) == route)
                .map(|((backend, place), service)| {
                    backend_rule(target, backend, place.rule.as_deref(), service)
                })
                .collect();
            self.route(target, route, "", &rules, yaml)?;
        }
        Ok(())
    }

    /// Probes bring no token, and go on without a credential.
    fn for_probes(
        &self,
        target: &Rendering<'_>,
        services: &[String],
        yaml: &mut String,
    ) -> Result<(), String> {
        for namespace in self.namespaces_with_probes(&target.gateway.backends) {
            let mut rules = Vec::new();
            for ((backend, place), service) in target
                .gateway
                .backends
                .iter()
                .zip(&self.places)
                .zip(services)
            {
                if place.namespace != namespace {
                    continue;
                }
                for probe in &backend.probes {
                    let below = probe
                        .strip_prefix(&backend.path_prefix)
                        .filter(|rest| !rest.is_empty())
                        .unwrap_or("/");
                    rules.push(rule(
                        &format!("{{type: Exact, value: {}}}", quoted(probe)),
                        None,
                        &[
                            door(target),
                            rewrite("ReplaceFullPath", "replaceFullPath", below),
                        ],
                        "30s",
                        service,
                    ));
                }
            }
            let comment = "# Probes bring no token; these paths go on without a credential.\n";
            self.route(target, (&namespace, PROBES_ROUTE), comment, &rules, yaml)?;
        }
        Ok(())
    }

    fn to_documents(&self, target: &Rendering<'_>, yaml: &mut String) -> Result<(), String> {
        let namespace = target.options.namespace();
        for (index, document) in target.gateway.documents.iter().enumerate() {
            if document.body.contains('%') {
                return Err(format!(
                    "the metadata document of {} holds %, which newer versions of Envoy Gateway take \
                     for an operator of Envoy's: rename the backend, or write another URL into \
                     challenge.backends",
                    document.backend.as_deref().unwrap_or("the gateway")
                ));
            }
            let what = match &document.backend {
                Some(backend) => format!("for {backend}"),
                None => "for the gateway, whatever else is asked for".to_owned(),
            };
            let name = match &document.backend {
                Some(_) => format!("{DOCUMENTS_ROUTE}-{}", index.saturating_add(1)),
                None => DOCUMENTS_ROUTE.to_owned(),
            };
            yaml.push_str(&fill(
                include_str!("../templates/envoy-gateway/document.yaml"),
                &[
                    ("what", raw(&what)),
                    ("name", scalar(&name)),
                    ("namespace", scalar(namespace)),
                    ("parents", block(self.parents(target, namespace))),
                    ("prefix", raw(&quoted(&document.path_prefix))),
                    ("body", raw(&quoted(&document.body))),
                ],
            ));
        }
        Ok(())
    }

    fn to_auth_server(&self, target: &mut Rendering<'_>, yaml: &mut String) -> Result<(), String> {
        let Some(server) = target.gateway.auth_server.clone() else {
            return Ok(());
        };
        let host = &server.endpoint.host;
        let Some((service, namespace)) = service_of(host) else {
            return Err(format!(
                "--auth-server-address {}: routes lead to Services here: write \
                 NAME.NAMESPACE.svc.cluster.local:PORT",
                server.endpoint.authority()
            ));
        };
        if server.endpoint.tls {
            target.note(
                "the auth server speaks TLS: add a BackendTLSPolicy for its Service, or the \
                 gateway asks it in plain text",
            );
        }
        let service = format!(
            "{{name: {}, port: {}}}",
            emit::scalar(&service),
            server.endpoint.port
        );
        let rules: Vec<String> = open_paths::of_auth_server(&server)
            .iter()
            .map(|path| auth_server_rule(target, path, &service))
            .collect();
        let comment = "# ToolHive's auth server, where clients log in, and nothing else of it.\n";
        self.route(
            target,
            (&namespace, AUTH_SERVER_ROUTE),
            comment,
            &rules,
            yaml,
        )
    }

    fn route(
        &self,
        target: &Rendering<'_>,
        (namespace, name): (&str, &str),
        comment: &str,
        rules: &[String],
        yaml: &mut String,
    ) -> Result<(), String> {
        if rules.len() > MAX_RULES {
            return Err(format!(
                "the HTTPRoute {namespace}/{name} would have {} rules, and {MAX_RULES} is all that \
                 Gateway API allows: give some backends another route (--backend)",
                rules.len()
            ));
        }
        yaml.push_str(&fill(
            include_str!("../templates/envoy-gateway/route.yaml"),
            &[
                ("comment", block(comment)),
                ("name", scalar(name)),
                ("namespace", scalar(namespace)),
                ("parents", block(self.parents(target, namespace))),
                ("rules", block(rules.concat())),
            ],
        ));
        Ok(())
    }

    /// The listeners that have the filter, and no others.
    fn parents(&self, target: &Rendering<'_>, namespace: &str) -> String {
        let of_gateway = target.options.namespace();
        let elsewhere = if namespace == of_gateway {
            String::new()
        } else {
            format!("namespace: {}, ", emit::scalar(of_gateway))
        };
        let gateway = emit::scalar(target.options.gateway());
        self.sections
            .iter()
            .map(|section| {
                let section = emit::scalar(section);
                format!("- {{name: {gateway}, {elsewhere}sectionName: {section}}}\n")
            })
            .collect()
    }
}
