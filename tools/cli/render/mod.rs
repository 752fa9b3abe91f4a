//! `render`: everything that a proxy needs to load the filter, in the proxy's own words.

mod authentication;
mod backend;
mod challenge;
mod cluster;
mod discovery;
mod envoy;
mod envoy_gateway;
mod gateway;
mod identity;
mod incoming;
mod istio;
mod open_paths;
mod options;
mod parts;
mod plugin;
mod rename;
mod replies;
mod setup;
mod smoke;
mod template;
mod wasm;

pub(crate) use options::{Options, Target};

use crate::check::{self, AnyVariable, Assume, Kind, Read};
use crate::endpoint::{self, Endpoint, shown};
use crate::input::{self, Input};
use crate::report::{FileReport, Finding, Severity};
use gateway::Gateway;
use rename::Names;
use setup::Setup;
use upstream_inject::config::{self, Node, Path};
use upstream_inject::strategy::REGISTRY;

/// Renders the configuration in `options.file`, or says what is wrong with it: a report on that file,
/// and one on the file that its auth server is in.
pub(crate) fn render(options: &Options) -> (Vec<FileReport>, Option<String>) {
    let input = match input::read(&options.file) {
        Ok(input) => input,
        Err(report) => return (vec![report], None),
    };
    let auth_server = options.auth_server.as_deref();
    let read = match check::configuration(&input, Assume::Auto, auth_server) {
        Ok(read) => read,
        Err(report) => return (vec![*report], None),
    };
    let discovery = options.discovery.as_deref().map(discovery::read);
    let discovery = match discovery.transpose() {
        Ok(discovery) => discovery,
        Err(report) => return (vec![report], None),
    };
    let mut findings = check::findings_of(&read.configuration, read.kind, &AnyVariable);
    let is_valid = !findings
        .iter()
        .any(|(_, finding)| finding.severity == Severity::Error);
    let mut text = None;
    if is_valid {
        let say = |severity, text| (Path::root(), Finding::about_file(severity, None, text));
        match express(&read, options, discovery.as_ref()) {
            Ok((rendered, notes)) => {
                findings.extend(notes.into_iter().map(|note| say(Severity::Note, note)));
                text = Some(rendered);
            }
            Err(error) => findings.push(say(Severity::Error, error)),
        }
    }
    (check::reports(&input, &read, findings), text)
}

/// What a valid configuration becomes, and what the operator should know.
fn express(
    read: &Read,
    options: &Options,
    discovery: Option<&Input>,
) -> Result<(String, Vec<String>), String> {
    if read.kind == Kind::AuthServer {
        return Err(
            "an auth server's configuration alone; give the file with outgoingAuth, and this one by \
             --auth-server"
                .to_owned(),
        );
    }
    options.check()?;
    let mut setup = Setup::of(&read.configuration.document.root, read.kind)?;
    if let Some(discovery) = discovery {
        discovery::apply(&mut setup, options, discovery)?;
    }
    let mut target = Rendering::new(setup, options)?;
    let text = match options.target {
        Target::Envoy => envoy::render(&mut target),
        Target::EnvoyGateway => envoy_gateway::render(&mut target),
        Target::Istio => istio::render(&mut target),
    }?;
    prove(&text)?;
    Ok((text, target.notes))
}

/// What is written must be YAML, with every placeholder filled.
fn prove(text: &str) -> Result<(), String> {
    let is_yaml = document::parse(text.as_bytes()).is_ok();
    if is_yaml && !text.contains(template::MISSING) {
        Ok(())
    } else {
        Err("a value in here cannot be rendered; please report it as a bug".to_owned())
    }
}

/// A rendering under way.
struct Rendering<'a> {
    setup: Setup,
    /// What is to be expressed.
    gateway: Gateway,
    options: &'a Options,
    /// What the operator should know, on the screen and at the head of the file.
    notes: Vec<String>,
}

impl<'a> Rendering<'a> {
    fn new(mut setup: Setup, options: &'a Options) -> Result<Self, String> {
        if let Some(issuer) = &options.issuer {
            setup.issuer = Some(issuer.clone());
        }
        if !options.audiences.is_empty() {
            setup.audiences.clone_from(&options.audiences);
        }
        let backends = backends(&mut setup, options)?;
        if options.target == Target::Istio {
            if setup.leave_out_backend_from() {
                setup.notes.push(
                    "backendFrom is left out: backends are listed by the names of their clusters \
                     here"
                        .to_owned(),
                );
            }
            setup.use_payload_key(istio::PAYLOAD_KEY);
        }
        let gateway = Gateway::of(&mut setup, options, backends)?;
        Ok(Self {
            notes: std::mem::take(&mut setup.notes),
            setup,
            gateway,
            options,
        })
    }

    fn note(&mut self, note: impl Into<String>) {
        self.notes.push(note.into());
    }

    /// The notes as comment lines.
    fn notes_comment(&self) -> String {
        if self.notes.is_empty() {
            return String::new();
        }
        let mut text = "#\n# To do:\n".to_owned();
        for note in &self.notes {
            text.push_str(&format!("#   - {}\n", crate::report::printable(note)));
        }
        text
    }

