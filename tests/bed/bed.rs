//! Everything at once: an Envoy with the filter, and all that it talks to.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;

use serde_json::{Value, json};

use crate::bootstrap::{self, HTTP_OPTIONS, PluginConfig};
use crate::listener_file::ListenerFile;
use crate::{Client, Echo, EmbeddedAs, Envoy, EnvoyOptions, Sts};

/// Where the filter runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Placement {
    /// In the router, as its upstream filter: once for all clusters.
    Router,
    /// In each backend's cluster, before the codec.
    Clusters,
    /// In the connection manager's chain, last before the router.
    Downstream,
    /// Nowhere: for what Envoy does by itself.
    Nowhere,
}

impl Placement {
    /// Wherever the filter can be.
    pub const ALL: [Self; 3] = [Self::Router, Self::Clusters, Self::Downstream];
}

/// A running Envoy with the filter, an embedded AS, an STS and echo backends.
pub struct Bed {
    /// The Envoy.
    pub envoy: Envoy,
    /// The embedded AS.
    pub embedded_as: EmbeddedAs,
    /// The STS; its cluster is called `sts`.
    pub sts: Sts,
    other_sts: BTreeMap<String, Sts>,
    backends: BTreeMap<String, Echo>,
    address: SocketAddr,
    listener_file: Option<ListenerFile>,
    plan: Plan,
}

impl Bed {
    /// A bed with this plugin configuration; add backends, then [`Plan::start`] it.
    #[must_use]
    pub fn with(name: &str, plugin: PluginConfig) -> Plan {
        Plan {
            name: name.to_owned(),
            plugin,
            placement: Placement::Router,
            door: true,
            concurrency: 1,
            reloadable: false,
            options: |_| {},
            artifact: None,
            environment: Vec::new(),
            backends: Vec::new(),
            other_sts: Vec::new(),
            routes: Vec::new(),
            filters: Vec::new(),
            clusters: Vec::new(),
            manager: json!({}),
            provider: json!({}),
            plugin_options: json!({}),
            without_the_filter: false,
            filter_at_sts: false,
            retries_at_sts: false,
            router: true,
            also_downstream: false,
            identified_only: false,
        }
    }

    /// Where clients connect.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// A client that speaks HTTP/1.1.
    #[must_use]
    pub fn http1(&self) -> Client {
        Client::http1(self.address)
    }

    /// A client that speaks HTTP/2.
    #[must_use]
    pub fn http2(&self) -> Client {
        Client::http2(self.address)
    }

    /// A backend by its cluster's name.
    #[must_use]
    pub fn backend(&self, name: &str) -> &Echo {
        self.backends
            .get(name)
            .unwrap_or_else(|| panic!("the bed has no backend {name}"))
    }

    /// An STS that was added under its cluster's name.
    #[must_use]
    pub fn sts_named(&self, name: &str) -> &Sts {
        self.other_sts
            .get(name)
            .unwrap_or_else(|| panic!("the bed has no STS {name}"))
    }

    /// Logs a user in whose session has these upstream tokens, and returns the TH-JWT.
    #[must_use]
    pub fn login(&self, user: &str, upstream_tokens: Value) -> String {
        self.embedded_as
            .login(user, json!({"upstream_tokens": upstream_tokens}))
    }

    /// Gives the running Envoy another plugin configuration and other environment variables of the
    /// filter, as an operator does who changes the listener. False if Envoy refused them.
    ///
    /// # Panics
    /// The bed is not [`Plan::reloadable`], or Envoy does not look at the file.
    pub async fn reconfigure(&self, plugin: PluginConfig, environment: &[(&str, &str)]) -> bool {
        let mut plan = self.plan.clone();
        plan.plugin = plugin;
        plan.environment = environment
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect();
        let file = self.listener_file.as_ref().expect("a reloadable bed");
        let listener = plan.listener(&self.embedded_as.issuer().jwks());
        file.replace(&self.envoy, &listener).await
    }

