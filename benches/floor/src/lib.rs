//! The floor: a wasm filter that makes the host calls named in its configuration, and does nothing
//! else. No SDK, no checks, no bookkeeping, no stream contexts; memory from the host is reused for
//! the next request. What a filter costs above this is its own.
//!
//! The configuration is a list of attribute paths, one a line, segments separated by `/`. The last
//! one names the token: what is read there is sent as `authorization: Bearer`. An empty
//! configuration makes the empty filter.

#![allow(missing_docs)]

use std::cell::{Cell, RefCell};

#[link(wasm_import_module = "env")]
unsafe extern "C" {
    fn proxy_get_property(
        path: *const u8,
        size: usize,
        value: *mut *mut u8,
        length: *mut usize,
    ) -> u32;
    fn proxy_get_buffer_bytes(
        kind: u32,
        start: usize,
        most: usize,
        data: *mut *mut u8,
        size: *mut usize,
    ) -> u32;
    fn proxy_replace_header_map_value(
        map: u32,
        name: *const u8,
        name_size: usize,
        value: *const u8,
        value_size: usize,
    ) -> u32;
}

const PLUGIN_CONFIGURATION: u32 = 7;
const REQUEST_HEADERS: u32 = 0;
const PREFIX: &[u8] = b"Bearer ";
const ARENA: usize = 64 * 1024;

thread_local! {
    static PATHS: RefCell<Vec<Vec<u8>>> = const { RefCell::new(Vec::new()) };
    static MEMORY: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
    static TAKEN: Cell<usize> = const { Cell::new(0) };
}

#[unsafe(no_mangle)]
pub extern "C" fn proxy_abi_version_0_2_1() {}

/// A filter that serves several configurations must know which one a stream belongs to.
#[cfg(feature = "contexts")]
#[unsafe(no_mangle)]
pub extern "C" fn proxy_on_context_create(_context: u32, _root: u32) {}

/// And it must know when a stream ends, to forget it.
#[cfg(feature = "contexts")]
#[unsafe(no_mangle)]
pub extern "C" fn proxy_on_delete(_context: u32) {}

/// Gives out one region over and over, each time behind what this request has been given before.
#[unsafe(no_mangle)]
pub extern "C" fn proxy_on_memory_allocate(size: usize) -> *mut u8 {
    MEMORY.with_borrow_mut(|memory| {
        let start = TAKEN.get();
        if memory.is_empty() {
            memory.resize(ARENA, 0);
        }
        TAKEN.set(start + size);
        match memory.get_mut(start..start + size) {
            Some(region) => region.as_mut_ptr(),
            None => Vec::leak(vec![0; size]).as_mut_ptr(),
        }
    })
}

#[unsafe(no_mangle)]
pub extern "C" fn proxy_on_configure(_root: u32, size: usize) -> u32 {
    TAKEN.set(PREFIX.len());
    let configuration = take(|data, length| unsafe {
        proxy_get_buffer_bytes(PLUGIN_CONFIGURATION, 0, size, data, length)
    });
    PATHS.set(
        configuration
            .split(|byte| *byte == b'\n')
            .filter(|line| !line.is_empty())
            .map(|line| {
                line.iter()
                    .map(|byte| if *byte == b'/' { 0 } else { *byte })
                    .collect()
            })
            .collect(),
    );
    1
}

#[unsafe(no_mangle)]
pub extern "C" fn proxy_on_request_headers(_stream: u32, _fields: u32, _end: u32) -> u32 {
    PATHS.with_borrow(|paths| {
        let mut token: &[u8] = &[];
        for path in paths {
            TAKEN.set(PREFIX.len());
            token = take(|value, length| unsafe {
                proxy_get_property(path.as_ptr(), path.len(), value, length)
            });
        }
        if !token.is_empty() {
            send(token);
        }
    });
    0
}

/// The token lies in the arena with room for the prefix before it, so that nothing is copied.
fn send(token: &[u8]) {
    unsafe {
        let value = token.as_ptr().sub(PREFIX.len()).cast_mut();
        value.copy_from_nonoverlapping(PREFIX.as_ptr(), PREFIX.len());
        let name = b"authorization";
        proxy_replace_header_map_value(
            REQUEST_HEADERS,
            name.as_ptr(),
            name.len(),
            value,
            PREFIX.len() + token.len(),
        );
    }
}

fn take<'a>(call: impl FnOnce(*mut *mut u8, *mut usize) -> u32) -> &'a [u8] {
    let mut data: *mut u8 = std::ptr::null_mut();
    let mut size = 0;
    let status = call(&mut data, &mut size);
    match status == 0 && !data.is_null() {
        true => unsafe { std::slice::from_raw_parts(data, size) },
        false => &[],
    }
}
