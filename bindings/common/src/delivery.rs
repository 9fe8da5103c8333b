//! Deliveries, and the batches they come in.

use std::time::Duration;

use queue_runtime::*;

use crate::abi::{Handle, NOBODY, lend_text, text};
use crate::error::Result;
use crate::message::MessageView;
use crate::op::{Started, start};
use crate::queue::Flags;
use crate::runtime::{ms, some_ms};

/// Messages of one receive. Dropping it settles nothing.
pub struct Batch(pub(crate) Handle<qrt_batch_t>);

impl Batch {
    /// How many messages.
    pub fn len(&self) -> usize {
        // SAFETY: the handle is owned.
        unsafe { qrt_batch_count(self.0.get()) }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// A delivery, which keeps the batch's memory.
    pub fn get(&self, index: usize) -> Option<Delivery> {
        // SAFETY: the handle is owned; the hold is the delivery's own.
        unsafe {
            let delivery = qrt_delivery_retain(qrt_batch_get(self.0.get(), index));
            Handle::new(delivery.cast_mut()).map(Delivery)
        }
    }

    /// Gives all of them back unblamed. What cannot be given back comes back when its lock ends.
    pub fn release_all(self) {
        for delivery in self.iter() {
            let _ = delivery.release(None, Flags::None);
        }
    }

    /// The deliveries, in order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = Delivery> + '_ {
        (0..self.len()).map(|index| self.get(index).expect("the index is below the count"))
    }
}

/// Why work on a delivery is to stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CancelCause {
    /// Its lock ended: somebody else may have the message by now.
    LockLost,
    /// Its lock was kept for as long as it may be, and is let go.
    Stalled,
    /// Its consumer was drained, and the time for that is over.
    Drained,
}

impl CancelCause {
    /// The name, such as `lock_lost`.
    pub fn name(self) -> &'static str {
        match self {
            Self::LockLost => "lock_lost",
            Self::Stalled => "stalled",
            Self::Drained => "drained",
        }
    }
}

/// One hand-over of a message. Dropping it settles nothing: what is not settled comes back when its
/// lock ends.
pub struct Delivery(Handle<qrt_delivery_t>);

impl Delivery {
    pub(crate) fn get(&self) -> *const qrt_delivery_t {
        self.0.get()
    }

    /// The message.
    pub fn message(&self) -> MessageView<'_> {
        // SAFETY: the message lives as long as the delivery.
        unsafe { MessageView::new(qrt_delivery_message(self.get())) }
    }

    /// The message's id.
    pub fn id(&self) -> &str {
        // SAFETY: it lives as long as the delivery.
        unsafe { text(qrt_delivery_id(self.get())) }
    }

    /// Which attempt at the message this is, from 1.
    pub fn attempt(&self) -> u32 {
        // SAFETY: the handle is owned.
        unsafe { qrt_delivery_attempt(self.get()) }
    }

    /// The message's place in the order of the queue.
    pub fn sequence(&self) -> u64 {
        // SAFETY: the handle is owned.
        unsafe { qrt_delivery_sequence(self.get()) }
    }

    /// When the message was sent, in milliseconds since 1970 UTC.
    pub fn enqueued_at(&self) -> i64 {
        // SAFETY: the handle is owned.
        unsafe { qrt_delivery_enqueued_at(self.get()) }
    }

    /// When the lock ends, in milliseconds since 1970 UTC.
    pub fn locked_until(&self) -> i64 {
        // SAFETY: the handle is owned.
        unsafe { qrt_delivery_locked_until(self.get()) }
    }

    /// Whether it was settled through its own methods.
    pub fn is_settled(&self) -> bool {
        // SAFETY: the handle is owned.
        unsafe { qrt_delivery_is_settled(self.get()) == 1 }
    }

    /// Why work on it is to stop, if it is.
    pub fn cancelled(&self) -> Option<CancelCause> {
        // SAFETY: the handle is owned.
        match unsafe { qrt_delivery_cancelled(self.get()) } {
            QRT_CANCEL_LOCK_LOST => Some(CancelCause::LockLost),
            QRT_CANCEL_STALLED => Some(CancelCause::Stalled),
            QRT_CANCEL_DRAINED => Some(CancelCause::Drained),
            _ => None,
        }
    }

    /// Ends when work on it is to stop; never, where its lock is not kept or it is settled first.
    pub fn wait_cancelled(&self) -> Result<Started<()>> {
        // SAFETY: the handle is owned.
        start(|_, op, error| unsafe { qrt_delivery_wait_cancelled(self.get(), NOBODY, op, error) })
    }

    /// Done; gone for good.
    pub fn ack(&self, flags: Flags) -> Result<Started<()>> {
        // SAFETY: the handle is owned.
        start(|_, op, error| unsafe {
            qrt_delivery_ack(self.get(), flags.bits(), NOBODY, op, error)
        })
    }

    /// This attempt failed: it comes back after `delay`, or as the queue's retry policy says, or is
    /// dead-lettered when its budget is spent.
    pub fn nack(
        &self,
        reason: Option<&str>,
        delay: Option<Duration>,
        flags: Flags,
    ) -> Result<Started<()>> {
        let reason = lend_text(reason);
        let delay = some_ms(delay);
        // SAFETY: the handle is owned, the text lives for the length of the call.
        start(|_, op, error| unsafe {
            qrt_delivery_nack(self.get(), reason, delay, flags.bits(), NOBODY, op, error)
        })
    }

    /// Given back unblamed, after `delay` or at once.
    pub fn release(&self, delay: Option<Duration>, flags: Flags) -> Result<Started<()>> {
        let delay = some_ms(delay);
        // SAFETY: the handle is owned.
        start(|_, op, error| unsafe {
            qrt_delivery_release(self.get(), delay, flags.bits(), NOBODY, op, error)
        })
    }

    /// To the dead-letter queue now.
    pub fn dead_letter(
        &self,
        reason: &str,
        description: Option<&str>,
        flags: Flags,
    ) -> Result<Started<()>> {
        let (reason, description) = (lend_text(Some(reason)), lend_text(description));
        // SAFETY: the handle is owned, the texts live for the length of the call.
        start(|_, op, error| unsafe {
            let (delivery, flags) = (self.get(), flags.bits());
            qrt_delivery_dead_letter(delivery, reason, description, flags, NOBODY, op, error)
        })
    }

    /// Keeps the lock for so long from now; of a session's message, the session's lock.
    pub fn extend(&self, lock: Duration) -> Result<Started<()>> {
        // SAFETY: the handle is owned.
        start(|_, op, error| unsafe {
            qrt_delivery_extend(self.get(), ms(lock), NOBODY, op, error)
        })
    }
}
