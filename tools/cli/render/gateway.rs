//! The gateway that every target describes in its own words: who may call it, what is behind it,
//! what leaves a request at its door, and what a client without a token is told.

pub(super) use super::authentication::Authentication;
pub(super) use super::backend::{AuthServer, Backend};
use super::challenge::{self, Challenge, MetadataDocument};
use super::identity::Identity;
use super::options::{Options, Target};
use super::setup::Setup;
use crate::emit;
use crate::endpoint::Endpoint;
use document::get;
use std::cmp::Reverse;
use std::collections::BTreeMap;

/// Everything that a target has to express.
pub(super) struct Gateway {
    /// Under which URL clients reach it; its path has no slash at the end.
    pub(super) public: Option<Endpoint>,
    /// Who checks the TH-JWT; nobody, if no issuer is known.
    pub(super) authentication: Option<Authentication>,
    /// What a client is told that calls no backend in particular.
    pub(super) challenge: Challenge,
    /// In the order written, longer paths first: `/tools/api` is no path of a backend `tools`.
    pub(super) backends: Vec<Backend>,
    /// The headers that the router takes off: `authorization`, and whatever a strategy sets. In
    /// lower case.
    pub(super) door: Vec<String>,
    /// Where upstream tokens come from.
    pub(super) identity: Identity,
    /// ToolHive's auth server, if it is to be reached through the gateway.
    pub(super) auth_server: Option<AuthServer>,
    /// The documents that say where to log in, longer paths first: the gateway's, whose prefix is that
    /// of all, is the last, and left out where a backend has it.
    pub(super) documents: Vec<MetadataDocument>,
    /// The origins whose scripts may call.
    pub(super) cors: Vec<String>,
}

impl Gateway {
    /// [`Self::door`], as YAML has it in one line.
    pub(super) fn door_as_list(&self) -> String {
        let headers: Vec<String> = self.door.iter().map(|name| emit::scalar(name)).collect();
        format!("[{}]", headers.join(", "))
    }

    /// Puts together what the file and the options say.
    ///
    /// # Errors
    /// What contradicts itself, or cannot be reached.
    pub(super) fn of(
        setup: &mut Setup,
        options: &Options,
        backends: Vec<(String, Option<String>)>,
    ) -> Result<Self, String> {
        let public = public_url(setup, options);
        if public.is_none() {
            setup.notes.push(
                "the gateway's own URL is not known, so no client can find out where to log in: \
                 give --public-url"
                    .to_owned(),
            );
        }
        let challenge = gateway_challenge(setup, public.as_ref());
        if let (Some(url), Some(public)) = (&challenge.resource_metadata, &public) {
            let unserved = super::backend::unserved("challenge.resourceMetadata", url, public);
            setup.notes.extend(unserved);
        }
        let mut described = Vec::new();
        for (name, address) in backends {
            let backend = Backend::of(setup, options, public.as_ref(), &challenge, name, address)?;
            described.push(backend);
        }
        described.sort_by_key(|backend| Reverse(backend.path_prefix.matches('/').count()));
        let probes = assign_probes(options, &mut described);
        let auth_server = AuthServer::of(setup, options)?;
        if let (Some(server), Some(address)) = (&auth_server, &options.auth_server_address) {
            super::note_tls_port(setup, "--auth-server-address", address, &server.endpoint);
        }
        let authentication = Authentication::of(
            setup,
            options,
            public.as_ref(),
            &described,
            auth_server.as_ref(),
        )?;
        refuse_what_is_shared(&described, authentication.as_ref())?;
        let gateway = Self {
            documents: documents(
                authentication.as_ref(),
                public.as_ref(),
                &challenge,
                &described,
                &setup.scopes_offered,
            ),
            identity: Identity::of(setup, options)?,
            door: setup.door(),
            cors: options.cors.clone(),
            public,
            authentication,
            challenge,
            backends: described,
            auth_server,
        };
        probes?;
        match gateway.backends.iter().find(|one| gateway.is_taken(one)) {
            None => Ok(gateway),
            Some(backend) => Err(format!(
                "the paths of the backend {} are where clients log in; rename it{}",
                backend.name,
                match options.target {
                    Target::Envoy => ", or take --by-host",
                    Target::EnvoyGateway | Target::Istio => "",
                }
            )),
        }
    }

    /// Whether a backend has paths at which clients look for something else.
    fn is_taken(&self, backend: &Backend) -> bool {
        let mut taken = vec![format!("{}/", challenge::WELL_KNOWN)];
        if let Some(server) = &self.auth_server {
            taken.push(format!("{}/oauth/", server.issuer_path));
        }
        let meets = |prefix: &String| {
            let own = format!("{prefix}/");
            let meets = |path: &String| path.starts_with(&own) || own.starts_with(path);
            taken.iter().any(meets)
        };
        backend.host.is_none() && (meets(&backend.path_prefix) || backend.also.iter().any(meets))
    }
}

