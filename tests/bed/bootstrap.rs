//! Envoy configurations for tests, built as JSON (which Envoy reads as YAML). What operators are
//! meant to copy is in `envoy/`; here is the same chain with every part replaceable.

use std::collections::BTreeSet;
use std::net::SocketAddr;

use serde_json::{Value, json};

use crate::as_server::JWT_PAYLOAD_KEY;
use crate::identity_token::{AUDIENCE, ISSUER};
use crate::{paths, repository};

/// How the plugin's configuration is handed to Envoy.
#[derive(Clone, Debug)]
pub enum PluginConfig {
    /// JSON text in a `google.protobuf.StringValue`.
    Json(Value),
    /// Any text in a `google.protobuf.StringValue`.
    Text(String),
    /// The same tree as a `google.protobuf.Struct`.
    Struct(Value),
}

impl PluginConfig {
    fn to_any(&self) -> Value {
        let (kind, value) = match self {
            Self::Json(tree) => ("StringValue", Value::String(tree.to_string())),
            Self::Text(text) => ("StringValue", Value::String(text.clone())),
            Self::Struct(tree) => ("Struct", tree.clone()),
        };
        json!({"@type": format!("type.googleapis.com/google.protobuf.{kind}"), "value": value})
    }

    /// What the door has to take off: `authorization`, and every header that a strategy sets.
    pub(crate) fn headers_at_the_door(&self) -> Vec<String> {
        let mut names = BTreeSet::from(["authorization".to_owned()]);
        let parsed;
        let tree = match self {
            Self::Json(tree) | Self::Struct(tree) => tree,
            Self::Text(text) => {
                parsed = serde_json::from_str(text).unwrap_or_default();
                &parsed
            }
        };
        let outgoing = &tree["outgoingAuth"];
        let listed = outgoing["backends"].as_object().into_iter().flatten();
        for strategy in listed.map(|(_, it)| it).chain([&outgoing["default"]]) {
            for path in [
                "/headerInjection/headerName",
                "/tokenExchange/externalTokenHeaderName",
            ] {
                let name = strategy.pointer(path).and_then(Value::as_str);
                names.extend(name.map(str::to_ascii_lowercase));
            }
        }
        names.into_iter().collect()
    }
}

/// What the filter may call and what may be called in it, as `envoy/demo.yaml` ships it: so every
/// test shows that the list is long enough.
///
/// # Panics
/// The file cannot be read, or has no such list.
#[must_use]
pub fn shipped_capabilities(file: &str) -> Vec<String> {
    let path = repository().join(file);
    let text = std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    let names: Vec<String> = text
        .lines()
        .skip_while(|line| line.trim() != "allowed_capabilities:")
        .skip(1)
        .map_while(|line| line.trim().strip_suffix(": {}").map(str::to_owned))
        .collect();
    assert!(
        !names.is_empty(),
        "{} lists no capabilities",
        path.display()
    );
    names
}

/// The filter as an HTTP filter, with these environment variables.
#[must_use]
pub fn wasm_filter(plugin: &PluginConfig, environment: &[(String, String)]) -> Value {
    let variables: serde_json::Map<String, Value> = environment
        .iter()
        .map(|(name, value)| (name.clone(), json!(value)))
        .collect();
    let capabilities: serde_json::Map<String, Value> = shipped_capabilities("envoy/demo.yaml")
        .into_iter()
        .map(|name| (name, json!({})))
        .collect();
    json!({
        "name": "upstream_inject",
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.filters.http.wasm.v3.Wasm",
            "config": {
                "name": "upstream_inject",
                "failure_policy": "FAIL_RELOAD",
                "reload_config": {"backoff": {"base_interval": "0.1s", "max_interval": "1s"}},
                "vm_config": {
                    "vm_id": "upstream_inject",
                    "runtime": "envoy.wasm.runtime.v8",
                    "code": {"local": {"filename": paths::artifact()}},
                    "environment_variables": {"key_values": variables},
                },
                "capability_restriction_config": {"allowed_capabilities": capabilities},
                "configuration": plugin.to_any(),
            },
        },
    })
}

