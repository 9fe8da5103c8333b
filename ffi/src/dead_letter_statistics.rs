//! Statistics of dead letters: how many died of what, since when, and from which queue.

use queue_runtime_core::{DeadLetterAge, DeadLetterGroup, DeadLetterStatistics};

use crate::abi::{borrow, call, free, get, handle_output, millis, qrt_bytes_t};
use crate::dead_letter::{qrt_dead_letter_filter_t, read_filter};
use crate::error::{qrt_error_t, qrt_status_t};
use crate::op::{op_place, qrt_completion_t, qrt_op_t, start_future};
use crate::queue::qrt_queue_t;

/// The groups of dead letters by their reason.
pub const QRT_BY_REASON: u32 = 0;

/// The groups of dead letters by the queue they were sent to.
pub const QRT_BY_SOURCE: u32 = 1;

/// How many dead letters there are, why, since when, and from which queue. Immutable, any thread.
pub struct qrt_dead_letter_statistics_t(DeadLetterStatistics);

/// Counts dead letters by their reason, their source and their age. They are listed for it, 1,000 at
/// a time and with their bodies, so its cost grows with them; it takes nothing. Those that die while
/// it goes on may be left out. The filter may be NULL, which means all. `QRT_OK`: `*statistics` has
/// them, the caller owns it. `QRT_PENDING`: `qrt_op_take_dead_letter_statistics`. Any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qrt_queue_dead_letter_statistics(
    queue: *mut qrt_queue_t,
    filter: *const qrt_dead_letter_filter_t,
    done: qrt_completion_t,
    statistics: *mut *mut qrt_dead_letter_statistics_t,
    op: *mut *mut qrt_op_t,
    error: *mut *mut qrt_error_t,
) -> qrt_status_t {
    // SAFETY: the caller vouches for the pointers.
    unsafe {
        call(error, || {
            let op = op_place(op);
            let place = handle_output(statistics, "statistics")?;
            let handle = borrow(queue, "queue")?;
            let filter = read_filter(filter)?;
            let queue = handle.usable()?.clone();
            let count = async move {
                let statistics = queue.dead_letter_statistics(filter).await?;
                Ok(Box::new(qrt_dead_letter_statistics_t(statistics)))
            };
            start_future(&handle.home, count, done, place, op)
        })
    }
}

/// # Safety
/// The handle is NULL or good.
unsafe fn read<T: Copy>(
    statistics: *const qrt_dead_letter_statistics_t,
    fallback: T,
    read: impl FnOnce(&DeadLetterStatistics) -> T,
) -> T {
    // SAFETY: the caller vouches for the handle.
    match unsafe { statistics.as_ref() } {
        Some(statistics) => get(fallback, || read(&statistics.0)),
        None => fallback,
    }
}

/// # Safety
/// The handle is NULL or good.
unsafe fn group<T: Copy>(
    statistics: *const qrt_dead_letter_statistics_t,
    by: u32,
    index: usize,
    fallback: T,
    pick: impl FnOnce(&DeadLetterGroup) -> T,
) -> T {
    // SAFETY: the caller vouches for the handle.
    unsafe {
        read(statistics, fallback, |s| {
            groups(s, by).get(index).map_or(fallback, pick)
        })
    }
}

/// # Safety
/// The handle is NULL or good.
unsafe fn age<T: Copy>(
    statistics: *const qrt_dead_letter_statistics_t,
    index: usize,
    fallback: T,
    pick: impl FnOnce(&DeadLetterAge) -> T,
) -> T {
    // SAFETY: the caller vouches for the handle.
    unsafe {
        read(statistics, fallback, |s| {
            s.by_age.get(index).map_or(fallback, pick)
        })
    }
}

fn groups(statistics: &DeadLetterStatistics, by: u32) -> &[DeadLetterGroup] {
    match by {
        QRT_BY_REASON => &statistics.by_reason,
        QRT_BY_SOURCE => &statistics.by_source,
        _ => &[],
    }
}

/// How many dead letters; 0 for NULL. Any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qrt_dead_letter_statistics_count(
    statistics: *const qrt_dead_letter_statistics_t,
) -> u64 {
    // SAFETY: the caller vouches for the handle.
    unsafe { read(statistics, 0, |s| s.count) }
}

/// Bytes of their bodies; 0 for NULL. Any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qrt_dead_letter_statistics_bytes(
    statistics: *const qrt_dead_letter_statistics_t,
) -> u64 {
    // SAFETY: the caller vouches for the handle.
    unsafe { read(statistics, 0, |s| s.bytes) }
}

