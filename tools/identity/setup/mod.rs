//! From the command line to everything that runs, or every reason why nothing does.

mod challenge;
mod sessions;
mod upstreams;

use std::path::Path as FilePath;
use std::sync::Arc;
use std::time::Duration;

use document::auth_server::{self, Found, RunConfig, SecretRef, Storage};
use upstream_inject::config::Path;

use crate::core::Core;
use crate::door::token::client::Credentials;
use crate::door::{check, token};
use crate::http::Client;
use crate::jwt::Verifier;
use crate::jwt::keys::KeySet;
use crate::log;
use crate::metrics::Metrics;
use crate::options::{EndDeadSessions, Options};
use crate::refresh::Refresher;
use crate::refresh::driver;
use crate::refresh::provider::Provider;
use crate::serve::Address;
use crate::serve::tls::{Files, Tls};
use crate::session::store::Store;
use crate::session::store::redis::{self, Password, RedisStore};

/// Fetching keys takes at most so long: requests wait for it.
const FETCH: Duration = Duration::from_secs(5);

/// Everything that runs.
pub struct Service {
    /// The core.
    pub core: Arc<Core>,
    /// What is counted.
    pub metrics: Arc<Metrics>,
    /// The `ext_authz` door, if it is open.
    pub check: Option<(Address, check::Door)>,
    /// The token door, if it is open.
    pub token: Option<(Address, token::Door)>,
    /// The admin's address, if there is one.
    pub admin: Option<Address>,
    /// TLS at the doors.
    pub tls: Option<Arc<Tls>>,
    /// How long ending may take.
    pub drain: Duration,
}

/// What is wrong with the configuration, a line each, without the first word.
#[derive(Debug, Default)]
pub struct Problems(Vec<String>);

impl Problems {
    fn add(&mut self, line: impl Into<String>) {
        self.0.push(line.into());
    }

    /// With the place in a file.
    fn at(&mut self, found: &Found, path: &Path, text: &str) {
        self.add(located(found, path, text));
    }

    fn flag(&mut self, flag: &str, text: impl std::fmt::Display) {
        self.add(format!("{flag}: {text}"));
    }

    /// The lines.
    #[must_use]
    pub fn lines(&self) -> &[String] {
        &self.0
    }
}

fn located(found: &Found, path: &Path, text: &str) -> String {
    let place = found.document.position(path);
    format!(
        "{path}: {text} ({}:{}:{})",
        found.name, place.line, place.column
    )
}

/// What was read of the configuration.
struct Configured {
    found: Option<Found>,
    run_config: Option<RunConfig>,
}

