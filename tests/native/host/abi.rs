//! The host functions themselves: `proxy_*`, as Envoy offers them to a filter.

use super::drive;
use super::packed::unpack;
use super::state::{Call, Host, Level, LocalReply, Sent, host, status};
use super::{properties, signing};
use std::collections::btree_map::Entry;
use std::ffi::c_void;

const MAP_REQUEST: u32 = 0;
const MAP_REQUEST_TRAILERS: u32 = 1;
const MAP_RESPONSE: u32 = 2;
const MAP_CALL_RESPONSE: u32 = 6;
const BUFFER_CALL_RESPONSE_BODY: u32 = 4;
const BUFFER_PLUGIN_CONFIGURATION: u32 = 7;

unsafe extern "C" {
    /// The filter's own: everything that it is handed lives in memory that it gave out.
    safe fn upstream_inject_on_memory_allocate(size: usize) -> *mut u8;
}

/// What the filter points at.
///
/// # Safety
/// `data` must point at `size` bytes, or `size` be zero.
unsafe fn bytes<'a>(data: *const u8, size: usize) -> &'a [u8] {
    match size {
        0 => &[],
        _ => unsafe { std::slice::from_raw_parts(data, size) },
    }
}

pub unsafe fn text(data: *const u8, size: usize) -> String {
    String::from_utf8_lossy(unsafe { bytes(data, size) }).into_owned()
}

/// Hands `value` over. Of nothing, there is nothing to point at.
unsafe fn give(value: &[u8], data: *mut *mut u8, size: *mut usize) {
    let memory = match value.len() {
        0 => std::ptr::null_mut(),
        length => upstream_inject_on_memory_allocate(length),
    };
    unsafe {
        std::ptr::copy_nonoverlapping(value.as_ptr(), memory, value.len());
        *data = memory;
        *size = value.len();
    }
}

pub fn answer(result: Result<(), u32>) -> u32 {
    result.err().unwrap_or(status::OK)
}

fn lower(name: &str) -> String {
    name.to_ascii_lowercase()
}

#[inline(never)]
#[unsafe(no_mangle)]
extern "C" fn proxy_log(level: u32, data: *const u8, size: usize) -> u32 {
    let line = unsafe { text(data, size) };
    host(|host| {
        host.seen.push("log".to_owned());
        host.log.push((Level::of(level), line));
    });
    status::OK
}

#[inline(never)]
#[unsafe(no_mangle)]
extern "C" fn proxy_get_log_level(level: *mut u32) -> u32 {
    answer(host(|host| {
        host.enter("get_log_level", "")?;
        unsafe { *level = host.log_level };
        Ok(())
    }))
}

#[inline(never)]
#[unsafe(no_mangle)]
extern "C" fn proxy_get_current_time_nanoseconds(time: *mut u64) -> u32 {
    answer(host(|host| {
        host.enter("get_current_time", "")?;
        unsafe { *time = host.now };
        Ok(())
    }))
}

/// WASI's; clock 1 is the monotonic one.
#[inline(never)]
#[unsafe(no_mangle)]
extern "C" fn clock_time_get(clock: u32, _precision: u64, time: *mut u64) -> u32 {
    answer(host(|host| {
        host.enter("clock_time_get", "")?;
        if clock != 1 {
            host.violation("another clock than the monotonic one");
        }
        unsafe { *time = host.steady };
        Ok(())
    }))
}

/// WASI's: bytes that are different each time.
#[inline(never)]
#[unsafe(no_mangle)]
extern "C" fn random_get(bytes: *mut u8, size: usize) -> u32 {
    answer(host(|host| {
        host.enter("random_get", "")?;
        host.random += 1;
        for (place, byte) in host
            .random
            .to_le_bytes()
            .iter()
            .cycle()
            .take(size)
            .enumerate()
        {
            unsafe { *bytes.add(place) = *byte };
        }
        Ok(())
    }))
}

/// What this host offers beyond the ABI: `sign`, `verify_signature` and `declare_property`.
#[inline(never)]
#[unsafe(no_mangle)]
extern "C" fn proxy_call_foreign_function(
    name: *const u8,
    name_size: usize,
    arguments: *const u8,
    arguments_size: usize,
    results: *mut *mut u8,
    results_size: *mut usize,
) -> u32 {
    let (name, arguments) = unsafe { (text(name, name_size), bytes(arguments, arguments_size)) };
    let scripted = host(|host| {
        host.enter("call_foreign_function", &name)?;
        Ok(host.foreign_answer.clone())
    });
    let result = scripted.and_then(|scripted| match (scripted, &*name) {
        (Some(answer), _) => Ok(answer),
        (None, "sign") => signing::sign(arguments),
        (None, "verify_signature") => host(|host| host.enter("verify_signature", ""))
            .and_then(|()| signing::verify(arguments)),
        (None, "declare_property") => host(|host| declare(host, arguments)),
        (None, _) => Err(status::NOT_FOUND),
    });
    answer(result.map(|result| unsafe { give(&result, results, results_size) }))
}

