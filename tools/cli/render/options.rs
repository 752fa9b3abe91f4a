//! What a configuration does not say and its operator does: the options of `render`.

use crate::endpoint::{Endpoint, is_normal, shown};
use crate::output::Reporting;
use std::path::PathBuf;

/// Where the filter is to run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Target {
    /// A bootstrap for Envoy itself
    Envoy,
    /// Resources for Envoy Gateway
    EnvoyGateway,
    /// Resources for Istio
    Istio,
}

impl Target {
    /// As `--target` takes it.
    pub(super) fn name(self) -> &'static str {
        match self {
            Target::Envoy => "envoy",
            Target::EnvoyGateway => "envoy-gateway",
            Target::Istio => "istio",
        }
    }
}

#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// The configuration; - is the standard input
    #[arg(value_name = "FILE")]
    pub(crate) file: String,

    /// Where the filter is to run
    #[arg(short, long, value_enum)]
    pub(crate) target: Target,

    /// Take the auth server from this file [default: authServer in FILE, or authserver-config.yaml
    /// beside it]
    #[arg(long, value_name = "FILE")]
    pub(crate) auth_server: Option<String>,

    /// Where a backend is; give it once for each
    ///
    /// envoy: host:port, or a URL. envoy-gateway: NAMESPACE/HTTPROUTE[/RULENAME].
    /// istio: HOST:PORT[/SUBSET…] of the service, or the name of its cluster, outbound|PORT|SUBSET|HOST.
    #[arg(long = "backend", value_name = "NAME=ADDRESS")]
    pub(crate) backends: Vec<String>,

    /// The URL under which clients reach the gateway
    ///
    /// Without it, the origin of challenge.resourceMetadata, else of what a vMCP file has in
    /// incomingAuth.oidc.resource, else with --auth-server-address of the issuer.
    #[arg(long, value_name = "URL")]
    pub(crate) public_url: Option<String>,

    /// Also route to ToolHive's auth server, which is here: host:port, or a URL
    ///
    /// Only what clients need for a login is reachable; vMCP's own /mcp is not.
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) auth_server_address: Option<String>,

    /// The identity service, where the filter gets upstream tokens: a URL
    ///
    /// https, unless the service is on this machine or in the cluster (*.svc, *.svc.cluster.local).
    #[arg(long, value_name = "URL")]
    pub(crate) identity: Option<String>,

    /// Have upstream tokens put into metadata by this ext_authz service (gRPC), instead of --identity
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) ext_authz: Option<String>,

    /// Who issues the tokens that clients present [default: the auth server's issuer]
    #[arg(long, value_name = "URL")]
    pub(crate) issuer: Option<String>,

    /// Where the issuer publishes its keys [default: incomingAuth.oidc.jwksUrl, else ISSUER/.well-known/jwks.json]
    #[arg(long, value_name = "URL")]
    pub(crate) jwks_url: Option<String>,

    /// The issuer's discovery document, which says where its keys are; - is the standard input
    ///
    /// This tool calls nobody, so fetch it: curl -s ISSUER/.well-known/openid-configuration
    #[arg(long, value_name = "FILE")]
    pub(crate) discovery: Option<String>,

    /// What tokens must be issued for, one or more [default: as the file says]
    #[arg(long = "audience", value_name = "AUDIENCE")]
    pub(crate) audiences: Vec<String>,

    /// Let a token for one backend, or for the gateway, serve all of them
    #[arg(long)]
    pub(crate) shared_audience: bool,

    /// An origin whose scripts may call the gateway, such as http://localhost:6274; one or more
    #[arg(long, value_name = "ORIGIN")]
    pub(crate) cors: Vec<String>,

    /// A path that probes call without a token, such as /NAME/healthz; one or more
    #[arg(long = "health-check-path", value_name = "PATH")]
    pub(crate) health_check_paths: Vec<String>,

    /// envoy: give each backend a host of its own, NAME.<host of the public URL>, instead of a path
    #[arg(long)]
    pub(crate) by_host: bool,

    /// The Envoy that is going to read this, such as 1.38 [default: any from 1.36 on]
    #[arg(long, value_name = "VERSION", value_parser = EnvoyVersion::parse)]
    pub(crate) envoy_version: Option<EnvoyVersion>,

    /// envoy: the address to listen on [default: 127.0.0.1:10000]
    #[arg(long, value_name = "IP:PORT")]
    pub(crate) listen: Option<String>,

    /// envoy: the address of Envoy's admin interface [default: 127.0.0.1:9901]
    #[arg(long, value_name = "IP:PORT")]
    pub(crate) admin: Option<String>,

    /// envoy, envoy-gateway: the filter, as Envoy finds it [default: dist/upstream_inject.wasm; for Envoy
    /// Gateway the file of --image, mounted]
    #[arg(long, value_name = "PATH")]
    pub(crate) wasm: Option<String>,

    /// envoy-gateway, istio: the filter's image, NAME@sha256:DIGEST
    #[arg(long, value_name = "IMAGE")]
    pub(crate) image: Option<String>,

    /// envoy-gateway, istio: the namespace of the gateway [default: default]
    #[arg(short, long, value_name = "NAMESPACE", value_parser = label)]
    pub(crate) namespace: Option<String>,

    /// envoy-gateway, istio: the name of the gateway [default: gateway]
    #[arg(long, value_name = "NAME", value_parser = label)]
    pub(crate) gateway: Option<String>,

    /// envoy-gateway: a listener that requests come in by, as the Gateway has it; give it once for each
    #[arg(long = "listener", value_name = "NAME:PORT[:HTTPS]")]
    pub(crate) listeners: Vec<String>,

    /// istio: the label of the gateway's pods, where it is not one of the Gateway API (--gateway is then
    /// the name of the Gateway of networking.istio.io)
    #[arg(long, value_name = "KEY=VALUE", value_parser = label_of_pods)]
    pub(crate) gateway_selector: Option<(String, String)>,

    /// The certificates that Envoy trusts, as it finds them
    #[arg(
        long,
        value_name = "PATH",
        default_value = "/etc/ssl/certs/ca-certificates.crt"
    )]
    pub(crate) ca_file: String,

    /// Write to this file instead of the standard output
    #[arg(short, long, value_name = "FILE")]
    pub(crate) output: Option<PathBuf>,

    #[command(flatten)]
    pub(crate) reporting: Reporting,
}