/// Checks the TH-JWT if there is one; a request without one goes on without an identity.
#[must_use]
pub fn jwt_authn(jwks: &Value) -> Value {
    json!({
        "name": "envoy.filters.http.jwt_authn",
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.filters.http.jwt_authn.v3.JwtAuthentication",
            "providers": {"embedded_as": {
                "issuer": ISSUER,
                "audiences": [AUDIENCE],
                "forward": true,
                // Not in the query, from where it would reach the backend.
                "from_headers": [{"name": "Authorization", "value_prefix": "Bearer "}],
                "payload_in_metadata": JWT_PAYLOAD_KEY,
                "jwt_cache_config": {"jwt_cache_size": 2000},
                "local_jwks": {"inline_string": jwks.to_string()},
            }},
            // Its own challenge would repeat the whole URL, query included.
            "strip_failure_response": true,
            "rules": [{
                "match": {"prefix": "/"},
                "requires": {"requires_any": {"requirements": [
                    {"provider_name": "embedded_as"},
                    {"allow_missing_or_failed": {}},
                ]}},
            }],
        },
    })
}

/// Asks the embedded AS for the session's metadata.
#[must_use]
pub fn ext_authz() -> Value {
    json!({
        "name": "envoy.filters.http.ext_authz",
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.filters.http.ext_authz.v3.ExtAuthz",
            "transport_api_version": "V3",
            "grpc_service": {
                "envoy_grpc": {"cluster_name": "embedded-as"},
                "timeout": "30s",
            },
            "failure_mode_allow": false,
            "metadata_context_namespaces": ["envoy.filters.http.jwt_authn"],
        },
    })
}

/// Keeps the TH-JWT where the filter finds it (`identity.tokenFrom: filter_state`), whatever becomes
/// of the header.
#[must_use]
pub fn keep_identity_token() -> Value {
    json!({
        "name": "envoy.filters.http.set_filter_state",
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.filters.http.set_filter_state.v3.Config",
            "on_request_headers": [{
                "object_key": "upstream_inject.identity_token",
                "factory_key": "envoy.string",
                "format_string": {
                    "text_format_source": {"inline_string": "%REQ(authorization)%"},
                    "omit_empty_values": true,
                },
                "skip_if_empty": true,
            }],
        },
    })
}

/// Takes headers off before the next filter sees them: the door of a chain that has the filter in
/// it, where the router's own removal would take the filter's credential as well.
#[must_use]
pub fn remove_headers(names: &[String]) -> Value {
    let removals: Vec<Value> = names.iter().map(|name| json!({"remove": name})).collect();
    json!({
        "name": "envoy.filters.http.header_mutation",
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.filters.http.header_mutation.v3.HeaderMutation",
            "mutations": {"request_mutations": removals},
        },
    })
}

/// The router, last in every chain.
#[must_use]
pub fn router() -> Value {
    json!({
        "name": "envoy.filters.http.router",
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router",
        },
    })
}

/// The router with filters of its own, which run for every attempt at every cluster that has none.
#[must_use]
pub fn router_with(upstream_filters: &[Value]) -> Value {
    let mut router = router();
    router["typed_config"]["upstream_http_filters"] = before_the_codec(upstream_filters);
    router
}

/// Under which name a cluster has its options for HTTP.
pub const HTTP_OPTIONS: &str = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions";

/// A list of upstream filters ends with the codec.
fn before_the_codec(upstream_filters: &[Value]) -> Value {
    let codec = json!({
        "name": "envoy.filters.http.upstream_codec",
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.filters.http.upstream_codec.v3.UpstreamCodec",
        },
    });
    upstream_filters.iter().cloned().chain([codec]).collect()
}