/// A name, then that it is written once and lives as long as the client's request: nothing else is
/// asked of this host.
fn declare(host: &mut Host, arguments: &[u8]) -> Result<Vec<u8>, u32> {
    let read = || {
        let (length, rest) = arguments.strip_prefix(&[0x0a])?.split_first()?;
        let (name, terms) = rest.split_at_checked(usize::from(*length))?;
        (terms == [0x10, 1, 0x28, 1]).then(|| String::from_utf8_lossy(name).into_owned())
    };
    let root = host.root().ok_or(status::BAD_ARGUMENT)?;
    let declared = read().is_some_and(|name| host.declared.insert((root, name)));
    declared.then(Vec::new).ok_or(status::BAD_ARGUMENT)
}

#[inline(never)]
#[unsafe(no_mangle)]
extern "C" fn proxy_set_tick_period_milliseconds(period: u32) -> u32 {
    answer(host(|host| {
        host.enter("set_tick_period", "")?;
        let root = host.root().ok_or(status::BAD_ARGUMENT)?;
        host.tick_period_ms.insert(root, period);
        Ok(())
    }))
}

#[inline(never)]
#[unsafe(no_mangle)]
extern "C" fn proxy_get_shared_data(
    key: *const u8,
    key_size: usize,
    value: *mut *mut u8,
    value_size: *mut usize,
    version: *mut u32,
) -> u32 {
    let key = unsafe { text(key, key_size) };
    let shared = host(|host| {
        host.enter("get_shared_data", &key)?;
        host.shared.get(&key).ok_or(status::NOT_FOUND)
    });
    answer(shared.map(|(shared, at)| unsafe {
        give(&shared, value, value_size);
        *version = at;
    }))
}

#[inline(never)]
#[unsafe(no_mangle)]
extern "C" fn proxy_set_shared_data(
    key: *const u8,
    key_size: usize,
    value: *const u8,
    value_size: usize,
    version: u32,
) -> u32 {
    let (key, value) = unsafe { (text(key, key_size), bytes(value, value_size).to_vec()) };
    answer(host(|host| {
        host.enter("set_shared_data", &key)?;
        if version == 0 {
            host.violation("shared data set without a look at what was there");
        }
        host.shared.set(key, value, version)
    }))
}

#[inline(never)]
#[unsafe(no_mangle)]
extern "C" fn proxy_get_property(
    path: *const u8,
    path_size: usize,
    value: *mut *mut u8,
    value_size: *mut usize,
) -> u32 {
    let path = unsafe { text(path, path_size) };
    let read = host(|host| {
        host.enter("get_property", &path.replace('\0', "."))?;
        if path == "plugin_root_id" {
            let root_id = host.root().and_then(|root| host.root_ids.get(&root));
            let root_id = root_id.map_or("upstream_inject", |root_id| root_id);
            return Ok(root_id.as_bytes().to_vec());
        }
        if let Some(request) = host.request()
            && let Some(value) = host.of_requests.get(&(request, path.clone()))
        {
            return Ok(value.clone());
        }
        let attempts = u64::from(!host.downstream);
        let stream = host.stream().ok_or(status::NOT_FOUND)?;
        match stream.left.get(&path) {
            Some(left) => Ok(left.clone()),
            None => properties::read(stream, &path, attempts),
        }
    });
    answer(read.map(|read| unsafe { give(&read, value, value_size) }))
}

#[inline(never)]
#[unsafe(no_mangle)]
extern "C" fn proxy_set_property(
    path: *const u8,
    path_size: usize,
    value: *const u8,
    value_size: usize,
) -> u32 {
    let (path, value) = unsafe { (text(path, path_size), bytes(value, value_size).to_vec()) };
    answer(host(|host| {
        host.enter("set_property", &path)?;
        host.act();
        let root = host.root().ok_or(status::NOT_FOUND)?;
        let request = host.request().ok_or(status::NOT_FOUND)?;
        if host.declared.contains(&(root, path.clone())) {
            let there = host.of_requests.entry((request, path));
            return match there {
                Entry::Vacant(place) => {
                    place.insert(value);
                    Ok(())
                }
                Entry::Occupied(_) => Err(status::BAD_ARGUMENT),
            };
        }
        let stream = host.stream().ok_or(status::NOT_FOUND)?;
        stream.left.insert(path, value);
        Ok(())
    }))
}

