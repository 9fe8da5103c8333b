//! Many settlements in one call.

use queue_runtime_core::{Queue, Result, Settlement, Verb};

use crate::abi::{
    borrow, call, check_flags, duration, free, handle_output, null, qrt_bytes_t, run, slice,
    some_duration,
};
use crate::delivery::qrt_delivery_t;
use crate::error::{QRT_ERR_INVALID_ARGUMENT, QRT_OK, qrt_error_t, qrt_status_t, status_of};
use crate::op::{op_place, qrt_completion_t, qrt_op_t, start};
use crate::queue::{QRT_MAY_BLOCK, qrt_queue_t, start_verb};

pub(crate) fn nack(reason: qrt_bytes_t, delay_ms: i64) -> Result<Verb> {
    // SAFETY: the callers pass on what the C caller vouches for.
    let reason = unsafe { reason.some_text("reason") }?;
    Ok(Verb::Nack {
        reason: reason.map(Into::into),
        delay: some_duration(delay_ms, "delay_ms")?,
    })
}

pub(crate) fn release(delay_ms: i64) -> Result<Verb> {
    let delay = some_duration(delay_ms, "delay_ms")?;
    Ok(Verb::Release { delay })
}

pub(crate) fn dead_letter(reason: qrt_bytes_t, description: qrt_bytes_t) -> Result<Verb> {
    // SAFETY: the callers pass on what the C caller vouches for.
    let (reason, description) = unsafe {
        (
            reason.some_text("reason")?,
            description.some_text("description")?,
        )
    };
    let reason = reason.ok_or_else(|| {
        queue_runtime_core::Error::invalid_argument("reason", "must not be empty")
    })?;
    Ok(Verb::DeadLetter {
        reason: reason.into(),
        description: description.map(Into::into),
    })
}

/// A list of deliveries and how each ends. One thread at a time may add to it.
#[derive(Default)]
pub struct qrt_settlements_t {
    entries: Vec<Settlement>,
}

/// Makes an empty list. The caller owns it. Any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qrt_settlements_new(
    settlements: *mut *mut qrt_settlements_t,
    error: *mut *mut qrt_error_t,
) -> qrt_status_t {
    // SAFETY: the caller vouches for the pointers.
    unsafe {
        run(error, || {
            let place = handle_output(settlements, "settlements")?;
            place.0 = Box::into_raw(Box::default());
            Ok(())
        })
    }
}

/// # Safety
/// The pointers are NULL or good.
unsafe fn add(
    settlements: *mut qrt_settlements_t,
    delivery: *const qrt_delivery_t,
    error: *mut *mut qrt_error_t,
    verb: impl FnOnce() -> Result<Verb>,
) -> qrt_status_t {
    // SAFETY: the caller vouches for the pointers.
    unsafe {
        run(error, || {
            let settlements = settlements.as_mut().ok_or_else(|| null("settlements"))?;
            let delivery = borrow(delivery, "delivery")?.usable()?;
            settlements.entries.push(delivery.settlement(verb()?));
            Ok(())
        })
    }
}

/// Adds: this delivery is done. Copies what it needs of the delivery. One thread at a time.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qrt_settlements_ack(
    settlements: *mut qrt_settlements_t,
    delivery: *const qrt_delivery_t,
    error: *mut *mut qrt_error_t,
) -> qrt_status_t {
    // SAFETY: the caller vouches for the pointers.
    unsafe { add(settlements, delivery, error, || Ok(Verb::Ack)) }
}

/// Adds: this attempt failed, as `qrt_delivery_nack`. Copies. One thread at a time.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qrt_settlements_nack(
    settlements: *mut qrt_settlements_t,
    delivery: *const qrt_delivery_t,
    reason: qrt_bytes_t,
    delay_ms: i64,
    error: *mut *mut qrt_error_t,
) -> qrt_status_t {
    // SAFETY: the caller vouches for the pointers.
    unsafe { add(settlements, delivery, error, || nack(reason, delay_ms)) }
}

/// Adds: given back unblamed, as `qrt_delivery_release`. Copies. One thread at a time.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qrt_settlements_release(
    settlements: *mut qrt_settlements_t,
    delivery: *const qrt_delivery_t,
    delay_ms: i64,
    error: *mut *mut qrt_error_t,
) -> qrt_status_t {
    // SAFETY: the caller vouches for the pointers.
    unsafe { add(settlements, delivery, error, || release(delay_ms)) }
}

/// Adds: to the dead-letter queue, as `qrt_delivery_dead_letter`. Copies. One thread at a time.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qrt_settlements_dead_letter(
    settlements: *mut qrt_settlements_t,
    delivery: *const qrt_delivery_t,
    reason: qrt_bytes_t,
    description: qrt_bytes_t,
    error: *mut *mut qrt_error_t,
) -> qrt_status_t {
    // SAFETY: the caller vouches for the pointers.
    unsafe {
        add(settlements, delivery, error, || {
            dead_letter(reason, description)
        })
    }
}

/// How many are in the list; 0 for NULL. Any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qrt_settlements_count(settlements: *const qrt_settlements_t) -> usize {
    // SAFETY: the caller vouches for the handle.
    unsafe { settlements.as_ref() }.map_or(0, |settlements| settlements.entries.len())
}