    /// Value of the filter's counter for a backend's outcome so far.
    pub async fn outcome(&self, backend: &str, outcome: &str) -> u64 {
        self.envoy.stat(&outcome_name(backend, outcome)).await
    }

    /// Waits until the counter for a backend's outcome has this value.
    pub async fn expect_outcome(&self, backend: &str, outcome: &str, count: u64) {
        self.envoy
            .expect_stat(&outcome_name(backend, outcome), count)
            .await;
    }

    /// Waits for the access-log line of the request with this path.
    pub async fn access_log_of(&self, path: &str) -> Value {
        crate::eventually(&format!("the access log of {path}"), || async {
            self.envoy
                .access_log()
                .into_iter()
                .find(|line| line["path"] == path)
        })
        .await
    }
}

fn outcome_name(backend: &str, outcome: &str) -> String {
    format!("wasmcustom.upstream_inject.backend.{backend}.{outcome}")
}

/// A bed that is not started yet.
#[derive(Clone)]
pub struct Plan {
    name: String,
    plugin: PluginConfig,
    placement: Placement,
    door: bool,
    concurrency: u32,
    reloadable: bool,
    options: fn(&mut EnvoyOptions),
    artifact: Option<PathBuf>,
    environment: Vec<(String, String)>,
    backends: Vec<(String, bool)>,
    other_sts: Vec<String>,
    routes: Vec<Value>,
    filters: Vec<Value>,
    clusters: Vec<Value>,
    manager: Value,
    provider: Value,
    plugin_options: Value,
    without_the_filter: bool,
    filter_at_sts: bool,
    retries_at_sts: bool,
    router: bool,
    also_downstream: bool,
    identified_only: bool,
}

impl Plan {
    /// Adds an echo backend, its cluster (HTTP/1.1) and its route `/<name>/`.
    #[must_use]
    pub fn backend(mut self, name: &str) -> Self {
        self.backends.push((name.to_owned(), false));
        self
    }

    /// The same with HTTP/2 between Envoy and the backend.
    #[must_use]
    pub fn http2_backend(mut self, name: &str) -> Self {
        self.backends.push((name.to_owned(), true));
        self
    }

    /// Adds an STS of its own and its cluster, for a test that makes it misbehave.
    #[must_use]
    pub fn sts(mut self, name: &str) -> Self {
        self.other_sts.push(name.to_owned());
        self
    }

    /// Adds an Envoy route; it is asked before the backends' own.
    #[must_use]
    pub fn route(mut self, route: Value) -> Self {
        self.routes.push(route);
        self
    }

    /// Adds an Envoy HTTP filter before this one.
    #[must_use]
    pub fn filter(mut self, filter: Value) -> Self {
        self.filters.push(filter);
        self
    }

    /// Puts the filter before the router as well, as an old installation that was left there.
    #[must_use]
    pub fn also_downstream(mut self) -> Self {
        self.also_downstream = true;
        self
    }

    /// Leaves the router out: the last filter that was added ends the chain itself.
    #[must_use]
    pub fn ending_with_its_filters(mut self) -> Self {
        self.router = false;
        self
    }

    /// Adds a cluster as it is.
    #[must_use]
    pub fn cluster(mut self, cluster: Value) -> Self {
        self.clusters.push(cluster);
        self
    }

    /// Where the filter runs; in the router, unless told otherwise.
    #[must_use]
    pub fn placed(mut self, placement: Placement) -> Self {
        self.placement = placement;
        self
    }

    /// Leaves the TH-JWT on the request as it comes to the filter, which must be safe by itself.
    #[must_use]
    pub fn without_the_door(mut self) -> Self {
        self.door = false;
        self
    }

    /// Changes settings of the connection manager, its route configuration included.
    #[must_use]
    pub fn manager(mut self, change: &Value) -> Self {
        bootstrap::merge(&mut self.manager, change);
        self
    }

    /// Changes settings of `jwt_authn`'s provider.
    #[must_use]
    pub fn provider(mut self, change: &Value) -> Self {
        bootstrap::merge(&mut self.provider, change);
        self
    }