#[inline(never)]
#[unsafe(no_mangle)]
extern "C" fn proxy_get_header_map_value(
    map: u32,
    name: *const u8,
    name_size: usize,
    value: *mut *mut u8,
    value_size: *mut usize,
) -> u32 {
    let name = lower(&unsafe { text(name, name_size) });
    let first = host(|host| {
        host.enter("get_header", &name)?;
        let fields = match map {
            MAP_REQUEST => request(host)?,
            MAP_RESPONSE => response(host)?,
            MAP_CALL_RESPONSE => &mut host.answer.as_mut().ok_or(status::BAD_ARGUMENT)?.headers,
            _ => return Err(status::BAD_ARGUMENT),
        };
        let first = fields.iter().find(|(field, _)| *field == name);
        first
            .map(|(_, value)| value.clone())
            .ok_or(status::NOT_FOUND)
    });
    answer(first.map(|first| unsafe { give(&first, value, value_size) }))
}

/// The request's header fields, as long as they are the filter's to change.
fn request(host: &mut Host) -> Result<&mut super::state::Fields, u32> {
    let stream = host.stream().ok_or(status::BAD_ARGUMENT)?;
    match stream.went_on {
        true => Err(status::BAD_ARGUMENT),
        false => Ok(&mut stream.request),
    }
}

/// The response's header fields, while the filter is told of them.
fn response(host: &mut Host) -> Result<&mut super::state::Fields, u32> {
    let stream = host.stream().ok_or(status::BAD_ARGUMENT)?;
    stream.response.as_mut().ok_or(status::BAD_ARGUMENT)
}

fn to_change(host: &mut Host, map: u32) -> Result<&mut super::state::Fields, u32> {
    host.act();
    match map {
        MAP_REQUEST => request(host),
        MAP_REQUEST_TRAILERS => {
            let trailers = host.stream().and_then(|stream| stream.trailers.as_mut());
            trailers.ok_or(status::BAD_ARGUMENT)
        }
        MAP_RESPONSE => response(host),
        _ => {
            host.violation("changed other header fields than a request's or a response's");
            Err(status::BAD_ARGUMENT)
        }
    }
}

#[inline(never)]
#[unsafe(no_mangle)]
extern "C" fn proxy_replace_header_map_value(
    map: u32,
    name: *const u8,
    name_size: usize,
    value: *const u8,
    value_size: usize,
) -> u32 {
    let name = lower(&unsafe { text(name, name_size) });
    let value = unsafe { bytes(value, value_size) }.to_vec();
    answer(host(|host| {
        host.enter("replace_header", &name)?;
        let fields = to_change(host, map)?;
        fields.retain(|(field, _)| *field != name);
        fields.push((name, value));
        Ok(())
    }))
}

#[inline(never)]
#[unsafe(no_mangle)]
extern "C" fn proxy_remove_header_map_value(map: u32, name: *const u8, name_size: usize) -> u32 {
    let name = lower(&unsafe { text(name, name_size) });
    answer(host(|host| {
        host.enter("remove_header", &name)?;
        to_change(host, map)?.retain(|(field, _)| *field != name);
        Ok(())
    }))
}

#[inline(never)]
#[unsafe(no_mangle)]
extern "C" fn proxy_get_buffer_bytes(
    buffer: u32,
    start: usize,
    max_size: usize,
    value: *mut *mut u8,
    value_size: *mut usize,
) -> u32 {
    let taken = host(|host| {
        host.enter("get_buffer", "")?;
        let whole = match buffer {
            BUFFER_PLUGIN_CONFIGURATION => host.configuration.clone(),
            BUFFER_CALL_RESPONSE_BODY => {
                let body = host.answer.as_ref().ok_or(status::NOT_FOUND)?.body.clone();
                host.copied += body.len().min(max_size);
                body
            }
            _ => return Err(status::BAD_ARGUMENT),
        };
        let rest = whole.get(start..).ok_or(status::BAD_ARGUMENT)?;
        Ok(rest.get(..max_size).unwrap_or(rest).to_vec())
    });
    answer(taken.map(|taken| unsafe { give(&taken, value, value_size) }))
}

