//! What became of the messages of a send.

use queue_runtime_core::{Result, SendResult};

use crate::abi::{free, qrt_bytes_t};
use crate::error::{QRT_OK, qrt_error_t, qrt_status_t, status_of};

/// What became of the messages of a send. Result i belongs to message i. Immutable, any thread.
pub struct qrt_send_results_t {
    entries: Vec<Sent>,
}

struct Sent {
    id: String,
    duplicate: bool,
    error: Option<Box<qrt_error_t>>,
    status: qrt_status_t,
}

impl qrt_send_results_t {
    pub(crate) fn new(results: Vec<Result<SendResult>>) -> Box<Self> {
        let entry = |result: Result<SendResult>| match result {
            Ok(result) => Sent {
                id: result.id.to_string(),
                duplicate: result.is_duplicate(),
                error: None,
                status: QRT_OK,
            },
            Err(error) => Sent {
                id: String::new(),
                duplicate: false,
                status: status_of(&error),
                error: Some(Box::new(qrt_error_t::new(error))),
            },
        };
        Box::new(Self {
            entries: results.into_iter().map(entry).collect(),
        })
    }
}

/// # Safety
/// The handle is NULL or good.
unsafe fn sent<T>(
    results: *const qrt_send_results_t,
    index: usize,
    fallback: T,
    read: impl FnOnce(&Sent) -> T,
) -> T {
    // SAFETY: the caller vouches for the handle.
    match unsafe { results.as_ref() }.and_then(|results| results.entries.get(index)) {
        Some(entry) => read(entry),
        None => fallback,
    }
}

/// How many results; 0 for NULL. Any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qrt_send_results_count(results: *const qrt_send_results_t) -> usize {
    // SAFETY: the caller vouches for the handle.
    unsafe { results.as_ref() }.map_or(0, |results| results.entries.len())
}

/// `QRT_OK` when message `index` is stored, else why not; `QRT_ERR_INVALID_ARGUMENT` when there is
/// no such result. Any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qrt_send_results_status(
    results: *const qrt_send_results_t,
    index: usize,
) -> qrt_status_t {
    let none = crate::error::QRT_ERR_INVALID_ARGUMENT;
    // SAFETY: the caller vouches for the handle.
    unsafe { sent(results, index, none, |entry| entry.status) }
}

/// The id of stored message `index`; of the first one, if it was a duplicate. Borrows until the
/// results are freed. Any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qrt_send_results_id(
    results: *const qrt_send_results_t,
    index: usize,
) -> qrt_bytes_t {
    // SAFETY: the caller vouches for the handle.
    unsafe {
        sent(results, index, qrt_bytes_t::EMPTY, |entry| {
            qrt_bytes_t::of(entry.id.as_bytes())
        })
    }
}

/// 1 when message `index` was not stored because one of the same dedup id was before it. Any
/// thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qrt_send_results_is_duplicate(
    results: *const qrt_send_results_t,
    index: usize,
) -> u32 {
    // SAFETY: the caller vouches for the handle.
    unsafe { sent(results, index, 0, |entry| u32::from(entry.duplicate)) }
}

/// The error of message `index`, or NULL. Borrows until the results are freed. Any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qrt_send_results_error(
    results: *const qrt_send_results_t,
    index: usize,
) -> *const qrt_error_t {
    let error = |entry: &Sent| {
        entry
            .error
            .as_deref()
            .map_or(std::ptr::null(), std::ptr::from_ref)
    };
    // SAFETY: the caller vouches for the handle.
    unsafe { sent(results, index, std::ptr::null(), error) }
}

/// Frees results. NULL does nothing. Any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qrt_send_results_free(results: *mut qrt_send_results_t) {
    // SAFETY: the caller gives up its handle.
    unsafe { free(results) }
}
