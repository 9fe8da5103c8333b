//! What became of the messages of a send.

use std::sync::OnceLock;

use queue_runtime_core::{Result, SendResult};

use crate::abi::{free, qrt_bytes_t};
use crate::error::{QRT_OK, qrt_error_t, qrt_status_t, status_of};

/// What became of the messages of a send. Result i belongs to message i. Immutable, any thread.
pub struct qrt_send_results_t {
    entries: Vec<Sent>,
}

struct Sent {
    result: Result<SendResult, Box<qrt_error_t>>,
    status: qrt_status_t,
    /// Written out when it is asked for, which few senders do.
    id: OnceLock<String>,
}

impl qrt_send_results_t {
    pub(crate) fn new(results: Vec<Result<SendResult>>) -> Box<Self> {
        let entry = |result: Result<SendResult>| Sent {
            status: result.as_ref().err().map_or(QRT_OK, status_of),
            result: result.map_err(|error| Box::new(qrt_error_t::new(error))),
            id: OnceLock::new(),
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
            let id = entry.result.as_ref().ok().map(|result| {
                let id = entry.id.get_or_init(|| result.id.to_string());
                id.as_str()
            });
            qrt_bytes_t::of_text(id)
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
    unsafe {
        sent(results, index, 0, |entry| {
            u32::from(entry.result.as_ref().is_ok_and(SendResult::is_duplicate))
        })
    }
}

/// The error of message `index`, or NULL. Borrows until the results are freed. Any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qrt_send_results_error(
    results: *const qrt_send_results_t,
    index: usize,
) -> *const qrt_error_t {
    let error = |entry: &Sent| match &entry.result {
        Ok(_) => std::ptr::null(),
        Err(error) => std::ptr::from_ref(&**error),
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
