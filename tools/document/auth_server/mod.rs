//! ToolHive's embedded auth server, as its configuration (a `RunConfig`) has it: where its sessions
//! are, and which providers it sends users to. Read with ToolHive's eyes, but not silently: every
//! problem is found at once, and every key that ToolHive would drop is named.

mod keys;
mod ours;
mod read;
mod source;

pub use keys::{twice as keys_given_twice, unknown as unknown_keys};
pub use ours::{
    SIBLING, has_our_keys, has_sibling, is_config_map, is_our_config_map, is_ours, is_run_config,
    is_vmcp_config_map,
};
pub use read::{read, read_names};
pub(crate) use source::find_for;
pub use source::{Found, NotFound, by_toolhive, find};

use std::time::Duration;

use upstream_inject::config::Path;

/// What is known of an auth server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunConfig {
    /// What its tokens have in `iss`.
    pub issuer: String,
    /// What they may have in `aud`; none: anything.
    pub allowed_audiences: Vec<String>,
    /// The providers, in the order written.
    pub upstreams: Vec<Upstream>,
    /// Where it keeps sessions.
    pub storage: Storage,
}

/// What of an auth server counts where its sessions come from somewhere else.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Names {
    /// What its tokens have in `iss`, if that is said.
    pub issuer: Option<String>,
    /// What they may have in `aud`; none: anything.
    pub allowed_audiences: Vec<String>,
    /// The providers' names, in the order written.
    pub upstreams: Vec<String>,
}

/// A provider.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Upstream {
    /// Its name; `default` without one.
    pub name: String,
    /// Where it stands.
    pub at: Path,
    /// What it is.
    pub kind: Kind,
    /// The scopes that are asked for.
    pub scopes: Vec<String>,
    /// Where its answers have what.
    pub mapping: Option<Mapping>,
}

/// How a provider is reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// By OpenID Connect Discovery.
    Oidc {
        /// Its issuer.
        issuer_url: String,
        /// The client there.
        client: Client,
        /// The claim that says whose an ID token is.
        subject_claim: String,
        /// Whether endpoints without TLS are allowed.
        insecure: bool,
    },
    /// At endpoints that are configured.
    OAuth2 {
        /// The token endpoint.
        token_endpoint: String,
        /// The client there.
        client: Client,
    },
    /// As a client that the auth server registers itself.
    Registered {
        /// Where it found out how; empty if it did not have to.
        discovery_url: String,
        /// Where it registered, if that is configured.
        registration_endpoint: String,
        /// The redirect URI that it registered.
        redirect_uri: String,
    },
}

/// A client, its secret by reference.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Client {
    /// Its id.
    pub id: String,
    /// Where its secret is.
    pub secret: Option<SecretRef>,
}

/// Where a secret is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SecretRef {
    /// In a file, and where that is said.
    File(String, Path),
    /// In an environment variable, and where that is said.
    Env(String, Path),
}

/// Steps to values in an answer of a dialect; no steps: its usual place.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Mapping {
    /// To the access token.
    pub access_token: Vec<String>,
    /// To the refresh token.
    pub refresh_token: Vec<String>,
    /// To the lifetime.
    pub expires_in: Vec<String>,
}

/// Where sessions are kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Storage {
    /// Inside the auth server, where nobody else can read them. Where that is said, or would be.
    Memory(Path),
    /// In Redis or Valkey.
    Redis(Box<Redis>),
}

/// A store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Redis {
    /// Which servers.
    pub topology: Topology,
    /// The environment variable of the user's name.
    pub username_env: Option<SecretRef>,
    /// The environment variable of the password; `None` without `acl_user_config`, which ToolHive
    /// itself refuses.
    pub password_env: Option<SecretRef>,
    /// What keys begin with.
    pub key_prefix: String,
    /// How long an attempt to connect may take.
    pub dial_timeout: Duration,
    /// How long an answer may take.
    pub read_timeout: Duration,
    /// TLS towards it.
    pub tls: Option<Tls>,
}

/// Which servers there are; addresses as host and port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Topology {
    /// One.
    Standalone((String, u16)),
    /// A cluster, found through this node.
    Cluster((String, u16)),
    /// A primary that Sentinels know.
    Sentinel {
        /// Its name.
        master: String,
        /// Where the Sentinels are.
        sentinels: Vec<(String, u16)>,
        /// TLS towards them.
        tls: Option<Tls>,
        /// The database.
        db: u32,
    },
}

/// TLS towards a server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tls {
    /// The file with the authorities, and where that is said.
    pub ca_cert_file: Option<(String, Path)>,
    /// Whether any certificate will do.
    pub insecure_skip_verify: bool,
}

/// A configuration that can be used, though somebody should look at it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Warning {
    /// Where.
    pub path: Path,
    /// What.
    pub text: String,
}