impl Options {
    pub(super) fn listen(&self) -> &str {
        self.listen.as_deref().unwrap_or("127.0.0.1:10000")
    }

    pub(super) fn admin(&self) -> &str {
        self.admin.as_deref().unwrap_or("127.0.0.1:9901")
    }

    pub(super) fn wasm(&self) -> &str {
        self.wasm.as_deref().unwrap_or("dist/upstream_inject.wasm")
    }

    pub(super) fn namespace(&self) -> &str {
        self.namespace.as_deref().unwrap_or("default")
    }

    pub(super) fn gateway(&self) -> &str {
        self.gateway.as_deref().unwrap_or("gateway")
    }

    /// Refuses what would be ignored, and what nobody can mean.
    ///
    /// # Errors
    /// An option of another target, or one with a value that cannot be meant.
    pub(super) fn check(&self) -> Result<(), String> {
        const PLAIN: &[Target] = &[Target::Envoy];
        const CONTROL_PLANES: &[Target] = &[Target::EnvoyGateway, Target::Istio];
        for (flag, is_given, targets) in [
            ("--by-host", self.by_host, PLAIN),
            ("--listen", self.listen.is_some(), PLAIN),
            ("--admin", self.admin.is_some(), PLAIN),
            (
                "--wasm",
                self.wasm.is_some(),
                &[Target::Envoy, Target::EnvoyGateway],
            ),
            (
                "--listener",
                !self.listeners.is_empty(),
                &[Target::EnvoyGateway],
            ),
            (
                "--gateway-selector",
                self.gateway_selector.is_some(),
                &[Target::Istio],
            ),
            ("--image", self.image.is_some(), CONTROL_PLANES),
            ("--namespace", self.namespace.is_some(), CONTROL_PLANES),
            ("--gateway", self.gateway.is_some(), CONTROL_PLANES),
        ] {
            if is_given && !targets.contains(&self.target) {
                let names: Vec<&str> = targets.iter().map(|target| target.name()).collect();
                return Err(format!(
                    "{flag} means nothing to --target {}: leave it out; it belongs to --target {}",
                    self.target.name(),
                    names.join(" and ")
                ));
            }
        }
        self.check_values()
    }