/// What two backends cannot both have.
fn refuse_what_is_shared(
    backends: &[Backend],
    authentication: Option<&Authentication>,
) -> Result<(), String> {
    let is_bound = authentication.is_some_and(|authentication| authentication.is_bound);
    let mut places = BTreeMap::new();
    let mut resources = BTreeMap::new();
    let mut documents = BTreeMap::new();
    for backend in backends {
        let name = &backend.name;
        let place = (&backend.host, &backend.path_prefix);
        if let Some(other) = places.insert(place, name) {
            return Err(format!(
                "{other} and {name} would be at one place; give each a URL of its own in \
                 challenge.backends"
            ));
        }
        let Some(resource) = &backend.resource else {
            continue;
        };
        let url = resource.clone().without_slash().url();
        let document = (&backend.host, document_prefix(backend, resource));
        if let Some((other, its)) = documents.insert(document, (name, url.clone()))
            && authentication.is_some()
            && its != url
        {
            return Err(format!(
                "challenge.backends: clients of {other} and {name} would find one metadata document, which \
                 cannot be about both {its} and {url}; give each a URL with a path of its own"
            ));
        }
        if !is_bound {
            continue;
        }
        if let Some(other) = resources.insert(url.clone(), name) {
            return Err(format!(
                "challenge.backends: {other} and {name} have one URL, {url}, so that a token for one \
                 serves the other; give each its own, or say that it is meant, with --shared-audience"
            ));
        }
    }
    Ok(())
}

/// `--public-url`, or what the file lets one guess.
fn public_url(setup: &Setup, options: &Options) -> Option<Endpoint> {
    if let Some(url) = &options.public_url {
        return Endpoint::of_url(url).ok().map(Endpoint::without_slash);
    }
    let of_challenge = get(&setup.plugin, "challenge")
        .and_then(|challenge| document::get_text(challenge, "resourceMetadata"));
    // An auth server behind the gateway is known under the gateway's own URL.
    let issuer = options
        .auth_server_address
        .as_ref()
        .and(setup.issuer.as_deref());
    let known = of_challenge
        .or(setup.incoming_resource.as_deref())
        .or(issuer)?;
    let mut url = Endpoint::of_called(known).ok()?;
    // The path of vMCP's own resource is that of its one endpoint, where the gateway has many.
    url.path = String::new();
    Some(url)
}

/// With a realm where it would say nothing: what is empty cannot be told from what is missing.
fn gateway_challenge(setup: &Setup, public: Option<&Endpoint>) -> Challenge {
    let known = Challenge {
        scope: setup.incoming_scope.clone(),
        resource_metadata: public.map(challenge::metadata_url),
        realm: None,
    };
    let mut challenge = Challenge::of(get(&setup.plugin, "challenge"), &known);
    if challenge == Challenge::default() {
        challenge.realm = Some("mcp".to_owned());
    }
    challenge
}

/// A probe belongs to the backend that it is a path of.
fn assign_probes(options: &Options, backends: &mut [Backend]) -> Result<(), String> {
    for path in &options.health_check_paths {
        let mut found = false;
        for backend in backends.iter_mut() {
            let is_below = |prefix: &str| {
                path.strip_prefix(prefix)
                    .is_some_and(|rest| rest.starts_with('/'))
            };
            if is_below(&backend.path_prefix) || backend.also.as_deref().is_some_and(is_below) {
                backend.probes.push(path.clone());
                found = true;
            }
        }
        if !found {
            let prefixes: Vec<String> = backends
                .iter()
                .map(|backend| format!("{}/…", backend.path_prefix))
                .collect();
            return Err(format!(
                "--health-check-path {path}: no backend has this path; write one below {}",
                prefixes.join(", ")
            ));
        }
    }
    Ok(())
}

/// Where the metadata of a backend's `resource` is: all that clients may ask for below the backend's
/// prefix is about that one.
fn document_prefix(backend: &Backend, resource: &Endpoint) -> String {
    let below = if super::backend::is_below(&resource.path, &backend.path_prefix) {
        backend.path_prefix.as_str()
    } else {
        resource.path.trim_end_matches('/')
    };
    format!("{}{below}", challenge::WELL_KNOWN)
}

fn documents(
    authentication: Option<&Authentication>,
    public: Option<&Endpoint>,
    challenge: &Challenge,
    backends: &[Backend],
    scopes_offered: &[String],
) -> Vec<MetadataDocument> {
    let (Some(authentication), Some(public)) = (authentication, public) else {
        return Vec::new();
    };
    let body = |resource: &Endpoint, challenge: &Challenge| {
        challenge::document_body(
            resource,
            &authentication.issuer,
            challenge.scope.as_deref(),
            scopes_offered,
        )
    };
    let of_backends = backends.iter().filter_map(|backend| {
        let resource = backend.resource.as_ref()?;
        Some(MetadataDocument {
            backend: Some(backend.name.clone()),
            host: backend.host.clone(),
            path_prefix: document_prefix(backend, resource),
            body: body(resource, &backend.challenge),
        })
    });
    let of_gateway = MetadataDocument {
        backend: None,
        host: None,
        path_prefix: challenge::WELL_KNOWN.to_owned(),
        body: body(public, challenge),
    };
    let mut documents: Vec<MetadataDocument> = of_backends.collect();
    let is_same_place = |document: &MetadataDocument| {
        (&document.host, &document.path_prefix) == (&of_gateway.host, &of_gateway.path_prefix)
    };
    if !documents.iter().any(is_same_place) {
        documents.push(of_gateway);
    }
    // A backend may have the gateway's own URL: its path is the beginning of all others.
    documents.sort_by_key(|document| Reverse(document.path_prefix.matches('/').count()));
    documents
}
