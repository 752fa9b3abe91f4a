//! What stands behind the gateway: the backends, and perhaps ToolHive's auth server.

use super::challenge::{self, Challenge};
use super::endpoint::Endpoint;
use super::options::{Options, Target};
use super::setup::Setup;
use document::get;

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

impl Backend {
    /// As the file and the options have it.
    ///
    /// # Errors
    /// If it cannot have a host of its own, or a path.
    pub(super) fn of(
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
                path_of(&name)?
            ),
        };
        // Elsewhere an address names no path, but the file may.
        let of_file = setup.urls.iter().find(|(known, _)| *known == name);
        let url = match options.target {
            Target::Envoy => address.clone(),
            Target::EnvoyGateway | Target::Istio => of_file.map(|(_, url)| url.clone()),
        };
        let resource = own
            .and_then(|own| document::get_text(own, "resourceMetadata"))
            .and_then(challenge::resource_of)
            .or_else(|| {
                let mut resource = public?.clone();
                if let Some(host) = &host {
                    resource.host.clone_from(host);
                }
                resource.path = format!("{path_prefix}{}", path_at(url.as_deref()));
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

/// A backend's name as a path: a slash stays one, since an escaped one is refused at the door.
fn path_of(name: &str) -> Result<String, String> {
    let segments: Vec<String> = name.split('/').map(path_segment).collect();
    let is_lost = |segment: &String| ["", ".", ".."].contains(&segment.as_str());
    if segments.iter().any(is_lost) {
        return Err(format!(
            "the backend {name}: /{name} is no path, since Envoy normalizes paths; give it another name"
        ));
    }
    Ok(segments.join("/"))
}

fn path_segment(segment: &str) -> String {
    percent_encoding::utf8_percent_encode(segment, percent_encoding::NON_ALPHANUMERIC)
        .to_string()
        .replace("%2D", "-")
        .replace("%5F", "_")
        .replace("%2E", ".")
}

/// ToolHive's auth server behind the gateway.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct AuthServer {
    pub(super) endpoint: Endpoint,
    /// The path of its issuer, which it does not know of itself.
    pub(super) issuer_path: String,
}

impl AuthServer {
    /// The one at the address that the options give.
    ///
    /// # Errors
    /// If its issuer is not known, or the address is none.
    pub(super) fn of(setup: &Setup, options: &Options) -> Result<Option<Self>, String> {
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
        let issuer =
            Endpoint::of_url(issuer).map_err(|error| format!("issuer {issuer}: {error}"))?;
        Ok(Some(Self {
            endpoint,
            issuer_path: issuer.path,
        }))
    }
}