    fn check_values(&self) -> Result<(), String> {
        for (flag, url) in [
            ("--issuer", &self.issuer),
            ("--jwks-url", &self.jwks_url),
            ("--public-url", &self.public_url),
            ("--identity", &self.identity),
        ] {
            let Some(url) = url else { continue };
            let read = match flag {
                "--jwks-url" => Endpoint::of_called(url),
                _ => Endpoint::of_url(url),
            };
            let read = read.map_err(|error| format!("{flag} {}: {error}", shown(url)))?;
            if flag == "--public-url" && !read.path.is_empty() && !is_normal(&read.path) {
                return Err(format!(
                    "{flag} {}: no request has the path {}, since Envoy normalizes paths; write it without \
                     /../ and //, and without an escaped slash",
                    shown(url),
                    read.path
                ));
            }
        }
        for (flag, address) in [
            ("--ext-authz", &self.ext_authz),
            ("--auth-server-address", &self.auth_server_address),
        ] {
            if let Some(address) = address {
                let wrong = |error| format!("{flag} {}: {error}", shown(address));
                let endpoint = Endpoint::of_address(address).map_err(wrong)?;
                if !endpoint.path.is_empty() {
                    return Err(wrong(
                        "write it without a path, which nothing would ask for",
                    ));
                }
            }
        }
        if self.ext_authz.is_some() && self.identity.is_some() {
            return Err(
                "--identity and --ext-authz: upstream tokens come from one of the two, give one"
                    .to_owned(),
            );
        }
        let other = [
            ("--jwks-url", &self.jwks_url),
            ("--auth-server-address", &self.auth_server_address),
        ]
        .into_iter()
        .find(|(_, given)| given.is_some());
        if let (Some(_), Some((flag, _))) = (&self.discovery, other) {
            return Err(format!(
                "--discovery and {flag}: both say where the issuer's keys are, give one"
            ));
        }
        if self.discovery.as_deref() == Some("-") && self.file == "-" {
            return Err(
                "--discovery - and FILE -: the standard input is one of the two".to_owned(),
            );
        }
        for (flag, path) in [
            ("--wasm", self.wasm.as_deref()),
            ("--ca-file", Some(self.ca_file.as_str())),
        ] {
            if path.is_some_and(str::is_empty) {
                return Err(format!(
                    "{flag} is empty: write the path, as Envoy finds it"
                ));
            }
        }
        if self.audiences.iter().any(String::is_empty) {
            return Err("--audience is empty: write what tokens are issued for".to_owned());
        }
        for origin in &self.cors {
            check_origin(origin)?;
        }
        for path in &self.health_check_paths {
            if path.contains(['?', '#']) || !is_visible(path) || !is_normal(path) {
                return Err(format!(
                    "--health-check-path {}: write the path that is called, such as /NAME/healthz, \
                     without a query, as Envoy normalizes it: no /../, no //, no escaped slash",
                    shown(path)
                ));
            }
        }
        Ok(())
    }
}

/// An origin as browsers send it (RFC 6454, section 6.2).
fn check_origin(origin: &str) -> Result<(), String> {
    let is_origin = Endpoint::of_url(origin).is_ok_and(|endpoint| endpoint.path.is_empty())
        && !origin.ends_with('/');
    if is_origin {
        Ok(())
    } else {
        Err(format!(
            "--cors {}: write an origin as browsers send it, such as http://localhost:6274, \
             without a path and without a slash at the end",
            shown(origin)
        ))
    }
}

fn is_visible(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_graphic())
}

/// A minor version of Envoy 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct EnvoyVersion(u32);

impl EnvoyVersion {
    /// The oldest that the filter is tested with.
    const OLDEST: Self = Self(36);
    /// Knows the foreign function `sign`.
    pub(super) const SIGNS: Self = Self(37);
    /// Wants the capabilities in `vm_config`.
    pub(super) const RESTRICTS_THE_VM: Self = Self(40);

    /// From `1.38`, `1.38.2` or `v1.38.2`.
    fn parse(text: &str) -> Result<Self, String> {
        let minor = text
            .trim_start_matches('v')
            .strip_prefix("1.")
            .and_then(|rest| rest.split('.').next()?.parse().ok())
            .map(Self)
            .ok_or_else(|| "must be a version of Envoy, such as 1.38".to_owned())?;
        if minor < Self::OLDEST {
            return Err("the filter is tested with Envoy 1.36 and later".to_owned());
        }
        Ok(minor)
    }
}

/// `KEY=VALUE`, such as `istio=ingressgateway`.
fn label_of_pods(text: &str) -> Result<(String, String), String> {
    let is_part = |part: &str| {
        !part.is_empty()
            && part
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b"-_./".contains(&byte))
    };
    text.split_once('=')
        .filter(|(key, value)| is_part(key) && is_part(value))
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .ok_or_else(|| "write a label as KEY=VALUE, such as istio=ingressgateway".to_owned())
}

/// A name of Kubernetes: nothing else may stand where it goes.
fn label(text: &str) -> Result<String, String> {
    let fits = text.len() <= 253
        && text.bytes().all(|byte| {
            byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-.".contains(&byte)
        });
    if fits && !text.is_empty() {
        Ok(text.to_owned())
    } else {
        Err("must be a name of Kubernetes: lower-case letters, digits, - and .".to_owned())
    }
}
