//! The filter's own configuration in Envoy's: by the filter's rules, with its places in the file.

use super::part::Part;
use crate::check::{self, AnyVariable, Kind};
use crate::codes;
use crate::keys::{self, Of};
use crate::report::{Finding, Severity};
use document::configuration::Configuration;
use document::{Document, get, get_text, items};
use std::collections::{BTreeMap, BTreeSet};
use upstream_inject::config::path::Step;
use upstream_inject::config::{Node, Path};
use upstream_inject::host::interface;

/// What one of our filters is configured with.
pub(super) struct Plugin {
    pub(super) document: Document,
}

/// Reads the configuration of a `Wasm` filter's settings; findings say what is wrong with it.
pub(super) fn read(
    settings: &Part<'_>,
    document: &Document,
    source: &str,
    findings: &mut Vec<Finding>,
) -> Option<Plugin> {
    let own = ["pluginConfig", "config"]
        .iter()
        .filter_map(|key| settings.get(key))
        .find(|own| own.get("outgoingAuth").is_some());
    if let Some(own) = own {
        let plugin = document.inner(&own.path)?;
        findings.extend(judged(&plugin));
        return Some(Plugin { document: plugin });
    }
    let config = settings.get("config")?;
    let Some(configuration) = config.get("configuration") else {
        let text = "the filter has no configuration: it refuses to load";
        let finding = error(document, &config.path, text);
        findings.push(finding.coded(&codes::ENVOY_CONFIG));
        return None;
    };
    let value = configuration.get("value")?;
    let plugin = match value.node {
        Node::String(_) => match document.embedded(source, &value.path) {
            Ok(plugin) => plugin,
            Err(error) => {
                let at = error.at.unwrap_or_else(|| document.position(&value.path));
                let text = format!("the filter's configuration: {}", error.text);
                let finding = Finding::about_value(Severity::Error, at, &value.path, text);
                findings.push(finding.coded(&codes::SYNTAX));
                return None;
            }
        },
        _ => document.inner(&value.path)?,
    };
    findings.extend(judged(&plugin));
    on_variables(&config, &plugin.root, document, findings);
    on_failure(&config, document, findings);
    on_capabilities(&config, document, findings);
    Some(Plugin { document: plugin })
}

/// What the filter's own rules, and advice, say of its configuration.
fn judged(plugin: &Document) -> impl Iterator<Item = Finding> {
    let configuration = Configuration::of_one_file(plugin.clone());
    check::findings_of(&configuration, Kind::Plugin, &AnyVariable)
        .into_iter()
        .map(|(_, finding)| finding)
}

/// The VM sees the variables that are handed to it, and no others.
fn on_variables(
    config: &Part<'_>,
    plugin: &Node,
    document: &Document,
    findings: &mut Vec<Finding>,
) {
    let mut wanted = BTreeSet::new();
    named_variables(plugin, &mut wanted);
    let handed = config.at(&["vm_config", "environment_variables"]);
    let mut known: BTreeSet<&str> = BTreeSet::new();
    if let Some(handed) = &handed {
        for key in handed.list("host_env_keys") {
            if let Node::String(name) = key.node {
                known.insert(name);
            }
        }
        known.extend(
            handed
                .get("key_values")
                .map(|values| values.entries())
                .unwrap_or_default()
                .into_iter()
                .map(|(name, _)| name),
        );
    }
    let at = handed.as_ref().unwrap_or(config);
    for name in wanted.iter().filter(|name| !known.contains(name.as_str())) {
        let text = format!(
            "the configuration takes {} from the environment, and environment_variables does not hand \
             it to the VM: add it to host_env_keys",
            serde_json::Value::from(name.as_str())
        );
        findings.push(error(document, &at.path, text).coded(&codes::VARIABLE));
    }
}

fn named_variables(node: &Node, names: &mut BTreeSet<String>) {
    for (key, value) in document::entries(node) {
        match value {
            Node::String(name) if key.ends_with("Env") && !name.is_empty() => {
                names.insert(name.clone());
            }
            _ => named_variables(value, names),
        }
    }
    for item in items(node) {
        named_variables(item, names);
    }
}

fn on_failure(config: &Part<'_>, document: &Document, findings: &mut Vec<Finding>) {
    let is_open = config.text("failure_policy") == Some("FAIL_OPEN") || config.is_on("fail_open");
    if is_open {
        let key = match config.is_on("fail_open") {
            true => "fail_open",
            false => "failure_policy",
        };
        let at = config.path_of(key);
        let text = "while the filter cannot run, requests go on as they are; write FAIL_RELOAD";
        findings.push(error(document, &at, text).coded(&codes::ENVOY_FAIL_OPEN));
    }
}

