//! What the artifact and Envoy call of each other, with the reason for each.
//!
//! The SDK exports every callback of the ABI, whether the filter implements it or not, and Envoy
//! enters the VM for each one that it finds: about a quarter of a microsecond per request and
//! callback, and once per chunk for bodies. What is not in [`EXPORTS`] is therefore cut off.

use std::collections::BTreeSet;

/// What the artifact exports: exactly this.
pub(crate) const EXPORTS: &[Export] = &[
    Export::same("memory", "the host reads and writes arguments in it"),
    Export::same(
        "_initialize",
        "sets the root context's constructor; runs once per VM",
    ),
    Export::same(
        "proxy_abi_version_0_2_1",
        "names the ABI; Envoy refuses a module without it",
    ),
    Export::same(
        "proxy_on_memory_allocate",
        "the host allocates what it hands over",
    ),
    Export::same("proxy_on_configure", "reads the plugin configuration"),
    Export::same("proxy_on_tick", "flushes counters, ends overdue calls"),
    Export::own(
        "proxy_on_context_create",
        "upstream_inject_on_context_create",
        "which plugin a stream belongs to",
    ),
    Export::own(
        "proxy_on_request_headers",
        "upstream_inject_on_request_headers",
        "the filter's work",
    ),
    Export::own(
        "proxy_on_http_call_response",
        "upstream_inject_on_http_call_response",
        "the answer of an STS",
    ),
    Export::own(
        "proxy_on_delete",
        "upstream_inject_on_delete",
        "a stream's record ends, and a backend's 401 drops the exchanged token that caused it",
    ),
];

/// One export of the artifact.
pub(crate) struct Export {
    /// The name that Envoy looks for.
    pub(crate) name: &'static str,
    /// The name of that function in the linked module, where the filter's own takes the place of
    /// the SDK's (`host/callbacks.rs` says why).
    pub(crate) linked_as: &'static str,
    /// Why it is there.
    pub(crate) why: &'static str,
}

impl Export {
    const fn same(name: &'static str, why: &'static str) -> Self {
        Self::own(name, name, why)
    }

    const fn own(name: &'static str, linked_as: &'static str, why: &'static str) -> Self {
        Self {
            name,
            linked_as,
            why,
        }
    }
}

/// The name under which the artifact exports what is linked as `linked_as`, if it does.
pub(crate) fn exported_name(linked_as: &str) -> Option<&'static str> {
    EXPORTS
        .iter()
        .find(|export| export.linked_as == linked_as)
        .map(|export| export.name)
}

/// The functions the artifact may import, and no others: `(module, name)`.
pub(crate) const IMPORTS: &[(&str, &str)] = &[];

/// The names for Envoy's `capability_restriction_config.allowed_capabilities`, sorted. The host
/// asks it about the functions a module imports and about the callbacks it exports, by bare name.
pub(crate) fn capabilities() -> BTreeSet<&'static str> {
    let callbacks = EXPORTS
        .iter()
        .map(|export| export.name)
        .filter(|name| name.starts_with("proxy_on_"));
    IMPORTS
        .iter()
        .map(|(_, name)| *name)
        .chain(callbacks)
        .collect()
}