    /// The plugin configuration under the names that the target gives things, still valid.
    fn plugin(
        &self,
        backend: impl Fn(&str) -> String,
        cluster: impl Fn(&setup::TokenEndpoint) -> String,
    ) -> Result<Node, String> {
        let plugin = plugin::complete(&self.setup, &self.gateway);
        let endpoints: Vec<_> = self.token_endpoints().collect();
        let plugin = Names { backend, cluster }.apply(&plugin, &endpoints);
        let outcome = config::plan(&plugin, REGISTRY, &AnyVariable);
        match outcome.errors.first() {
            None => Ok(plugin),
            Some(problem) => Err(format!("under the names of the target: {problem}")),
        }
    }

    /// Whom the filter itself calls, each once: the token endpoints, and the identity service.
    fn token_endpoints(&self) -> impl Iterator<Item = &setup::TokenEndpoint> {
        self.setup
            .token_endpoints
            .iter()
            .chain(self.gateway.identity.service().map(|one| &one.endpoint))
    }

    /// The image, and its digest.
    fn image(&mut self) -> (String, Option<String>) {
        let image = match &self.options.image {
            Some(image) => image.trim_start_matches("oci://").to_owned(),
            None => {
                self.note(
                    "--image is missing: fill in where the image was pushed to, with its digest \
                     (registry.example.com/upstream-inject@sha256:…)",
                );
                format!(
                    "registry.example.com/upstream-inject:{}",
                    env!("CARGO_PKG_VERSION")
                )
            }
        };
        let digest = image
            .split_once("@sha256:")
            .map(|(_, digest)| digest)
            .filter(|digest| {
                digest.len() == 64 && digest.bytes().all(|byte| byte.is_ascii_hexdigit())
            })
            .map(str::to_owned);
        if digest.is_none() && self.options.image.is_some() {
            self.note("the image is not pinned by digest: name it as NAME@sha256:DIGEST");
        }
        (image, digest)
    }
}

/// The backends, in the order written, and where they are as far as anyone has said.
fn backends(setup: &mut Setup, options: &Options) -> Result<Vec<(String, Option<String>)>, String> {
    let mut given: Vec<(String, String)> = Vec::new();
    for text in &options.backends {
        let (name, address) = name_and_address(text, &setup.backends)?;
        if given.iter().any(|(known, _)| known == name) {
            return Err(format!(
                "--backend {name} is given twice: a backend is in one place; leave one out"
            ));
        }
        if !setup.backends.iter().any(|known| known == name) {
            if !setup.has_default {
                return Err(format!(
                    "--backend {}: there is no backend of this name ({})",
                    shown(name),
                    setup.backends.join(", ")
                ));
            }
            setup.backends.push(name.to_owned());
        }
        given.push((name.to_owned(), address.to_owned()));
    }
    if options.target == Target::Envoy {
        for (name, address) in &given {
            let endpoint = Endpoint::of_address(address)
                .map_err(|error| format!("--backend {name}={}: {error}", shown(address)))?;
            note_tls_port(setup, &format!("--backend {name}"), address, &endpoint);
        }
    }
    for (name, url) in &setup.urls {
        let is_elsewhere = given.iter().any(|(known, _)| known == name);
        let error = match (Endpoint::of_url(url), options.target) {
            (Err(error), Target::Envoy) if !is_elsewhere => error,
            // Elsewhere a URL that cannot be used is no address, but its path is the backend's.
            (Err(endpoint::HAS_QUERY), Target::EnvoyGateway | Target::Istio) => endpoint::HAS_QUERY,
            _ => continue,
        };
        if let (true, Some(path)) = (setup.backends.contains(name), setup.url_paths.get(name)) {
            return Err(format!("{path}: {}: {error}", shown(url)));
        }
    }
    let of_file = match options.target {
        Target::Envoy => setup.urls.clone(),
        Target::EnvoyGateway => Vec::new(),
        Target::Istio => istio::services(&setup.urls),
    };
    let address = |name: &String| {
        let mut known = given.iter().chain(&of_file);
        known
            .find(|(known, _)| known == name)
            .map(|(_, address)| address.clone())
    };
    Ok(setup
        .backends
        .iter()
        .map(|name| (name.clone(), address(name)))
        .collect())
}

/// The port says TLS, and the address does not.
fn note_tls_port(setup: &mut Setup, option: &str, address: &str, endpoint: &Endpoint) {
    if [443, 8443].contains(&endpoint.port) && !address.contains("://") {
        setup.notes.push(format!(
            "{option}: HOST:PORT is asked without TLS, and what users send travels in plain text; write \
             https://{address} if {} speaks TLS, http://{address} if it does not",
            endpoint.port
        ));
    }
}

/// Both may hold `=`: a backend that is known wins, the longest first.
fn name_and_address<'a>(text: &'a str, known: &[String]) -> Result<(&'a str, &'a str), String> {
    let of_known = known
        .iter()
        .filter(|name| {
            text.strip_prefix(name.as_str())
                .is_some_and(|rest| rest.starts_with('='))
        })
        .max_by_key(|name| name.len())
        .and_then(|name| Some((text.get(..name.len())?, text.get(name.len()..)?.get(1..)?)));
    // A URL alone may have a query.
    let of_other = || {
        text.split_once('=')
            .filter(|(name, _)| !name.contains("://"))
    };
    match of_known.or_else(of_other) {
        Some((name, address)) if !name.is_empty() && !address.is_empty() => Ok((name, address)),
        _ => Err(format!(
            "--backend {}: write NAME=ADDRESS, such as github-tools=https://mcp.example.com/mcp",
            shown(text)
        )),
    }
}