    /// Lets `jwt_authn` refuse whoever has no TH-JWT, as the shipped configurations do.
    #[must_use]
    pub fn identified_only(mut self) -> Self {
        self.identified_only = true;
        self
    }

    /// Changes options of the plugin in Envoy, beside its configuration.
    #[must_use]
    pub fn plugin_options(mut self, change: &Value) -> Self {
        bootstrap::merge(&mut self.plugin_options, change);
        self
    }

    /// Adds the listener `bare`: the same identity and routes, the door included, but not the filter.
    #[must_use]
    pub fn listener_without_the_filter(mut self) -> Self {
        self.without_the_filter = true;
        self
    }

    /// Puts the filter into the STSs' clusters as well, if it is in clusters.
    #[must_use]
    pub fn filter_at_sts(mut self) -> Self {
        self.filter_at_sts = true;
        self
    }

    /// Gives the STS's cluster a retry policy of its own, which Envoy has since 1.40.
    #[must_use]
    pub fn retries_at_sts(mut self) -> Self {
        self.retries_at_sts = true;
        self
    }

    /// How many workers Envoy has; one, unless told otherwise.
    #[must_use]
    pub fn concurrency(mut self, workers: u32) -> Self {
        self.concurrency = workers;
        self
    }

    /// Lets Envoy take its listener from a file, for [`Bed::reconfigure`].
    #[must_use]
    pub fn reloadable(mut self) -> Self {
        self.reloadable = true;
        self
    }

    /// Runs another wasm file than the artifact.
    #[must_use]
    pub fn artifact(mut self, path: PathBuf) -> Self {
        self.artifact = Some(path);
        self
    }

