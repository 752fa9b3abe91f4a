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
            if options.sessions.is_some() {
                problems.flag(
                    "--jwks-url",
                    "needed with --sessions, unless a file has an issuer, or --exchange-listen is \
                     off: tokens are verified",
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

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;

    const CERT: &[&str] = &["--tls-cert", "c", "--tls-key", "k"];
    const MUTUAL: &[&str] = &["--tls-cert", "c", "--tls-key", "k", "--tls-client-ca", "a"];
    const CLIENT: &[&str] = &["--client-id", "envoy", "--client-secret-env", "SECRET"];

    /// Which doors may not be open like that.
    fn refused(arguments: &[&str]) -> Vec<String> {
        let arguments = [&["", "--config", "vmcp.yaml"][..], arguments].concat();
        let mut problems = Problems::default();
        open_to(&Options::try_parse_from(arguments).unwrap(), &mut problems);
        let flag = |line: &String| line.split(':').next().unwrap().to_owned();
        problems.lines().iter().map(flag).collect()
    }

    #[test]
    fn who_comes_from_elsewhere_must_say_who_they_are() {
        let (check, token) = ("--listen", "--exchange-listen");
        for (door, with, may) in [
            (token, &[][..], false),
            (token, CERT, false),
            (token, CLIENT, false),
            (token, &[CERT, CLIENT].concat(), true),
            (token, MUTUAL, true),
            (check, &[], false),
            (check, CERT, false),
            // It believes whatever Envoy says, so it must be Envoy.
            (check, &[CERT, CLIENT].concat(), false),
            (check, MUTUAL, true),
        ] {
            for address in [
                "192.0.2.1:9191",
                "0.0.0.0:9191",
                "[::]:9191",
                "[2001:db8::1]:9191",
            ] {
                let refused = refused(&[&[door, address], with].concat());
                let expected: &[&str] = if may { &[] } else { &[door] };
                assert_eq!(refused, expected, "{door} {address} {with:?}");
            }
            for address in [
                "127.0.0.1:9191",
                "[::1]:9191",
                "[::ffff:127.0.0.2]:9191",
                "unix:/x",
            ] {
                let refused = refused(&[&[door, address], with].concat());
                assert!(refused.is_empty(), "{door} {address} {with:?}: {refused:?}");
            }
        }
    }

    #[test]
    fn a_service_without_a_door_is_none() {
        assert_eq!(
            refused(&["--exchange-listen", "off"]),
            ["--exchange-listen"]
        );
        let one = ["--exchange-listen", "off", "--listen", "127.0.0.1:9191"];
        assert!(refused(&one).is_empty());
    }
}
