//! Entries that were given up, for the program to take.

use queue_runtime_core::write_behind::RejectedEntry;

use crate::abi::{free, get, qrt_bytes_t};

/// Entries that can never be written, with why. Immutable, any thread.
pub struct qrt_rejected_t(Vec<RejectedEntry>);

impl qrt_rejected_t {
    pub(crate) fn new(rejected: Vec<RejectedEntry>) -> Self {
        Self(rejected)
    }
}

/// # Safety
/// The handle is NULL or good.
unsafe fn read<T: Copy>(
    rejected: *const qrt_rejected_t,
    index: usize,
    fallback: T,
    read: impl FnOnce(&RejectedEntry) -> T,
) -> T {
    // SAFETY: the caller vouches for the handle.
    match unsafe { rejected.as_ref() }.and_then(|rejected| rejected.0.get(index)) {
        Some(entry) => get(fallback, || read(entry)),
        None => fallback,
    }
}

/// How many entries; 0 for NULL. Any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qrt_rejected_count(rejected: *const qrt_rejected_t) -> usize {
    // SAFETY: the caller vouches for the handle.
    unsafe { rejected.as_ref() }.map_or(0, |rejected| rejected.0.len())
}

/// The body of entry `index`. Borrows until its holder is freed. Any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qrt_rejected_body(
    rejected: *const qrt_rejected_t,
    index: usize,
) -> qrt_bytes_t {
    // SAFETY: the caller vouches for the handle.
    unsafe {
        read(rejected, index, qrt_bytes_t::EMPTY, |r| {
            qrt_bytes_t::of(r.entry.body())
        })
    }
}

/// The key of entry `index`, empty for none. Borrows until its holder is freed. Any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qrt_rejected_key(
    rejected: *const qrt_rejected_t,
    index: usize,
) -> qrt_bytes_t {
    // SAFETY: the caller vouches for the handle.
    unsafe {
        read(rejected, index, qrt_bytes_t::EMPTY, |r| {
            let key = r.entry.get_key();
            key.map_or(qrt_bytes_t::EMPTY, |key| qrt_bytes_t::of(key))
        })
    }
}

/// Why entry `index` was given up, in a word: the sink's own code, or the error's kind. Borrows
/// until its holder is freed. Any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qrt_rejected_reason(
    rejected: *const qrt_rejected_t,
    index: usize,
) -> qrt_bytes_t {
    // SAFETY: the caller vouches for the handle.
    unsafe {
        read(rejected, index, qrt_bytes_t::EMPTY, |r| {
            qrt_bytes_t::of_text(Some(&r.reason))
        })
    }
}

/// Why entry `index` was given up, at length. Borrows until its holder is freed. Any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qrt_rejected_description(
    rejected: *const qrt_rejected_t,
    index: usize,
) -> qrt_bytes_t {
    // SAFETY: the caller vouches for the handle.
    unsafe {
        read(rejected, index, qrt_bytes_t::EMPTY, |r| {
            qrt_bytes_t::of_text(Some(&r.description))
        })
    }
}

/// How often entry `index` was tried; 0 when there is none. Any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qrt_rejected_attempts(
    rejected: *const qrt_rejected_t,
    index: usize,
) -> u32 {
    // SAFETY: the caller vouches for the handle.
    unsafe { read(rejected, index, 0, |r| r.attempts) }
}

/// When entry `index` was accepted, in milliseconds since 1970 UTC; 0 when there is none. Any
/// thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qrt_rejected_enqueued_at(
    rejected: *const qrt_rejected_t,
    index: usize,
) -> i64 {
    // SAFETY: the caller vouches for the handle.
    unsafe { read(rejected, index, 0, |r| r.enqueued_at.0) }
}

/// Frees entries that were taken. NULL does nothing. Any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qrt_rejected_free(rejected: *mut qrt_rejected_t) {
    // SAFETY: the caller gives up its handle.
    unsafe { free(rejected) }
}
