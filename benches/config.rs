//! The Envoy that is measured: one listener for each thing compared, all else the same.

use std::net::SocketAddr;
use std::path::Path;

use bed::bootstrap::{cluster, router};
use serde_json::{Map, Value, json};

/// The cluster, and the backend, that every route leads to.
pub const BACKEND: &str = "github-tools";
/// The cluster of the STS.
pub const STS: &str = "corp-sts";
const NAMESPACE: &str = "envoy.filters.http.ext_authz";
const PROVIDER: &str = "github";

/// The user's upstream token: of the length that GitHub's have.
const UPSTREAM_TOKEN: &str = "gho_0123456789abcdefghijklmnopqrstuvwxyz";

/// What answers the requests of a listener.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Answered {
    /// Envoy's fault filter, right behind what is measured: nothing else takes time.
    AtOnce,
    /// The backend.
    ByBackend,
    /// The STS itself.
    BySts,
}

/// One listener.
pub struct Listener {
    /// Its name.
    pub name: String,
    /// What is measured.
    pub filters: Vec<Value>,
    /// What answers.
    pub answered: Answered,
}

/// The bootstrap with these listeners, and clusters at these addresses.
pub fn bootstrap(listeners: &[Listener], backend: SocketAddr, sts: SocketAddr) -> String {
    let listeners: Vec<Value> = listeners.iter().map(listener).collect();
    json!({
        "admin": {"address": any_port()},
        "static_resources": {
            "listeners": listeners,
            "clusters": [cluster(BACKEND, backend, false, &[]), cluster(STS, sts, false, &[])],
        },
    })
    .to_string()
}

fn listener(listener: &Listener) -> Value {
    let mut filters = vec![identity()];
    filters.extend(listener.filters.iter().cloned());
    if listener.answered == Answered::AtOnce {
        filters.push(filter(
            "fault.v3.HTTPFault",
            json!({"abort": {"http_status": 200, "percentage": {"numerator": 100}}}),
        ));
    }
    filters.push(router());
    let to = match listener.answered {
        Answered::BySts => STS,
        Answered::AtOnce | Answered::ByBackend => BACKEND,
    };
    let manager = json!({
        "@type": "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": listener.name,
        "generate_request_id": false,
        "http_filters": filters,
        "route_config": {"virtual_hosts": [{
            "name": "all",
            "domains": ["*"],
            "routes": [{"match": {"prefix": "/"}, "route": {"cluster": to, "timeout": "0s"}}],
        }]},
    });
    json!({
        "name": listener.name,
        "address": any_port(),
        "filter_chains": [{"filters": [{
            "name": "envoy.filters.network.http_connection_manager",
            "typed_config": manager,
        }]}],
    })
}

fn any_port() -> Value {
    json!({"socket_address": {"address": "127.0.0.1", "port_value": 0}})
}

fn filter(kind: &str, mut config: Value) -> Value {
    config["@type"] = format!("type.googleapis.com/envoy.extensions.filters.http.{kind}").into();
    json!({"name": kind, "typed_config": config})
}

/// The identity, where `ext_authz` would leave it.
fn identity() -> Value {
    let value = json!({
        "upstream_tokens": {PROVIDER: UPSTREAM_TOKEN},
        "sub": "alice",
        "email": "alice@example.com",
    });
    filter(
        "set_metadata.v3.Config",
        json!({"metadata": [{"metadata_namespace": NAMESPACE, "value": value}]}),
    )
}

/// Takes the token and sets the header, with no check at all.
pub fn lua() -> Value {
    let script = format!(
        "function envoy_on_request(handle)
           local identity = handle:streamInfo():dynamicMetadata():get(\"{NAMESPACE}\")
           local token = identity[\"upstream_tokens\"][\"{PROVIDER}\"]
           handle:headers():replace(\"authorization\", \"Bearer \" .. token)
         end"
    );
    filter(
        "lua.v3.Lua",
        json!({"default_source_code": {"inline_string": script}}),
    )
}

/// The same by configuration alone.
pub fn header_mutation() -> Value {
    let value = format!("Bearer %DYNAMIC_METADATA({NAMESPACE}:upstream_tokens:{PROVIDER})%");
    let append = json!({
        "header": {"key": "authorization", "value": value},
        "append_action": "OVERWRITE_IF_EXISTS_OR_ADD",
    });
    filter(
        "header_mutation.v3.HeaderMutation",
        json!({"mutations": {"request_mutations": [{"append": append}]}}),
    )
}

/// The floor filter (`benches/floor`), making these reads; the last one is that of the token.
pub fn floor(wasm: &Path, vm: &str, reads: &[&str]) -> Value {
    wasm_filter(wasm, vm, &reads.join("\n"))
}

/// The attributes that the floor filter reads: the cluster's name, the health-check marker, the
/// user's token.
pub const READS: [&str; 3] = [
    "xds/cluster_name",
    "metadata/filter_metadata/envoy.filters.http.ext_authz/health_check",
    "metadata/filter_metadata/envoy.filters.http.ext_authz/upstream_tokens/github",
];

/// The filter itself, with this configuration.
pub fn upstream_inject(artifact: &Path, vm: &str, configuration: &Value) -> Value {
    wasm_filter(artifact, vm, &configuration.to_string())
}

fn wasm_filter(wasm: &Path, vm: &str, configuration: &str) -> Value {
    let configuration = json!({
        "@type": "type.googleapis.com/google.protobuf.StringValue",
        "value": configuration,
    });
    let vm_config = json!({
        "vm_id": vm,
        "runtime": "envoy.wasm.runtime.v8",
        "code": {"local": {"filename": wasm}},
    });
    let config = json!({"name": vm, "vm_config": vm_config, "configuration": configuration});
    filter("wasm.v3.Wasm", json!({"config": config}))
}

/// A configuration with `count` backends, of which [`BACKEND`] has the strategy `strategy` and the
/// others inject upstream tokens.
pub fn plugin(count: usize, strategy: &Value) -> Value {
    let mut backends: Map<String, Value> = (1..count)
        .map(|number| (format!("backend-{number:05}"), injecting()))
        .collect();
    backends.insert(BACKEND.to_owned(), strategy.clone());
    json!({
        "authServer": {"runConfig": {"upstreams": [{"name": PROVIDER}]}},
        "outgoingAuth": {"backends": backends},
    })
}

/// `upstream_inject`.
pub fn injecting() -> Value {
    json!({"type": "upstream_inject", "upstreamInject": {"providerName": PROVIDER}})
}

/// `header_injection`.
pub fn header_injection() -> Value {
    let block = json!({"headerName": "x-api-key", "headerValue": "0123456789abcdef"});
    json!({"type": "header_injection", "headerInjection": block})
}

/// `token_exchange` of the user's upstream token.
pub fn exchanging_upstream_token() -> Value {
    exchanging(json!({"subjectProviderName": PROVIDER}))
}

/// `token_exchange` of the request's own token.
pub fn exchanging_identity_token() -> Value {
    exchanging(json!({}))
}

fn exchanging(mut block: Value) -> Value {
    block["tokenUrl"] = "https://sts.example.com/token".into();
    block["cluster"] = STS.into();
    block["audience"] = "https://corp-api.example.com".into();
    json!({"type": "token_exchange", "tokenExchange": block})
}
