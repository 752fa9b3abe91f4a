//! The host functions that the SDK wraps in panics or copies, called directly.
//!
//! The SDK's `hostcalls` panic on every status that they do not expect, and a panic kills every
//! request of the worker. Here each status is a value. Paths arrive serialized, and what the host
//! hands over is taken as it is.

use crate::attributes::{Attribute, AttributePath, Attributes};
use crate::time::{Clock, Steady, Time};
use crate::token::SCHEME;
use std::alloc::Layout;
use std::cell::Cell;
use std::ptr::null_mut;
use std::time::Duration;

/// `proxy_status_t`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Status(u32);

impl Status {
    const OK: Self = Self(0);
    /// The host has nothing of that name.
    pub const NOT_FOUND: Self = Self(1);
    /// The host does not know what is named.
    pub const BAD_ARGUMENT: Self = Self(2);
    const SERIALIZATION_FAILURE: Self = Self(3);
    /// The value has changed since it was read.
    pub const CAS_MISMATCH: Self = Self(8);

    fn ok(raw: u32) -> Result<(), Self> {
        match Self(raw) {
            Self::OK => Ok(()),
            status => Err(status),
        }
    }
}

/// `proxy_header_map_type_t`, the maps that are used here.
#[derive(Clone, Copy, Debug)]
#[repr(u32)]
pub enum Map {
    /// The header fields of the request.
    Request = 0,
    /// The fields behind the body of the request.
    RequestTrailers = 1,
    /// The header fields of the response.
    Response = 2,
    /// The header fields of the answer to a call.
    CallResponse = 6,
}

/// `proxy_metric_type_t`.
#[derive(Clone, Copy, Debug)]
#[repr(u32)]
pub enum Metric {
    /// Only grows.
    Counter = 0,
    /// Grows and shrinks.
    Gauge = 1,
    /// A distribution.
    Histogram = 2,
}

const BUFFER_CALL_RESPONSE_BODY: u32 = 4;
const BUFFER_PLUGIN_CONFIGURATION: u32 = 7;
const STREAM_HTTP_REQUEST: u32 = 0;

#[cfg_attr(target_family = "wasm", link(wasm_import_module = "env"))]
unsafe extern "C" {
    fn proxy_get_property(
        path: *const u8,
        path_size: usize,
        value: *mut *mut u8,
        value_size: *mut usize,
    ) -> u32;
    fn proxy_set_property(
        path: *const u8,
        path_size: usize,
        value: *const u8,
        value_size: usize,
    ) -> u32;
    fn proxy_get_header_map_value(
        map: u32,
        name: *const u8,
        name_size: usize,
        value: *mut *mut u8,
        value_size: *mut usize,
    ) -> u32;
    fn proxy_replace_header_map_value(
        map: u32,
        name: *const u8,
        name_size: usize,
        value: *const u8,
        value_size: usize,
    ) -> u32;
    fn proxy_remove_header_map_value(map: u32, name: *const u8, name_size: usize) -> u32;
    fn proxy_get_buffer_bytes(
        buffer: u32,
        start: usize,
        max_size: usize,
        value: *mut *mut u8,
        value_size: *mut usize,
    ) -> u32;
    fn proxy_send_local_response(
        status: u32,
        details: *const u8,
        details_size: usize,
        body: *const u8,
        body_size: usize,
        headers: *const u8,
        headers_size: usize,
        grpc_status: i32,
    ) -> u32;
    fn proxy_http_call(
        cluster: *const u8,
        cluster_size: usize,
        headers: *const u8,
        headers_size: usize,
        body: *const u8,
        body_size: usize,
        trailers: *const u8,
        trailers_size: usize,
        timeout_ms: u32,
        call: *mut u32,
    ) -> u32;
    fn proxy_get_shared_data(
        key: *const u8,
        key_size: usize,
        value: *mut *mut u8,
        value_size: *mut usize,
        version: *mut u32,
    ) -> u32;
    fn proxy_set_shared_data(
        key: *const u8,
        key_size: usize,
        value: *const u8,
        value_size: usize,
        version: u32,
    ) -> u32;
    fn proxy_set_tick_period_milliseconds(period: u32) -> u32;
    fn proxy_continue_stream(stream: u32) -> u32;
    fn proxy_set_effective_context(context: u32) -> u32;
    fn proxy_get_current_time_nanoseconds(time: *mut u64) -> u32;
    fn proxy_define_metric(kind: u32, name: *const u8, name_size: usize, id: *mut u32) -> u32;
    fn proxy_increment_metric(id: u32, offset: i64) -> u32;
    fn proxy_record_metric(id: u32, value: u64) -> u32;
    fn proxy_call_foreign_function(
        name: *const u8,
        name_size: usize,
        arguments: *const u8,
        arguments_size: usize,
        results: *mut *mut u8,
        results_size: *mut usize,
    ) -> u32;
}

