//! One hand-over of a message: message, receipt, attempt number and lock deadline.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use once_cell::sync::OnceCell;
use serde::de::DeserializeOwned;

use crate::clock::{Tick, Timestamp};
use crate::codec::{Bincode, Codec, Json};
use crate::consumer::{CancelCause, Hold};
use crate::error::Result;
use crate::message::{Decoded, Message, MessageId, Properties};
use crate::provider::{Moment, Received};
use crate::queue::{Queue, now_or_later};
use crate::reply::Reply;
use crate::settlement::{Receipt, Settlement, Verb};

/// A message in hand. Settle it with [`ack`](Delivery::ack), [`nack`](Delivery::nack),
/// [`release`](Delivery::release) or [`dead_letter`](Delivery::dead_letter); one that is dropped
/// unsettled comes back when its lock ends, its attempt used.
///
/// A settlement that fails leaves the delivery as it was: try again. Any thread.
#[must_use = "a delivery that is not settled comes back when its lock ends"]
pub struct Delivery {
    received: Box<Received>,
    queue: Queue,
    received_at: Tick,
    settled: AtomicBool,
    extra: OnceCell<Box<Extra>>,
    /// While its lock is kept.
    hold: Option<Hold>,
}

/// What few deliveries need.
#[derive(Default)]
struct Extra {
    extended: Mutex<Option<Moment>>,
    decoded: Decoded,
}

impl Delivery {
    #[inline]
    pub(crate) fn new(
        received: Box<Received>,
        queue: Queue,
        received_at: Tick,
        hold: Option<Hold>,
    ) -> Self {
        Self {
            received,
            queue,
            received_at,
            settled: AtomicBool::new(false),
            extra: OnceCell::new(),
            hold,
        }
    }

    fn extra(&self) -> &Extra {
        self.extra.get_or_init(Box::default)
    }

    /// The message's identity.
    pub fn id(&self) -> &MessageId {
        &self.received.id
    }

    /// The message as it was sent.
    pub fn message(&self) -> &Message {
        &self.received.message
    }

    /// The body.
    pub fn body(&self) -> &Bytes {
        &self.received.message.body
    }

    /// Headers, session and ids.
    pub fn properties(&self) -> &Properties {
        self.received.message.properties()
    }