/// A cluster with one address. `upstream_filters` run before the codec, for each attempt.
#[must_use]
pub fn cluster(name: &str, address: SocketAddr, http2: bool, upstream_filters: &[Value]) -> Value {
    let protocol = if http2 {
        "http2_protocol_options"
    } else {
        "http_protocol_options"
    };
    let mut options = json!({
        "@type": format!("type.googleapis.com/{HTTP_OPTIONS}"),
        "explicit_http_config": {protocol: {}},
    });
    if !upstream_filters.is_empty() {
        options["http_filters"] = before_the_codec(upstream_filters);
    }
    json!({
        "name": name,
        "type": "STATIC",
        "connect_timeout": "5s",
        "typed_extension_protocol_options": {
            HTTP_OPTIONS: options,
        },
        "load_assignment": {
            "cluster_name": name,
            "endpoints": [{"lb_endpoints": [{"endpoint": {"address": socket(address)}}]}],
        },
    })
}

/// A route by path prefix to the cluster of the same name, its name being `route-<cluster>`.
#[must_use]
pub fn route_to(cluster: &str) -> Value {
    json!({
        "name": format!("route-{cluster}"),
        "match": {"prefix": format!("/{cluster}/")},
        "route": {"cluster": cluster, "timeout": "0s"},
    })
}

/// The whole bootstrap: one listener `main` with these filters and routes, in front of these
/// clusters.
#[must_use]
pub fn bootstrap(filters: &[Value], routes: &[Value], clusters: &[Value]) -> Value {
    bootstrap_of(&[listener(filters, routes)], clusters)
}

/// The whole bootstrap with these listeners.
#[must_use]
pub fn bootstrap_of(listeners: &[Value], clusters: &[Value]) -> Value {
    json!({
        "admin": {"address": socket(SocketAddr::from(([127, 0, 0, 1], 0)))},
        "static_resources": {"listeners": listeners, "clusters": clusters},
    })
}

/// The listener `main` with these filters and routes.
#[must_use]
pub fn listener(filters: &[Value], routes: &[Value]) -> Value {
    json!({
        "name": "main",
        "address": socket(SocketAddr::from(([127, 0, 0, 1], 0))),
        "filter_chains": [{"filters": [connection_manager(filters, routes)]}],
    })
}

/// The settings of a listener's connection manager, to change them.
pub fn manager_of(listener: &mut Value) -> &mut Value {
    &mut listener["filter_chains"][0]["filters"][0]["typed_config"]
}

/// Sets what `change` holds, key by key; lists are replaced, and `null` takes a key out.
pub fn merge(into: &mut Value, change: &Value) {
    match (into, change) {
        (Value::Object(into), Value::Object(change)) => {
            for (key, value) in change {
                match value {
                    Value::Null => drop(into.remove(key)),
                    _ => merge(into.entry(key).or_insert(Value::Null), value),
                }
            }
        }
        (into, change) => *into = change.clone(),
    }
}

fn connection_manager(filters: &[Value], routes: &[Value]) -> Value {
    json!({
        "name": "envoy.filters.network.http_connection_manager",
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
            "stat_prefix": "main",
            "codec_type": "AUTO",
            // Thousands of headers are one of the things that the filter has to live through.
            "max_request_headers_kb": 8192,
            "common_http_protocol_options": {"max_headers_count": 20_000},
            "stream_idle_timeout": "300s",
            "http_filters": filters,
            "route_config": {
                "name": "main",
                "virtual_hosts": [{"name": "main", "domains": ["*"], "routes": routes}],
            },
            "access_log": [access_log()],
        },
    })
}

/// One JSON line per request on stdout.
fn access_log() -> Value {
    json!({
        "name": "envoy.access_loggers.stdout",
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.access_loggers.stream.v3.StdoutAccessLog",
            "log_format": {"json_format": {
                "path": "%REQ(:PATH)%",
                "status": "%RESPONSE_CODE%",
                "flags": "%RESPONSE_FLAGS%",
                "cluster": "%UPSTREAM_CLUSTER%",
                "outcome": "%FILTER_STATE(wasm.upstream_inject.outcome:PLAIN)%",
                "backend": "%FILTER_STATE(wasm.upstream_inject.backend:PLAIN)%",
            }},
        },
    })
}

fn socket(address: SocketAddr) -> Value {
    json!({"socket_address": {"address": address.ip().to_string(), "port_value": address.port()}})
}
