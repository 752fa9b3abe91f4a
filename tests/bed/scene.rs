//! The neighbours that the configurations in `envoy/` expect, on free ports in place of the
//! documented ones: what the demo shows, and what the tests of those files use.

use std::iter;
use std::net::SocketAddr;

use crate::identity_token::AUDIENCE;
use crate::{Client, Echo, EmbeddedAs, Envoy, EnvoyOptions, Sts, artifact, repository};

/// The backends of the configurations in `envoy/`, each with its documented port; not every file has
/// them all.
pub const BACKENDS: [(&str, u16); 6] = [
    ("github-tools", 10301),
    ("atlassian-tools", 10302),
    ("corporate-api", 10303),
    ("internal-api", 10304),
    ("graph-api", 10305),
    ("partner-app", 10306),
];

/// The documented ports of the others: listener, admin interface, the embedded AS's `ext_authz` and
/// HTTP, STS.
const LISTENER: u16 = 10000;
const ADMIN: u16 = 9901;
const EXT_AUTHZ: u16 = 10100;
const HTTP: u16 = 10101;
const STS: u16 = 10200;

/// The neighbours of an Envoy that runs a configuration of `envoy/`.
pub struct Neighbours {
    /// The embedded AS.
    pub embedded_as: EmbeddedAs,
    /// The corporate STS, and whatever else has a token endpoint.
    pub sts: Sts,
    /// The backends, in the order of [`BACKENDS`].
    pub backends: Vec<Echo>,
}

impl Neighbours {
    /// Starts them all.
    ///
    /// # Errors
    /// A port cannot be bound.
    pub async fn start() -> std::io::Result<Self> {
        // For the gateway as a whole, and for each backend behind it.
        let audience = iter::once(AUDIENCE.to_owned())
            .chain(BACKENDS.map(|(name, _)| format!("{AUDIENCE}/{name}/mcp")))
            .collect();
        Self::with(EmbeddedAs::issuing_for(audience).await?).await
    }

    /// Starts them around this embedded AS.
    ///
    /// # Errors
    /// A port cannot be bound.
    pub async fn with(embedded_as: EmbeddedAs) -> std::io::Result<Self> {
        let mut backends = Vec::new();
        for (name, _) in BACKENDS {
            backends.push(Echo::start(name).await?);
        }
        Ok(Self {
            embedded_as,
            sts: Sts::start().await?,
            backends,
        })
    }

    /// A configuration of `envoy/` with the documented ports replaced by those of the neighbours,
    /// Envoy's own ports left for it to choose, and the artifact where it is.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn configuration(&self, file: &str) -> Result<String, String> {
        let path = repository().join(file);
        let text = std::fs::read_to_string(&path)
            .map_err(|error| format!("{}: {error}", path.display()))?;
        let mut ports = vec![
            (LISTENER, 0),
            (ADMIN, 0),
            (EXT_AUTHZ, self.embedded_as.grpc_address().port()),
            (HTTP, self.embedded_as.http_address().port()),
            (STS, self.sts.address().port()),
        ];
        for ((_, documented), backend) in BACKENDS.iter().zip(&self.backends) {
            ports.push((*documented, backend.address().port()));
        }
        let artifact = artifact().display().to_string();
        Ok(replace_numbers(&text, &ports).replace("dist/upstream_inject.wasm", &artifact))
    }
}

/// An Envoy with one of the configurations in `envoy/`, and its neighbours.
pub struct Scene {
    /// The Envoy.
    pub envoy: Envoy,
    /// What it talks to.
    pub neighbours: Neighbours,
    address: SocketAddr,
}

impl Scene {
    /// Starts an Envoy with a configuration of `envoy/`, as it is but for the ports. `secrets` are
    /// the values of `STS_CLIENT_SECRET` and `INTERNAL_API_KEY`.
    ///
    /// # Errors
    /// What did not start, and why.
    pub async fn start(
        file: &str,
        neighbours: Neighbours,
        secrets: [&str; 2],
        component_log_level: &str,
    ) -> Result<Self, String> {
        let name = file.rsplit('/').next().unwrap_or(file);
        let mut options = EnvoyOptions::new(name, neighbours.configuration(file)?);
        options.component_log_level = component_log_level.to_owned();
        options.environment = ["STS_CLIENT_SECRET", "INTERNAL_API_KEY"]
            .into_iter()
            .zip(secrets)
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect();
        Self::with(options, neighbours).await
    }

    /// Starts an Envoy with a configuration of the neighbours' that was altered.
    ///
    /// # Errors
    /// Envoy did not start, and why.
    pub async fn with(options: EnvoyOptions, neighbours: Neighbours) -> Result<Self, String> {
        let envoy = Envoy::start(options).await?;
        let address = envoy.listener("main").await;
        Ok(Self {
            envoy,
            neighbours,
            address,
        })
    }

    /// Where clients connect.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// A client that speaks HTTP/1.1.
    #[must_use]
    pub fn client(&self) -> Client {
        Client::http1(self.address)
    }

    /// A backend by name.
    #[must_use]
    pub fn backend(&self, name: &str) -> &Echo {
        let position = BACKENDS.iter().position(|(backend, _)| *backend == name);
        &self.neighbours.backends[position.expect("a backend of the configurations in envoy/")]
    }
}

/// Replaces numbers that stand alone, such as the port in `127.0.0.1:10200/token`.
fn replace_numbers(text: &str, pairs: &[(u16, u16)]) -> String {
    let mut replaced = String::with_capacity(text.len());
    let mut digits = String::new();
    // The line feed at the end flushes a number that the text ends with; it is taken off again.
    for character in text.chars().chain(['\n']) {
        if character.is_ascii_digit() {
            digits.push(character);
            continue;
        }
        let found = pairs.iter().find(|(from, _)| from.to_string() == digits);
        replaced.push_str(&found.map_or_else(|| digits.clone(), |(_, to)| to.to_string()));
        digits.clear();
        replaced.push(character);
    }
    replaced.pop();
    replaced
}

#[cfg(test)]
mod tests {
    use super::replace_numbers;

    #[test]
    fn only_whole_numbers_are_replaced() {
        let text = "port_value: 10200} http://localhost:10200/token 102001 x10200 1020 10200";
        let expected = "port_value: 7} http://localhost:7/token 102001 x7 1020 7";
        assert_eq!(replace_numbers(text, &[(10200, 7)]), expected);
    }
}
