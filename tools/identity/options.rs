//! The command line.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Parser, ValueEnum};

use crate::serve::Address;

/// Answers Envoy from the session store of a ToolHive auth server: whose request it is, and which
/// upstream tokens are theirs.
#[derive(Clone, Debug, Parser)]
#[command(name = "upstream-inject-identity", version)]
pub struct Options {
    /// A configuration with the auth server: ours, a vMCP file with authserver-config.yaml beside
    /// it, that file itself, or the operator's ConfigMap.
    #[arg(long, value_name = "FILE", required_unless_present = "sessions")]
    pub(crate) config: Option<PathBuf>,

    /// The auth server's file, if it is not beside the configuration.
    #[arg(long, value_name = "FILE", requires = "config")]
    pub(crate) auth_server: Option<PathBuf>,

    /// Sessions from a file instead of a store, for trials.
    #[arg(long, value_name = "FILE")]
    pub(crate) sessions: Option<PathBuf>,

    /// Where POST /token (RFC 8693) is served: HOST:PORT, unix:PATH, or off.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:9193", value_parser = listen)]
    pub(crate) exchange_listen: Listen,

    /// Where ext_authz (gRPC) is served: HOST:PORT, unix:PATH, or off, as it is unless named.
    #[arg(long, value_name = "ADDRESS", default_value = "off", value_parser = listen)]
    pub(crate) listen: Listen,

    /// Where /metrics, /healthz and /readyz are served: HOST:PORT, unix:PATH, or off.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:9192", value_parser = listen)]
    pub(crate) admin: Listen,

    /// The client that may ask for tokens.
    #[arg(long, value_name = "ID", requires = "client_secret_env")]
    pub(crate) client_id: Option<String>,

    /// The environment variable with that client's secret.
    #[arg(long, value_name = "NAME", requires = "client_id")]
    pub(crate) client_secret_env: Option<String>,

    /// A certificate chain, PEM: TLS at --listen and --exchange-listen. Read again when it changes.
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    pub(crate) tls_cert: Option<PathBuf>,

    /// Its private key, PEM.
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    pub(crate) tls_key: Option<PathBuf>,

    /// Who signs clients' certificates, PEM: only clients that have one may connect.
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    pub(crate) tls_client_ca: Option<PathBuf>,

    /// The auth server's keys [default: <issuer>/.well-known/jwks.json]
    #[arg(long, value_name = "URL")]
    pub(crate) jwks_url: Option<String>,

    /// Where jwt_authn leaves the payload that it has checked, in its namespace.
    #[arg(long, value_name = "KEY", default_value = "th_jwt")]
    pub(crate) payload_key: String,

    /// realm of the challenge at the ext_authz door, instead of the configuration's.
    #[arg(long)]
    pub(crate) realm: Option<String>,

    /// resource_metadata of that challenge.
    #[arg(long, value_name = "URL")]
    pub(crate) resource_metadata: Option<String>,

    /// scope of that challenge.
    #[arg(long)]
    pub(crate) scope: Option<String>,

    /// A path whose requests are health checks (ext_authz); may be repeated.
    #[arg(long, value_name = "PATH")]
    pub(crate) health_check_path: Vec<String>,

    /// How long the store may take to answer.
    #[arg(long, value_name = "TIME", default_value = "1s", value_parser = time)]
    pub(crate) store_timeout: Duration,

    /// How long before its end a token is refreshed.
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = time_or_none)]
    pub(crate) refresh_ahead: Duration,

    /// How long a request waits for a refresh.
    #[arg(long, value_name = "TIME", default_value = "2s", value_parser = time_or_none)]
    pub(crate) refresh_wait: Duration,

    /// How long a provider may take to refresh.
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = time)]
    pub(crate) refresh_timeout: Duration,

    /// Whether a client is made to log in when only that brings a token back.
    #[arg(long, value_name = "WHEN", default_value = "missing")]
    pub(crate) end_dead_sessions: EndDeadSessions,

    /// Not within this time after its last login.
    #[arg(long, value_name = "TIME", default_value = "5m", value_parser = time_or_none)]
    pub(crate) end_dead_after: Duration,

    /// How log lines look.
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    pub log_format: LogFormat,
}

