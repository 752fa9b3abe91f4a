//! The host functions that the SDK wraps in panics or copies, called directly.
//!
//! The SDK's `hostcalls` panic on every status that they do not expect, and a panic kills every
//! request of the worker. Here each status is a value. Paths arrive serialized, and what the host
//! hands over is taken as it is.

mod clock;
mod imports;
mod memory;

pub(super) use clock::{HostClock, monotonic};
pub(super) use memory::{allocate, give_back};

use crate::attributes::{Attribute, AttributePath, Attributes};
use imports::*;
use memory::{pack, take};
use std::time::Duration;

/// `proxy_status_t`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Status(u32);

impl Status {
    const OK: Self = Self(0);
    /// The host has nothing of that name.
    pub(super) const NOT_FOUND: Self = Self(1);
    /// The host does not know what is named.
    pub(super) const BAD_ARGUMENT: Self = Self(2);
    const SERIALIZATION_FAILURE: Self = Self(3);
    /// The value has changed since it was read.
    pub(super) const CAS_MISMATCH: Self = Self(8);

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
pub(super) enum Map {
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
pub(super) enum Metric {
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

/// Reads the attributes of the effective context.
#[derive(Clone, Copy, Debug)]
pub(super) struct HostAttributes;

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
pub(super) fn set_property(path: &str, value: &[u8]) -> Result<(), Status> {
    Status::ok(unsafe {
        proxy_set_property(path.as_ptr(), path.len(), value.as_ptr(), value.len())
    })
}

/// The first field of that name.
pub(super) fn header(map: Map, name: &str) -> Option<Vec<u8>> {
    take(|value, size| unsafe {
        proxy_get_header_map_value(map as u32, name.as_ptr(), name.len(), value, size)
    })
    .ok()
}

/// Makes `value` the only field of that name.
pub(super) fn replace_header(map: Map, name: &str, value: &[u8]) -> Result<(), Status> {
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
pub(super) fn remove_header(map: Map, name: &str) -> Result<(), Status> {
    Status::ok(unsafe { proxy_remove_header_map_value(map as u32, name.as_ptr(), name.len()) })
}

/// The plugin configuration, of `size` bytes.
pub(super) fn plugin_configuration(size: usize) -> Result<Vec<u8>, Status> {
    buffer(BUFFER_PLUGIN_CONFIGURATION, size)
}

/// The body of the answer to a call, of `size` bytes.
pub(super) fn call_response_body(size: usize) -> Result<Vec<u8>, Status> {
    buffer(BUFFER_CALL_RESPONSE_BODY, size)
}

/// Answers the request of the effective context. Ends its stream once the callback returns.
pub(super) fn send_local_response(
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
pub(super) fn http_call(
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
pub(super) fn shared_data(key: &str) -> Result<(Vec<u8>, u32), Status> {
    let mut version = 0;
    let value = take(|value, size| unsafe {
        proxy_get_shared_data(key.as_ptr(), key.len(), value, size, &mut version)
    })?;
    Ok((value, version))
}

/// Shares `value` under `key`, if what is there is still of that version, or there is nothing.
/// [`Status::CAS_MISMATCH`] if it is of another.
pub(super) fn set_shared_data(key: &str, value: &[u8], version: u32) -> Result<(), Status> {
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
pub(super) fn set_tick_period(period: Duration) -> Result<(), Status> {
    let millis = u32::try_from(period.as_millis()).unwrap_or(u32::MAX);
    Status::ok(unsafe { proxy_set_tick_period_milliseconds(millis) })
}

/// Lets the paused request of the effective context go on, once the callback returns.
pub(super) fn resume_request() -> Result<(), Status> {
    Status::ok(unsafe { proxy_continue_stream(STREAM_HTTP_REQUEST) })
}

/// Makes `context` the one that host calls act on. Fails if its stream has ended.
pub(super) fn set_effective_context(context: u32) -> Result<(), Status> {
    Status::ok(unsafe { proxy_set_effective_context(context) })
}

/// Defines a metric. Each call makes a new id, so that it must be kept.
pub(super) fn define_metric(kind: Metric, name: &str) -> Result<u32, Status> {
    let mut id = 0;
    Status::ok(unsafe { proxy_define_metric(kind as u32, name.as_ptr(), name.len(), &mut id) })?;
    Ok(id)
}

/// Adds to a counter, or to or from a gauge.
pub(super) fn increment_metric(id: u32, offset: i64) -> Result<(), Status> {
    Status::ok(unsafe { proxy_increment_metric(id, offset) })
}

/// Records a value of a histogram.
pub(super) fn record_metric(id: u32, value: u64) -> Result<(), Status> {
    Status::ok(unsafe { proxy_record_metric(id, value) })
}

/// Calls what this host offers beyond the ABI. [`Status::NOT_FOUND`] if it does not offer `name`.
pub(super) fn call_foreign_function(name: &str, arguments: &[u8]) -> Result<Vec<u8>, Status> {
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
pub(super) fn random<const SIZE: usize>() -> Option<[u8; SIZE]> {
    let mut bytes = [0; SIZE];
    (unsafe { random_get(bytes.as_mut_ptr(), SIZE) } == 0).then_some(bytes)
}

fn buffer(buffer: u32, size: usize) -> Result<Vec<u8>, Status> {
    take(|value, taken| unsafe { proxy_get_buffer_bytes(buffer, 0, size, value, taken) })
}
