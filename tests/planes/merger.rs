//! What `istiod` does with an `EnvoyFilter`, for the operations that are rendered: the patches of a
//! gateway, merged into its listener and its routes as Protocol Buffers are merged.

use bed::artifact;
use serde_json::{Value, json};

/// A gateway's configuration before and after patches: one listener, its routes inline.
pub struct Gateway {
    /// The HTTP connection manager, `typed_config` and all, routes in `route_config`.
    pub manager: Value,
    extensions: Vec<Value>,
}

impl Gateway {
    /// One without patches.
    pub fn new(manager: Value) -> Self {
        Self {
            manager,
            extensions: Vec::new(),
        }
    }

    /// Applies the patches in the order that `istiod` has: what changes filters comes before what adds
    /// them.
    pub fn apply(&mut self, envoy_filter: &Value) {
        let patches = envoy_filter["spec"]["configPatches"]
            .as_array()
            .expect("patches");
        for patch in patches {
            assert_eq!(
                patch["match"]["context"], "GATEWAY",
                "not for sidecars: {patch}"
            );
        }
        let (changes, additions): (Vec<&Value>, Vec<&Value>) = patches
            .iter()
            .partition(|patch| patch["applyTo"] != "HTTP_FILTER" || operation(patch) == "MERGE");
        for patch in changes.into_iter().chain(additions) {
            self.apply_one(patch);
        }
    }

    fn apply_one(&mut self, patch: &Value) {
        let value = patch["patch"]["value"].clone();
        let apply_to = patch["applyTo"].as_str().unwrap_or_default();
        match (apply_to, operation(patch)) {
            ("EXTENSION_CONFIG", "ADD") => self.extensions.push(value),
            ("ROUTE_CONFIGURATION", "MERGE") => {
                merge(&mut self.manager["typed_config"]["route_config"], value);
            }
            ("HTTP_ROUTE", "INSERT_FIRST") => {
                let hosts = &mut self.manager["typed_config"]["route_config"]["virtual_hosts"];
                for host in hosts.as_array_mut().expect("virtual hosts") {
                    host["routes"]
                        .as_array_mut()
                        .expect("routes")
                        .insert(0, value.clone());
                }
            }
            ("NETWORK_FILTER", "MERGE") => {
                assert_eq!(value["name"], self.manager["name"]);
                merge(&mut self.manager, value);
            }
            ("HTTP_FILTER", operation) => self.apply_to_filters(patch, operation, value),
            other => panic!("no such patch is known: {other:?}"),
        }
    }

    fn apply_to_filters(&mut self, patch: &Value, operation: &str, value: Value) {
        let filters = self.manager["typed_config"]["http_filters"]
            .as_array_mut()
            .expect("filters");
        if operation == "INSERT_FIRST" {
            filters.insert(0, value);
            return;
        }
        let wanted = patch
            .pointer("/match/listener/filterChain/filter/subFilter/name")
            .unwrap_or_else(|| panic!("which filter? {patch}"));
        // What is not there is not patched, without a word.
        let Some(at) = filters.iter().position(|filter| filter["name"] == *wanted) else {
            return;
        };
        match operation {
            "INSERT_BEFORE" => filters.insert(at, value),
            "REPLACE" => filters[at] = value,
            "MERGE" => merge(&mut filters[at], value),
            other => panic!("no such operation is known: {other}"),
        }
    }

    /// The manager as Envoy gets it in the end: what is to be discovered stands in its place, and code
    /// that the agent would fetch is the file under test.
    pub fn finished(mut self) -> Value {
        let filters = self.manager["typed_config"]["http_filters"].as_array_mut();
        for filter in filters.into_iter().flatten() {
            // Indexing would add what is not there.
            let upstream = filter.pointer_mut("/typed_config/upstream_http_filters");
            let upstream = upstream.and_then(Value::as_array_mut);
            for filter in upstream.into_iter().flatten() {
                let Some(discovery) = filter.get("config_discovery") else {
                    continue;
                };
                let types =
                    json!(["type.googleapis.com/envoy.extensions.filters.http.wasm.v3.Wasm"]);
                assert_eq!(
                    discovery["type_urls"], types,
                    "or Envoy 1.36 refuses the listener"
                );
                let found = self
                    .extensions
                    .iter()
                    .find(|extension| extension["name"] == filter["name"])
                    .unwrap_or_else(|| panic!("nothing to discover for {}", filter["name"]));
                *filter = found.clone();
                fetch(&mut filter["typed_config"]["config"]["vm_config"]["code"]);
            }
        }
        self.manager
    }
}

/// As the agent does with an image that is pinned.
fn fetch(code: &mut Value) {
    let remote = &code["remote"];
    let uri = remote["http_uri"]["uri"].as_str().unwrap_or_default();
    let digest = remote["sha256"].as_str().unwrap_or_default();
    assert!(
        uri.starts_with("oci://") && uri.ends_with(digest) && digest.len() == 64,
        "{code}"
    );
    *code = json!({"local": {"filename": artifact()}});
}

fn operation(patch: &Value) -> &str {
    patch["patch"]["operation"].as_str().unwrap_or_default()
}

/// Lists grow, maps and messages are merged, everything else is replaced.
pub fn merge(into: &mut Value, from: Value) {
    match (into, from) {
        (Value::Object(into), Value::Object(from)) => {
            for (key, value) in from {
                match into.get_mut(&key) {
                    Some(known) => merge(known, value),
                    None => {
                        into.insert(key, value);
                    }
                }
            }
        }
        (Value::Array(into), Value::Array(from)) => into.extend(from),
        (into, from) => *into = from,
    }
}
