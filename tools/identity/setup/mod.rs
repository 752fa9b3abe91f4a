//! From the command line to everything that runs, or every reason why nothing does.

mod challenge;
mod doors;
mod sessions;
mod store;
mod upstreams;

use std::path::Path as FilePath;
use std::sync::Arc;
use std::time::Duration;

use document::auth_server::{self, Found, RunConfig, Warning};
use upstream_inject::config::{Path, Problem};

use crate::core::Core;
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
use crate::serve::tls::Tls;
use crate::session::store::Store;

/// Fetching keys takes at most so long: requests wait for it.
const FETCH: Duration = Duration::from_secs(5);

/// Everything that runs.
pub struct Service {
    /// The core.
    pub(crate) core: Arc<Core>,
    /// What is counted.
    pub(crate) metrics: Arc<Metrics>,
    /// The `ext_authz` door, if it is open.
    pub(crate) check: Option<(Address, check::Door)>,
    /// The token door, if it is open.
    pub(crate) token: Option<(Address, token::Door)>,
    /// The admin's address, if there is one.
    pub(crate) admin: Option<Address>,
    /// TLS at the doors.
    pub(crate) tls: Option<Arc<Tls>>,
    /// How long ending may take.
    pub(crate) drain: Duration,
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
#[derive(Default)]
struct Configured {
    found: Option<Found>,
    /// The auth server whose sessions these are; not with sessions from a file.
    run_config: Option<RunConfig>,
    /// With sessions from a file: the providers.
    names: Option<Vec<String>>,
    issuer: Option<String>,
    audiences: Vec<String>,
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
        (None, Some(found), Some(run_config)) => store::store(
            found,
            &run_config.storage,
            options.store_timeout,
            &mut problems,
        ),
        _ => None,
    };
    let upstreams = upstreams.or_else(|| {
        let sessions = sessions.as_ref()?;
        let names = configured.names.clone();
        Some(upstreams::named(
            names.unwrap_or_else(|| sessions.providers()),
        ))
    });
    let challenge = challenge::challenge(options, configured.found.as_ref(), &mut problems);
    let credentials = doors::credentials(options, &mut problems);
    let tls = doors::tls(options, &mut problems);
    doors::open_to(options, &mut problems);
    doors::names(options, &mut problems);
    let issuer = configured.issuer.clone().or_else(|| {
        sessions
            .as_ref()
            .and_then(|sessions| sessions.issuer.clone())
    });
    let jwks_url = doors::jwks_url(options, issuer.as_deref(), &mut problems);
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
        let verifier = Verifier::new(keys, issuer.clone(), configured.audiences.clone());
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
    let mut configured = Configured::default();
    let Some(config) = &options.config else {
        return configured;
    };
    match auth_server::find(config, options.auth_server.as_deref()) {
        Err(not_found) => problems.add(format!(
            "{}: {} ({})",
            not_found.path, not_found.text, not_found.name
        )),
        Ok(found) => {
            if options.sessions.is_some() {
                let read = auth_server::read_names(found.run_config(), &found.at);
                if let Some(names) = told(&found, read, problems) {
                    configured.names = Some(names.upstreams);
                    configured.issuer = names.issuer;
                    configured.audiences = names.allowed_audiences;
                }
            } else {
                let read = auth_server::read(found.run_config(), &found.at);
                if let Some(run_config) = told(&found, read, problems) {
                    configured.issuer = Some(run_config.issuer.clone());
                    configured
                        .audiences
                        .clone_from(&run_config.allowed_audiences);
                    configured.run_config = Some(run_config);
                }
            }
            configured.found = Some(found);
        }
    }
    configured
}

/// What was read; what is wrong with it is told.
fn told<T>(
    found: &Found,
    (read, warnings): (Result<T, Vec<Problem>>, Vec<Warning>),
    problems: &mut Problems,
) -> Option<T> {
    for warning in warnings {
        let line = located(found, &warning.path, &warning.text);
        log::warn(&format!("config: {line}"), &[]);
    }
    read.map_err(|found_problems| {
        for problem in found_problems {
            let text = match problem.rule {
                Some(rule) => format!("{rule}: {}", problem.text),
                None => problem.text,
            };
            problems.at(found, &problem.path, &text);
        }
    })
    .ok()
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