/// When the first of them was given up, in milliseconds since 1970 UTC; -1 when there are none. Any
/// thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qrt_dead_letter_statistics_oldest(
    statistics: *const qrt_dead_letter_statistics_t,
) -> i64 {
    // SAFETY: the caller vouches for the handle.
    unsafe { read(statistics, -1, |s| s.oldest.map_or(-1, |at| at.0)) }
}

/// When the last of them was given up, in milliseconds since 1970 UTC; -1 when there are none. Any
/// thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qrt_dead_letter_statistics_newest(
    statistics: *const qrt_dead_letter_statistics_t,
) -> i64 {
    // SAFETY: the caller vouches for the handle.
    unsafe { read(statistics, -1, |s| s.newest.map_or(-1, |at| at.0)) }
}

/// How many groups there are, `by` being `QRT_BY_REASON` or `QRT_BY_SOURCE`: the largest first, then
/// by name. The first 1,000 names met, of 1 MiB together, have a group each; all others are in one
/// named `(others)`. The providers there are list the dead letters of one queue, which is then the
/// only source. 0 for NULL. Any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qrt_dead_letter_statistics_groups(
    statistics: *const qrt_dead_letter_statistics_t,
    by: u32,
) -> usize {
    // SAFETY: the caller vouches for the handle.
    unsafe { read(statistics, 0, |s| groups(s, by).len()) }
}

/// The reason or the queue of group `index`, or empty. Borrows until the statistics are freed. Any
/// thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qrt_dead_letter_statistics_group_name(
    statistics: *const qrt_dead_letter_statistics_t,
    by: u32,
    index: usize,
) -> qrt_bytes_t {
    // SAFETY: the caller vouches for the handle.
    unsafe {
        group(statistics, by, index, qrt_bytes_t::EMPTY, |g| {
            qrt_bytes_t::of_text(Some(&g.name))
        })
    }
}

/// How many dead letters are in group `index`. Any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qrt_dead_letter_statistics_group_count(
    statistics: *const qrt_dead_letter_statistics_t,
    by: u32,
    index: usize,
) -> u64 {
    // SAFETY: the caller vouches for the handle.
    unsafe { group(statistics, by, index, 0, |g| g.count) }
}

/// When the first of group `index` was given up, in milliseconds since 1970 UTC; -1 when there is no
/// such group. Any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qrt_dead_letter_statistics_group_oldest(
    statistics: *const qrt_dead_letter_statistics_t,
    by: u32,
    index: usize,
) -> i64 {
    // SAFETY: the caller vouches for the handle.
    unsafe { group(statistics, by, index, -1, |g| g.oldest.0) }
}

/// When the last of group `index` was given up, in milliseconds since 1970 UTC; -1 when there is no
/// such group. Any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qrt_dead_letter_statistics_group_newest(
    statistics: *const qrt_dead_letter_statistics_t,
    by: u32,
    index: usize,
) -> i64 {
    // SAFETY: the caller vouches for the handle.
    unsafe { group(statistics, by, index, -1, |g| g.newest.0) }
}

/// How many groups by age there are: always five, of what was given up to a minute ago, an hour, a
/// day, a week, and longer ago. 0 for NULL. Any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qrt_dead_letter_statistics_ages(
    statistics: *const qrt_dead_letter_statistics_t,
) -> usize {
    // SAFETY: the caller vouches for the handle.
    unsafe { read(statistics, 0, |s| s.by_age.len()) }
}

/// How long ago at most the dead letters of age group `index` were given up, in milliseconds, each
/// longer ago than those of the group before; -1 for the last one, which has no bound. Any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qrt_dead_letter_statistics_age_up_to_ms(
    statistics: *const qrt_dead_letter_statistics_t,
    index: usize,
) -> i64 {
    // SAFETY: the caller vouches for the handle.
    unsafe { age(statistics, index, -1, |age| age.up_to.map_or(-1, millis)) }
}

/// How many dead letters are in age group `index`. Any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qrt_dead_letter_statistics_age_count(
    statistics: *const qrt_dead_letter_statistics_t,
    index: usize,
) -> u64 {
    // SAFETY: the caller vouches for the handle.
    unsafe { age(statistics, index, 0, |age| age.count) }
}

/// Frees statistics. NULL does nothing. Any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qrt_dead_letter_statistics_free(
    statistics: *mut qrt_dead_letter_statistics_t,
) {
    // SAFETY: the caller gives up its handle.
    unsafe { free(statistics) }
}
