//! The port: what a provider implements. Batch-first; result i belongs to input i. One is a batch
//! of one: an engine that answers at once may give the verbs of one a shorter way of their own.
//!
//! A [`Provider`] stands for one client's connection; it hands out a [`ProviderQueue`] for each
//! queue, and that trait carries every verb. Optional verbs answer `Unsupported` by default, and
//! the provider's [`Capabilities`] say the same beforehand.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use crate::capability::{Capabilities, Capability};
use crate::clock::{Tick, Timestamp};
use crate::config::{OnFailure, QueueOptions};
use crate::dead_letter::{DeadLetter, DeadLetterFilter, RedriveReport};
use crate::error::{Error, ErrorKind, Result};
use crate::message::{Message, MessageId, SendResult};
use crate::queue::{Peeked, Statistics};
use crate::reply::Reply;
use crate::settlement::{Receipt, Settlement};

/// A moment as a provider knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u64)]
pub enum Moment {
    /// On the runtime's clock.
    Tick(Tick),
    /// By the provider's calendar.
    Timestamp(Timestamp),
}

/// What is asked of a receive.
#[derive(Clone, Debug, PartialEq)]
pub struct ReceiveRequest {
    /// At most this many messages; at least one.
    pub max_messages: u32,
    /// How long to wait for the first message; zero looks once.
    pub wait: Duration,
    /// How long the messages are locked, if not as long as the queue says.
    pub lock: Option<Duration>,
    /// Whether the attempt is charged now; otherwise `begin` charges it.
    pub begin: bool,
    /// Only messages of this held session.
    pub session: Option<Box<SessionLock>>,
    /// Of these groups nothing is wanted now. Only queues with fair groups that are local look at
    /// it: what others send of them is kept until it is wanted.
    pub without: Option<Arc<HashSet<Arc<str>>>>,
}

impl ReceiveRequest {
    /// Whether messages of this group are wanted.
    pub fn wants(&self, group: &str) -> bool {
        self.without
            .as_ref()
            .is_none_or(|without| !without.contains(group))
    }
}

/// What is asked of an accept.
#[derive(Clone, Debug, PartialEq)]
pub struct AcceptRequest {
    /// This session, or whichever has work.
    pub id: Option<Arc<str>>,
    /// How long to wait for a session with work, when no id is given; zero looks once.
    pub wait: Duration,
    /// How long the session is locked, if not as long as the queue says.
    pub lock: Option<Duration>,
    /// When no id is given: of the sessions that are free and have work now, one of these rather
    /// than the one that waited longest. A wish: a provider that cannot tell ignores it, and one that
    /// heeds it lets nobody starve: a session that is next is overtaken once at most.
    pub prefer: Option<Arc<HashSet<Arc<str>>>>,
}

/// A message as the provider delivers it. Boxed where it is made, since it passes many hands.
#[derive(Debug)]
pub struct Received {
    /// Its identity.
    pub id: MessageId,
    /// What was sent.
    pub message: Message,
    /// What settles this delivery.
    pub receipt: Receipt,
    /// Which attempt this is, from 1.
    pub attempt: u32,
    /// Its place in the order of the queue.
    pub sequence: u64,
    /// When it was sent.
    pub enqueued_at: Moment,
    /// When its lock ends, unless extended.
    pub locked_until: Moment,
}

/// What a queue holds to, whoever uses it, as far as its provider knows. Where it says nothing, the
/// definition of the client counts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Terms {
    /// How long deliveries are locked.
    pub lock: Option<Duration>,
    /// Deliveries a message may use, by the queue's own definition.
    pub budget: Option<u32>,
    /// What a failed message does to its session.
    pub on_failure: Option<OnFailure>,
    /// After how many receives the provider itself gives a message up.
    pub max_receives: Option<u32>,
    /// Where it keeps dead letters.
    pub dead_letters: DeadLetterPlace,
    /// The longest that a message can be kept away.
    pub longest_wait: Option<Duration>,
    /// How long a message is kept away is rounded up to a multiple of this; zero: it is not.
    pub wait_step: Duration,
}

