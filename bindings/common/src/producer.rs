//! Producers: messages that are sent one by one leave in batches.

use std::time::Duration;

use queue_runtime::*;

use crate::abi::{Handle, NOBODY, make};
use crate::error::Result;
use crate::op::{Started, start};
use crate::runtime::ms;
use crate::{Message, MessageView, Queue, SendResults};

/// When a producer sends, and how much it holds until then.
#[derive(Clone, Copy, Debug)]
pub struct ProducerOptions {
    /// Messages of a batch, at most.
    pub batch_size: u32,
    /// Their bytes, at most; one message may have more.
    pub batch_bytes: u64,
    /// How long a message waits for others at most.
    pub linger: Duration,
    /// Messages accepted and not yet sent, at most.
    pub max_pending: u64,
    /// Their bytes, at most.
    pub max_pending_bytes: u64,
}

impl Default for ProducerOptions {
    fn default() -> Self {
        Self {
            batch_size: 100,
            batch_bytes: 4 * 1024 * 1024,
            linger: Duration::from_millis(5),
            max_pending: 10_000,
            max_pending_bytes: 64 * 1024 * 1024,
        }
    }
}

/// Sends in batches what it is given one by one. Dropped, it still sends what it has accepted.
pub struct Producer(Handle<qrt_producer_t>);

/// What became of everything that a producer accepted.
pub struct ProducerReport(pub(crate) Handle<qrt_producer_report_t>);

impl Producer {
    /// Makes one for a queue.
    pub fn start(queue: &Queue, options: &ProducerOptions) -> Result<Self> {
        let options = qrt_producer_options_t {
            struct_size: size_of::<qrt_producer_options_t>(),
            batch_size: options.batch_size,
            reserved: 0,
            batch_bytes: options.batch_bytes,
            linger_ms: ms(options.linger),
            max_pending: options.max_pending,
            max_pending_bytes: options.max_pending_bytes,
        };
        // SAFETY: the handle is owned, the options live for the length of the call.
        make(|place, error| unsafe {
            qrt_producer_start(queue.0.get(), &raw const options, place, error)
        })
        .map(Self)
    }

    /// Accepts a message; its one result comes when its batch was sent. Without room it waits, or
    /// fails with `FULL`.
    pub fn send(&self, message: &Message, waits: bool) -> Result<Started<SendResults>> {
        let flags = if waits { 0 } else { QRT_NO_WAIT };
        // SAFETY: the handles are owned.
        start(|place, op, error| unsafe {
            let message = message.0.get();
            qrt_producer_send(self.0.get(), message, flags, NOBODY, place, op, error)
        })
    }

    /// Sends what was accepted before, and ends when all of it has its result.
    pub fn flush(&self) -> Result<Started<()>> {
        // SAFETY: the handle is owned.
        start(|_, op, error| unsafe { qrt_producer_flush(self.0.get(), NOBODY, op, error) })
    }

    /// Accepts nothing more, sends what was accepted, and at the deadline gives back what is left.
    pub fn close(&self, deadline: Duration) -> Result<Started<ProducerReport>> {
        // SAFETY: the handle is owned.
        start(|place, op, error| unsafe {
            qrt_producer_close(self.0.get(), ms(deadline), NOBODY, place, op, error)
        })
    }
}

impl ProducerReport {
    /// Stored.
    pub fn sent(&self) -> u64 {
        // SAFETY: the handle is owned.
        unsafe { qrt_producer_report_sent(self.0.get()) }
    }

    /// Answered with an error.
    pub fn failed(&self) -> u64 {
        // SAFETY: the handle is owned.
        unsafe { qrt_producer_report_failed(self.0.get()) }
    }

    /// Not answered by the deadline, in their order.
    pub fn unsent(&self) -> impl ExactSizeIterator<Item = MessageView<'_>> {
        // SAFETY: the handle is owned.
        let count = unsafe { qrt_producer_report_unsent_count(self.0.get()) };
        (0..count).map(|index| {
            // SAFETY: the handle is owned, and the view borrows from it.
            unsafe { MessageView::new(qrt_producer_report_unsent(self.0.get(), index)) }
        })
    }
}
