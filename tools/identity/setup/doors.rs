//! Who may ask at the doors, and what they are told by: credentials, TLS, the auth server's keys.

use std::sync::Arc;

use super::Problems;
use crate::door::token::client::Credentials;
use crate::options::Options;
use crate::serve::Address;
use crate::serve::tls::{Files, Tls};

pub(super) fn credentials(options: &Options, problems: &mut Problems) -> Option<Credentials> {
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

pub(super) fn tls(options: &Options, problems: &mut Problems) -> Option<Arc<Tls>> {
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
pub(super) fn open_to(options: &Options, problems: &mut Problems) {
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

/// What requests are compared with.
pub(super) fn names(options: &Options, problems: &mut Problems) {
    if options.payload_key.is_empty() {
        problems.flag("--payload-key", "empty");
    }
    for path in &options.health_check_path {
        if !path.starts_with('/') || path.contains(['?', '#']) {
            let text = format!("{path:?} is no path: it must begin with / and have no query");
            problems.flag("--health-check-path", text);
        }
    }
}

pub(super) fn jwks_url(options: &Options, issuer: Option<&str>, problems: &mut Problems) -> String {
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
