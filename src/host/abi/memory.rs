//! Memory that goes from the host to the filter, and lists of header fields that go the other way.

use super::Status;
use crate::token::SCHEME;
use std::alloc::Layout;
use std::cell::Cell;
use std::ptr::null_mut;

/// What the host hands over has this much room behind it, so that a token becomes the value of a
/// header, or the key of a cache, where it lies.
const SPARE: usize = SCHEME.len();

/// The least room that it has: most of it is smaller, so that the memory fits what comes next, too.
const SMALL: usize = 128;

thread_local! {
    /// Memory of [`SMALL`] bytes to be handed out again, or none. To allocate it anew for each of a
    /// request's few names and tokens, and to free it, would be a tenth of what the request costs.
    static KEPT: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

/// Keeps the memory of `bytes`, which nobody needs any more, for what the host hands over next.
pub(crate) fn give_back(bytes: Vec<u8>) {
    if bytes.capacity() == SMALL {
        KEPT.set(bytes);
    }
}

/// The capacity of what holds `size` bytes that the host hands over.
fn capacity(size: usize) -> usize {
    size.saturating_add(SPARE).max(SMALL)
}

/// Memory for `size` bytes that the host is about to hand over; null if there is none.
pub(crate) fn allocate(size: usize) -> *mut u8 {
    let capacity = capacity(size);
    if capacity == SMALL {
        let mut kept = KEPT.take();
        if kept.capacity() == SMALL {
            let memory = kept.as_mut_ptr();
            std::mem::forget(kept);
            return memory;
        }
    }
    match Layout::array::<u8>(capacity) {
        // Never of size zero.
        Ok(layout) => unsafe { std::alloc::alloc(layout) },
        Err(_) => null_mut(),
    }
}

/// Runs a host function that hands over memory, and takes the memory.
pub(super) fn take(call: impl FnOnce(*mut *mut u8, *mut usize) -> u32) -> Result<Vec<u8>, Status> {
    let mut data: *mut u8 = null_mut();
    let mut size: usize = 0;
    Status::ok(call(&mut data, &mut size))?;
    if data.is_null() {
        return Ok(Vec::new());
    }
    // The host got this memory from `allocate`, and leaves it to us.
    Ok(unsafe { Vec::from_raw_parts(data, size, capacity(size)) })
}

/// The form in which the host takes header fields.
pub(super) fn pack(headers: &[(&str, &str)]) -> Vec<u8> {
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