/// Makes the service. Called within the runtime, since the store begins to connect.
///
/// # Errors
/// Every problem there is.
pub fn service(options: &Options) -> Result<Service, Problems> {
    // The Redis client takes whatever provider of cryptography the process has.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let mut problems = Problems::default();
    let configured = configured(options, &mut problems);
    let metrics = Arc::new(Metrics::default());
    let upstreams = match (&configured.found, &configured.run_config) {
        (Some(found), Some(run_config)) => {
            Some(upstreams::upstreams(found, run_config, &mut problems))
        }
        _ => None,
    };
    let sessions = options
        .sessions
        .as_deref()
        .and_then(|file| sessions::read(file, &mut problems));
    let store = match (&sessions, &configured.found, &configured.run_config) {
        (Some(sessions), ..) => Some(Arc::new(sessions.store()) as Arc<dyn Store>),
        (None, Some(found), Some(run_config)) => store(
            found,
            &run_config.storage,
            options.store_timeout,
            &mut problems,
        ),
        _ => None,
    };
    let upstreams = upstreams.or_else(|| sessions.as_ref().map(sessions::Sessions::upstreams));
    let challenge = challenge::challenge(options, configured.found.as_ref(), &mut problems);
    let credentials = credentials(options, &mut problems);
    let tls = tls(options, &mut problems);
    doors(options, &mut problems);
    let issuer = configured
        .run_config
        .as_ref()
        .map(|run_config| run_config.issuer.clone())
        .or_else(|| {
            sessions
                .as_ref()
                .and_then(|sessions| sessions.issuer.clone())
        });
    let jwks_url = jwks_url(options, issuer.as_deref(), &mut problems);
    let http =
        Client::new(options.refresh_timeout).and_then(|refresh| Ok((refresh, Client::new(FETCH)?)));
    let (Some(upstreams), Some(store), Some(challenge), Ok((http, fetch)), []) =
        (upstreams, store, challenge, http, problems.lines())
    else {
        if problems.0.is_empty() {
            problems.add("(root): nothing to serve can be made of this");
        }
        return Err(problems);
    };

    let names: Vec<String> = upstreams
        .iter()
        .map(|upstream| upstream.name.clone())
        .collect();
    let refresher = Refresher::new(
        Arc::clone(&store),
        http,
        driver::Settings {
            ahead: options.refresh_ahead,
            wait: options.refresh_wait,
            timeout: options.refresh_timeout,
        },
        upstreams.into_iter().map(Provider::new).collect(),
        Arc::clone(&metrics),
    );
    let end_after = match options.end_dead_sessions {
        EndDeadSessions::Missing => Some(options.end_dead_after),
        EndDeadSessions::Off => None,
    };
    let core = Arc::new(Core::new(
        store,
        Arc::new(refresher),
        Arc::clone(&metrics),
        names,
        end_after,
    ));
    let check = options.listen.address().map(|address| {
        let settings = check::Settings {
            payload_key: options.payload_key.clone(),
            issuer: issuer.clone(),
            health_check_paths: options.health_check_path.clone(),
            challenge,
        };
        let door = check::Door::new(Arc::clone(&core), settings, Arc::clone(&metrics));
        (address.clone(), door)
    });
    let token = options.exchange_listen.address().map(|address| {
        let keys = KeySet::new(jwks_url, fetch, Arc::clone(&metrics));
        let audiences = configured
            .run_config
            .as_ref()
            .map(|run_config| run_config.allowed_audiences.clone())
            .unwrap_or_default();
        let verifier = Verifier::new(keys, issuer.clone(), audiences);
        let door = token::Door::new(
            Arc::clone(&core),
            verifier,
            credentials,
            Arc::clone(&metrics),
        );
        (address.clone(), door)
    });
    Ok(Service {
        core,
        metrics,
        check,
        token,
        admin: options.admin.address().cloned(),
        tls,
        drain: options.refresh_timeout + Duration::from_secs(10),
    })
}

fn configured(options: &Options, problems: &mut Problems) -> Configured {
    let mut configured = Configured {
        found: None,
        run_config: None,
    };
    let Some(config) = &options.config else {
        return configured;
    };
    match auth_server::find(config, options.auth_server.as_deref()) {
        Err(not_found) => problems.add(format!(
            "{}: {} ({})",
            not_found.path, not_found.text, not_found.name
        )),
        Ok(found) => {
            match auth_server::read(found.run_config(), &found.at) {
                Ok((run_config, warnings)) => {
                    for warning in warnings {
                        let line = located(&found, &warning.path, &warning.text);
                        log::warn(&format!("config: {line}"), &[]);
                    }
                    configured.run_config = Some(run_config);
                }
                Err(found_problems) => {
                    for problem in found_problems {
                        let text = match problem.rule {
                            Some(rule) => format!("{rule}: {}", problem.text),
                            None => problem.text,
                        };
                        problems.at(&found, &problem.path, &text);
                    }
                }
            }
            configured.found = Some(found);
        }
    }
    configured
}

fn store(
    found: &Found,
    storage: &Storage,
    call: Duration,
    problems: &mut Problems,
) -> Option<Arc<dyn Store>> {
    let configured = match storage {
        Storage::Redis(configured) => configured,
        Storage::Memory(path) => {
            problems.at(
                found,
                path,
                "memory lives inside the auth server, where nobody else can read it; must be redis",
            );
            return None;
        }
    };
    let before = problems.0.len();
    let mut variable = |reference: &Option<SecretRef>| match reference {
        Some(SecretRef::Env(name, path)) => match std::env::var(name) {
            Ok(value) => Some(value),
            Err(_) => {
                let text = format!("environment variable {name} is not set");
                problems.at(found, path, &text);
                None
            }
        },
        _ => None,
    };
    let username = variable(&configured.username_env);
    let password = variable(&configured.password_env).unwrap_or_default();
    let mut tls = |tls: &Option<auth_server::Tls>| {
        tls.as_ref().map(|tls| redis::Tls {
            ca: tls
                .ca_cert_file
                .as_ref()
                .and_then(|(file, path)| file_at(found, file, path, problems)),
            insecure: tls.insecure_skip_verify,
        })
    };
    let settings = redis::Settings {
        tls: tls(&configured.tls),
        topology: match &configured.topology {
            auth_server::Topology::Standalone(at) => redis::Topology::Standalone(at.clone()),
            auth_server::Topology::Cluster(at) => redis::Topology::Cluster(at.clone()),
            auth_server::Topology::Sentinel {
                master,
                sentinels,
                tls: sentinel_tls,
                db,
            } => redis::Topology::Sentinel {
                master: master.clone(),
                sentinels: sentinels.clone(),
                tls: tls(sentinel_tls),
                db: i64::from(*db),
            },
        },
        username,
        password: Password(password),
        key_prefix: configured.key_prefix.clone(),
        dial: configured.dial_timeout,
        call: call.min(configured.read_timeout),
    };
    if problems.0.len() > before {
        return None;
    }
    let made = RedisStore::new(&settings, |why| {
        log::limited(
            log::Level::Error,
            "store",
            "the session store cannot be reached",
            &[("reason", &why)],
        );
    });
    match made {
        Ok(store) => Some(Arc::new(store)),
        Err(error) => {
            problems.at(found, &found.at.key("storage").key("redis_config"), &error);
            None
        }
    }
}