/// Empties the list, to be filled again. NULL does nothing. One thread at a time.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qrt_settlements_clear(settlements: *mut qrt_settlements_t) {
    // SAFETY: the caller vouches for the handle.
    if let Some(settlements) = unsafe { settlements.as_mut() } {
        settlements.entries.clear();
    }
}

/// Frees a list. NULL does nothing. Any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qrt_settlements_free(settlements: *mut qrt_settlements_t) {
    // SAFETY: the caller gives up its handle.
    unsafe { free(settlements) }
}

/// Ends the deliveries of a list, all of this queue. `QRT_OK`: `*results` says what became of
/// each, result i of entry i; the caller owns it. `QRT_PENDING`: `qrt_op_take_settle_results`.
/// `flags`: `QRT_MAY_BLOCK` or 0. The list stays the caller's. Any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qrt_settle(
    queue: *mut qrt_queue_t,
    settlements: *const qrt_settlements_t,
    flags: u32,
    done: qrt_completion_t,
    results: *mut *mut qrt_settle_results_t,
    op: *mut *mut qrt_op_t,
    error: *mut *mut qrt_error_t,
) -> qrt_status_t {
    // SAFETY: the caller vouches for the pointers.
    unsafe {
        call(error, || {
            let op = op_place(op);
            let place = handle_output(results, "results")?;
            let handle = borrow(queue, "queue")?;
            let settlements = borrow(settlements, "settlements")?;
            check_flags(flags, QRT_MAY_BLOCK)?;
            let queue: &Queue = handle.usable()?;
            let entries = settlements.entries.clone();
            let reply = start_verb(flags, || queue.start_settle(entries));
            let results = reply.map(|results| Ok(qrt_settle_results_t::new(results)));
            start(&handle.home, results, done, place, op)
        })
    }
}

/// What became of settlements, or of entries that were enqueued. Result i belongs to entry i.
/// Immutable, any thread.
pub struct qrt_settle_results_t {
    entries: Vec<Option<Box<(qrt_status_t, qrt_error_t)>>>,
}

impl qrt_settle_results_t {
    pub(crate) fn new(results: Vec<Result<()>>) -> Box<Self> {
        let entry = |result: Result<()>| {
            let error = result.err()?;
            Some(Box::new((status_of(&error), qrt_error_t::new(error))))
        };
        Box::new(Self {
            entries: results.into_iter().map(entry).collect(),
        })
    }
}

/// How many results; 0 for NULL. Any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qrt_settle_results_count(results: *const qrt_settle_results_t) -> usize {
    // SAFETY: the caller vouches for the handle.
    unsafe { results.as_ref() }.map_or(0, |results| results.entries.len())
}

/// `QRT_OK` when entry `index` was settled, or accepted, else why not; `QRT_ERR_INVALID_ARGUMENT` when there is
/// no such result. Any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qrt_settle_results_status(
    results: *const qrt_settle_results_t,
    index: usize,
) -> qrt_status_t {
    // SAFETY: the caller vouches for the handle.
    match unsafe { results.as_ref() }.and_then(|results| results.entries.get(index)) {
        Some(None) => QRT_OK,
        Some(Some(failed)) => failed.0,
        None => QRT_ERR_INVALID_ARGUMENT,
    }
}

/// The error of entry `index`, or NULL. Borrows until the results are freed. Any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qrt_settle_results_error(
    results: *const qrt_settle_results_t,
    index: usize,
) -> *const qrt_error_t {
    // SAFETY: the caller vouches for the handle.
    match unsafe { results.as_ref() }.and_then(|results| results.entries.get(index)) {
        Some(Some(failed)) => &raw const failed.1,
        _ => std::ptr::null(),
    }
}

/// Frees results. NULL does nothing. Any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qrt_settle_results_free(results: *mut qrt_settle_results_t) {
    // SAFETY: the caller gives up its handle.
    unsafe { free(results) }
}

/// Keeps the locks of `count` deliveries of this queue for `lock_ms` milliseconds from now: result
/// i belongs to delivery i. Otherwise as `qrt_settle`. Any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qrt_extend(
    queue: *mut qrt_queue_t,
    deliveries: *const *const qrt_delivery_t,
    count: usize,
    lock_ms: i64,
    done: qrt_completion_t,
    results: *mut *mut qrt_settle_results_t,
    op: *mut *mut qrt_op_t,
    error: *mut *mut qrt_error_t,
) -> qrt_status_t {
    // SAFETY: the caller vouches for the pointers.
    unsafe {
        call(error, || {
            let op = op_place(op);
            let place = handle_output(results, "results")?;
            let handle = borrow(queue, "queue")?;
            let lock = duration(lock_ms, "lock_ms")?;
            let deliveries = slice(deliveries, count, "deliveries")?.iter();
            let receipts = deliveries.map(|delivery| {
                let delivery = borrow(*delivery, "deliveries")?;
                Ok(delivery.usable()?.receipt().clone())
            });
            let reply = handle
                .usable()?
                .start_extend(receipts.collect::<Result<_>>()?, lock);
            let results = reply.map(|results| {
                let results = results.into_iter().map(|r| r.map(|_| ()));
                Ok(qrt_settle_results_t::new(results.collect()))
            });
            start(&handle.home, results, done, place, op)
        })
    }
}
