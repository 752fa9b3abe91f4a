//! The store that the auth server's configuration names, with its secrets.

use std::sync::Arc;
use std::time::Duration;

use document::auth_server::{self, Found, SecretRef, Storage};
use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use upstream_inject::config::Path;

use super::{Problems, file_at};
use crate::log;
use crate::session::store::Store;
use crate::session::store::redis::{self, Password, RedisStore};

pub(super) fn store(
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
                .and_then(|(file, path)| certificates(found, file, path, problems)),
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

/// The authorities in a file: one without any would let nobody in, and say so to nobody.
fn certificates(
    found: &Found,
    file: &str,
    path: &Path,
    problems: &mut Problems,
) -> Option<Vec<u8>> {
    let content = file_at(found, file, path, problems)?;
    let mut roots = RootCertStore::empty();
    let read: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&content).collect();
    let (good, _) = roots.add_parsable_certificates(read.unwrap_or_default());
    if good == 0 {
        problems.at(found, path, &format!("{file} has no certificate in PEM"));
        return None;
    }
    Some(content)
}
