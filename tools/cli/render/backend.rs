//! What stands behind the gateway: the backends, and perhaps ToolHive's auth server.

use super::challenge::{self, Challenge};
use super::options::{Options, Target};
use super::setup::Setup;
use crate::endpoint::{self, Endpoint, shown};
use document::get;
use upstream_inject::config::Path;

/// A backend, as clients see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Backend {
    pub(super) name: String,
    /// Where it is, in the words of the target; nobody may have said.
    pub(super) address: Option<String>,
    /// What clients' paths begin with; empty where it has a host of its own.
    pub(super) path_prefix: String,
    /// What else they may begin with: what its name makes, where the file has chosen another URL.
    pub(super) also: Option<String>,
    /// Its host, where each backend has one of its own.
    pub(super) host: Option<String>,
    /// What tokens are issued for: the URL that clients call, or where it begins.
    pub(super) resource: Option<Endpoint>,
    /// The path that clients call.
    pub(super) called: String,
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
        setup: &mut Setup,
        options: &Options,
        public: Option<&Endpoint>,
        gateway: &Challenge,
        name: String,
        address: Option<String>,
    ) -> Result<Self, String> {
        let own = get(&setup.plugin, "challenge")
            .and_then(|challenge| get(challenge, "backends"))
            .and_then(|backends| get(backends, &name))
            .cloned();
        // Elsewhere an address names no path, but the file may.
        let of_file = setup.urls.iter().find(|(known, _)| *known == name);
        let url = match options.target {
            Target::Envoy => address.clone(),
            Target::EnvoyGateway | Target::Istio => of_file.map(|(_, url)| url.clone()),
        };
        let path = path_at(url.as_deref());
        let usual = format!(
            "{}/{}",
            public.map_or("", |public| &public.path),
            path_of(&name)?
        );
        let own_url = own
            .as_ref()
            .and_then(|own| document::get_text(own, "resourceMetadata"))
            .filter(|url| !url.is_empty());
        let chosen = own_url.and_then(challenge::resource_of);
        let place = Place::of(&name, options, public, chosen.as_ref(), (&usual, &path))?;
        setup.notes.extend(place.note);
        let called = place.called;
        let resource = chosen.or_else(|| {
            let mut resource = public?.clone();
            if let Some(host) = &place.host {
                resource.host.clone_from(host);
            }
            resource.path.clone_from(&called);
            Some(resource)
        });
        if let (Some(own_url), Some(resource)) = (own_url, &resource) {
            let key = key_of(&name);
            setup.notes.extend(unserved(&key, own_url, resource));
        }
        let known = Challenge {
            resource_metadata: resource.as_ref().map(challenge::metadata_url),
            ..gateway.clone()
        };
        Ok(Self {
            challenge: Challenge::of(own.as_ref(), &known),
            providers: setup.providers_of(&name),
            probes: Vec::new(),
            called: match &resource {
                Some(resource) if !is_below(&called, &resource.path) => resource.path.clone(),
                _ => called,
            },
            resource,
            host: place.host,
            path_prefix: place.prefix,
            also: place.also,
            name,
            address,
        })
    }
}

/// Where clients find a backend.
struct Place {
    host: Option<String>,
    prefix: String,
    also: Option<String>,
    /// The path that clients call.
    called: String,
    /// What the operator should know of it.
    note: Option<String>,
}

impl Place {
    /// By the backend's name, unless the file has `chosen` another URL. `usual` is the prefix that its name
    /// makes, and the path of its own URL.
    fn of(
        name: &str,
        options: &Options,
        public: Option<&Endpoint>,
        chosen: Option<&Endpoint>,
        (usual, path): (&str, &str),
    ) -> Result<Self, String> {
        let key = key_of(name);
        if options.by_host {
            let Some(public) = public else {
                return Err("--by-host needs --public-url, whose host is that of all".to_owned());
            };
            let host = match chosen {
                Some(chosen) if chosen.host == public.host => {
                    return Err(format!(
                        "{key}: {} is the gateway's own host, and with --by-host each backend has one of \
                         its own; leave the URL out, or write one of another host",
                        chosen.host
                    ));
                }
                Some(chosen) => chosen.host.clone(),
                None => host_of(name, public)?,
            };
            let stray = chosen.filter(|chosen| !is_below(path, &chosen.path));
            return Ok(Self {
                prefix: String::new(),
                also: None,
                called: path.to_owned(),
                note: stray.map(|chosen| {
                    format!(
                        "{key} says {}, but with --by-host a backend's paths are its own, and its URL has \
                         {path}",
                        chosen.url()
                    )
                }),
                host: Some(host),
            });
        }
        let moved = chosen.filter(|chosen| {
            !is_below(&format!("{usual}{path}"), &chosen.path) && !is_below(&chosen.path, usual)
        });
        let Some(chosen) = moved else {
            return Ok(Self {
                host: None,
                prefix: usual.to_owned(),
                also: None,
                called: format!("{usual}{path}"),
                note: None,
            });
        };
        let whole = chosen.path.trim_end_matches('/');
        if !endpoint::is_normal(whole) {
            return Err(format!(
                "{key}: no request has the path {whole}, since Envoy normalizes paths; write another URL"
            ));
        }
        let prefix = whole
            .strip_suffix(path.trim_end_matches('/'))
            .filter(|prefix| !prefix.is_empty());
        if prefix.is_none() && options.target != Target::Envoy {
            // A route there replaces the beginning of a path, and no whole one.
            return Err(format!(
                "{key}: {whole} does not end in {path}, where the backend serves; write a URL whose path \
                 is {usual}{path}, or another one with that end, such as /OTHER{path}"
            ));
        }
        let prefix = prefix.unwrap_or(whole);
        // Where a route is cheap, who knows the backend by its name finds it there, too.
        let also = (options.target == Target::Envoy).then(|| usual.to_owned());
        let there = match also {
            Some(_) => format!("and below {usual} for who knows it by its name"),
            None => format!("and no longer below {usual}"),
        };
        Ok(Self {
            host: None,
            prefix: prefix.to_owned(),
            also,
            called: chosen.path.clone(),
            note: Some(format!(
                "{name} is at {}, as {key} says, {there}",
                chosen.url()
            )),
        })
    }
}

/// What the file says of a backend's own URL.
fn key_of(name: &str) -> String {
    let challenge = Path::root().key("challenge").key("backends");
    challenge.key(name).key("resourceMetadata").to_string()
}

/// What to say of the URL of a metadata document that is not where documents are.
pub(super) fn unserved(key: &str, url: &str, resource: &Endpoint) -> Option<String> {
    challenge::resource_of(url).is_none().then(|| {
        format!(
            "{key}: nothing in here serves a document at {}; write {}, where it is served, or leave it out",
            shown(url),
            challenge::metadata_url(resource)
        )
    })
}

/// Whether a path is another one, or below it.
pub(super) fn is_below(path: &str, other: &str) -> bool {
    path.strip_prefix(other.trim_end_matches('/'))
        .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
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
        let issuer = Endpoint::of_url(issuer)
            .map_err(|error| format!("issuer {}: {error}", shown(issuer)))?
            .without_slash();
        Ok(Some(Self {
            endpoint,
            issuer_path: issuer.path,
        }))
    }
}