/// Without one of these the filter loads, and is not asked: Envoy says nothing.
const ASKS: [&str; 2] = ["proxy_on_request_headers", "proxy_on_configure"];

/// What the filter can do without: other workers' tokens, its memory of whom a request began with, the
/// outcome in access logs, the time of day from another call, what a crash leaves behind.
const SPARED: [&str; 7] = [
    "clock_time_get",
    "fd_write",
    "proc_exit",
    "proxy_call_foreign_function",
    "proxy_get_shared_data",
    "proxy_set_property",
    "proxy_set_shared_data",
];

/// A list that is not empty must be whole.
fn on_capabilities(config: &Part<'_>, document: &Document, findings: &mut Vec<Finding>) {
    let restrictions = [
        config.get("capability_restriction_config"),
        config.at(&["vm_config", "capability_restriction_config"]),
    ];
    for restriction in restrictions.into_iter().flatten() {
        let Some(list) = restriction.get("allowed_capabilities") else {
            continue;
        };
        let allowed: BTreeSet<&str> = list.entries().into_iter().map(|(name, _)| name).collect();
        if allowed.is_empty() {
            continue; // no restriction
        }
        let lacks = |name: &&str| !allowed.contains(name);
        let missing: Vec<&str> = interface::capabilities()
            .into_iter()
            .filter(lacks)
            .collect();
        let (spared, needed): (Vec<&str>, Vec<&str>) =
            missing.into_iter().partition(|name| SPARED.contains(name));
        if let Some(name) = ASKS.iter().find(|name| needed.contains(*name)) {
            let text = format!(
                "without {name} in this list Envoy does not ask the filter: requests go by it, or hang; \
                 list all that `upstream-inject render` lists"
            );
            let finding = error(document, &list.path, text);
            findings.push(finding.coded(&codes::ENVOY_FAIL_OPEN));
        } else if !needed.is_empty() {
            let text = format!(
                "the filter cannot work without {}: add it",
                needed.join(", ")
            );
            let finding = error(document, &list.path, text);
            findings.push(finding.coded(&codes::ENVOY_CONFIG));
        }
        if !spared.is_empty() {
            let text = format!("the filter does less without {}: add it", spared.join(", "));
            let at = document.position(&list.path);
            let finding = Finding::about_value(Severity::Warning, at, &list.path, text);
            findings.push(finding.coded(&codes::ENVOY_CONFIG));
        }
    }
}

fn error(document: &Document, path: &Path, text: impl Into<String>) -> Finding {
    Finding::about_value(Severity::Error, document.position(path), path, text)
}

/// Where credentials usually go, and where the client's token is.
pub(super) const AUTHORIZATION: &str = "authorization";

/// What the rules on Envoy's part need of the filter's.
#[derive(Default)]
pub(super) struct Known {
    /// The headers that strategies set, but for `authorization`.
    pub(super) headers: BTreeSet<String>,
    /// By the backend (`None` is the default), the headers that its strategy sets.
    sets: BTreeMap<Option<String>, BTreeSet<String>>,
    /// The listed backends.
    pub(super) backends: BTreeSet<String>,
    pub(super) has_default: bool,
    /// Whether backends are named after clusters.
    pub(super) by_cluster: bool,
    /// The clusters of token endpoints, each with the longest time that a backend waits.
    pub(super) endpoints: BTreeSet<String>,
    /// By the backend, how long the filter may wait for its token, in milliseconds.
    pub(super) waits: Vec<(String, f64)>,
    /// Whether users' tokens lie in metadata.
    pub(super) in_metadata: bool,
    /// Whether a strategy needs the client's own token.
    pub(super) needs_token: bool,
    /// Whether that is looked for in the filter state.
    pub(super) from_filter_state: bool,
}

impl Known {
    /// Of all the plugins that were found.
    pub(super) fn of(plugins: &[Plugin]) -> Self {
        let mut known = Self {
            by_cluster: true,
            ..Self::default()
        };
        for plugin in plugins {
            known.add(&plugin.document.root);
        }
        known
    }