/// Where dead letters are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum DeadLetterPlace {
    /// With the queue itself.
    #[default]
    Beside,
    /// In the queue of this name.
    Queue(String),
    /// Nowhere: nothing can be one.
    Nowhere,
}

/// A held session. The receipt fences it.
#[derive(Clone, Debug, PartialEq)]
pub struct SessionLock {
    /// Which session.
    pub id: Arc<str>,
    /// The proof of holding it.
    pub receipt: Receipt,
    /// When the lock ends, unless renewed.
    pub locked_until: Moment,
}

/// A client's connection to one provider.
pub trait Provider: Send + Sync + 'static {
    /// What this provider can do, and its limits.
    fn capabilities(&self) -> &Capabilities;

    /// What its queues are where nobody says otherwise and the defaults of all do not fit.
    fn queue_defaults(&self) -> QueueOptions {
        QueueOptions::default()
    }

    /// Whether it is a part of this process, so that it is never away.
    fn is_embedded(&self) -> bool {
        false
    }

    /// The queue of this name. Checks name and options; creates nothing and asks no network.
    fn queue(&self, name: &str, options: &QueueOptions) -> Result<Arc<dyn ProviderQueue>>;

    /// Lets go of connections, and ends work in the background. Verbs already begun are given up.
    fn close(&self) -> Reply<()> {
        Reply::now(Ok(()))
    }
}

