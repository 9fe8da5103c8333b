//! What a drain did.

use queue_runtime_core::DrainReport;

use crate::abi::{free, get};

/// What became of the deliveries a consumer had when its drain began. Immutable, any thread.
pub struct qrt_drain_report_t(DrainReport);

impl qrt_drain_report_t {
    pub(crate) fn new(report: DrainReport) -> Box<Self> {
        Box::new(Self(report))
    }
}

/// # Safety
/// The handle is NULL or good.
unsafe fn read(report: *const qrt_drain_report_t, read: impl FnOnce(&DrainReport) -> u64) -> u64 {
    // SAFETY: the caller vouches for the handle.
    unsafe { report.as_ref() }.map_or(0, |report| get(0, || read(&report.0)))
}

/// How many were in hand and settled in time; 0 for NULL. Any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qrt_drain_report_finished(report: *const qrt_drain_report_t) -> u64 {
    // SAFETY: the caller vouches for the handle.
    unsafe { read(report, |r| r.finished) }
}

/// How many were given back with their attempts restored; 0 for NULL. Any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qrt_drain_report_released(report: *const qrt_drain_report_t) -> u64 {
    // SAFETY: the caller vouches for the handle.
    unsafe { read(report, |r| r.released) }
}

/// How many were neither settled nor given back, and come back when their locks end; 0 for NULL.
/// Any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qrt_drain_report_abandoned(report: *const qrt_drain_report_t) -> u64 {
    // SAFETY: the caller vouches for the handle.
    unsafe { read(report, |r| r.abandoned) }
}

/// Frees a report. NULL does nothing. Any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qrt_drain_report_free(report: *mut qrt_drain_report_t) {
    // SAFETY: the caller gives up its handle.
    unsafe { free(report) }
}