/// What is in a file that the configuration names.
fn file_at(found: &Found, file: &str, path: &Path, problems: &mut Problems) -> Option<Vec<u8>> {
    std::fs::read(FilePath::new(file))
        .inspect_err(|error| {
            let text = format!("{file} cannot be read: {}", error.kind());
            problems.at(found, path, &text);
        })
        .ok()
}

fn credentials(options: &Options, problems: &mut Problems) -> Option<Credentials> {
    let (id, name) = (
        options.client_id.as_ref()?,
        options.client_secret_env.as_ref()?,
    );
    let secret = std::env::var(name).unwrap_or_default();
    let secret = secret.trim_end_matches(['\r', '\n']);
    if secret.is_empty() {
        let text = format!("environment variable {name} is not set, or empty");
        problems.flag("--client-secret-env", text);
    }
    if id.is_empty() {
        problems.flag("--client-id", "empty");
    }
    Some(Credentials::new(id, secret))
}

fn tls(options: &Options, problems: &mut Problems) -> Option<Arc<Tls>> {
    let files = Files {
        cert: options.tls_cert.clone()?,
        key: options.tls_key.clone()?,
        client_ca: options.tls_client_ca.clone(),
    };
    Tls::new(files)
        .map(Arc::new)
        .map_err(|error| problems.flag("--tls-cert", error))
        .ok()
}

/// Both doors give tokens away: who reaches them from elsewhere must say who they are.
fn doors(options: &Options, problems: &mut Problems) {
    let has_tls = options.tls_cert.is_some();
    let is_mutual = options.tls_client_ca.is_some();
    let has_client = options.client_id.is_some();
    let is_open = |address: Option<&Address>| address.is_some_and(|address| !address.is_local());
    if is_open(options.listen.address()) && !is_mutual {
        problems.flag(
            "--listen",
            "beyond this machine it gives tokens to whoever asks; --tls-cert, --tls-key and \
             --tls-client-ca are needed, or an address of loopback or a Unix socket",
        );
    }
    if is_open(options.exchange_listen.address()) && !(is_mutual || (has_tls && has_client)) {
        problems.flag(
            "--exchange-listen",
            "beyond this machine it gives tokens to whoever asks; --tls-cert and --tls-key are \
             needed, with --tls-client-ca or with --client-id and --client-secret-env",
        );
    }
    if options.listen.address().is_none() && options.exchange_listen.address().is_none() {
        problems.flag(
            "--exchange-listen",
            "off, and no --listen either: nothing to serve",
        );
    }
}

fn jwks_url(options: &Options, issuer: Option<&str>, problems: &mut Problems) -> String {
    if options.exchange_listen.address().is_none() {
        return String::new();
    }
    let url = match (&options.jwks_url, issuer) {
        (Some(url), _) => url.clone(),
        (None, Some(issuer)) => format!("{}/.well-known/jwks.json", issuer.trim_end_matches('/')),
        (None, None) => {
            if options.config.is_none() {
                problems.flag(
                    "--jwks-url",
                    "needed with --sessions alone, unless the file has an issuer, or \
                     --exchange-listen is off: tokens are verified",
                );
            }
            return String::new();
        }
    };
    let is_sound = url::Url::parse(&url)
        .is_ok_and(|url| matches!(url.scheme(), "http" | "https") && url.has_host());
    if !is_sound && options.jwks_url.is_some() {
        problems.flag("--jwks-url", "must be an absolute http or https URL");
    }
    url
}
