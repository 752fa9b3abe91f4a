//! The callbacks that Envoy calls.
//!
//! What belongs to a plugin as a whole (configuration, timer, log) goes through the SDK. What
//! belongs to a stream does not: the SDK's dispatcher looks each stream up in two hash maps, boxes
//! a context for it and ties an STS call to the stream that happened to start it, which costs half
//! a microsecond a request and loses the answer when that stream ends. So the callbacks below
//! stand in for the SDK's own of the same purpose; `bin/artifact` exports them under the names that
//! Envoy knows, and exports nothing else: Envoy does not enter the VM for a callback that is not
//! there.

// `proxy_wasm::main!` writes `_initialize` without a doc comment.
#![allow(missing_docs)]

use super::root::Root;
use super::{plugins, streams};
use proxy_wasm::types::LogLevel;

const CONTINUE: u32 = 0;
const PAUSE: u32 = 1;

proxy_wasm::main! {{
    proxy_wasm::set_log_level(LogLevel::Trace);
    proxy_wasm::set_root_context(|id| Box::new(Root::new(id)));
}}

unsafe extern "C" {
    safe fn proxy_on_context_create(context: u32, root: u32);
    safe fn proxy_on_delete(context: u32);
}

/// A plugin (`root` is 0) or a stream of the plugin `root` begins.
#[unsafe(no_mangle)]
pub extern "C" fn upstream_inject_on_context_create(context: u32, root: u32) {
    match root {
        0 => proxy_on_context_create(context, root),
        _ => streams::begin(context, root),
    }
}

/// A plugin or a stream ends.
#[unsafe(no_mangle)]
pub extern "C" fn upstream_inject_on_delete(context: u32) {
    match streams::end(context) {
        Some(stream) => {
            if let Some(plugin) = plugins::find(stream.root) {
                plugin.stream_ended(context, stream);
            }
        }
        None => proxy_on_delete(context),
    }
}

/// The header fields of a request are there.
#[unsafe(no_mangle)]
pub extern "C" fn upstream_inject_on_request_headers(context: u32, _fields: u32, _end: u32) -> u32 {
    let goes_on = streams::root_of(context)
        .and_then(plugins::find)
        .is_some_and(|plugin| plugin.request(context));
    match goes_on {
        true => CONTINUE,
        // Answered, or waiting. A stream without a plugin hangs until Envoy's own timeout: that
        // cannot happen, and it is not forwarded.
        false => PAUSE,
    }
}

/// The answer to an STS call is there, whole or broken.
#[unsafe(no_mangle)]
pub extern "C" fn upstream_inject_on_http_call_response(
    root: u32,
    call: u32,
    fields: u32,
    body_size: usize,
    _trailers: u32,
) {
    if let Some(plugin) = plugins::find(root) {
        plugin.answered(call, fields, body_size);
    }
}
