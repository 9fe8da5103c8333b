//! Queues: send, receive, look, count.

use std::borrow::Borrow;
use std::time::Duration;

use queue_runtime::*;
use smallvec::SmallVec;

use crate::abi::{Handle, NOBODY, call, lend_text};
use crate::error::Result;
use crate::op::{Started, start};
use crate::runtime::{ms, some_ms};
use crate::{
    Batch, Breaker, Buffer, DeadLetterStatistics, DeadLetters, Delivery, Filter, Message, Peeked,
    RedriveOptions, RedriveReport,
};
use crate::{SendResults, Session, SettleResults, Settlements, Statistics};

/// A queue of a client.
pub struct Queue(pub(crate) Handle<qrt_queue_t>);

/// Whether a verb may wait for a disk on the calling thread, where that is quicker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flags {
    /// Never: for event loops.
    None,
    /// It may: for threads that would wait for the end anyway.
    MayBlock,
}

impl Flags {
    pub(crate) fn bits(self) -> u32 {
        match self {
            Self::None => 0,
            Self::MayBlock => QRT_MAY_BLOCK,
        }
    }
}

/// What to receive.
#[derive(Clone, Copy, Debug)]
pub struct ReceiveOptions {
    /// At most this many messages.
    pub max_messages: u32,
    /// Whether it may wait for a disk.
    pub flags: Flags,
    /// How long to wait for the first message; zero looks once.
    pub wait: Duration,
    /// How long the messages are locked; as long as the queue says, if not said.
    pub lock: Option<Duration>,
    /// Whether their locks are kept, for up to 10 minutes, until each is settled or its batch gone.
    pub keep_lock: bool,
}

impl ReceiveOptions {
    pub(crate) fn lend(&self) -> qrt_receive_options_t {
        qrt_receive_options_t {
            struct_size: size_of::<qrt_receive_options_t>(),
            max_messages: self.max_messages,
            flags: self.flags.bits() | if self.keep_lock { QRT_KEEP_LOCK } else { 0 },
            wait_ms: ms(self.wait),
            lock_ms: some_ms(self.lock),
        }
    }
}

impl Queue {
    /// Sends messages: result i belongs to message i.
    pub fn send<M: Borrow<Message>>(
        &self,
        messages: &[M],
        flags: Flags,
    ) -> Result<Started<SendResults>> {
        // One message needs no list of its own.
        let messages: SmallVec<[*const qrt_message_t; 1]> = messages
            .iter()
            .map(|message| message.borrow().0.get().cast_const())
            .collect();
        // SAFETY: the handles are owned, the list lives for the length of the call.
        start(|place, op, error| unsafe {
            let (first, count) = (messages.as_ptr(), messages.len());
            let queue = self.0.get();
            qrt_queue_send(queue, first, count, flags.bits(), NOBODY, place, op, error)
        })
    }

    /// Sends one message, for callers that need no id back.
    pub fn send_one(&self, message: &Message, flags: Flags) -> Result<Started<()>> {
        // SAFETY: the handles are owned.
        start(|_, op, error| unsafe {
            let message = message.0.get();
            qrt_queue_send_one(self.0.get(), message, flags.bits(), NOBODY, op, error)
        })
    }

    /// Receives messages: as soon as one is there, with what else is ready.
    pub fn receive(&self, options: &ReceiveOptions) -> Result<Started<Batch>> {
        let options = options.lend();
        // SAFETY: the handle is owned, the options live for the length of the call.
        start(|place, op, error| unsafe {
            let options = &raw const options;
            qrt_queue_receive(self.0.get(), options, NOBODY, place, op, error)
        })
    }

    /// Ends deliveries of this queue: result i belongs to entry i.
    pub fn settle(
        &self,
        settlements: &Settlements,
        flags: Flags,
    ) -> Result<Started<SettleResults>> {
        // SAFETY: the handles are owned.
        start(|place, op, error| unsafe {
            let (queue, list) = (self.0.get(), settlements.0.get());
            qrt_settle(queue, list, flags.bits(), NOBODY, place, op, error)
        })
    }

    /// Keeps the locks of deliveries of this queue for so long from now.
    pub fn extend(
        &self,
        deliveries: &[&Delivery],
        lock: Duration,
    ) -> Result<Started<SettleResults>> {
        let deliveries: Vec<*const qrt_delivery_t> =
            deliveries.iter().map(|delivery| delivery.get()).collect();
        // SAFETY: the handles are owned, the list lives for the length of the call.
        start(|place, op, error| unsafe {
            let (first, count) = (deliveries.as_ptr(), deliveries.len());
            let queue = self.0.get();
            qrt_extend(queue, first, count, ms(lock), NOBODY, place, op, error)
        })
    }

