//! What a close of a write-behind did.

use queue_runtime_core::Entry;
use queue_runtime_core::write_behind::CloseReport;

use crate::abi::{free, get, qrt_bytes_t};
use crate::rejected::qrt_rejected_t;

/// What a close did not write. Immutable, any thread.
pub struct qrt_close_report_t {
    unwritten: Vec<Entry>,
    left_in_journal: u64,
    rejected: qrt_rejected_t,
}

impl qrt_close_report_t {
    pub(crate) fn new(report: CloseReport) -> Box<Self> {
        Box::new(Self {
            unwritten: report.unwritten,
            left_in_journal: report.left_in_journal,
            rejected: qrt_rejected_t::new(report.rejected),
        })
    }
}

/// # Safety
/// The handle is NULL or good.
unsafe fn unwritten(
    report: *const qrt_close_report_t,
    index: usize,
    read: impl FnOnce(&Entry) -> qrt_bytes_t,
) -> qrt_bytes_t {
    // SAFETY: the caller vouches for the handle.
    match unsafe { report.as_ref() }.and_then(|report| report.unwritten.get(index)) {
        Some(entry) => get(qrt_bytes_t::EMPTY, || read(entry)),
        None => qrt_bytes_t::EMPTY,
    }
}

/// How many entries could not be written in time and are given back here, in the order of their
/// coming; 0 for NULL. Any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qrt_close_report_unwritten_count(
    report: *const qrt_close_report_t,
) -> usize {
    // SAFETY: the caller vouches for the handle.
    unsafe { report.as_ref() }.map_or(0, |report| report.unwritten.len())
}

/// The body of unwritten entry `index`. Borrows until the report is freed. Any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qrt_close_report_unwritten_body(
    report: *const qrt_close_report_t,
    index: usize,
) -> qrt_bytes_t {
    // SAFETY: the caller vouches for the handle.
    unsafe { unwritten(report, index, |entry| qrt_bytes_t::of(entry.body())) }
}

/// The key of unwritten entry `index`, empty for none. Borrows until the report is freed. Any
/// thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qrt_close_report_unwritten_key(
    report: *const qrt_close_report_t,
    index: usize,
) -> qrt_bytes_t {
    // SAFETY: the caller vouches for the handle.
    unsafe {
        unwritten(report, index, |entry| {
            let key = entry.get_key();
            key.map_or(qrt_bytes_t::EMPTY, |key| qrt_bytes_t::of(key))
        })
    }
}

/// How many entries stay in the journal for the next start; 0 for NULL. Any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qrt_close_report_left_in_journal(
    report: *const qrt_close_report_t,
) -> u64 {
    // SAFETY: the caller vouches for the handle.
    unsafe { report.as_ref() }.map_or(0, |report| report.left_in_journal)
}

/// The entries that were given up and kept because there is no dead-letter queue; NULL for NULL.
/// Borrows until the report is freed, and is not freed itself. Any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qrt_close_report_rejected(
    report: *const qrt_close_report_t,
) -> *const qrt_rejected_t {
    // SAFETY: the caller vouches for the handle.
    match unsafe { report.as_ref() } {
        Some(report) => &raw const report.rejected,
        None => std::ptr::null(),
    }
}

/// Frees a report. NULL does nothing. Any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qrt_close_report_free(report: *mut qrt_close_report_t) {
    // SAFETY: the caller gives up its handle.
    unsafe { free(report) }
}
