//! Counts and ages of a queue.

use queue_runtime_core::Statistics;

use crate::abi::{free, get, millis};

/// Counts and ages of a queue at one moment. Immutable, any thread.
pub struct qrt_statistics_t(Statistics);

impl qrt_statistics_t {
    pub(crate) fn new(statistics: Statistics) -> Box<Self> {
        Box::new(Self(statistics))
    }
}

/// # Safety
/// The handle is NULL or good.
unsafe fn read<T: Copy>(
    statistics: *const qrt_statistics_t,
    fallback: T,
    read: impl FnOnce(&Statistics) -> T,
) -> T {
    // SAFETY: the caller vouches for the handle.
    match unsafe { statistics.as_ref() } {
        Some(statistics) => get(fallback, || read(&statistics.0)),
        None => fallback,
    }
}

/// Messages to be received now; 0 for NULL. Any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qrt_statistics_ready(statistics: *const qrt_statistics_t) -> u64 {
    // SAFETY: the caller vouches for the handle.
    unsafe { read(statistics, 0, |s| s.ready) }
}

/// Messages in somebody's hands; 0 for NULL. Any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qrt_statistics_in_flight(statistics: *const qrt_statistics_t) -> u64 {
    // SAFETY: the caller vouches for the handle.
    unsafe { read(statistics, 0, |s| s.in_flight) }
}

/// Messages that appear later; 0 for NULL. Any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qrt_statistics_delayed(statistics: *const qrt_statistics_t) -> u64 {
    // SAFETY: the caller vouches for the handle.
    unsafe { read(statistics, 0, |s| s.delayed) }
}

/// All messages but the dead letters; 0 for NULL. Any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qrt_statistics_depth(statistics: *const qrt_statistics_t) -> u64 {
    // SAFETY: the caller vouches for the handle.
    unsafe { read(statistics, 0, |s| s.depth()) }
}

/// Dead letters; 0 for NULL. Any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qrt_statistics_dead(statistics: *const qrt_statistics_t) -> u64 {
    // SAFETY: the caller vouches for the handle.
    unsafe { read(statistics, 0, |s| s.dead) }
}

/// Bytes of all messages but the dead letters; 0 for NULL. Any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qrt_statistics_bytes(statistics: *const qrt_statistics_t) -> u64 {
    // SAFETY: the caller vouches for the handle.
    unsafe { read(statistics, 0, |s| s.bytes) }
}

/// Sessions that have messages, a holder or a state; 0 for NULL. Any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qrt_statistics_sessions(statistics: *const qrt_statistics_t) -> u64 {
    // SAFETY: the caller vouches for the handle.
    unsafe { read(statistics, 0, |s| s.sessions) }
}

/// Age of the oldest message that is not a dead letter, in milliseconds; -1 without any. Any
/// thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qrt_statistics_oldest_age_ms(statistics: *const qrt_statistics_t) -> i64 {
    // SAFETY: the caller vouches for the handle.
    unsafe { read(statistics, -1, |s| s.oldest_age.map_or(-1, millis)) }
}

/// Frees statistics. NULL does nothing. Any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qrt_statistics_free(statistics: *mut qrt_statistics_t) {
    // SAFETY: the caller gives up its handle.
    unsafe { free(statistics) }
}