/// A place to listen, or none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Listen {
    /// Nowhere.
    Off,
    /// There.
    At(Address),
}

impl Listen {
    /// The place, if there is one.
    #[must_use]
    pub fn address(&self) -> Option<&Address> {
        match self {
            Self::Off => None,
            Self::At(address) => Some(address),
        }
    }
}

/// When clients are made to log in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum EndDeadSessions {
    /// If the provider that is asked for is missing.
    Missing,
    /// Never.
    Off,
}

/// How log lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// For people.
    Text,
    /// For machines.
    Json,
}

/// What is wrong with the command line, in a line like any other problem.
#[must_use]
pub fn in_a_line(wrong: &clap::Error) -> String {
    let text = wrong.to_string();
    let text = text.strip_prefix("error: ").unwrap_or(&text);
    let lines: Vec<&str> = text
        .lines()
        .map(str::trim)
        .take_while(|line| !line.starts_with("Usage:") && !line.starts_with("For more information"))
        .filter(|line| !line.is_empty())
        .collect();
    format!("{} (--help lists every option)", lines.join(" "))
}

/// The log's format, as far as a command line says it that is wrong otherwise: what is wrong with it is a
/// line of the log as well.
pub fn log_format_in(arguments: impl Iterator<Item = OsString>) -> LogFormat {
    let mut arguments = arguments;
    let mut format = LogFormat::Text;
    while let Some(argument) = arguments.next() {
        let argument = argument.to_string_lossy();
        let value = match argument.strip_prefix("--log-format") {
            Some("") => arguments.next(),
            Some(value) => value.strip_prefix('=').map(OsString::from),
            None => None,
        };
        let value = value.and_then(|value| LogFormat::from_str(value.to_str()?, false).ok());
        format = value.unwrap_or(format);
    }
    format
}

fn listen(text: &str) -> Result<Listen, String> {
    if text == "off" {
        return Ok(Listen::Off);
    }
    Address::parse(text).map(Listen::At)
}

fn time(text: &str) -> Result<Duration, String> {
    time_or_none(text).and_then(|time| {
        if time.is_zero() {
            Err("must be more than nothing".to_owned())
        } else {
            Ok(time)
        }
    })
}

fn time_or_none(text: &str) -> Result<Duration, String> {
    const WRONG: &str = "must be a number and ms, s, m or h, such as 250ms, 30s or 5m";
    if text == "0" {
        return Ok(Duration::ZERO);
    }
    let end = text
        .find(|character: char| !character.is_ascii_digit() && character != '.')
        .ok_or(WRONG)?;
    let (number, unit) = text.split_at_checked(end).ok_or(WRONG)?;
    let number: f64 = number.parse().map_err(|_| WRONG)?;
    let seconds = match unit {
        "ms" => number / 1000.0,
        "s" => number,
        "m" => number * 60.0,
        "h" => number * 3600.0,
        _ => return Err(WRONG.to_owned()),
    };
    match Duration::try_from_secs_f64(seconds) {
        Ok(time) if time <= Duration::from_secs(7 * 24 * 3600) => Ok(time),
        _ => Err("must be at most a week".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_nobody_says_is_as_it_is_documented() {
        let options = Options::try_parse_from(["", "--config", "vmcp.yaml"]).unwrap();
        assert_eq!(
            options.listen,
            Listen::Off,
            "whoever reaches it is believed"
        );
        for (listen, address) in [
            (options.exchange_listen, "127.0.0.1:9193"),
            (options.admin, "127.0.0.1:9192"),
        ] {
            assert_eq!(listen, Listen::At(Address::parse(address).unwrap()));
        }
        assert_eq!(options.payload_key, "th_jwt");
        assert_eq!(options.end_dead_sessions, EndDeadSessions::Missing);
        for (time, seconds) in [
            (options.store_timeout, 1),
            (options.refresh_ahead, 30),
            (options.refresh_wait, 2),
            (options.refresh_timeout, 30),
            (options.end_dead_after, 300),
        ] {
            assert_eq!(time, Duration::from_secs(seconds));
        }
    }
}
