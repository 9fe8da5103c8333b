//! What became of the messages of a send.

use std::sync::OnceLock;

use queue_runtime_core::{Result, SendResult};

use crate::abi::{free, get, qrt_bytes_t};
use crate::error::{QRT_OK, qrt_error_t, qrt_status_t};

/// What became of the messages of a send. Result i belongs to message i. Immutable, any thread.
pub struct qrt_send_results_t {
    /// In the memory the results came in; `None` where there is an error.
    sent: Vec<Option<SendResult>>,
    errors: Vec<(usize, qrt_error_t)>,
    /// Written out when they are asked for, which few senders do.
    ids: OnceLock<Box<[OnceLock<String>]>>,
}

impl qrt_send_results_t {
    pub(crate) fn new(results: Vec<Result<SendResult>>) -> Box<Self> {
        let mut errors = Vec::new();
        let sent = results.into_iter().enumerate().map(|(index, result)| {
            result
                .map_err(|error| errors.push((index, qrt_error_t::new(error))))
                .ok()
        });
        Box::new(Self {
            sent: sent.collect(),
            errors,
            ids: OnceLock::new(),
        })
    }

    fn id(&self, index: usize) -> Option<&str> {
        let result = self.sent.get(index)?.as_ref()?;
        let none = || self.sent.iter().map(|_| OnceLock::new()).collect();
        let id = &self.ids.get_or_init(none)[index];
        Some(id.get_or_init(|| result.id.to_string()))
    }

    fn error(&self, index: usize) -> Option<&qrt_error_t> {
        let found = self
            .errors
            .binary_search_by_key(&index, |(index, _)| *index);
        Some(&self.errors[found.ok()?].1)
    }
}

/// # Safety
/// The handle is NULL or good.
unsafe fn read<T>(
    results: *const qrt_send_results_t,
    fallback: T,
    read: impl FnOnce(&qrt_send_results_t) -> T,
) -> T
where
    T: Copy,
{
    // SAFETY: the caller vouches for the handle.
    match unsafe { results.as_ref() } {
        Some(results) => get(fallback, || read(results)),
        None => fallback,
    }
}

/// How many results; 0 for NULL. Any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qrt_send_results_count(results: *const qrt_send_results_t) -> usize {
    // SAFETY: the caller vouches for the handle.
    unsafe { read(results, 0, |r| r.sent.len()) }
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
    unsafe {
        read(results, none, |r| match r.sent.get(index) {
            Some(Some(_)) => QRT_OK,
            _ => r.error(index).map_or(none, qrt_error_t::status),
        })
    }
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
        read(results, qrt_bytes_t::EMPTY, |r| {
            qrt_bytes_t::of_text(r.id(index))
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
        read(results, 0, |r| match r.sent.get(index) {
            Some(Some(result)) => u32::from(result.is_duplicate()),
            _ => 0,
        })
    }
}

/// The error of message `index`, or NULL. Borrows until the results are freed. Any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qrt_send_results_error(
    results: *const qrt_send_results_t,
    index: usize,
) -> *const qrt_error_t {
    // SAFETY: the caller vouches for the handle.
    unsafe {
        read(results, std::ptr::null(), |r| {
            r.error(index).map_or(std::ptr::null(), std::ptr::from_ref)
        })
    }
}

/// Frees results. NULL does nothing. Any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qrt_send_results_free(results: *mut qrt_send_results_t) {
    // SAFETY: the caller gives up its handle.
    unsafe { free(results) }
}
