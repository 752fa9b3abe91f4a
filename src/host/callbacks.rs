//! The callbacks that Envoy calls.
//!
//! They stand in for the SDK's callbacks of the same purpose: `tools/artifact` exports them under the
//! names that Envoy knows, and exports nothing else, so that Envoy does not enter the VM for a
//! callback that is not there. The SDK's dispatcher would look each stream up in two hash maps, box
//! a context for it, and tie an STS call to the stream that happened to start it: half a
//! microsecond a request, and an answer lost when that stream ends. What is left of the SDK is
//! start-up and logging.

// `proxy_wasm::main!` writes `_initialize` without a doc comment.
#![allow(missing_docs)]

use super::effective::{OnPlugin, OnStream};
use super::streams::Whose;
use super::{abi, own_calls, plugins, root, streams};
use proxy_wasm::types::LogLevel;

const CONTINUE: u32 = 0;
const PAUSE: u32 = 1;

/// The VM begins.
#[unsafe(no_mangle)]
pub extern "C" fn upstream_inject_initialize() {
    #[cfg(target_os = "wasi")]
    {
        unsafe extern "C" {
            fn __wasm_call_ctors();
        }
        // SAFETY: the linker defines it, and Envoy enters this before anything else, and once.
        unsafe { __wasm_call_ctors() };
    }
    proxy_wasm::set_log_level(LogLevel::Trace);
}

// What Envoy enters in its place as long as nobody has finished the module. Left to itself it would
// take the SDK's callbacks, or find none, and requests would trap, or go by unchanged.
proxy_wasm::main! {{
    let _ = proxy_wasm::hostcalls::log(
        LogLevel::Critical,
        "this .wasm is unfinished: run ./build.sh, and load dist/upstream_inject.wasm",
    );
    std::process::abort();
}}

/// The host wants memory for `size` bytes that it hands over.
#[unsafe(no_mangle)]
pub extern "C" fn upstream_inject_on_memory_allocate(size: usize) -> *mut u8 {
    abi::allocate(size)
}

/// A plugin (`root` is 0) or a stream of the plugin `root` begins.
#[unsafe(no_mangle)]
pub extern "C" fn upstream_inject_on_context_create(context: u32, root: u32) {
    // A plugin begins with its configuration.
    if root != 0 {
        streams::begin(context, root);
    }
}

/// The plugin `root` has a configuration of `size` bytes. 0 refuses it.
#[unsafe(no_mangle)]
pub extern "C" fn upstream_inject_on_configure(root: u32, size: usize) -> u32 {
    u32::from(root::configure(root, size))
}

/// The timer of the plugin `root` has gone off.
#[unsafe(no_mangle)]
pub extern "C" fn upstream_inject_on_tick(root: u32) {
    root::tick(&mut OnPlugin::in_callback(root));
}

/// A plugin or a stream ends.
#[unsafe(no_mangle)]
pub extern "C" fn upstream_inject_on_delete(context: u32) {
    match streams::end(context) {
        Some(stream) if stream.is_done() => {}
        Some(stream) => {
            if let Some(plugin) = plugins::find(stream.root) {
                plugin.stream_ended(&OnStream::in_callback(context), stream);
            }
        }
        None => root::end(context),
    }
}

/// The header fields of a request are there; `end` unless more follows.
#[unsafe(no_mangle)]
pub extern "C" fn upstream_inject_on_request_headers(context: u32, _fields: u32, end: u32) -> u32 {
    let stream = OnStream::in_callback(context);
    let goes_on = match streams::whose(context) {
        Some(Whose::OurOwn) => {
            own_calls::mark(&stream);
            true
        }
        Some(Whose::Clients(_)) if own_calls::is_later_attempt(&stream) => {
            streams::update(context, |stream| stream.own_call = true);
            true
        }
        Some(Whose::Clients(root)) => {
            plugins::find(root).is_some_and(|plugin| plugin.request(&stream, end == 0))
        }
        // A stream without a plugin hangs until Envoy's own timeout: that cannot happen, and it is
        // not forwarded.
        None => false,
    };
    match goes_on {
        true => CONTINUE,
        // Answered, or waiting.
        false => PAUSE,
    }
}

/// Fields behind the body of a request are there, which few clients ever send.
#[unsafe(no_mangle)]
pub extern "C" fn upstream_inject_on_request_trailers(context: u32, _fields: u32) -> u32 {
    if let Some(Whose::Clients(root)) = streams::whose(context)
        && let Some(plugin) = plugins::find(root)
    {
        let stream = OnStream::in_callback(context);
        plugin.headers.clear_trailers(&stream);
    }
    CONTINUE
}

/// The header fields of a response are there: the backend's, or of an answer of the filter's own.
#[unsafe(no_mangle)]
pub extern "C" fn upstream_inject_on_response_headers(
    context: u32,
    _fields: u32,
    _end: u32,
) -> u32 {
    if let Some((root, went_on)) = streams::responded(context)
        && let Some(plugin) = plugins::find(root)
    {
        plugin.response(&OnStream::in_callback(context), went_on);
    }
    CONTINUE
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
        plugin.answered(&mut OnPlugin::in_callback(root), call, fields, body_size);
    }
}