    /// Sets an environment variable of the filter.
    #[must_use]
    pub fn environment(mut self, name: &str, value: &str) -> Self {
        self.environment.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Changes how Envoy is started.
    #[must_use]
    pub fn options(mut self, change: fn(&mut EnvoyOptions)) -> Self {
        self.options = change;
        self
    }

    /// Starts everything.
    ///
    /// # Panics
    /// When something does not start; Envoy's log is in the message.
    pub async fn start(self) -> Bed {
        let embedded_as = EmbeddedAs::start()
            .await
            .expect("a port for the embedded AS");
        let sts = Sts::start().await.expect("a port for the STS");
        let mut backends = BTreeMap::new();
        for (name, _) in &self.backends {
            backends.insert(
                name.clone(),
                Echo::start(name).await.expect("a port for a backend"),
            );
        }
        let mut other_sts = BTreeMap::new();
        for name in &self.other_sts {
            other_sts.insert(name.clone(), Sts::start().await.expect("a port for an STS"));
        }
        let mut every_sts = vec![("sts", sts.address())];
        every_sts.extend(other_sts.iter().map(|(name, sts)| (&**name, sts.address())));
        let clusters = self.clusters(&embedded_as, &every_sts, &backends);
        let jwks = embedded_as.issuer().jwks();
        let listener = self.listener(&jwks);
        let mut listeners = vec![listener.clone()];
        if self.without_the_filter {
            listeners.push(self.bare_listener(&jwks));
        }
        let (config, listener_file) = if self.reloadable {
            let file = ListenerFile::write(&self.name, &listener).expect("a writable directory");
            (file.bootstrap(&clusters), Some(file))
        } else {
            (bootstrap::bootstrap_of(&listeners, &clusters), None)
        };
        let mut options = EnvoyOptions::new(&self.name, config.to_string());
        options.concurrency = self.concurrency;
        (self.options)(&mut options);
        let envoy = Envoy::start(options)
            .await
            .unwrap_or_else(|error| panic!("{error}"));
        let address = envoy.listener("main").await;
        Bed {
            envoy,
            embedded_as,
            sts,
            other_sts,
            backends,
            address,
            listener_file,
            plan: self,
        }
    }

    fn this_filter(&self) -> Value {
        let mut filter = bootstrap::wasm_filter(&self.plugin, &self.environment);
        if let Some(artifact) = &self.artifact {
            let code = &mut filter["typed_config"]["config"]["vm_config"]["code"];
            code["local"]["filename"] = json!(artifact);
        }
        bootstrap::merge(&mut filter["typed_config"]["config"], &self.plugin_options);
        filter
    }

    /// What the client may have sent and no backend may see.
    fn at_the_door(&self) -> Vec<String> {
        if self.door && self.placement != Placement::Nowhere {
            self.plugin.headers_at_the_door()
        } else {
            Vec::new()
        }
    }

    /// Who it is, and whatever else is to come before the filter.
    fn first_filters(&self, jwks: &Value) -> Vec<Value> {
        let mut jwt_authn = bootstrap::jwt_authn(jwks);
        let provider = &mut jwt_authn["typed_config"]["providers"]["embedded_as"];
        bootstrap::merge(provider, &self.provider);
        if self.identified_only {
            jwt_authn["typed_config"]["rules"][0]["requires"] =
                json!({"provider_name": "embedded_as"});
        }
        let mut filters = vec![
            jwt_authn,
            bootstrap::ext_authz(),
            bootstrap::keep_identity_token(),
        ];
        filters.extend(self.filters.iter().cloned());
        filters
    }

    fn bare_listener(&self, jwks: &Value) -> Value {
        let bare = Self {
            placement: Placement::Clusters,
            ..self.clone()
        };
        let mut listener = bare.listener(jwks);
        listener["name"] = json!("bare");
        listener
    }

    fn listener(&self, jwks: &Value) -> Value {
        let mut filters = self.first_filters(jwks);
        if self.also_downstream {
            filters.push(self.this_filter());
        }
        let at_the_door = self.at_the_door();
        match self.placement {
            _ if !self.router => {}
            Placement::Router => filters.push(bootstrap::router_with(&[self.this_filter()])),
            Placement::Clusters | Placement::Nowhere => filters.push(bootstrap::router()),
            Placement::Downstream => {
                if !at_the_door.is_empty() {
                    filters.push(bootstrap::remove_headers(&at_the_door));
                }
                filters.extend([self.this_filter(), bootstrap::router()]);
            }
        }
        let mut routes = self.routes.clone();
        routes.extend(
            self.backends
                .iter()
                .map(|(name, _)| bootstrap::route_to(name)),
        );
        let mut listener = bootstrap::listener(&filters, &routes);
        let manager = bootstrap::manager_of(&mut listener);
        // The router takes them off after the filters before it, and before its own.
        if self.placement != Placement::Downstream && !at_the_door.is_empty() {
            manager["route_config"]["request_headers_to_remove"] = json!(at_the_door);
        }
        bootstrap::merge(manager, &self.manager);
        listener
    }

    fn clusters(
        &self,
        embedded_as: &EmbeddedAs,
        every_sts: &[(&str, SocketAddr)],
        backends: &BTreeMap<String, Echo>,
    ) -> Vec<Value> {
        let in_clusters = match self.placement {
            Placement::Clusters => vec![self.this_filter()],
            Placement::Router | Placement::Downstream | Placement::Nowhere => Vec::new(),
        };
        let mut clusters = self.clusters.clone();
        for (name, http2) in &self.backends {
            let address = backends[name].address();
            clusters.push(bootstrap::cluster(name, address, *http2, &in_clusters));
        }
        let grpc = embedded_as.grpc_address();
        clusters.push(bootstrap::cluster("embedded-as", grpc, true, &[]));
        for (name, address) in every_sts {
            let filters: &[Value] = if self.filter_at_sts {
                &in_clusters
            } else {
                &[]
            };
            let mut cluster = bootstrap::cluster(name, *address, false, filters);
            if self.retries_at_sts {
                let options = &mut cluster["typed_extension_protocol_options"];
                options[HTTP_OPTIONS]["retry_policy"] =
                    json!({"retry_on": "5xx", "num_retries": 1});
            }
            clusters.push(cluster);
        }
        clusters
    }
}