#[cfg_attr(
    target_family = "wasm",
    link(wasm_import_module = "wasi_snapshot_preview1")
)]
unsafe extern "C" {
    fn clock_time_get(clock: u32, precision: u64, time: *mut u64) -> u32;
    fn random_get(bytes: *mut u8, size: usize) -> u32;
}

/// Reads the attributes of the effective context.
#[derive(Clone, Copy, Debug)]
pub struct HostAttributes;

impl Attributes for HostAttributes {
    fn read(&self, path: &AttributePath) -> Attribute {
        let path = path.as_bytes();
        let read = take(|value, size| unsafe {
            proxy_get_property(path.as_ptr(), path.len(), value, size)
        });
        match read {
            Ok(bytes) if bytes.is_empty() => Attribute::Absent,
            Ok(bytes) => Attribute::Bytes(bytes),
            Err(Status::NOT_FOUND) => Attribute::Absent,
            Err(Status::SERIALIZATION_FAILURE) => Attribute::Unpackable,
            Err(_) => Attribute::Failed,
        }
    }
}

/// Leaves `value` in the stream's filter state, where access logs find it.
pub fn set_property(path: &str, value: &[u8]) -> Result<(), Status> {
    Status::ok(unsafe {
        proxy_set_property(path.as_ptr(), path.len(), value.as_ptr(), value.len())
    })
}

/// The first field of that name.
pub fn header(map: Map, name: &str) -> Option<Vec<u8>> {
    take(|value, size| unsafe {
        proxy_get_header_map_value(map as u32, name.as_ptr(), name.len(), value, size)
    })
    .ok()
}

/// Makes `value` the only field of that name.
pub fn replace_header(map: Map, name: &str, value: &[u8]) -> Result<(), Status> {
    Status::ok(unsafe {
        proxy_replace_header_map_value(
            map as u32,
            name.as_ptr(),
            name.len(),
            value.as_ptr(),
            value.len(),
        )
    })
}

/// Removes every field of that name.
pub fn remove_header(map: Map, name: &str) -> Result<(), Status> {
    Status::ok(unsafe { proxy_remove_header_map_value(map as u32, name.as_ptr(), name.len()) })
}

/// The plugin configuration, of `size` bytes.
pub fn plugin_configuration(size: usize) -> Result<Vec<u8>, Status> {
    buffer(BUFFER_PLUGIN_CONFIGURATION, size)
}

/// The body of the answer to a call, of `size` bytes.
pub fn call_response_body(size: usize) -> Result<Vec<u8>, Status> {
    buffer(BUFFER_CALL_RESPONSE_BODY, size)
}

