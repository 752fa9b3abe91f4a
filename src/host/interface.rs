//! What the artifact and Envoy call of each other, with the reason for each.
//!
//! The SDK exports every callback of the ABI, whether the filter implements it or not, and Envoy
//! enters the VM for each one that it finds: about a quarter of a microsecond per request and
//! callback, and once per chunk for bodies. What is not in [`EXPORTS`] is therefore cut off.
//!
//! [`IMPORTS`] is what the filter can do to Envoy. It grows only on purpose: `finish` refuses a
//! module that imports anything else, and a test refuses an entry that is not imported.

use std::collections::BTreeSet;

/// What the artifact exports: exactly this.
pub const EXPORTS: &[Export] = &[
    Export::same("memory", "the host reads and writes arguments in it"),
    Export::own(
        "_initialize",
        "upstream_inject_initialize",
        "runs constructors and sets up logging, once per VM",
    ),
    Export::same(
        "proxy_abi_version_0_2_1",
        "names the ABI; Envoy refuses a module without it",
    ),
    Export::own(
        "proxy_on_memory_allocate",
        "upstream_inject_on_memory_allocate",
        "the host allocates what it hands over",
    ),
    Export::own(
        "proxy_on_configure",
        "upstream_inject_on_configure",
        "reads the plugin configuration",
    ),
    Export::own(
        "proxy_on_tick",
        "upstream_inject_on_tick",
        "flushes counters, ends overdue calls, looks after other workers' calls",
    ),
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
        "proxy_on_request_trailers",
        "upstream_inject_on_request_trailers",
        "nothing that a strategy sets comes from a client behind the body",
    ),
    Export::own(
        "proxy_on_response_headers",
        "upstream_inject_on_response_headers",
        "a backend's own challenge does not reach the client; its 401 drops the exchanged token",
    ),
    Export::own(
        "proxy_on_http_call_response",
        "upstream_inject_on_http_call_response",
        "the answer of an STS",
    ),
    Export::own(
        "proxy_on_delete",
        "upstream_inject_on_delete",
        "a stream's record ends, a plugin's timer stops",
    ),
];

/// One export of the artifact.
pub struct Export {
    /// The name that Envoy looks for.
    pub name: &'static str,
    /// The name of that function in the linked module, where the filter's own takes the place of
    /// the SDK's (`host/callbacks.rs` says why).
    pub linked_as: &'static str,
    /// Why it is there.
    pub why: &'static str,
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
pub fn exported_name(linked_as: &str) -> Option<&'static str> {
    EXPORTS
        .iter()
        .find(|export| export.linked_as == linked_as)
        .map(|export| export.name)
}

/// What the artifact imports: exactly this, as module and function.
pub const IMPORTS: &[(&str, &str)] = &[
    ("env.proxy_log", "log lines"),
    (
        "env.proxy_get_log_level",
        "no line is made that Envoy would drop",
    ),
    (
        "env.proxy_get_current_time_nanoseconds",
        "lifetimes of tokens and waits",
    ),
    ("env.proxy_set_tick_period_milliseconds", "sets the timer"),
    (
        "env.proxy_get_buffer_bytes",
        "the plugin configuration and the body of an STS's answer",
    ),
    (
        "env.proxy_get_header_map_value",
        "the status of an answer or a response, the content type",
    ),
    ("env.proxy_replace_header_map_value", "sets the credential"),
    ("env.proxy_remove_header_map_value", "removes the client's"),
    (
        "env.proxy_get_property",
        "the identity's metadata and where the request goes",
    ),
    ("env.proxy_set_property", "the outcome, for access logs"),
    ("env.proxy_http_call", "calls an STS"),
    (
        "env.proxy_get_shared_data",
        "tokens that other workers have obtained, calls that they make",
    ),
    (
        "env.proxy_set_shared_data",
        "hands tokens over to other workers",
    ),
    (
        "env.proxy_set_effective_context",
        "turns from the plugin to a waiting stream and back",
    ),
    ("env.proxy_continue_stream", "sends a waiting request on"),
    ("env.proxy_send_local_response", "refuses a request"),
    ("env.proxy_define_metric", "counters, gauge and histogram"),
    ("env.proxy_increment_metric", "counters and the gauge"),
    ("env.proxy_record_metric", "the histogram"),
    (
        "env.proxy_call_foreign_function",
        "signs for clients that authenticate by key: no cryptography is in here",
    ),
    (
        "wasi_snapshot_preview1.environ_get",
        "secrets in environment variables",
    ),
    ("wasi_snapshot_preview1.environ_sizes_get", "the same"),
    (
        "wasi_snapshot_preview1.clock_time_get",
        "intervals, on a clock that no step of the wall clock moves",
    ),
    (
        "wasi_snapshot_preview1.random_get",
        "the seed of hashes that clients must not foresee, the names of signed assertions",
    ),
    (
        "wasi_snapshot_preview1.fd_write",
        "the message of a panic, for Envoy's log",
    ),
    ("wasi_snapshot_preview1.proc_exit", "the end of a panic"),
];

/// Whether the artifact may import this, named `module.function`.
pub fn is_import(name: &str) -> bool {
    IMPORTS.iter().any(|(import, _)| *import == name)
}

/// The names for Envoy's `capability_restriction_config.allowed_capabilities`, sorted: the functions
/// that the host hands to a VM and the callbacks that it would call, by name without module.
/// (`_initialize`, the allocator and the ABI's name it takes unasked.)
///
/// The list must be whole: without `proxy_on_request_headers` in it Envoy never asks the filter, says nothing,
/// and requests go by unchanged; without `proxy_on_configure` they hang.
pub fn capabilities() -> BTreeSet<&'static str> {
    let functions = IMPORTS
        .iter()
        .filter_map(|(name, _)| Some(name.split_once('.')?.1));
    let callbacks = EXPORTS
        .iter()
        .map(|export| export.name)
        .filter(|name| name.starts_with("proxy_on_") && *name != "proxy_on_memory_allocate");
    functions.chain(callbacks).collect()
}
