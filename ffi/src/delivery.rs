//! Deliveries, and the batches they come in.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use queue_runtime_core::{CancelCause, Delivery, Result, Verb};
use smallvec::SmallVec;

use crate::abi::{borrow, call, check_flags, duration, get, qrt_bytes_t};
use crate::error::{qrt_error_t, qrt_status_t};
use crate::message::qrt_message_t;
use crate::op::{op_place, qrt_completion_t, qrt_op_t, start, start_future};
use crate::queue::{QRT_MAY_BLOCK, start_verb};
use crate::runtime::Home;

/// Messages of one receive, each a delivery. Immutable, any thread. Outlives its queue, client
/// and runtime safely. Freeing it settles nothing: what is not settled comes back when its lock
/// ends.
// The handle is an `Arc`'s own pointer: the batch and each delivery that is retained hold one.
pub struct qrt_batch_t {
    deliveries: std::mem::ManuallyDrop<SmallVec<[qrt_delivery_t; 1]>>,
    home: Home,
}

/// One hand-over of a message. Belongs to its batch, or, once retained, to the caller as well.
/// Thread-safe.
pub struct qrt_delivery_t {
    delivery: Delivery,
    id: std::sync::OnceLock<String>,
    /// The batch this is an element of; set once the batch is in its place.
    batch: *const qrt_batch_t,
}

// SAFETY: the pointer is to the batch that owns this element, and only used to count holders.
unsafe impl Send for qrt_delivery_t {}
// SAFETY: as above; the rest is `Sync` by itself.
unsafe impl Sync for qrt_delivery_t {}

impl qrt_batch_t {
    pub(crate) fn new(deliveries: impl IntoIterator<Item = Delivery>, home: Home) -> Arc<Self> {
        Arc::new_cyclic(|weak: &std::sync::Weak<Self>| {
            let batch = weak.as_ptr();
            let element = |delivery| qrt_delivery_t {
                delivery,
                id: std::sync::OnceLock::new(),
                batch,
            };
            let deliveries = deliveries.into_iter().map(element).collect();
            Self {
                deliveries: std::mem::ManuallyDrop::new(deliveries),
                home,
            }
        })
    }

    /// Gives back what is not settled, unblamed, in the background.
    pub(crate) fn release_all(&self) {
        if self.home.check().is_err() || self.deliveries.is_empty() {
            return;
        }
        let home = self.home.clone();
        let queue = self.deliveries[0].delivery.queue().clone();
        let settlements = self
            .deliveries
            .iter()
            .filter(|d| !d.delivery.is_settled())
            .map(|d| d.delivery.settlement(Verb::Release { delay: None }))
            .collect();
        if let Err(pending) = queue.start_settle(settlements).try_now() {
            home.spawn(async move {
                let _ = pending.await;
            });
        }
    }
}

impl Drop for qrt_batch_t {
    fn drop(&mut self) {
        if self.home.is_here() {
            // SAFETY: dropped once, here; leaked in a forked child.
            unsafe { std::mem::ManuallyDrop::drop(&mut self.deliveries) };
        }
    }
}

impl qrt_delivery_t {
    pub(crate) fn usable(&self) -> Result<&Delivery> {
        self.home().check()?;
        Ok(&self.delivery)
    }

    pub(crate) fn home(&self) -> &Home {
        // SAFETY: an element is only reached through its batch, or a retained hold on it.
        unsafe { &(*self.batch).home }
    }
}

/// How many messages; 0 for NULL. Any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qrt_batch_count(batch: *const qrt_batch_t) -> usize {
    // SAFETY: the caller vouches for the handle.
    unsafe { batch.as_ref() }.map_or(0, |batch| batch.deliveries.len())
}

/// Delivery `index`, or NULL when there is none. Borrows until the batch is freed; retain it to
/// keep it longer. Any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qrt_batch_get(
    batch: *const qrt_batch_t,
    index: usize,
) -> *const qrt_delivery_t {
    // SAFETY: the caller vouches for the handle.
    let delivery = unsafe { batch.as_ref() }.and_then(|batch| batch.deliveries.get(index));
    delivery.map_or(std::ptr::null(), std::ptr::from_ref)
}