    /// The value of a header.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.properties().headers.get(name).map(|value| &**value)
    }

    /// The ordered group the message belongs to.
    pub fn session(&self) -> Option<&str> {
        self.properties().session.as_deref()
    }

    /// The body, decoded at the first call and kept. `InvalidMessage` when it is something else.
    pub fn decode<C: Codec, T>(&self) -> Result<&T>
    where
        T: DeserializeOwned + Send + Sync + 'static,
    {
        self.extra().decoded.get::<C, T>(self.body())
    }

    /// [`Delivery::decode`] from JSON.
    pub fn json<T: DeserializeOwned + Send + Sync + 'static>(&self) -> Result<&T> {
        self.decode::<Json, T>()
    }

    /// [`Delivery::decode`] from bincode.
    pub fn bincode<T: DeserializeOwned + Send + Sync + 'static>(&self) -> Result<&T> {
        self.decode::<Bincode, T>()
    }

    /// Which attempt at this message this is, from 1.
    pub fn attempt(&self) -> u32 {
        self.received.attempt
    }

    /// The message's place in the order of the queue.
    pub fn sequence(&self) -> u64 {
        self.received.sequence
    }

    /// When the message was sent.
    pub fn enqueued_at(&self) -> Timestamp {
        self.queue.timestamp(self.received.enqueued_at)
    }

    /// When the lock ends, unless extended again.
    pub fn locked_until(&self) -> Timestamp {
        if let Some(hold) = &self.hold {
            return self.queue.timestamp(Moment::Tick(hold.until()));
        }
        let extended = self.extra.get().and_then(|extra| *locked(&extra.extended));
        self.queue
            .timestamp(extended.unwrap_or(self.received.locked_until))
    }

    /// What proves this delivery, for [`Queue::settle`].
    pub fn receipt(&self) -> &Receipt {
        &self.received.receipt
    }

    /// The queue this came from.
    pub fn queue(&self) -> &Queue {
        &self.queue
    }

    /// Whether this delivery was settled through this object.
    pub fn is_settled(&self) -> bool {
        self.settled.load(Ordering::Acquire)
    }

    /// A settlement of this delivery, for [`Queue::settle`].
    pub fn settlement(&self, verb: Verb) -> Settlement {
        Settlement {
            receipt: self.received.receipt.clone(),
            verb,
            attempt: self.received.attempt,
            held: self.hold.as_ref().map(|hold| hold.held().clone()),
            since: Some(self.received_at),
        }
    }

    /// Ends when work on this delivery is to stop: its lock was lost, or its consumer drained.
    /// Never, when its lock is not kept.
    pub async fn cancelled(&self) -> CancelCause {
        match &self.hold {
            Some(hold) => hold.cancelled().await,
            None => std::future::pending().await,
        }
    }

    /// Why work on this delivery is to stop, if it is.
    pub fn cancel_cause(&self) -> Option<CancelCause> {
        self.hold.as_ref()?.cause()
    }

    pub(crate) fn hold(&self) -> Option<&Hold> {
        self.hold.as_ref()
    }

    /// Done; gone for good. `InvalidReceipt` when it was settled before, `LockLost` or
    /// `SessionLockLost` when its lock is known to have ended.
    pub async fn ack(&self) -> Result<()> {
        self.settle(Verb::Ack).await
    }

    /// This attempt failed. The message comes back after the delay of the queue's retry policy,
    /// or is dead-lettered with the reason `max_attempts` when its budget is spent.
    pub async fn nack(&self, reason: Option<&str>) -> Result<()> {
        self.settle(Verb::Nack {
            reason: reason.map(Into::into),
            delay: None,
        })
        .await
    }

    /// As [`Delivery::nack`], with a delay of the caller's choice.
    pub async fn nack_after(&self, reason: Option<&str>, delay: Duration) -> Result<()> {
        self.settle(Verb::Nack {
            reason: reason.map(Into::into),
            delay: Some(delay),
        })
        .await
    }

    /// Gives the message back unblamed, now or after a delay: the attempt does not count.
    pub async fn release(&self, delay: Option<Duration>) -> Result<()> {
        self.settle(Verb::Release { delay }).await
    }

    /// To the dead-letter queue now. `Full` when that has no room: the delivery stays as it was.
    pub async fn dead_letter(&self, reason: &str, description: Option<&str>) -> Result<()> {
        self.settle(Verb::DeadLetter {
            reason: reason.into(),
            description: description.map(Into::into),
        })
        .await
    }

    /// Keeps the lock for this long from now; of a session's message, the session's lock.
    pub async fn extend(&self, lock: Duration) -> Result<()> {
        let until = self
            .queue
            .extend_one(self.received.receipt.clone(), lock)
            .await?;
        match &self.hold {
            Some(hold) => hold.extended(self.queue.tick(until)),
            None => *locked(&self.extra().extended) = Some(until),
        }
        Ok(())
    }

    /// Settles, started at once: for what stands on the core, which also sets the flag.
    #[doc(hidden)]
    pub fn start_settle(&self, verb: Verb) -> Reply<()> {
        let settlement = self.settlement(verb);
        self.queue.start_settle_one(settlement, self.received_at)
    }

    #[doc(hidden)]
    pub fn settled_flag(&self) -> &AtomicBool {
        &self.settled
    }

    /// Settles with a verb that is a value.
    pub async fn settle(&self, verb: Verb) -> Result<()> {
        now_or_later!(self.start_settle(verb))?;
        self.settled.store(true, Ordering::Release);
        Ok(())
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl fmt::Debug for Delivery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Delivery")
            .field("queue", &self.queue.name())
            .field("id", &self.received.id)
            .field("attempt", &self.received.attempt)
            .field("message", &self.received.message)
            .finish()
    }
}