    /// Whether a strategy of the backends to which `clusters` lead sets this header: `true` is for
    /// certain, `false` for perhaps.
    pub(super) fn sets(&self, header: &str, clusters: &[String]) -> Option<bool> {
        if self.sets.is_empty() {
            return Some(false); // its configuration is elsewhere
        }
        let is_known = self.by_cluster && !clusters.is_empty();
        let of = |name: &String| {
            let own = self.sets.get(&Some(name.clone()));
            own.or_else(|| self.sets.get(&None))
        };
        let sets: Vec<&BTreeSet<String>> = match is_known {
            true => clusters.iter().filter_map(of).collect(),
            false => self.sets.values().collect(),
        };
        let has = |set: &&BTreeSet<String>| set.contains(header);
        let is_set = sets.iter().any(has);
        is_set.then(|| is_known || sets.iter().all(has))
    }

    fn add(&mut self, root: &Node) {
        self.by_cluster &= get_text(root, "backendFrom").is_none_or(|from| from == "cluster_name");
        let outgoing = get(root, "outgoingAuth");
        self.has_default |= outgoing.is_some_and(|outgoing| get(outgoing, "default").is_some());
        let identity = get(root, "identity");
        let by_exchange =
            identity.and_then(|identity| get_text(identity, "source")) == Some("exchange");
        let call = identity.and_then(|identity| get(identity, "exchange"));
        let identity_wait = match call.filter(|_| by_exchange) {
            Some(call) => {
                self.endpoints
                    .extend(cluster_of(call, "tokenUrl", "cluster"));
                timeout(call)
            }
            None => 0.0,
        };
        let token_from = identity.and_then(|identity| get_text(identity, "tokenFrom"));
        self.from_filter_state |= by_exchange || token_from == Some("filter_state");
        self.in_metadata |= !by_exchange && get(root, "authServer").is_some();
        for (path, strategy) in check::strategies(root) {
            let backend = match path.steps() {
                [_, _, Step::Key(name)] => Some(name.clone()),
                _ => None,
            };
            let kind = get_text(strategy, "type").unwrap_or_default();
            let set = headers_of(strategy, kind);
            let others = set.iter().filter(|name| *name != AUTHORIZATION);
            self.headers.extend(others.cloned());
            self.sets.entry(backend.clone()).or_default().extend(set);
            let names_provider = check::providers(strategy).next().is_some();
            let is_exchange = kind == "token_exchange" || kind == "obo";
            self.needs_token |= match names_provider {
                true => by_exchange,
                false => is_exchange,
            };
            let mut wait = 0.0;
            for (block, url, (cluster, _)) in keys::token_endpoints(Of::Strategy) {
                if let Some(settings) = get(strategy, block)
                    && get(settings, url).is_some()
                {
                    self.endpoints.extend(cluster_of(settings, url, cluster));
                    wait += timeout(settings);
                }
            }
            if names_provider {
                wait += identity_wait;
            }
            if let Some(name) = backend {
                self.backends.insert(name.clone());
                if wait > 0.0 {
                    self.waits.push((name, wait));
                }
            }
        }
    }
}

/// The headers that a strategy sets: those that it names, or else the usual one.
fn headers_of(strategy: &Node, kind: &str) -> BTreeSet<String> {
    let named = keys::headers()
        .filter_map(|(block, key)| get_text(get(strategy, block)?, key))
        .filter(|name| !name.is_empty())
        .map(str::to_ascii_lowercase);
    let mut named: BTreeSet<String> = named.collect();
    if named.is_empty() && kind != "unauthenticated" {
        named.insert(AUTHORIZATION.to_owned());
    }
    named
}

fn timeout(block: &Node) -> f64 {
    get_text(block, "timeout")
        .and_then(milliseconds)
        .unwrap_or(5000.0)
}

fn cluster_of(block: &Node, url: &str, cluster: &str) -> Option<String> {
    let named = get_text(block, cluster).filter(|name| !name.is_empty());
    named.map(str::to_owned).or_else(|| {
        let rest = get_text(block, url)?.split_once("://")?.1;
        let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
        rest.get(..end).map(str::to_owned)
    })
}

/// A duration as Envoy and we write it: `5s`, `0.25s`, `250ms`, `1m`.
pub(super) fn milliseconds(text: &str) -> Option<f64> {
    let (number, unit) = match text {
        _ if text.ends_with("ms") => (text.strip_suffix("ms")?, 1.0),
        _ if text.ends_with('s') => (text.strip_suffix('s')?, 1000.0),
        _ if text.ends_with('m') => (text.strip_suffix('m')?, 60_000.0),
        _ if text.ends_with('h') => (text.strip_suffix('h')?, 3_600_000.0),
        _ => (text, 1000.0),
    };
    let number: f64 = number.trim().parse().ok()?;
    number.is_finite().then_some(number * unit)
}