/// Frees the caller's hold on a batch; retained deliveries keep its memory. NULL does nothing.
/// Any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qrt_batch_free(batch: *mut qrt_batch_t) {
    if !batch.is_null() {
        // SAFETY: the caller gives up its handle, which is a hold.
        let hold = unsafe { Arc::from_raw(batch.cast_const()) };
        get((), || drop(hold));
    }
}

/// One more hold on a delivery, and so on the memory of its batch: free it with
/// `qrt_delivery_free`. Answers the same pointer; NULL for NULL. Any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qrt_delivery_retain(
    delivery: *const qrt_delivery_t,
) -> *const qrt_delivery_t {
    // SAFETY: the caller vouches for the handle; its batch is alive as long as it is.
    if let Some(delivery) = unsafe { delivery.as_ref() } {
        // SAFETY: `batch` came from this `Arc`, which somebody holds.
        unsafe { Arc::increment_strong_count(delivery.batch) };
    }
    delivery
}

/// Gives up a hold made by `qrt_delivery_retain`. Settles nothing. NULL does nothing. Any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qrt_delivery_free(delivery: *const qrt_delivery_t) {
    // SAFETY: the caller gives up a hold that it made.
    if let Some(delivery) = unsafe { delivery.as_ref() } {
        let batch = delivery.batch;
        // SAFETY: the hold counted by `qrt_delivery_retain`.
        let hold = unsafe { Arc::from_raw(batch) };
        get((), || drop(hold));
    }
}

/// # Safety
/// The handle is NULL or good.
unsafe fn read<T>(
    delivery: *const qrt_delivery_t,
    fallback: T,
    read: impl FnOnce(&qrt_delivery_t) -> T,
) -> T
where
    T: Copy,
{
    // SAFETY: the caller vouches for the handle.
    match unsafe { delivery.as_ref() } {
        Some(delivery) => get(fallback, || read(delivery)),
        None => fallback,
    }
}

/// The message. Borrows until the delivery is freed; may be sent on as it is. Any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qrt_delivery_message(
    delivery: *const qrt_delivery_t,
) -> *const qrt_message_t {
    // SAFETY: the caller vouches for the handle.
    unsafe {
        read(delivery, std::ptr::null(), |d| {
            qrt_message_t::view(d.delivery.message())
        })
    }
}

/// The message's id. Borrows until the delivery is freed. Any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qrt_delivery_id(delivery: *const qrt_delivery_t) -> qrt_bytes_t {
    // SAFETY: the caller vouches for the handle.
    unsafe {
        read(delivery, qrt_bytes_t::EMPTY, |d| {
            let id = d.id.get_or_init(|| d.delivery.id().to_string());
            qrt_bytes_t::of(id.as_bytes())
        })
    }
}

/// Which attempt at the message this is, from 1; 0 for NULL. Any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qrt_delivery_attempt(delivery: *const qrt_delivery_t) -> u32 {
    // SAFETY: the caller vouches for the handle.
    unsafe { read(delivery, 0, |d| d.delivery.attempt()) }
}

/// The message's place in the order of the queue. Any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qrt_delivery_sequence(delivery: *const qrt_delivery_t) -> u64 {
    // SAFETY: the caller vouches for the handle.
    unsafe { read(delivery, 0, |d| d.delivery.sequence()) }
}

/// When the message was sent, in milliseconds since 1970 UTC. Any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qrt_delivery_enqueued_at(delivery: *const qrt_delivery_t) -> i64 {
    // SAFETY: the caller vouches for the handle.
    unsafe { read(delivery, 0, |d| d.delivery.enqueued_at().0) }
}

/// When the lock ends, in milliseconds since 1970 UTC. Any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qrt_delivery_locked_until(delivery: *const qrt_delivery_t) -> i64 {
    // SAFETY: the caller vouches for the handle.
    unsafe { read(delivery, 0, |d| d.delivery.locked_until().0) }
}

