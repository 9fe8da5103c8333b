//! What a redrive did.

use queue_runtime_core::RedriveReport;

use crate::abi::{free, get, qrt_bytes_t};

/// What a redrive did. Immutable, any thread.
pub struct qrt_redrive_report_t {
    report: RedriveReport,
    failed: Vec<String>,
}

impl qrt_redrive_report_t {
    pub(crate) fn new(report: RedriveReport) -> Box<Self> {
        let failed = report.failed.iter().map(|(id, _)| id.to_string()).collect();
        Box::new(Self { report, failed })
    }
}

/// # Safety
/// The handle is NULL or good.
unsafe fn read<T: Copy>(
    report: *const qrt_redrive_report_t,
    fallback: T,
    read: impl FnOnce(&qrt_redrive_report_t) -> T,
) -> T {
    // SAFETY: the caller vouches for the handle.
    match unsafe { report.as_ref() } {
        Some(report) => get(fallback, || read(report)),
        None => fallback,
    }
}

/// How many dead letters matched; 0 for NULL. Any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qrt_redrive_report_matched(report: *const qrt_redrive_report_t) -> u64 {
    // SAFETY: the caller vouches for the handle.
    unsafe { read(report, 0, |r| r.report.matched) }
}

/// How many dead letters are back in the queue; 0 for NULL. Any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qrt_redrive_report_redriven(report: *const qrt_redrive_report_t) -> u64 {
    // SAFETY: the caller vouches for the handle.
    unsafe { read(report, 0, |r| r.report.redriven) }
}

/// The number of the last dead letter looked at: where to go on; 0 when there was none. Any
/// thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qrt_redrive_report_last(report: *const qrt_redrive_report_t) -> u64 {
    // SAFETY: the caller vouches for the handle.
    unsafe { read(report, 0, |r| r.report.last.unwrap_or(0)) }
}

/// How many dead letters could not be sent back and stay; 0 for NULL. Any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qrt_redrive_report_failed_count(
    report: *const qrt_redrive_report_t,
) -> usize {
    // SAFETY: the caller vouches for the handle.
    unsafe { read(report, 0, |r| r.failed.len()) }
}

/// The id of failed dead letter `index`, or empty. Borrows until the report is freed. Any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qrt_redrive_report_failed_id(
    report: *const qrt_redrive_report_t,
    index: usize,
) -> qrt_bytes_t {
    // SAFETY: the caller vouches for the handle.
    unsafe {
        read(report, qrt_bytes_t::EMPTY, |r| {
            qrt_bytes_t::of_text(r.failed.get(index).map(String::as_str))
        })
    }
}

/// Why failed dead letter `index` could not be sent back, or empty. Borrows until the report is
/// freed. Any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qrt_redrive_report_failed_reason(
    report: *const qrt_redrive_report_t,
    index: usize,
) -> qrt_bytes_t {
    // SAFETY: the caller vouches for the handle.
    unsafe {
        read(report, qrt_bytes_t::EMPTY, |r| {
            qrt_bytes_t::of_text(r.report.failed.get(index).map(|(_, reason)| &**reason))
        })
    }
}

/// Frees a report. NULL does nothing. Any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qrt_redrive_report_free(report: *mut qrt_redrive_report_t) {
    // SAFETY: the caller gives up its handle.
    unsafe { free(report) }
}