#[inline(never)]
#[unsafe(no_mangle)]
extern "C" fn proxy_send_local_response(
    code: u32,
    details: *const u8,
    details_size: usize,
    body: *const u8,
    body_size: usize,
    headers: *const u8,
    headers_size: usize,
    grpc_status: i32,
) -> u32 {
    let (details, body, headers) = unsafe {
        (
            text(details, details_size),
            bytes(body, body_size).to_vec(),
            unpack(bytes(headers, headers_size)),
        )
    };
    answer(host(|host| {
        host.enter("send_local_response", "")?;
        let Some(headers) = headers else {
            host.violation("header fields of a local reply cannot be read");
            return Err(status::BAD_ARGUMENT);
        };
        let reply = LocalReply {
            status: code,
            details,
            headers,
            body,
            grpc_status,
        };
        let stream = host.stream().ok_or(status::BAD_ARGUMENT)?;
        let twice = stream.went_on || stream.reply.replace(reply).is_some();
        if twice {
            host.violation("a local reply on a stream that went on or has been answered");
        }
        host.act();
        host.decide();
        Ok(())
    }))
}

#[inline(never)]
#[unsafe(no_mangle)]
extern "C" fn proxy_http_call(
    cluster: *const u8,
    cluster_size: usize,
    headers: *const u8,
    headers_size: usize,
    body: *const u8,
    body_size: usize,
    _trailers: *const u8,
    _trailers_size: usize,
    timeout_ms: u32,
    call: *mut u32,
) -> u32 {
    let (cluster, headers, body) = unsafe {
        (
            text(cluster, cluster_size),
            unpack(bytes(headers, headers_size)).unwrap_or_default(),
            text(body, body_size),
        )
    };
    let fields = headers.clone();
    let made = answer(host(|host| {
        host.enter("http_call", &cluster)?;
        let required = [":method", ":path", ":authority"];
        let complete = required
            .iter()
            .all(|name| headers.iter().any(|(field, _)| field == name));
        if !complete || timeout_ms == 0 {
            host.violation("a call without pseudo-header fields, or without a timeout");
            return Err(status::BAD_ARGUMENT);
        }
        if host.unknown_clusters.contains(&cluster) {
            return Err(status::BAD_ARGUMENT);
        }
        if let Some(scripted) = host.call_statuses.pop_front().filter(|s| *s != status::OK) {
            return Err(scripted);
        }
        host.last_call += 1;
        let made = Call {
            id: host.last_call,
            root: host.root().ok_or(status::BAD_ARGUMENT)?,
            sent: Sent {
                cluster,
                headers,
                body,
                timeout_ms,
            },
        };
        unsafe { *call = made.id };
        host.calls.push(made);
        Ok(())
    }));
    if made == status::OK
        && let Some(root) = host(|host| host.on_the_way)
    {
        drive::on_its_way(root, fields);
    }
    made
}

#[inline(never)]
#[unsafe(no_mangle)]
extern "C" fn proxy_continue_stream(stream: u32) -> u32 {
    answer(host(|host| {
        host.enter("continue_stream", "")?;
        let paused = stream == 0 && host.stream().is_some_and(|stream| stream.paused);
        if !paused {
            host.violation("a request was resumed that is not paused");
            return Err(status::BAD_ARGUMENT);
        }
        let stream = host.stream().ok_or(status::BAD_ARGUMENT)?;
        stream.paused = false;
        stream.went_on = true;
        if stream.reply.is_some() {
            host.violation("a request was resumed that has been answered");
        }
        host.act();
        host.decide();
        Ok(())
    }))
}

#[inline(never)]
#[unsafe(no_mangle)]
extern "C" fn proxy_set_effective_context(context: u32) -> u32 {
    answer(host(|host| {
        host.lost = true;
        host.enter("set_effective_context", "")?;
        if host.ended.contains(&context) {
            host.violation("acts on a stream that has ended");
        }
        if !host.streams.contains_key(&context) && !host.roots.contains(&context) {
            return Err(status::BAD_ARGUMENT);
        }
        host.effective = Some(context);
        host.lost = false;
        Ok(())
    }))
}

/// What the SDK can call and this filter must not.
macro_rules! out_of_bounds {
    ($($name:ident)*) => {
        $(
            #[unsafe(no_mangle)]
            extern "C" fn $name(_: *const c_void) -> u32 {
                host(|host| host.violation(concat!(stringify!($name), " was called")));
                status::UNIMPLEMENTED
            }
        )*
    };
}

out_of_bounds! {
    proxy_set_buffer_bytes
    proxy_get_header_map_pairs
    proxy_set_header_map_pairs
    proxy_add_header_map_value
    proxy_register_shared_queue
    proxy_resolve_shared_queue
    proxy_dequeue_shared_queue
    proxy_enqueue_shared_queue
    proxy_close_stream
    proxy_grpc_call
    proxy_grpc_stream
    proxy_grpc_send
    proxy_grpc_cancel
    proxy_grpc_close
    proxy_get_status
    proxy_done
    proxy_get_metric
}