/// 1 when the delivery was settled through its own functions, else 0. Any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qrt_delivery_is_settled(delivery: *const qrt_delivery_t) -> u32 {
    // SAFETY: the caller vouches for the handle.
    unsafe { read(delivery, 0, |d| u32::from(d.delivery.is_settled())) }
}

/// Work goes on.
pub const QRT_CANCEL_NONE: u32 = 0;
/// The lock ended: somebody else may have the message by now.
pub const QRT_CANCEL_LOCK_LOST: u32 = 1;
/// The lock was kept for as long as it may be, and is let go.
pub const QRT_CANCEL_STALLED: u32 = 2;
/// The consumer was drained, and the time for that is over: the message goes back.
pub const QRT_CANCEL_DRAINED: u32 = 3;

/// Whether work on a delivery is to stop, and why: one of `QRT_CANCEL_...`. `QRT_CANCEL_NONE` where
/// no lock is kept, and for NULL. Any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qrt_delivery_cancelled(delivery: *const qrt_delivery_t) -> u32 {
    let code = |cause| match cause {
        Some(CancelCause::LockLost) => QRT_CANCEL_LOCK_LOST,
        Some(CancelCause::Stalled) => QRT_CANCEL_STALLED,
        Some(CancelCause::Drained) => QRT_CANCEL_DRAINED,
        _ => QRT_CANCEL_NONE,
    };
    // SAFETY: the caller vouches for the handle.
    unsafe {
        read(delivery, QRT_CANCEL_NONE, |d| {
            code(d.delivery.cancel_cause())
        })
    }
}

/// Ends when work on a delivery is to stop, as `qrt_delivery_cancelled` then tells; `QRT_PENDING`
/// until then, and for ever where no lock is kept or the delivery is settled first: cancel the
/// operation. Keeps the delivery until it has ended. Any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qrt_delivery_wait_cancelled(
    delivery: *const qrt_delivery_t,
    done: qrt_completion_t,
    op: *mut *mut qrt_op_t,
    error: *mut *mut qrt_error_t,
) -> qrt_status_t {
    // SAFETY: the caller vouches for the pointers.
    unsafe {
        call(error, || {
            let op = op_place(op);
            let handle = borrow(delivery, "delivery")?;
            handle.usable()?;
            let hold = Hold::of(handle);
            let cancelled = async move {
                hold.cancelled().await;
                Ok(())
            };
            start_future(handle.home(), cancelled, done, &mut (), op)
        })
    }
}

/// Settles one delivery.
///
/// # Safety
/// The pointers are NULL or good.
unsafe fn settle(
    delivery: *const qrt_delivery_t,
    flags: u32,
    done: qrt_completion_t,
    op: *mut *mut qrt_op_t,
    error: *mut *mut qrt_error_t,
    verb: impl FnOnce() -> Result<Verb>,
) -> qrt_status_t {
    // SAFETY: the caller vouches for the pointers.
    unsafe {
        call(error, || {
            let op = op_place(op);
            let handle = borrow(delivery, "delivery")?;
            check_flags(flags, QRT_MAY_BLOCK)?;
            let verb = verb()?;
            let hold = Hold::of(handle);
            let delivery = handle.usable()?;
            let reply = start_verb(flags, || delivery.start_settle(verb));
            let reply = reply.map(move |()| {
                hold.settled();
                Ok(())
            });
            start(handle.home(), reply, done, &mut (), op)
        })
    }
}

/// A hold on a delivery for a verb that may end later.
struct Hold(*const qrt_delivery_t);

// SAFETY: the delivery is `Sync`, and the hold keeps it alive.
unsafe impl Send for Hold {}
// SAFETY: as above; nothing in it changes.
unsafe impl Sync for Hold {}

impl Hold {
    fn of(delivery: &qrt_delivery_t) -> Self {
        // SAFETY: the handle is good, as its reference says.
        Self(unsafe { qrt_delivery_retain(delivery) })
    }

    async fn cancelled(&self) {
        // SAFETY: held.
        unsafe { &*self.0 }.delivery.cancelled().await;
    }

