//! Counts of a write-behind.

use queue_runtime_core::WriteBehindMetrics;

use crate::abi::free;

/// Counts of a write-behind, all of one moment: enqueued is always the sum of persisted, failed and
/// depth. Immutable, any thread.
pub struct qrt_write_behind_metrics_t(pub(crate) WriteBehindMetrics);

/// Entries that were accepted; 0 for NULL. Any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qrt_write_behind_metrics_enqueued(
    metrics: *const qrt_write_behind_metrics_t,
) -> u64 {
    // SAFETY: the caller vouches for the handle.
    unsafe { metrics.as_ref() }.map_or(0, |metrics| metrics.0.total_enqueued)
}

/// Entries that are in the sink, or for which a later one of their key is; 0 for NULL. Any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qrt_write_behind_metrics_persisted(
    metrics: *const qrt_write_behind_metrics_t,
) -> u64 {
    // SAFETY: the caller vouches for the handle.
    unsafe { metrics.as_ref() }.map_or(0, |metrics| metrics.0.total_persisted)
}

/// Entries that were given up; 0 for NULL. Any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qrt_write_behind_metrics_failed(
    metrics: *const qrt_write_behind_metrics_t,
) -> u64 {
    // SAFETY: the caller vouches for the handle.
    unsafe { metrics.as_ref() }.map_or(0, |metrics| metrics.0.total_failed)
}

/// How often an entry was tried again; 0 for NULL. Any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qrt_write_behind_metrics_retries(
    metrics: *const qrt_write_behind_metrics_t,
) -> u64 {
    // SAFETY: the caller vouches for the handle.
    unsafe { metrics.as_ref() }.map_or(0, |metrics| metrics.0.total_retries)
}

/// Batches that the sink answered; 0 for NULL. Any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qrt_write_behind_metrics_batches(
    metrics: *const qrt_write_behind_metrics_t,
) -> u64 {
    // SAFETY: the caller vouches for the handle.
    unsafe { metrics.as_ref() }.map_or(0, |metrics| metrics.0.total_batches)
}

/// Entries that were accepted and are neither persisted nor failed; 0 for NULL. Any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qrt_write_behind_metrics_depth(
    metrics: *const qrt_write_behind_metrics_t,
) -> u64 {
    // SAFETY: the caller vouches for the handle.
    unsafe { metrics.as_ref() }.map_or(0, |metrics| metrics.0.current_queue_depth)
}

/// When this was so, in milliseconds since 1970 UTC; 0 for NULL. Any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qrt_write_behind_metrics_timestamp(
    metrics: *const qrt_write_behind_metrics_t,
) -> i64 {
    // SAFETY: the caller vouches for the handle.
    unsafe { metrics.as_ref() }.map_or(0, |metrics| metrics.0.timestamp.0)
}

/// Frees counts. NULL does nothing. Any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qrt_write_behind_metrics_free(metrics: *mut qrt_write_behind_metrics_t) {
    // SAFETY: the caller gives up its handle.
    unsafe { free(metrics) }
}