    /// Takes the session of this id, locked for so long, or as the queue says.
    pub fn accept_session(
        &self,
        id: &str,
        lock: Option<Duration>,
    ) -> Result<Started<Option<Session>>> {
        let options = session_options(Duration::ZERO, lock);
        let id = lend_text(Some(id));
        // SAFETY: the handle is owned, text and options live for the length of the call.
        start(|place, op, error| unsafe {
            let options = &raw const options;
            qrt_session_accept(self.0.get(), id, options, NOBODY, place, op, error)
        })
    }

    /// Takes whichever session has work; none when none has within the wait.
    pub fn accept_next_session(
        &self,
        wait: Duration,
        lock: Option<Duration>,
    ) -> Result<Started<Option<Session>>> {
        let options = session_options(wait, lock);
        // SAFETY: the handle is owned, the options live for the length of the call.
        start(|place, op, error| unsafe {
            let options = &raw const options;
            qrt_session_accept_next(self.0.get(), options, NOBODY, place, op, error)
        })
    }

    /// Looks at messages in the order of their sending, from after this sequence number on (0:
    /// from the first), without taking them.
    pub fn peek(&self, after: u64, max: u32) -> Result<Started<Peeked>> {
        // SAFETY: the handle is owned.
        start(|place, op, error| unsafe {
            qrt_queue_peek(self.0.get(), after, max, NOBODY, place, op, error)
        })
    }

    /// Counts and ages.
    pub fn statistics(&self) -> Result<Started<Statistics>> {
        // SAFETY: the handle is owned.
        start(|place, op, error| unsafe {
            qrt_queue_statistics(self.0.get(), NOBODY, place, op, error)
        })
    }

    /// Where the breaker of its sends stands.
    pub fn breaker(&self) -> Breaker {
        // SAFETY: the handle is owned.
        Breaker::of(unsafe { qrt_queue_breaker_state(self.0.get()) })
    }

    /// Closes the breaker of its sends by hand, and forgets what failed.
    pub fn reset_breaker(&self) -> Result<()> {
        // SAFETY: the handle is owned.
        call(|error| unsafe { qrt_queue_reset_breaker(self.0.get(), error) }).map(drop)
    }

    /// Creates the queue by explicit call.
    pub fn create(&self) -> Result<Started<()>> {
        // SAFETY: the handle is owned.
        start(|_, op, error| unsafe { qrt_queue_create(self.0.get(), NOBODY, op, error) })
    }

    /// Lists dead letters, oldest first, from after this number on (0: from the first).
    pub fn dead_letters(
        &self,
        filter: &Filter,
        after: u64,
        max: u32,
    ) -> Result<Started<DeadLetters>> {
        filter.lend(|filter| {
            // SAFETY: the handle is owned, the filter lives for the length of the call.
            start(|place, op, error| unsafe {
                let queue = self.0.get();
                qrt_dead_letters_list(queue, filter, after, max, NOBODY, place, op, error)
            })
        })
    }

    /// Counts dead letters by their reason, their source and their age.
    pub fn dead_letter_statistics(&self, filter: &Filter) -> Result<Started<DeadLetterStatistics>> {
        filter.lend(|filter| {
            // SAFETY: the handle is owned, the filter lives for the length of the call.
            start(|place, op, error| unsafe {
                let queue = self.0.get();
                qrt_queue_dead_letter_statistics(queue, filter, NOBODY, place, op, error)
            })
        })
    }

    /// Sends dead letters back, oldest first.
    pub fn redrive(
        &self,
        filter: &Filter,
        options: &RedriveOptions,
    ) -> Result<Started<RedriveReport>> {
        let options = options.lend();
        filter.lend(|filter| {
            // SAFETY: the handle is owned, filter and options live for the length of the call.
            start(|place, op, error| unsafe {
                let (queue, options) = (self.0.get(), &raw const options);
                qrt_dead_letters_redrive(queue, filter, options, NOBODY, place, op, error)
            })
        })
    }

    /// Explains when messages are tried again, or with an id where that message stands: as JSON.
    pub fn explain(&self, id: Option<&str>) -> Result<Started<Option<Buffer>>> {
        let id = lend_text(id);
        // SAFETY: the handle is owned, the id lives for the length of the call.
        start(|place, op, error| unsafe {
            qrt_queue_explain(self.0.get(), id, 0, NOBODY, place, op, error)
        })
    }

    /// Deletes dead letters for good: how many.
    pub fn purge_dead_letters(&self, filter: &Filter) -> Result<Started<u64>> {
        filter.lend(|filter| {
            // SAFETY: the handle is owned, the filter lives for the length of the call.
            start(|place, op, error| unsafe {
                qrt_dead_letters_purge(self.0.get(), filter, NOBODY, place, op, error)
            })
        })
    }
}

fn session_options(wait: Duration, lock: Option<Duration>) -> qrt_session_options_t {
    qrt_session_options_t {
        struct_size: size_of::<qrt_session_options_t>(),
        wait_ms: ms(wait),
        lock_ms: some_ms(lock),
    }
}