    fn settled(&self) {
        // SAFETY: held.
        unsafe { &*self.0 }
            .delivery
            .settled_flag()
            .store(true, Ordering::Release);
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        // SAFETY: the hold made in `of`.
        unsafe { qrt_delivery_free(self.0) }
    }
}

/// Done; gone for good. `QRT_OK` or `QRT_PENDING`, as `qrt_op_take_unit` tells.
/// `QRT_ERR_INVALID_RECEIPT` when it was settled before, `QRT_ERR_LOCK_LOST` or
/// `QRT_ERR_SESSION_LOCK_LOST` when its lock ended. `flags`: `QRT_MAY_BLOCK` or 0. The delivery
/// stays the caller's. Any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qrt_delivery_ack(
    delivery: *const qrt_delivery_t,
    flags: u32,
    done: qrt_completion_t,
    op: *mut *mut qrt_op_t,
    error: *mut *mut qrt_error_t,
) -> qrt_status_t {
    // SAFETY: the caller vouches for the pointers.
    unsafe { settle(delivery, flags, done, op, error, || Ok(Verb::Ack)) }
}

/// This attempt failed: the message comes back after `delay_ms` (-1: as the queue's retry policy
/// says), or is dead-lettered when its budget is spent, with `reason` (may be empty) as the
/// description. Otherwise as `qrt_delivery_ack`. Any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qrt_delivery_nack(
    delivery: *const qrt_delivery_t,
    reason: qrt_bytes_t,
    delay_ms: i64,
    flags: u32,
    done: qrt_completion_t,
    op: *mut *mut qrt_op_t,
    error: *mut *mut qrt_error_t,
) -> qrt_status_t {
    // SAFETY: the caller vouches for the pointers.
    unsafe {
        settle(delivery, flags, done, op, error, || {
            crate::settlement::nack(reason, delay_ms)
        })
    }
}

/// Given back unblamed, after `delay_ms` (-1: at once): the attempt does not count. Otherwise as
/// `qrt_delivery_ack`. Any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qrt_delivery_release(
    delivery: *const qrt_delivery_t,
    delay_ms: i64,
    flags: u32,
    done: qrt_completion_t,
    op: *mut *mut qrt_op_t,
    error: *mut *mut qrt_error_t,
) -> qrt_status_t {
    // SAFETY: the caller vouches for the pointers.
    unsafe {
        settle(delivery, flags, done, op, error, || {
            crate::settlement::release(delay_ms)
        })
    }
}

/// To the dead-letter queue now. `QRT_ERR_FULL` when that has no room: the delivery stays as it
/// was. Otherwise as `qrt_delivery_ack`. Any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qrt_delivery_dead_letter(
    delivery: *const qrt_delivery_t,
    reason: qrt_bytes_t,
    description: qrt_bytes_t,
    flags: u32,
    done: qrt_completion_t,
    op: *mut *mut qrt_op_t,
    error: *mut *mut qrt_error_t,
) -> qrt_status_t {
    // SAFETY: the caller vouches for the pointers.
    unsafe {
        settle(delivery, flags, done, op, error, || {
            crate::settlement::dead_letter(reason, description)
        })
    }
}

/// Keeps the lock for `lock_ms` milliseconds from now; of a session's message, the session's lock.
/// Otherwise as `qrt_delivery_ack`. Any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qrt_delivery_extend(
    delivery: *const qrt_delivery_t,
    lock_ms: i64,
    done: qrt_completion_t,
    op: *mut *mut qrt_op_t,
    error: *mut *mut qrt_error_t,
) -> qrt_status_t {
    // SAFETY: the caller vouches for the pointers.
    unsafe {
        call(error, || {
            let op = op_place(op);
            let handle = borrow(delivery, "delivery")?;
            let lock: Duration = duration(lock_ms, "lock_ms")?;
            handle.usable()?;
            let hold = Hold::of(handle);
            let extend = async move {
                let hold = hold;
                // Held until this future is over.
                (*hold.0).delivery.extend(lock).await
            };
            start_future(handle.home(), extend, done, &mut (), op)
        })
    }
}
