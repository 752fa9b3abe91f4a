//! What the artifact and Envoy call of each other, with the reason for each.
//!
//! The SDK exports every callback of the ABI, whether the filter implements it or not, and Envoy
//! enters the VM for each one that it finds: about a quarter of a microsecond per request and
//! callback, and once per chunk for bodies. What is not in [`EXPORTS`] is therefore cut off.

use std::collections::BTreeSet;

/// What the artifact exports: exactly this.
pub(crate) const EXPORTS: &[(&str, &str)] = &[
    ("memory", "the host reads and writes arguments in it"),
    (
        "_initialize",
        "sets the root context's constructor; runs once per VM",
    ),
    (
        "proxy_abi_version_0_2_1",
        "names the ABI; Envoy refuses a module without it",
    ),
    (
        "proxy_on_memory_allocate",
        "the host allocates what it hands over",
    ),
    (
        "proxy_on_context_create",
        "the SDK's record of a plugin or a stream begins",
    ),
    ("proxy_on_configure", "reads the plugin configuration"),
    ("proxy_on_request_headers", "the filter's work"),
    (
        "proxy_on_response_headers",
        "a backend's 401 drops the exchanged token that caused it",
    ),
    ("proxy_on_http_call_response", "the answer of an STS"),
    (
        "proxy_on_queue_ready",
        "the way into the root context, where exchanges are dispatched",
    ),
    (
        "proxy_on_tick",
        "flushes counters, times out waiting requests",
    ),
    (
        "proxy_on_delete",
        "the SDK's record of a stream ends; without it every stream would leak",
    ),
];

/// Whether the artifact keeps this export.
pub(crate) fn is_wanted(export: &str) -> bool {
    EXPORTS.iter().any(|(name, _)| *name == export)
}

/// The functions the artifact may import, and no others: `(module, name)`.
pub(crate) const IMPORTS: &[(&str, &str)] = &[];

/// The names for Envoy's `capability_restriction_config.allowed_capabilities`, sorted. The host
/// asks it about the functions a module imports and about the callbacks it exports, by bare name.
pub(crate) fn capabilities() -> BTreeSet<&'static str> {
    let callbacks = EXPORTS
        .iter()
        .map(|(name, _)| *name)
        .filter(|name| name.starts_with("proxy_on_"));
    IMPORTS
        .iter()
        .map(|(_, name)| *name)
        .chain(callbacks)
        .collect()
}
