//! Where upstream tokens come from: the filter fetches them at the identity service, or `ext_authz`
//! has put them into metadata.

use super::options::{Options, Target};
use super::setup::{Setup, TokenEndpoint};
use crate::endpoint::{Endpoint, shown};
use document::{entries, get, get_text};
use upstream_inject::config::Node;

/// Where the identity service is asked, in every target that has clusters of its own.
pub(super) const IDENTITY_CLUSTER: &str = "upstream-inject-identity";
/// Where it listens unless it is told otherwise.
const DEFAULT_URL: &str = "http://127.0.0.1:9193/token";
/// The filter's own secret there, unless the file names another.
const SECRET_VARIABLE: &str = "IDENTITY_CLIENT_SECRET";

/// Where upstream tokens come from.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Identity {
    /// No strategy needs any.
    Unused,
    /// `identity.source: exchange`.
    Exchange(IdentityService),
    /// This `ext_authz` service puts them into metadata.
    Metadata(Endpoint),
}

/// The identity service.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct IdentityService {
    /// Its cluster is [`IDENTITY_CLUSTER`].
    pub(super) endpoint: TokenEndpoint,
    /// `identity.exchange` as the filter is to be given it, `cluster` being [`IDENTITY_CLUSTER`].
    pub(super) settings: Node,
}

impl Identity {
    /// The identity service, if that is whom the filter asks.
    pub(super) fn service(&self) -> Option<&IdentityService> {
        match self {
            Self::Exchange(service) => Some(service),
            Self::Unused | Self::Metadata(_) => None,
        }
    }

    /// As the file and the options have it.
    ///
    /// # Errors
    /// If they contradict each other, or tokens would travel in plain text.
    pub(super) fn of(setup: &mut Setup, options: &Options) -> Result<Self, String> {
        let identity = get(&setup.plugin, "identity").cloned();
        let source = identity.as_ref().and_then(|node| get_text(node, "source"));
        if let Some(address) = &options.ext_authz {
            if source == Some("exchange") {
                return Err(
                    "--ext-authz: the file has identity.source: exchange; take one of the two out"
                        .to_owned(),
                );
            }
            let endpoint = Endpoint::of_address(address).map_err(str::to_owned)?;
            if !endpoint.tls && !endpoint.is_loopback() {
                setup.notes.push(format!(
                    "--ext-authz {address} is asked in plain text: upstream tokens travel there; \
                     write an https URL, or see to it that nobody listens"
                ));
            }
            setup.notes.push(
                "upstream tokens are in the request's dynamic metadata: an access log that ships it \
                 (http_grpc, or %DYNAMIC_METADATA(envoy.filters.http.ext_authz)%) ships them"
                    .to_owned(),
            );
            return Ok(Self::Metadata(endpoint));
        }
        if source == Some("metadata") {
            if !setup.needs_upstream_tokens() {
                return Ok(Self::Unused);
            }
            setup.notes.push(
                "--ext-authz is missing, though the file has identity.source: metadata: fill in who \
                 puts the tokens there; until then there are none"
                    .to_owned(),
            );
            return Ok(Self::Metadata(Endpoint::unknown("embedded-auth-server")));
        }
        if source.is_none() && !setup.needs_upstream_tokens() {
            if options.identity.is_some() {
                setup.notes.push(
                    "--identity is not needed: no strategy of the file names a provider".to_owned(),
                );
            }
            return Ok(Self::Unused);
        }
        let written = identity.as_ref().and_then(|node| get(node, "exchange"));
        service(setup, options, written).map(Self::Exchange)
    }
}

fn service(
    setup: &mut Setup,
    options: &Options,
    written: Option<&Node>,
) -> Result<IdentityService, String> {
    let mut settings: Vec<(String, Node)> = written.map(entries).unwrap_or_default().to_vec();
    settings.retain(|(key, _)| key != "cluster");
    let of_file = written.and_then(|written| get_text(written, "tokenUrl"));
    let is_given = options.identity.is_some();
    let url = match (&options.identity, of_file, options.target) {
        (Some(url), _, _) => token_url(url)?,
        (None, Some(url), _) => url.to_owned(),
        (None, None, Target::Envoy) => {
            setup.notes.push(format!(
                "--identity is missing: {DEFAULT_URL} is assumed, where upstream-inject-identity \
                 listens unless it is told otherwise"
            ));
            DEFAULT_URL.to_owned()
        }
        (None, None, _) => {
            setup.notes.push(
                "--identity is missing: fill in where upstream-inject-identity is; until then there \
                 are no upstream tokens"
                    .to_owned(),
            );
            format!("{}/token", Endpoint::unknown(IDENTITY_CLUSTER).origin())
        }
    };
    let mut endpoint = Endpoint::of_called(&url)
        .map_err(|error| format!("identity service {}: {error}", shown(&url)))?;
    endpoint.path = String::new();
    if is_given || of_file.is_none() {
        settings.retain(|(key, _)| key != "tokenUrl" && key != "insecureTokenUrl");
        settings.insert(0, text("tokenUrl", &url));
        if !endpoint.tls && !endpoint.is_loopback() {
            settings.push(("insecureTokenUrl".to_owned(), Node::Bool(true)));
        }
    }
    settings.insert(1, text("cluster", IDENTITY_CLUSTER));
    let has_client = settings.iter().any(|(key, _)| key == "clientId");
    if endpoint.tls && !has_client {
        // Beyond one machine the service gives tokens to clients that it knows, and to no others.
        settings.push(text("clientId", "envoy"));
        settings.push(text("clientSecretEnv", SECRET_VARIABLE));
        setup.variables.insert(SECRET_VARIABLE.to_owned());
        setup.notes.push(format!(
            "the filter is the client envoy at the identity service: put its secret into \
             {SECRET_VARIABLE}, here and there (--client-id envoy --client-secret-env …)"
        ));
    }
    Ok(IdentityService {
        endpoint: TokenEndpoint {
            cluster: IDENTITY_CLUSTER.to_owned(),
            endpoint,
            backends: Vec::new(),
        },
        settings: Node::Map(settings),
    })
}

/// `--identity` as the URL of the token endpoint; tokens travel there in both directions.
fn token_url(url: &str) -> Result<String, String> {
    let endpoint =
        Endpoint::of_url(url).map_err(|error| format!("--identity {}: {error}", shown(url)))?;
    if !endpoint.tls && !endpoint.is_loopback() && !endpoint.is_in_cluster() {
        return Err(format!(
            "--identity {url}: users' tokens would travel in plain text; write https://, or the \
             address of a service on this machine (127.0.0.1) or in the cluster (*.svc, \
             *.svc.cluster.local)"
        ));
    }
    let path = if endpoint.path.is_empty() {
        "/token"
    } else {
        endpoint.path.as_str()
    };
    Ok(format!("{}{path}", endpoint.origin()))
}

fn text(key: &str, value: &str) -> (String, Node) {
    (key.to_owned(), Node::String(value.to_owned()))
}