/// Answers the request of the effective context. Ends its stream once the callback returns.
pub fn send_local_response(
    status: u16,
    details: &str,
    headers: &[(&'static str, String)],
    body: &[u8],
) -> Result<(), Status> {
    let headers: Vec<(&str, &str)> = headers
        .iter()
        .map(|(name, value)| (*name, value.as_str()))
        .collect();
    let headers = pack(&headers);
    Status::ok(unsafe {
        proxy_send_local_response(
            u32::from(status),
            details.as_ptr(),
            details.len(),
            body.as_ptr(),
            body.len(),
            headers.as_ptr(),
            headers.len(),
            -1,
        )
    })
}

/// Calls `cluster`. The answer comes to the root context under the number returned; an error means
/// that none will come: [`Status::BAD_ARGUMENT`] that the cluster is unknown.
pub fn http_call(
    cluster: &str,
    headers: &[(&str, &str)],
    body: &[u8],
    timeout: Duration,
) -> Result<u32, Status> {
    let headers = pack(headers);
    let trailers = pack(&[]);
    // Less than a millisecond would mean no timeout at all.
    let timeout = u32::try_from(timeout.as_millis())
        .unwrap_or(u32::MAX)
        .max(1);
    let mut call = 0;
    Status::ok(unsafe {
        proxy_http_call(
            cluster.as_ptr(),
            cluster.len(),
            headers.as_ptr(),
            headers.len(),
            body.as_ptr(),
            body.len(),
            trailers.as_ptr(),
            trailers.len(),
            timeout,
            &mut call,
        )
    })?;
    Ok(call)
}

/// What all VMs of this VM's id share under `key`, and its version, which changes with it and is never
/// 0. [`Status::NOT_FOUND`] if there is nothing.
pub fn shared_data(key: &str) -> Result<(Vec<u8>, u32), Status> {
    let mut version = 0;
    let value = take(|value, size| unsafe {
        proxy_get_shared_data(key.as_ptr(), key.len(), value, size, &mut version)
    })?;
    Ok((value, version))
}

/// Shares `value` under `key`, if what is there is still of that version, or there is nothing.
/// [`Status::CAS_MISMATCH`] if it is of another.
pub fn set_shared_data(key: &str, value: &[u8], version: u32) -> Result<(), Status> {
    Status::ok(unsafe {
        proxy_set_shared_data(
            key.as_ptr(),
            key.len(),
            value.as_ptr(),
            value.len(),
            version,
        )
    })
}

/// Has the plugin's timer go off every `period`; zero stops it.
pub fn set_tick_period(period: Duration) -> Result<(), Status> {
    let millis = u32::try_from(period.as_millis()).unwrap_or(u32::MAX);
    Status::ok(unsafe { proxy_set_tick_period_milliseconds(millis) })
}

/// Lets the paused request of the effective context go on, once the callback returns.
pub fn resume_request() -> Result<(), Status> {
    Status::ok(unsafe { proxy_continue_stream(STREAM_HTTP_REQUEST) })
}

/// Makes `context` the one that host calls act on. Fails if its stream has ended.
pub fn set_effective_context(context: u32) -> Result<(), Status> {
    Status::ok(unsafe { proxy_set_effective_context(context) })
}

/// The host's clocks.
#[derive(Clone, Copy, Debug)]
pub struct HostClock;

impl Clock for HostClock {
    /// The epoch, if the host cannot tell.
    fn wall(&self) -> Time {
        let mut nanos = 0;
        match unsafe { proxy_get_current_time_nanoseconds(&mut nanos) } {
            0 => Time::from_nanos(nanos),
            _ => Time::default(),
        }
    }

    fn steady(&self) -> Steady {
        // A list of capabilities that was written for an earlier version leaves it out.
        monotonic().unwrap_or_else(|| forward_on_the_wall(self.wall()))
    }
}

/// The clock that only goes forward and is the same for all VMs of this process; `None` if the host does
/// not tell.
pub fn monotonic() -> Option<Steady> {
    const MONOTONIC: u32 = 1;
    let mut nanos = 0;
    let told = unsafe { clock_time_get(MONOTONIC, 1, &mut nanos) };
    (told == 0).then(|| Steady::from_nanos(nanos))
}

/// A clock that goes forward with the wall clock, and stands still where that is set back.
fn forward_on_the_wall(wall: Time) -> Steady {
    thread_local! {
        static LAST: Cell<(Time, Steady)> = const {
            Cell::new((Time::from_nanos(0), Steady::from_nanos(0)))
        };
    }
    let (last, steady) = LAST.get();
    let steady = steady.plus(wall.since(last));
    LAST.set((wall, steady));
    steady
}

/// Defines a metric. Each call makes a new id, so that it must be kept.
pub fn define_metric(kind: Metric, name: &str) -> Result<u32, Status> {
    let mut id = 0;
    Status::ok(unsafe { proxy_define_metric(kind as u32, name.as_ptr(), name.len(), &mut id) })?;
    Ok(id)
}

/// Adds to a counter, or to or from a gauge.
pub fn increment_metric(id: u32, offset: i64) -> Result<(), Status> {
    Status::ok(unsafe { proxy_increment_metric(id, offset) })
}

/// Records a value of a histogram.
pub fn record_metric(id: u32, value: u64) -> Result<(), Status> {
    Status::ok(unsafe { proxy_record_metric(id, value) })
}

/// Calls what this host offers beyond the ABI. [`Status::NOT_FOUND`] if it does not offer `name`.
pub fn call_foreign_function(name: &str, arguments: &[u8]) -> Result<Vec<u8>, Status> {
    take(|results, size| unsafe {
        proxy_call_foreign_function(
            name.as_ptr(),
            name.len(),
            arguments.as_ptr(),
            arguments.len(),
            results,
            size,
        )
    })
}

/// Random bytes that nobody can foresee; `None` if the host gives none.
pub fn random<const SIZE: usize>() -> Option<[u8; SIZE]> {
    let mut bytes = [0; SIZE];
    (unsafe { random_get(bytes.as_mut_ptr(), SIZE) } == 0).then_some(bytes)
}

fn buffer(buffer: u32, size: usize) -> Result<Vec<u8>, Status> {
    take(|value, taken| unsafe { proxy_get_buffer_bytes(buffer, 0, size, value, taken) })
}

/// What the host hands over has this much room behind it, so that a token becomes the value of a
/// header, or the key of a cache, where it lies.
const SPARE: usize = SCHEME.len();

/// Memory for `size` bytes that the host is about to hand over; null if there is none.
pub fn allocate(size: usize) -> *mut u8 {
    match Layout::array::<u8>(size.saturating_add(SPARE)) {
        // Never of size zero.
        Ok(layout) => unsafe { std::alloc::alloc(layout) },
        Err(_) => null_mut(),
    }
}

/// Runs a host function that hands over memory, and takes the memory.
fn take(call: impl FnOnce(*mut *mut u8, *mut usize) -> u32) -> Result<Vec<u8>, Status> {
    let mut data: *mut u8 = null_mut();
    let mut size: usize = 0;
    Status::ok(call(&mut data, &mut size))?;
    if data.is_null() {
        return Ok(Vec::new());
    }
    // The host got this memory from `allocate`, and leaves it to us.
    Ok(unsafe { Vec::from_raw_parts(data, size, size.saturating_add(SPARE)) })
}

/// The form in which the host takes header fields.
fn pack(headers: &[(&str, &str)]) -> Vec<u8> {
    let count = |n: usize| u32::try_from(n).unwrap_or(u32::MAX).to_le_bytes();
    let mut packed = count(headers.len()).to_vec();
    for (name, value) in headers {
        packed.extend_from_slice(&count(name.len()));
        packed.extend_from_slice(&count(value.len()));
    }
    for (name, value) in headers {
        packed.extend_from_slice(name.as_bytes());
        packed.push(0);
        packed.extend_from_slice(value.as_bytes());
        packed.push(0);
    }
    packed
}
