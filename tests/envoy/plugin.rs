//! Plugin configurations for tests, short to write.

use serde_json::{Value, json};

/// A configuration with an auth server that has these providers, and these backends; the TH-JWT is
/// where the bed's door leaves it.
pub fn config(providers: &[&str], backends: Value) -> Value {
    let upstreams: Vec<Value> = providers.iter().map(|name| json!({"name": name})).collect();
    json!({
        "authServer": {"runConfig": {"issuer": "https://vmcp.example.com", "upstreams": upstreams}},
        "outgoingAuth": {"source": "inline", "backends": backends},
        "identity": {"tokenFrom": "filter_state"},
    })
}

/// `upstream_inject` of a provider.
pub fn inject(provider: &str) -> Value {
    json!({"type": "upstream_inject", "upstreamInject": {"providerName": provider}})
}

/// `header_injection` of a value.
pub fn header(name: &str, value: &str) -> Value {
    json!({"type": "header_injection", "headerInjection": {"headerName": name, "headerValue": value}})
}

/// `unauthenticated`.
pub fn open() -> Value {
    json!({"type": "unauthenticated"})
}

/// An aggregate cluster of these clusters, in that order.
pub fn aggregate(name: &str, members: &[&str]) -> Value {
    json!({
        "name": name,
        "lb_policy": "CLUSTER_PROVIDED",
        "connect_timeout": "5s",
        "cluster_type": {
            "name": "envoy.clusters.aggregate",
            "typed_config": {
                "@type": "type.googleapis.com/envoy.extensions.clusters.aggregate.v3.ClusterConfig",
                "clusters": members,
            },
        },
    })
}