/// One queue of a provider: every verb.
///
/// A verb acts when it is called; its [`Reply`] may be ready at once. A pending reply that is
/// dropped gives back what it took.
pub trait ProviderQueue: Send + Sync + 'static {
    /// What this queue can do, where queues of the provider differ: within what the provider can.
    fn capabilities(&self) -> Option<&Capabilities> {
        None
    }

    /// Stores messages. Fails as a whole only where no message was stored.
    fn send(&self, messages: Vec<Message>) -> Reply<Vec<Result<SendResult>>>;

    /// [`ProviderQueue::send`] of one message.
    fn send_one(&self, message: Message) -> Reply<SendResult> {
        only(self.send(vec![message]))
    }

    /// Whether a receive that does not wait, and `begin`, answer at once: from memory, without a
    /// network or a disk.
    fn is_local(&self) -> bool {
        false
    }

    /// Hands over messages: as soon as one is there, with what else is ready.
    fn receive(&self, request: ReceiveRequest) -> Reply<Vec<Box<Received>>>;

    /// [`ProviderQueue::receive`] of one message, whatever the request's maximum.
    fn receive_one(&self, request: &ReceiveRequest) -> Reply<Option<Box<Received>>> {
        let mut request = request.clone();
        request.max_messages = 1;
        self.receive(request).map(|mut received| Ok(received.pop()))
    }

    /// Charges the attempt of deliveries received with `begin: false`, as work on them starts.
    fn begin(&self, receipts: Vec<Receipt>) -> Reply<Vec<Result<()>>> {
        let _ = receipts;
        Reply::error(Error::unsupported(Capability::Begin))
    }

    /// [`ProviderQueue::begin`] of one delivery.
    fn begin_one(&self, receipt: &Receipt) -> Reply<()> {
        only(self.begin(vec![receipt.clone()]))
    }

    /// Ends deliveries.
    fn settle(&self, settlements: Vec<Settlement>) -> Reply<Vec<Result<()>>>;

    /// [`ProviderQueue::settle`] of one delivery.
    fn settle_one(&self, settlement: &Settlement) -> Reply<()> {
        only(self.settle(vec![settlement.clone()]))
    }

    /// Keeps locks for this long from now. Answers the new ends.
    fn extend(&self, receipts: Vec<Receipt>, lock: Duration) -> Reply<Vec<Result<Moment>>> {
        let _ = (receipts, lock);
        Reply::error(Error::unsupported(Capability::Extend))
    }

    /// Takes a session. `None`: no session had work within the wait.
    fn accept_session(&self, request: AcceptRequest) -> Reply<Option<SessionLock>> {
        let _ = request;
        Reply::error(Error::unsupported(Capability::Sessions))
    }

    /// Keeps a session for this long from now, or for its lock time. Answers the new end.
    fn renew_session(&self, session: SessionLock, lock: Option<Duration>) -> Reply<Moment> {
        let _ = (session, lock);
        Reply::error(Error::unsupported(Capability::Sessions))
    }

    /// Lets go of a session. What is not settled goes back to its place, its attempt used.
    fn close_session(&self, session: SessionLock) -> Reply<()> {
        let _ = session;
        Reply::error(Error::unsupported(Capability::Sessions))
    }

    /// The bytes kept with a held session.
    fn session_state(&self, session: SessionLock) -> Reply<Option<Bytes>> {
        let _ = session;
        Reply::error(Error::unsupported(Capability::SessionState))
    }

    /// Sets, or with `None` removes, the bytes kept with a held session.
    fn set_session_state(&self, session: SessionLock, state: Option<Bytes>) -> Reply<()> {
        let _ = (session, state);
        Reply::error(Error::unsupported(Capability::SessionState))
    }

    /// Shows messages in the order of their sending, from after a sequence number on.
    fn peek(&self, after: Option<u64>, max: u32) -> Reply<Vec<Peeked>> {
        let _ = (after, max);
        Reply::error(Error::unsupported(Capability::Peek))
    }

    /// Shows dead letters in the order of their death, from after a number on: fewer than `max` when
    /// there are no more.
    fn dead_letters(
        &self,
        filter: DeadLetterFilter,
        after: Option<u64>,
        max: u32,
    ) -> Reply<Vec<DeadLetter>> {
        let _ = (filter, after, max);
        Reply::error(Error::unsupported(Capability::DeadLetterList))
    }

    /// Sends dead letters back, the oldest first, from after a number on: at most `max`.
    fn redrive(
        &self,
        filter: DeadLetterFilter,
        after: Option<u64>,
        max: u32,
    ) -> Reply<RedriveReport> {
        let _ = (filter, after, max);
        Reply::error(Error::unsupported(Capability::Redrive))
    }

    /// Deletes dead letters. Answers how many.
    fn purge_dead_letters(&self, filter: DeadLetterFilter) -> Reply<u64> {
        let _ = filter;
        Reply::error(Error::unsupported(Capability::Purge))
    }

    /// Counts and ages.
    fn statistics(&self) -> Reply<Statistics> {
        Reply::error(Error::unsupported(Capability::Statistics))
    }

    /// What the queue holds to, whoever uses it: for explanations.
    fn terms(&self) -> Reply<Terms> {
        Reply::now(Ok(Terms::default()))
    }

    /// Creates the queue; `AlreadyExists` if it is there.
    fn create(&self) -> Reply<()> {
        Reply::error(Error::unsupported(Capability::Create))
    }

    /// Sets a message aside, to be fetched by its sequence number alone.
    fn defer(&self, receipts: Vec<Receipt>) -> Reply<Vec<Result<()>>> {
        let _ = receipts;
        Reply::error(Error::unsupported(Capability::Defer))
    }

    /// Fetches deferred messages by their sequence numbers.
    fn receive_deferred(&self, sequences: Vec<u64>) -> Reply<Vec<Result<Box<Received>>>> {
        let _ = sequences;
        Reply::error(Error::unsupported(Capability::Defer))
    }

    /// Takes back delayed messages before their time, by their ids.
    fn cancel_scheduled(&self, ids: Vec<MessageId>) -> Reply<Vec<Result<()>>> {
        let _ = ids;
        Reply::error(Error::unsupported(Capability::CancelScheduled))
    }

    /// Hands over messages without a lock: they are gone once returned.
    fn receive_and_delete(&self, request: ReceiveRequest) -> Reply<Vec<Box<Received>>> {
        let _ = request;
        Reply::error(Error::unsupported(Capability::ReceiveAndDelete))
    }
}

/// The answer to a batch of one.
pub(crate) fn only<T: Send + 'static>(reply: Reply<Vec<Result<T>>>) -> Reply<T> {
    reply.map(|mut results| {
        results.pop().unwrap_or_else(|| {
            Err(Error::new(
                ErrorKind::Panic,
                "the provider gave no result for this entry",
            ))
        })
    })
}
