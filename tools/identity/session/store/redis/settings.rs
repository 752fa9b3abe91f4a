//! How the store is reached, as ToolHive's configuration says it.

use std::fmt;
use std::time::Duration;

use redis::cluster::ClusterClientBuilder;
use redis::io::tcp::TcpSettings;
use redis::sentinel::{SentinelClientBuilder, SentinelServerType};
use redis::{
    Client, ConnectionAddr, ConnectionInfo, IntoConnectionInfo, RedisConnectionInfo, RedisError,
    TlsCertificates, TlsMode,
};

use super::link::Source;

/// A password. It cannot be printed.
#[derive(Clone, Default, PartialEq, Eq)]
pub(crate) struct Password(pub String);

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Password([redacted])")
    }
}

/// TLS towards a server.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tls {
    /// The authorities to trust, as PEM; the system's without.
    pub ca: Option<Vec<u8>>,
    /// Whether any certificate will do.
    pub insecure: bool,
}

/// Which servers there are. Addresses are host and port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Topology {
    /// One server.
    Standalone((String, u16)),
    /// A cluster, found through this node.
    Cluster((String, u16)),
    /// A primary that Sentinels know.
    Sentinel {
        /// The primary's name.
        master: String,
        /// Where the Sentinels are. They get no credentials.
        sentinels: Vec<(String, u16)>,
        /// TLS towards them.
        tls: Option<Tls>,
        /// The database's number.
        db: i64,
    },
}

/// Everything about the store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Settings {
    /// Which servers.
    pub topology: Topology,
    /// The user, if it is not the default one.
    pub username: Option<String>,
    /// Its password; empty for no authentication.
    pub password: Password,
    /// TLS towards the servers that have the data.
    pub tls: Option<Tls>,
    /// What every key begins with.
    pub key_prefix: String,
    /// How long an attempt to connect may take.
    pub dial: Duration,
    /// How long a call may take.
    pub call: Duration,
}

impl Settings {
    pub(super) fn source(&self) -> Result<Source, String> {
        let source = match &self.topology {
            Topology::Standalone(address) => self.standalone(address),
            Topology::Cluster(address) => self.cluster(address),
            Topology::Sentinel {
                master,
                sentinels,
                tls,
                db,
            } => self.sentinel(master, sentinels, tls.as_ref(), *db),
        };
        source.map_err(|error| {
            format!(
                "{} ({})",
                "the store's settings cannot be used",
                error.category()
            )
        })
    }

    fn standalone(&self, at: &(String, u16)) -> Result<Source, RedisError> {
        let info = self.connection(at)?;
        Ok(Source::Standalone(match &self.tls {
            Some(tls) => Client::build_with_tls(info, certificates(tls))?,
            None => Client::open(info)?,
        }))
    }

    fn cluster(&self, at: &(String, u16)) -> Result<Source, RedisError> {
        let mut builder = ClusterClientBuilder::new([self.connection(at)?])
            .connection_timeout(self.dial)
            .response_timeout(self.call)
            .tcp_settings(without_delay())
            .retries(3);
        if let Some(tls) = &self.tls {
            builder = builder.tls(mode(tls)).certs(certificates(tls));
        }
        if let Some((username, password)) = self.credentials() {
            if let Some(username) = username {
                builder = builder.username(username);
            }
            builder = builder.password(password);
        }
        Ok(Source::Cluster(builder.build()?))
    }

    fn sentinel(
        &self,
        master: &str,
        sentinels: &[(String, u16)],
        tls: Option<&Tls>,
        db: i64,
    ) -> Result<Source, RedisError> {
        let mut builder = SentinelClientBuilder::new(
            sentinels.iter().map(|at| address(at, tls)),
            master,
            SentinelServerType::Master,
        )?
        .set_client_to_redis_db(db)
        .set_client_to_redis_tcp_settings(without_delay());
        if let Some((username, password)) = self.credentials() {
            if let Some(username) = username {
                builder = builder.set_client_to_redis_username(username);
            }
            builder = builder.set_client_to_redis_password(password);
        }
        if let Some(tls) = &self.tls {
            builder = builder
                .set_client_to_redis_tls_mode(mode(tls))
                .set_client_to_redis_certificates(certificates(tls));
        }
        if let Some(tls) = tls {
            builder = builder
                .set_client_to_sentinel_tls_mode(mode(tls))
                .set_client_to_sentinel_certificates(certificates(tls));
        }
        Ok(Source::Sentinel(tokio::sync::Mutex::new(builder.build()?)))
    }

    fn connection(&self, at: &(String, u16)) -> Result<ConnectionInfo, RedisError> {
        let mut redis = RedisConnectionInfo::default().set_skip_set_lib_name();
        if let Some((username, password)) = self.credentials() {
            if let Some(username) = username {
                redis = redis.set_username(username);
            }
            redis = redis.set_password(password);
        }
        Ok(address(at, self.tls.as_ref())
            .into_connection_info()?
            .set_tcp_settings(without_delay())
            .set_redis_settings(redis))
    }

    /// Without a password nobody authenticates, whoever is named: that is how ToolHive's client
    /// takes it.
    fn credentials(&self) -> Option<(Option<&str>, &str)> {
        let username = self.username.as_deref().filter(|name| !name.is_empty());
        (!self.password.0.is_empty()).then_some((username, self.password.0.as_str()))
    }
}

/// Questions go out at once: those that wait for the answers to others would wait for nothing.
fn without_delay() -> TcpSettings {
    TcpSettings::default().set_nodelay(true)
}

fn address((host, port): &(String, u16), tls: Option<&Tls>) -> ConnectionAddr {
    match tls {
        None => ConnectionAddr::Tcp(host.clone(), *port),
        Some(tls) => ConnectionAddr::TcpTls {
            host: host.clone(),
            port: *port,
            insecure: tls.insecure,
            tls_params: None,
        },
    }
}

fn mode(tls: &Tls) -> TlsMode {
    if tls.insecure {
        TlsMode::Insecure
    } else {
        TlsMode::Secure
    }
}

fn certificates(tls: &Tls) -> TlsCertificates {
    TlsCertificates {
        client_tls: None,
        root_cert: tls.ca.clone(),
    }
}
