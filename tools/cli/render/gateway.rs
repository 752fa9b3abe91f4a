//! The gateway that every target describes in its own words: who may call it, what is behind it,
//! what leaves a request at its door, and what a client without a token is told.

pub(super) use super::authentication::Authentication;
use super::challenge::{self, Challenge, MetadataDocument};
use super::endpoint::Endpoint;
use super::identity::Identity;
use super::options::Options;
use super::setup::Setup;
use document::get;

/// Everything that a target has to express.
pub(super) struct Gateway {
    /// Under which URL clients reach it; its path has no slash at the end.
    pub(super) public: Option<Endpoint>,
    /// Who checks the TH-JWT; nobody, if no issuer is known.
    pub(super) authentication: Option<Authentication>,
    /// What a client is told that calls no backend in particular.
    pub(super) challenge: Challenge,
    /// In the order written.
    pub(super) backends: Vec<Backend>,
    /// The headers that the router takes off: `authorization`, and whatever a strategy sets. In
    /// lower case.
    pub(super) door: Vec<String>,
    /// Where upstream tokens come from.
    pub(super) identity: Identity,
    /// ToolHive's auth server, if it is to be reached through the gateway.
    pub(super) auth_server: Option<AuthServer>,
    /// The documents that say where to log in: the backends' first, the gateway's, whose prefix is
    /// that of all, last.
    pub(super) documents: Vec<MetadataDocument>,
    /// The origins whose scripts may call.
    pub(super) cors: Vec<String>,
}

/// A backend, as clients see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Backend {
    pub(super) name: String,
    /// Where it is, in the words of the target; nobody may have said.
    pub(super) address: Option<String>,
    /// What clients' paths begin with; empty where it has a host of its own.
    pub(super) path_prefix: String,
    /// Its host, where each backend has one of its own.
    pub(super) host: Option<String>,
    /// The URL that clients call, and tokens are issued for.
    pub(super) resource: Option<Endpoint>,
    pub(super) challenge: Challenge,
    /// The providers whose tokens its strategy needs.
    pub(super) providers: Vec<String>,
    /// The paths that probes call.
    pub(super) probes: Vec<String>,
}

/// ToolHive's auth server behind the gateway.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct AuthServer {
    pub(super) endpoint: Endpoint,
    /// The path of its issuer, which it does not know of itself.
    pub(super) issuer_path: String,
}

impl Gateway {
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
        let mut described = Vec::new();
        for (name, address) in backends {
            let backend = Backend::of(setup, options, public.as_ref(), &challenge, name, address)?;
            described.push(backend);
        }
        let probes = assign_probes(options, &mut described);
        let auth_server = auth_server(setup, options)?;
        let authentication = Authentication::of(
            setup,
            options,
            public.as_ref(),
            &described,
            auth_server.as_ref(),
        )?;
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
        probes.map(|()| gateway)
    }
}

/// `--public-url`, or what the file lets one guess.
fn public_url(setup: &Setup, options: &Options) -> Option<Endpoint> {
    if let Some(url) = &options.public_url {
        return Endpoint::of_url(url).ok();
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
    let mut url = Endpoint::of_url(known).ok()?;
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

impl Backend {
    fn of(
        setup: &Setup,
        options: &Options,
        public: Option<&Endpoint>,
        gateway: &Challenge,
        name: String,
        address: Option<String>,
    ) -> Result<Self, String> {
        let own = get(&setup.plugin, "challenge")
            .and_then(|challenge| get(challenge, "backends"))
            .and_then(|backends| get(backends, &name));
        let host = match public.filter(|_| options.by_host) {
            Some(public) => Some(host_of(&name, public)?),
            None if options.by_host => {
                return Err("--by-host needs --public-url, whose host is that of all".to_owned());
            }
            None => None,
        };
        let path_prefix = match &host {
            Some(_) => String::new(),
            None => format!(
                "{}/{}",
                public.map_or("", |public| public.path.as_str()),
                path_segment(&name)
            ),
        };
        let resource = own
            .and_then(|own| document::get_text(own, "resourceMetadata"))
            .and_then(challenge::resource_of)
            .or_else(|| {
                let mut resource = public?.clone();
                if let Some(host) = &host {
                    resource.host.clone_from(host);
                }
                resource.path = format!("{path_prefix}{}", path_at(address.as_deref()));
                Some(resource)
            });
        let known = Challenge {
            resource_metadata: resource.as_ref().map(challenge::metadata_url),
            ..gateway.clone()
        };
        Ok(Self {
            challenge: Challenge::of(own, &known),
            providers: setup.providers_of(&name),
            probes: Vec::new(),
            resource,
            host,
            path_prefix,
            name,
            address,
        })
    }
}

/// Where a backend serves MCP: the path of its URL, else where most do.
fn path_at(address: Option<&str>) -> String {
    address
        .and_then(|address| Endpoint::of_address(address).ok())
        .map(|endpoint| endpoint.path)
        .filter(|path| !path.is_empty())
        .unwrap_or_else(|| "/mcp".to_owned())
}

fn host_of(name: &str, public: &Endpoint) -> Result<String, String> {
    let is_label = (1..=63).contains(&name.len())
        && name
            .bytes()
            .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
        && !name.starts_with('-')
        && !name.ends_with('-');
    if !is_label || public.is_address() {
        return Err(format!(
            "--by-host: {name}.{} is no host name: a backend must be called by lower-case letters, \
             digits and -, and --public-url must have a name for its host",
            public.host
        ));
    }
    Ok(format!("{name}.{}", public.host))
}

/// A backend's name as one segment of a path.
fn path_segment(name: &str) -> String {
    percent_encoding::utf8_percent_encode(name, percent_encoding::NON_ALPHANUMERIC)
        .to_string()
        .replace("%2D", "-")
        .replace("%5F", "_")
        .replace("%2E", ".")
}

/// A probe belongs to the backend that it is a path of.
fn assign_probes(options: &Options, backends: &mut [Backend]) -> Result<(), String> {
    for path in &options.health_check_paths {
        let mut found = false;
        for backend in backends.iter_mut() {
            let is_below = path
                .strip_prefix(&backend.path_prefix)
                .is_some_and(|rest| rest.starts_with('/'));
            if is_below {
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

fn auth_server(setup: &Setup, options: &Options) -> Result<Option<AuthServer>, String> {
    let Some(address) = &options.auth_server_address else {
        return Ok(None);
    };
    let endpoint = Endpoint::of_address(address).map_err(str::to_owned)?;
    let Some(issuer) = &setup.issuer else {
        return Err(
            "--auth-server-address: the issuer of that auth server is not known; give --issuer"
                .to_owned(),
        );
    };
    let issuer = Endpoint::of_url(issuer).map_err(|error| format!("issuer {issuer}: {error}"))?;
    Ok(Some(AuthServer {
        endpoint,
        issuer_path: issuer.path,
    }))
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
        // All that clients may ask for below the backend's prefix is about the one resource.
        let is_below = resource
            .path
            .strip_prefix(&backend.path_prefix)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
        let below = if is_below {
            &backend.path_prefix
        } else {
            &resource.path
        };
        Some(MetadataDocument {
            backend: Some(backend.name.clone()),
            host: backend.host.clone(),
            path_prefix: format!("{}{below}", challenge::WELL_KNOWN),
            body: body(resource, &backend.challenge),
        })
    });
    let of_gateway = MetadataDocument {
        backend: None,
        host: None,
        path_prefix: challenge::WELL_KNOWN.to_owned(),
        body: body(public, challenge),
    };
    of_backends.chain([of_gateway]).collect()
}
